"""Compare every tile of a log with the hashes that the entries give, and say which one is wrong.

Feed it the leaf hashes in order; it rebuilds each level and compares a tile as soon as its last hash is known. Used by
`verify` over the network and by `fsck` over the database: the same rules for both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from integrator_audit.errors import Tampered
from integrator_audit.findings import Findings
from integrator_audit.merkle import TILE_HEIGHT, RightEdge, fold, leaf_hash
from integrator_audit.tiles import ENTRIES, TILE_WIDTH, TileName, hashes_at, split_bundle, split_hashes

Fetch = Callable[[TileName], bytes | None]
"""Return a tile or bundle of exactly that width, or None when it is missing."""


class TileCheck:
    """Rebuild the tree of a log of `size` entries and compare its tiles."""

    def __init__(self, size: int, fetch: Fetch, findings: Findings) -> None:
        self._size = size
        self._fetch = fetch
        self._findings = findings
        self._edge = RightEdge()
        # By level from 1 up: the hashes of the unfinished tile as the leaves give them, and how many are finished.
        self._open: dict[int, list[bytes]] = {}
        self._finished: dict[int, int] = {}
        self._upper: dict[TileName, list[bytes] | None] = {}

    @property
    def edge(self) -> RightEdge:
        """Return the tree over the leaf hashes fed so far."""
        return self._edge

    def names(self) -> Iterator[TileName]:
        """Yield the bundles and tiles of level 0, bundle before tile, in order."""
        for start in range(0, self._size, TILE_WIDTH):
            width = min(TILE_WIDTH, self._size - start)
            yield TileName(ENTRIES, start // TILE_WIDTH, width)
            yield TileName(0, start // TILE_WIDTH, width)

    def entries(self, name: TileName, data: bytes | None) -> list[bytes] | None:
        """Return the entries of a bundle, or None after reporting that it is missing or malformed."""
        if data is None:
            self._findings.add("bundle-missing", name.path, "the entry bundle is missing")
            return None
        try:
            return split_bundle(data, name.width)
        except Tampered as error:
            self._findings.add("bundle-wrong", name.path, error.message)
            return None

    def hashes(self, name: TileName, data: bytes | None) -> list[bytes] | None:
        """Return the hashes of a tile, or None after reporting that it is missing or has a wrong length."""
        if data is None:
            self._findings.add("tile-missing", name.path, "the tile is missing")
            return None
        try:
            return split_hashes(data, name.width)
        except Tampered as error:
            self._findings.add("tile-wrong", name.path, error.message)
            return None

    def judge(self, name: TileName, candidates: Mapping[str, Sequence[bytes] | None], root: bytes) -> list[bytes]:
        """Return the leaf hashes of tile `name` of level 0 that the rest of the log confirms.

        `candidates` maps who says so to the hashes it gives, None where it gives none. Where they differ, the hash
        above (level 1, or for the last, partial tile the signed root) says who is right.
        """
        given = [list(hashes) for hashes in candidates.values() if hashes is not None]
        if not given:
            return []
        # The most common first; where all differ, the first named.
        ordered = sorted(given, key=given.count, reverse=True)
        if ordered[0] == ordered[-1]:
            return ordered[0]
        if name.width == TILE_WIDTH:
            above = self._above(name.index)
            confirmed = [hashes for hashes in ordered if fold(b"".join(hashes)) == above]
        else:
            confirmed = [hashes for hashes in ordered if self._root_with(hashes) == root]
        if confirmed:
            return confirmed[0]
        message = "the tile and its bundle differ, and the tree above confirms neither"
        self._findings.add("tile-wrong", name.path, message)
        self._findings.add("bundle-wrong", TileName(ENTRIES, name.index, name.width).path, message)
        return ordered[0]

    def feed(self, hashes: Sequence[bytes]) -> None:
        """Append leaf hashes, and compare the tiles of the levels above that they complete."""
        for level, new in enumerate(self._edge.extend(hashes)[::TILE_HEIGHT]):
            if level == 0:
                continue
            waiting = self._open.setdefault(level, [])
            waiting += new
            while len(waiting) >= TILE_WIDTH:
                self._compare(level, waiting[:TILE_WIDTH])
                del waiting[:TILE_WIDTH]

    def finish(self) -> None:
        """Compare the partial tiles of the levels above."""
        for level, waiting in self._open.items():
            if waiting:
                self._compare(level, waiting)

    def _compare(self, level: int, expected: list[bytes]) -> None:
        index = self._finished.get(level, 0)
        self._finished[level] = index + 1
        name = TileName(level, index, len(expected))
        stored = self._upper_hashes(name)
        self._upper.pop(name, None)
        if stored is None or stored == expected:
            return
        wrong = next(at for at in range(len(expected)) if stored[at] != expected[at])
        message = f"hash {wrong} of the tile is not the hash of the tile below it"
        self._findings.add("tile-wrong", name.path, message)

    def _above(self, index: int) -> bytes | None:
        """Return what level 1 says about tile `index` of level 0."""
        number, offset = divmod(index, TILE_WIDTH)
        width = min(TILE_WIDTH, hashes_at(1, self._size) - number * TILE_WIDTH)
        hashes = self._upper_hashes(TileName(1, number, width))
        return None if hashes is None else hashes[offset]

    def _upper_hashes(self, name: TileName) -> list[bytes] | None:
        if name not in self._upper:
            self._upper[name] = self.hashes(name, self._fetch(name))
        return self._upper[name]

    def _root_with(self, hashes: Sequence[bytes]) -> bytes:
        edge = self._edge.copy()
        edge.extend(hashes)
        return edge.root()


def entry_hashes(entries: Sequence[bytes] | None) -> list[bytes] | None:
    """Return the leaf hashes of a bundle's entries."""
    return None if entries is None else [leaf_hash(entry) for entry in entries]
