"""A log's files in memory, made straight from its leaves: what a simulator publishes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from integrator_audit.merkle import EMPTY_ROOT, RightEdge, Subtree, fold, inclusion_proof, leaf_hash
from integrator_audit.tiles import ENTRIES, TILE_WIDTH, TileName, frame_entries


class MemorySource:
    """Files by their paths."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.fetched: list[str] = []

    def fetch(self, path: str) -> bytes | None:
        self.fetched.append(path)
        return self.files.get(path)


def log_files(leaves: Sequence[bytes], note: bytes) -> dict[str, bytes]:
    """Return all files of a log with these leaves, each tile and bundle as wide as it is now."""
    files = {"checkpoint": note}
    for start in range(0, len(leaves), TILE_WIDTH):
        bundle = leaves[start : start + TILE_WIDTH]
        files[TileName(ENTRIES, start // TILE_WIDTH, len(bundle)).path] = frame_entries(bundle)
    hashes = [leaf_hash(leaf) for leaf in leaves]
    level = 0
    while hashes:
        tiles = [hashes[start : start + TILE_WIDTH] for start in range(0, len(hashes), TILE_WIDTH)]
        for index, tile in enumerate(tiles):
            files[TileName(level, index, len(tile)).path] = b"".join(tile)
        hashes = [fold(b"".join(tile)) for tile in tiles if len(tile) == TILE_WIDTH]
        level += 1
    return files


def root_of_log(leaves: Sequence[bytes]) -> bytes:
    """Return the Merkle root over leaves."""
    edge = RightEdge()
    edge.extend(leaf_hash(leaf) for leaf in leaves)
    return edge.root() if leaves else EMPTY_ROOT


def proof_in_log(leaves: Sequence[bytes], index: int, size: int) -> list[bytes]:
    """Prove that a leaf is in the log's first `size` leaves."""
    return inclusion_proof(index, size, _subtree(leaves))


def _subtree(leaves: Sequence[bytes]) -> Subtree:
    def subtree(height: int, index: int) -> bytes:
        return fold(b"".join(leaf_hash(leaf) for leaf in leaves[index << height : (index + 1) << height]))

    return subtree
