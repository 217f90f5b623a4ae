"""What every index of an epoch log must do. A subclass of `IndexContract` gives the fixture `kept`, a place for one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256
from typing import Protocol

import pytest

from integrator_audit import Busy, Tampered, Unavailable
from integrator_audit.completeness.index import Altered, Cut, IndexReading, IndexStore, Shape, Trie
from integrator_audit.completeness.pages import (
    FILL,
    TrieWriter,
    erase_leaves,
    find,
    fresh_elsewhere,
    fresh_leaves,
    leaves_of,
    places_of,
)
from integrator_audit.completeness.trie import (
    EMPTY,
    Leaf,
    Place,
    TrieProof,
    index_hash,
    prove,
    root_of,
    verify_absence,
    verify_inclusion,
)
from integrator_audit.halfyear import last_day

SIZES = [0, 1, 2, 3, FILL, FILL + 1, 2 * FILL, 2 * FILL + 1, 900, 3000]


class KeptIndex(Protocol):
    """A place for one index, and ways to open it and look behind it."""

    def open(self) -> IndexStore: ...

    def open_erasing(self) -> IndexStore: ...

    def read_only(self) -> IndexReading: ...

    def damage(self, statement: str) -> None: ...

    def rows(self) -> list[str]:
        """Return everything that it holds, in some order."""
        ...

    def content(self) -> bytes:
        """Return all bytes in which something erased must not be found: files, or rows where there are no files."""
        ...


def labels(count: int, seed: int = 1) -> list[bytes]:
    return sorted(sha256(b"%d label %d" % (seed, number)).digest() for number in range(count))


def places(number: int, count: int = 1) -> bytes:
    return b"".join(bytes(2) + (number * 100 + at).to_bytes(8, "big") for at in range(count))


def build(index: IndexStore, items: list[bytes], *, epoch: int = 7, at_once: int = 100) -> bytes:
    writer = TrieWriter(index, epoch, Trie.PERSONS, leaves=len(items))
    for start in range(0, len(items), at_once):
        chunk = items[start : start + at_once]
        writer.add(fresh_leaves(chunk, os.urandom(32 * len(chunk))))
    root = writer.finish().hash
    index.finish(epoch, b"leaf", shapes={Trie.PERSONS: writer.shape}, cuts=[])
    return root


class IndexContract:
    """Subclass it, and give the fixture `kept`."""

    @pytest.fixture
    def kept(self) -> KeptIndex:
        raise NotImplementedError("a subclass says where the index is kept")

    @pytest.fixture
    def index(self, kept: KeptIndex) -> Iterator[IndexStore]:
        index = kept.open()
        yield index
        index.close()

    @pytest.mark.parametrize("count", SIZES)
    def test_a_trie_in_pages_has_the_root_and_the_proofs_of_the_trie_in_memory(
        self, index: IndexStore, count: int
    ) -> None:
        known = labels(count)
        root = build(index, [label + places(at, 1 + at % 3) for at, label in enumerate(known)])
        stored = list(leaves_of(index, 7, Trie.PERSONS))
        assert [leaf.label for leaf in stored] == known
        leaves = [Leaf(leaf.label, leaf.content) for leaf in stored]
        assert root == root_of([(leaf.label, leaf.content) for leaf in leaves])
        for label in (*known[:: max(1, count // 12)], *labels(12, seed=2)):
            found = find(index, 7, Trie.PERSONS, label)
            expected = prove(leaves, label)
            assert found.siblings == expected.siblings
            assert (None if found.end is None else found.end[:2]) == expected.end
            if found.end is not None and found.end.label == label:
                verify_inclusion(expected.end, found.siblings, root=root)  # type: ignore[arg-type]
            else:
                verify_absence(label, TrieProof(found.siblings, expected.end), root=root)

    @pytest.mark.parametrize("bits", [0, 1, 5, 13])
    def test_labels_that_agree_in_many_bits_are_only_slower(self, index: IndexStore, bits: int) -> None:
        known = sorted(bytes(4) + label[4:] for label in labels(70))
        known += [b"\xff" * 32] if bits else []
        root = build(index, [label + places(at) for at, label in enumerate(known)])
        leaves = [Leaf(leaf.label, leaf.content) for leaf in leaves_of(index, 7, Trie.PERSONS)]
        assert root == root_of(leaves)
        for label in (known[3], known[-1], bytes([1] * 32), bytes([0x80, bits] * 16), b"\xff" * 31 + b"\xfe"):
            expected = prove(leaves, label)
            found = find(index, 7, Trie.PERSONS, label)
            assert (found.siblings, found.end and found.end[:2]) == (expected.siblings, expected.end)

    def test_a_leaf_alone_under_a_tile_is_the_end_of_other_labels_proofs(self, index: IndexStore) -> None:
        crowd = [b"\x00" + label[1:] for label in labels(3 * FILL)]
        alone = bytes([0xC3]) + bytes(31)
        root = build(index, [label + places(at) for at, label in enumerate(sorted([*crowd, alone]))])
        for label in (bytes([0xFF] * 32), bytes([0x80] * 32), bytes([0xC0] * 32)):
            found = find(index, 7, Trie.PERSONS, label)
            assert found.end is not None
            assert found.end.label == alone
            verify_absence(label, TrieProof(found.siblings, Leaf(*found.end[:2])), root=root)

    def test_lists_are_hashed_as_verifiers_hash_them(self, index: IndexStore) -> None:
        build(index, [label + places(at, 1 + at % 4) for at, label in enumerate(labels(30))])
        for leaf in leaves_of(index, 7, Trie.PERSONS):
            listed = [
                Place(
                    int.from_bytes(leaf.places[at : at + 2], "big"),
                    int.from_bytes(leaf.places[at + 2 : at + 10], "big"),
                )
                for at in range(0, len(leaf.places), 10)
            ]
            assert leaf.salt is not None
            assert index_hash(leaf.salt, listed) == leaf.content

    def test_a_long_list_is_kept_in_pieces_and_hashed_as_a_whole(self, index: IndexStore) -> None:
        label, salt = labels(1)[0], os.urandom(32)
        pieces = [places(0, 50), places(1, 50), places(2, 7)]
        index.add_places(7, Trie.RECIPIENTS, [(label, piece) for piece in pieces[:2]])
        index.add_places(7, Trie.RECIPIENTS, [(label, pieces[2]), (bytes(32), b"another's")])
        writer = TrieWriter(index, 7, Trie.RECIPIENTS, leaves=1)
        writer.add([fresh_elsewhere(label, salt, pieces, 107)])
        writer.finish()
        index.finish(7, b"leaf", shapes={Trie.RECIPIENTS: writer.shape}, cuts=[])
        end = find(index, 7, Trie.RECIPIENTS, label).end
        assert end is not None
        assert list(places_of(index, 7, Trie.RECIPIENTS, end)) == pieces
        listed = [Place(0, number * 100 + at) for number, count in ((0, 50), (1, 50), (2, 7)) for at in range(count)]
        assert end.content == index_hash(salt, listed)

    @pytest.mark.parametrize(("count", "closed"), [(1, True), (500, True), (500, False)])
    def test_an_erased_leaf_keeps_every_proof_and_loses_its_list(
        self, kept: KeptIndex, index: IndexStore, count: int, closed: bool
    ) -> None:
        known = labels(count)
        root = build(index, [label + places(at, 3) for at, label in enumerate(known)])
        before = {leaf.label: leaf for leaf in leaves_of(index, 7, Trie.PERSONS)}
        victim = known[count // 2]
        if closed:
            index.finish(last_day(0), b"last", shapes={Trie.PERIOD: Shape(0, 0)}, cuts=[])
        assert erase_leaves(index, 7, Trie.PERSONS, [victim, labels(1, seed=9)[0]], ground="order") == 1
        assert erase_leaves(index, 7, Trie.PERSONS, [victim], ground="retention") == 0
        found = find(index, 7, Trie.PERSONS, victim)
        assert found.end is not None
        assert (found.end.salt, found.end.places, found.end.ground) == (None, b"", "order")
        verify_inclusion(Leaf(victim, before[victim].content), found.siblings, root=root)
        salt, listed = before[victim].salt, before[victim].places
        assert salt is not None
        on_disk = kept.content()
        assert salt not in on_disk
        assert salt[:12] not in on_disk
        # Before its half-year closes, the bare places of a list are kept, under no label.
        assert (listed not in on_disk) == closed
        assert list(index.altered(0)) == ([] if closed else [Altered(7, listed, b"")])
        others = [leaf for leaf in leaves_of(index, 7, Trie.PERSONS) if leaf.label != victim]
        assert others == [leaf for label, leaf in before.items() if label != victim]

    def test_a_damaged_or_missing_page_is_named_as_such(self, kept: KeptIndex, index: IndexStore) -> None:
        build(index, [label + places(at) for at, label in enumerate(labels(500))])
        for statement in ("UPDATE page SET data = substr(data, 1, 1)", "DELETE FROM page"):
            kept.damage(statement)
            with pytest.raises(Tampered) as caught:
                find(index, 7, Trie.PERSONS, labels(500)[3])
            assert caught.value.code == "index-page"

    def test_a_sealing_that_did_not_come_to_its_leaf_is_forgotten_whole(
        self, kept: KeptIndex, index: IndexStore
    ) -> None:
        build(index, [label + places(at) for at, label in enumerate(labels(200))], epoch=6)
        before = kept.rows()
        index.add_places(7, Trie.RECIPIENTS, [(bytes(32), b"piece")])
        build(index, [label + places(at) for at, label in enumerate(labels(200, seed=3))], epoch=7)
        index.finish(8, b"leaf", shapes={}, cuts=[Cut(0, "origin", 3, b"note")])
        index.begin(7)
        assert kept.rows() == before
        assert (index.newest(), index.leaf(6), index.leaf(7)) == (6, b"leaf", None)

    def test_days_without_anything_are_filled_in(self, index: IndexStore) -> None:
        index.fill(0, [b"day 0", b"day 1"])
        assert (index.newest(), index.leaf(1), index.shape(1, Trie.PERSONS)) == (1, b"day 1", None)
        assert find(index, 1, Trie.PERSONS, bytes(32)) == ((), None)

    def test_cuts_are_kept_by_day_and_shard(self, index: IndexStore) -> None:
        cuts = [Cut(0, "origin/s0", 3, b"note 0"), Cut(1, "origin/s1", 9, b"note 1")]
        index.finish(7, b"leaf", shapes={}, cuts=cuts)
        assert [index.cut(7, shard) for shard in (0, 1, 2)] == [*cuts, None]

    def test_the_root_of_nothing_is_zeros(self, index: IndexStore) -> None:
        assert build(index, []) == EMPTY

    def test_something_is_erased_while_a_day_is_sealed(self, kept: KeptIndex, index: IndexStore) -> None:
        known = labels(200)
        root = build(index, [label + places(at) for at, label in enumerate(known)], epoch=6)
        beside = kept.open_erasing()
        index.begin(7)
        index.add_places(7, Trie.RECIPIENTS, [(bytes(32), b"piece")])
        assert erase_leaves(beside, 6, Trie.PERSONS, known[:5], ground="order") == 5
        beside.close()
        assert build(index, [label + places(at) for at, label in enumerate(labels(200, seed=3))], epoch=7) != root
        assert [leaf.ground for leaf in leaves_of(index, 6, Trie.PERSONS)] == ["order"] * 5 + [None] * 195

    def test_one_process_seals_and_others_read(self, kept: KeptIndex, index: IndexStore) -> None:
        with pytest.raises(Busy):
            kept.open()
        build(index, [label + places(at) for at, label in enumerate(labels(10))])
        reading = kept.read_only()
        assert (reading.newest(), reading.leaf(7)) == (7, b"leaf")
        assert [leaf.label for leaf in leaves_of(reading, 7, Trie.PERSONS)] == labels(10)
        reading.close()

    def test_an_index_that_is_not_there_is_not_made_by_reading_or_erasing(self, kept: KeptIndex) -> None:
        for _ in range(2):
            for opening in (kept.read_only, kept.open_erasing):
                with pytest.raises(Unavailable):
                    opening()
