"""Reads records from the event log into one ledger: entries and consumed positions in one ledger transaction.

- Nothing is an entry twice, nothing is left out: reading begins at the positions that the ledger holds, and a batch's
  entries become durable with the positions after it, or not at all. Records below a known position are passed over,
  however often the log hands them out.
- A record is stated with a copy of the directory that is at least as far as the one that decided it.
- A record that cannot be stated is set aside with its reason and position, in the same transaction, and reading goes
  on.
- After an error in an append the outcome is unknown: the sequencer ends, and its owner opens the ledger anew.
- When the log's half-year is over nothing is committed to it any more, whatever was read before: it is read again for
  the next log. The moment that is looked at is the moment of the commit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from integrator import telemetry
from integrator.domain.directory import DirectoryView, Knowledge
from integrator.domain.errors import Invalid
from integrator.domain.identifiers import Position
from integrator.recording.failures import translate, translated
from integrator.recording.logs import Clock, wall_clock
from integrator.recording.threads import in_thread
from integrator_audit import Entry, SetAside
from integrator_audit import errors as audit
from integrator_audit.writer import MAX_BEHIND

TopicPartition = tuple[str, int]
"""A topic and the number of one of its partitions."""

_LOG = telemetry.log("recording")
_ENTRIES = telemetry.meter().create_counter("integrator.ledger.entries", unit="1")
_BEHIND = telemetry.meter().create_gauge("integrator.ledger.behind", unit="1")
_SET_ASIDE = telemetry.meter().create_counter("integrator.ledger.set-aside", unit="1")

WAIT: Final = 0.25
"""Seconds that one fetch waits for records; a stop is seen at least as often."""
BATCH: Final = 1000
"""Records in one ledger transaction, at most."""
PATIENCE: Final = 5.0
"""Seconds of waiting for the directory after which it is said that the log waits."""


@dataclass(frozen=True, slots=True)
class Share:
    """The partitions whose number leaves `number` when divided by `of`: what one of several shards reads."""

    number: int
    of: int

    def has(self, partition: int) -> bool:
        """Tell whether a partition is in it."""
        return partition % self.of == self.number


WHOLE: Final = Share(0, 1)
"""Every partition."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One record as the event log gave it; `timestamp` is the log's, in milliseconds since 1970."""

    topic: str
    partition: int
    position: int
    timestamp: int
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    """It may hold pseudonyms, which lead to people."""


@dataclass(frozen=True, slots=True)
class LogBatch:
    """Committed records, in order within each partition, and where reading goes on in the partitions that moved."""

    records: Sequence[LogRecord]
    next_positions: Mapping[TopicPartition, int]
    behind: int = 0
    """How many records the log still holds beyond these, as far as is known."""


class DisclosureSource(Protocol):
    """Reads committed records of topics whose partitions are assigned by hand.

    After `start(positions)` reading goes on exactly there; a partition that is not named is read from its first
    record. A position that the log no longer has, or does not have yet, MUST be refused (`position-gone`,
    `position-beyond-end`), never jumped over. `fetch` waits up to `wait` seconds and returns at most `limit` records.
    """

    async def start(self, positions: Mapping[TopicPartition, int]) -> None: ...

    async def fetch(self, *, wait: float, limit: int) -> LogBatch: ...

    async def close(self) -> None: ...


class Directories(Protocol):
    """The copy of the directory on this machine."""

    def read(self) -> AbstractContextManager[DirectoryView]:
        """Open one consistent reading; close it before the first await."""
        ...

    async def wait_for(self, position: Position) -> None:
        """Return when the copy is at or past `position`."""
        ...


class Ledgers(Protocol):
    """The ledger as a sequencer uses it. `append` MUST be one transaction: entries, positions, what was set aside.

    `now_ms` is the moment of the commit, in milliseconds since 1970.
    """

    def append(
        self,
        entries: Sequence[Entry],
        *,
        positions: Mapping[TopicPartition, int],
        set_aside: Sequence[SetAside],
        now_ms: int,
    ) -> object: ...

    def positions(self) -> Mapping[TopicPartition, int]: ...


class Due(NamedTuple):
    """Entries to add to a commit, and the marks that stand among its positions when it is durable."""

    entries: Sequence[Entry]
    marks: Mapping[tuple[str, int], int]


NOTHING: Final = Due((), {})


class Beside(Protocol):
    """Says what a commit adds to the entries of the records."""

    def due(self, now: int, entries: Sequence[Entry]) -> Due:
        """Return what a commit at `now` (ms since 1970) that has these entries is to add."""
        ...

    def committed(self, now: int, entries: Sequence[Entry], marks: Mapping[tuple[str, int], int]) -> None:
        """Take note of a durable commit with these entries in all."""
        ...


class Withholding(Protocol):
    """Says which entries of a record are withheld; `recording.withholding` has it."""

    def apply(self, entries: list[Entry], knowledge: Knowledge, now: int) -> list[Entry]:
        """Return the entries as a commit at `now` enters them. Raises `Invalid` when that cannot be said."""
        ...


class Statement(NamedTuple):
    """What a record will say: from which directory position on, and how its entries are made of that knowledge."""

    needs: Position
    make: Callable[[Knowledge], list[Entry]]


class Recorder(Protocol):
    """Says what records mean. Both steps raise `Invalid` for a record that cannot be stated."""

    def read(self, record: LogRecord) -> Statement: ...


@dataclass(slots=True)
class Progress:
    """How far a sequencer is; owned by its task, read by anybody."""

    behind: int = 0
    """Records that the event log holds and the ledger does not, as far as is known."""
    last: int = 0
    """Timestamp of the last record that is durable here, in milliseconds since 1970."""
    whole: int = 0
    """When the log last held everything that there was, in milliseconds since 1970; 0 when that is not known yet."""
    waits: bool = False
    """Whether it waits for this machine's copy of the directory."""

    def reaches(self) -> int | None:
        """Return the moment up to which nothing is missing, in milliseconds since 1970; `None` before it is known.

        It stands still while nothing becomes durable, whatever the reason, and while nobody can be asked.

        # LIMIT: of partitions that are read at different paces it follows the one that is furthest.
        """
        return max(self.whole, self.last) or None

    def seconds(self, now: float) -> float:
        """Return how far the log is behind at `now`, in seconds since 1970; 0 before that is known."""
        reaches = self.reaches()
        return 0.0 if reaches is None else max(0.0, now - reaches / 1000)


@dataclass(slots=True)
class Sequencer:
    """Fills one ledger from one source; one task owns it."""

    log: str
    source: DisclosureSource
    ledger: Ledgers
    recorder: Recorder
    directories: Directories
    beside: Beside | None = None
    """What goes into the log without a record."""
    withholding: Withholding | None = None
    """What turns the entries of a record into those that are withheld under an order."""
    until: int | None = None
    """When the log's half-year is over, in milliseconds since 1970; `None`: never."""
    clock: Clock = wall_clock
    progress: Progress = field(default_factory=Progress)
    since: int = 0
    """The moment of the log's last commit, in milliseconds since 1970: no later one is before it."""

    async def run(self, stop: asyncio.Event) -> None:
        """Record until `stop` is set or the half-year is over; the batch in hand is finished or not begun.

        Raises what the source raises, and `Unavailable` or `Tampered` of the ledger: then it must be opened anew.
        """
        with translated():
            positions = dict(await in_thread(self.ledger.positions))
        await self.source.start(positions)
        try:
            while not (stop.is_set() or self._is_over(self.clock())):
                batch = await self.source.fetch(wait=WAIT, limit=BATCH)
                following = {
                    place: position
                    for place, position in batch.next_positions.items()
                    if position > positions.get(place, 0)
                }
                if not following:
                    await self._alone()
                elif not await self._record(batch, positions, following, stop):
                    continue
                positions.update(following)
                self._advance(batch)
        finally:
            await self.source.close()

    async def _record(
        self,
        batch: LogBatch,
        positions: Mapping[TopicPartition, int],
        following: Mapping[TopicPartition, int],
        stop: asyncio.Event,
    ) -> bool:
        """Make one batch durable; `False` when `stop` or the end of the half-year came before that."""
        # A source that starts anew may hand out what is durable already.
        fresh = [one for one in batch.records if one.position >= positions.get((one.topic, one.partition), 0)]
        statements, set_aside = self._read(fresh)
        needs = max((statement.needs for _, statement in statements), default=Position(0))
        if not await self._directory_at(needs, stop):
            return False
        with telemetry.span("ledger.append") as span:
            entries: list[Entry] = []
            with self.directories.read() as view:
                knowledge = view.knowledge
            # What is entered may depend on the day of the commit, so that is decided first.
            now = self._moment()
            if self._is_over(now):
                return False
            for record, statement in statements:
                try:
                    made = statement.make(knowledge)
                    entries += made if self.withholding is None else self.withholding.apply(made, knowledge, now)
                except Invalid as error:
                    set_aside.append(_aside(record, error))
                except audit.AuditError as error:
                    # A part that has no canonical form. Anything else is not a record's fault.
                    if not isinstance(meant := translate(error), Invalid):
                        raise meant from error
                    set_aside.append(_aside(record, meant))
            span.set_attributes({"log": self.log, "records": len(fresh), "entries": len(entries)})
            await self._commit(entries, following, set_aside, now)
        for aside in set_aside:
            _SET_ASIDE.add(1, {"log": self.log, "reason": aside.reason})
            _LOG.warning(
                "ledger-set-aside",
                log=self.log,
                topic=aside.topic,
                partition=aside.partition,
                position=aside.position,
                reason=aside.reason,
            )
        return True

    async def _alone(self) -> None:
        """Commit what is due without a record, if anything is."""
        now = self._moment()
        if not self._is_over(now) and (await self._due(now, ())).entries:
            await self._commit([], {}, [], now)

    async def _due(self, now: int, entries: Sequence[Entry]) -> Due:
        """Return what a commit at `now` adds; in a thread, because it may have to be looked for in the logs."""
        if self.beside is None:
            return NOTHING
        with translated():
            return await in_thread(self.beside.due, now, entries)

    async def _commit(
        self,
        entries: list[Entry],
        following: Mapping[TopicPartition, int],
        set_aside: Sequence[SetAside],
        now: int,
    ) -> None:
        more = await self._due(now, entries)
        entries = [*entries, *more.entries]
        # A crash before the commit leaves the log as it was, one after it has the positions beside the entries: both
        # times reading goes on where the ledger says.
        with translated():
            await in_thread(
                self.ledger.append, entries, positions={**following, **more.marks}, set_aside=set_aside, now_ms=now
            )
        self.since = max(self.since, now)
        if self.beside is not None:
            self.beside.committed(now, entries, more.marks)
        _ENTRIES.add(len(entries), {"log": self.log})

    def _moment(self) -> int:
        """Return the moment of the next commit as the ledger counts it: a clock that went back a little stands still.

        One that went back further is left to the ledger, which refuses it.
        """
        now = self.clock()
        return self.since if now < self.since <= now + MAX_BEHIND else now

    def _is_over(self, now: int) -> bool:
        return self.until is not None and now >= self.until

    def _read(self, records: Sequence[LogRecord]) -> tuple[list[tuple[LogRecord, Statement]], list[SetAside]]:
        statements: list[tuple[LogRecord, Statement]] = []
        set_aside: list[SetAside] = []
        for record in records:
            try:
                statements.append((record, self.recorder.read(record)))
            except Invalid as error:
                set_aside.append(_aside(record, error))
        return statements, set_aside

    async def _directory_at(self, position: Position, stop: asyncio.Event) -> bool:
        """Wait until this machine's copy is at `position`; `False` when `stop` came first.

        # LIMIT: a position beyond the end of the directory, which only a faulty lane could write, is waited for.
        """
        waiting = asyncio.ensure_future(self.directories.wait_for(position))
        stopping = asyncio.ensure_future(stop.wait())
        began = time.monotonic()
        try:
            while True:
                await asyncio.wait({waiting, stopping}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
                if waiting.done():
                    waiting.result()
                    return True
                if stopping.done():
                    return False
                self.progress.waits = True
                _LOG.warning("ledger-waits", log=self.log, directory=position, seconds=round(time.monotonic() - began))
        finally:
            self.progress.waits = False
            waiting.cancel()
            stopping.cancel()

    def _advance(self, batch: LogBatch) -> None:
        self.progress.behind = batch.behind
        _BEHIND.set(batch.behind, {"log": self.log})
        if batch.records:
            self.progress.last = max(record.timestamp for record in batch.records)
        if not batch.behind:
            self.progress.whole = self.clock()


def _aside(record: LogRecord, error: Invalid) -> SetAside:
    return SetAside(topic=record.topic, partition=record.partition, position=record.position, reason=error.code)
