"""Runs one lane: from the fencing of its last owner to the last transaction, one transaction at a time.

    Fencing → Recovering → CatchingUp → Joining ⇄ Open → Stopped
       ↖_________________ Broken ________________↙   (from each of them, after any exception)

- The lane's task alone uses its producer and its reader, so neither needs a lock.
- Ownership is looked at after every await: a lane that went on starting after it was lost would fence its new owner.
- After any exception the producer is thrown away; the lane knows nothing but what it reads back. A crash at any place
  here is the same: what was committed is in `integrator.lanes`, what was not is decided again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import TypeVar, assert_never

from integrator.domain.directory import Knowledge
from integrator.domain.errors import Unavailable
from integrator.routing.delivery import Delivery, End, Joined, TransactionFailed
from integrator.routing.guard import Waits, copy_too_old
from integrator.routing.ports import Fenced, LaneProducer, Place, SourceReader, StreamFailure, TopicIdentity
from integrator.routing.reports import LaneReports
from integrator.routing.setting import LaneSetting
from integrator.routing.state import LaneState, fold, written
from integrator.routing.streams import parts_of, start_positions
from integrator.routing.troubles import Troubles

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fencing:
    """The producer starts: the transaction of the last owner ends."""


@dataclass(frozen=True, slots=True)
class Recovering:
    """The state is read back."""

    producer: LaneProducer


@dataclass(frozen=True, slots=True)
class CatchingUp:
    """This machine's directory must know at least what the lane has decided with."""

    producer: LaneProducer
    state: LaneState


@dataclass(frozen=True, slots=True)
class Joining:
    """The lane's partitions of the streams that there are now are assigned, each at its position."""

    producer: LaneProducer
    state: LaneState


@dataclass(frozen=True, slots=True)
class Open:
    """The lane decides and delivers."""

    joined: Joined


@dataclass(frozen=True, slots=True)
class Broken:
    """Something failed; nothing of this start is used again."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Stopped:
    """The lane has let go of everything."""


Phase = Fencing | Recovering | CatchingUp | Joining | Open | Broken | Stopped


class _Lost(Exception):
    """The lane is another's, or it is to stop."""


class Lane:
    """One lane in this process. `run` may be called again after it has returned."""

    def __init__(self, lane: int, setting: LaneSetting) -> None:
        self._lane = lane
        self._setting = setting
        self._limits = setting.limits
        self._troubles = Troubles()
        self._reports = LaneReports(lane)
        self._stopping = asyncio.Event()
        self._failed_starts = 0
        """In a row, without a transaction that became visible."""
        self._producer: LaneProducer | None = None
        self._reader: SourceReader | None = None
        self.phase: Phase = Stopped()
        self.running = False
        """Whether `run` has not returned yet."""

    def stop(self) -> None:
        """Tell the lane to stop after the transaction that it is in; `run` returns then."""
        self._stopping.set()

    def positions(self) -> dict[Place, int]:
        """Return what of the lane's progress is visible to everybody; empty while it is not open."""
        if not isinstance(self.phase, Open):
            return {}
        return {place: reached.position for place, reached in self.phase.joined.state.positions.items()}

    async def run(self) -> None:
        """Start, deliver, and start anew after errors, until the lane is lost or told to stop."""
        self.phase, self.running = Fencing(), True
        try:
            while not isinstance(self.phase, Stopped):
                try:
                    self.phase = await self._advance(self.phase)
                except _Lost:
                    self.phase = Stopped()
                except Exception as error:  # whatever a foreign library raises, it means: start anew
                    self.phase = Broken(error)
        finally:
            await self._let_go()
            self.running = False
            self._reports.stopped()

    async def _advance(self, phase: Phase) -> Phase:
        match phase:
            case Fencing():
                self._producer = self._setting.log.producer(self._lane)
                await self._mine(self._producer.start())
                return Recovering(self._producer)
            case Recovering(producer):
                state = fold(await self._mine(self._setting.log.state(self._lane)))
                await self._mine(producer.recover(state.at, await self._existing(written(state, self._lane))))
                return CatchingUp(producer, state)
            case CatchingUp(producer, state):
                if reason := self._not_yet(state):
                    self._reports.waits(reason)
                    await self._mine(asyncio.sleep(self._limits.recheck))
                    return phase
                return Joining(producer, state)
            case Joining(producer, state):
                return await self._join(producer, state)
            case Open(joined):
                delivery = Delivery(self._lane, self._setting, joined, troubles=self._troubles, reports=self._reports)
                try:
                    end = await delivery.run(self._stopping)
                finally:
                    if delivery.delivered:
                        self._failed_starts = 0
                return Joining(joined.producer, joined.state) if end is End.STREAMS else Stopped()
            case Broken(error):
                return await self._start_anew(error)
            case Stopped():
                return phase
        assert_never(phase)

    async def _mine(self, step: Awaitable[T]) -> T:
        """Await a step; afterwards the lane is still ours, or it ends here."""
        result = await step
        if self._stopping.is_set() or not self._setting.ownership.owned(self._lane):
            raise _Lost
        return result

    async def _existing(self, places: set[Place]) -> list[Place]:
        """Return those of `places` whose topics still exist: an operator may have removed an agency's."""
        if not places:
            return []
        found = await self._setting.log.identify(sorted({topic for topic, _ in places}))
        return sorted(place for place in places if place[0] in found)

    def _not_yet(self, state: LaneState) -> Waits | None:
        try:
            with self._setting.directories.read() as view:
                return copy_too_old(view, state.directory)
        except Unavailable as error:
            return Waits(error.code, error.message)

    async def _join(self, producer: LaneProducer, state: LaneState) -> Phase:
        with self._setting.directories.read() as view:
            knowledge: Knowledge = view.knowledge
        left_out = self._troubles.left_out(now=time.monotonic())
        parts = parts_of(knowledge, lane=self._lane, lanes=self._setting.lanes)
        parts = {topic: part for topic, part in parts.items() if topic not in left_out}
        identities: Mapping[str, TopicIdentity] = {}
        if parts:
            identities = await self._mine(self._setting.log.identify(sorted(parts)))
        reader = self._reader or self._setting.log.reader()
        self._reader = reader
        try:
            positions: dict[Place, int | None] = {}
            for topic, part in parts.items():
                positions |= start_positions(part, identities.get(topic), state.positions)
            if positions:
                await self._mine(reader.start(positions))
        except StreamFailure as error:
            self._leave_out(error)
            return Joining(producer, state)
        self._reports.opened(partitions=len(positions), directory=state.directory)
        return Open(
            Joined(
                producer=producer,
                reader=reader if positions else None,
                state=state,
                parts=parts,
                identities=identities,
                knowledge=knowledge.version,
                left_out=left_out,
            )
        )

    def _leave_out(self, error: StreamFailure) -> None:
        self._troubles.leave_out(error.topic, now=time.monotonic())
        self._reports.left_out(error)

    async def _start_anew(self, error: Exception) -> Phase:
        """Throw everything away; return where to go on, once that is sensible."""
        await self._let_go()
        topics: frozenset[str] = frozenset()
        if isinstance(error, TransactionFailed):
            topics, error = error.topics, error.error
        self._reports.broke(error, sorted(topics))
        if isinstance(error, StreamFailure):
            self._leave_out(error)
        elif topics and not isinstance(error, Fenced | Unavailable):
            self._troubles.blame(topics, now=time.monotonic())
        # Two owners that both start at once would fence each other in turn: the group says whose the lane is.
        if isinstance(error, Fenced) and not await self._setting.ownership.confirmed(self._lane):
            return Stopped()
        pause = min(self._limits.pause * 2**self._failed_starts, self._limits.longest_pause)
        self._failed_starts += 1
        await self._mine(asyncio.sleep(pause))
        return Fencing()

    async def _let_go(self) -> None:
        producer, self._producer = self._producer, None
        reader, self._reader = self._reader, None
        if producer is not None:
            await producer.close()
        if reader is not None:
            await reader.close()
