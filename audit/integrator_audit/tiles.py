"""Tiles and entry bundles after C2SP tlog-tiles: paths, widths, contents.

- Source: https://c2sp.org/tlog-tiles. Where it leaves room, the strictest reading is taken.
- A tile is addressed by (level, index); level -1 (`ENTRIES`) means the entry bundles.
- Beside each full tile of level 0 a store keeps the nodes half way up in it, for proofs. They are no part of the tile,
  and nobody else sees them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from integrator_audit.errors import Invalid, Tampered
from integrator_audit.merkle import HASH_SIZE, TILE_HEIGHT, Subtree, fold, layers

TILE_WIDTH = 1 << TILE_HEIGHT
ENTRIES = -1
MAX_LEVEL = 63
NODE_HEIGHT = 4
NODES_SIZE = (TILE_WIDTH >> NODE_HEIGHT) * HASH_SIZE
"""Bytes of the nodes that a store keeps beside a full tile of level 0."""
MAX_ENTRY = 0xFFFF
MAX_INDEX = (1 << 63) - 1
MAX_KEPT = 1 << 9
"""Of so many tiles `subtree_reader` remembers the subtrees, in eight megabytes: those of 32 million entries."""

_TILE = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TileName:
    """Address one tile or bundle; `width` is 256 for a full one and 1 … 255 for a partial one."""

    level: int
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Return the path under the log's prefix, for instance `tile/0/x001/x234/067.p/12`."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        groups = [f"{self.index % 1000:03d}"]
        rest = self.index // 1000
        while rest:
            groups.append(f"x{rest % 1000:03d}")
            rest //= 1000
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(reversed(groups))}{partial}"

    @property
    def full(self) -> TileName:
        """Return the name of the full tile of which this may be a prefix."""
        return TileName(self.level, self.index)

    @classmethod
    def parse(cls, path: str) -> TileName:
        """Read a path; raise `Invalid` for everything but the one form that the specification gives."""
        match = _TILE.fullmatch(path)
        if match is None:
            raise Invalid("tile-path", "the path is not that of a tile or an entry bundle")
        level, groups, width = match.groups()
        # SPEC tlog-tiles: "MUST be a decimal ASCII integer between 0 and 63, with no additional leading zeroes."
        if level != "entries" and int(level) > MAX_LEVEL:
            raise Invalid("tile-path", f"tile levels end at {MAX_LEVEL}")
        # SPEC tlog-tiles: "the width of the tile, a decimal ASCII integer between 1 and 255, with no additional leading
        # zeroes."
        if width is not None and int(width) >= TILE_WIDTH:
            raise Invalid("tile-path", f"partial tiles are narrower than {TILE_WIDTH}")
        # SPEC tlog-tiles: "It MUST be a non-negative integer encoded into zero-padded 3-digit path elements. All but
        # the last path element MUST begin with an `x`."
        index = int(groups.replace("x", "").replace("/", ""))
        name = cls(ENTRIES if level == "entries" else int(level), index, TILE_WIDTH if width is None else int(width))
        if index > MAX_INDEX or name.path != path:
            raise Invalid("tile-path", "the tile index is not in its one form")
        return name


class TileRow(NamedTuple):
    """One tile or bundle (`level` -1) as stored: as wide as it is now. A tuple, because stores take it as it is.

    `nodes` are the 16 nodes of height 4 over the hashes of a full tile of level 0, joined: with them a proof hashes 22
    pairs and not 247. They are the store's own and no part of what is published; all other tiles have none.
    """

    level: int
    number: int
    width: int
    data: bytes
    nodes: bytes = b""

    def cut(self, width: int) -> TileRow:
        """Return the tile as it was when it had this width, which is at most its own."""
        if width == self.width:
            return self
        name = TileName(self.level, self.number, width)
        return TileRow(self.level, self.number, width, prefix(name, self.data))


Tiles = Callable[[int, int], TileRow | None]
"""(level, index) -> the tile as wide as it is now, None where there is none."""


def hashes_at(level: int, size: int) -> int:
    """Return how many hashes (or entries) a tree of `size` has at a tile level."""
    return size >> (TILE_HEIGHT * max(level, 0))


def is_implied(name: TileName, size: int) -> bool:
    """Say whether a tree of `size`, or one of its prefixes, implies this tile."""
    return name.index * TILE_WIDTH + name.width <= hashes_at(name.level, size)


def right_edge_names(size: int) -> list[TileName]:
    """Return the partial tiles that a tree of `size` has, the bundle first.

    SPEC tlog-tiles: "The partial tile at level *l* for a tree of size *s* has `floor(s / 256**l) mod 256` entries.
    Empty tiles MUST NOT be served."
    """
    names = [TileName(ENTRIES, size // TILE_WIDTH, size % TILE_WIDTH)] if size % TILE_WIDTH else []
    for level in range(MAX_LEVEL + 1):
        count = hashes_at(level, size)
        if count == 0:
            break
        if count % TILE_WIDTH:
            names.append(TileName(level, count // TILE_WIDTH, count % TILE_WIDTH))
    return names


def split_hashes(data: bytes, width: int) -> list[bytes]:
    """Cut a tile of `width` hashes; raise `Tampered` when it is not exactly that long.

    SPEC tlog-tiles: "Full tiles MUST be exactly 256 hashes wide, or 8,192 bytes."
    """
    if len(data) != width * HASH_SIZE:
        raise Tampered("tile-length", f"a tile of {width} hashes has {len(data)} bytes")
    return [data[start : start + HASH_SIZE] for start in range(0, len(data), HASH_SIZE)]


def frame_entries(entries: Sequence[bytes]) -> bytes:
    """Return the bundle of these entries: each a big-endian uint16 length and its bytes."""
    return b"".join([len(entry).to_bytes(2, "big") + entry for entry in entries])


def iterate_bundle(data: bytes) -> Iterator[bytes]:
    """Yield the entries of a bundle; raise `Tampered` at an empty or cut entry."""
    position = 0
    while position < len(data):
        length = int.from_bytes(data[position : position + 2], "big")
        start, position = position + 2, position + 2 + length
        if length == 0 or position > len(data):
            raise Tampered("bundle-framing", "an entry bundle holds an empty or incomplete entry")
        yield data[start:position]


def split_bundle(data: bytes, width: int) -> list[bytes]:
    """Cut a bundle of exactly `width` entries and no trailing byte; raise `Tampered` otherwise."""
    entries = list(iterate_bundle(data))
    if len(entries) != width:
        raise Tampered("bundle-framing", f"an entry bundle of {width} entries holds {len(entries)}")
    return entries


def prefix(name: TileName, data: bytes) -> bytes:
    """Return the first `name.width` hashes or entries of a tile that is at least that wide.

    A tile never changes but by growing at its right, so the partial tile of an earlier size is a prefix of any later.
    """
    if name.level != ENTRIES:
        return data[: name.width * HASH_SIZE]
    entries = list(islice(iterate_bundle(data), name.width))
    if len(entries) != name.width:
        raise Tampered("bundle-framing", f"an entry bundle holds {len(entries)} entries, fewer than {name.width}")
    return frame_entries(entries)


def nodes_of(hashes: bytes) -> bytes:
    """Return the complete nodes of height 4 over the hashes of a tile, joined (see `TileRow`)."""
    return b"".join(layers(hashes)[NODE_HEIGHT : NODE_HEIGHT + 1])


def subtree_reader(tile: Tiles) -> Subtree:
    """Return the `Subtree` of `merkle` over stored tiles; it may be used for as long as the log is read.

    A complete subtree never changes: those of the tiles that many proofs need, the ones above the first level and the
    unfinished ones, are remembered, until they are of `MAX_KEPT` tiles.

    It raises `Tampered` when a tile is narrower than the tree's size implies. Not safe to share between threads.
    """
    known: dict[tuple[int, int], list[bytes]] = {}
    # The full tile of the first level that was asked for last: a proof asks for up to eight subtrees of one.
    full = TileRow(0, -1, 0, b"")

    def subtree(height: int, index: int) -> bytes:
        nonlocal full
        level, inside = divmod(height, TILE_HEIGHT)
        number, at = divmod(index, TILE_WIDTH >> inside)
        if found := _complete(known.get((level, number), ()), inside, at):
            return found
        if level or full.number != number:
            row = tile(level, number) or TileRow(level, number, 0, b"")
            if level or len(row.data) != TILE_WIDTH * HASH_SIZE:
                if len(known) >= MAX_KEPT:
                    known.clear()
                known[level, number] = layers(row.data)
                if found := _complete(known[level, number], inside, at):
                    return found
                path = TileName(level, number).path
                raise Tampered("tile-length", f"tile {path} is narrower than the log's size says")
            full = row
        return _within(full, inside, at)

    return subtree


def _complete(by_height: Sequence[bytes], height: int, index: int) -> bytes:
    """Return a subtree out of `merkle.layers`, nothing when it is not complete there."""
    found = by_height[height][index * HASH_SIZE : (index + 1) * HASH_SIZE] if height < len(by_height) else b""
    return found if len(found) == HASH_SIZE else b""


def _within(full: TileRow, height: int, index: int) -> bytes:
    """Return a subtree of a full tile of level 0: over its nodes if it is as high and the store has them."""
    if len(full.nodes) not in (0, NODES_SIZE):
        message = f"the nodes beside tile {TileName(0, full.number).path} have {len(full.nodes)} bytes; run fsck"
        raise Tampered("tile-length", message)
    hashes = full.data
    if full.nodes and height >= NODE_HEIGHT:
        hashes, height = full.nodes, height - NODE_HEIGHT
    span = HASH_SIZE << height
    return fold(hashes[index * span : (index + 1) * span])
