from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from integrator_audit import AuditError, Signer, Unavailable, Vault
from integrator_audit.fsck import Report, fsck
from integrator_audit.rawrows import RawEntry
from integrator_audit.sqliteraw import SqliteRows
from tests.unit.audit.audit_samples import ORIGIN, PEOPLE, Place, fill, signer


def check(place: Place, *, vault: bool = True) -> Report:
    return fsck(place.ledger_file, vault=place.vault() if vault else None, verifier=signer().verifier)


def found(report: Report) -> set[tuple[str, str]]:
    return {(finding.code, finding.where) for finding in report.findings}


def test_an_untouched_log_holds_with_and_without_the_vault(filled: Place) -> None:
    for vault in (True, False):
        report = check(filled, vault=vault)
        assert (report.holds, report.size, report.origin, report.opened) == (True, 785, ORIGIN, vault)


def test_an_empty_log_holds(place: Place) -> None:
    place.ledger().close()
    assert check(place).holds


@pytest.mark.parametrize("size", [1, 255, 256, 257, 512, 513])
def test_logs_around_the_width_of_a_tile_hold(place: Place, size: int) -> None:
    fill(place, size, batch=100)
    assert check(place).holds


ROW = "row of entry 300"
DAMAGES: dict[str, tuple[str, set[tuple[str, str]]]] = {
    "statement": (
        "UPDATE statement SET bytes = flip(bytes, 50) WHERE aid = (SELECT aid FROM entry WHERE idx = 300)",
        {("statement-wrong", "row of statement %AID")},
    ),
    "salt of A": ("UPDATE entry SET h = flip(h, 0) WHERE idx = 300", {("entry-wrong", f"{ROW}, part A")}),
    "body": ("UPDATE entry SET body = flip(body, 20) WHERE idx = 300", {("entry-wrong", f"{ROW}, part D and S")}),
    "nonce of a body": (
        "UPDATE entry SET body = flip(body, 0) WHERE idx = 300",
        {("entry-wrong", f"{ROW}, part D and S")},
    ),
    "P": ("UPDATE entry SET own = flip(own, 40) WHERE idx = %P", {("entry-wrong", "row of entry %P, part P")}),
    "seal": ("UPDATE entry SET seal = seal + 1 WHERE idx = 300", {("entry-wrong", ROW)}),
    "hash": (
        "UPDATE entry SET h = flip(h, 102) WHERE idx = 300",
        {("entry-wrong", ROW), ("entry-wrong", f"{ROW}, part S")},
    ),
    "type": (
        "UPDATE entry SET marks = marks + 1 WHERE idx = 300",
        {("entry-wrong", ROW), ("entry-malformed", ROW)},
    ),
    "a column of another type": ("UPDATE entry SET body = 'text' WHERE idx = 300", {("entry-wrong", ROW)}),
    "key version": (
        "UPDATE entry SET marks = marks + (1 << 17) WHERE idx = %NP",
        {("entry-wrong", "row of entry %NP, part D and S")},
    ),
    "key of an actor": (
        "UPDATE entry SET own = flip(own, 3) WHERE idx = %P",
        {("entry-wrong", "row of entry %P, part P")},
    ),
    "missing entry": (
        "DELETE FROM entry WHERE idx = 300",
        {
            ("entry-wrong", ROW),
            ("index-wrong", "by_subject row (0, 300) belongs to no entry"),
            ("index-wrong", "by_recipient row (0, 300) belongs to no entry"),
        },
    ),
    "person of an entry": (
        "UPDATE entry SET subject = flip(subject, 3) WHERE idx = %NP",
        {
            ("entry-wrong", "row of entry %NP, part D and S"),
            ("index-wrong", "by_subject row (0, %NP) belongs to no entry"),
            ("index-wrong", "by_subject lacks (0, %NP)"),
        },
    ),
    "tile": ("UPDATE tile SET data = flip(data, 40) WHERE level = 0 AND n = 1", {("tile-wrong", "tile/0/001")}),
    "last tile": (
        "UPDATE tile SET data = flip(data, 0) WHERE level = 0 AND n = 3",
        {("tile-wrong", "tile/0/003.p/17")},
    ),
    "upper tile": ("UPDATE tile SET data = flip(data, 95) WHERE level = 1", {("tile-wrong", "tile/1/000.p/3")}),
    "short tile": (
        "UPDATE tile SET data = substr(data, 1, 8191) WHERE level = 0 AND n = 1",
        {("tile-wrong", "tile/0/001")},
    ),
    "missing tile": ("DELETE FROM tile WHERE level = 0 AND n = 2", {("tile-missing", "tile/0/002")}),
    "width of a tile": ("UPDATE tile SET width = 255 WHERE level = 0 AND n = 2", {("tile-wrong", "tile/0/002")}),
    "surplus tile": (
        "INSERT INTO tile VALUES (2, 0, 1, zeroblob(32), x'')",
        {("tile-surplus", "row of tile level 2 n 0")},
    ),
    "bundle": (
        "UPDATE tile SET data = flip(data, 37) WHERE level = -1 AND n = 1",
        {("bundle-wrong", "tile/entries/001")},
    ),
    "length in a bundle": (
        "UPDATE tile SET data = flip(data, 1) WHERE level = -1 AND n = 1",
        {("bundle-wrong", "tile/entries/001")},
    ),
    "last bundle": (
        "UPDATE tile SET data = flip(data, 3) WHERE level = -1 AND n = 3",
        {("bundle-wrong", "tile/entries/003.p/17")},
    ),
    "an entry after the bundle": (
        "UPDATE tile SET data = CAST(data || x'000161' AS BLOB) WHERE level = -1 AND n = 1",
        {("bundle-wrong", "tile/entries/001")},
    ),
    "missing bundle": ("DELETE FROM tile WHERE level = -1 AND n = 0", {("bundle-missing", "tile/entries/000")}),
    "root of a checkpoint": (
        "UPDATE checkpoint SET root = flip(root, 3) WHERE size = 0",
        {("checkpoint-wrong", "row of checkpoint 0")},
    ),
    "note of a checkpoint": (
        "UPDATE checkpoint SET note = flip(note, 3) WHERE size = 785",
        {("checkpoint-wrong", "row of checkpoint 785")},
    ),
    "index by person": (
        # The last two bytes of a list say where its last entry stands in its block.
        "UPDATE by_subject_newest SET list = flip(list, length(list) - 1) WHERE place > 600",
        {
            ("index-wrong", "by_subject row (0, 785) belongs to no entry"),
            ("index-wrong", "by_subject lacks (0, 784)"),
        },
    ),
    "position": ("UPDATE position SET next = next + 1", {("positions-wrong", "rows of position")}),
    "origin": ("UPDATE identity SET origin = flip(origin, 1)", {("identity", "row of identity")}),
    "key": ("UPDATE identity SET vkey = flip(vkey, 1)", {("identity", "row of identity")}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_flipped_byte_is_found_and_nothing_else_is_blamed(log: Place, damage: str) -> None:
    statement, expected = DAMAGES[damage]
    with sqlite3.connect(log.ledger_file) as connection:
        (actor,) = connection.execute("SELECT min(idx) FROM entry WHERE own IS NOT NULL").fetchone()
        (nobody,) = connection.execute("SELECT min(idx) FROM entry WHERE own IS NULL").fetchone()
        (statement_number,) = connection.execute("SELECT aid FROM entry WHERE idx = 300").fetchone()
    fills = {"%P": str(actor), "%NP": str(nobody), "%AID": str(statement_number)}
    for mark, text in fills.items():
        statement = statement.replace(mark, text)
        expected = {(code, where.replace(mark, text)) for code, where in expected}
    log.damage(statement)
    assert found(check(log)) == expected
    assert not check(log, vault=False).holds


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE draw SET count = 'text' WHERE first = 0", "draw-wrong"),
        ("UPDATE draw SET count = 1.5 WHERE first = 0", "draw-wrong"),
        ("UPDATE tile SET level = 'text' WHERE level = 1", "tile-surplus"),
        ("UPDATE tile SET level = 0.5 WHERE level = 1", "tile-surplus"),
        ("UPDATE tile SET level = x'00' WHERE level = 1", "tile-surplus"),
        ("UPDATE tile SET n = 'text' WHERE level = 1", "tile-surplus"),
        ("UPDATE tile SET n = x'' WHERE level = 1", "tile-surplus"),
        ("UPDATE tile SET nodes = '' WHERE level = 1", "tile-wrong"),
        ("UPDATE tile SET nodes = 512 WHERE level = 0 AND n = 0", "tile-wrong"),
        ("UPDATE entry SET marks = 1 << 62 WHERE idx = 300", "entry-wrong"),
        ("UPDATE entry SET marks = 1e300 WHERE idx = 300", "entry-wrong"),
        ("UPDATE entry SET own = x'01' WHERE idx = 300", "entry-wrong"),
        ("UPDATE checkpoint SET size = 1 << 62 WHERE size = 785", "checkpoint-wrong"),
    ],
)
def test_a_column_of_another_type_or_of_an_absurd_size_is_a_finding_and_no_failure(
    log: Place, capsys: pytest.CaptureFixture[str], statement: str, code: str
) -> None:
    log.damage(statement)
    for vault in (True, False):
        assert code in {finding for finding, _ in found(check(log, vault=vault))}
    assert capsys.readouterr().err == ""


def test_a_size_and_a_tile_that_were_put_in_from_nowhere_have_an_end(log: Place) -> None:
    log.damage("INSERT INTO tile VALUES (0, 1 << 54, 256, zeroblob(8192), x'')")
    log.damage("UPDATE checkpoint SET size = 1 << 62 WHERE size = 785")
    assert not check(log).holds


@pytest.mark.parametrize("index", [1 << 62, (1 << 63) - 1])
def test_an_entry_and_a_list_at_an_astronomic_place_fill_no_memory(log: Place, index: int) -> None:
    log.damage("UPDATE entry SET idx = ? WHERE idx = 3", index)
    assert ("entry-surplus", f"row of entry {index}") in found(check(log))
    log.damage("INSERT INTO by_recipient SELECT ?, rid, first, list FROM by_recipient LIMIT 1", index)
    log.damage("INSERT INTO by_subject SELECT ?, list FROM by_subject_newest LIMIT 1", index)
    report = found(check(log))
    assert ("index-wrong", "rows of by_recipient") in report
    assert ("index-wrong", f"rows of by_subject in block {index >> 8}") in report


def test_a_row_and_its_bundle_changed_together_are_caught_by_the_tile_and_the_root(log: Place) -> None:
    log.damage("UPDATE entry SET h = flip(h, 40) WHERE idx = 300")
    report = check(log)
    assert ("entry-wrong", ROW) in found(report)
    log.damage("UPDATE tile SET data = flip(data, 1410) WHERE level = 0 AND n = 1")
    assert {("entry-wrong", ROW), ("tile-wrong", "tile/0/001")} <= found(check(log))


def test_two_entries_with_one_commitment_are_found(log: Place) -> None:
    log.damage("UPDATE entry SET h = (SELECT h FROM entry WHERE idx = 300) WHERE idx = 301")
    assert ("entry-wrong", "row of entry 301") in found(check(log))


def test_another_logs_key_is_reported(filled: Place) -> None:
    report = fsck(filled.ledger_file, verifier=Signer.generate(ORIGIN).verifier)
    assert ("identity", "row of identity") in found(report)
    assert ("checkpoint-wrong", "row of checkpoint 785") in found(report)


def test_another_logs_vault_opens_nothing(filled: Place, tmp_path: Path) -> None:
    report = fsck(filled.ledger_file, vault=Vault.open(tmp_path / "v", bytes(32)))
    assert not report.holds
    assert report.left_out > 0, "a list is as long as people can read"


def test_a_part_that_is_not_canonical_is_found(place: Place) -> None:
    from integrator_audit import Entry, part

    ledger = place.ledger()
    good = part("a/v1", {})
    ledger.append([Entry(0x01, b'{"schema":"a/v1", "x":1}', good, good, b"", PEOPLE[0])])
    ledger.close()
    assert found(check(place)) == {("entry-malformed", "row of entry 0, part A")}


def test_any_flipped_byte_that_changes_what_the_file_says_is_found(filled: Place, tmp_path: Path) -> None:
    good = filled.ledger_file.read_bytes()
    content = dump(filled.ledger_file)
    chance = random.Random(20261124)
    vault = filled.vault()
    for number in range(25):
        at = chance.randrange(100, len(good))
        data = bytearray(good)
        data[at] ^= 1 << chance.randrange(8)
        file = tmp_path / f"{number}.sqlite"
        file.write_bytes(data)
        try:
            holds = fsck(file, vault=vault).holds
        except AuditError:
            holds = False
        assert not holds or dump(file) == content, f"byte {at}"


def dump(path: Path) -> list[str] | None:
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return None
    finally:
        connection.close()


def test_a_file_that_is_no_ledger_is_not_judged(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        fsck(tmp_path / "none")
    (tmp_path / "text").write_text("text")
    with pytest.raises(AuditError):
        fsck(tmp_path / "text")


@pytest.mark.parametrize("value", ["marks + 0.5", "CAST(CAST(marks AS TEXT) AS BLOB)"])
def test_marks_of_another_type_are_found_though_they_count_as_the_same_number(log: Place, value: str) -> None:
    log.damage(f"UPDATE entry SET marks = {value} WHERE idx = 300")
    assert found(check(log)) == {("entry-wrong", ROW)}


@pytest.mark.parametrize("number", [-1, 99, 300, 1 << 40])
def test_a_row_that_a_damaged_file_gives_in_another_place_is_a_finding_and_no_failure(
    filled: Place, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    honest = SqliteRows.entries

    def disordered(rows: SqliteRows, start: int, stop: int) -> list[RawEntry]:
        first, *others = honest(rows, start, stop)
        moved = first._replace(row=first.row._replace(number=number)) if start == 256 else first
        return [moved, *others]

    monkeypatch.setattr(SqliteRows, "entries", disordered)
    where = {place for code, place in found(check(filled)) if code == "database-damaged"}
    assert where == (set() if number == 300 else {f"row of entry {number}"})
    assert ("entry-wrong", "row of entry 256") in found(check(filled))
