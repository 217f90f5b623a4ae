"""The secrets under which recipients are listed: 32 random bytes each, shared with that recipient and nobody else."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from integrator_audit.completeness.labels import SECRET_SIZE
from integrator_audit.durable import create_file, make_directory
from integrator_audit.encoding import from_base64, to_base64
from integrator_audit.errors import Invalid, Unavailable

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,127}", re.ASCII)


class RecipientSecrets(Protocol):
    """Keep one secret for each recipient; it never changes, for older days are listed under it."""

    def secret(self, recipient: str) -> bytes:
        """Return a recipient's 32 bytes, making them when there are none. Then they are durable."""
        ...


class SecretFiles:
    """A directory with one file for each recipient, readable by its owner only: base64 and a line's end."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._known: dict[str, bytes] = {}

    def secret(self, recipient: str) -> bytes:
        """Return a recipient's 32 bytes, making them when there are none.

        Raises `Invalid` (`recipient-name`, `recipient-secret`) and `Unavailable` when the file cannot be read or made.
        """
        if recipient not in self._known:
            if not _NAME.fullmatch(recipient):
                raise Invalid("recipient-name", "a recipient's name has lower-case letters, digits, dots and dashes")
            try:
                self._known[recipient] = self._read_or_make(self._directory / f"{recipient}.secret")
            except OSError as error:
                message = f"a recipient's secret cannot be read or made in {self._directory}: {error.strerror}"
                raise Unavailable("recipient-secret", message) from error
        return self._known[recipient]

    def _read_or_make(self, path: Path) -> bytes:
        if not path.exists():
            make_directory(self._directory, mode=0o700)
            # Of two processes the first makes the secret.
            with suppress(FileExistsError):
                create_file(path, to_base64(os.urandom(SECRET_SIZE)).encode() + b"\n")
        # What is no ASCII is no base64 either, and told as that.
        text = path.read_text(encoding="ascii", errors="replace").strip()
        secret = from_base64(text, what=f"the secret in {path.name}")
        if len(secret) != SECRET_SIZE:
            raise Invalid("recipient-secret", f"{path} does not hold {SECRET_SIZE} bytes in base64")
        return secret
