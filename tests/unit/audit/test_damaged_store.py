"""A ledger file with a column of any other type or size: whoever reads it says that it is damaged, nothing worse."""

from __future__ import annotations

import io
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from integrator_audit import AuditError, LedgerReader, Tampered, Vault
from integrator_audit.completeness.index import Trie
from integrator_audit.completeness.indexfile import SqliteIndex
from integrator_audit.completeness.pages import leaves_of, places_of, unpack
from integrator_audit.fsck import fsck
from integrator_audit.generationkeys import FileGenerationKeys
from integrator_audit.searching.blocks import IndexFile
from integrator_audit.searching.log import StoredLog
from integrator_audit.searching.query import LogSearch, Question
from integrator_audit.searching.terms import among
from integrator_audit.searching.whole import write_whole
from integrator_audit.sqlitereading import SqliteReading
from integrator_audit.store import Erasure
from tests.unit.audit.audit_samples import GENERATION_KEY, Place, entry, fill
from tests.unit.audit.sealing_samples import FIRST, Installation, pseudonym

VALUES: dict[str, object] = {
    "text": "text",
    "no bytes": b"",
    "negative": -1,
    "astronomic": 1 << 62,
}
TABLES = (
    *("identity", "closing", "statement", "recipient", "entry", "by_subject", "by_recipient", "unlisted"),
    *("draw", "erased", "tile", "checkpoint", "published", "position", "set_aside"),
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a log with something in every table but one, its file alone and whole."""
    place = Place(tmp_path_factory.mktemp("good") / "log")
    place.directory.mkdir()
    fill(place, 30)
    ledger = place.ledger()
    ledger.append([entry(100)._replace(listed=False)])
    ledger.publish(ledger.checkpoint)
    ledger._store.erase([Erasure(5, "order")])
    ledger.freeze()
    ledger.close()
    return place


def read_openings(place: Place) -> None:
    with closing(place.reader()) as reader:
        for index in (0, 3, 5):
            with suppress(AuditError):
                reader.opening(index, "ADSP")
        reader.indices_of(entry(3).subject or b"")
        reader.indices_to("svb")
        reader.resource("checkpoint", published=True)
        reader.export(place.directory / "site")


def read_rows(place: Place) -> None:
    with closing(SqliteReading.read_only(place.ledger_file)) as store:
        head = store.head()
        size = 0 if head is None else head.size
        readings: list[Callable[[], object]] = [
            *(lambda: list(store.entries(0, size)), lambda: list(store.statements()), store.positions),
            *(lambda: list(store.persons_between(0, size)), lambda: list(store.recipients_between(0, size))),
            *(store.set_asides, lambda: store.unlisted_between(0, size), lambda: list(store.erasures(0, size))),
            *(lambda: write_whole(store, io.BytesIO()), lambda: list(store.with_retention(20, 0, size))),
        ]
        for read in readings:
            with suppress(AuditError):
                read()


def search(place: Place) -> None:
    with closing(StoredLog.open(str(place.ledger_file))) as log:
        LogSearch(log, place.directory / "none", left_out=frozenset()).find(Question(), limit=100)


@pytest.mark.parametrize("table", TABLES)
def test_a_column_of_another_type_or_size_ends_no_reader_but_with_an_error_of_ours(
    good: Place, tmp_path: Path, table: str
) -> None:
    content = good.ledger_file.read_bytes()
    with closing(sqlite3.connect(good.ledger_file)) as connection:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    for column in columns:
        for name, value in VALUES.items():
            place = Place(tmp_path / f"{column} {name}")
            shutil.copytree(good.directory, place.directory)
            place.ledger_file.write_bytes(content)
            with closing(sqlite3.connect(place.ledger_file)) as connection, suppress(sqlite3.IntegrityError):
                connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
                connection.commit()
            for read in (read_openings, read_rows, search):
                with suppress(AuditError):
                    read(place)
            shutil.rmtree(place.directory)


def test_an_entry_that_is_missing_is_not_left_out_of_a_whole_list(good: Place, tmp_path: Path) -> None:
    for missing in (0, 7, 30):
        place = Place(tmp_path / str(missing))
        shutil.copytree(good.directory, place.directory)
        place.damage("DELETE FROM entry WHERE idx = ?", missing)
        with closing(SqliteReading.read_only(place.ledger_file)) as store, pytest.raises(Tampered) as caught:
            write_whole(store, io.BytesIO())
        assert caught.value.code == "entry-missing"


def test_rows_with_astronomic_numbers_do_not_make_a_read_endless(good: Place, tmp_path: Path) -> None:
    place = good.copy(str(tmp_path / "astronomic"))
    place.damage("UPDATE statement SET aid = 1 << 62 WHERE aid = 7")
    place.damage("UPDATE entry SET idx = 1 << 62 WHERE idx = 3")
    with closing(LedgerReader.open(place.ledger_file)) as reader:
        assert reader.indices_of(b"s" * 32) == []
    with closing(SqliteReading.read_only(place.ledger_file)) as store:
        assert len(list(store.statements())) == 31
        with pytest.raises(Tampered):
            list(store.persons_between(0, 1 << 62))


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Return a closed installation with two sealed days, its vault, its index, and an index of search."""
    place = Installation(tmp_path_factory.mktemp("sealed"))
    sealer = place.begun()
    for day in range(2):
        place.at(day)
        place.deliver(1, 2, 3)
        place.pad(2)
        place.at(day + 1, 0.5)
        sealer.seal_due()
    place.close()
    log = StoredLog.open(str(place.file("s0", place.period)))
    with closing(IndexFile.open(place.directory / "search.sqlite")) as index, closing(log):
        index.update(log, height=1)
    return place


def open_all(place: Installation, directory: Path) -> None:
    """Read what is in the copy of an installation, in the ways of all that reads it."""
    log = directory / place.file("s0", place.period).name
    vault, epochs = directory / "persons.sqlite", place.period

    def openings() -> None:
        with closing(Vault.read_only(vault, GENERATION_KEY)) as keys, closing(LedgerReader.open(log, vault=keys)) as it:
            it.opening(1, "ADSP")
            keys.labels([pseudonym(1)], epochs)

    def rewrapping() -> None:
        (directory / "vault-generation-1").write_bytes(GENERATION_KEY)
        with closing(Vault.open(vault, FileGenerationKeys(directory))) as keys:
            keys.rewrap()

    def days() -> None:
        with closing(SqliteIndex.read_only(directory / place.index_file.name)) as index:
            newest = index.newest() or 0
            for epoch in (FIRST, newest):
                index.leaf(epoch)
                index.cut(epoch, 0)
                for trie in (Trie.PERSONS, Trie.RECIPIENTS):
                    for leaf in leaves_of(index, epoch, trie):
                        unpack(b"".join(places_of(index, epoch, trie, leaf)))

    def questions() -> None:
        with closing(StoredLog.open(str(log))) as searched:
            for question in (Question(), Question([[among("purpose", "pension")]])):
                LogSearch(searched, directory / "search.sqlite").find(question, limit=100)

    for read in (openings, rewrapping, days, questions):
        with suppress(AuditError):
            read()


@pytest.mark.parametrize("name", ["persons.sqlite", "epochs.index.sqlite", "search.sqlite"])
def test_a_damaged_vault_or_index_ends_no_reader_but_with_an_error_of_ours(
    sealed: Installation, tmp_path: Path, name: str
) -> None:
    with closing(sqlite3.connect(sealed.directory / name)) as connection:
        query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        tables = [table for (table,) in connection.execute(query)]
        columns = [
            (table, row[1]) for table in tables for row in connection.execute(f"PRAGMA table_info({table})").fetchall()
        ]
    assert len(columns) > 10
    for table, column in columns:
        for value in (*VALUES.values(), b"\0\1\2"):
            copy = tmp_path / "copy"
            shutil.copytree(sealed.directory, copy)
            with closing(sqlite3.connect(copy / name)) as connection, suppress(sqlite3.IntegrityError):
                connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
                connection.commit()
            open_all(sealed, copy)
            shutil.rmtree(copy)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW more AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
        "CREATE TRIGGER more AFTER INSERT ON {table} BEGIN SELECT 1; END",
        "CREATE VIRTUAL TABLE more USING fts5(x)",
    ],
)
@pytest.mark.parametrize("name", ["s0", "persons.sqlite", "epochs.index.sqlite", "search.sqlite"])
def test_nothing_is_read_from_a_file_that_computes_its_rows(
    sealed: Installation, tmp_path: Path, name: str, statement: str
) -> None:
    """A view in the place of a table could have rows without end."""
    copy = tmp_path / "copy"
    shutil.copytree(sealed.directory, copy)
    path = copy / (sealed.file("s0", sealed.period).name if name == "s0" else name)
    opened: dict[str, Callable[[], object]] = {
        "s0": lambda: fsck(path),
        "persons.sqlite": lambda: Vault.read_only(path, GENERATION_KEY),
        "epochs.index.sqlite": lambda: SqliteIndex.read_only(path),
        "search.sqlite": lambda: IndexFile.open(path),
    }
    with closing(sqlite3.connect(path)) as connection:
        (table,) = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchone()
        connection.execute(statement.format(table=table))
        connection.commit()
    with pytest.raises(Tampered, match="not read"):
        opened[name]()
