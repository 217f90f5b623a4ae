"""What the HTTP room needs from the other rooms, so that unit tests give it worlds in memory.

Every port MUST be implemented so that the promise in its docstring holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from integrator.directory.documents import Stated
from integrator.directory.plan import Plan
from integrator.directory.writer import Applied
from integrator.domain.directory import DirectoryView
from integrator.domain.identifiers import Position
from integrator.kafka.refusals import Refusal


class Directories(Protocol):
    """This machine's copy of the directory."""

    def read(self) -> AbstractContextManager[DirectoryView]:
        """Open one consistent reading. Raises `Unavailable` when there is no copy yet."""
        ...

    async def wait_for(self, position: Position) -> None:
        """Return when the copy is at or past `position`; the caller sets the time limit."""
        ...


class Writer(Protocol):
    """The one writer of the directory: `integrator.directory.writer.DirectoryWriter`."""

    async def plan(self, documents: Sequence[Stated]) -> Plan:
        """Return what `apply` would do now, or every problem that keeps it from being done."""
        ...

    async def apply(self, documents: Sequence[Stated], *, based_on: int | None = None) -> Applied:
        """Do it. When this returns, it is committed. Raises `Rejected`, or `Refused` (`stale`); nothing was done."""
        ...


class Refusals(Protocol):
    """Where refused requests go on their way to the institution log."""

    async def record(self, refusal: Refusal) -> None:
        """When this returns, the refusal is durable; it raises `Unavailable` when that cannot be said."""
        ...


@dataclass(frozen=True, slots=True)
class LedgerHead:
    """The newest checkpoint of one log. `root` is base64, as in the checkpoint itself."""

    origin: str
    size: int
    root: str


@dataclass(frozen=True, slots=True)
class LedgerCare:
    """How the ledger is kept. `witnessed`: what is published was cosigned by a quorum; else it is published at once.

    `sealed` is the newest sealed day (ISO 8601, empty before the first), `waiting` how many days are over and not
    sealed, `problem` the code of what they wait for. `set_aside` counts records that could not become entries.
    """

    witnessed: bool
    sealed: str
    waiting: int
    problem: str
    set_aside: int


@dataclass(frozen=True, slots=True)
class StreamLag:
    """How many records of one stream no lane has decided about yet."""

    stream: str
    records: int


class Watch(Protocol):
    """What an operator asks about a running installation."""

    async def heads(self) -> Sequence[LedgerHead]:
        """Return the newest checkpoint of each log."""
        ...

    async def care(self) -> LedgerCare:
        """Return how the ledger is kept."""
        ...

    async def lag(self) -> Sequence[StreamLag]:
        """Return the lag of each stream that has a contract."""
        ...
