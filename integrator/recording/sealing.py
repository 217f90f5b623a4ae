"""Seals each day after its end (UTC): the epoch log, its index, and the files that everybody may verify them with.

- A day that was missed is sealed when the ledger runs again, with the cut that it had; the days follow each other.
- The index is locked only while days are sealed; at other times lists may be erased from it.
- After any failure the epoch log and its index are opened anew: whether the day was sealed, they say.
- A day waits for whatever it needs: the logs of a half-year that are not closed yet, the label service. Deliveries do
  not wait for it. What no waiting mends is told each time, and counted.

LIMIT: a number that a lane sealed wrongly cannot be opened by the label service, and the ledger cannot see that when it
is entered: the day waits, loudly, for a person who finds out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final

from integrator import telemetry
from integrator.domain.errors import Busy, Refused, Unavailable
from integrator.recording.consumed import note
from integrator.recording.failures import translated
from integrator.recording.keeper import pause, write, write_once
from integrator.recording.logs import EPOCHS, INSTITUTION, Clock, LabelKeyFile, LedgerFiles, shard
from integrator.recording.publication import Publication, publication
from integrator.recording.threads import in_thread
from integrator_audit import RawLog, Signer
from integrator_audit.completeness.index import IndexStore
from integrator_audit.completeness.indexes import open_index
from integrator_audit.completeness.listing import LabelService
from integrator_audit.completeness.recipients import RecipientSecrets
from integrator_audit.completeness.sealing import SETTLING_MS, PeriodLogs, Sealer, Secrets
from integrator_audit.halfyear import date_of, day_of, period_name, period_of
from integrator_audit.keystore import KeyStore
from integrator_audit.store import Reading
from integrator_audit.stores import open_reading
from integrator_audit.witnessing.policy import Policy

_LOG = telemetry.log("recording")
_SEALED = telemetry.meter().create_counter("integrator.ledger.days-sealed", unit="1")
_LISTED = telemetry.meter().create_gauge("integrator.ledger.day-listed", unit="1")
_UNLISTED = telemetry.meter().create_gauge("integrator.ledger.day-unlisted", unit="1")
_WAITING = telemetry.meter().create_gauge("integrator.ledger.days-waiting", unit="1")

LOOK: Final = 5.0
"""Seconds between two looks whether a day is over."""


@dataclass(slots=True)
class DaysState:
    """How far the days are; owned by their task, read by anybody."""

    newest: str = ""
    """The newest sealed day, ISO 8601; empty before the first."""
    waiting: int = 0
    """Days that are over and not sealed."""
    problem: str = ""
    """Code of what they wait for."""


@dataclass(frozen=True, slots=True)
class Labels:
    """From where labels come: people's from the service and the vault, agencies' from their secrets."""

    service: LabelService
    vault: KeyStore
    recipients: RecipientSecrets


@dataclass(slots=True)
class Days:
    """The epoch log of one installation; one task owns it."""

    files: LedgerFiles
    signer: Signer
    labels: Labels
    shards: int
    policy: Policy | None
    clock: Clock
    state: DaysState = field(default_factory=DaysState)
    _sealed: int = -1
    """The newest sealed day."""

    async def run(self, stop: asyncio.Event) -> None:
        """Seal until `stop` is set; a day that is being sealed then is finished.

        Raises `Tampered` when a log, or what was sealed, is not what it was.
        """
        while not stop.is_set():
            try:
                with self._opened() as opened:
                    await self._seal_due(stop, opened)
                await self._until_due(stop)
            except (Unavailable, Busy, Refused) as error:
                if self.state.problem != error.code:
                    _LOG.warning("ledger-day-waits", code=error.code, detail=error.message)
                self.state.problem = error.code
                _WAITING.set(max(self.state.waiting, 1))
                await pause(stop, LOOK)

    async def _seal_due(self, stop: asyncio.Event, opened: _Opened) -> None:
        """Seal what is due, and publish it until everything is published or the next day is due."""
        for day in await in_thread(self._due, opened):
            await in_thread(self._seal, opened, day)
            if stop.is_set():
                return
        self.state.problem, self.state.waiting = "", 0
        _WAITING.set(0)
        # From here on the index is free for who erases from it.
        opened.index.close()
        while not await in_thread(opened.publication.advance) and not stop.is_set() and not self._is_due():
            await pause(stop, LOOK)

    async def _until_due(self, stop: asyncio.Event) -> None:
        while not stop.is_set() and not self._is_due():
            await pause(stop, LOOK)

    def _is_due(self) -> bool:
        return day_of(self.clock() - SETTLING_MS) - 1 > self._sealed

    @contextmanager
    def _opened(self) -> Generator[_Opened]:
        with ExitStack() as stack:
            with translated():
                # The index first: it has the lock that keeps a second sealer away.
                index = open_index(self.files.index)
                stack.callback(index.close)
                place = self.files.store(EPOCHS)
                epochs = RawLog.open(place, origin=self.signer.name, signer=self.signer)
                stack.callback(epochs.close)
            write_once(self.files.vkey(EPOCHS), self.signer.vkey)
            shown = publication(self.files, EPOCHS, writer=epochs, key=self.signer.verifier, policy=self.policy)
            stack.callback(shown.close)
            logs = _Logs(self.files, self.shards, stack)
            secrets = Secrets(self.labels.vault, self.labels.service, self.labels.recipients)
            with translated():
                sealer = Sealer(epochs, index, logs=logs.of, secrets=secrets, clock=self.clock)
            yield _Opened(index, epochs, sealer, shown, logs)

    def _due(self, opened: _Opened) -> range:
        with translated():
            opened.logs.forget()
            period = period_of(day_of(self.clock()))
            self._tell_key(period)
            size = opened.epochs.size
            opened.sealer.begin()
            due = opened.sealer.due()
        if not size:
            opened.publication.advance()
        self._sealed = opened.epochs.size - 1
        self.state.newest = date_of(self._sealed).isoformat()
        self.state.waiting = len(due)
        return due

    def _seal(self, opened: _Opened, day: int) -> None:
        with telemetry.span("ledger.seal") as span, translated():
            self._tell_key(period_of(day))
            leaf = opened.sealer.seal(day)
            span.set_attributes({"day": day, "listed": leaf.listed, "unlisted": leaf.unlisted})
        note(self.files, now=self.clock())
        self._sealed = day
        self.state.newest = date_of(day).isoformat()
        self.state.waiting -= 1
        _SEALED.add(1)
        _LISTED.set(leaf.listed)
        _UNLISTED.set(leaf.unlisted)
        _LOG.info("ledger-day-sealed", day=self.state.newest, listed=leaf.listed, unlisted=leaf.unlisted)

    def _tell_key(self, period: int) -> None:
        """Write down the public label key of a half-year, once, before anything is listed under it."""
        path = self.files.label_key(period_name(period))
        if path.is_file():
            return
        service = self.labels.service
        write(path, LabelKeyFile(service.spki(period), tuple(service.certificate(period))).text)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What is open until the next failure."""

    index: IndexStore
    epochs: RawLog
    sealer: Sealer
    publication: Publication
    logs: _Logs


class _Logs:
    """The logs of half-years, opened for reading when a day needs them."""

    def __init__(self, files: LedgerFiles, shards: int, stack: ExitStack) -> None:
        self._files = files
        self._shards = shards
        self._open: dict[str, Reading] = {}
        stack.callback(self.forget)

    def of(self, period: int) -> PeriodLogs:
        """Return the logs of a half-year; `None` where one was never made."""
        half = period_name(period)
        shards = {number: self._reading(f"{shard(number)}-{half}") for number in range(self._shards)}
        return PeriodLogs(shards, self._reading(f"{INSTITUTION}-{half}"))

    def forget(self) -> None:
        """Close everything: the next look sees the logs that there are then."""
        for reading in self._open.values():
            reading.close()
        self._open.clear()

    def _reading(self, log: str) -> Reading | None:
        if log not in self._open and self._files.has(log):
            self._open[log] = open_reading(self._files.store(log))
        return self._open.get(log)
