"""Keeps the logs of one installation: fills the subject shards and the institution log, and publishes their files.

- Each log is opened, filled, and after an error of unknown outcome opened anew: start and recovery are the same code.
- Before a log is filled its published files are looked at: a database behind them is an older backup, and is refused.
- What is published is read from the database, so never more than what is durable.
- When a half-year is over each log is closed, its files are brought to their last state, and the next one is begun.

| crash                                | on disk                              | recovery                           |
|--------------------------------------|--------------------------------------|------------------------------------|
| before the ledger's commit           | neither entries nor positions        | the records are read again         |
| after it, before files are published | entries, positions, older files      | the files are brought up to the log|
| while files are published            | some new tiles, the older checkpoint | the same                           |
| while a half-year is closed          | see `series`                         | see `series`                       |
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from integrator import telemetry
from integrator.domain import topics
from integrator.domain.errors import Busy, IntegratorError, Refused, Unavailable
from integrator.recording import institution
from integrator.recording.disclosures import DisclosureRecorder
from integrator.recording.failures import translated
from integrator.recording.institution import InstitutionRecorder
from integrator.recording.logs import (
    INSTITUTION,
    Clock,
    LedgerFiles,
    Naming,
    half_year_of,
    series_of,
    shard,
    signing_seed,
    wall_clock,
)
from integrator.recording.readings import QUERY, SubjectRecorder
from integrator.recording.sequencer import (
    WHOLE,
    Directories,
    DisclosureSource,
    Progress,
    Recorder,
    Sequencer,
    Share,
)
from integrator.recording.series import Positions, Standing, standing
from integrator.recording.threads import in_thread
from integrator_audit import Entry, Ledger, LedgerReader, Signer, Vault, read_part

_LOG = telemetry.log("recording")

PAUSE: Final = 1.0
"""Seconds before a log is opened anew."""
PUBLISH: Final = 1.0
"""Seconds between two publications, at least."""
_REMEMBERED: Final = 2_000
"""How far back in the institution log refusals are recognised when they are written again."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The secrets of the ledger: `ledger-signing` and `vault-generation-1`, 32 bytes each."""

    signing: bytes = field(repr=False)
    generation: bytes = field(repr=False)


@dataclass(slots=True)
class _Series:
    """One series of logs while it is kept: what it reads, and the log that is written now."""

    name: str
    topics: Sequence[str]
    share: Share
    progress: Progress = field(default_factory=Progress)
    log: str = ""
    """Empty before the first log is opened."""
    published: int = -1
    """Size of the published checkpoint; -1 before the first."""


class LedgerProcess:
    """The ledger of one installation. One process, and one only, runs it."""

    def __init__(  # noqa: PLR0913  each is a part of the world that the process is wired to
        self,
        files: LedgerFiles,
        *,
        naming: Naming,
        keys: Keys,
        directories: Directories,
        source: Callable[[Sequence[str], Share], DisclosureSource],
        shards: int = 1,
        clock: Clock = wall_clock,
    ) -> None:
        """`source` makes a reader of a share of the topics that it is given; `shards` says how many there are.

        The lanes are divided over the shards by their numbers, so the number of shards is fixed at installation.
        """
        self._files = files
        self._naming = naming
        self._keys = keys
        self._directories = directories
        self._source = source
        self._clock = clock
        self._series = [
            *(
                _Series(shard(number), [topics.DISCLOSURES, topics.REQUESTS], Share(number, shards))
                for number in range(shards)
            ),
            _Series(INSTITUTION, [topics.DIRECTORY, topics.REQUESTS], WHOLE),
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the logs until `stop` is set; then the batches in hand are finished and the last state is published.

        Raises `Refused` or `Tampered` when a log must not go on: another key, an older backup, another cluster, another
        number of shards.
        """
        self._files.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_shards()
        with translated():
            vault = await in_thread(Vault.open, self._files.persons, self._keys.generation)
        try:
            async with asyncio.TaskGroup() as tasks:
                for series in self._series:
                    tasks.create_task(self._keep(series, vault, stop), name=f"ledger {series.name}")
        except* IntegratorError as errors:
            # Of two logs that fail, the first is told; the other says its own at the next start.
            raise _first(errors) from None
        finally:
            vault.close()

    def _check_shards(self) -> None:
        """Refuse another number of shards: entries of a lane would be looked for in a shard that never read it."""
        ours = {series.name for series in self._series}
        there = {series_of(log) for log in self._files.logs() if half_year_of(log)}
        if there and there != ours:
            raise Refused(
                "ledger-shards",
                f"The ledger has the series {', '.join(sorted(there))}; `ledger_shards` says "
                f"{', '.join(sorted(ours))}. The number is fixed at installation: set it back.",
            )

    async def _keep(self, series: _Series, vault: Vault, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._fill(series, vault, stop)
            except (Unavailable, Busy) as error:
                _LOG.warning("ledger-restarted", log=series.log or series.name, code=error.code, detail=error.message)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), PAUSE)

    async def _fill(self, series: _Series, vault: Vault, stop: asyncio.Event) -> None:
        def open_log(log: str, positions: Positions) -> Ledger:
            signer = self._signer(log)
            return Ledger.open(
                self._files.database(log), origin=signer.name, signer=signer, vault=vault, positions=positions
            )

        now, before = self._clock(), series.log
        place, closed = await in_thread(standing, self._files, series.name, now=now, open_log=open_log)
        for log in closed:
            await in_thread(self._finish, log)
        if place.log != before:
            series.log, series.published = place.log, -1
            _LOG.info("ledger-log-opened", log=place.log, closed=closed[-1] if closed else "")
        with translated():
            ledger = await in_thread(open_log, place.log, place.positions)
        try:
            _write_once(self._files.vkey(place.log), self._signer(place.log).vkey)
            with translated():
                reader = await in_thread(LedgerReader.open, self._files.database(place.log))
            try:
                # First the look at what was published before: this refuses an older backup before it grows.
                await self._publish(series, reader)
                sequencer = await in_thread(self._sequencer, series, place, ledger, reader)
                await self._fill_and_publish(series, sequencer, reader, stop)
            finally:
                reader.close()
        finally:
            ledger.close()

    def _finish(self, log: str) -> None:
        """Bring the files of a closed log to its last state, which they keep."""
        _write_once(self._files.vkey(log), self._signer(log).vkey)
        with translated():
            reader = LedgerReader.open(self._files.database(log))
            try:
                reader.export(self._files.public(log))
            finally:
                reader.close()

    def _sequencer(self, series: _Series, place: Standing, ledger: Ledger, reader: LedgerReader) -> Sequencer:
        return Sequencer(
            place.log,
            self._source(series.topics, series.share),
            ledger,
            self._recorder(series, ledger, reader),
            self._directories,
            place.until,
            self._clock,
            series.progress,
        )

    async def _fill_and_publish(
        self, series: _Series, sequencer: Sequencer, reader: LedgerReader, stop: asyncio.Event
    ) -> None:
        filled = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._publish_until(filled, series, reader), name=f"publish {series.log}")
                await sequencer.run(stop)
                filled.set()
        except* IntegratorError as errors:
            raise _first(errors) from None

    async def _publish_until(self, filled: asyncio.Event, series: _Series, reader: LedgerReader) -> None:
        """Publish every `PUBLISH` seconds, and once more when the log is filled no further."""
        last = False
        while not last:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(filled.wait(), PUBLISH)
            last = filled.is_set()
            try:
                await self._publish(series, reader)
            except Unavailable as error:
                # Nothing that was promised depends on the files; the log goes on.
                _LOG.warning("ledger-publishing-failed", log=series.log, code=error.code)

    async def _publish(self, series: _Series, reader: LedgerReader) -> None:
        with translated():
            size = await in_thread(_export, reader, self._files.public(series.log), series.published)
        if size != series.published:
            series.published = size
            _LOG.debug("ledger-published", log=series.log, size=size)
        await in_thread(_write, self._files.state, json.dumps(self.state(self._clock())) + "\n")

    def _recorder(self, series: _Series, ledger: Ledger, reader: LedgerReader) -> Recorder:
        if series.name != INSTITUTION:
            return SubjectRecorder(DisclosureRecorder(), reader)
        with translated():
            recorded = ledger.positions()
            now = self._clock()
            if texts := institution.schema_texts(recorded.get(institution.PARTS, 0)):
                ledger.append(texts, positions={institution.PARTS: len(institution.TEXTS)}, now_ms=now)
            for one in self._series:
                log = f"{one.name}-{half_year_of(series.log)}"
                if (mark := institution.key_mark(log)) not in recorded:
                    ledger.append([self._key_made(log, now)], positions={mark: 1}, now_ms=now)
            # A refusal may be written again just after its half-year is over.
            refusals = _refusals(reader)
            for log in self._files.series(INSTITUTION)[-2:-1]:
                with contextlib.closing(LedgerReader.open(self._files.database(log))) as earlier:
                    refusals |= _refusals(earlier)
            return InstitutionRecorder(refusals)

    def _key_made(self, log: str, now: int) -> Entry:
        signer, at = self._signer(log), datetime.fromtimestamp(now / 1000, UTC)
        return institution.key_event("made", "log", signer.name, at=at, vkey=signer.vkey)

    def _signer(self, log: str) -> Signer:
        origin = self._naming.origin(log)
        return Signer(origin, signing_seed(self._keys.signing, origin))

    def state(self, now: int) -> dict[str, Any]:
        """Return how far the logs are at `now` (milliseconds since 1970), as `ledger/state.json` tells it.

        `at` and `reaches` are milliseconds since 1970 (`null`: not known yet), `free` bytes on the ledger's disk.
        """
        return {
            "at": now,
            "free": shutil.disk_usage(self._files.root).free,
            "logs": {
                series.log or series.name: {
                    "origin": self._naming.origin(series.log) if series.log else "",
                    "published": max(series.published, 0),
                    "behind": series.progress.behind,
                    "reaches": series.progress.reaches(),
                    "seconds": round(series.progress.seconds(now / 1000), 3),
                    "waits": series.progress.waits,
                }
                for series in self._series
            },
        }


def _export(reader: LedgerReader, directory: Path, published: int) -> int:
    size = reader.size
    if size != published:
        reader.export(directory)
    return size


def _refusals(reader: LedgerReader) -> set[str]:
    """Return the ids of the refusals and questions that are entries, of the newest `_REMEMBERED` entries.

    # LIMIT: a refusal written again after so many other entries would be a second entry.
    """
    found: set[str] = set()
    before: int | None = None
    for _ in range(_REMEMBERED // 1000):
        indices = reader.indices(before=before, limit=1000)
        for index in indices:
            members = read_part(base64.b64decode(cast("dict[str, str]", reader.opening(index, "A")["A"])["bytes"]))
            if members.get("schema") in (institution.REFUSAL, QUERY):
                found.add(str(members["id"]))
        if len(indices) < 1000:
            break
        before = indices[-1]
    return found


def _first(errors: BaseExceptionGroup[IntegratorError]) -> IntegratorError:
    for error in errors.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("a group of exceptions is never empty")


def _write_once(path: Path, vkey: str) -> None:
    try:
        known = path.read_text("utf-8").strip()
    except FileNotFoundError:
        _write(path, vkey + "\n")
        return
    if known != vkey:
        raise Refused(
            "ledger-other-key",
            f"{path} names another key than the one this log would sign with: restore the secret `ledger-signing`.",
        )


def _write(path: Path, text: str) -> None:
    """Replace a file whole. Raises `Unavailable` (`ledger-files`)."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        aside.write_text(text, "utf-8")
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise Unavailable("ledger-files", f"{path} cannot be written: {error.strerror}") from error
