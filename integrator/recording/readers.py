"""Opens the logs of an installation for reading, each when it is first asked for and once.

A log that the ledger's process has not made yet is `Unavailable` (`no-log`), not an error of the caller.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager

from integrator.domain.errors import Unavailable
from integrator.recording.failures import translated
from integrator.recording.logs import INSTITUTION, LedgerFiles, half_year_of, is_shard, shard, shard_number
from integrator_audit import LedgerReader, Vault
from integrator_audit.generationkeys import GenerationKeys
from integrator_audit.stores import open_reading


@contextmanager
def open_log(files: LedgerFiles, log: str) -> Generator[LedgerReader]:
    """Lend a reader of one log that opens part A only. Raises `Unavailable` (`no-log`)."""
    if not files.has(log):
        raise Unavailable("no-log", "There is no such log here, or not yet.")
    with translated():
        reader = LedgerReader.open(files.store(log))
        try:
            yield reader
        finally:
            reader.close()


class Readers:
    """The logs below one directory, read beside their writer. Safe to share between threads."""

    def __init__(self, files: LedgerFiles, *, generation_key: GenerationKeys | bytes) -> None:
        """`generation_key` unwraps the people's keys: where those of all generations are, or the 32 bytes of one."""
        self._files = files
        self._generation_key = generation_key
        self._lock = threading.Lock()
        self._vault: Vault | None = None
        self._open: dict[str, LedgerReader] = {}

    def __contains__(self, log: str) -> bool:
        """Tell whether there is a log of that name here."""
        return self._files.has(log)

    def reader(self, log: str) -> LedgerReader:
        """Return the reader of the log called `log`. Raises `Unavailable` (`no-log`)."""
        with self._lock:
            found = self._open.get(log)
            if found is None:
                if log not in self:
                    raise Unavailable("no-log", "There is no such log here, or not yet.")
                with translated():
                    found = LedgerReader.open(self._files.store(log), vault=self._keys())
                self._open[log] = found
            return found

    def label(self, pseudonym: bytes, period: int) -> bytes | None:
        """Return the signature that makes a person's labels in a half-year, if the ledger keeps it."""
        with self._lock, translated():
            return self._keys().labels([pseudonym], period).get(pseudonym)

    def vault(self) -> Vault:
        """Return the people's keys, for reading."""
        with self._lock, translated():
            return self._keys()

    def latest(self, series: str) -> LedgerReader:
        """Return the reader of the newest log of `series` (`s0`, `institution`). Raises `Unavailable` (`no-log`)."""
        names = [name for name in self._files.logs() if name.rpartition("-")[0] == series]
        if not names:
            raise Unavailable("no-log", "The ledger has not been made yet.")
        return self.reader(max(names))

    def subjects(self) -> list[tuple[str, list[LedgerReader]]]:
        """Return the subject shards by half-year, the newest first, each half-year's in the order of their numbers."""
        halves: dict[str, list[str]] = {}
        for name in self._files.logs():
            if is_shard(name):
                halves.setdefault(half_year_of(name), []).append(name)
        return [
            (half, [self.reader(name) for name in sorted(halves[half], key=shard_number)])
            for half in sorted(halves, reverse=True)
        ]

    def written(self) -> tuple[LedgerReader, list[LedgerReader]]:
        """Return the institution log and the subject shards that are written now. Raises `Unavailable` (`no-log`)."""
        institution = self.latest(INSTITUTION)
        numbers = sorted({shard_number(name) for name in self._files.logs() if is_shard(name)})
        return institution, [self.latest(shard(number)) for number in numbers]

    def vkeys(self) -> list[str]:
        """Return the verification keys of all logs, in the order of their names."""
        return [self._files.vkey(name).read_text("utf-8").strip() for name in self._files.logs()]

    def label_keys(self) -> dict[str, dict[str, object]]:
        """Return the public label keys by half-year: `spki` and the nine roots of `certificate`, in base64."""
        found = ((half, self._files.read_label_key(half)) for half in self._files.label_halves())
        return {half: json.loads(key.text) for half, key in found if key is not None}

    def unlisted(self, log: str) -> int:
        """Return how many entries of a log are listed under nobody: padding, and what an order withholds."""
        with translated(), contextlib.closing(open_reading(self._files.store(log))) as reading:
            head = reading.head()
            return 0 if head is None else len(reading.unlisted_between(0, head.size))

    def every(self) -> list[LedgerReader]:
        """Return the readers of all logs that exist, in the order of their names."""
        return [self.reader(name) for name in self._files.logs()]

    def _keys(self) -> Vault:
        if self._vault is None:
            self._vault = Vault.read_only(self._files.persons, self._generation_key)
        return self._vault

    def close(self) -> None:
        """Close every file."""
        with self._lock:
            for reader in self._open.values():
                reader.close()
            self._open.clear()
            if self._vault is not None:
                self._vault.close()
                self._vault = None
