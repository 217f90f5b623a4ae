"""The right edge of a log with its unfinished tiles: all that a commit must know of what went before.

A frontier is a value that grows by copies: the ledger keeps the old one until the new one is durable.
"""

from __future__ import annotations

from collections.abc import Sequence

from integrator_audit.errors import Tampered
from integrator_audit.merkle import HASH_SIZE, TILE_HEIGHT, RightEdge, leaf_hash, leaf_hashes
from integrator_audit.tiles import (
    ENTRIES,
    NODE_HEIGHT,
    NODES_SIZE,
    TILE_WIDTH,
    TileRow,
    Tiles,
    hashes_at,
    nodes_of,
    split_bundle,
    subtree_reader,
)


class Frontier:
    """Grow a log's tiles in memory. Not safe to share between threads; the ledger's lock owns it."""

    __slots__ = ("_edge", "_nodes", "_open")

    def __init__(self) -> None:
        self._edge = RightEdge()
        # The nodes of the unfinished tile of level 0 so far.
        self._nodes = b""
        # The bytes of the unfinished tile of each level, by level; a level that ends on a full tile is absent.
        self._open: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        """Return the number of entries."""
        return self._edge.size

    def root(self) -> bytes:
        """Return the root over all entries."""
        return self._edge.root()

    def extend(self, entries: Sequence[bytes]) -> tuple[Frontier, list[TileRow]]:
        """Return the frontier after these leaf entries and the tiles that became wider or new."""
        grown = Frontier()
        start = self._edge.size
        grown._edge = self._edge.copy()
        grown._open = self._open.copy()
        completed = grown._edge.extend(leaf_hashes(entries))
        # Too few entries complete none.
        grown._nodes = self._nodes + b"".join(completed[NODE_HEIGHT] if len(completed) > NODE_HEIGHT else ())
        # As `frame_entries` does.
        lengths = {length: length.to_bytes(2, "big") for length in set(map(len, entries))}
        rows = grown._fill(ENTRIES, start, [lengths[len(entry)] + entry for entry in entries])
        for level, hashes in enumerate(completed[::TILE_HEIGHT]):
            rows += grown._fill(level, hashes_at(level, start), hashes)
        return grown, rows

    def _fill(self, level: int, count: int, items: Sequence[bytes]) -> list[TileRow]:
        rows: list[TileRow] = []
        taken = 0
        while taken < len(items):
            index, width = divmod(count, TILE_WIDTH)
            chunk = items[taken : taken + TILE_WIDTH - width]
            data = self._open.pop(level, b"") + b"".join(chunk)
            taken += len(chunk)
            count += len(chunk)
            width += len(chunk)
            nodes = b""
            if width < TILE_WIDTH:
                self._open[level] = data
            elif level == 0:
                nodes, self._nodes = self._nodes[:NODES_SIZE], self._nodes[NODES_SIZE:]
            rows.append(TileRow(level, index, width, data, nodes))
        return rows

    @classmethod
    def load(cls, size: int, tile: Tiles) -> Frontier:
        """Rebuild the frontier of a log of `size` from its stored tiles.

        Raises `Tampered` when a tile at the edge is not as wide as the size says, or the last bundle is not what the
        last tile of level 0 holds; the caller compares the root with the checkpoint.
        """
        frontier = cls()
        frontier._edge = RightEdge.load(size, subtree_reader(tile))
        for level in range(ENTRIES, (size.bit_length() + 7) // 8):
            index, width = divmod(hashes_at(level, size), TILE_WIDTH)
            if width:
                row = tile(level, index)
                frontier._open[level] = b"" if row is None else row.data
        for level, data in frontier._open.items():
            expected = hashes_at(level, size) % TILE_WIDTH * HASH_SIZE
            if level != ENTRIES and len(data) != expected:
                raise Tampered("ledger-right-edge", f"the last tile of level {level} is not as wide as the log's size")
        if ENTRIES in frontier._open:
            entries = split_bundle(frontier._open[ENTRIES], size % TILE_WIDTH)
            if b"".join(map(leaf_hash, entries)) != frontier._open[0]:
                raise Tampered("ledger-right-edge", "the last entry bundle and the last tile of level 0 differ")
            frontier._nodes = nodes_of(frontier._open[0])
        return frontier
