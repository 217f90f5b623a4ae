"""The prefix trie of a day or a period: what each label lists, one hash over all of them, and proofs of both answers.

    leaf  = SHA-256(0x02 ‖ label[32] ‖ hL)    node = SHA-256(0x03 ‖ L ‖ R)    empty = 32 × 00
    hL    = SHA-256("dienstenintegrator/index/v1" 0x00 ‖ salt[32] ‖ u32 m ‖ m × (u16 shard ‖ u64 index))

- Depth d of the trie branches at bit d of the label, the highest bit of its first byte first; 0 is left.
- A subtree without leaves is empty, one with a single leaf is that leaf, whatever its depth; every other is a node.
- Integers are big-endian. A list holds m ≥ 1 places, strictly ascending.
- Leaves are taken in the order of their labels, one at a time: memory is that of one path, at most 256 hashes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from hashlib import sha256
from typing import Final, NamedTuple

from integrator_audit.errors import Invalid, Tampered

HASH_SIZE: Final = 32
LABEL_SIZE: Final = 32
SALT_SIZE: Final = 32
MAX_DEPTH: Final = 256
EMPTY: Final = bytes(HASH_SIZE)
SUMMARY_SIZE: Final = 1 + HASH_SIZE

# The depth of a leaf: it hangs wherever it is needed.
_ANY_DEPTH: Final = -1
INDEX_PREFIX: Final = b"dienstenintegrator/index/v1\0"
_PLACE: Final = struct.Struct(">HQ").pack
_MAX_SHARD: Final = 0xFFFF
MAX_PLACES: Final = 0xFFFFFFFF
_MAX_INDEX: Final = (1 << 64) - 1


class Place(NamedTuple):
    """Where an entry stands: its shard, and its number (index) there."""

    shard: int
    number: int


class Leaf(NamedTuple):
    """A label and the hash `hL` of what it lists."""

    label: bytes
    content: bytes


class Kind(IntEnum):
    """What a subtree is."""

    EMPTY = 0
    LEAF = 1
    NODE = 2


class Summary(NamedTuple):
    """A subtree in 33 bytes: what it is, and its hash. Enough to build everything above it."""

    kind: Kind
    hash: bytes

    def encode(self) -> bytes:
        """Return u8 kind ‖ hash."""
        return bytes([self.kind]) + self.hash

    @classmethod
    def decode(cls, data: bytes) -> Summary:
        """Read what `encode` gave; raise `Invalid` for anything else."""
        if len(data) != SUMMARY_SIZE or data[0] > Kind.NODE or (data[0] == Kind.EMPTY) != (data[1:] == EMPTY):
            raise Invalid("trie-summary", "a subtree's summary is a kind and a hash, and only the empty one is zeros")
        return cls(Kind(data[0]), data[1:])


NOTHING: Final = Summary(Kind.EMPTY, EMPTY)


class Descent(NamedTuple):
    """A way down: the siblings from the top on, and the subtree at which it ended."""

    siblings: list[bytes]
    end: Summary


class TrieProof(NamedTuple):
    """A way from an end up to the root.

    `siblings` go from the end to the root, as many as the end is deep (d ≤ 256). `end` is the leaf that stands there,
    None where nothing does.
    """

    siblings: tuple[bytes, ...]
    end: Leaf | None


def index_hash(salt: bytes, places: Sequence[tuple[int, int]]) -> bytes:
    """Return hL over a 32-byte salt and the places that a label lists.

    Raises `Invalid` (`trie-list`) unless there is at least one place, all are in range and they strictly ascend.
    """
    check_places(places)
    if len(salt) != SALT_SIZE:
        raise Invalid("trie-list", f"the salt of a list has {SALT_SIZE} bytes")
    return sha256(INDEX_PREFIX + salt + len(places).to_bytes(4, "big") + pack_places(places)).digest()


def pack_places(places: Sequence[tuple[int, int]]) -> bytes:
    """Return places as lists are hashed: u16 shard ‖ u64 index each."""
    return b"".join([_PLACE(shard, number) for shard, number in places])


def check_places(places: Sequence[tuple[int, int]]) -> None:
    """Raise `Invalid` (`trie-list`) unless a list has places, in range and strictly ascending."""
    if not 0 < len(places) <= MAX_PLACES:
        raise Invalid("trie-list", "a list names at least one entry")
    former: tuple[int, int] = (-1, -1)
    for shard, number in places:
        if not (0 <= shard <= _MAX_SHARD and 0 <= number <= _MAX_INDEX):
            raise Invalid("trie-list", "a list names entries by a shard of 16 bits and an index of 64")
        place = (shard, number)
        if place <= former:
            raise Invalid("trie-list", "the entries of a list are not in strictly ascending order")
        former = place


def leaf_hash(leaf: Leaf) -> bytes:
    """Return SHA-256(0x02 ‖ label ‖ hL)."""
    return sha256(b"\x02" + leaf.label + leaf.content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x03 ‖ L ‖ R)."""
    return sha256(b"\x03" + left + right).digest()


def bit(label: bytes, depth: int) -> int:
    """Return the bit at which depth `depth` branches."""
    return label[depth >> 3] >> (7 - (depth & 7)) & 1


def common_bits(one: bytes, other: bytes) -> int:
    """Return in how many first bits two labels agree, 256 when they are the same."""
    return MAX_DEPTH - (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_length()


def join(left: Summary, right: Summary) -> Summary:
    """Return the subtree over two neighbours."""
    if left.kind is Kind.EMPTY and right.kind is not Kind.NODE:
        return right
    if right.kind is Kind.EMPTY and left.kind is not Kind.NODE:
        return left
    return Summary(Kind.NODE, sha256(b"\x03" + left.hash + right.hash).digest())


def combine(subtrees: Sequence[Summary]) -> Summary:
    """Return the subtree over 2^k neighbours of one depth, in order."""
    if not subtrees or len(subtrees) & (len(subtrees) - 1):
        raise Invalid("trie-summary", "the subtrees to combine are a power of two")
    while len(subtrees) > 1:
        pairs = iter(subtrees)
        subtrees = [join(left, right) for left, right in zip(pairs, pairs, strict=True)]
    return subtrees[0]


def summarise(leaves: Iterable[tuple[bytes, bytes]], *, depth: int = 0) -> Summary:
    """Return the subtree of a depth that holds these (label, hL), which come in strictly ascending order of labels.

    All labels agree in the first `depth` bits. Raises `Invalid` (`trie-order`) when they do not, or are out of order.
    """
    # Left subtrees that wait for their right neighbour: at which depth they branch off, and their hash one below it.
    # The depths ascend, so there are never more than 256.
    waiting: list[tuple[int, bytes]] = []
    # The subtree at the right so far: its hash, at which depth it is (a leaf: at any), and a label in it.
    right, at, label, former = EMPTY, _ANY_DEPTH, b"", -1
    for following, content in leaves:
        if len(following) != LABEL_SIZE or len(content) != HASH_SIZE:
            raise Invalid("trie-leaf", f"a label and the hash of its list have {HASH_SIZE} bytes each")
        number = int.from_bytes(following, "big")
        if former >= 0:
            branch = MAX_DEPTH - (number ^ former).bit_length()
            if number <= former or branch < depth:
                raise Invalid("trie-order", "the labels of a trie are not in strictly ascending order")
            while waiting and waiting[-1][0] > branch:
                right, at = _close(waiting, right, at, label=label)
            waiting.append((branch, right if at <= branch + 1 else _lift(right, label, at, branch + 1)))
        right, at, label, former = sha256(b"\x02" + following + content).digest(), _ANY_DEPTH, following, number
    while waiting:
        right, at = _close(waiting, right, at, label=label)
    if at == _ANY_DEPTH:
        return NOTHING if former < 0 else Summary(Kind.LEAF, right)
    return Summary(Kind.NODE, _lift(right, label, at, depth))


def root_of(leaves: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the root over all (label, hL), strictly ascending by label; 32 × 00 when there are none."""
    return summarise(leaves).hash


def descend(subtrees: Sequence[Summary], at: int) -> Descent:
    """Go down from the top of 2^k neighbours of one depth towards number `at`; stop where there is no node to split.

    When the way is k siblings long, its end is `subtrees[at]`; otherwise it ended above it, at a leaf or at nothing.
    """
    siblings: list[bytes] = []
    start, width = 0, len(subtrees)
    here = combine(subtrees)
    while width > 1 and here.kind is Kind.NODE:
        width //= 2
        left, right = combine(subtrees[start : start + width]), combine(subtrees[start + width : start + 2 * width])
        if at < start + width:
            here, sibling = left, right
        else:
            here, sibling, start = right, left, start + width
        siblings.append(sibling.hash)
    return Descent(siblings, here)


def descend_leaves(leaves: Sequence[Leaf], label: bytes, *, depth: int = 0) -> tuple[list[bytes], Leaf | None]:
    """Go down among the leaves of the subtree at `depth` towards `label`: siblings from the top on, and where it ended.

    `leaves` are all leaves of that subtree, ascending; the time is that of hashing all of them.
    """
    siblings: list[bytes] = []
    here = list(leaves)
    while len(here) > 1:
        zeros = [leaf for leaf in here if not bit(leaf.label, depth)]
        ones = here[len(zeros) :]
        depth += 1
        here, others = (ones, zeros) if bit(label, depth - 1) else (zeros, ones)
        siblings.append(summarise(others, depth=depth).hash)
    return siblings, here[0] if here else None


def prove(leaves: Sequence[Leaf], label: bytes) -> TrieProof:
    """Prove what a trie with these leaves, ascending, holds at `label`: its leaf, or the end that shows it has none."""
    siblings, end = descend_leaves(leaves, label)
    return TrieProof(tuple(reversed(siblings)), end)


def verify_inclusion(leaf: Leaf, siblings: Sequence[bytes], *, root: bytes) -> None:
    """Check that the trie with this root holds the leaf; raise `Tampered` (`trie-proof…`) if not."""
    _verify(leaf.label, leaf_hash(leaf), siblings, root=root)


def verify_absence(label: bytes, proof: TrieProof, *, root: bytes) -> None:
    """Check that the trie with this root holds nothing at `label`; raise `Tampered` (`trie-proof…`) if not.

    Codes: `trie-proof-foreign` (the end is a leaf that could not stand there), `trie-proof-present` (the end is the
    label's own leaf), `trie-proof-depth`, `trie-proof-sibling`, `trie-proof-root`.
    """
    if proof.end is None:
        _verify(label, EMPTY, proof.siblings, root=root)
        return
    # SPEC ledger §5: "the end is empty, or a leaf whose label agrees with ours in the first d bits and differs after"
    if proof.end.label == label:
        raise Tampered("trie-proof-present", "the proof that nothing is listed ends at the very label that it is about")
    if common_bits(label, proof.end.label) < len(proof.siblings):
        message = "the proof that nothing is listed ends at a leaf that has its place elsewhere in the trie"
        raise Tampered("trie-proof-foreign", message)
    _verify(label, leaf_hash(proof.end), proof.siblings, root=root)


def _verify(label: bytes, end: bytes, siblings: Sequence[bytes], *, root: bytes) -> None:
    depth = len(siblings)
    # SPEC ledger §5: "d ≤ 256"
    if depth > MAX_DEPTH:
        raise Tampered("trie-proof-depth", f"a proof in a trie has at most {MAX_DEPTH} siblings")
    if any(len(sibling) != HASH_SIZE for sibling in siblings):
        raise Tampered("trie-proof-sibling", f"a sibling in a trie's proof does not have {HASH_SIZE} bytes")
    # SPEC ledger §5: "a leaf or empty end at d ≥ 1 has a non-empty sibling"
    if depth and siblings[0] == EMPTY:
        message = "the end of a trie's proof has an empty sibling: a subtree with one leaf is that leaf"
        raise Tampered("trie-proof-sibling", message)
    result = end
    for at, sibling in enumerate(siblings):
        right = bit(label, depth - 1 - at)
        result = node_hash(sibling, result) if right else node_hash(result, sibling)
    if result != root:
        raise Tampered("trie-proof-root", "the proof does not lead to the root of the trie")


def _close(waiting: list[tuple[int, bytes]], right: bytes, at: int, *, label: bytes) -> tuple[bytes, int]:
    """Join the last waiting left subtree with its right neighbour, which holds `label`; return hash and depth."""
    depth, left = waiting.pop()
    if at > depth + 1:
        right = _lift(right, label, at, depth + 1)
    return sha256(b"\x03" + left + right).digest(), depth


def _lift(hashed: bytes, label: bytes, at: int, upto: int) -> bytes:
    """Wrap a node at depth `at` on the way of `label` in nodes whose other side is empty, up to depth `upto`."""
    for depth in range(at - 1, upto - 1, -1):
        hashed = node_hash(EMPTY, hashed) if bit(label, depth) else node_hash(hashed, EMPTY)
    return hashed
