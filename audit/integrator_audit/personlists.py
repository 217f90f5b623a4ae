"""The index by person in an SQLite file: which of the listed entries are whose, in lists and not in rows.

    record = pseudonym[32] ‖ u16 place of the entry in its block

- A commit adds a list of its records to `by_subject_newest`; its place is its first entry's index. When
  the block is full, its records go into `by_subject`, in order, by the first byte of the pseudonym; a list's place is
  `block × 256 + byte`. So a person's records of one block are in one list, of about four kilobytes.
- So a commit touches no page for each person, and a reader looks at one list of each full block, and at those of the
  newest block. Lists of small commits are joined to the one before while that is no longer than they are: of a block
  full of commits of one entry there are some forty, and each record was written a dozen times at most.
- What is erased is cut out of its list, and no list's place names anybody.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import groupby
from operator import itemgetter
from struct import Struct
from typing import Any, Final

from integrator_audit.columns import damaged, typed, typed_row
from integrator_audit.parts import PSEUDONYM_SIZE
from integrator_audit.store import BLOCK_BITS, block_of

_RECORD: Final = Struct(f">{PSEUDONYM_SIZE}sH")
_SIZE: Final = _RECORD.size
_IN_BLOCK: Final = (1 << BLOCK_BITS) - 1
_SMALL: Final = 1_024 * _SIZE
"""Lists from this length on are not joined to others: a commit of many entries writes its own and reads none."""
PLACE_BITS: Final = 8
"""Bits of a place that are a pseudonym's first byte; above them is the block."""

Record = tuple[bytes, int]
"""A pseudonym, and the index of one of its entries."""


class PersonLists:
    """The index of one file. Writing belongs into a running transaction, reading into a snapshot."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, records: Sequence[Record], *, last: int) -> None:
        """Add the records of a commit, by index; `last` is its last entry, and all of it is in one block."""
        block, pack = block_of(last), _RECORD.pack
        data = b"".join([pack(person, index & _IN_BLOCK) for person, index in records])
        while 0 < len(data) < _SMALL and (former := self._last(block, len(data))) is not None:
            self._connection.execute("DELETE FROM by_subject_newest WHERE place = ?", (former[0],))
            data = former[1] + data
        self._insert(block, data)
        if last & _IN_BLOCK == _IN_BLOCK:
            self.settle(block)

    def _last(self, block: int, size: int) -> tuple[int, bytes] | None:
        """Return the last list of the newest block, with its place, unless it is longer than `size`."""
        query = (
            "SELECT place, list FROM (SELECT place, list FROM by_subject_newest WHERE place >= ?"
            " ORDER BY place DESC LIMIT 1) WHERE length(list) <= ?"
        )
        row = typed_row("ib", self._connection.execute(query, (_bounds(block)[0], size)).fetchone())
        return None if row is None else (row[0], checked(row[1]))

    def _insert(self, block: int, data: bytes) -> None:
        if data:
            self._connection.execute("INSERT INTO by_subject_newest VALUES (?, ?)", (_index(block, data, 0), data))

    def settle(self, block: int) -> None:
        """Bring the lists of a block's commits into those of full blocks."""
        query = "SELECT list FROM by_subject_newest WHERE place >= ? AND place < ?"
        data = b"".join(checked(data) for (data,) in self._connection.execute(query, _bounds(block)))
        records = sorted(_split(data))
        lists: list[tuple[int, bytes]] = []
        start = 0
        for byte in range(256):
            end = bisect_left(records, bytes((byte + 1,)), start) if byte < 255 else len(records)
            if start < end:
                lists.append((block << PLACE_BITS | byte, b"".join(records[start:end])))
            start = end
        self._connection.executemany("INSERT INTO by_subject VALUES (?, ?)", lists)
        self._connection.execute("DELETE FROM by_subject_newest WHERE place >= ? AND place < ?", _bounds(block))

    def remove(self, records: Iterable[Record]) -> None:
        """Cut entries out of their persons' lists, each list once; nothing is done for who stands in none."""
        blocks: dict[int, set[bytes]] = {}
        for subject, index in records:
            blocks.setdefault(block_of(index), set()).add(_RECORD.pack(subject, index & _IN_BLOCK))
        for block, gone in blocks.items():
            for place in {place_of(block, record) for record in gone}:
                query = "SELECT list FROM by_subject WHERE place = ?"
                for (data,) in typed("b", self._connection.execute(query, (place,)).fetchall()):
                    kept = [record for record in _split(data) if record not in gone]
                    self._connection.execute("DELETE FROM by_subject WHERE place = ?", (place,))
                    if kept:
                        self._connection.execute("INSERT INTO by_subject VALUES (?, ?)", (place, b"".join(kept)))
            for place, data in self._newest_with(block, gone):
                self._connection.execute("DELETE FROM by_subject_newest WHERE place = ?", (place,))
                self._insert(block, b"".join([record for record in _split(data) if record not in gone]))

    def _newest_with(self, block: int, records: Iterable[bytes]) -> list[tuple[int, bytes]]:
        """Return the lists of commits among which records of a block stand: a list goes as far as the next begins."""
        indices = [_index(block, record, 0) for record in records]
        query = (
            "SELECT place, list FROM by_subject_newest WHERE place <= ? AND place >="
            " coalesce((SELECT max(place) FROM by_subject_newest WHERE place >= ? AND place <= ?), ?)"
        )
        parameters = (max(indices), _bounds(block)[0], min(indices), min(indices))
        return typed("ib", self._connection.execute(query, parameters).fetchall())

    def indices_of(self, subject: bytes, before: int, limit: int, blocks: range) -> list[int]:
        """Return at most `limit` indices of a person below `before`, newest first; `blocks` are all up to there."""
        found: list[int] = []
        query = "SELECT place, list FROM by_subject_newest WHERE place < ? ORDER BY place DESC"
        for place, data in typed("ib", self._connection.execute(query, (before,)).fetchall()):
            found += _indices(data, subject, block_of(place), before)
        for block in reversed(blocks):
            if len(found) >= limit:
                break
            query = "SELECT list FROM by_subject WHERE place = ?"
            for (data,) in typed("b", self._connection.execute(query, (place_of(block, subject),)).fetchall()):
                found += _indices(data, subject, block, before)
        return found[:limit]

    def between(self, start: int, stop: int, blocks: range) -> Iterator[tuple[bytes, list[int]]]:
        """Yield each person with entries in [start, stop) once, with their indices; `blocks` are those of the range."""
        streams = [self._in_order(block, start, stop) for block in blocks]
        for subject, group in groupby(streams[0] if len(streams) == 1 else merge(*streams), key=itemgetter(0)):
            yield subject, [index for _, index in group]

    def _in_order(self, block: int, start: int, stop: int) -> Iterator[Record]:
        query = "SELECT list FROM by_subject_newest WHERE place >= ? AND place < ?"
        newest = [
            record for (data,) in self._connection.execute(query, _bounds(block)) for record in records_of(data, block)
        ]
        newest.sort()
        return (record for record in merge(newest, self._settled(block)) if start <= record[1] < stop)

    def _settled(self, block: int) -> Iterator[Record]:
        query = "SELECT list FROM by_subject WHERE place >= ? AND place < ? ORDER BY place"
        for (data,) in self._connection.execute(query, (block << PLACE_BITS, (block + 1) << PLACE_BITS)):
            yield from records_of(data, block)


def records_of(data: object, block: int) -> list[Record]:
    """Return what a list of a block says; raise `Tampered` (`ledger-damaged`) for what is no list."""
    start = block << BLOCK_BITS
    return [(subject, start + place) for subject, place in _RECORD.iter_unpack(checked(data))]


def checked(data: Any) -> bytes:
    """Return a list as bytes; raise `Tampered` (`ledger-damaged`) for what is no list."""
    if not isinstance(data, bytes) or len(data) % _SIZE:
        raise damaged("a list of persons' entries is cut")
    return data


def _split(data: bytes) -> list[bytes]:
    checked(data)
    return [data[at : at + _SIZE] for at in range(0, len(data), _SIZE)]


def _index(block: int, data: bytes, at: int) -> int:
    """Return the index of the entry of the record that begins at `at`."""
    return block << BLOCK_BITS | int.from_bytes(data[at + PSEUDONYM_SIZE : at + _SIZE], "big")


def _indices(data: bytes, subject: bytes, block: int, before: int) -> list[int]:
    """Return a person's indices below `before` in a list, descending."""
    checked(data)
    found: list[int] = []
    at = data.find(subject)
    while at >= 0:
        if at % _SIZE == 0:
            found.append(_index(block, data, at))
        at = data.find(subject, at + 1)
    return sorted([index for index in found if index < before], reverse=True)


def place_of(block: int, subject: bytes) -> int:
    """Return under which place a person's list of a full block stands; a record begins as its person does."""
    return block << PLACE_BITS | subject[0]


def _bounds(block: int) -> tuple[int, int]:
    return block << BLOCK_BITS, (block + 1) << BLOCK_BITS
