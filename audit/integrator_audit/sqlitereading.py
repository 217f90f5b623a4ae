"""Reading the embedded store: its tables, and every question of the port `Reading`.

- Part A's bytes stand once in `statement`, entries name them: thousands of entries share a statement.
- The indexes by person (`personlists`) and recipient are partitioned by blocks of indices. A read probes each block,
  newest first: a few hundred probes for ten million entries, in exchange for commits that touch the newest pages only.
- Of a recipient the index holds a list for each commit: recipients are few and their entries many.
- SQLite lets any column hold any type, and numbers may be astronomic: what a damaged file says ends in `Tampered`
  (`ledger-damaged`), in a time that follows from its size.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from heapq import merge
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from struct import pack, unpack
from typing import Any, Final

from integrator_audit.columns import damaged, typed, typed_row
from integrator_audit.database import check_plain, opening, translated
from integrator_audit.errors import Refused
from integrator_audit.personlists import PersonLists
from integrator_audit.store import BLOCK_BITS, EntryRow, Erasure, Ground, Head, Identity, SetAside, block_of
from integrator_audit.tiles import TileRow

FORMAT: Final = 3
APPLICATION_ID: Final = 0x64696C31  # "dil1"

SCHEMA: Final = """
CREATE TABLE identity (origin TEXT NOT NULL, vkey TEXT NOT NULL, kind TEXT NOT NULL);
CREATE TABLE closing (size INTEGER PRIMARY KEY);
CREATE TABLE statement (aid INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, bytes BLOB NOT NULL);
CREATE TABLE recipient (rid INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, seal INTEGER NOT NULL);
CREATE TABLE entry (
  idx INTEGER PRIMARY KEY, aid INTEGER NOT NULL, at INTEGER NOT NULL, marks INTEGER NOT NULL, rid INTEGER,
  subject BLOB, h BLOB NOT NULL, body BLOB NOT NULL, own BLOB, seal INTEGER NOT NULL);
CREATE TABLE by_subject (place INTEGER PRIMARY KEY, list BLOB NOT NULL);
CREATE TABLE by_subject_newest (place INTEGER PRIMARY KEY, list BLOB NOT NULL);
CREATE TABLE by_recipient (block INTEGER NOT NULL, rid INTEGER NOT NULL, first INTEGER NOT NULL, list BLOB NOT NULL,
  PRIMARY KEY (block, rid, first)) WITHOUT ROWID;
CREATE TABLE unlisted (idx INTEGER PRIMARY KEY);
CREATE TABLE draw (first INTEGER PRIMARY KEY, count INTEGER NOT NULL, salt BLOB NOT NULL UNIQUE);
CREATE TABLE erased (idx INTEGER PRIMARY KEY, ground TEXT NOT NULL);
CREATE TABLE tile (level INTEGER NOT NULL, n INTEGER NOT NULL, width INTEGER NOT NULL, data BLOB NOT NULL,
  nodes BLOB NOT NULL, PRIMARY KEY (level, n));
CREATE TABLE checkpoint (size INTEGER NOT NULL, at INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL,
  consumed BLOB NOT NULL, seal INTEGER NOT NULL, PRIMARY KEY (size, at));
CREATE TABLE published (size INTEGER PRIMARY KEY, note BLOB NOT NULL, seal INTEGER NOT NULL);
CREATE TABLE position (topic TEXT NOT NULL, part INTEGER NOT NULL, next INTEGER NOT NULL,
  PRIMARY KEY (topic, part)) WITHOUT ROWID;
CREATE TABLE set_aside (topic TEXT NOT NULL, part INTEGER NOT NULL, position INTEGER NOT NULL, reason TEXT NOT NULL,
  seal INTEGER NOT NULL, PRIMARY KEY (topic, part, position)) WITHOUT ROWID
"""

# Few columns, because each costs a commit as much as forty bytes: `marks` are type + 2^8 × listed + 2^9 × years +
# 2^17 × key version; `h` is salt_A ‖ hA ‖ hD ‖ hS ‖ hP; `own` is what an entry has of its own key, id[16] ‖ P.
ENTRY_COLUMNS: Final = (
    "SELECT entry.idx, subject, coalesce(recipient.name, ''), marks & 255, at, marks >> 9 & 255, marks >> 8 & 1,"
    " substr(h, 1, 32), statement.bytes, body, coalesce(substr(own, 17), x''), substr(h, 33), x'', marks >> 17,"
    " substr(own, 1, 16), entry.seal FROM entry LEFT JOIN statement USING (aid) LEFT JOIN recipient USING (rid)"
)
"""Columns in the order of `EntryRow`; the commitment is computed by who checks it."""

_ENTRY_TYPES: Final = "iBtimiibbbbbbvBi"
"""Their types, as `columns` names them, like those of all queries here."""
_CHUNK: Final = 1_000
_MAX_BLOCKS: Final = 1 << 20
_IN_BLOCK: Final = (1 << BLOCK_BITS) - 1


class SqliteReading:
    """A `Reading` of one file. Not safe to share between threads without a lock, which its owners hold."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Use `read_only` instead."""
        self.connection = connection
        self.persons = PersonLists(connection)

    @classmethod
    def read_only(cls, path: Path) -> SqliteReading:
        """Open another process's file for reading; raise `Unavailable` when it is absent."""
        with opening(path, what="ledger", mode="ro") as connection:
            check_format(connection)
        return cls(connection)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextmanager
    def snapshot(self) -> Generator[None]:
        """Hold one moment of the log; inside another snapshot it is that one's moment."""
        if self.connection.in_transaction:
            yield
            return
        with translated("ledger"):
            self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.rollback()

    def identity(self) -> Identity | None:
        """Return which log this is, or None when the file is new."""
        row = self._row("ttt", "SELECT origin, vkey, kind FROM identity")
        return None if row is None else Identity(*row)

    def head(self) -> Head | None:
        """Return the newest checkpoint, or None when the file is new."""
        return self._head("ORDER BY size DESC, at DESC LIMIT 1")

    def last_before(self, at: int) -> Head | None:
        """Return the newest kept checkpoint that was committed before the moment `at` (ms), None when there is none."""
        return self._head("WHERE at < ? ORDER BY size DESC, at DESC LIMIT 1", at)

    def published(self) -> tuple[int, bytes] | None:
        """Return the newest published size and its note with the cosignatures, or None."""
        return self._row("ib", "SELECT size, note FROM published ORDER BY size DESC LIMIT 1")

    def is_closed(self) -> bool:
        """Say whether the log was closed for good."""
        return self._row("i", "SELECT size FROM closing") is not None

    def tile(self, level: int, index: int) -> TileRow | None:
        """Return a tile as wide as it is now."""
        row = self._row("ibb", "SELECT width, data, nodes FROM tile WHERE level = ? AND n = ?", level, index)
        return None if row is None else TileRow(level, index, *row)

    def entry(self, index: int) -> EntryRow | None:
        """Return one entry; its commitment is computed by who checks it and is empty here."""
        row = self._row(_ENTRY_TYPES, f"{ENTRY_COLUMNS} WHERE idx = ?", index)
        return None if row is None else EntryRow._make(row)

    def entries(self, start: int, stop: int) -> Iterator[EntryRow]:
        """Yield the entries from `start` to before `stop` in the order of their indices."""
        query = f"{ENTRY_COLUMNS} WHERE idx >= ? AND idx < ? ORDER BY idx"
        return map(EntryRow._make, self._ranged(_ENTRY_TYPES, query, start, stop))

    def rows(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield (index, number of its statement, moment in ms or 0 when erased) of entries, by index."""
        query = "SELECT idx, aid, at FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx"
        return self._ranged("iim", query, start, stop)

    def statements(self) -> Iterator[tuple[int, bytes]]:
        """Yield each distinct part A with its number, by number."""
        (last,) = self._row("i", "SELECT coalesce(max(aid), 0) FROM statement") or (0,)
        query = "SELECT aid, bytes FROM statement WHERE aid >= ? AND aid <= ? ORDER BY aid"
        return self._ranged("ib", query, 0, last)

    def statement(self, number: int) -> bytes | None:
        """Return the part A with this number."""
        row = self._row("b", "SELECT bytes FROM statement WHERE aid = ?", number)
        return None if row is None else row[0]

    def indices_of(self, subject: bytes, before: int, limit: int) -> list[int]:
        """Return at most `limit` indices of a person's listed entries below `before`, newest first."""
        with translated("ledger"):
            return self.persons.indices_of(subject, before, limit, self._blocks_below(before))

    def indices_to(self, recipient: str, before: int, limit: int) -> list[int]:
        """Return at most `limit` indices of a recipient's entries below `before`, newest first."""
        row = self._row("i", "SELECT rid FROM recipient WHERE name = ?", recipient)
        if row is None:
            return []
        query = "SELECT list FROM by_recipient WHERE block = ? AND rid = ? AND first < ? ORDER BY first DESC"
        found: list[int] = []
        with translated("ledger"):
            for block in reversed(self._blocks_below(before)):
                for (data,) in typed("b", self.connection.execute(query, (block, row[0], before)).fetchall()):
                    found += [index for index in reversed(unpack_list(block, data)) if index < before]
                    if len(found) >= limit:
                        return found[:limit]
        return found

    def persons_between(self, start: int, stop: int) -> Iterator[tuple[bytes, list[int]]]:
        """Yield each person with listed entries in [start, stop) once, with their indices ascending."""
        with translated("ledger"):
            yield from self.persons.between(start, stop, _blocks(start, stop))

    def recipients_between(self, start: int, stop: int) -> Iterator[tuple[str, list[int]]]:
        """Yield each recipient with entries in [start, stop) once, with their indices ascending, erased ones too."""
        query = "SELECT rid, block, list FROM by_recipient WHERE block = ? AND first < ? ORDER BY rid, first"
        with translated("ledger"):
            names = dict(typed("it", self.connection.execute("SELECT rid, name FROM recipient").fetchall()))
            streams = [self._stream((int, int, bytes), query, block, stop) for block in _blocks(start, stop)]
            for number, group in _grouped(streams):
                listed = [index for _, block, data in group for index in unpack_list(block, data)]
                if number not in names:
                    raise damaged(f"there is no recipient {number}")
                if indices := [index for index in listed if start <= index < stop]:
                    yield names[number], indices

    def unlisted_between(self, start: int, stop: int) -> list[int]:
        """Return the indices of the entries in [start, stop) that are not listed under persons, ascending."""
        query = "SELECT idx FROM unlisted WHERE idx >= ? AND idx < ? ORDER BY idx"
        return [index for (index,) in self._ranged("i", query, start, stop)]

    def with_retention(self, years: int, start: int, stop: int) -> Iterator[int]:
        """Yield the indices in [start, stop) of entries that are kept so long and are not erased, ascending."""
        query = "SELECT idx, marks >> 9 & 255, body = x'' FROM entry WHERE idx >= ? AND idx < ? ORDER BY idx"
        return (index for index, kept, gone in self._ranged("iii", query, start, stop) if kept == years and not gone)

    def erased(self, index: int) -> Ground | None:
        """Return why an entry was erased, or None when it was not."""
        row = self._row("t", "SELECT ground FROM erased WHERE idx = ?", index)
        return None if row is None else row[0]

    def erasures(self, start: int, stop: int) -> Iterator[Erasure]:
        """Yield what was erased in [start, stop), by index."""
        query = "SELECT idx, ground FROM erased WHERE idx >= ? AND idx < ? ORDER BY idx"
        return (Erasure(*row) for row in self._ranged("it", query, start, stop))

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the next position to read by (topic, partition)."""
        with translated("ledger"):
            rows = typed("tii", self.connection.execute("SELECT topic, part, next FROM position").fetchall())
        return {(topic, partition): position for topic, partition, position in rows}

    def set_asides(self) -> list[SetAside]:
        """Return the records that were set aside."""
        with translated("ledger"):
            query = "SELECT topic, part, position, reason FROM set_aside"
            rows = typed("tiit", self.connection.execute(query).fetchall())
        return [SetAside(*row) for row in rows]

    def _row(self, types: str, query: str, *parameters: object) -> tuple[Any, ...] | None:
        with translated("ledger"):
            row = self.connection.execute(query, parameters).fetchone()
        return typed_row(types, row)

    def _head(self, where: str, *parameters: object) -> Head | None:
        query = f"SELECT size, root, note, consumed, at FROM checkpoint {where}"  # noqa: S608
        row = self._row("ibbbm", query, *parameters)
        return None if row is None else Head(*row)

    def _ranged(self, types: str, query: str, start: int, stop: int) -> Iterator[tuple[Any, ...]]:
        """Yield rows by number, their first column, some at a time: no statement stays open between two steps."""
        query = f"{query} LIMIT {_CHUNK}"
        with translated("ledger"):
            while rows := typed(types, self.connection.execute(query, (start, stop)).fetchall()):
                yield from rows
                start = rows[-1][0] + 1
                if len(rows) < _CHUNK:
                    break

    def _stream(self, types: tuple[type, ...], query: str, *parameters: int) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of one block of an index, which must not be held."""
        for row in self.connection.execute(query, parameters):
            if tuple(map(type, row)) != types:
                raise damaged("an index has a column of another type than it was made with")
            yield row

    def _blocks_below(self, before: int) -> range:
        """Return the blocks of the indexes that hold something below an index."""
        (last,) = self.connection.execute("SELECT coalesce(max(idx), -1) FROM entry").fetchone()
        return _blocks(0, min(before, last + 1))


def _blocks(start: int, stop: int) -> range:
    """Return the blocks of the indexes in which entries from `start` to before `stop` stand."""
    blocks = range(block_of(start), block_of(stop - 1) + 1) if start < stop else range(0)
    if len(blocks) > _MAX_BLOCKS:
        raise damaged(f"it says to have an entry {stop - 1}")
    return blocks


def _grouped(streams: Sequence[Iterator[tuple[Any, ...]]]) -> Iterator[tuple[Any, Iterator[tuple[Any, ...]]]]:
    """Merge blocks, each in the order of its keys: one key's rows come together, blocks ascending."""
    return groupby(streams[0] if len(streams) == 1 else merge(*streams), key=itemgetter(0))


def pack_list(indices: Sequence[int]) -> bytes:
    """Return ascending indices of one block as the index by recipient holds them: u16 each, from the block's start."""
    return pack(f">{len(indices)}H", *[index & _IN_BLOCK for index in indices])


def unpack_list(block: int, data: bytes) -> list[int]:
    """Return what `pack_list` packed."""
    if len(data) % 2:
        raise damaged("a list of a recipient's entries is cut")
    start = block << BLOCK_BITS
    return [start + offset for offset in unpack(f">{len(data) // 2}H", data)]


def marks_of(row: EntryRow) -> int:
    """Return the column that holds a row's small numbers."""
    return row.type | row.listed << 8 | row.retention << 9 | row.key_version << 17


def check_format(connection: sqlite3.Connection) -> None:
    """Raise `Refused` (`ledger-format`) unless the file is a ledger of this format, and as `check_plain` does."""
    with translated("ledger"):
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise Refused("ledger-format", "the file is not a ledger")
    if version != FORMAT:
        message = (
            f"the file is a ledger of format {version}, and this version reads format {FORMAT} only. Formats before 3 "
            "were never released: record the log anew from its sources"
        )
        raise Refused("ledger-format", message)
    check_plain(connection, "ledger")
