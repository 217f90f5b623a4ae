"""Before a ledger starts: is its file the newest, and of one history with everything that ever left the house?

- An old backup that is taken for the ledger signs a second history. Three places know better: the published checkpoint
  and exports; a local file of what witnesses were asked to cosign, written before they were asked; and the witnesses
  themselves, who answer when asked first (`witnessing.client`).
- The file of what was asked belongs on another disk than the ledger's, and in no backup of the ledger.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from integrator_audit.checkpoint import LogKeys, open_checkpoint
from integrator_audit.durable import replace_file
from integrator_audit.encoding import from_base64, to_base64, to_decimal
from integrator_audit.errors import AuditError, Invalid, Refused, Tampered, Unavailable
from integrator_audit.merkle import HASH_SIZE, RightEdge
from integrator_audit.sources import Source
from integrator_audit.tiles import Tiles, subtree_reader

_FIRST = "checkpoints of {} that witnesses were asked to cosign\n"
_TAIL = 256
"""Bytes at the end that hold the last whole line and one that was cut."""


class AskedFile:
    """An append-only file with a line `size root` for each checkpoint for which a cosignature was asked."""

    def __init__(self, path: Path, origin: str) -> None:
        """Open or create the file of the log `origin`.

        Raises `Refused` when it is another log's, `Tampered` when its last line is damaged, `Unavailable` when it
        cannot be read or written.
        """
        self._path = path
        first = _FIRST.format(origin).encode()
        try:
            if not path.exists():
                replace_file(path, first)
            with path.open("r+b") as file:
                if file.readline() != first:
                    raise Refused("asked-other-log", f"{path} is not the list of what was asked for {origin}")
                whole = _whole_end(file, len(first))
        except OSError as error:
            raise Unavailable("asked-file", f"{path} cannot be read or written: {error.strerror}") from error
        lines = whole.split(b"\n")
        self._last = self._parse(lines[-2]) if len(lines) > 1 else None

    @property
    def last(self) -> tuple[int, bytes] | None:
        """Return size and root of the last checkpoint for which a cosignature was asked."""
        return self._last

    def record(self, size: int, root: bytes) -> None:
        """Write down that a cosignature is about to be asked; it is on disk when this returns."""
        if self._last == (size, root):
            return
        if self._last is not None and self._last[0] >= size:
            message = f"{self._path} says that witnesses were asked about size {self._last[0]}, and now about {size}"
            raise Tampered("asked-back", message)
        try:
            with self._path.open("r+b") as file:
                # A disk may have been full in the middle of the line before.
                _whole_end(file, 0)
                file.seek(0, os.SEEK_END)
                file.write(f"{size} {to_base64(root)}\n".encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Unavailable("asked-file", f"{self._path} cannot be written: {error.strerror}") from error
        self._last = (size, root)

    def _parse(self, line: bytes) -> tuple[int, bytes]:
        try:
            size, _, root = line.decode("ascii").partition(" ")
            parsed = to_decimal(size, what="the size"), from_base64(root, what="the root")
        except (UnicodeDecodeError, Invalid) as error:
            raise Tampered("asked-file", f"the last line of {self._path} is damaged: find out how") from error
        if len(parsed[1]) != HASH_SIZE:
            raise Tampered("asked-file", f"the last line of {self._path} is damaged: find out how")
        return parsed


def _whole_end(file: BinaryIO, first: int) -> bytes:
    """Return the last whole lines of a file, beginning at `first` or later, and take away a line that was cut.

    Such a line was not durable, so nobody was asked.
    """
    file.seek(max(first, file.seek(0, os.SEEK_END) - _TAIL))
    tail = file.read()
    whole = tail[: tail.rfind(b"\n") + 1]
    if whole != tail:
        file.truncate(file.tell() - len(tail) + len(whole))
        os.fsync(file.fileno())
    return whole


def check_start(
    head: tuple[int, bytes],
    tile: Tiles,
    *,
    keys: LogKeys,
    published: Mapping[str, Source],
    asked: AskedFile | None = None,
) -> dict[str, str]:
    """Check that the log `head` (size, root) goes on from all that was published and asked.

    `published` maps names for people to the places where checkpoints of this log stand: the public prefix, exports,
    mirrors. Returns those that could not be read, with the reason.

    Raises `Tampered`: `start-older` when the log is behind, `start-forked` when it has another history.
    """
    if asked is not None and asked.last is not None:
        check_extends(head, tile, asked.last, "what witnesses were asked to cosign")
    unread: dict[str, str] = {}
    for name, source in published.items():
        try:
            note = source.fetch("checkpoint")
        except Unavailable as error:
            unread[name] = error.message
            continue
        if note is None:
            unread[name] = "there is no checkpoint"
            continue
        try:
            checkpoint = open_checkpoint(note, keys)
        except AuditError as error:
            message = f"the checkpoint at {name} is not of this log and key ({error.message}): find out whose it is"
            raise Refused("start-other-log", message) from error
        check_extends(head, tile, (checkpoint.size, checkpoint.root), name)
    return unread


def check_extends(head: tuple[int, bytes], tile: Tiles, earlier: tuple[int, bytes], where: str) -> None:
    """Check that the log `head` has `earlier` (size, root) as its beginning; raise `Tampered` when it has not.

    SPEC tlog-checkpoint: "A log MUST not sign any checkpoint which is inconsistent with any checkpoint it previously
    signed."
    """
    size, root = earlier
    if size > head[0]:
        message = (
            f"the file has size {head[0]} and {where} says {size}: the file is an older backup. "
            "Do not go on with it: what it would sign contradicts what is known outside"
        )
        raise Tampered("start-older", message)
    if (root != head[1]) if size == head[0] else (RightEdge.load(size, subtree_reader(tile)).root() != root):
        message = f"the file has another history up to size {size} than {where}: call the operator"
        raise Tampered("start-forked", message)
