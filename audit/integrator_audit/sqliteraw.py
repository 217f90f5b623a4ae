"""The rows of an SQLite file as they lie there, for who checks them."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from integrator_audit.database import connect, translated
from integrator_audit.errors import Tampered
from integrator_audit.rawrows import NAMED, RawEntry, Wrong
from integrator_audit.sqlitereading import ENTRY_COLUMNS, SCHEMA, check_format, unpack_list
from integrator_audit.store import BLOCK_BITS, EntryRow

_ENTRIES: Final = ENTRY_COLUMNS.replace(
    " FROM entry",
    ", aid, rid, erased.ground, unlisted.idx FROM entry"
    " LEFT JOIN erased ON erased.idx = entry.idx LEFT JOIN unlisted ON unlisted.idx = entry.idx",
)
_NOT_THEIRS: Final = "the index is not that of the entries"
_LAST_BLOCK: Final = ((1 << 63) - 1 >> BLOCK_BITS) - 1
"""The last block whose end SQLite can name."""
# 15 is `BLOCK_BITS`.
_INDEXES: Final = {
    "by_subject row ({}, {}) belongs to no entry": (
        "SELECT b.block, b.idx FROM by_subject b LEFT JOIN entry e ON e.idx = b.idx"
        " WHERE e.subject IS NOT b.subject OR NOT (e.marks >> 8 & 1) OR b.block IS NOT b.idx >> 15"
    ),
    "by_subject lacks ({}, {})": (
        "SELECT e.idx >> 15, e.idx FROM entry e WHERE e.subject IS NOT NULL AND e.marks >> 8 & 1 AND NOT EXISTS"
        " (SELECT 1 FROM by_subject b WHERE b.block = e.idx >> 15 AND b.subject = e.subject AND b.idx = e.idx)"
    ),
}


class SqliteRows:
    """The `RawRows` of one file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Use `open` instead."""
        # Text that is damaged must come out as text to be reported, not as an exception of the driver.
        connection.text_factory = _lenient_text
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> SqliteRows:
        """Open a file. Raises `Unavailable` when it is absent, `Refused` when it is not a ledger."""
        with translated("ledger"):
            connection = connect(path, mode="ro")
        check_format(connection)
        return cls(connection)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def snapshot(self) -> Generator[None]:
        """Hold one moment."""
        with _damaged():
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.rollback()

    def query(self, statement: str, parameters: Sequence[int] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query in bounded memory."""
        with _damaged():
            # Not `yield from`: that closes the cursor of a query that nobody read to its end, when the file is closed.
            for row in self._connection.execute(statement, parameters):  # noqa: UP028
                yield row

    def first(self, statement: str, parameters: Sequence[int] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None."""
        with _damaged():
            return self._connection.execute(statement, parameters).fetchone()

    def entries(self, start: int, stop: int) -> list[RawEntry]:
        """Return the rows of entries in [start, stop) that can be read."""
        with _damaged():
            rows = self._connection.execute(
                f"{_ENTRIES} WHERE entry.idx >= ? AND entry.idx < ?", (start, stop)
            ).fetchall()
        return [
            RawEntry(EntryRow._make(columns), statement, recipient, ground, unlisted is not None)
            for *columns, statement, recipient, ground, unlisted in rows
        ]

    def draws(self) -> Iterator[tuple[Any, ...]]:
        """Yield (first index, count, start of the first salt, start of the first entry's salt or None), by index."""
        # 16 is `DRAWN`; a row's hashes begin with its salt.
        return self.query(
            "SELECT first, count, draw.salt, substr(entry.h, 1, 16) FROM draw LEFT JOIN entry ON idx = first"
            " ORDER BY first"
        )

    def structure(self) -> Iterator[Wrong]:
        """Yield what the database finds wrong with its pages, and whether the tables are ours."""
        for (text,) in self.query(f"PRAGMA integrity_check({NAMED})"):
            if text != "ok":
                yield Wrong("database-damaged", f"file: {text}", "the database says that it is damaged")
        tables = [str(sql).strip() for (sql,) in self.query("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")]
        if tables != [statement.strip() for statement in SCHEMA.split(";")]:
            yield Wrong("schema-wrong", "file", "its tables are not those of a ledger")

    def indexes(self) -> Iterator[Wrong]:
        """Yield rows of the indexes that belong to no entry, and entries that they lack."""
        listed = "SELECT idx FROM unlisted WHERE NOT EXISTS (SELECT 1 FROM entry WHERE entry.idx = unlisted.idx)"
        for (index,) in self.query(f"{listed} LIMIT {NAMED}"):
            yield Wrong("unlisted-surplus", f"row of unlisted {index}", "it belongs to no entry")
        for where, statement in _INDEXES.items():
            for found in self.query(f"{statement} LIMIT {NAMED}"):
                yield Wrong("index-wrong", where.format(*found), _NOT_THEIRS)
        yield from self._recipients()

    def _recipients(self) -> Iterator[Wrong]:
        """Compare the lists of recipients with the entries, a block at a time."""
        known = {block for (block,) in self.query("SELECT DISTINCT block FROM by_recipient")}
        if not all(isinstance(block, int) and 0 <= block <= _LAST_BLOCK for block in known):
            yield Wrong("index-wrong", "rows of by_recipient", "a block is not the number of one")
            return
        # Those that are there, and not all up to the last: one planted number would make them astronomic.
        query = "SELECT DISTINCT idx >> ? FROM entry WHERE rid IS NOT NULL"
        held = {block for (block,) in self.query(query, (BLOCK_BITS,)) if 0 <= block <= _LAST_BLOCK}
        for block in sorted(known | held):
            bounds = (block << BLOCK_BITS, (block + 1) << BLOCK_BITS)
            query = "SELECT idx, rid FROM entry WHERE idx >= ? AND idx < ? AND rid IS NOT NULL"
            theirs = set(self.query(query, bounds))
            listed: set[tuple[int, int]] = set()
            query = "SELECT rid, first, list FROM by_recipient WHERE block = ? ORDER BY rid, first"
            for number, first, data in self.query(query, (block,)):
                indices = unpack_list(block, data) if isinstance(data, bytes) and len(data) % 2 == 0 else []
                if not indices or indices[0] != first or any(one >= other for one, other in pairwise(indices)):
                    where = f"by_recipient row ({block}, {first})"
                    yield Wrong("index-wrong", where, "its list is no list, or does not begin where it says")
                listed.update((index, number) for index in indices)
            for index, _ in sorted(listed - theirs)[:NAMED]:
                yield Wrong("index-wrong", f"by_recipient row ({block}, {index}) belongs to no entry", _NOT_THEIRS)
            for index, _ in sorted(theirs - listed)[:NAMED]:
                yield Wrong("index-wrong", f"by_recipient lacks ({block}, {index})", _NOT_THEIRS)


@contextmanager
def _damaged() -> Generator[None]:
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise Tampered("ledger-damaged", f"the file cannot be read to its end: {error}") from error


def _lenient_text(data: bytes) -> str:
    return data.decode(errors="replace")
