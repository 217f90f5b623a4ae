from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrator_audit.completeness.trie import (
    EMPTY,
    NOTHING,
    Kind,
    Leaf,
    Place,
    Summary,
    TrieProof,
    bit,
    combine,
    descend,
    descend_leaves,
    index_hash,
    leaf_hash,
    node_hash,
    prove,
    root_of,
    summarise,
    verify_absence,
    verify_inclusion,
)
from integrator_audit.errors import Invalid, Tampered


def naive(leaves: list[Leaf], depth: int = 0) -> bytes:
    """Return the root straight from the definition."""
    if not leaves:
        return bytes(32)
    if len(leaves) == 1:
        return sha256(b"\x02" + leaves[0].label + leaves[0].content).digest()
    bits = {leaf: format(int.from_bytes(leaf.label, "big"), "0256b")[depth] for leaf in leaves}
    left = naive([leaf for leaf in leaves if bits[leaf] == "0"], depth + 1)
    right = naive([leaf for leaf in leaves if bits[leaf] == "1"], depth + 1)
    return sha256(b"\x03" + left + right).digest()


def leaf_of(label: bytes) -> Leaf:
    return Leaf(label, sha256(label).digest())


# Labels that share many first bits, or all but the last ones: chains with empty sides at every depth.
LABELS = st.one_of(
    st.binary(min_size=32, max_size=32),
    st.builds(
        lambda head, tail: head.ljust(32 - len(tail), b"\0") + tail, st.binary(max_size=2), st.binary(max_size=2)
    ),
    st.integers(0, 255).map(lambda at: (1 << at).to_bytes(32, "big")),
)
TRIES = st.sets(LABELS, max_size=24).map(lambda labels: [leaf_of(label) for label in sorted(labels)])


@given(TRIES)
@settings(max_examples=150, deadline=None)
def test_the_streaming_root_is_the_naive_one(leaves: list[Leaf]) -> None:
    assert root_of(iter(leaves)) == naive(leaves)


@given(TRIES, st.integers(0, 12))
@settings(max_examples=80, deadline=None)
def test_a_trie_is_the_same_from_its_subtrees_at_any_depth(leaves: list[Leaf], depth: int) -> None:
    groups: list[list[Leaf]] = [[] for _ in range(1 << depth)]
    for leaf in leaves:
        groups[int.from_bytes(leaf.label, "big") >> (256 - depth)].append(leaf)
    assert combine([summarise(group, depth=depth) for group in groups]).hash == naive(leaves)


@given(TRIES, LABELS)
@settings(max_examples=150, deadline=None)
def test_whatever_a_trie_holds_or_does_not_hold_is_proven(leaves: list[Leaf], label: bytes) -> None:
    root = naive(leaves)
    for leaf in leaves:
        proof = prove(leaves, leaf.label)
        assert proof.end == leaf
        verify_inclusion(leaf, proof.siblings, root=root)
    if label not in {leaf.label for leaf in leaves}:
        verify_absence(label, prove(leaves, label), root=root)


@given(TRIES.filter(bool), st.data())
@settings(max_examples=150, deadline=None)
def test_no_proof_of_absence_can_be_made_for_what_is_there(leaves: list[Leaf], data: st.DataObject) -> None:
    victim = data.draw(st.sampled_from(leaves))
    root = naive(leaves)
    siblings = prove(leaves, victim.label).siblings
    ends = [None, *leaves]
    for depth in range(len(siblings) + 1):
        for end in ends:
            with pytest.raises(Tampered):
                verify_absence(victim.label, TrieProof(siblings[len(siblings) - depth :], end), root=root)


@given(TRIES, LABELS)
@settings(max_examples=80, deadline=None)
def test_a_proof_through_tiles_is_the_proof_over_all_leaves(leaves: list[Leaf], label: bytes) -> None:
    whole = prove(leaves, label)
    groups: list[list[Leaf]] = [[] for _ in range(256)]
    for leaf in leaves:
        groups[leaf.label[0]].append(leaf)
    top, end = descend([summarise(group, depth=8) for group in groups], label[0])
    if end.kind is Kind.NODE:
        below, found = descend_leaves(groups[label[0]], label, depth=8)
        assert TrieProof(tuple(reversed(top + below)), found) == whole
    else:
        assert tuple(reversed(top)) == whole.siblings
        assert end.hash == (
            EMPTY if whole.end is None else sha256(b"\x02" + whole.end.label + whole.end.content).digest()
        )


def test_roots_are_what_an_independent_count_gives() -> None:
    one, other = leaf_of(b"\x00" * 32), leaf_of(b"\x80" + b"\x00" * 31)
    assert root_of([]) == bytes(32)
    assert root_of([one]) == sha256(b"\x02" + one.label + one.content).digest()
    left, right = (sha256(b"\x02" + leaf.label + leaf.content).digest() for leaf in (one, other))
    assert root_of([one, other]) == sha256(b"\x03" + left + right).digest()
    near = leaf_of(b"\x40" + b"\x00" * 31)
    both = sha256(b"\x03" + left + sha256(b"\x02" + near.label + near.content).digest()).digest()
    assert root_of([one, near]) == sha256(b"\x03" + both + bytes(32)).digest()


def test_two_labels_that_differ_in_the_last_bit_have_a_proof_of_256_siblings() -> None:
    leaves = [leaf_of(bytes(32)), leaf_of(bytes(31) + b"\x01")]
    proof = prove(leaves, leaves[1].label)
    assert len(proof.siblings) == 256
    verify_inclusion(leaves[1], proof.siblings, root=root_of(leaves))
    with pytest.raises(Tampered, match="at most 256"):
        verify_inclusion(leaves[1], (*proof.siblings, bytes(32)), root=root_of(leaves))


MANY = [leaf_of(sha256(b"%d" % number).digest()) for number in range(300)]
MANY.sort()
STRANGER = sha256(b"nobody").digest()


def test_a_foreign_leaf_is_no_end_of_an_absence() -> None:
    victim, root = MANY[100], root_of(MANY)
    other = MANY[200]
    # The foreign leaf's own proof is sound; its place is just not where the victim's label leads.
    proof = prove(MANY, other.label)
    with pytest.raises(Tampered) as caught:
        verify_absence(victim.label, proof, root=root)
    assert caught.value.code == "trie-proof-foreign"


def test_a_hash_that_is_not_empty_does_not_pass_for_empty() -> None:
    victim, root = MANY[100], root_of(MANY)
    for siblings in (prove(MANY, victim.label).siblings, ()):
        with pytest.raises(Tampered) as caught:
            verify_absence(victim.label, TrieProof(siblings, None), root=root)
        assert caught.value.code == "trie-proof-root"


def test_a_subtree_that_was_not_folded_into_its_single_leaf_proves_nothing() -> None:
    """An operator who hashes a leaf with an empty sibling could show the leaf and its absence under one root."""
    leaf = leaf_of(b"\x00" * 32)
    unfolded = sha256(b"\x03" + sha256(b"\x02" + leaf.label + leaf.content).digest() + EMPTY).digest()
    other = b"\x80" + bytes(31)
    for check in (
        lambda: verify_inclusion(leaf, [EMPTY], root=unfolded),
        lambda: verify_absence(b"\x40" + bytes(31), TrieProof((EMPTY,), leaf), root=unfolded),
        lambda: verify_absence(other, TrieProof((EMPTY,), None), root=sha256(b"\x03" + EMPTY + EMPTY).digest()),
    ):
        with pytest.raises(Tampered) as caught:
            check()
        assert caught.value.code == "trie-proof-sibling"


def test_a_sibling_of_another_length_proves_nothing_though_it_gives_the_root() -> None:
    leaf, longer = MANY[7], bytes(32) + b"x"
    pair = (longer, leaf_hash(leaf)) if bit(leaf.label, 0) else (leaf_hash(leaf), longer)
    with pytest.raises(Tampered) as caught:
        verify_inclusion(leaf, [longer], root=node_hash(*pair))
    assert caught.value.code == "trie-proof-sibling"


def test_the_label_itself_is_no_proof_of_its_absence() -> None:
    victim = MANY[7]
    with pytest.raises(Tampered) as caught:
        verify_absence(victim.label, prove(MANY, victim.label), root=root_of(MANY))
    assert caught.value.code == "trie-proof-present"


def test_every_changed_byte_of_a_proof_is_refused() -> None:
    root = root_of(MANY)
    absent, present = prove(MANY, STRANGER), prove(MANY, MANY[5].label)
    for at in range(len(absent.siblings)):
        for siblings in (absent.siblings, present.siblings):
            changed = [
                bytes([siblings[at][0] ^ 1]) + siblings[at][1:] if at == n else s for n, s in enumerate(siblings)
            ]
            with pytest.raises(Tampered):
                verify_absence(STRANGER, TrieProof(tuple(changed), absent.end), root=root)
            with pytest.raises(Tampered):
                verify_inclusion(MANY[5], changed, root=root)
    for siblings in (absent.siblings[1:], absent.siblings[:-1], (*absent.siblings, EMPTY), (b"", *absent.siblings)):
        with pytest.raises(Tampered):
            verify_absence(STRANGER, TrieProof(siblings, absent.end), root=root)


def test_memory_of_a_root_is_one_path() -> None:
    def endless(count: int) -> Iterator[tuple[bytes, bytes]]:
        for number in range(count):
            yield number.to_bytes(32, "big"), bytes(32)

    import tracemalloc

    tracemalloc.start()
    root_of(endless(5_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 1024


@pytest.mark.parametrize(
    "leaves",
    [
        [(bytes(32), bytes(32)), (bytes(32), bytes(32))],
        [(b"\x01" * 32, bytes(32)), (bytes(32), bytes(32))],
        [(bytes(31), bytes(32))],
        [(bytes(32), bytes(31))],
    ],
)
def test_leaves_out_of_order_or_shape_are_refused(leaves: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Invalid):
        root_of(leaves)


def test_leaves_of_another_subtree_are_refused() -> None:
    with pytest.raises(Invalid) as caught:
        summarise([(bytes(32), bytes(32)), (b"\x80" + bytes(31), bytes(32))], depth=1)
    assert caught.value.code == "trie-order"


def test_the_hash_of_a_list_is_to_the_letter() -> None:
    salt = bytes(range(32))
    listed = (3).to_bytes(4, "big") + b"".join(
        shard.to_bytes(2, "big") + index.to_bytes(8, "big") for shard, index in [(0, 1), (0, 2), (7, 0)]
    )
    expected = sha256(b"dienstenintegrator/index/v1\x00" + salt + listed).digest()
    assert index_hash(salt, [(0, 1), Place(0, 2), (7, 0)]) == expected


@pytest.mark.parametrize(
    "places", [[], [(0, 2), (0, 1)], [(0, 1), (0, 1)], [(1, 0), (0, 9)], [(0x10000, 0)], [(-1, 0)], [(0, 1 << 64)]]
)
def test_a_list_is_not_empty_ascends_and_fits(places: list[tuple[int, int]]) -> None:
    with pytest.raises(Invalid) as caught:
        index_hash(bytes(32), places)
    assert caught.value.code == "trie-list"


def test_summaries_are_33_bytes_and_strict() -> None:
    for subtree in (NOTHING, summarise(MANY[:1]), summarise(MANY)):
        assert Summary.decode(subtree.encode()) == subtree
    for data in (b"", bytes(32), b"\x03" + b"x" * 32, b"\x00" + b"x" * 32, b"\x01" + bytes(32)):
        with pytest.raises(Invalid):
            Summary.decode(data)
    with pytest.raises(Invalid):
        combine([NOTHING] * 3)
