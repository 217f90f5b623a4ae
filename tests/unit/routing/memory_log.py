"""An event log in memory that judges: a fenced producer commits nothing, a closed one is never used again."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager

from integrator.domain.directory import Knowledge
from integrator.domain.errors import Unavailable
from integrator.domain.identifiers import Position
from integrator.domain.topics import LANES, source_topic
from integrator.routing.ports import (
    Fenced,
    LaneProducer,
    Outbox,
    OutRecord,
    Place,
    SourceReader,
    SourceRecord,
    StreamFailure,
    TopicIdentity,
)
from tests.fault import line


class MemoryLog:
    """The log, shared by every lane of a test. Faults are set from outside."""

    def __init__(self) -> None:
        self.written: defaultdict[Place, list[OutRecord]] = defaultdict(list)
        self.transactions: list[Outbox] = []
        self.sources: defaultdict[Place, list[SourceRecord]] = defaultdict(list)
        self.identities = {
            source_topic(*stream.split("/")): TopicIdentity("cluster", f"id-{stream}", line.PARTITIONS)
            for stream in line.STREAMS
        }
        self.epoch = 0
        self.starts = 0
        self.reads_of_state = 0
        self.silent = False
        """Readers return nothing, although there is something."""
        self.failures: list[Exception] = []
        """Raised by the next commits, before anything is stored."""
        self.late_failures: list[Exception] = []
        """Raised by the next commits, after everything is stored."""
        self.arrived = asyncio.Event()
        self.hold: asyncio.Event | None = None
        """When set, a commit waits for it."""
        self.committing = asyncio.Event()

    def publish(self, stream: str, partition: int, *values: bytes) -> None:
        """Append source records."""
        records = self.sources[source_topic(*stream.split("/")), partition]
        for value in values:
            records.append(SourceRecord(len(records), 0, b"key", value, ()))
        self.arrived.set()

    def delivered(self, topic: str = line.AGENCY_TOPICS[0]) -> list[bytes]:
        """Return the values of every delivery on `topic`."""
        return [
            record.value or b"" for (name, _), records in self.written.items() if name == topic for record in records
        ]

    def producer(self, lane: int) -> LaneProducer:
        """Return a producer for one start of the lane."""
        return _Producer(self, lane)

    def reader(self) -> SourceReader:
        """Return a reader."""
        return _Reader(self)

    async def state(self, lane: int) -> Sequence[tuple[bytes, bytes | None]]:
        """Return the lane's state records."""
        self.reads_of_state += 1
        return [(record.key or b"", record.value) for record in self.written[LANES, lane]]

    async def identify(self, topics: Sequence[str]) -> Mapping[str, TopicIdentity]:
        """Return the topics that exist."""
        return {topic: self.identities[topic] for topic in topics if topic in self.identities}

    async def copy_positions(self, positions: Mapping[Place, int]) -> None:
        """Take note of nothing."""

    async def close(self) -> None:
        """Close nothing."""


class _Producer:
    def __init__(self, log: MemoryLog, lane: int) -> None:
        self._log = log
        self._epoch = -1
        self._failed = False

    async def start(self) -> None:
        self._log.starts += 1
        self._log.epoch += 1
        self._epoch = self._log.epoch

    async def recover(self, at: int, places: Collection[Place]) -> None:
        self._at = at

    async def commit(self, outbox: Outbox, *, at: int) -> None:
        assert not self._failed, "a producer that failed was used again"
        assert at > self._at, "two transactions have the same time"
        self._at = at
        self._failed = True
        if self._log.hold is not None:
            self._log.committing.set()
            await self._log.hold.wait()
        if self._epoch != self._log.epoch:
            raise Fenced("another producer started")
        if self._log.failures:
            raise self._log.failures.pop()
        for place, records in outbox.items():
            self._log.written[place].extend(records)
        self._log.transactions.append(outbox)
        if self._log.late_failures:
            raise self._log.late_failures.pop()
        self._failed = False

    async def close(self) -> None:
        self._failed = True


class _Reader:
    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._positions: dict[Place, int] = {}

    async def start(self, positions: Mapping[Place, int | None]) -> None:
        assert positions, "nothing was assigned"
        self._positions = {place: position or 0 for place, position in positions.items()}
        for (topic, partition), position in self._positions.items():
            if position > len(self._log.sources[topic, partition]):
                raise StreamFailure("position-out-of-range", "beyond the end", topic=topic)

    async def fetch(self, *, wait: float, limit: int) -> list[tuple[Place, Sequence[SourceRecord], int]]:
        found: list[tuple[Place, Sequence[SourceRecord], int]] = []
        for place, position in self._positions.items():
            records = self._log.sources[place][position : position + limit]
            if records and not self._log.silent:
                limit -= len(records)
                self._positions[place] += len(records)
                found.append((place, records, self._positions[place]))
        if not found:
            self._log.arrived.clear()
            try:
                await asyncio.wait_for(self._log.arrived.wait(), wait)
            except TimeoutError:
                return []
            return await self.fetch(wait=0, limit=limit) if wait else []
        return found

    def behind(self) -> bool:
        return any(position < len(self._log.sources[place]) for place, position in self._positions.items())

    async def close(self) -> None:
        self._positions = {}


class MemoryOwnership:
    """An ownership that the test sets."""

    def __init__(self) -> None:
        self.mine = True
        self.asked = 0

    def owned(self, lane: int) -> bool:
        """Tell what the test has set."""
        return self.mine

    async def confirmed(self, lane: int) -> bool:
        """Tell what the test has set."""
        self.asked += 1
        return self.mine

    async def changed(self) -> None:
        """Wait a moment."""
        await asyncio.sleep(0.01)


class MemoryDirectories:
    """A directory that the test moves."""

    def __init__(self, known: Knowledge) -> None:
        self._position = Position(1)
        self._known = known
        self._moved = asyncio.Event()
        self.missing = False
        self.open_readings = 0

    def move(self, position: int, known: Knowledge | None = None) -> None:
        """Let the copy come to `position`."""
        self._position, self._known = Position(position), known or self._known
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    @contextmanager
    def read(self) -> Generator[line.LineView]:
        """Open one reading."""
        if self.missing:
            raise Unavailable("no-directory", "There is no copy of the directory.")
        self.open_readings += 1
        yield line.LineView(self._position, self._known)
        self.open_readings -= 1

    async def wait_for(self, position: Position) -> None:
        """Return when the copy is at or past `position`."""
        while self._position < position:
            await self._moved.wait()
