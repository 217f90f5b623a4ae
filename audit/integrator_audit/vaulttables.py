"""The port of a vault's tables, and how what they hold is brought to the newest generation.

- All stores have the same tables. They are asked in SQL that every store understands; `?` marks a parameter.
- A transaction shuts out every other writer of the vault: who wraps and who makes a generation never meet.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Literal, NamedTuple, Protocol

from integrator_audit.columns import typed
from integrator_audit.keystore import (
    ENTRY,
    LABEL,
    NODE,
    NONCE_SIZE,
    PERSON,
    Wrapping,
    label_name,
    node_name,
    person_name,
)

Name = Literal["generation", "node", "person", "entry_key", "label"]
Present = Literal["refuse", "keep", "replace"]
"""What becomes of an insertion whose key is there already: `Tampered` (`vault-repeated`), or the one or other row."""
_AT_ONCE: Final = 2_000

Key = tuple[Any, ...]
"""The key of a row, as its columns; () before the first."""


class VaultTables(Protocol):
    """The tables of one vault. Errors are the ledger's, with codes that begin with `vault-`. One thread at a time."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commit what is written until its end, durable when it returns; on an exception undo it."""
        ...

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        ...

    def run(self, statement: str, parameters: Sequence[object] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        ...

    def many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement once for each row of parameters."""
        ...

    def insert(self, table: Name, rows: Sequence[Sequence[object]], *, present: Present) -> None:
        """Insert rows."""
        ...

    def cleanse(self) -> None:
        """Take what was deleted or replaced out of the store's own files, as far as it can bring that about."""
        ...

    def close(self) -> None:
        """Release the store."""
        ...


class Table(NamedTuple):
    """A table of wrapped things: its name, the columns of its key with their types, and under which kind it wraps."""

    name: str
    columns: tuple[str, ...]
    types: str
    kind: bytes

    def wrapped_name(self, key: Key) -> bytes:
        """Return the name under which the row with this key is wrapped."""
        if self.kind == PERSON:
            return person_name(key[1], key[0], key[2])
        if self.kind == NODE:
            return node_name(key[0], key[1])
        return label_name(key[1], key[0]) if self.kind == LABEL else key[0]


TABLES: Final = (
    Table("node", ("class", "path"), "vb", NODE),
    Table("person", ("class", "pseudonym", "version"), "vbv", PERSON),
    Table("entry_key", ("id",), "b", ENTRY),
    Table("label", ("period", "pseudonym"), "vb", LABEL),
)


def outdated(tables: VaultTables) -> int:
    """Return how many rows are wrapped by an older generation than the newest."""
    newest = "(SELECT max(number) FROM generation)"
    queries = [f"SELECT count(*) FROM {table.name} WHERE generation < {newest}" for table in TABLES]  # noqa: S608  constants
    return sum(tables.rows(query)[0][0] for query in queries)


def rewrap_some(tables: VaultTables, wrapping: Wrapping, table: Table, start: Key) -> tuple[Key | None, int]:
    """Rewrap the next rows after the key `start`, in the running transaction.

    Returns the key to go on from, None at the end, and how many rows were moved.
    """
    ((generation,),) = typed("v", tables.rows("SELECT max(number) FROM generation"), what="vault")
    columns, marks = ", ".join(table.columns), ", ".join("?" * len(table.columns))
    after = f"WHERE ({columns}) > ({marks})" if start else ""
    query = f"SELECT {columns}, generation, wrapped FROM {table.name} {after} ORDER BY {columns} LIMIT ?"  # noqa: S608  constants
    rows = typed(f"{table.types}vb", tables.rows(query, (*start, _AT_ONCE)), what="vault")
    moved: list[Sequence[object]] = []
    for *key, former, wrapped in rows:
        if former < generation:
            name = table.wrapped_name(tuple(key))
            content = wrapping.unwrap(former, table.kind, name, wrapped)
            fresh = wrapping.wrap(generation, table.kind, name, content, nonce=os.urandom(NONCE_SIZE))
            moved.append((generation, fresh, *key))
    tables.many(
        f"UPDATE {table.name} SET generation = ?, wrapped = ? WHERE ({columns}) = ({marks})",  # noqa: S608  constants
        moved,
    )
    return (rows[-1][:-2] if rows else None), len(moved)
