"""A log in memory for the tests of search, and the naive answers that search is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from integrator_audit import part
from integrator_audit.merkle import fold, leaf_hash
from integrator_audit.searching.log import HOUR_MS
from integrator_audit.searching.query import Question
from integrator_audit.searching.terms import day_named, holds, read_terms

NOW = 490_000
"""An hour since 1970 in which the sample logs begin."""


def statement(recipient: str = "svb", **change: object) -> bytes:
    """Return a part A with the usual kinds of members."""
    members: dict[str, object] = {
        "recipient": recipient,
        "fields": ["birth.date", "name"],
        "purpose": "pension",
        "version": 1,
        "date": "2025-11-24",
    }
    return part("sample.accountability/v1", members | change)


class Row(NamedTuple):
    """One entry; `at` is 0 once it was erased, `person` 0 for nobody."""

    number: int
    statement: int
    at: int
    person: int
    listed: bool


@dataclass
class MemoryLog:
    """A `SearchedLog` in memory."""

    origin: str = "demo.integrator.example/ledger/demo/s0-2025h2"
    entries: list[Row] = field(default_factory=list[Row])
    statements: list[bytes] = field(default_factory=lambda: [b""])
    erased: set[int] = field(default_factory=set[int])
    read: int = 0
    """How many rows were asked for."""

    @property
    def size(self) -> int:
        return len(self.entries)

    def add(self, told: bytes, *, hour: int = NOW, person: int = 1, listed: bool = True) -> int:
        """Append an entry and return its index."""
        if told not in self.statements:
            self.statements.append(told)
        row = Row(len(self.entries), self.statements.index(told), hour * HOUR_MS + 5 if hour else 0, person, listed)
        self.entries.append(row)
        return row.number

    def rows(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        self.read += stop - start
        return (row[:3] for row in self.entries[start:stop])

    def unlisted_between(self, start: int, stop: int) -> list[int]:
        return [row.number for row in self.entries[start:stop] if not row.listed]

    def erase(self, number: int) -> None:
        """Erase the body of an entry."""
        self.erased.add(number)
        self.entries[number] = self.entries[number]._replace(at=0, person=0)

    def erased_between(self, start: int, stop: int) -> int:
        return sum(1 for number in self.erased if start <= number < stop)

    def persons_between(self, start: int, stop: int) -> list[tuple[bytes, list[int]]]:
        found: dict[bytes, list[int]] = {}
        for row in self.entries[start:stop]:
            if row.person and row.listed:
                found.setdefault(pseudonym(row.person), []).append(row.number)
        return list(found.items())

    def statement(self, number: int) -> bytes:
        return self.statements[number]

    def subtree(self, height: int, index: int) -> bytes:
        start = index << height
        rows = self.entries[start : start + (1 << height)]
        return fold(b"".join(leaf_hash(repr((row.number, row.statement, row.listed)).encode()) for row in rows))

    def persons(self, indices: Sequence[int]) -> set[bytes]:
        return {pseudonym(self.entries[index].person) for index in indices if self.entries[index].person}


def pseudonym(person: int) -> bytes:
    """Return the pseudonym of a person's number."""
    return sha256(b"person %d" % person).digest()


def hours_of(log: MemoryLog) -> list[int]:
    """Return the hour of each entry; an erased one has that of the entry before."""
    hours: list[int] = []
    for row in log.entries:
        hours.append(row.at // HOUR_MS if row.at else (hours[-1] if hours else 0))
    return hours


def naive(log: MemoryLog, question: Question) -> list[int]:
    """Return the indices that answer a question, newest first, by looking at every entry."""
    hours, found = hours_of(log), list[int]()
    for row in log.entries:
        terms = read_terms(log.statements[row.statement])
        first, end = question.hours
        fits = (
            (question.unlisted or row.listed)
            and holds(question.any_of, terms)
            and (first is None or hours[row.number] >= first)
            and (end is None or hours[row.number] < end)
            and (question.days is None or question.days[0] <= (day_named(terms) or "") <= question.days[1])
        )
        if fits:
            found.append(row.number)
    return found[::-1]
