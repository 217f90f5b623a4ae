"""Keeps one series of logs: fills the log of this half-year, publishes it, and brings closed ones to their last state.

- A log is opened, filled, and after an error of unknown outcome opened anew: start and recovery are the same code.
- Before a log is filled it is compared with what was published of it: an older backup is refused before it grows.
- What is published is read from the database, so never more than what is durable; a failed publication is tried again.

| crash                                | on disk                              | recovery                           |
|--------------------------------------|--------------------------------------|------------------------------------|
| before the ledger's commit           | neither entries nor positions        | the records are read again         |
| after it, before files are published | entries, positions, older files      | the files are brought up to the log|
| while files are published            | some new tiles, the older checkpoint | the same                           |
| while a half-year is closed          | see `series`                         | see `series`                       |
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from integrator import telemetry
from integrator.domain.errors import Busy, IntegratorError, Refused, Unavailable
from integrator.recording import institution
from integrator.recording.beside import OwnKeys, Padding, Together
from integrator.recording.disclosures import DisclosureRecorder
from integrator.recording.erasures import Erasures
from integrator.recording.failures import translated
from integrator.recording.institution import InstitutionRecorder
from integrator.recording.logs import INSTITUTION, Clock, LedgerFiles, Naming, half_year_of, shard, signing_seed
from integrator.recording.publication import Publication, publication
from integrator.recording.readings import QUERY, SubjectRecorder
from integrator.recording.sequencer import Beside, Directories, DisclosureSource, Progress, Recorder, Sequencer, Share
from integrator.recording.series import Positions, Standing, standing
from integrator.recording.threads import in_thread
from integrator.recording.withholding import Releases, Withholding
from integrator_audit import Entry, LedgerReader, LedgerWriter, Signer, Vault, Verifier, read_part
from integrator_audit.completeness.unlisted import share_of
from integrator_audit.durable import replace_file
from integrator_audit.engine import engine
from integrator_audit.stores import open_reading
from integrator_audit.witnessing.policy import Policy

_LOG = telemetry.log("recording")

PAUSE: Final = 1.0
"""Seconds before a log is opened anew."""
_REMEMBERED: Final = 2_000
"""How far back in the institution log refusals are recognised when they are written again."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How the ledger is kept: settings of the installation.

    `shards` is how many subject shards the lanes are divided over, `unlisted` how many unlisted entries each day has,
    `policy` which witnesses have to cosign what is published (`None`: nobody), `supervisor` whose orders to withhold
    are followed (`None`: nobody's).
    """

    shards: int = 1
    unlisted: int = 0
    policy: Policy | None = None
    supervisor: Verifier | None = None


PLAIN: Final = Terms()
"""One shard, nothing unlisted, no witnesses."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all series of an installation have in common."""

    files: LedgerFiles
    naming: Naming
    signing: bytes = field(repr=False)
    directories: Directories
    source: Callable[[Sequence[str], Share], DisclosureSource]
    """Makes a reader of a share of the topics that it is given."""
    terms: Terms
    clock: Clock

    def signer(self, log: str) -> Signer:
        """Return the key of one log."""
        origin = self.naming.origin(log)
        return Signer(origin, signing_seed(self.signing, origin))

    @property
    def series(self) -> list[str]:
        """The names of all series: the shards by number, then the institution log."""
        return [*map(shard, range(self.terms.shards)), INSTITUTION]


class Keeper:
    """One series of logs; one task owns it."""

    def __init__(self, setting: Setting, name: str, *, topics: Sequence[str], share: Share) -> None:
        self._setting = setting
        self._name, self._topics, self._share = name, topics, share
        self._finishing: set[str] = set()
        self.progress = Progress()
        self.log = ""
        """The log that is written now; empty before the first is open."""
        self.published = -1
        """Size of its published checkpoint; -1 before the first."""

    async def run(self, vault: Vault, stop: asyncio.Event) -> None:
        """Keep the series until `stop` is set; the batch in hand is finished and the last state is published.

        Raises `Refused` or `Tampered` when a log must not go on.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                while not stop.is_set():
                    try:
                        await self._fill(vault, stop, tasks)
                    except (Unavailable, Busy) as error:
                        log = self.log or self._name
                        _LOG.warning("ledger-restarted", log=log, code=error.code, detail=error.message)
                        await pause(stop, PAUSE)
        except* IntegratorError as errors:
            raise first(errors) from None

    async def _fill(self, vault: Vault, stop: asyncio.Event, tasks: asyncio.TaskGroup) -> None:
        """Fill the log of this half-year until it is over."""

        def open_log(log: str, positions: Positions) -> LedgerWriter:
            signer = self._setting.signer(log)
            place = self._setting.files.store(log)
            return LedgerWriter.open(place, origin=signer.name, signer=signer, vault=vault, positions=positions)

        now = self._setting.clock()
        place, closed = await in_thread(standing, self._setting.files, self._name, now=now, open_log=open_log)
        for log in closed:
            if log not in self._finishing:
                self._finishing.add(log)
                tasks.create_task(self._finish(log, open_log, stop), name=f"finish {log}")
        if place.log != self.log:
            self.log, self.published = place.log, -1
            _LOG.info("ledger-log-opened", log=place.log, closed=closed[-1] if closed else "", engine=engine())
        with contextlib.ExitStack() as stack:
            with translated():
                ledger = await in_thread(open_log, place.log, place.positions)
            stack.callback(ledger.close)
            shown = await in_thread(self._publication, place.log, ledger)
            stack.callback(shown.close)
            self.published = shown.size
            with translated():
                reader = await in_thread(LedgerReader.open, self._setting.files.store(place.log))
            stack.callback(reader.close)
            sequencer = await in_thread(self._sequencer, place, ledger, reader, vault)
            await self._fill_and_publish(sequencer, shown, stop)

    def _publication(self, log: str, ledger: LedgerWriter) -> Publication:
        files, key = self._setting.files, self._setting.signer(log).verifier
        write_once(files.vkey(log), key.vkey)
        return publication(files, log, writer=ledger, key=key, policy=self._setting.terms.policy)

    async def _finish(self, log: str, open_log: Callable[[str, Positions], LedgerWriter], stop: asyncio.Event) -> None:
        """Publish the last state of a closed log, beside the work on the new one: witnesses take their time."""
        while not stop.is_set():
            try:
                with contextlib.ExitStack() as stack:
                    with translated():
                        ledger = await in_thread(open_log, log, {})
                    stack.callback(ledger.close)
                    shown = await in_thread(self._publication, log, ledger)
                    stack.callback(shown.close)
                    while not await in_thread(shown.advance):
                        if stop.is_set():
                            return
                        await pause(stop, shown.interval)
                    return
            except (Unavailable, Busy) as error:
                _LOG.warning("ledger-publishing-failed", log=log, code=error.code)
                await pause(stop, PAUSE)

    async def _fill_and_publish(self, sequencer: Sequencer, shown: Publication, stop: asyncio.Event) -> None:
        filled = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._publish_until(filled, shown), name=f"publish {self.log}")
                await sequencer.run(stop)
                filled.set()
        except* IntegratorError as errors:
            raise first(errors) from None

    async def _publish_until(self, filled: asyncio.Event, shown: Publication) -> None:
        """Publish at intervals, and once more when the log is filled no further."""
        last = False
        while not last:
            await pause(filled, shown.interval)
            last = filled.is_set()
            try:
                await in_thread(shown.advance)
            except Unavailable as error:
                # Nothing that was promised depends on the files; the log goes on.
                _LOG.warning("ledger-publishing-failed", log=self.log, code=error.code)
            self.published = shown.size

    def _sequencer(self, place: Standing, ledger: LedgerWriter, reader: LedgerReader, vault: Vault) -> Sequencer:
        setting = self._setting
        recorder, beside = self._told(ledger, reader, vault)
        withholding = None if self._name == INSTITUTION else Withholding(setting.terms.supervisor)
        return Sequencer(
            place.log,
            setting.source(self._topics, self._share),
            ledger,
            recorder,
            setting.directories,
            beside,
            withholding,
            place.until,
            setting.clock,
            self.progress,
            ledger.head.at,
        )

    def _told(self, ledger: LedgerWriter, reader: LedgerReader, vault: Vault) -> tuple[Recorder, Beside]:
        """Return what says the records of this log, and what it says without any."""
        setting, now = self._setting, self._setting.clock()
        with translated():
            recorded = ledger.positions()
            if self._name != INSTITUTION:
                constant = share_of(setting.terms.unlisted, self._share.number, self._share.of)
                with contextlib.closing(open_reading(setting.files.store(self.log))) as reading:
                    padding = Padding(constant, reading, log=self.log, now=now)
                releases = Releases(setting.files, self._name, vault, recorded=recorded)
                return SubjectRecorder(DisclosureRecorder(), reader), Together(releases, padding)
            if texts := institution.schema_texts(recorded.get(institution.PARTS, 0)):
                ledger.append(texts, positions={institution.PARTS: len(institution.TEXTS)}, now_ms=now)
            half = half_year_of(self.log)
            for series in setting.series:
                if (mark := institution.key_mark(log := f"{series}-{half}")) not in recorded:
                    ledger.append([_key_made(setting.signer(log), now)], positions={mark: 1}, now_ms=now)
            # A refusal may be written again just after its half-year is over.
            refusals: dict[str, None] = {}
            for log in setting.files.series(INSTITUTION)[-2:]:
                with contextlib.closing(LedgerReader.open(setting.files.store(log))) as before:
                    refusals |= _refusals(before)
        keys = OwnKeys(setting.files, half, recorded=recorded)
        return InstitutionRecorder(refusals), Together(keys, Erasures(setting.files.erasures, recorded=recorded))


def _key_made(signer: Signer, now: int) -> Entry:
    at = datetime.fromtimestamp(now / 1000, UTC)
    return institution.key_event("made", "log", signer.name, at=at, vkey=signer.vkey)


def _refusals(reader: LedgerReader) -> dict[str, None]:
    """Return the ids of the refusals and questions that are entries, the oldest first, of the newest `_REMEMBERED`.

    # LIMIT: a refusal written again after so many other entries would be a second entry.
    """
    found: list[str] = []
    before: int | None = None
    for _ in range(_REMEMBERED // 1000):
        indices = reader.indices(before=before, limit=1000)
        for index in indices:
            members = read_part(reader.says(index))
            if members.get("schema") in (institution.REFUSAL, QUERY):
                found.append(str(members["id"]))
        if len(indices) < 1000:
            break
        before = indices[-1]
    return dict.fromkeys(reversed(found))


def first(errors: BaseExceptionGroup[IntegratorError]) -> IntegratorError:
    """Return the first error of a group: of several that come together one is told."""
    for error in errors.exceptions:
        return first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("a group of exceptions is never empty")


def write_once(path: Path, vkey: str) -> None:
    """Write a log's key, or refuse another one than is there. Raises `Refused` (`ledger-other-key`)."""
    try:
        known = path.read_text("utf-8").strip()
    except FileNotFoundError:
        write(path, vkey + "\n")
        return
    if known != vkey:
        raise Refused(
            "ledger-other-key",
            f"{path} names another key than the one this log would sign with: restore the secret `ledger-signing`.",
        )


def write(path: Path, text: str) -> None:
    """Replace a file whole; it is on disk when this returns. Raises `Unavailable` (`ledger-files`)."""
    try:
        replace_file(path, text.encode())
    except OSError as error:
        raise Unavailable("ledger-files", f"{path} cannot be written: {error.strerror}") from error


async def pause(event: asyncio.Event, seconds: float) -> None:
    """Wait so many seconds, or until `event` is set."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
