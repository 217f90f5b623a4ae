"""Publishes one log as static files: at once, or as far as a quorum of witnesses has cosigned it.

- Before a log is filled it is compared with what was published and with what witnesses were asked: a database behind
  either is an older backup, or another history.
- With a policy, what is published is kept in the log's database with its cosignatures, and the files follow it. Asking
  takes its time and keeps nobody: the log is filled meanwhile.
- Without a policy everybody is shown each checkpoint at once, and nobody vouches that all are shown the same: the
  status says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol

from integrator import telemetry
from integrator.recording.failures import translated
from integrator.recording.logs import LedgerFiles
from integrator_audit import LedgerReader, Verifier
from integrator_audit.export import export_log
from integrator_audit.sources import DirectorySource
from integrator_audit.witnessing.asked import AskedFile, check_start
from integrator_audit.witnessing.policy import Policy
from integrator_audit.witnessing.quorum import INTERVAL, Publisher, Terms
from integrator_audit.writer import LogWriter

_LOG = telemetry.log("recording")

AT_ONCE: Final = 1.0
"""Seconds between two publications without a policy."""


class Publication(Protocol):
    """One log on its way to the public. Owned by one task; blocks, so it is called in a thread."""

    @property
    def size(self) -> int:
        """The published size; -1 before the first."""
        ...

    @property
    def interval(self) -> float:
        """How many seconds to wait between two publications."""
        ...

    def advance(self) -> bool:
        """Publish what there is, as far as it may be; tell whether that is everything.

        Raises `Tampered` when witnesses or files know another history, `Unavailable` when files cannot be written.
        """
        ...

    def close(self) -> None:
        """Close what this opened."""
        ...


def publication(
    files: LedgerFiles, log: str, *, writer: LogWriter, key: Verifier, policy: Policy | None
) -> Publication:
    """Return the publication of a log, whose database is compared with what is known outside before this returns.

    Raises `Refused` or `Tampered` when the database is not the newest, or not of this history.
    """
    with translated():
        if policy is None:
            return AtOnce(files.store(log), files.public(log), log)
        return ByQuorum(files, log, writer=writer, key=key, policy=policy)


class AtOnce:
    """Publishes each checkpoint as soon as it is durable."""

    interval = AT_ONCE

    def __init__(self, store: Path | str, directory: Path, log: str) -> None:
        self._reader = LedgerReader.open(store)
        self._directory, self._log = directory, log
        self.size = -1
        try:
            # Files that are ahead of the database, or of another history, are refused here.
            self.advance()
        except BaseException:
            self._reader.close()
            raise

    def advance(self) -> bool:
        """Bring the files up to the log."""
        with translated():
            size = self._reader.size
            if size != self.size:
                self._reader.export(self._directory)
                self.size = size
                _LOG.debug("ledger-published", log=self._log, size=size)
        return True

    def close(self) -> None:
        """Close the database."""
        self._reader.close()


class ByQuorum:
    """Publishes what a quorum of witnesses has cosigned, and keeps it in the log's database."""

    interval = INTERVAL

    def __init__(self, files: LedgerFiles, log: str, *, writer: LogWriter, key: Verifier, policy: Policy) -> None:
        self._log, self._key, self._writer = log, key, writer
        self._directory = files.public(log)
        self._exported: bytes | None = None
        self.size = -1
        asked = AskedFile(files.asked(log), key.name)
        places = {"its published files": DirectorySource(self._directory)} if self._directory.is_dir() else {}
        check_start((writer.size, writer.root), writer.tile, keys=key, published=places, asked=asked)
        self._publisher = Publisher(writer, Terms(policy, key, asked))
        self._export()

    def advance(self) -> bool:
        """Ask the witnesses once and bring the files to what they cosigned; tell whether that is everything."""
        with translated():
            result = self._publisher.publish()
            if not result.published and result.failed:
                _LOG.warning("ledger-quorum-missing", log=self._log, size=result.size, witnesses=sorted(result.failed))
            self._export()
            return self.size == self._writer.size

    def close(self) -> None:
        """End the asking."""
        self._publisher.close()

    def _export(self) -> None:
        """Bring the files to what the database says is published: the same after a crash in between."""
        published = self._writer.published()
        if published is None or published[1] == self._exported:
            return
        size, note = published
        export_log(self._directory, size=size, note=note, keys=self._key, tile=self._writer.tile)
        self._exported, self.size = note, size
        _LOG.debug("ledger-published", log=self._log, size=self.size)
