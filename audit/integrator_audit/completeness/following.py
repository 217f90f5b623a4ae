"""Follows a log's public files from day to day: what was appended, and the root that the log has at the end of each.

- It keeps the right edge of the tree, so that it reads each entry bundle once in its life, and needs no tiles.
- At the end it goes on to the size of the public checkpoint and compares: the log that is shown to everybody is the one
  whose roots were checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from integrator_audit.checkpoint import Checkpoint, LogKeys, open_checkpoint
from integrator_audit.errors import Invalid, Tampered, Unavailable
from integrator_audit.merkle import RightEdge, leaf_hash
from integrator_audit.parts import LEAF_SIZE
from integrator_audit.sources import Source
from integrator_audit.tiles import ENTRIES, TILE_WIDTH, TileName, split_bundle
from integrator_audit.verify import fetch_tile

EMPTY_EDGE: Final[tuple[int, tuple[bytes, ...]]] = (0, ())


class Follower:
    """One log of entries of one type, followed from an edge: its size and the hashes of its complete subtrees."""

    def __init__(
        self, source: Source, keys: LogKeys, entry_type: int, *, edge: tuple[int, Sequence[bytes]] = EMPTY_EDGE
    ) -> None:
        """Read the public checkpoint.

        Raises `Unavailable` (`no-checkpoint`), `Tampered` when the checkpoint does not hold or is older than the edge
        (`rollback`).
        """
        note = source.fetch("checkpoint")
        if note is None:
            raise Unavailable("no-checkpoint", f"there is no checkpoint of {keys.name} at that place")
        try:
            self.checkpoint: Checkpoint = open_checkpoint(note, keys)
        except Invalid as error:
            raise Tampered("checkpoint-malformed", f"checkpoint of {keys.name}: {error.message}") from error
        self._source = source
        self._type = entry_type
        self._edge = _load(*edge)
        if self._edge.size > self.checkpoint.size:
            message = f"{keys.name} shows size {self.checkpoint.size}, and had {self._edge.size} before"
            raise Tampered("rollback", message)

    @property
    def origin(self) -> str:
        """Return the log's origin."""
        return self.checkpoint.origin

    @property
    def edge(self) -> tuple[int, tuple[bytes, ...]]:
        """Return where it stands, for the next time."""
        return self._edge.size, self._edge.subtrees

    def root_at(self, size: int) -> bytes:
        """Go on to a size and return the root there.

        Raises `Tampered`: `shard-short` (the public log is not so long), `bundle-wrong`, `entry-type`.
        """
        if size > self.checkpoint.size:
            message = (
                f"the epoch log names {size} entries of {self.origin}, whose public log has {self.checkpoint.size}"
            )
            raise Tampered("shard-short", message)
        if size < self._edge.size:
            raise Tampered("shard-short", f"the days of {self.origin} are not followed in their order")
        while self._edge.size < size:
            self._take(size)
        return self._edge.root()

    def finish(self) -> None:
        """Compare with the public checkpoint, and stay where the last day ended; raise `Tampered` (`shard-fork`)."""
        day_end = self._edge.copy()
        if self.root_at(self.checkpoint.size) != self.checkpoint.root:
            message = f"the public log {self.origin} is not the one whose roots the epoch log names"
            raise Tampered("shard-fork", message)
        self._edge = day_end

    def _take(self, size: int) -> None:
        """Append what the next bundle has, up to `size`."""
        number, offset = divmod(self._edge.size, TILE_WIDTH)
        start = number * TILE_WIDTH
        name = TileName(ENTRIES, number, min(TILE_WIDTH, self.checkpoint.size - start))
        data = fetch_tile(self._source, name)
        if data is None:
            raise Tampered("bundle-missing", f"{name.path} of {self.origin} is missing")
        entries = split_bundle(data, name.width)[offset : size - start]
        # SPEC ledger §4: "*Subject shards* hold only type `0x01` […] The *institution log* holds type `0x02`"
        if any(len(entry) != LEAF_SIZE or entry[0] != self._type for entry in entries):
            raise Tampered("entry-type", f"{name.path} of {self.origin} holds an entry that is not of the log's type")
        self._edge.extend(map(leaf_hash, entries))


def _load(size: int, subtrees: Sequence[bytes]) -> RightEdge:
    heights = [height for height in range(size.bit_length()) if size >> height & 1]
    if len(heights) != len(subtrees):
        raise Invalid("edge", "what is remembered of a log does not fit its size")
    stored = dict(zip(heights, subtrees, strict=True))
    return RightEdge.load(size, lambda height, _index: stored[height])
