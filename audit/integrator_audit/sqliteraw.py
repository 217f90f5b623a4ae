"""The rows of an SQLite file as they lie there, for who checks them."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from integrator_audit.database import opening
from integrator_audit.errors import Tampered
from integrator_audit.personlists import PLACE_BITS, Record, place_of, records_of
from integrator_audit.rawrows import NAMED, RawEntry, Wrong
from integrator_audit.sqlitereading import ENTRY_COLUMNS, SCHEMA, check_format, unpack_list
from integrator_audit.store import BLOCK_BITS, EntryRow

_ENTRIES: Final = ENTRY_COLUMNS.replace(
    " FROM entry",
    ", aid, rid, erased.ground, unlisted.idx FROM entry"
    " LEFT JOIN erased ON erased.idx = entry.idx LEFT JOIN unlisted ON unlisted.idx = entry.idx",
).replace(
    # What is computed from a column has a type also where the column has another: then there is no version of a key.
    "marks >> 17",
    "CASE WHEN typeof(marks) = 'integer' AND (own IS NULL OR length(own) >= 16) THEN marks >> 17 END",
)
_NOT_THEIRS: Final = "the index is not that of the entries"
_LAST_BLOCK: Final = ((1 << 63) - 1 >> BLOCK_BITS) - 1
"""The last block whose end SQLite can name."""


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
        with opening(path, what="ledger", mode="ro") as connection:
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
        yield from self._persons()
        yield from self._recipients()

    def _persons(self) -> Iterator[Wrong]:
        """Compare the lists of persons with the entries, a block at a time."""
        query = (
            "SELECT DISTINCT place >> ? FROM by_subject UNION SELECT DISTINCT place >> ? FROM by_subject_newest"
            " UNION SELECT DISTINCT idx >> ? FROM entry WHERE subject IS NOT NULL"
        )
        blocks = [block for (block,) in self.query(query, (PLACE_BITS, BLOCK_BITS, BLOCK_BITS))]
        (end,) = self.first("SELECT coalesce(max(idx), -1) + 1 FROM entry") or (0,)
        for block in sorted(blocks):
            if not 0 <= block <= _LAST_BLOCK:
                yield Wrong("index-wrong", f"rows of by_subject in block {block}", "there is no such block")
                continue
            bounds = (block << BLOCK_BITS, (block + 1) << BLOCK_BITS)
            query = (
                "SELECT idx, subject FROM entry WHERE idx >= ? AND idx < ? AND subject IS NOT NULL AND marks >> 8 & 1"
            )
            theirs = set(self.query(query, bounds))
            listed: list[tuple[int, bytes]] = []
            for where, well, records in (*self._full(block), *self._newest(block, finished=end >= bounds[1])):
                if not well:
                    yield Wrong("index-wrong", where, "its list is no list, or does not stand where it is looked for")
                listed += [(index, subject) for subject, index in records]
            if len(set(listed)) != len(listed):
                yield Wrong("index-wrong", f"rows of by_subject in block {block}", "an entry stands there twice")
            for index, _ in sorted(set(listed) - theirs)[:NAMED]:
                yield Wrong("index-wrong", f"by_subject row ({block}, {index}) belongs to no entry", _NOT_THEIRS)
            for index, _ in sorted(theirs - set(listed))[:NAMED]:
                yield Wrong("index-wrong", f"by_subject lacks ({block}, {index})", _NOT_THEIRS)

    def _full(self, block: int) -> Iterator[tuple[str, bool, list[Record]]]:
        """Yield the lists of a full block: which, whether it is as it should be, its records."""
        query = "SELECT place, list FROM by_subject WHERE place >= ? AND place < ?"
        for place, data in self.query(query, (block << PLACE_BITS, (block + 1) << PLACE_BITS)):
            records = _records(data, block)
            ours = all(place_of(block, subject) == place for subject, _ in records)
            yield f"by_subject list {place}", ours and _ascends(records), records

    def _newest(self, block: int, *, finished: bool) -> Iterator[tuple[str, bool, list[Record]]]:
        """Yield the lists of the commits of a block that is not full."""
        query = "SELECT place, list FROM by_subject_newest WHERE place >= ? AND place < ? ORDER BY place"
        rows = list(self.query(query, (block << BLOCK_BITS, (block + 1) << BLOCK_BITS)))
        for (place, data), (end, _) in pairwise([*rows, ((block + 1) << BLOCK_BITS, b"")]):
            records = _records(data, block)
            indices = [index for _, index in records]
            ours = not finished and _ascends(indices) and place == indices[0] and indices[-1] < end
            yield f"by_subject_newest list {place}", ours, records

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
                if not _ascends(indices) or indices[0] != first:
                    where = f"by_recipient row ({block}, {first})"
                    yield Wrong("index-wrong", where, "its list is no list, or does not begin where it says")
                listed.update((index, number) for index in indices)
            for index, _ in sorted(listed - theirs)[:NAMED]:
                yield Wrong("index-wrong", f"by_recipient row ({block}, {index}) belongs to no entry", _NOT_THEIRS)
            for index, _ in sorted(theirs - listed)[:NAMED]:
                yield Wrong("index-wrong", f"by_recipient lacks ({block}, {index})", _NOT_THEIRS)


def _records(data: object, block: int) -> list[Record]:
    """Return the records of a list, none when it is no list."""
    try:
        return records_of(data, block)
    except Tampered:
        return []


def _ascends(items: Sequence[Any]) -> bool:
    """Say whether there is something, and each item is greater than the one before."""
    return bool(items) and all(one < other for one, other in pairwise(items))


@contextmanager
def _damaged() -> Generator[None]:
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise Tampered("ledger-damaged", f"the file cannot be read to its end: {error}") from error


def _lenient_text(data: bytes) -> str:
    return data.decode(errors="replace")
