"""Writes the directory: the only process that appends to it, so that there is one order for policy, people and date.

- Each step first waits until this machine's copy holds everything that was appended: what is decided here is decided
  on the whole directory. A second writer fences this one, which then stops.
- When `apply` returns, the records are committed. All documents of a call are checked before the first record; the
  knowledge part is one transaction, people follow in chunks between which other calls go first.
- A crash between chunks leaves whole chunks; applying the same documents again appends what is missing.
- It alone has a clock: days and instants become records here and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from integrator import telemetry
from integrator.directory.documents import Inscriptions, Rejected, Stated
from integrator.directory.due import due, next_due
from integrator.directory.inscribing import Inscriber, counted, in_chunks, requested, stated
from integrator.directory.plan import Action, Change, Plan, plan_knowledge
from integrator.directory.ports import Clock, DirectoryLog, Incarnation, Request, Requests
from integrator.directory.records import DirectoryRecord
from integrator.directory.view import DirectoryReading
from integrator.domain.errors import Invalid, Refused, Unavailable
from integrator.domain.identifiers import Position
from integrator.domain.inscription import Inscription

CHUNK = 2_000
"""Records of one transaction: a revocation waits for no more than this."""
COPY_SECONDS = 30.0
TICK_SECONDS = 0.1
PAUSE_SECONDS = 0.5
_ACTIONS: tuple[Action, ...] = ("create", "replace", "keep")


class Copy(Protocol):
    """This machine's copy of the directory, as the feeder keeps it."""

    def incarnation(self) -> Incarnation | None: ...

    def read(self) -> AbstractContextManager[DirectoryReading]: ...

    async def wait_for(self, position: Position) -> None: ...


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done. A copy at or past `position` holds all of it."""

    position: Position
    changes: tuple[Change, ...]


class DirectoryWriter:
    """The one writer. `run` does what is due and what lanes ask for; `plan` and `apply` answer beside it."""

    def __init__(self, log: DirectoryLog, copy: Copy, requests: Requests, *, clock: Clock, key: bytes) -> None:
        """`key` is the secret of the directory's pseudonyms (`pseudonym-directory`)."""
        self._log = log
        self._copy = copy
        self._requests = requests
        self._clock = clock
        self._key = key
        # One step at a time; nobody closes the log while another step uses it.
        self._lock = asyncio.Lock()
        self._incarnation: Incarnation | None = None
        self._fenced: Refused | None = None
        self._end: Position | None = None
        """The position after everything appended; `None` when that is not known, until the log was started anew."""
        self._due: tuple[int, datetime | None] = (-1, None)
        self._report = telemetry.log("directory")

    async def start(self) -> None:
        """Fence every earlier writer and catch up. Raises `Refused` or `Unavailable` (`directory-behind`, …)."""
        async with self._lock:
            await self._settle()
        self._report.info("directory-writes", position=self._end)

    async def close(self) -> None:
        """Give up the log and the requests."""
        async with self._lock:
            self._end = None
            await self._log.close()
        await self._requests.close()

    async def run(self) -> None:
        """Do what time makes due and what lanes ask for, until cancelled or fenced (`Refused`, `kafka-fenced`)."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_time(), name="directory time")
            tasks.create_task(self._serve_requests(), name="directory requests")

    async def plan(self, documents: Sequence[Stated]) -> Plan:
        """Say what `apply` would do now. Raises `Unavailable`."""
        async with self._lock:
            await self._settle()
            with self._copy.read() as reading:
                found = plan_knowledge(documents, reading.known, now=self._clock())
        if found.problems:
            return found
        changes = list(found.changes)
        for document in _inscriptions(documents):
            counts = dict.fromkeys(_ACTIONS, 0)
            for chunk in in_chunks(stated(document, self._key), CHUNK):
                with self._copy.read() as reading:
                    inscriber = Inscriber(reading)
                    chunk_counts = counted(inscriber.state(inscription) for inscription in chunk)
                for action in _ACTIONS:
                    counts[action] += chunk_counts[action]
                await asyncio.sleep(0)  # others may go first
            changes += _people_changes(document, counts)
        return Plan(found.based_on, tuple(changes), (), found.records)

    async def apply(self, documents: Sequence[Stated], *, based_on: int | None = None) -> Applied:
        """Append what makes `documents` stand; when this returns it is committed.

        `based_on` is the `Plan.based_on` that somebody agreed to; the call is refused when that is not what stands.
        Raises `Rejected` (every problem; nothing was appended), `Refused` (`stale`, `kafka-fenced`), or `Unavailable`:
        then it is unknown, and the same call again settles it.
        """
        async with self._lock:
            await self._settle()
            with self._copy.read() as reading:
                found = plan_knowledge(documents, reading.known, now=self._clock())
            if found.problems:
                raise Rejected(found.problems)
            if based_on is not None and based_on != found.based_on:
                raise Refused(
                    "stale", "The directory has changed since this was planned: plan again, and look at what changed."
                )
            position = await self._append(found.records)
        changes = list(found.changes)
        for document in _inscriptions(documents):
            counts = dict.fromkeys(_ACTIONS, 0)
            for chunk in in_chunks(stated(document, self._key), CHUNK):
                position = await self._inscribe(chunk, counts)
            changes += _people_changes(document, counts)
        return Applied(position, tuple(changes))

    async def _inscribe(self, chunk: list[Inscription], counts: dict[Action, int]) -> Position:
        async with self._lock:
            await self._settle()
            with self._copy.read() as reading:
                inscriber = Inscriber(reading)
                answers = [inscriber.state(inscription) for inscription in chunk]
            chunk_counts = counted(answers)
            for action in _ACTIONS:
                counts[action] += chunk_counts[action]
            return await self._append([answer[0] for answer in answers if answer is not None])

    async def _settle(self) -> None:
        """Be the only writer, and have a copy that holds everything appended. Called with the lock held."""
        self._still_writes()
        if self._end is None:
            self._incarnation = await self._log.incarnation()
            self._end = await self._log.start()
        try:
            async with asyncio.timeout(COPY_SECONDS):
                # A copy of a topic that was made anew is far ahead, until the feeder has thrown it away.
                while self._copy.incarnation() != self._incarnation:  # noqa: ASYNC110  another process writes it
                    await asyncio.sleep(TICK_SECONDS)
                await self._copy.wait_for(self._end)
        except TimeoutError:
            raise Unavailable(
                "directory-behind", "This machine's copy of the directory does not catch up: does the feeder run?"
            ) from None

    def _still_writes(self) -> None:
        # Two writers that started anew at once would fence each other in turn: the older one ends.
        if self._fenced is not None:
            raise self._fenced

    async def _append(self, records: Sequence[DirectoryRecord]) -> Position:
        """Append in transactions of at most `CHUNK` records and return the position after the last."""
        assert self._end is not None  # noqa: S101  settled, with the lock held
        encoded = [record.encode() for record in records]
        end, self._end = self._end, None  # unknown until it is known
        try:
            for start in range(0, len(encoded), CHUNK):
                end = await self._log.append(encoded[start : start + CHUNK])
        except BaseException as error:
            await self._give_up(error)
            raise
        self._end = end
        return end

    async def _give_up(self, error: BaseException) -> None:
        if isinstance(error, Refused) and error.code == "kafka-fenced":
            self._fenced = error
        await self._log.close()

    async def _keep_time(self) -> None:
        while True:
            try:
                await self.tick()
            except Unavailable as error:
                self._report.warning("directory-waits", code=error.code)
                await asyncio.sleep(PAUSE_SECONDS)
            await asyncio.sleep(TICK_SECONDS)

    async def tick(self) -> None:
        """Append what time has made due, if anything. Costs microseconds when nothing is."""
        self._still_writes()
        now = self._clock()
        with self._copy.read() as reading:
            known = reading.known
            if self._due[0] != known.knowledge.version:
                self._due = (known.knowledge.version, next_due(known, now))
        if self._due[1] is None or now < self._due[1]:
            return
        async with self._lock:
            await self._settle()
            with self._copy.read() as reading:
                records = due(reading.known, now)
            await self._append(records)

    async def _serve_requests(self) -> None:
        while True:
            try:
                await self._requests.start()
                while True:
                    await self.serve()
            except Unavailable as error:
                # Reading begins again where the last commit recorded, so nothing that failed is passed over.
                self._report.warning("directory-waits", code=error.code)
                await asyncio.sleep(PAUSE_SECONDS)

    async def serve(self) -> None:
        """Wait for requests, for a moment, and append what they ask; their positions go with it."""
        found, positions = await self._requests.fetch(wait=PAUSE_SECONDS, limit=CHUNK)
        if not positions:
            return
        async with self._lock:
            await self._settle()
            with self._copy.read() as reading:
                records = self._asked(found, Inscriber(reading))
            await self._append_requested(records, positions)

    async def _append_requested(self, records: Sequence[DirectoryRecord], positions: Mapping[int, int]) -> None:
        """Append records and positions in one transaction: a request is done with when its record stands."""
        assert self._end is not None  # noqa: S101  settled, with the lock held
        end, self._end = self._end, None
        try:
            after = await self._log.append([record.encode() for record in records], requests=positions)
        except BaseException as error:
            await self._give_up(error)
            raise
        self._end = after if records else end

    def _asked(self, found: Sequence[Request], inscriber: Inscriber) -> list[DirectoryRecord]:
        records: list[DirectoryRecord] = []
        for request in found:
            try:
                asked = requested(request.value)
            except Invalid as error:
                # Our own lanes write these: one that cannot be read is a fault of ours, and must not stop the others.
                self._report.error(
                    "directory-request-unread", code=error.code, partition=request.partition, position=request.offset
                )
                continue
            if asked is not None and (record := inscriber.ask(*asked)) is not None:
                records.append(record)
        return records


def _inscriptions(documents: Sequence[Stated]) -> list[Inscriptions]:
    return [each.document for each in documents if isinstance(each.document, Inscriptions)]


def _people_changes(document: Inscriptions, counts: Mapping[Action, int]) -> list[Change]:
    about = f"{document.agency}/{document.capacity}"
    return [Change(action, "inscription", about, 0, count=counts[action]) for action in _ACTIONS if counts[action]]
