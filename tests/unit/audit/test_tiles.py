from __future__ import annotations

from hashlib import sha256

import pytest

from integrator_audit import Invalid, Tampered
from integrator_audit import tiles as tiles_module
from integrator_audit.frontier import Frontier
from integrator_audit.merkle import HASH_SIZE, fold, inclusion_proof, leaf_hash, node_hash, verify_inclusion
from integrator_audit.tiles import (
    ENTRIES,
    TILE_WIDTH,
    TileName,
    TileRow,
    frame_entries,
    is_implied,
    prefix,
    right_edge_names,
    split_bundle,
    split_hashes,
    subtree_reader,
)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (TileName(0, 0), "tile/0/000"),
        (TileName(0, 999, 12), "tile/0/999.p/12"),
        (TileName(1, 1000), "tile/1/x001/000"),
        (TileName(63, 0, 1), "tile/63/000.p/1"),
        (TileName(ENTRIES, 0, 255), "tile/entries/000.p/255"),
        # C2SP tlog-tiles gives this one: "index 1234067 will be encoded as `x001/x234/067`".
        (TileName(0, 1234067), "tile/0/x001/x234/067"),
    ],
)
def test_a_tile_has_one_path(name: TileName, path: str) -> None:
    assert name.path == path
    assert TileName.parse(path) == name


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0",
        "tile/0/",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/x001",
        "tile/0/001/000",
        "tile/0/x1/000",
        "tile/0/x001/x234/067/",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/1000",
        "tile/0/000.P/1",
        "tile/0/٠٠٠",
        "tile/entry/000",
        "tile/entries/00",
        "/tile/0/000",
        "tile/0/000\n",
        "tile/0/../0/000",
        "tile/0/" + "x999/" * 50 + "999",
        "tile/0/x010/x000/x000/x000/x000/x000/000",
    ],
)
def test_every_other_form_of_a_path_is_refused(path: str) -> None:
    with pytest.raises(Invalid):
        TileName.parse(path)


def test_the_right_edge_of_70000_entries_is_that_of_the_specification() -> None:
    paths = [name.path for name in right_edge_names(70_000)]
    assert paths == ["tile/entries/273.p/112", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]


def test_256_entries_have_a_full_tile_and_a_partial_one_above() -> None:
    assert [name.path for name in right_edge_names(256)] == ["tile/1/000.p/1"]
    assert is_implied(TileName(0, 0), 256)
    assert not is_implied(TileName(0, 1, 1), 256)
    assert not is_implied(TileName(1, 0), 256)


def test_the_tiles_of_70000_entries_are_those_that_the_frontier_gives() -> None:
    entries = [number.to_bytes(4, "big") for number in range(70_000)]
    frontier, rows = Frontier().extend(entries)
    last = {(row.level, row.number): row for row in rows}
    assert len([row for row in last.values() if row.level == 0 and row.width == 256]) == 273
    assert len([row for row in last.values() if row.level == 1 and row.width == 256]) == 1
    partial = {(row.level, row.number, row.width) for row in last.values() if row.width < 256}
    assert partial == {(-1, 273, 112), (0, 273, 112), (1, 1, 17), (2, 0, 1)}
    loaded = Frontier.load(70_000, lambda level, number: last[level, number])
    assert loaded.root() == frontier.root()
    assert loaded.extend([b"next"])[0].root() == frontier.extend([b"next"])[0].root()


def test_growing_in_steps_gives_the_same_tiles_as_at_once() -> None:
    entries = [b"entry %d" % number for number in range(1000)]
    _, at_once = Frontier().extend(entries)
    frontier = Frontier()
    stepwise: dict[tuple[int, int], TileRow] = {}
    for start in range(0, 1000, 77):
        frontier, rows = frontier.extend(entries[start : start + 77])
        for row in rows:
            before = stepwise.get((row.level, row.number), TileRow(row.level, row.number, 0, b""))
            assert row.data.startswith(before.data), "a tile only ever grows at its right"
            stepwise[row.level, row.number] = row
    assert stepwise == {(row.level, row.number): row for row in at_once}


def test_a_full_tile_of_level_0_has_its_nodes_beside_it_however_the_log_grew() -> None:
    entries = [b"entry %d" % number for number in range(1_200)]
    tiles: dict[tuple[int, int], TileRow] = {}
    frontier, step = Frontier(), 1
    while frontier.size < len(entries):
        # A frontier that is loaded goes on as the one that grew.
        frontier = Frontier.load(frontier.size, lambda level, number: tiles.get((level, number)))
        frontier, rows = frontier.extend(entries[frontier.size : frontier.size + step])
        tiles.update({(row.level, row.number): row for row in rows})
        step = step % 71 + 1
    for row in tiles.values():
        spans = range(0, TILE_WIDTH * HASH_SIZE, 16 * HASH_SIZE) if (row.level, row.width) == (0, TILE_WIDTH) else ()
        assert row.nodes == b"".join(fold(row.data[at : at + 16 * HASH_SIZE]) for at in spans)
    assert len([row for row in tiles.values() if row.nodes]) == 4
    assert tiles[0, 1].cut(255).nodes == b"", "what it was before it was full"


def test_a_bundle_is_cut_where_its_lengths_say() -> None:
    entries = [b"a", b"bc" * 300, b"d" * 65_535]
    data = frame_entries(entries)
    assert data[:3] == b"\x00\x01a"
    assert split_bundle(data, 3) == entries
    assert prefix(TileName(ENTRIES, 0, 2), data) == frame_entries(entries[:2])


@pytest.mark.parametrize(
    "data",
    [
        frame_entries([b"a", b"b", b"c"]),
        frame_entries([b"a"]),
        frame_entries([b"a", b"b"]) + b"\0",
        frame_entries([b"a", b"b"])[:-1],
        frame_entries([b"a", b""]),
        b"",
    ],
)
def test_a_bundle_of_two_holds_exactly_two_entries_and_nothing_more(data: bytes) -> None:
    with pytest.raises(Tampered):
        split_bundle(data, 2)


def test_more_than_a_bundle_or_tile_has_is_not_taken_out_of_it() -> None:
    with pytest.raises(Tampered):
        prefix(TileName(ENTRIES, 0, 3), frame_entries([b"a", b"b"]))
    with pytest.raises(Tampered):
        subtree_reader(lambda level, number: TileRow(level, number, 3, bytes(32 * 3)))(2, 0)


@pytest.mark.parametrize("length", [0, 32 * 255, 32 * 256 - 1, 32 * 256 + 1, 32 * 257])
def test_a_full_tile_is_exactly_8192_bytes(length: int) -> None:
    with pytest.raises(Tampered):
        split_hashes(bytes(length), 256)


def test_a_frontier_is_not_loaded_from_a_narrower_tile() -> None:
    _, rows = Frontier().extend([b"1", b"2", b"3"])
    tiles = {(row.level, row.number): row for row in rows}
    tiles[0, 0] = tiles[0, 0].cut(2)
    with pytest.raises(Tampered):
        Frontier.load(3, lambda level, number: tiles[level, number])
    del tiles[0, 0]
    with pytest.raises(Tampered):
        Frontier.load(3, lambda level, number: tiles.get((level, number)))


def test_proofs_are_those_of_the_tree_while_it_grows_and_ask_for_each_tile_once() -> None:
    leaves = [sha256(b"%d" % number).digest() for number in range(1_400)]
    frontier, tiles = Frontier(), dict[tuple[int, int], TileRow]()
    asked: list[tuple[int, int]] = []

    def tile(level: int, index: int) -> TileRow:
        asked.append((level, index))
        return tiles[level, index]

    subtree = subtree_reader(tile)
    for start in range(0, len(leaves), 139):
        frontier, rows = frontier.extend(leaves[start : start + 139])
        tiles.update({(row.level, row.number): row for row in rows})
        size, root = frontier.size, frontier.root()
        for index in range(start % 17, size, 61):
            asked.clear()
            proof = inclusion_proof(index, size, subtree)
            verify_inclusion(leaf_hash(leaves[index]), index, size, proof=proof, root=root)
            assert len(asked) == len(set(asked))
    # What is remembered is never asked for again, neither above nor in the unfinished tile.
    asked.clear()
    assert subtree(9, 0) == node_hash(subtree(8, 0), subtree(8, 1))
    inclusion_proof(256, frontier.size, subtree)
    assert asked == [(0, 1)]


def test_of_no_more_than_so_many_tiles_the_subtrees_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles_module, "MAX_KEPT", 3)
    data = b"".join(sha256(b"%d" % number).digest() for number in range(256))
    asked: list[int] = []

    def tile(level: int, index: int) -> TileRow:
        asked.append(index)
        return TileRow(level, index, TILE_WIDTH, data)

    subtree = subtree_reader(tile)
    for number in (0, 1, 2, 2, 1, 0, 3, 3, 0):
        assert subtree(9, 128 * number) == node_hash(data[:32], data[32:64])
    assert asked == [0, 1, 2, 3, 0], "the fourth took the place of all others"


@pytest.mark.parametrize(
    "row",
    [
        None,
        TileRow(0, 0, 256, bytes(8191)),
        TileRow(0, 0, 255, bytes(8160)),
        TileRow(0, 0, 256, bytes(8192), bytes(511)),
        TileRow(0, 0, 256, bytes(8192), bytes(480)),
        TileRow(0, 0, 256, bytes(8192), bytes(544)),
    ],
)
@pytest.mark.parametrize("height", [0, 3, 4, 7])
def test_a_tile_or_its_nodes_of_another_length_are_no_subtree(row: TileRow | None, height: int) -> None:
    subtree = subtree_reader(lambda _level, _index: row)
    with pytest.raises(Tampered) as caught:
        subtree(height, (TILE_WIDTH >> height) - 1)
    assert caught.value.code == "tile-length"


def test_a_proof_within_a_full_tile_reads_its_nodes_and_not_all_its_hashes() -> None:
    leaves = [b"%d" % number for number in range(300)]
    frontier, rows = Frontier().extend(leaves)
    tiles = {(row.level, row.number): row for row in rows}
    other = bytearray(tiles[0, 0].data)
    other[:HASH_SIZE] = bytes(HASH_SIZE)
    tiles[0, 0] = tiles[0, 0]._replace(data=bytes(other))
    proof = inclusion_proof(200, 300, subtree_reader(lambda level, index: tiles[level, index]))
    verify_inclusion(leaf_hash(leaves[200]), 200, 300, proof=proof, root=frontier.root())
