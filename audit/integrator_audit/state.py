"""What a verifier remembers between runs, by origin: the last checkpoint that it accepted, the last key policy.

Without it a verifier cannot see a replayed, rolled-back or forked log. Of two that run at once, and may be shown
different histories, neither puts the other's memory back: the second finds that it changed.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from integrator_audit.durable import replace_file
from integrator_audit.errors import Busy, Unavailable
from integrator_audit.note import MAX_NOTE


def default_directory(environment: Mapping[str, str]) -> Path:
    """Return the user's state directory for this program (XDG base directories: XDG_STATE_HOME)."""
    given = environment.get("XDG_STATE_HOME", "")
    base = Path(given) if given and Path(given).is_absolute() else Path.home() / ".local" / "state"
    return base / "integrator-audit"


CHECKPOINT = "checkpoint"


class State:
    """Signed notes as files, one for each origin and kind."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, origin: str, kind: str = CHECKPOINT) -> Path:
        """Return the file of an origin; its name is a hash, because an origin has slashes."""
        return self.directory / f"{sha256(origin.encode()).hexdigest()}.{kind}"

    def load(self, origin: str, kind: str = CHECKPOINT) -> bytes | None:
        """Return the last accepted note, or None the first time."""
        path = self.path(origin, kind)
        try:
            with path.open("rb") as file:
                return file.read(MAX_NOTE + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable("state-unreadable", f"{path} cannot be read: {error.strerror}") from error

    def save(self, origin: str, note: bytes, kind: str = CHECKPOINT) -> None:
        """Remember an accepted note; it is on disk when this returns."""
        target = self.path(origin, kind)
        try:
            replace_file(target, note)
        except OSError as error:
            raise Unavailable("state-unwritable", f"{target} cannot be written: {error.strerror}") from error

    def advance(self, origin: str, seen: bytes | None, note: bytes, kind: str = CHECKPOINT) -> None:
        """Remember an accepted note that was compared with `seen`, the one that `load` had given before.

        Raises `Busy` (`state-changed`) when another verifier has remembered a different one meanwhile.
        """
        with self._locked():
            standing = self.load(origin, kind)
            if standing == note:
                return
            if standing != seen:
                message = f"another verifier accepted something else of {origin} meanwhile: verify again"
                raise Busy("state-changed", message)
            self.save(origin, note, kind)

    @contextmanager
    def _locked(self) -> Generator[None]:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            directory = os.open(self.directory, os.O_RDONLY)
        except OSError as error:
            raise Unavailable("state-unwritable", f"{self.directory} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)
