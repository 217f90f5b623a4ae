"""Limits in how many people's entries an auditor may see part S: a thousand in a question, a number in a day.

How many were opened today is read from the institution log, where each question is an entry before it is answered: so a
restart forgets nothing. Questions on their way to the log are held here.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, Protocol

from integrator.domain.directory import Knowledge
from integrator.domain.errors import Invalid, Refused
from integrator.recording.searching import Asked, FoundPage

IN_A_QUESTION: Final = 1000
"""In how many entries part S may be opened for one question."""
_PAGE: Final = 1000


class Finds(Protocol):
    """Search in the logs: `integrator.recording.searching.Searches`."""

    def find(
        self, asked: Asked, knowledge: Knowledge, *, after: Mapping[str, int] | None = None, limit: int = 100
    ) -> FoundPage: ...


class Quotas:
    """What each reader has opened today. Safe to share between threads.

    LIMIT: of several API processes each knows only its own questions that are still on their way.
    """

    def __init__(self, searches: Finds, *, in_a_day: int) -> None:
        """`in_a_day` is how many entries of people a reader may open between two midnights (UTC)."""
        self._searches = searches
        self._in_a_day = in_a_day
        self._lock = threading.Lock()
        self._on_their_way = Counter[tuple[str, str]]()

    def take(self, reader: str, opened: int, *, day: str) -> None:
        """Hold `opened` openings of a reader's quota of a day (ISO 8601) until `entered` is called for them.

        Raises `Invalid` (`openings-too-many`) and `Refused` (`quota-spent`).
        """
        if not opened:
            return
        if opened > IN_A_QUESTION:
            raise Invalid("openings-too-many", f"At most {IN_A_QUESTION} people's entries are opened for one question.")
        key = reader, day
        with self._lock:
            spent = self.spent(reader, day=day) + self._on_their_way[key]
            if spent + opened > self._in_a_day:
                raise Refused(
                    "quota-spent",
                    f"Of {self._in_a_day} openings of people's entries in a day {max(self._in_a_day - spent, 0)} are "
                    "left until midnight (UTC).",
                )
            self._on_their_way[key] += opened

    def entered(self, reader: str, opened: int, *, day: str) -> None:
        """Let go of what `take` held: the question is an entry by now, or will not be one."""
        with self._lock:
            self._on_their_way[reader, day] -= opened

    def spent(self, reader: str, *, day: str) -> int:
        """Return in how many entries part S was opened to a reader on a day, as the institution log says."""
        asked = Asked(outcomes=("asked",), recipient=reader, first_day=day, last_day=day)
        spent, after = 0, None
        while True:
            page = self._searches.find(asked, Knowledge(version=0), after=after, limit=_PAGE)
            spent += sum(_opened(one.says) for one in page.found)
            if page.after is None:
                return spent
            after = page.after


def _opened(says: Mapping[str, Any]) -> int:
    return int(says["opened"])
