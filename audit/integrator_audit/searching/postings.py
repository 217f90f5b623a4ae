"""What a block keeps of one kind of statement: which entries, in which hours, and how many listed persons.

- Its offsets stand group by group, a group being the entries of one statement in one hour: so a search for some
  statements or hours takes whole groups and looks at no entry.
- It is made from the log's rows; which kind a statement is of, and which day it names, whoever keeps the kinds says.
- There is no person in it, and no time more exact than the hour; an entry whose time was erased counts in the hour of
  the entry before it.
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, Protocol

from integrator_audit.columns import damaged
from integrator_audit.searching.log import HOUR_MS, SearchedLog

_KIND_BITS: Final = 24

_Key = tuple[int, bool, int]
"""A statement, whether its entries are listed, and their hour."""


class Group(NamedTuple):
    """The entries of one statement in one hour, inside one block: how many there are."""

    statement: int
    hour: int
    n: int


class Posting(NamedTuple):
    """The entries of one kind in one block. Days are ISO 8601 and empty where statements name none."""

    number: int
    """Block and kind: see `posting_id`."""
    n: int
    persons: int
    first_hour: int
    last_hour: int
    first_day: str
    last_day: str
    groups: bytes
    """Statements, then hours, then counts less one, of each group: little-endian u32, u32, u16."""
    offsets: bytes
    """Of each group its offsets in the block, ascending: little-endian u16."""

    @property
    def block(self) -> int:
        """Return the number of the block."""
        return self.number >> _KIND_BITS

    @property
    def kind(self) -> int:
        """Return the number of the kind."""
        return self.number & (1 << _KIND_BITS) - 1

    def each_group(self) -> Iterator[Group]:
        """Yield the groups in the order of their offsets."""
        size = len(self.groups) // 10
        if len(self.groups) != 10 * size:
            raise damaged("a posting is cut", what="search")
        numbers = _read("I", self.groups[: 8 * size])
        counts = _read("H", self.groups[8 * size :])
        for at in range(size):
            yield Group(numbers[at], numbers[size + at], counts[at] + 1)

    def each_offset(self) -> array[int]:
        """Return all offsets, group by group."""
        return _read("H", self.offsets)


def posting_id(block: int, kind: int) -> int:
    """Return the number of a posting: those of one block stand together."""
    return block << _KIND_BITS | kind


class Kinds(Protocol):
    """The kinds of statements, by the numbers of the statements in their log."""

    def of(self, statement: int, *, listed: bool) -> int:
        """Return the kind of a statement, making it when it is new."""
        ...

    def day(self, statement: int) -> str:
        """Return the day that a statement names, of those that `of` was asked about; empty when it names none."""
        ...


def group(log: SearchedLog, first: int, end: int, *, hour: int, kinds: Kinds) -> tuple[list[Posting], list[int]]:
    """Return the postings of the block of entries from `first` to below `end`, and the hour of each entry.

    `hour` is that of the entry before the block, for entries whose own was erased.
    """
    unlisted = set(log.unlisted_between(first, end))
    groups: dict[_Key, list[int]] = {}
    hours: list[int] = []
    for number, statement, at in log.rows(first, end):
        if at:
            hour = at // HOUR_MS
        hours.append(hour)
        key = (statement, number not in unlisted, hour)
        if key in groups:
            groups[key].append(number - first)
        else:
            groups[key] = [number - first]
    by_kind: dict[int, list[_Key]] = {}
    of_entry = [-1] * (end - first)
    for key, offsets in groups.items():
        kind = kinds.of(key[0], listed=key[1])
        by_kind.setdefault(kind, []).append(key)
        for offset in offsets:
            of_entry[offset] = kind
    persons = Counter[int]()
    for _, indices in log.persons_between(first, end):
        persons.update({of_entry[index - first] for index in indices})
    block = first // (end - first)
    return [
        _posting(
            posting_id(block, kind),
            {key: groups[key] for key in keys},
            days=[kinds.day(statement) for statement, _, _ in keys],
            persons=persons[kind],
        )
        for kind, keys in sorted(by_kind.items())
    ], hours


def _posting(number: int, groups: Mapping[_Key, list[int]], *, days: list[str], persons: int) -> Posting:
    hours = [hour for _, _, hour in groups]
    counts = [len(offsets) for offsets in groups.values()]
    return Posting(
        number,
        sum(counts),
        persons,
        min(hours),
        max(hours),
        min(days),
        max(days),
        _write("I", [statement for statement, _, _ in groups] + hours) + _write("H", [count - 1 for count in counts]),
        _write("H", [offset for offsets in groups.values() for offset in offsets]),
    )


def _write(kind: str, values: Iterable[int]) -> bytes:
    packed = array(kind, values)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _read(kind: str, data: bytes) -> array[int]:
    values: array[int] = array(kind)
    if len(data) % values.itemsize:
        raise damaged("a posting is cut", what="search")
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values
