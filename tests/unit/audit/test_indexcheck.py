from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from integrator_audit import LedgerReader, Tampered
from integrator_audit.completeness.index import Trie
from integrator_audit.completeness.indexcheck import check_index
from integrator_audit.completeness.indexfile import SqliteIndex
from integrator_audit.completeness.labels import DAY, label_of
from integrator_audit.completeness.pages import erase_leaves
from integrator_audit.halfyear import period_of
from tests.unit.audit.audit_samples import flip
from tests.unit.audit.sealing_samples import FIRST, Installation, secret


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of an installation with two sealed days, the first with 300 persons."""
    place = Installation(tmp_path_factory.mktemp("filled"))
    sealer = place.begun()
    place.deliver(*range(300))
    place.deliver(1, 2, recipient="groeifonds")
    place.at(1)
    place.deliver(1)
    place.at(2)
    sealer.seal_due()
    place.close()
    return place.directory


@pytest.fixture
def copied(filled: Path, tmp_path: Path) -> Iterator[tuple[SqliteIndex, LedgerReader]]:
    """Return a copy of its index to damage, and its epoch log."""
    path = tmp_path / "epochs.index.sqlite"
    path.write_bytes((filled / path.name).read_bytes())
    index, epochs = SqliteIndex.open(path), LedgerReader.open(filled / "epochs.sqlite")
    index.connection.create_function("flip", 2, flip)
    yield index, epochs
    index.close()
    epochs.close()


def found(copied: tuple[SqliteIndex, LedgerReader]) -> list[tuple[str, str]]:
    return [(item.code, item.where) for item in check_index(*copied, first=FIRST - 2).items]


def test_an_index_that_was_sealed_holds(copied: tuple[SqliteIndex, LedgerReader]) -> None:
    assert found(copied) == []


def test_an_index_from_which_something_was_erased_holds(copied: tuple[SqliteIndex, LedgerReader]) -> None:
    label = label_of(secret(period_of(FIRST), 1), DAY, FIRST)
    assert erase_leaves(copied[0], FIRST, Trie.PERSONS, [label], ground="order") == 1
    assert found(copied) == []


@pytest.mark.parametrize("at", [0, 33, 75])
def test_each_damaged_byte_of_each_page_is_found(copied: tuple[SqliteIndex, LedgerReader], at: int) -> None:
    index, _ = copied
    pages = index.connection.execute("SELECT id, length(data) FROM page").fetchall()
    assert len(pages) > 8
    for number, length in pages:
        if length <= at:
            continue
        index.connection.execute("UPDATE page SET data = flip(data, ?) WHERE id = ?", (at, number))
        assert found(copied), f"page {number}"
        index.connection.execute("UPDATE page SET data = flip(data, ?) WHERE id = ?", (at, number))
    assert found(copied) == []


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("DELETE FROM page WHERE id = (SELECT min(id) FROM page)", "index-page"),
        ("DELETE FROM page WHERE id IN (SELECT id FROM page ORDER BY length(data) LIMIT 1)", "index-page"),
        ("UPDATE place SET data = flip(data, 9) WHERE id = 1", "index-list"),
        ("DELETE FROM place WHERE id = 1", "index-list"),
        ("DELETE FROM trie WHERE trie = 1", "index-missing"),
        ("UPDATE trie SET leaves = leaves + 1 WHERE trie = 2", "index-page"),
        ("UPDATE trie SET bits = bits + 1 WHERE trie = 1", "index-page"),
        ("DELETE FROM cut", "index-cut"),
        ("UPDATE cut SET size = size - 1", "index-cut"),
        ("UPDATE cut SET origin = 'other.example/log'", "index-cut"),
        ("UPDATE cut SET note = flip(note, 3)", "index-cut"),
        ("UPDATE cut SET note = flip(note, instr(note, x'0a') + 8)", "index-cut"),
        ("UPDATE cut SET note = x''", "index-cut"),
        ("DELETE FROM sealed WHERE epoch = 688", "index-leaf"),
    ],
)
def test_what_is_missing_or_changed_is_named(
    copied: tuple[SqliteIndex, LedgerReader], statement: str, code: str
) -> None:
    copied[0].connection.execute(statement)
    assert code in {which for which, _ in found(copied)}


def test_the_days_that_are_wrong_are_named_and_no_others(copied: tuple[SqliteIndex, LedgerReader]) -> None:
    copied[0].connection.execute("UPDATE page SET data = flip(data, 0) WHERE id = (SELECT max(id) FROM page)")
    assert {where for _, where in found(copied)} == {f"day {FIRST + 1}, recipients"}


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    sqlite3.connect(path).close()
    path.write_bytes(b"no database" * 100)
    with pytest.raises(Tampered):
        SqliteIndex.read_only(path)


def test_days_that_the_epoch_log_lost_are_named_and_one_that_it_does_not_have_yet_is_not(
    copied: tuple[SqliteIndex, LedgerReader],
) -> None:
    statement = "INSERT INTO sealed SELECT epoch + ?, leaf FROM sealed WHERE epoch = ?"
    copied[0].connection.execute(statement, (1, FIRST + 1))
    assert found(copied) == []
    copied[0].connection.execute(statement, (2, FIRST + 1))
    assert found(copied) == [("index-ahead", f"day {FIRST + 3}")]
