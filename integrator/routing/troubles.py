"""Remembers which streams make a lane fail, so that the others go on.

A failed transaction over several streams does not say whose fault it was: each of them is then tried in a transaction
of its own. A stream that fails alone `PATIENCE` times is left out, for longer each time, until it works.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

PATIENCE = 3
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0


@dataclass(slots=True)
class _Trouble:
    failures: int = 0
    pauses: int = 0
    until: float = 0.0


T = TypeVar("T")


class Troubles:
    """The streams of one lane that failed and have not worked since. Outlives the lane's restarts; no clock inside."""

    def __init__(self) -> None:
        self._known: dict[str, _Trouble] = {}

    def blame(self, topics: Collection[str], *, now: float) -> None:
        """Note that a transaction over `topics` failed for what was in it."""
        for topic in topics:
            trouble = self._known.setdefault(topic, _Trouble())
            trouble.failures += 1
            if len(topics) == 1 and trouble.failures >= PATIENCE:
                self.leave_out(topic, now=now)

    def leave_out(self, topic: str, *, now: float) -> None:
        """Leave a stream out for a while."""
        trouble = self._known.setdefault(topic, _Trouble())
        trouble.failures = PATIENCE
        trouble.until = now + min(FIRST_PAUSE * 2**trouble.pauses, LONGEST_PAUSE)
        trouble.pauses = min(trouble.pauses + 1, 16)

    def works(self, topics: Iterable[str]) -> None:
        """Note that a transaction over `topics` became visible."""
        for topic in topics:
            self._known.pop(topic, None)

    def left_out(self, *, now: float) -> frozenset[str]:
        """Return the streams that are left out now."""
        return frozenset(topic for topic, trouble in self._known.items() if trouble.until > now)

    def groups(self, items: Sequence[tuple[str, T]]) -> list[list[T]]:
        """Share (topic, item) over transactions: the untroubled together first, then each suspect alone."""
        together: list[T] = []
        alone: dict[str, list[T]] = {}
        for topic, item in items:
            (alone.setdefault(topic, []) if topic in self._known else together).append(item)
        return [group for group in (together, *alone.values()) if group]
