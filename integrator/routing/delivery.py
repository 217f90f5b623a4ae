"""Decides and delivers while a lane is open: one transaction at a time, each with one reading of the directory.

- A transaction is bounded by one fetch; while it is written, the next fetch is filled behind it.
- A change of the directory that comes without input is acknowledged by a transaction with nothing but `dir`.
- Records that may not be decided now are held, and no more are fetched: memory stays flat however long it takes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from integrator.domain.directory import DirectoryView
from integrator.domain.errors import Unavailable
from integrator.domain.identifiers import Position
from integrator.routing.guard import Waits, clock_too_far, copy_too_old
from integrator.routing.ports import LaneProducer, SourceBatch, SourceReader, StreamFailure, TopicIdentity
from integrator.routing.reports import LaneReports
from integrator.routing.setting import LaneSetting
from integrator.routing.state import LaneState
from integrator.routing.streams import LanePart
from integrator.routing.transaction import Composer, Transaction
from integrator.routing.troubles import Troubles


class End(Enum):
    """Why a delivery ended without an error."""

    STOPPED = "told to stop, or the lane is another's"
    STREAMS = "the lane's streams are others now"


@dataclass(frozen=True, slots=True)
class Joined:
    """What an open lane reads and writes with."""

    producer: LaneProducer
    reader: SourceReader | None
    """`None` while the lane has no partition of any stream."""
    state: LaneState
    parts: Mapping[str, LanePart]
    """By topic."""
    identities: Mapping[str, TopicIdentity]
    knowledge: int
    """The version of the directory's knowledge that `parts` is made of."""
    left_out: frozenset[str]
    """Topics that are left out of `parts` because they kept failing."""


class TransactionFailed(Exception):
    """A transaction failed; records of `topics` were in it."""

    def __init__(self, topics: frozenset[str], error: Exception) -> None:
        super().__init__(type(error).__name__)
        self.topics = topics
        self.error = error


class Delivery:
    """One opening of one lane, run by the lane's task."""

    def __init__(
        self, lane: int, setting: LaneSetting, joined: Joined, *, troubles: Troubles, reports: LaneReports
    ) -> None:
        self._lane = lane
        self._setting = setting
        self._limits = setting.limits
        self._joined = joined
        self._composer = Composer(lane, setting.engine, joined.state, joined.identities)
        self._troubles = troubles
        self._reports = reports
        self._fetching: asyncio.Task[list[SourceBatch]] | None = None
        self._changing: asyncio.Task[None] | None = None
        self._held: list[SourceBatch] = []
        self.delivered = False
        """Whether a transaction of this opening became visible."""
        self._moved = time.monotonic()
        """When something was last committed, or there was nothing to commit, or the lane had to wait."""

    async def run(self, stopping: asyncio.Event) -> End:
        """Deliver until the streams change, the lane is lost or `stopping` is set. Raises what went wrong."""
        stop = asyncio.create_task(stopping.wait())
        try:
            while True:
                await self._wake(stop)
                if stop.done() or not self._setting.ownership.owned(self._lane):
                    return End.STOPPED
                if self._left_out_is_over() or await self._round() is End.STREAMS:
                    return End.STREAMS
                self._watch()
        finally:
            for task in (self._fetching, self._changing, stop):
                await _end(task)

    async def _wake(self, stop: asyncio.Task[Any]) -> None:
        """Return when there are records, the directory moved, the lane is to stop, or it is time to look again.

        The fetch is never cancelled for a change of the directory: it goes on beside.
        """
        if self._fetching is None and not self._held and self._joined.reader is not None:
            self._fetching = asyncio.create_task(self._fetch(self._joined.reader))
        if self._changing is None:
            known = self._joined.state.directory
            next_position = Position(0 if known is None else known + 1)
            self._changing = asyncio.create_task(self._setting.directories.wait_for(next_position))
        tasks = [task for task in (self._fetching, self._changing, stop) if task is not None]
        await asyncio.wait(tasks, timeout=self._limits.recheck, return_when=asyncio.FIRST_COMPLETED)
        if self._changing.done():
            changing, self._changing = self._changing, None
            try:
                changing.result()
            except Unavailable:
                # The copy is being rebuilt, or is gone: the reading says so, and what to do.
                await asyncio.sleep(self._limits.recheck)
        if self._fetching is not None and self._fetching.done():
            fetching, self._fetching = self._fetching, None
            self._held = fetching.result()

    async def _fetch(self, reader: SourceReader) -> list[SourceBatch]:
        found = await reader.fetch(wait=self._limits.fetch_wait, limit=self._limits.round_records)
        batches: list[SourceBatch] = []
        for (topic, partition), records, next_position in found:
            part = self._joined.parts[topic]
            batches.append(SourceBatch(part.stream, topic, partition, part.partitions, records, next_position))
        return batches

    async def _round(self) -> End | None:
        """Make what is held visible, or hold it on; a suspect stream is in a transaction of its own."""
        groups = self._troubles.groups([(batch.topic, batch) for batch in self._held]) or [[]]
        self._held = []
        for group in groups:
            match self._decide(group):
                case Transaction() as transaction:
                    await self._commit(transaction, group)
                case Waits():
                    self._held += group
                    self._moved = time.monotonic()
                case End() as end:
                    return end
                case None:
                    pass
        # Records that must wait do not keep a position of the directory from being acknowledged.
        match self._decide([]) if self._held else None:
            case Transaction() as transaction:
                await self._commit(transaction, [])
            case End() as end:
                return end
            case Waits() | None:
                pass
        return None

    def _decide(self, batches: Sequence[SourceBatch]) -> Transaction | Waits | End | None:
        """Decide with one reading, which is closed when this returns. `None`: there is nothing to write."""
        joined, at = self._joined, self._setting.clock()
        try:
            with self._setting.directories.read() as view:
                knowledge = view.knowledge
                late = copy_too_old(view, joined.state.directory)
                reason = late or clock_too_far(knowledge, at=at) or self._setting.brakes.reason(at=at)
                if reason is not None or not (batches or self._held):
                    self._reports.waits(reason)
                # A position is acknowledged although the clock is off or the brakes hold: that delivers nothing.
                if late is not None or (reason is not None and batches):
                    return reason
                if knowledge.version != joined.knowledge:
                    return End.STREAMS
                if not batches and joined.state.directory == view.position:
                    return None
                return self._compose(batches, view, at=at)
        except Unavailable as error:
            reason = Waits(error.code, error.message)
            self._reports.waits(reason)
            return reason
        except StreamFailure:
            raise
        except Exception as error:  # of the engine: which stream's, only a transaction of its own can tell
            raise TransactionFailed(frozenset(batch.topic for batch in batches), error) from error

    def _compose(self, batches: Sequence[SourceBatch], view: DirectoryView, *, at: int) -> Transaction:
        """Compose a transaction. A stream that cannot be decided yet is left out, so that the others need not wait.

        Raises `Unavailable` while the lane has no other stream, or it is not known yet which one it is.
        """
        try:
            transaction = self._composer.compose(batches, view, at=at)
        except Unavailable as error:
            topics = sorted({batch.topic for batch in batches})
            if len(self._joined.parts) > 1:
                if len(topics) == 1:
                    raise StreamFailure(error.code, error.message, topic=topics[0]) from error
                self._troubles.blame(topics, now=time.monotonic())
            raise
        if batches:
            self._reports.waits(None)
        return transaction

    async def _commit(self, transaction: Transaction, batches: Sequence[SourceBatch]) -> None:
        topics = frozenset(batch.topic for batch in batches)
        with self._reports.transaction(batches):
            try:
                await self._joined.producer.commit(transaction.outbox, at=transaction.at)
            except Exception as error:
                raise TransactionFailed(topics, error) from error
        # CRASH here: it is visible, and the next start reads that back.
        self._composer.settle(transaction)
        self._troubles.works(topics)
        self._reports.committed(transaction)
        self.delivered = True
        self._moved = time.monotonic()

    def _left_out_is_over(self) -> bool:
        return bool(self._joined.left_out - self._troubles.left_out(now=time.monotonic()))

    def _watch(self) -> None:
        """Raise `Unavailable` (`lane-stalled`) when there is input and nothing has been committed for long."""
        reader = self._joined.reader
        if not self._held and (reader is None or not reader.behind()):
            self._moved = time.monotonic()
        elif time.monotonic() - self._moved > self._limits.stall:
            raise Unavailable("lane-stalled", f"There is input and no commit for {self._limits.stall:.0f} seconds.")


async def _end(task: asyncio.Task[Any] | None) -> None:
    """End a task of the delivery; whatever it still found is found again at the next start."""
    if task is not None:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
