"""Searches several logs as one: shards beside each other, half-years after each other, newest first.

- Periods are gone through from the newest back, and an older one is asked only when the newer ones did not fill the
  page. Inside a period the logs are merged by the hour; within an hour, and where the hours of a log are out of order,
  a log's own order stands.
- A place is one index for each log, so that a page goes on exactly where the last one ended, whatever was appended
  since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice

from integrator_audit.searching.query import Found, LogSearch, Question

Place = Mapping[str, int]
"""By origin: only entries below this index."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries, newest first; `next` continues, None when there are no older ones."""

    found: tuple[Found, ...]
    next: Place | None


class Search:
    """Search in several logs. Safe to share between threads."""

    def __init__(self, periods: Sequence[Sequence[LogSearch]]) -> None:
        """`periods` are the logs of each half-year, the newest first; each log's origin once."""
        self.periods = tuple(tuple(logs) for logs in periods)

    def find(self, question: Question, *, place: Place | None = None, limit: int = 100) -> Page:
        """Return at most `limit` (1 … 1,000) entries, newest first, from `place` on; raise as `LogSearch.find` does."""
        # Every log's end is held fast before the first is read: what comes meanwhile is in front of this list.
        below = {log.origin: log.log.size for logs in self.periods for log in logs} | dict(place or {})
        # One more than asked for tells whether there is a next page.
        found = list(islice(self._every(question, below, limit + 1), limit + 1))
        if len(found) <= limit:
            return Page(tuple(found), None)
        return Page(tuple(found[:limit]), below | {one.origin: one.number for one in found[:limit]})

    def _every(self, question: Question, below: Place, limit: int) -> Iterator[Found]:
        for logs in self.periods:
            streams = [_falling(log, question, below[log.origin], min(limit, 1000)) for log in logs]
            for _, _, found in merge(*streams, reverse=True):
                yield found


def _falling(log: LogSearch, question: Question, before: int, page: int) -> Iterator[tuple[int, str, Found]]:
    """Yield a log's entries in its own order, each with an hour that is never later than the one before."""
    hour = 1 << 62
    while found := log.find(question, before=before, limit=page):
        for one in found:
            hour = min(hour, one.hour)
            yield hour, log.origin, one
        if len(found) < page:
            return
        before = found[-1].number
