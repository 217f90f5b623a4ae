"""Remembers what was erased and is not yet gone from older backups, and what is: counts and grounds, never whose.

- A file of JSON lines that is only appended to and synced. An erasure is *complete* when the generation of keys under
  which it was still wrapped has been destroyed: then no backup opens it either.
- For each month there is one statement over all grounds, to be made an entry of the institution log: one person's
  erasure must not be a line of its own.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, cast

from integrator_audit.durable import sync_directory
from integrator_audit.errors import Tampered, Unavailable
from integrator_audit.store import GROUNDS, Ground

_ERASED: Final = "erased"
_COMPLETE: Final = "complete"
_BEGINNING: Final = b'{"event":"'
_MAX_SIZE: Final = 1 << 28
_MAX_TIME: Final = 253_402_300_800_000
"""The first moment in milliseconds that no calendar here has: the year 10000."""


@dataclass(frozen=True, slots=True)
class Pending:
    """Erasures that older backups still hold: how many entries by ground."""

    entries: Mapping[Ground, int]

    @property
    def total(self) -> int:
        """Return how many entries there are over all grounds."""
        return sum(self.entries.values())


@dataclass(frozen=True, slots=True)
class Month:
    """What became complete in a calendar month (`yyyy-mm`, UTC): entries by ground.

    `generation` is the newest with which something became complete: those before it are destroyed.
    """

    month: str
    entries: Mapping[Ground, int]
    generation: int


@dataclass(frozen=True, slots=True)
class Change:
    """A change of generation: the one that is left, and when the others were destroyed (ms since 1970)."""

    generation: int
    at: int


class Register:
    """The register of erasures in one file. One process at a time writes it."""

    def __init__(self, path: Path) -> None:
        """Use the file at `path`; it is made at the first erasure."""
        self._path = path

    def erased(self, log: str, entries: Mapping[Ground, int], *, at: int) -> None:
        """Note how many entries of the log of that origin are erased in all, by ground, at the moment `at` (ms).

        Written is what was not noted before, so a run that broke off is made up for by the next one. Durable when this
        returns.
        """
        noted: Counter[object] = Counter()
        for line in self._lines():
            if line["event"] == _ERASED and line["log"] == log:
                noted[line["ground"]] += cast(int, line["entries"])
        for ground, number in sorted(entries.items()):
            if number > noted[ground]:
                more = number - noted[ground]
                self._append({"event": _ERASED, "at": at, "log": log, "ground": ground, "entries": more})

    def complete(self, generation: int, *, at: int) -> Pending:
        """Note that `generation` is the only one left, and return what became complete by that."""
        pending = self.pending()
        self._append({"event": _COMPLETE, "at": at, "generation": generation})
        return pending

    def pending(self) -> Pending:
        """Return what was erased since the last change of generation."""
        counts: Counter[Ground] = Counter()
        for line in self._lines():
            if line["event"] == _COMPLETE:
                counts.clear()
            else:
                counts[cast(Ground, line["ground"])] += cast(int, line["entries"])
        return Pending(dict(counts))

    def months(self) -> list[Month]:
        """Return what became complete, by month, in order."""
        found: dict[str, Counter[Ground]] = {}
        newest: dict[str, int] = {}
        waiting: Counter[Ground] = Counter()
        for line in self._lines():
            if line["event"] == _ERASED:
                waiting[cast(Ground, line["ground"])] += cast(int, line["entries"])
                continue
            month = datetime.fromtimestamp(cast(int, line["at"]) / 1000, UTC).strftime("%Y-%m")
            if waiting:
                found.setdefault(month, Counter()).update(waiting)
                newest[month] = cast(int, line["generation"])
                waiting.clear()
        return [Month(month, dict(counts), newest[month]) for month, counts in found.items()]

    def changes(self) -> list[Change]:
        """Return all changes of generation, in order."""
        lines = (line for line in self._lines() if line["event"] == _COMPLETE)
        return [Change(cast(int, line["generation"]), cast(int, line["at"])) for line in lines]

    def _append(self, line: Mapping[str, object]) -> None:
        # Another file that was named by mistake must not lose its end.
        whole, is_new = self._whole(), not self._path.exists()
        try:
            with self._path.open("a+b") as file:
                # A crash while a line was written leaves its beginning: it was not durable, and is taken away.
                file.truncate(len(whole))
                file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            if is_new:
                sync_directory(self._path.parent)
        except OSError as error:
            raise Unavailable("erasure-register", f"{self._path} cannot be written: {error.strerror}") from error

    def _lines(self) -> list[dict[str, object]]:
        return [self._read(number, line) for number, line in enumerate(self._whole().splitlines(), 1)]

    def _whole(self) -> bytes:
        """Return the lines that were written to their end."""
        try:
            with self._path.open("rb") as file:
                text = file.read(_MAX_SIZE + 1)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise Unavailable("erasure-register", f"{self._path} cannot be read: {error.strerror}") from error
        whole = text[: text.rfind(b"\n") + 1]
        rest = text[len(whole) :]
        if len(text) > _MAX_SIZE or rest[: len(_BEGINNING)] != _BEGINNING[: len(rest)]:
            raise Tampered("erasure-register", f"{self._path} is not a register of erasures")
        return whole

    def _read(self, number: int, line: bytes) -> dict[str, object]:
        try:
            document: object = json.loads(line)
        except ValueError:
            document = None
        members = cast(dict[str, object], document) if isinstance(document, dict) else {}
        match members:
            case {"event": "erased", "at": int(at), "log": str(), "ground": ground, "entries": int()}:
                is_known = 0 <= at < _MAX_TIME and ground in GROUNDS
            case {"event": "complete", "at": int(at), "generation": int()}:
                is_known = 0 <= at < _MAX_TIME
            case _:
                is_known = False
        if not is_known:
            raise Tampered("erasure-register", f"line {number} of {self._path} is not one of the register")
        return members
