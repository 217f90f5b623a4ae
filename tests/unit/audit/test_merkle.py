from __future__ import annotations

from collections.abc import Iterable

import pytest

from integrator_audit import Tampered
from integrator_audit.frontier import Frontier
from integrator_audit.merkle import (
    EMPTY_ROOT,
    RightEdge,
    Subtree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from integrator_audit.tiles import TILE_WIDTH, TileRow, hashes_at, subtree_reader

MAX = 1_100
"""Beyond four full tiles, with a partial one."""
ENTRIES = [b"leaf %d" % number for number in range(MAX)]
LEAVES = list(map(leaf_hash, ENTRIES))

# transparency-dev/merkle, testonly/constants.go: leaf inputs and the roots of sizes 1 to 8.
VECTOR_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
VECTOR_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def split(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power


class NaiveTree:
    """RFC 6962 §2.1 as it is written, with nothing remembered but results."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int], bytes] = {}

    def root(self, start: int, end: int) -> bytes:
        if end == start:
            return EMPTY_ROOT
        if end - start == 1:
            return LEAVES[start]
        if (start, end) not in self.known:
            middle = start + split(end - start)
            self.known[start, end] = node_hash(self.root(start, middle), self.root(middle, end))
        return self.known[start, end]

    def path(self, index: int, start: int, end: int) -> list[bytes]:
        if end - start == 1:
            return []
        middle = start + split(end - start)
        if index < middle:
            return [*self.path(index, start, middle), self.root(middle, end)]
        return [*self.path(index, middle, end), self.root(start, middle)]

    def subtree(self, height: int, index: int) -> bytes:
        return self.root(index << height, (index + 1) << height)


NAIVE = NaiveTree()


def test_the_roots_are_those_of_the_published_vectors() -> None:
    edge = RightEdge()
    for leaf, expected in zip(VECTOR_LEAVES, VECTOR_ROOTS, strict=True):
        edge.extend([leaf_hash(bytes.fromhex(leaf))])
        assert edge.root().hex() == expected


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert RightEdge().root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_edge_gives_the_naive_root_at_every_size() -> None:
    edge = RightEdge()
    for size in range(1, MAX + 1):
        edge.extend([LEAVES[size - 1]])
        assert edge.root() == NAIVE.root(0, size)


@pytest.mark.parametrize("step", [2, 3, 7, 64, 255, 256, 257])
def test_the_edge_does_not_depend_on_how_leaves_are_batched(step: int) -> None:
    edge = RightEdge()
    heights: dict[int, list[bytes]] = {}
    for start in range(0, MAX, step):
        for height, hashes in enumerate(edge.extend(LEAVES[start : start + step])):
            heights.setdefault(height, []).extend(hashes)
    assert edge.root() == NAIVE.root(0, MAX)
    assert heights == {height: [NAIVE.subtree(height, at) for at in range(MAX >> height)] for height in range(11)}


def test_an_edge_loaded_from_subtrees_goes_on_as_the_grown_one() -> None:
    for size in range(MAX):
        edge = RightEdge.load(size, NAIVE.subtree)
        assert edge.root() == NAIVE.root(0, size)
        edge.extend(LEAVES[size:])
        assert edge.root() == NAIVE.root(0, MAX)


def numbers(end: int) -> set[int]:
    """Return numbers below `end` at which a proof changes its form: the ends, the middle, around powers of two."""
    powers = {1 << bit for bit in range(11)}
    around = {power + by for power in powers for by in (-1, 0, 1)} | {end - power for power in powers}
    return {number for number in around | {0, end - 1, end // 2, end // 3} if 0 <= number < end}


# Every pair of numbers up to that size is tried in tests/conformance.
def test_at_every_size_to_1100_inclusion_proofs_are_the_naive_ones_and_verify() -> None:
    for size in range(1, MAX + 1):
        check_inclusion(size, numbers(size))


def test_from_and_to_every_size_to_1100_consistency_proofs_verify() -> None:
    for size in range(MAX + 1):
        check_consistency(size, numbers(size + 1))


def test_at_every_size_to_1100_proofs_through_tiles_with_their_nodes_are_the_naive_ones() -> None:
    _, rows = Frontier().extend(ENTRIES)
    tiles = {(row.level, row.number): row for row in rows}
    assert len([row for row in rows if row.nodes]) == 4
    size = 0

    def tile(level: int, index: int) -> TileRow:
        return tiles[level, index].cut(min(hashes_at(level, size) - index * TILE_WIDTH, TILE_WIDTH))

    lasting = subtree_reader(tile)
    for size in range(1, MAX + 1):
        for subtree in (subtree_reader(tile), lasting):
            check_inclusion(size, numbers(size), subtree)
            check_consistency(size, numbers(size + 1), subtree)


def check_inclusion(size: int, indices: Iterable[int], subtree: Subtree = NAIVE.subtree) -> None:
    root = NAIVE.root(0, size)
    for index in indices:
        proof = inclusion_proof(index, size, subtree)
        assert proof == NAIVE.path(index, 0, size)
        verify_inclusion(LEAVES[index], index, size, proof=proof, root=root)


def check_consistency(size: int, old_sizes: Iterable[int], subtree: Subtree = NAIVE.subtree) -> None:
    new = (size, NAIVE.root(0, size))
    for old_size in old_sizes:
        proof = consistency_proof(old_size, size, subtree)
        verify_consistency((old_size, NAIVE.root(0, old_size)), new, proof=proof)


def test_a_changed_inclusion_proof_does_not_verify() -> None:
    for size in (1, 2, 5, 8, 33, 256, 300):
        root = NAIVE.root(0, size)
        for index in {0, size // 2, size - 1}:
            proof = inclusion_proof(index, size, NAIVE.subtree)
            changed = [[*proof[:at], LEAVES[7], *proof[at + 1 :]] for at in range(len(proof))]
            for wrong in [*changed, [*proof, LEAVES[7]], proof[:-1], [*proof[1:]]]:
                if wrong == proof:
                    continue
                with pytest.raises(Tampered):
                    verify_inclusion(LEAVES[index], index, size, proof=wrong, root=root)
            with pytest.raises(Tampered):
                verify_inclusion(leaf_hash(b"another"), index, size, proof=proof, root=root)
            for other in {0, size // 2, size - 1, size} - {index}:
                with pytest.raises(Tampered):
                    verify_inclusion(LEAVES[index], other, size, proof=proof, root=root)


def test_a_proof_with_a_hash_of_another_length_does_not_verify_though_it_gives_the_root() -> None:
    longer = LEAVES[1] + b"\0"
    root = node_hash(LEAVES[0], longer)
    with pytest.raises(Tampered):
        verify_inclusion(LEAVES[0], 0, 2, proof=[longer], root=root)
    with pytest.raises(Tampered):
        verify_consistency((1, LEAVES[0]), (2, root), proof=[longer])


def test_a_proof_for_a_tree_of_another_size_does_not_verify_though_it_gives_the_root() -> None:
    for leaf, size, proof, root in (
        (LEAVES[1], 1, [LEAVES[0]], NAIVE.root(0, 2)),
        (LEAVES[0], 2, [], LEAVES[0]),
        (LEAVES[0], 4, [LEAVES[1]], NAIVE.root(0, 2)),
    ):
        with pytest.raises(Tampered):
            verify_inclusion(leaf, 0, size, proof=proof, root=root)
    right = consistency_proof(3, 4, NAIVE.subtree)
    longer = (node_hash(LEAVES[1], NAIVE.root(0, 3)), node_hash(LEAVES[1], NAIVE.root(0, 4)), [*right, LEAVES[1]])
    shorter = (right[0], node_hash(right[0], right[1]), right[:2])
    for old, new, proof in (longer, shorter, (NAIVE.root(0, 3), NAIVE.root(0, 4), [])):
        with pytest.raises(Tampered):
            verify_consistency((3, old), (4, new), proof=proof)


def test_a_fork_has_no_consistency_proof() -> None:
    for old_size, size in ((1, 2), (3, 7), (4, 7), (128, 300), (129, 300), (300, 300)):
        proof = consistency_proof(old_size, size, NAIVE.subtree)
        new = (size, NAIVE.root(0, size))
        with pytest.raises(Tampered):
            verify_consistency((old_size, leaf_hash(b"fork")), new, proof=proof)
        with pytest.raises(Tampered):
            verify_consistency((old_size, NAIVE.root(0, old_size)), new, proof=[*proof, LEAVES[0]])
        with pytest.raises(Tampered):
            verify_consistency((old_size, NAIVE.root(0, old_size)), (size, leaf_hash(b"fork")), proof=proof)


def test_a_log_that_shrank_is_not_consistent() -> None:
    with pytest.raises(Tampered):
        verify_consistency((5, NAIVE.root(0, 5)), (4, NAIVE.root(0, 4)), proof=[])


def test_from_the_empty_log_only_an_empty_proof_is_accepted() -> None:
    verify_consistency((0, EMPTY_ROOT), (4, NAIVE.root(0, 4)), proof=[])
    with pytest.raises(Tampered):
        verify_consistency((0, EMPTY_ROOT), (4, NAIVE.root(0, 4)), proof=[LEAVES[0]])
    with pytest.raises(Tampered):
        verify_consistency((0, LEAVES[0]), (4, NAIVE.root(0, 4)), proof=[])
