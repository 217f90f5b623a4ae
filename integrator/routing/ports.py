"""What a lane needs from the world: an event log with transactions, and a copy of the directory.

Every port MUST be implemented so that the promise in its docstring holds; one suite runs against each implementation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from integrator.domain.directory import DirectoryView
from integrator.domain.identifiers import Position

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One record as the log gave it. `timestamp` is the log's, in milliseconds since 1970."""

    position: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


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

    key: bytes | None
    value: bytes | None
    headers: Headers = ()


Outbox = Mapping[tuple[str, int], Sequence[OutRecord]]
"""Records to write, by (topic, partition), in order."""


class LaneProducer(Protocol):
    """Writes whole transactions under one transactional id.

    When `start` returns, every earlier owner of the id is fenced and its transaction ended, and the partitions that
    only this lane writes hold no open leftovers. When `commit` returns, all of the outbox is visible to committed
    readers, else nothing ever is. After any exception the producer MUST be closed and never used again.
    """

    async def start(self) -> None: ...

    async def commit(self, outbox: Outbox) -> None: ...

    async def close(self) -> None: ...


class SourceReader(Protocol):
    """Reads committed records of partitions that are assigned by hand.

    `fetch` waits up to `wait` seconds for records and returns at most `limit` of each partition. A position that
    the log no longer has, or does not have yet, is an error (`position-out-of-range`), never a silent jump.
    """

    async def start(self, positions: Mapping[tuple[str, int], int]) -> None: ...

    async def fetch(self, *, wait: float, limit: int) -> list[tuple[tuple[str, int], Sequence[SourceRecord], int]]: ...

    async def close(self) -> None: ...


class Directories(Protocol):
    """The copy of the directory on this machine."""

    def read(self) -> AbstractContextManager[DirectoryView]:
        """Open one consistent reading; close it before the first await."""
        ...

    async def wait_for(self, position: Position) -> None:
        """Return when the copy is at or past `position`; the caller sets the time limit."""
        ...
