"""What a person hands over on the command line, and what is shown to them: small files, keys, text of strangers."""

from __future__ import annotations

from pathlib import Path

from integrator_audit.errors import Invalid, Unavailable

MAX_FILE = 1 << 20
MAX_MESSAGE = 2_000
"""Signs of a message."""


def read_file(path: Path, what: str) -> bytes:
    """Return a small file that a person named; raise `Unavailable` when it cannot be read, `Invalid` if it is large."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise Unavailable("file-unreadable", f"{what} in {path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE:
        raise Invalid("file-too-large", f"{what} in {path} is larger than any such file")
    return data


def file_size(path: Path) -> int:
    """Return how many bytes a file has that a person named; raise `Unavailable` when there is none."""
    try:
        return path.stat().st_size
    except OSError as error:
        raise Unavailable("file-unreadable", f"{path} cannot be read: {error.strerror}") from error


def text_or_file(given: str, what: str) -> str:
    """Return the text of a key that a person gave, or that stands in the file which they named, without white space.

    Raises `Unavailable` (`file-unreadable`) when it is neither a key's text nor a file that can be read.
    """
    path = Path(given)
    try:
        is_file = path.is_file()
    except (OSError, ValueError):
        # A name that no file can have.
        is_file = False
    if not is_file and "+" not in given:
        message = f"{what} is neither name+identifier+base64 nor a file: there is no {printable(given)[:200]}"
        raise Unavailable("file-unreadable", message)
    if not is_file:
        return given.strip()
    try:
        return read_file(path, what).decode().strip()
    except UnicodeDecodeError as error:
        raise Unavailable("file-unreadable", f"{what} in {path} is not text") from error


def bounded(message: str) -> str:
    """Return a message no longer than people can read: what it repeats may be a stranger's, and very long."""
    return message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}…"


def printable(value: object) -> str:
    """Return a value that somebody else wrote so that it can be printed: it moves no cursor and hides no text."""
    return "".join(character if character.isprintable() else "?" for character in str(value))
