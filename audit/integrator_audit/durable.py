"""Files that are there whole or not at all, and on disk when the call returns.

- Written aside, synced, put in place, and the directory synced: a reader sees what was there before or all of the new
  content, also after a crash of the machine. A crash leaves the file aside, hidden, which nobody reads or writes again:
  it may be the very file that was put in place.
- What the system refuses comes as `OSError`: the caller knows what could not be written, and for whom.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

PRIVATE = 0o600
_ANYBODY = 0o666
"""What the user's mask takes nothing from, as for any new file."""


@contextmanager
def replacing(path: Path, *, mode: int = _ANYBODY) -> Generator[BinaryIO]:
    """Give a file to write, which takes the place of `path` when the block ends without an error."""
    with _aside(path, mode) as (aside, file):
        yield file
        _sync_and_close(file)
        aside.replace(path)
    sync_directory(path.parent)


def replace_file(path: Path, content: bytes, *, mode: int = _ANYBODY) -> None:
    """Write a file in the place of the one that was there, making its directory where there is none."""
    make_directory(path.parent)
    with replacing(path, mode=mode) as file:
        file.write(content)


@contextmanager
def creating(path: Path, *, mode: int = PRIVATE) -> Generator[BinaryIO]:
    """Give a file to write, for its owner only unless `mode` says otherwise, which is there when the block ends.

    Raises `FileExistsError` when there is one by then: of two processes the first makes it, and nothing is replaced.
    """
    with _aside(path, mode) as (aside, file):
        yield file
        _sync_and_close(file)
        os.link(aside, path)
        aside.unlink()
    sync_directory(path.parent)


def create_file(path: Path, content: bytes, *, mode: int = PRIVATE) -> None:
    """Write a file, as `creating` does."""
    with creating(path, mode=mode) as file:
        file.write(content)


def make_directory(directory: Path, *, mode: int = 0o777) -> None:
    """Make a directory of this mode, and those above it, where there is none."""
    made: list[Path] = []
    for one in (directory, *directory.parents):
        if one.is_dir():
            break
        made.append(one)
    directory.mkdir(mode=mode, parents=True, exist_ok=True)
    # A file in a directory that is not on disk itself would go with it.
    for one in made:
        sync_directory(one.parent)


def sync_directory(directory: Path) -> None:
    """Bring to disk which files a directory has."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _aside(path: Path, mode: int) -> Generator[tuple[Path, BinaryIO]]:
    # Never a name that was used before: what a crash left there may be linked to the file that is in place.
    aside = path.with_name(f".{path.name}.{token_hex(8)}.new")
    file = os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb")
    try:
        with file:
            yield aside, file
    except BaseException:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def _sync_and_close(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()
