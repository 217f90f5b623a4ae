"""The vault's tables, and how what they hold is brought to the newest generation."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from integrator_audit.keystore import ENTRY, LABEL, NONCE_SIZE, PERSON, Wrapping, label_name, person_name

FORMAT: Final = 2
SCHEMA: Final = """
CREATE TABLE generation (number INTEGER PRIMARY KEY, probe BLOB NOT NULL);
CREATE TABLE destruction (count INTEGER NOT NULL);
CREATE TABLE person (class INTEGER NOT NULL, pseudonym BLOB NOT NULL, version INTEGER NOT NULL,
  generation INTEGER NOT NULL, wrapped BLOB NOT NULL, PRIMARY KEY (class, pseudonym, version)) WITHOUT ROWID;
CREATE TABLE entry_key (id BLOB PRIMARY KEY, generation INTEGER NOT NULL, wrapped BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE label (period INTEGER NOT NULL, pseudonym BLOB NOT NULL, generation INTEGER NOT NULL,
  wrapped BLOB NOT NULL, PRIMARY KEY (period, pseudonym)) WITHOUT ROWID
"""
_AT_ONCE: Final = 2_000

Key = tuple[Any, ...]
"""The key of a row, as its columns; () before the first."""


class Table(NamedTuple):
    """A table of wrapped things: its name, the columns of its key, and the kind under which they are wrapped."""

    name: str
    columns: tuple[str, ...]
    kind: bytes

    def wrapped_name(self, key: Key) -> bytes:
        """Return the name under which the row with this key is wrapped."""
        if self.kind == PERSON:
            return person_name(key[1], key[0], key[2])
        return label_name(key[1], key[0]) if self.kind == LABEL else key[0]


TABLES: Final = (
    Table("person", ("class", "pseudonym", "version"), PERSON),
    Table("entry_key", ("id",), ENTRY),
    Table("label", ("period", "pseudonym"), LABEL),
)


def outdated(connection: sqlite3.Connection) -> int:
    """Return how many rows are wrapped by an older generation than the newest."""
    newest = "(SELECT max(number) FROM generation)"
    queries = [f"SELECT count(*) FROM {table.name} WHERE generation < {newest}" for table in TABLES]  # noqa: S608  constants
    return sum(connection.execute(query).fetchone()[0] for query in queries)


def rewrap_some(connection: sqlite3.Connection, wrapping: Wrapping, table: Table, start: Key) -> tuple[Key | None, int]:
    """Rewrap the next rows after the key `start`, in the running transaction.

    Returns the key to go on from, None at the end, and how many rows were moved.
    """
    (generation,) = connection.execute("SELECT max(number) FROM generation").fetchone()
    columns, marks = ", ".join(table.columns), ", ".join("?" * len(table.columns))
    after = f"WHERE ({columns}) > ({marks})" if start else ""
    query = f"SELECT {columns}, generation, wrapped FROM {table.name} {after} ORDER BY {columns} LIMIT ?"  # noqa: S608  constants
    rows = connection.execute(query, (*start, _AT_ONCE)).fetchall()
    moved: list[Sequence[object]] = []
    for *key, former, wrapped in rows:
        if former < generation:
            name = table.wrapped_name(tuple(key))
            content = wrapping.unwrap(former, table.kind, name, wrapped)
            fresh = wrapping.wrap(generation, table.kind, name, content, nonce=os.urandom(NONCE_SIZE))
            moved.append((generation, fresh, *key))
    connection.executemany(
        f"UPDATE {table.name} SET generation = ?, wrapped = ? WHERE ({columns}) = ({marks})",  # noqa: S608  constants
        moved,
    )
    return (rows[-1][:-2] if rows else None), len(moved)
