from __future__ import annotations

from pathlib import Path

import pytest

from integrator_audit import Invalid, LedgerReader, Refused, Signer, Tampered, Unavailable, verify_opening
from integrator_audit.merkle import leaf_hash
from integrator_audit.sqlitereading import SqliteReading
from integrator_audit.tiles import frame_entries, split_bundle
from tests.unit.audit.audit_samples import ORIGIN, PEOPLE, Place, entry, fill, signer


def test_a_readers_head_is_the_checkpoints(filled: Place) -> None:
    reader = filled.reader()
    assert (reader.size, reader.origin, reader.vkey) == (785, ORIGIN, signer().vkey)
    assert reader.checkpoint().startswith(f"{ORIGIN}\n785\n".encode())
    assert reader.positions() == {("integrator.disclosures", 0): 785}


def test_a_persons_entries_are_listed_newest_first_in_pages(filled: Place) -> None:
    reader = filled.reader()
    for number, subject in enumerate(PEOPLE):
        found: list[int] = []
        while page := reader.indices_of(subject, before=found[-1] if found else None, limit=20):
            found += page
        assert found == sorted(found, reverse=True)
        said = [verify_opening(reader.opening(at), signer().verifier).parts["S"]["number"] for at in found]
        assert sorted(said) == list(range(number, 785, len(PEOPLE)))  # type: ignore[type-var]
    assert reader.indices_of(bytes(32)) == []


def test_the_whole_log_is_listed_newest_first_in_pages(filled: Place) -> None:
    reader = filled.reader()
    assert reader.indices(limit=3) == [784, 783, 782]
    assert reader.indices(before=2) == [1, 0]
    assert reader.indices(before=0) == []
    assert reader.indices(before=5000, limit=1) == [784]
    for limit in (0, 1001):
        with pytest.raises(Invalid):
            reader.indices(limit=limit)


def test_resources_have_the_types_and_caching_of_a_tiles_server(filled: Place) -> None:
    reader = filled.reader()
    checkpoint, tile, bundle = (reader.resource(path) for path in ("checkpoint", "tile/0/000", "tile/entries/000"))
    assert checkpoint is not None
    assert tile is not None
    assert bundle is not None
    assert (checkpoint.content_type, checkpoint.cache_control) == ("text/plain; charset=utf-8", "no-cache")
    for resource in (tile, bundle):
        assert resource.content_type == "application/octet-stream"
        assert resource.cache_control == "public, max-age=31536000, immutable"
    assert checkpoint.content == reader.checkpoint()
    assert len(tile.content) == 8192
    entries = split_bundle(bundle.content, 256)
    assert b"".join(map(leaf_hash, entries)) == tile.content
    assert {(len(one), one[0]) for one in entries} == {(33, 0x01)}


def test_partial_tiles_of_every_earlier_size_are_prefixes_of_the_later_ones(filled: Place) -> None:
    reader = filled.reader()
    for path in ("tile/0/000", "tile/0/003.p/17", "tile/1/000.p/3", "tile/entries/001", "tile/entries/003.p/17"):
        whole = reader.resource(path)
        assert whole is not None
        base = path.split(".")[0]
        for width in range(1, 18 if "003" in path else 4 if "tile/1" in path else 256):
            part = reader.resource(f"{base}.p/{width}")
            assert part is not None
            assert whole.content.startswith(part.content)
            if "entries" in path:
                assert part.content == frame_entries(split_bundle(part.content, width))
            else:
                assert len(part.content) == 32 * width


@pytest.mark.parametrize(
    "path",
    [
        "",
        "checkpoint/",
        "/checkpoint",
        "tile/0/003",
        "tile/0/003.p/18",
        "tile/0/004.p/1",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/00/000",
        "tile/1/000",
        "tile/1/000.p/4",
        "tile/2/000.p/1",
        "tile/63/000.p/1",
        "tile/entries/003",
        "tile/entries/003.p/18",
        "tile/entries/004.p/1",
        "tile/0/x000/000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "../s0.sqlite",
    ],
)
def test_what_a_tiles_server_must_not_serve_is_not_there(filled: Place, path: str) -> None:
    assert filled.reader().resource(path) is None


def test_a_missing_tile_is_noticed_and_not_served_as_absent(log: Place) -> None:
    log.damage("DELETE FROM tile WHERE level = 0 AND n = 1")
    with pytest.raises(Tampered):
        log.reader().resource("tile/0/001")


@pytest.mark.parametrize(("column", "part"), [("h", "A"), ("body", "DS"), ("own", "P")])
def test_a_flipped_byte_in_a_row_is_named_when_it_is_opened(log: Place, column: str, part: str) -> None:
    index = next(at for at in range(400, 500) if sealed_actor(log, at))
    log.damage(f"UPDATE entry SET {column} = flip({column}, 30) WHERE idx = ?", index)
    with pytest.raises(Tampered, match=f"part {part} of entry {index} "):
        log.reader().opening(index, "ADSP")
    assert log.reader().opening(index + 1, "ADSP")["index"] == index + 1


def sealed_actor(log: Place, index: int) -> bytes:
    row = SqliteReading.read_only(log.ledger_file).entry(index)
    assert row is not None
    return row.p


def test_a_flipped_byte_in_a_tile_breaks_the_proofs_that_need_it_and_the_verifier_says_so(log: Place) -> None:
    log.damage("UPDATE tile SET data = flip(data, 40) WHERE level = 0 AND n = 1")
    with pytest.raises(Tampered) as caught:
        verify_opening(log.reader().opening(260), signer().verifier)
    assert caught.value.code == "opening-commitment"
    # Another sixteen of this tile is proven from the nodes beside it, another tile from the level above.
    for index in (300, 700):
        assert verify_opening(log.reader().opening(index), signer().verifier).index == index


def test_a_reader_of_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        LedgerReader.open(tmp_path / "none.sqlite")


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_an_export_holds_exactly_what_the_checkpoint_implies(filled: Place, tmp_path: Path) -> None:
    reader = filled.reader()
    reader.export(tmp_path / "site")
    exported = files(tmp_path / "site")
    assert sorted(exported) == [
        "checkpoint",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002",
        "tile/0/003.p/17",
        "tile/1/000.p/3",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002",
        "tile/entries/003.p/17",
    ]
    for path, content in exported.items():
        resource = reader.resource(path)
        assert resource is not None
        assert resource.content == content


def test_an_export_grows_and_what_it_held_never_changes(place: Place, tmp_path: Path) -> None:
    fill(place, 300)
    place.reader().export(tmp_path / "site")
    before = files(tmp_path / "site")
    ledger = place.ledger()
    ledger.append([entry(number) for number in range(300, 600)])
    ledger.close()
    place.reader().export(tmp_path / "site")
    after = files(tmp_path / "site")
    for path in before.keys() - {"checkpoint", ".size-before"}:
        # A partial tile goes when it is full, and is then its prefix; everything else stays as it is.
        later = after.get(path, after.get(path.split(".")[0], b""))
        assert later.startswith(before[path])
    kept = {"tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/1", "tile/1/000.p/2"}
    # Who fetched the checkpoint of size 300 just now still finds what it implies; after one more export it is gone.
    assert kept | {"tile/0/001.p/44", "tile/entries/001.p/44"} <= set(after)
    ledger = place.ledger()
    ledger.append([entry(600)])
    ledger.close()
    place.reader().export(tmp_path / "site")
    assert kept <= set(files(tmp_path / "site"))
    assert not {"tile/0/001.p/44", "tile/entries/001.p/44"} & set(files(tmp_path / "site"))


def test_an_export_that_is_up_to_date_changes_nothing(filled: Place, tmp_path: Path) -> None:
    filled.reader().export(tmp_path / "site")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    filled.reader().export(tmp_path / "site")
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert {path for path in after if before.get(path) != after[path]} <= {tmp_path / "site" / "checkpoint"}


def test_an_export_ahead_of_the_file_shows_an_old_backup(place: Place, tmp_path: Path) -> None:
    fill(place, 300)
    old = place.copy("old")
    ledger = place.ledger()
    ledger.append([entry(1)])
    ledger.close()
    place.reader().export(tmp_path / "site")
    with pytest.raises(Tampered, match="older backup") as caught:
        old.reader().export(tmp_path / "site")
    assert caught.value.code == "export-ahead"


def test_an_export_of_another_history_is_refused(place: Place, tmp_path: Path) -> None:
    fill(place, 300)
    other = place.copy("other")
    for fork in (place, other):
        ledger = fork.ledger()
        ledger.append([entry(1)])
        ledger.append([entry(2)])
        ledger.close()
    place.reader().export(tmp_path / "site")
    with pytest.raises(Tampered) as caught:
        other.reader().export(tmp_path / "site")
    assert caught.value.code == "export-fork"


def test_a_directory_of_another_log_is_left_alone(filled: Place, tmp_path: Path) -> None:
    stranger = Signer.generate("example.com/log")
    (tmp_path / "checkpoint").write_bytes(stranger.sign(b"example.com/log\n1\n" + b"A" * 43 + b"=\n"))
    with pytest.raises(Refused):
        filled.reader().export(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
