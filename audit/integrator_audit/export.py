"""The log as static files by the C2SP paths, for any web server or object store.

- A file appears whole or not at all (written aside, synced, renamed), and the checkpoint last: whatever a published
  checkpoint implies is there.
- An export that is ahead of the file, or has another history, is evidence of an old backup or a fork: it is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from integrator_audit.checkpoint import Checkpoint, LogKeys, open_checkpoint
from integrator_audit.durable import replace_file
from integrator_audit.errors import Refused, Tampered, Unavailable
from integrator_audit.frontier import Frontier
from integrator_audit.tiles import ENTRIES, TILE_WIDTH, TileName, TileRow, Tiles, hashes_at, right_edge_names

_BEFORE: Final = ".size-before"
"""The file that says which size was published before the one that is."""


def export_log(directory: Path, *, size: int, note: bytes, keys: LogKeys, tile: Tiles) -> None:
    """Bring `directory` up to `size`: new full tiles once, the partial ones of this size, then the checkpoint `note`.

    Partial tiles go when their full tile was there for one export already: who fetched the checkpoint before this one
    still finds what it implies, also a client that does not look for the full tile instead.

    Raises `Tampered` when the directory holds a later or another history, `Refused` when it holds another log,
    `Unavailable` when a file cannot be written.
    """
    try:
        published = _published(directory, keys)
        if published is not None:
            _check_extends(published, size, tile)
        for name in _names(published.size if published else 0, size):
            row = tile(name.level, name.index)
            if row is None or row.width < name.width:
                raise Tampered("tile-missing", f"{name.path} is missing from the file; run fsck")
            target = directory / name.path
            if not target.exists():
                replace_file(target, row.cut(name.width).data)
        replace_file(directory / "checkpoint", note)
        if published is not None and published.size < size:
            _remove_partial(directory, before=_size_before(directory), full=published.size)
            replace_file(directory / _BEFORE, f"{published.size}\n".encode())
    except OSError as error:
        raise Unavailable("export", f"a file of the export cannot be read or written: {error.strerror}") from error


def _remove_partial(directory: Path, *, before: int, full: int) -> None:
    """Remove the partial tiles of the log of size `before` that were full at size `full`.

    SPEC tlog-tiles: "MAY delete any partial tile once the corresponding full tile is either available, or has been
    removed by the pruning criteria below." Without that an export each second would fill a disk. Partial tiles left by
    a crash do no harm. Nothing else is ever removed:

    SPEC tlog-tiles: "Without a policy for when pruning is permitted, logs MUST NOT be pruned."
    """
    for level in range(ENTRIES, 64):
        index = hashes_at(level, before) // TILE_WIDTH
        if hashes_at(level, full) == 0:
            break
        if hashes_at(level, full) // TILE_WIDTH > index:
            shutil.rmtree(directory / f"{TileName(level, index).path}.p", ignore_errors=True)


def _size_before(directory: Path) -> int:
    """Return the size that was published before the last one, 0 when nobody knows."""
    try:
        text = (directory / _BEFORE).read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return 0
    return int(text) if text.isdigit() and len(text) < 20 else 0


def _published(directory: Path, keys: LogKeys) -> Checkpoint | None:
    try:
        note = (directory / "checkpoint").read_bytes()
    except FileNotFoundError:
        return None
    try:
        return open_checkpoint(note, keys)
    except Tampered as error:
        raise Refused("export-other-log", "the directory holds a checkpoint that is not this log's") from error


def _check_extends(published: Checkpoint, size: int, tile: Tiles) -> None:
    if published.size > size:
        message = (
            f"the export has size {published.size}, the file {size}: the file is an older backup. "
            "Do not go on with it: what it would sign contradicts what is published"
        )
        raise Tampered("export-ahead", message)

    def earlier(level: int, index: int) -> TileRow:
        width = min(hashes_at(level, published.size) - index * TILE_WIDTH, TILE_WIDTH)
        row = tile(level, index)
        if row is None or row.width < width:
            raise Tampered("tile-missing", f"a tile of level {level} is missing from the file; run fsck")
        return row.cut(width)

    if Frontier.load(published.size, earlier).root() != published.root:
        message = f"the export and the file have different histories up to size {published.size}; call the operator"
        raise Tampered("export-fork", message)


def _names(old_size: int, size: int) -> Iterator[TileName]:
    # One after the other: a damaged file may name an astronomic size, and then the first missing tile is the end.
    for level in range(ENTRIES, 64):
        full = hashes_at(level, size) // TILE_WIDTH
        if full == 0 and level > 0:
            break
        for index in range(hashes_at(level, old_size) // TILE_WIDTH, full):
            yield TileName(level, index)
    yield from right_edge_names(size)
