"""What a lane needs from the world: an event log with transactions, a copy of the directory, and leave to deliver.

Every port MUST be implemented so that the promise in its docstring holds; one suite runs against each implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from integrator.domain.directory import DirectoryView
from integrator.domain.errors import Refused
from integrator.domain.identifiers import Position
from integrator.routing.guard import Waits

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One record as the log gave it. `timestamp` is the log's, in milliseconds since 1970.

    Its representation hides what is about people, as that of every record here.
    """

    position: int
    timestamp: int
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: Headers = field(repr=False)


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """Consecutive records of one partition of one stream, in order. `next_position` is where reading goes on."""

    stream: str
    topic: str
    partition: int
    partitions: int
    """How many partitions the topic has, to check that the record sits in the right one."""
    records: Sequence[SourceRecord]
    next_position: int


@dataclass(frozen=True, slots=True)
class OutRecord:
    """One record to write. Its topic and partition stand beside it."""

    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: Headers = field(default=(), repr=False)


Outbox = Mapping[tuple[str, int], Sequence[OutRecord]]
"""Records to write, by (topic, partition), in order."""


Place = tuple[str, int]
"""A topic and a partition."""


class Fenced(Refused):
    """Another owner took over the lane's transactional id, or its transaction timed out: the two look the same."""

    def __init__(self, message: str) -> None:
        super().__init__("lane-fenced", message)


class StreamFailure(Refused):
    """A stream cannot go on: `position-out-of-range`, `topic-replaced`, `topic-missing`, or not be decided yet.

    The lane leaves it out for a while and goes on with the others.
    """

    def __init__(self, code: str, message: str, *, topic: str) -> None:
        super().__init__(code, message)
        self.topic = topic


@dataclass(frozen=True, slots=True)
class TopicIdentity:
    """What tells a topic from a later one with the same name: Kafka's ids of the topic and of its cluster."""

    cluster: str
    id: str
    partitions: int


class LaneProducer(Protocol):
    """Writes whole transactions under one transactional id.

    When `start` returns, every earlier owner of the id is fenced, its transaction has ended, and the lane's state can
    be read to its end. No partition is written before it is known to hold no open leftovers of earlier transactions.
    When `commit` returns, all of the outbox is visible to committed readers within moments; when it raises, either
    all of it will be or nothing ever, and the state that is read after the next `start` tells which. After any
    exception the producer MUST be closed and never used again. `start` and `commit` raise `Fenced`.
    """

    async def start(self) -> None: ...

    async def recover(self, at: int, places: Collection[Place]) -> None:
        """Finish what earlier transactions left open in every partition that only this lane writes.

        `at` is that of the last transaction that the lane's state shows, `places` are the partitions that it names.
        """
        ...

    async def commit(self, outbox: Outbox, *, at: int) -> None:
        """Write all of `outbox`. `at` becomes the time of every record: milliseconds, different for each commit."""
        ...

    async def close(self) -> None: ...


class SourceReader(Protocol):
    """Reads committed records of partitions that are assigned by hand.

    `start` assigns exactly these partitions, at these positions (`None`: the earliest that there is); it may be
    called again. `fetch` waits up to `wait` seconds for records, returns at most `limit` of them in all, and for each
    partition where reading goes on. A position that the log no longer has, or does not have yet, is a `StreamFailure`
    (`position-out-of-range`) of either, never a silent jump. `behind` tells whether the log is known to hold records
    that `fetch` has not returned.
    """

    async def start(self, positions: Mapping[Place, int | None]) -> None: ...

    async def fetch(self, *, wait: float, limit: int) -> list[tuple[Place, Sequence[SourceRecord], int]]: ...

    def behind(self) -> bool: ...

    async def close(self) -> None: ...


class EventLog(Protocol):
    """Makes a lane's clients, and answers what stands in the log."""

    def producer(self, lane: int) -> LaneProducer: ...

    def reader(self) -> SourceReader: ...

    async def state(self, lane: int) -> Sequence[tuple[bytes, bytes | None]]:
        """Return every committed record of the lane's state, in order, to the end of the log as it is now."""
        ...

    async def identify(self, topics: Sequence[str]) -> Mapping[str, TopicIdentity]:
        """Return what those of `topics` are that exist."""
        ...

    async def copy_positions(self, positions: Mapping[Place, int]) -> None:
        """Show positions to lag tools. Nobody reads them back."""
        ...

    async def close(self) -> None: ...


class Ownership(Protocol):
    """Says which lanes this process has. Fencing makes safe what this only makes orderly: it may be late."""

    def owned(self, lane: int) -> bool:
        """Tell whether the lane is this process's, as far as it knows. Asked after every await of a lane's start."""
        ...

    async def confirmed(self, lane: int) -> bool:
        """Ask the group itself, after a fencing, and wait while it rearranges. False: the lane is another's."""
        ...

    async def changed(self) -> None:
        """Return when lanes came or went since the call."""
        ...


class Membership(Ownership, Protocol):
    """The ownership together with what keeps it up."""

    async def start(self) -> None: ...

    async def close(self) -> None:
        """Leave the group. The lanes MUST have stopped before: the next owner starts at once."""
        ...


Clock = Callable[[], int]
"""The wall clock, in milliseconds since 1970."""


class Directories(Protocol):
    """The copy of the directory on this machine."""

    def read(self) -> AbstractContextManager[DirectoryView]:
        """Open one consistent reading; close it before the first await."""
        ...

    async def wait_for(self, position: Position) -> None:
        """Return when the copy is at or past `position`; the caller sets the time limit."""
        ...


class Brakes(Protocol):
    """Says why nothing may be delivered now, whatever the directory permits: the ledger cannot keep up, a disk is full.

    Every lane of a process asks before each transaction, so it answers at once. It says the same until the cause is
    well over: lanes stop and go on in whole spells, and never by turns.
    """

    def reason(self, *, at: int) -> Waits | None:
        """Return why the lanes must wait at `at` (the lane's clock, milliseconds since 1970); `None`: they need not."""
        ...


class Unbraked:
    """Brakes that never hold: for lanes beside which no ledger runs, in trials and measurements."""

    def reason(self, *, at: int) -> Waits | None:  # noqa: ARG002  the port's signature
        """Return `None`."""
        return None
