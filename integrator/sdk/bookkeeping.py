"""Keeps an agency's books while it reads: what is acknowledged, and whether anything is missing.

- A position is committed only when everything before it in its partition is acknowledged: an event that fails is
  delivered again, also when later ones succeeded.
- Sequences are contiguous in each partition and lane. The first one seen after a start is taken as it is: what was
  acknowledged before is not read again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from integrator.sdk.delivered import Position


class Acknowledgements:
    """Positions that may be committed, by partition. Owned by one subscription."""

    def __init__(self) -> None:
        self._given: dict[int, deque[int]] = {}
        self._done: dict[int, set[int]] = {}
        self._next: dict[int, int] = {}

    def give(self, position: Position) -> None:
        """Note that the event at `position` was handed out."""
        self._given.setdefault(position.partition, deque()).append(position.offset)

    def done(self, position: Position) -> None:
        """Note that it was acknowledged. Once is enough; a position that was never handed out changes nothing."""
        given = self._given.get(position.partition)
        if given is None or position.offset not in given:
            return
        done = self._done.setdefault(position.partition, set())
        done.add(position.offset)
        while given and given[0] in done:
            done.discard(given[0])
            self._next[position.partition] = given.popleft() + 1

    def take(self) -> dict[int, int]:
        """Return the positions to commit, by partition, that were not taken before."""
        taken, self._next = self._next, {}
        return taken

    def put_back(self, taken: Mapping[int, int]) -> None:
        """Return positions whose commit failed, unless later ones stand already."""
        self._next = {**taken, **self._next}


class Sequences:
    """The last sequence of each partition and lane. Owned by one subscription."""

    def __init__(self) -> None:
        self._last: dict[tuple[int, int], int] = {}

    def missing(self, partition: int, lane: int, sequence: int) -> int:
        """Enter a sequence and return how many are missing before it."""
        last = self._last.get((partition, lane))
        self._last[partition, lane] = sequence if last is None else max(last, sequence)
        return 0 if last is None else max(0, sequence - last - 1)
