"""Hands out secrets by name; in development each is a file of its own that only its owner can read."""

from __future__ import annotations

import os
import re
import secrets as random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from integrator.domain.errors import Refused
from integrator_audit.durable import create_file, make_directory

_NAME = re.compile(r"[a-z0-9]+(?:[.-]+[a-z0-9]+)*")


class Secrets(Protocol):
    """Give a secret by name; the same name always gives the same bytes."""

    def get(self, name: str) -> bytes:
        """Return the secret called `name`; raises `Refused` (`secret-missing`) when there is none."""
        ...

    def create(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Return the secret called `name`, after making it with `make` when it did not exist; it is durable then."""
        ...

    def destroy(self, name: str) -> None:
        """Destroy the secret called `name`; one that is not there is destroyed already."""
        ...


class FileSecrets:
    """Secrets as files of mode 0600 in a directory of mode 0700."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise Refused(
                "secret-name", f"{name!r} is no name of a secret: use lower-case letters, digits, '-' and '.'."
            )
        return self._directory / name

    def get(self, name: str) -> bytes:
        path = self._path(name)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise Refused("secret-missing", f"There is no secret {name!r} in {self._directory}.") from None

    def create(self, name: str, make: Callable[[], bytes]) -> bytes:
        path = self._path(name)
        if not path.exists():
            make_directory(self._directory, mode=0o700)
            # Of two processes that create the same secret at once, both must end with the first one's.
            with suppress(FileExistsError):
                create_file(path, make())
        return path.read_bytes()

    def destroy(self, name: str) -> None:
        """Overwrite and remove the file. A copying file system, a flash disk or a backup may still hold it."""
        path = self._path(name)
        try:
            with path.open("r+b") as file:
                file.write(os.urandom(os.fstat(file.fileno()).st_size))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
        except FileNotFoundError:
            return


def password() -> bytes:
    """Make a random password: 32 bytes of entropy, base64url without padding."""
    return random.token_urlsafe(32).encode()


def key() -> bytes:
    """Make a random key of 32 bytes."""
    return random.token_bytes(32)
