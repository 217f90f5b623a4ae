"""Keeps the logs of one installation: fills subject shard 0 and the institution log, and publishes their static files.

- Each log is opened, filled, and after an error of unknown outcome opened anew: start and recovery are the same code.
- Before a log is filled its published files are looked at: a database behind them is an older backup, and is refused.
- What is published is read from the database, so never more than what is durable.

| crash                                | on disk                              | recovery                           |
|--------------------------------------|--------------------------------------|------------------------------------|
| before the ledger's commit           | neither entries nor positions        | the records are read again         |
| after it, before files are published | entries, positions, older files      | the files are brought up to the log|
| while files are published            | some new tiles, the older checkpoint | the same                           |
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, cast

from integrator import telemetry
from integrator.domain import topics
from integrator.domain.errors import Busy, IntegratorError, Refused, Unavailable
from integrator.recording import institution
from integrator.recording.disclosures import DisclosureRecorder
from integrator.recording.failures import translated
from integrator.recording.institution import InstitutionRecorder
from integrator.recording.logs import INSTITUTION, LedgerFiles, Naming, shard, signing_seed
from integrator.recording.sequencer import Directories, DisclosureSource, Progress, Recorder, Sequencer
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
class _Kept:
    """One log while it is kept."""

    name: str
    topics: Sequence[str]
    progress: Progress = field(default_factory=Progress)
    published: int = -1
    """Size of the published checkpoint; -1 before the first."""


class LedgerProcess:
    """The ledger of one installation. One process, and one only, runs it."""

    # LIMIT: shard 0 alone, for all lanes; and each log goes on past its half-year (see `LedgerFiles.standing`).

    def __init__(  # noqa: PLR0913  each is a part of the world that the process is wired to
        self,
        files: LedgerFiles,
        *,
        naming: Naming,
        keys: Keys,
        directories: Directories,
        source: Callable[[Sequence[str]], DisclosureSource],
        day: date,
    ) -> None:
        """`source` makes a reader of the topics that it is given; `day` says in which half-year new logs begin."""
        self._files = files
        self._naming = naming
        self._keys = keys
        self._directories = directories
        self._source = source
        self._subjects = _Kept(files.standing(shard(0), day), [topics.DISCLOSURES])
        self._institution = _Kept(files.standing(INSTITUTION, day), [topics.DIRECTORY, topics.REQUESTS])

    @property
    def logs(self) -> tuple[str, str]:
        """The names of the subject shard and of the institution log."""
        return self._subjects.name, self._institution.name

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the logs until `stop` is set; then the batches in hand are finished and the last state is published.

        Raises `Refused` or `Tampered` when a log must not go on: another key, an older backup, another cluster.
        """
        self._files.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with translated():
            vault = await in_thread(Vault.open, self._files.persons, self._keys.generation)
        try:
            async with asyncio.TaskGroup() as tasks:
                for kept in (self._subjects, self._institution):
                    tasks.create_task(self._keep(kept, vault, stop), name=f"ledger {kept.name}")
        except* IntegratorError as errors:
            # Of two logs that fail, the first is told; the other says its own at the next start.
            raise _first(errors) from None
        finally:
            vault.close()

    async def _keep(self, kept: _Kept, vault: Vault, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._fill(kept, vault, stop)
            except (Unavailable, Busy) as error:
                _LOG.warning("ledger-restarted", log=kept.name, code=error.code, detail=error.message)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), PAUSE)

    async def _fill(self, kept: _Kept, vault: Vault, stop: asyncio.Event) -> None:
        signer = self._signer(kept.name)
        path = self._files.database(kept.name)
        with translated():
            ledger = await in_thread(Ledger.open, path, origin=signer.name, signer=signer, vault=vault)
        try:
            _write_once(self._files.vkey(kept.name), signer.vkey)
            with translated():
                reader = await in_thread(LedgerReader.open, path)
            try:
                # First the look at what was published before: this refuses an older backup before it grows.
                await self._publish(kept, reader)
                recorder = await in_thread(self._recorder, kept, ledger, reader)
                sequencer = Sequencer(
                    kept.name, self._source(kept.topics), ledger, recorder, self._directories, kept.progress
                )
                await self._fill_and_publish(kept, sequencer, reader, stop)
            finally:
                reader.close()
        finally:
            ledger.close()

    async def _fill_and_publish(
        self, kept: _Kept, sequencer: Sequencer, reader: LedgerReader, stop: asyncio.Event
    ) -> None:
        filled = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._publish_until(filled, kept, reader), name=f"publish {kept.name}")
                await sequencer.run(stop)
                filled.set()
        except* IntegratorError as errors:
            raise _first(errors) from None

    async def _publish_until(self, filled: asyncio.Event, kept: _Kept, reader: LedgerReader) -> None:
        """Publish every `PUBLISH` seconds, and once more when the log is filled no further."""
        last = False
        while not last:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(filled.wait(), PUBLISH)
            last = filled.is_set()
            try:
                await self._publish(kept, reader)
            except Unavailable as error:
                # Nothing that was promised depends on the files; the log goes on.
                _LOG.warning("ledger-publishing-failed", log=kept.name, code=error.code)

    async def _publish(self, kept: _Kept, reader: LedgerReader) -> None:
        with translated():
            size = await in_thread(_export, reader, self._files.public(kept.name), kept.published)
        if size != kept.published:
            kept.published = size
            _LOG.debug("ledger-published", log=kept.name, size=size)
        await in_thread(_write, self._files.state, json.dumps(self.state(time.time())) + "\n")

    def _recorder(self, kept: _Kept, ledger: Ledger, reader: LedgerReader) -> Recorder:
        if kept is self._subjects:
            return DisclosureRecorder()
        with translated():
            recorded = ledger.positions()
            if texts := institution.schema_texts(recorded.get(institution.PARTS, 0)):
                ledger.append(texts, positions={institution.PARTS: len(institution.TEXTS)})
            for log in self.logs:
                if (mark := institution.key_mark(log)) not in recorded:
                    ledger.append([self._key_made(log)], positions={mark: 1})
            return InstitutionRecorder(_refusals(reader))

    def _key_made(self, log: str) -> Entry:
        signer = self._signer(log)
        return institution.key_event("made", "log", signer.name, at=datetime.now(UTC), vkey=signer.vkey)

    def _signer(self, log: str) -> Signer:
        origin = self._naming.origin(log)
        return Signer(origin, signing_seed(self._keys.signing, origin))

    def state(self, now: float) -> dict[str, Any]:
        """Return how far the logs are at `now` (seconds since 1970), as `ledger/state.json` tells it.

        `at` and `reaches` are milliseconds since 1970 (`null`: not known yet), `free` bytes on the ledger's disk.
        """
        return {
            "at": int(now * 1000),
            "free": shutil.disk_usage(self._files.root).free,
            "logs": {
                kept.name: {
                    "origin": self._naming.origin(kept.name),
                    "published": max(kept.published, 0),
                    "behind": kept.progress.behind,
                    "reaches": kept.progress.reaches(),
                    "seconds": round(kept.progress.seconds(now), 3),
                    "waits": kept.progress.waits,
                }
                for kept in (self._subjects, self._institution)
            },
        }


def _export(reader: LedgerReader, directory: Path, published: int) -> int:
    size = reader.size
    if size != published:
        reader.export(directory)
    return size


def _refusals(reader: LedgerReader) -> set[str]:
    """Return the ids of the refusals that are entries, of the newest `_REMEMBERED` entries.

    # LIMIT: a refusal written again after so many other entries would be a second entry.
    """
    found: set[str] = set()
    before: int | None = None
    for _ in range(_REMEMBERED // 1000):
        indices = reader.indices(before=before, limit=1000)
        for index in indices:
            members = read_part(base64.b64decode(cast("dict[str, str]", reader.opening(index, "A")["A"])["bytes"]))
            if members.get("schema") == institution.REFUSAL:
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
