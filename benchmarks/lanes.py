"""Hears from the lanes' own log how far they are: positions and sequences as they become visible, and nothing else.

It reads `integrator.lanes` as committed readers do, a few small records for each transaction, so that measuring costs
next to nothing of what is measured.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# Reason: aiokafka ships no type information.

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from aiokafka.structs import TopicPartition

from benchmarks.stage import LANES
from integrator.domain.errors import Unavailable
from integrator.domain.topics import LANES as LANES_TOPIC
from integrator.kafka.connection import Connection, start, stop
from integrator.kafka.consumer import committed_reader
from integrator.routing.ports import Place
from integrator.routing.state import LaneState, fold

_STALLED_SECONDS = 60.0


class LaneFollower:
    """Follows every lane from the beginning of its state. Used by one task."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._consumer: Any = None
        self._states = [LaneState() for _ in range(LANES)]

    async def __aenter__(self) -> LaneFollower:
        self._consumer = await start(committed_reader(self._connection), self._connection)
        places = [TopicPartition(LANES_TOPIC, lane) for lane in range(LANES)]
        self._consumer.assign(places)
        await self._consumer.seek_to_beginning(*places)
        return self

    async def __aexit__(self, *_: object) -> None:
        await stop(self._consumer)

    async def open(self) -> None:
        """Return once every lane has decided with a directory: then all of them run."""
        await self._until(lambda: all(state.directory is not None for state in self._states))

    async def reach(self, after: Mapping[Place, int]) -> float:
        """Return the monotonic moment at which the lanes' committed positions were seen at `after` or past it."""
        return await self._until(lambda: all(self._position(place) >= wanted for place, wanted in after.items()))

    def delivered(self, topic: str) -> int:
        """Return how many records the lanes say they have delivered to `topic`."""
        return sum(last for state in self._states for (name, _), last in state.sequences.items() if name == topic)

    def _position(self, place: Place) -> int:
        reached = self._states[place[1] % LANES].positions.get(place)
        return 0 if reached is None else reached.position

    async def _until(self, holds: Any) -> float:
        moved = time.monotonic()
        while not holds():
            fetched: Mapping[Any, list[Any]] = await self._consumer.getmany(timeout_ms=1000)
            now = time.monotonic()
            for place, records in fetched.items():
                moved = now
                state, found = self._states[place.partition], fold((record.key, record.value) for record in records)
                state.directory = state.directory if found.directory is None else found.directory
                state.positions |= found.positions
                state.sequences |= found.sequences
            if now - moved > _STALLED_SECONDS:
                raise Unavailable("benchmark-stalled", f"The lanes have not moved for {_STALLED_SECONDS:.0f} seconds.")
        return time.monotonic()
