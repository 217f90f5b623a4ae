"""Merkle tree hashes and proofs after RFC 6962 §2.1 and RFC 9162 §2.1.3 and §2.1.4, over SHA-256.

- Hashes are 32 bytes; leaves are counted from 0; a tree of size n holds the leaves 0 … n-1.
- Nothing here reads or writes: a caller that proves passes a `Subtree`, who verifies passes the proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from struct import Struct
from typing import Self

from integrator_audit.engine import KERNEL
from integrator_audit.errors import Tampered

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()
TILE_HEIGHT = 8
_PAIR = Struct("64s")

Subtree = Callable[[int, int], bytes]
"""(height h, index j) -> MTH(D[j·2^h : (j+1)·2^h]), only ever asked for subtrees that are complete."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash one entry: SHA-256(0x00 ‖ entry)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two children: SHA-256(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


def parents(hashes: bytes) -> bytes:
    """Return the nodes over an even number of neighbouring hashes, both joined."""
    if KERNEL is not None:
        return KERNEL.parents(hashes)
    return b"".join([sha256(b"\x01" + pair).digest() for (pair,) in _PAIR.iter_unpack(hashes)])


def leaf_hashes(entries: Sequence[bytes]) -> list[bytes]:
    """Hash each entry as `leaf_hash` does."""
    if KERNEL is not None:
        return KERNEL.leaf_hashes(list(entries))
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def _pair_hashes(nodes: list[bytes]) -> list[bytes]:
    """Return the node over each pair of neighbours; a last one without a neighbour is left out."""
    if KERNEL is not None:
        return KERNEL.pair_hashes(nodes)
    pairs = iter(nodes)
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]


def fold(hashes: bytes) -> bytes:
    """Return the root over a power of two of neighbouring hashes, joined."""
    while len(hashes) > HASH_SIZE:
        hashes = parents(hashes)
    return hashes


def layers(hashes: bytes) -> list[bytes]:
    """Return the complete subtrees over neighbouring hashes by their height, joined: the hashes themselves first."""
    found = [hashes]
    while len(hashes) >= _PAIR.size:
        hashes = parents(hashes[: len(hashes) // _PAIR.size * _PAIR.size])
        found.append(hashes)
    return found


class RightEdge:
    """The complete subtrees at the right of a growing tree: all that appending needs of what went before.

    `_waiting[h]` is the complete subtree of height h that has no right neighbour yet; it is there exactly when
    bit h of the size is set (RFC 6962 §2.1 splits at powers of two).
    """

    __slots__ = ("_waiting", "size")

    def __init__(self) -> None:
        self.size = 0
        self._waiting: list[bytes | None] = []

    @classmethod
    def load(cls, size: int, subtree: Subtree) -> Self:
        """Rebuild the edge of a tree of `size` leaves from its stored subtrees."""
        edge = cls()
        edge.size = size
        edge._waiting = [
            subtree(height, (size >> height) - 1) if size >> height & 1 else None for height in range(size.bit_length())
        ]
        return edge

    @property
    def subtrees(self) -> tuple[bytes, ...]:
        """Return the complete subtrees, the lowest (rightmost) first: with `size` all that `load` asks for."""
        return tuple(waiting for waiting in self._waiting if waiting is not None)

    def copy(self) -> RightEdge:
        """Return an edge that grows on its own."""
        edge = RightEdge()
        edge.size = self.size
        edge._waiting = self._waiting.copy()
        return edge

    def extend(self, leaf_hashes: Iterable[bytes]) -> list[list[bytes]]:
        """Append leaf hashes; return, by height, the subtrees that this completed, in order.

        Every `TILE_HEIGHT`th is a level of tiles. One pass and, over the life of a tree, one node hash for each leaf.
        """
        nodes = list(leaf_hashes)
        self.size += len(nodes)
        completed: list[list[bytes]] = []
        height = 0
        # SPEC tlog-tiles: "A partial tile contains between 1 and 255 hashes, and MUST NOT be hashed into a tile at the
        # level above." Only pairs go up, so a level gets a hash for 256 below it.
        while nodes:
            completed.append(nodes)
            if height == len(self._waiting):
                self._waiting.append(None)
            waiting = self._waiting[height]
            if waiting is not None:
                nodes = [waiting, *nodes]
            self._waiting[height] = nodes[-1] if len(nodes) % 2 else None
            nodes = _pair_hashes(nodes)
            height += 1
        return completed

    def root(self) -> bytes:
        """Return MTH of the whole tree."""
        result: bytes | None = None
        for waiting in self._waiting:
            if waiting is not None:
                result = waiting if result is None else node_hash(waiting, result)
        return EMPTY_ROOT if result is None else result


def _split(count: int) -> int:
    """Return the largest power of two smaller than `count` (RFC 6962 §2.1)."""
    return 1 << (count - 1).bit_length() - 1


def _range_root(start: int, end: int, subtree: Subtree) -> bytes:
    """Return MTH(D[start:end]) for a range that RFC 6962's splitting produces."""
    count = end - start
    if count & (count - 1) == 0:
        height = count.bit_length() - 1
        return subtree(height, start >> height)
    middle = start + _split(count)
    return node_hash(_range_root(start, middle, subtree), _range_root(middle, end, subtree))


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """Prove that leaf `index` is in the tree of `size`: hashes from the leaf's sibling up (RFC 9162 §2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    proof: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(_range_root(middle, end, subtree))
            end = middle
        else:
            proof.append(_range_root(start, middle, subtree))
            start = middle
    proof.reverse()
    return proof


def consistency_proof(old_size: int, size: int, subtree: Subtree) -> list[bytes]:
    """Prove that the tree of `old_size` is a prefix of the tree of `size` (RFC 9162 §2.1.4.1)."""
    if not 0 <= old_size <= size:
        raise ValueError(f"a tree of {size} has no prefix of {old_size}")
    if old_size in (0, size):
        return []
    proof: list[bytes] = []
    start, end = 0, size
    # The old tree is a whole subtree of the new one while we only ever went left: its root is known to the verifier.
    known = True
    while old_size != end:
        middle = start + _split(end - start)
        if old_size <= middle:
            proof.append(_range_root(middle, end, subtree))
            end = middle
        else:
            proof.append(_range_root(start, middle, subtree))
            start = middle
            known = False
    if not known:
        proof.append(_range_root(start, end, subtree))
    proof.reverse()
    return proof


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """Return the root that `proof` gives for the leaf hash `leaf` (RFC 9162 §2.1.3.2).

    Raises `Tampered` when the proof cannot belong to this index and size.
    """
    if not 0 <= index < size:
        raise Tampered("inclusion-proof", f"the proof is for entry {index} of a tree that has {size}")
    position, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0 or len(sibling) != HASH_SIZE:
            raise Tampered("inclusion-proof", f"the proof for entry {index} of {size} has a wrong length")
        if position & 1 or position == last:
            result = node_hash(sibling, result)
            while position & 1 == 0 and position != 0:
                position >>= 1
                last >>= 1
        else:
            result = node_hash(result, sibling)
        position >>= 1
        last >>= 1
    if last != 0:
        raise Tampered("inclusion-proof", f"the proof for entry {index} of {size} has a wrong length")
    return result


def verify_inclusion(leaf: bytes, index: int, size: int, *, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf hash stands at `index` of the tree with this size and root; raise `Tampered` if not."""
    if root_from_inclusion(leaf, index, size, proof) != root:
        raise Tampered("inclusion-proof", f"the proof for entry {index} does not lead to the root of size {size}")


def verify_consistency(old: tuple[int, bytes], new: tuple[int, bytes], *, proof: Sequence[bytes]) -> None:
    """Check that the tree `new` (size, root) extends the tree `old` (RFC 9162 §2.1.4.2); raise `Tampered` if not.

    From size 0 the proof must be empty and is then accepted, as tlog-witness needs it.
    """
    (old_size, old_root), (new_size, new_root) = old, new
    failure = Tampered("consistency-proof", f"the log of size {new_size} does not extend its log of size {old_size}")
    if old_size > new_size or any(len(item) != HASH_SIZE for item in proof):
        raise failure
    if old_size in (0, new_size):
        expected = EMPTY_ROOT if old_size == 0 else new_root
        if proof or old_root != expected:
            raise failure
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise failure
    first, second = old_size - 1, new_size - 1
    while first & 1:
        first >>= 1
        second >>= 1
    old_result = new_result = path[0]
    for sibling in path[1:]:
        if second == 0:
            raise failure
        if first & 1 or first == second:
            old_result = node_hash(sibling, old_result)
            new_result = node_hash(sibling, new_result)
            while first & 1 == 0 and first != 0:
                first >>= 1
                second >>= 1
        else:
            new_result = node_hash(new_result, sibling)
        first >>= 1
        second >>= 1
    if second != 0 or old_result != old_root or new_result != new_root:
        raise failure
