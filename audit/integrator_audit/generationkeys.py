"""Keys of generations: each wraps the vault's keys for a while, and its destruction makes older backups unreadable.

- A generation key is 32 random bytes, numbered from 1. Only the newest wraps; older ones unwrap until
  they are destroyed.
- A key service keeps these keys in production; files serve on one machine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from integrator_audit.durable import create_file, sync_directory
from integrator_audit.errors import Invalid, Refused, Unavailable

GENERATION_KEY_SIZE = 32


class GenerationKeys(Protocol):
    """Who keeps the generation keys."""

    def newest(self) -> int:
        """Return the number of the newest generation."""
        ...

    def key(self, generation: int) -> bytes | None:
        """Return the 32 bytes of a generation, None when it was destroyed or never made."""
        ...

    def make(self) -> int:
        """Make the next generation and return its number. When this returns, its key is durable."""
        ...

    def destroy(self, generation: int) -> None:
        """Destroy a generation for good; one that is not there is destroyed already."""
        ...


class SingleKey:
    """One generation whose key is given; it cannot make another."""

    def __init__(self, key: bytes) -> None:
        """`key` are the 32 bytes of generation 1."""
        self._key = checked_key(key)

    def newest(self) -> int:
        """Return 1."""
        return 1

    def key(self, generation: int) -> bytes | None:
        """Return the key of generation 1."""
        return self._key if generation == 1 else None

    def make(self) -> int:
        """Refuse: where keys are kept is not known here."""
        raise Refused("generation-keys", "this vault was opened with one key; open it with a place for generation keys")

    def destroy(self, generation: int) -> None:
        """Refuse: where keys are kept is not known here."""
        raise Refused("generation-keys", f"generation {generation} cannot be destroyed without its place")


class FileGenerationKeys:
    """Generation keys as files `vault-generation-<n>` of 32 bytes, mode 0600, in one directory.

    LIMIT: a destroyed key is overwritten and unlinked; a copying file system, a flash disk or a backup of the directory
    may still hold it. Where that matters, a key service keeps the keys.
    """

    STEM = "vault-generation-"

    def __init__(self, directory: Path) -> None:
        """`directory` must exist; it holds at least the first key, or `make` makes it."""
        self._directory = directory

    def newest(self) -> int:
        """Return the number of the newest key. Raises `Unavailable` when there is none."""
        found = self._numbers()
        if not found:
            raise Unavailable("generation-key", f"there is no {self.STEM}1 in {self._directory}")
        return max(found)

    def key(self, generation: int) -> bytes | None:
        """Return the key of a generation, None when its file is not there."""
        try:
            return checked_key(self._path(generation).read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            message = f"{self._path(generation)} cannot be read: {error.strerror}"
            raise Unavailable("generation-key", message) from error

    def make(self) -> int:
        """Make the next key. Raises `Unavailable` when it cannot be written."""
        number = max(self._numbers(), default=0) + 1
        try:
            # The key of another process is never replaced.
            create_file(self._path(number), os.urandom(GENERATION_KEY_SIZE))
        except OSError as error:
            raise Unavailable("generation-key", f"{self._path(number)} cannot be made: {error.strerror}") from error
        return number

    def destroy(self, generation: int) -> None:
        """Overwrite and remove the key. Raises `Refused` for the newest, `Unavailable` when it cannot be removed."""
        if generation == self.newest():
            raise Refused("generation-newest", f"generation {generation} is in use; make the next one first")
        path = self._path(generation)
        try:
            with path.open("r+b") as file:
                file.write(os.urandom(GENERATION_KEY_SIZE))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
            sync_directory(self._directory)
        except FileNotFoundError:
            return
        except OSError as error:
            raise Unavailable("generation-key", f"{path} cannot be destroyed: {error.strerror}") from error

    def _path(self, generation: int) -> Path:
        return self._directory / f"{self.STEM}{generation}"

    def _numbers(self) -> list[int]:
        ends = (path.name.removeprefix(self.STEM) for path in self._directory.glob(f"{self.STEM}*"))
        return [int(end) for end in ends if end.isascii() and end.isdigit()]


def checked_key(key: bytes) -> bytes:
    """Return the key; raise `Invalid` when it has another length."""
    if len(key) != GENERATION_KEY_SIZE:
        raise Invalid("generation-key", f"a generation key has {GENERATION_KEY_SIZE} bytes")
    return key
