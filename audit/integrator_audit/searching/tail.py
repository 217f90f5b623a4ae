"""The entries of a log that no block holds yet, in memory, so that every answer is current.

A reader that lives on keeps its tail and reads only what is new; one that answers once reads it all, at most a block
behind a builder that keeps up.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

from integrator_audit.errors import Tampered
from integrator_audit.searching.blocks import kind_terms
from integrator_audit.searching.catalogue import Kinds, bits
from integrator_audit.searching.log import HOUR_MS, SearchedLog
from integrator_audit.searching.terms import Term, day_named, read_terms

_CHUNK = 4096


class Place(NamedTuple):
    """Where an entry is and what stands there: its index, its statement's number and its hour."""

    number: int
    statement: int
    hour: int


class _Said(NamedTuple):
    statement: int
    kind: int
    day: str


class Tail:
    """Entries from `start` to below `end`. Owned by one search; not to be shared between threads."""

    def __init__(self, start: int, left_out: frozenset[str], *, hour: int = 0) -> None:
        """`hour` is that of the entry before `start`, for entries whose own was erased."""
        self.start = start
        self.kinds = Kinds()
        self._left_out = left_out
        self._numbers: dict[tuple[tuple[Term, ...], bool], int] = {}
        self._codes: dict[tuple[int, bool], int] = {}
        self._said: list[_Said] = []
        # By entry: what it says, as a place in `_said`; its hour; its person's number.
        self._code = array("I")
        self._hour = array("I")
        self._last_hour = hour

    @property
    def end(self) -> int:
        """Return the index of the next entry to read."""
        return self.start + len(self._code)

    def extend(self, log: SearchedLog, size: int) -> None:
        """Read the log's entries up to `size`. Raises `Tampered` (`search-entries`) when one is missing."""
        if size <= self.end:
            return
        codes = self._codes
        unlisted = set(log.unlisted_between(self.end, size))
        for number, statement, at in log.rows(self.end, size):
            if number != self.end:
                break
            listed = number not in unlisted
            code = codes.get((statement, listed))
            if code is None:
                code = self._learn(log, statement, listed=listed)
            if at:
                self._last_hour = at // HOUR_MS
            self._code.append(code)
            self._hour.append(self._last_hour)
        if self.end < size:
            raise Tampered("search-entries", f"{log.origin} does not hold entry {self.end}; run fsck")

    def find(
        self,
        kinds: int,
        *,
        before: int,
        limit: int,
        hours: tuple[int | None, int | None],
        days: tuple[str, str] | None,
    ) -> list[Place]:
        """Return at most `limit` entries of `kinds` below the index `before`, newest first."""
        allowed = self._allowed(kinds, days)
        found: list[Place] = []
        stop = min(before, self.end) - self.start
        while stop > 0 and allowed and len(found) < limit:
            start = max(stop - _CHUNK, 0)
            codes = self._code[start:stop]
            for at in [at for at, code in enumerate(codes) if code in allowed][::-1]:
                place = start + at
                hour = self._hour[place]
                if is_between(hour, hours):
                    found.append(Place(self.start + place, self._said[codes[at]].statement, hour))
                    if len(found) == limit:
                        break
            stop = start
        return found

    def each(
        self, kinds: int, *, hours: tuple[int | None, int | None], days: tuple[str, str] | None
    ) -> dict[tuple[int, str, int], list[int]]:
        """Return the indices of all entries of `kinds` by (kind, day, hour)."""
        allowed = self._allowed(kinds, days)
        found: dict[tuple[int, str, int], list[int]] = {}
        for at, code in enumerate(self._code):
            if code in allowed and is_between(hour := self._hour[at], hours):
                said = self._said[code]
                found.setdefault((said.kind, said.day, hour), []).append(self.start + at)
        return found

    def _allowed(self, kinds: int, days: tuple[str, str] | None) -> set[int]:
        wanted = set(bits(kinds))
        return {
            code
            for code, said in enumerate(self._said)
            if said.kind in wanted and (days is None or days[0] <= said.day <= days[1])
        }

    def _learn(self, log: SearchedLog, statement: int, *, listed: bool) -> int:
        terms = read_terms(log.statement(statement))
        kind = tuple(kind_terms(terms, self._left_out))
        number = self._numbers.get((kind, listed))
        if number is None:
            number = self._numbers[kind, listed] = self.kinds.add(kind, listed=listed)
        self._codes[statement, listed] = code = len(self._said)
        self._said.append(_Said(statement, number, day_named(terms) or ""))
        return code


def is_between(hour: int, hours: tuple[int | None, int | None]) -> bool:
    """Tell whether an hour is in a range that may be open at either side; the end is not in it."""
    first, end = hours
    return (first is None or hour >= first) and (end is None or hour < end)
