"""What the directory needs from the world: its topic, the requests to it, and a clock for the writer alone.

Every port MUST be implemented so that the promise in its docstring holds; one suite runs against each implementation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from integrator.domain.identifiers import Position

Outgoing = tuple[bytes, bytes]
"""Key and value of a record to append."""


@dataclass(frozen=True, slots=True)
class Incarnation:
    """Which topic a position belongs to: a restored cluster or a topic made anew is another one."""

    cluster: str
    topic: str
    """Kafka's id of the topic, not its name."""


@dataclass(frozen=True, slots=True)
class FedRecord:
    """One committed record of the directory's topic. Without a value it erases the record of its key."""

    offset: int
    key: bytes = field(repr=False)
    """It may hold a pseudonym, which leads to a person."""
    value: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """One record of the requests topic."""

    partition: int
    offset: int
    value: bytes = field(repr=False)


class DirectoryTopic(Protocol):
    """Reads the directory's topic: committed records only, in order.

    `fetch` waits up to `wait` seconds and returns records and the position after them, which passes the marks of
    transactions too. `start` refuses (`directory-beyond-end`) a position that the topic does not have yet.
    """

    async def incarnation(self) -> Incarnation: ...

    async def start(self, position: Position) -> None: ...

    async def fetch(self, *, wait: float) -> tuple[Sequence[FedRecord], Position]: ...

    async def close(self) -> None: ...


class DirectoryLog(Protocol):
    """Appends to the directory's topic under the one transactional id that every writer shares.

    When `start` returns, every earlier writer is fenced and its transaction ended, no leftovers of one can become
    visible, and the answer is the end of the topic. When `append` returns, all records are committed in this order,
    the requests up to the given positions (next to read, by partition) are done with, and the answer is the position
    after the last record; when it raises, it is unknown whether they are, the log MUST be closed, and a new `start`
    settles it.
    """

    async def incarnation(self) -> Incarnation: ...

    async def start(self) -> Position: ...

    async def append(self, records: Sequence[Outgoing], *, requests: Mapping[int, int] | None = None) -> Position: ...

    async def close(self) -> None: ...


class Requests(Protocol):
    """Reads the requests that lanes and the API make of the directory, from where `append` last recorded.

    `fetch` waits up to `wait` seconds and returns at most about `limit` requests and, by partition, the position after
    them. A request may come again after a restart.
    """

    async def start(self) -> None: ...

    async def fetch(self, *, wait: float, limit: int) -> tuple[Sequence[Request], Mapping[int, int]]: ...

    async def close(self) -> None: ...


class Clock(Protocol):
    """Tells the time. Only the writer has one; whatever it makes of it is a record."""

    def __call__(self) -> datetime:
        """Return the present instant, with a time zone."""
        ...
