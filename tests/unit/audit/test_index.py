from __future__ import annotations

import os
import random
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from integrator_audit import Refused, Tampered, Unavailable
from integrator_audit.completeness.days import last_day
from integrator_audit.completeness.index import Altered, Cut, Page, Shape, Trie
from integrator_audit.completeness.indexfile import SqliteIndex
from integrator_audit.completeness.pages import (
    FILL,
    TrieWriter,
    bits_for,
    erase_leaves,
    find,
    fresh_elsewhere,
    fresh_leaves,
    leaves_of,
    places_of,
    read_page,
    record_of,
)
from integrator_audit.completeness.sorting import Sorter
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

SIZES = [0, 1, 2, 3, FILL, FILL + 1, 2 * FILL, 2 * FILL + 1, 900, 3000]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SqliteIndex]:
    index = SqliteIndex.open(tmp_path / "epochs.index.sqlite")
    yield index
    index.close()


def labels(count: int, seed: int = 1) -> list[bytes]:
    return sorted(sha256(b"%d label %d" % (seed, number)).digest() for number in range(count))


def places(number: int, count: int = 1) -> bytes:
    return b"".join(bytes(2) + (number * 100 + at).to_bytes(8, "big") for at in range(count))


def build(index: SqliteIndex, items: list[bytes], *, epoch: int = 7, at_once: int = 100) -> bytes:
    writer = TrieWriter(index, epoch, Trie.PERSONS, leaves=len(items))
    for start in range(0, len(items), at_once):
        chunk = items[start : start + at_once]
        writer.add(fresh_leaves(chunk, os.urandom(32 * len(chunk))))
    root = writer.finish().hash
    index.finish(epoch, b"leaf", shapes={Trie.PERSONS: writer.shape}, cuts=[])
    return root


@pytest.mark.parametrize("count", SIZES)
def test_a_trie_in_pages_has_the_root_and_the_proofs_of_the_trie_in_memory(index: SqliteIndex, count: int) -> None:
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
def test_labels_that_agree_in_many_bits_are_only_slower(index: SqliteIndex, bits: int) -> None:
    known = sorted(bytes(4) + label[4:] for label in labels(70))
    known += [b"\xff" * 32] if bits else []
    root = build(index, [label + places(at) for at, label in enumerate(known)])
    leaves = [Leaf(leaf.label, leaf.content) for leaf in leaves_of(index, 7, Trie.PERSONS)]
    assert root == root_of(leaves)
    for label in (known[3], known[-1], bytes([1] * 32), bytes([0x80, bits] * 16), b"\xff" * 31 + b"\xfe"):
        expected = prove(leaves, label)
        found = find(index, 7, Trie.PERSONS, label)
        assert (found.siblings, found.end and found.end[:2]) == (expected.siblings, expected.end)


def test_a_leaf_alone_under_a_tile_is_the_end_of_other_labels_proofs(index: SqliteIndex) -> None:
    crowd = [b"\x00" + label[1:] for label in labels(3 * FILL)]
    alone = bytes([0xC3]) + bytes(31)
    root = build(index, [label + places(at) for at, label in enumerate(sorted([*crowd, alone]))])
    for label in (bytes([0xFF] * 32), bytes([0x80] * 32), bytes([0xC0] * 32)):
        found = find(index, 7, Trie.PERSONS, label)
        assert found.end is not None
        assert found.end.label == alone
        verify_absence(label, TrieProof(found.siblings, Leaf(*found.end[:2])), root=root)


def test_lists_are_hashed_as_verifiers_hash_them(index: SqliteIndex) -> None:
    build(index, [label + places(at, 1 + at % 4) for at, label in enumerate(labels(30))])
    for leaf in leaves_of(index, 7, Trie.PERSONS):
        listed = [
            Place(int.from_bytes(leaf.places[at : at + 2], "big"), int.from_bytes(leaf.places[at + 2 : at + 10], "big"))
            for at in range(0, len(leaf.places), 10)
        ]
        assert leaf.salt is not None
        assert index_hash(leaf.salt, listed) == leaf.content


def test_a_long_list_is_kept_in_pieces_and_hashed_as_a_whole(index: SqliteIndex) -> None:
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
    index: SqliteIndex, count: int, closed: bool, tmp_path: Path
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
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert salt not in on_disk
    assert salt[:12] not in on_disk
    # Before its half-year closes, the bare places of a list are kept, under no label.
    assert (listed not in on_disk) == closed
    assert list(index.altered(0)) == ([] if closed else [Altered(7, listed, b"")])
    others = [leaf for leaf in leaves_of(index, 7, Trie.PERSONS) if leaf.label != victim]
    assert others == [leaf for label, leaf in before.items() if label != victim]


def test_a_record_is_read_as_it_was_written(index: SqliteIndex) -> None:
    fresh = fresh_leaves([labels(1)[0] + places(1, 2)], bytes(32))[0]
    long = fresh_elsewhere(labels(1)[0], bytes(32), [places(1, 2)], 2)
    for leaf in (fresh, long):
        (stored,) = read_page(leaf.record)
        assert (record_of(stored), stored.content) == (leaf.record, leaf.content)
        for damaged in (leaf.record[:-1], leaf.record + b"\0", leaf.record[:32] + b"\7" + leaf.record[33:]):
            with pytest.raises(Tampered):
                read_page(damaged)


def test_a_damaged_or_missing_page_is_named_as_such(index: SqliteIndex) -> None:
    build(index, [label + places(at) for at, label in enumerate(labels(500))])
    for statement in ("UPDATE page SET data = x'00'", "DELETE FROM page"):
        index.connection.execute(statement)
        with pytest.raises(Tampered) as caught:
            find(index, 7, Trie.PERSONS, labels(500)[3])
        assert caught.value.code == "index-page"


def test_a_sealing_that_did_not_come_to_its_leaf_is_forgotten_whole(index: SqliteIndex) -> None:
    build(index, [label + places(at) for at, label in enumerate(labels(200))], epoch=6)
    kept = "\n".join(index.connection.iterdump())
    index.add_places(7, Trie.RECIPIENTS, [(bytes(32), b"piece")])
    build(index, [label + places(at) for at, label in enumerate(labels(200, seed=3))], epoch=7)
    index.finish(8, b"leaf", shapes={}, cuts=[Cut(0, "origin", 3, b"note")])
    index.begin(7)
    assert "\n".join(index.connection.iterdump()) == kept
    assert (index.newest(), index.leaf(6), index.leaf(7)) == (6, b"leaf", None)


def test_days_without_anything_are_filled_in(index: SqliteIndex) -> None:
    index.fill(0, [b"day 0", b"day 1"])
    assert (index.newest(), index.leaf(1), index.shape(1, Trie.PERSONS)) == (1, b"day 1", None)
    assert find(index, 1, Trie.PERSONS, bytes(32)) == ((), None)


def test_cuts_are_kept_by_day_and_shard(index: SqliteIndex) -> None:
    cuts = [Cut(0, "origin/s0", 3, b"note 0"), Cut(1, "origin/s1", 9, b"note 1")]
    index.finish(7, b"leaf", shapes={}, cuts=cuts)
    assert [index.cut(7, shard) for shard in (0, 1, 2)] == [*cuts, None]


def test_something_is_erased_while_a_day_is_sealed(index: SqliteIndex, tmp_path: Path) -> None:
    known = labels(200)
    root = build(index, [label + places(at) for at, label in enumerate(known)], epoch=6)
    beside = SqliteIndex.open_erasing(tmp_path / "epochs.index.sqlite")
    index.begin(7)
    index.add_places(7, Trie.RECIPIENTS, [(bytes(32), b"piece")])
    assert erase_leaves(beside, 6, Trie.PERSONS, known[:5], ground="order") == 5
    beside.close()
    assert build(index, [label + places(at) for at, label in enumerate(labels(200, seed=3))], epoch=7) != root
    assert [leaf.ground for leaf in leaves_of(index, 6, Trie.PERSONS)] == ["order"] * 5 + [None] * 195
    with pytest.raises(Unavailable):
        SqliteIndex.open_erasing(tmp_path / "absent.sqlite")


def test_a_file_of_another_kind_is_refused(tmp_path: Path, index: SqliteIndex) -> None:
    with pytest.raises(Unavailable):
        SqliteIndex.read_only(tmp_path / "absent.sqlite")
    for pragma, error in (("user_version=99", Tampered), ("application_id=1", Refused)):
        index.connection.execute(f"PRAGMA {pragma}")
        with pytest.raises(error):
            SqliteIndex.read_only(tmp_path / "epochs.index.sqlite")


def test_pages_are_neither_many_nor_large() -> None:
    assert [bits_for(count) for count in (0, 1, 64, 65, 128, 129, 10_000_000)] == [0, 0, 0, 1, 1, 2, 18]
    assert Shape(10, 0) == (10, 0)
    assert Page(0, 1, b"") < Page(1, 0, b"")


@pytest.mark.parametrize("held", [1, 7, 100, 10_000])
def test_the_sorter_sorts_whatever_it_holds(tmp_path: Path, held: int) -> None:
    drawn = random.Random(held)
    items = [drawn.randbytes(2) + bytes(30) + drawn.randbytes(drawn.randrange(12)) for _ in range(1000)]
    sorter = Sorter(directory=tmp_path, held=held)
    for start in range(0, 1000, 13):
        sorter.extend(items[start : start + 13])
    lists = list(sorter.sorted())
    assert [item for part in lists for item in part] == sorted(items)
    assert sorter.total == 1000
    heads = [{item[:32] for item in part} for part in lists]
    assert sum(map(len, heads)) == len({item[:32] for item in items}), "items of one label came in two lists"
    assert list(tmp_path.iterdir()) == [], "the spilled file has a name"


def test_what_the_sorter_spills_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    real = os.urandom

    class Watched:
        def __init__(self, **_: object) -> None:
            self.content = bytearray()

        def seek(self, at: int) -> None:
            self.at = at

        def write(self, data: bytes) -> None:
            written.append(data)
            self.content += data

        def read(self, length: int) -> bytes:
            return bytes(self.content[self.at : self.at + length])

        def close(self) -> None:
            self.content.clear()

    monkeypatch.setattr("tempfile.TemporaryFile", Watched)
    items = [real(32) + b"canary-0123456789" for _ in range(300)]
    sorter = Sorter(held=100)
    for start in range(0, 300, 100):
        sorter.extend(items[start : start + 100])
    assert [item for part in sorter.sorted() for item in part] == sorted(items)
    assert len(b"".join(written)) > 300 * 49
    assert b"canary" not in b"".join(written)


def test_the_root_of_nothing_is_zeros(index: SqliteIndex) -> None:
    assert build(index, []) == EMPTY
