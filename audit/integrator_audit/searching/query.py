"""Finds the entries that a question asks for, newest first, in time that does not grow with the log.

- What kinds of statements are asked for is known at once; of the blocks that hold any of them only as many are opened
  as the page needs. Entries beyond the last block are looked at one by one, in memory.
- An index that is not of this log, or of another history of it, is not used.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import nlargest
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

from integrator_audit.columns import typed
from integrator_audit.database import translated
from integrator_audit.errors import Busy, Invalid
from integrator_audit.searching.blocks import IndexFile
from integrator_audit.searching.catalogue import Catalogue, bits, check_searchable
from integrator_audit.searching.log import SearchedLog
from integrator_audit.searching.postings import Group, Posting, posting_id
from integrator_audit.searching.tail import Place, Tail, is_between
from integrator_audit.searching.terms import Alternatives

MAX_FOUND: Final = 1000
MAX_TAIL: Final = 1 << 18
_MOST_STATEMENTS: Final = 20_000
_VARIABLES: Final = 500
_POSTING_BITS: Final = 24
_IN_TIME: Final = "last_hour >= ? AND first_hour < ? AND last_day >= ? AND first_day <= ?"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for. Hours count from 1970, the end is not in the range; days are ISO 8601, both are in it.

    `unlisted` also asks for entries that are withheld or padding: for the supervisor alone.

    Raises `Invalid` (`hours-reversed`, `days-reversed`) for a time that ends before it begins, which nothing answers.
    """

    any_of: Alternatives = ()
    hours: tuple[int | None, int | None] = (None, None)
    days: tuple[str, str] | None = None
    unlisted: bool = False

    def __post_init__(self) -> None:
        """Refuse a time that ends before it begins."""
        first, end = self.hours
        if first is not None and end is not None and end <= first:
            raise Invalid("hours-reversed", "the hour at which it ends is not after the one at which it begins")
        if self.days is not None and self.days[1] < self.days[0]:
            raise Invalid("days-reversed", "the last day is before the first")


class Found(NamedTuple):
    """One entry that answers: its index in the log `origin`, the bytes of its part A, and its hour since 1970."""

    origin: str
    number: int
    statement: bytes
    hour: int


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of a log and its index: the first `catalogue.size` blocks by the index, the rest by the tail."""

    log: SearchedLog
    index: IndexFile | None
    catalogue: Catalogue
    tail: Tail

    def postings(self, block: int, kinds: Sequence[int], question: Question) -> list[Posting]:
        """Return the postings of these kinds in a block that may have something in the question's time."""
        found: list[Posting] = []
        with translated("search"):
            for start in range(0, len(kinds), _VARIABLES):
                ids = [posting_id(block, kind) for kind in kinds[start : start + _VARIABLES]]
                query = f"SELECT * FROM posting WHERE id IN ({','.join('?' * len(ids))}) AND {_IN_TIME}"  # noqa: S608  marks
                found += self._postings(query, (*ids, *_times(question)))
        return found

    def summaries(self, question: Question) -> Iterator[Posting]:
        """Yield every posting that may have something in the question's time, without groups and offsets."""
        columns = "id, n, persons, first_hour, last_hour, first_day, last_day, x'', x''"
        with translated("search"):
            for block in bits(self.catalogue.blocks_between(question.hours, question.days)):
                ends = (posting_id(block, 0), posting_id(block + 1, 0))
                query = f"SELECT {columns} FROM posting WHERE id >= ? AND id < ? AND {_IN_TIME}"  # noqa: S608  constants
                yield from self._postings(query, (*ends, *_times(question)))

    def whole(self, summary: Posting) -> Posting:
        """Return a posting with its groups and offsets."""
        with translated("search"):
            (posting,) = self._postings("SELECT * FROM posting WHERE id = ?", (summary.number,))
        return posting

    def days_of(self, posting: Posting) -> dict[int, str]:
        """Return the day of each statement of a posting."""
        numbers = sorted({group.statement for group in posting.each_group()})
        found: dict[int, str] = {}
        with translated("search"):
            for start in range(0, len(numbers), _VARIABLES):
                some = numbers[start : start + _VARIABLES]
                query = f"SELECT aid, day FROM statement WHERE aid IN ({','.join('?' * len(some))})"  # noqa: S608  marks
                found.update(typed("it", self._select(query, some), what="search"))
        return found

    def groups(self, posting: Posting, question: Question) -> Iterator[tuple[Group, array[int]]]:
        """Yield the groups of a posting that are in the question's time, with their offsets."""
        days = question.days
        day_of = {} if days is None else self.days_of(posting)
        offsets, start = posting.each_offset(), 0
        for group in posting.each_group():
            if is_between(group.hour, question.hours) and (
                days is None or days[0] <= day_of[group.statement] <= days[1]
            ):
                yield group, offsets[start : start + group.n]
            start += group.n

    def _postings(self, query: str, values: Sequence[object]) -> list[Posting]:
        return [Posting(*row) for row in typed("iiivvttbb", self._select(query, values), what="search")]

    def _select(self, query: str, values: Sequence[object]) -> list[Any]:
        return [] if self.index is None else self.index.connection.execute(query, tuple(values)).fetchall()


class LogSearch:
    """Search in one log. Calls from several threads are taken one after the other."""

    def __init__(self, log: SearchedLog, path: Path | None, *, left_out: frozenset[str] = frozenset()) -> None:
        """`path` is the log's index, which another process builds and which may come later; None is none.

        `left_out` are the members that no term is made of, as they are given to `IndexFile.update`.
        """
        self.log = log
        self.left_out = left_out
        self._path = path
        self._lock = threading.Lock()
        # Owned by the lock.
        self._index: IndexFile | None = None
        self._catalogue, self._version = Catalogue(), (0, b"")
        self._tail = Tail(0, left_out)
        self._statements: dict[int, bytes] = {}

    @property
    def origin(self) -> str:
        """Return the log's origin."""
        return self.log.origin

    def close(self) -> None:
        """Close the index; the log is its owner's to close."""
        with self._lock:
            self._forget()

    def find(self, question: Question, *, before: int | None = None, limit: int = 100) -> list[Found]:
        """Return at most `limit` (1 … 1,000) entries below the index `before`, newest first.

        The last index given is the next `before`. Raises `Invalid` (`limit`, `not-searchable`) and `Busy`
        (`search-behind`) while an index is still far behind its log.
        """
        if not 1 <= limit <= MAX_FOUND:
            raise Invalid("limit", f"a list has 1 to {MAX_FOUND} items")
        check_searchable(question.any_of, self.left_out)
        with self.moment() as moment:
            end = moment.tail.end if before is None else min(before, moment.tail.end)
            found = _find(moment, question, end, limit)
            return [Found(self.origin, at.number, self._statement(at.statement), at.hour) for at in found]

    def is_behind(self) -> bool:
        """Tell whether the log has a whole block that the index has not."""
        with self._lock:
            try:
                self._refresh()
                return self.log.size >> self._catalogue.height > self._catalogue.size
            finally:
                if self._index is not None:
                    self._index.connection.rollback()

    @contextmanager
    def moment(self) -> Generator[Moment]:
        """Hold one moment of the log and its index. Raises `Busy` (`search-behind`)."""
        with self._lock:
            try:
                self._refresh()
                size = self.log.size
                if size - self._tail.end > MAX_TAIL:
                    message = (
                        f"{size - self._tail.end} entries of {self.origin} are not indexed yet; is it being built?"
                    )
                    raise Busy("search-behind", message, retry_after=30)
                self._tail.extend(self.log, size)
                yield Moment(self.log, self._index, self._catalogue, self._tail)
            finally:
                if self._index is not None:
                    self._index.connection.rollback()

    def _refresh(self) -> None:
        """Begin a reading of the index, and load what has come since; without a usable index go on without."""
        if self._index is None and self._path is not None:
            self._index = IndexFile.read_only(self._path)
        if self._index is not None:
            with translated("search"):
                self._index.connection.execute("BEGIN")
            version = self._index.version()
            if version != self._version:
                if self._index.left_out() == self.left_out and self._index.is_of(self.log):
                    self._catalogue, self._version = Catalogue.load(self._index), version
                else:
                    self._forget()
        if self._catalogue.end != self._tail.start:
            self._tail = Tail(self._catalogue.end, self.left_out, hour=self._catalogue.hour)

    def _forget(self) -> None:
        if self._index is not None:
            self._index.close()
        self._index = None
        self._catalogue, self._version = Catalogue(), (0, b"")

    def _statement(self, number: int) -> bytes:
        found = self._statements.get(number)
        if found is None:
            if len(self._statements) >= _MOST_STATEMENTS:
                self._statements.clear()
            found = self._statements[number] = self.log.statement(number)
        return found


def _find(moment: Moment, question: Question, before: int, limit: int) -> list[Place]:
    tail, catalogue = moment.tail, moment.catalogue
    found = tail.find(
        tail.kinds.asked_for(question.any_of, unlisted=question.unlisted),
        before=before,
        limit=limit,
        hours=question.hours,
        days=question.days,
    )
    kinds = list(bits(catalogue.kinds.asked_for(question.any_of, unlisted=question.unlisted)))
    blocks = catalogue.blocks_of(kinds) & catalogue.blocks_between(question.hours, question.days)
    blocks &= (1 << -(-before >> catalogue.height)) - 1
    while blocks and len(found) < limit:
        block = blocks.bit_length() - 1
        blocks ^= 1 << block
        postings = moment.postings(block, catalogue.within(kinds, block), question)
        found += _newest(moment, postings, question, before - (block << catalogue.height), limit - len(found))
    return found


def _newest(moment: Moment, postings: Sequence[Posting], question: Question, below: int, limit: int) -> list[Place]:
    """Return the newest places of a block whose offset is below `below`."""
    candidates: list[int] = []
    for at, posting in enumerate(postings):
        candidates += [offset << _POSTING_BITS | at for offset in _offsets(moment, posting, question) if offset < below]
    # Only for those that are shown is it worth knowing which statement they belong to.
    by_posting: dict[int, set[int]] = {}
    for one in nlargest(limit, candidates):
        by_posting.setdefault(one & (1 << _POSTING_BITS) - 1, set()).add(one >> _POSTING_BITS)
    found: list[Place] = []
    for at, wanted in by_posting.items():
        posting = postings[at]
        first = posting.block << moment.catalogue.height
        offsets, start = posting.each_offset(), 0
        for statement, hour, n in posting.each_group():
            found += [Place(first + at, statement, hour) for at in wanted.intersection(offsets[start : start + n])]
            start += n
    return sorted(found, reverse=True)


def _offsets(moment: Moment, posting: Posting, question: Question) -> Iterable[int]:
    """Return the offsets of a posting's entries that are in the question's time."""
    if is_whole(posting, question):
        return posting.each_offset()
    return chain.from_iterable(offsets for _, offsets in moment.groups(posting, question))


def is_whole(posting: Posting, question: Question) -> bool:
    """Tell whether all entries of a posting are in the question's time."""
    first, end = question.hours
    days = question.days
    return (
        (first is None or posting.first_hour >= first)
        and (end is None or posting.last_hour < end)
        and (days is None or (posting.first_day >= days[0] and posting.last_day <= days[1]))
    )


def _times(question: Question) -> tuple[int, int, str, str]:
    first, end = question.hours
    earliest, latest = question.days or ("", "~")
    return -1 if first is None else first, 1 << 40 if end is None else end, earliest, latest
