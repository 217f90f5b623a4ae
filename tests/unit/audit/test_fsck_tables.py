"""Holds that every column of every table of a ledger's file is covered by `fsck`: whatever changes in it is found.

The columns are taken from the schema itself, so a column that is added without a check fails here.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from integrator_audit import Erasure, LedgerReader, RawLog, SetAside, Vault
from integrator_audit.checkpoint import Checkpoint
from integrator_audit.fsck import Report, fsck
from integrator_audit.halfyear import DAY_MS
from integrator_audit.personlists import PersonLists
from integrator_audit.sequencer import RANDOM_SIZE
from integrator_audit.sqlitereading import SCHEMA
from tests.unit.audit.audit_samples import AT, ORIGIN, PEOPLE, Place, entry, institution_entry, signer

SOURCE = ("integrator.disclosures", 0)


def columns() -> list[tuple[str, str]]:
    """Return (table, column) of everything in the schema."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return [(table, row[1]) for table in tables for row in connection.execute(f"PRAGMA table_info({table})")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a closed log in which every table has rows: two days, actors, unlisted, erased, published, set aside."""
    place = Place(tmp_path_factory.mktemp("whole") / "log")
    place.directory.mkdir()
    ledger = place.ledger()
    for start in range(0, 300, 60):
        entries = [entry(number, actor="" if number % 5 else "official 7") for number in range(start, start + 55)]
        entries += [entry(number)._replace(listed=False, recipient="") for number in range(start + 55, start + 58)]
        entries += [institution_entry(start + 58), institution_entry(start + 59, actor="official 7")]
        aside = [SetAside(*SOURCE, start, "malformed")]
        ledger.append(entries, positions={SOURCE: start + 60}, set_aside=aside, now_ms=AT + start // 180 * DAY_MS)
        if start == 120:
            # As where a block is full.
            with closing(sqlite3.connect(place.ledger_file)) as connection, connection:
                PersonLists(connection).settle(0)
    ledger.publish(Checkpoint(ORIGIN, ledger.size, ledger.root).sign(signer()))
    ledger.erase([Erasure(4, "retention"), Erasure(5, "order"), Erasure(200, "order")])
    ledger.freeze()
    ledger.close()
    return place


def check(file: Path, place: Place, *, vault: bool) -> Report:
    return fsck(file, vault=place.vault() if vault else None, verifier=signer().verifier)


@pytest.mark.parametrize("vault", [True, False])
def test_a_log_with_a_row_in_every_table_holds(whole: Place, vault: bool) -> None:
    assert check(whole.ledger_file, whole, vault=vault).findings == ()
    with closing(sqlite3.connect(whole.ledger_file)) as connection:
        for table in {table for table, _ in columns()}:
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] > 0, f"{table} is empty"


def other_values(value: object) -> Iterator[object]:
    """Yield values that differ from this one by one bit, or by as little as the type allows."""
    match value:
        case int():
            yield value + 1
            yield value ^ 1 << 20
        case bytes():
            if not value:
                yield b"\0"
            for at in {0, len(value) // 2, len(value) - 1} if value else ():
                yield value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        case str():
            yield (chr(ord(value[0]) ^ 1) + value[1:]) if value else "x"
            yield value[:-1] + chr(ord(value[-1]) ^ 1) if value else "y"
        case _:
            yield 1
            yield b"\1" * 32


@pytest.mark.parametrize(("table", "column"), columns())
def test_any_change_of_any_column_is_found(whole: Place, tmp_path: Path, table: str, column: str) -> None:
    with closing(sqlite3.connect(whole.ledger_file)) as connection:
        keys = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[5]]
        named = ", ".join(keys) or "rowid"
        rows = connection.execute(f"SELECT {column}, {named} FROM {table} ORDER BY {named}").fetchall()
    tried = 0
    # An erased entry (4), the first, one in the middle, the last: what is kept of them differs.
    for value, *key in {rows[at] for at in {0, 4, len(rows) // 2, len(rows) - 1} if at < len(rows)}:
        for number, other in enumerate(other_values(value)):
            file = tmp_path / "changed.sqlite"
            shutil.copyfile(whole.ledger_file, file)
            with closing(sqlite3.connect(file)) as connection, connection:
                marks = " AND ".join(f"{name} IS ?" for name in keys or ["rowid"])
                try:
                    connection.execute(f"UPDATE {table} SET {column} = ? WHERE {marks}", (other, *key))
                except sqlite3.IntegrityError:
                    # The table itself refuses this one: another value will do.
                    continue
            tried += 1
            where = f"{table}.{column} of {key}: {value!r} → {other!r}"
            assert not check(file, whole, vault=number % 2 == 0).holds, where
    assert tried > 0


@pytest.mark.parametrize("table", sorted({table for table, _ in columns()} - {"set_aside", "published", "closing"}))
def test_a_missing_row_of_any_table_is_found(whole: Place, tmp_path: Path, table: str) -> None:
    """LIMIT: what was set aside, published notes, earlier days' ends and a log's end stand nowhere else in the file.

    The log of days names the last two (`test_fsck_days`).
    """
    file = tmp_path / "changed.sqlite"
    shutil.copyfile(whole.ledger_file, file)
    with closing(sqlite3.connect(file)) as connection, connection:
        named = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[5]] or ["rowid"]
        backwards = ", ".join(f"{name} DESC" for name in named)
        last = connection.execute(f"SELECT {', '.join(named)} FROM {table} ORDER BY {backwards}").fetchone()
        connection.execute(f"DELETE FROM {table} WHERE {' AND '.join(f'{name} = ?' for name in named)}", last)
    assert not check(file, whole, vault=False).holds


def test_a_statement_that_is_damaged_is_blamed_and_not_its_entries(whole: Place, tmp_path: Path) -> None:
    log = Place(tmp_path / "log")
    shutil.copytree(whole.directory, log.directory)
    log.damage("UPDATE statement SET bytes = flip(bytes, 30) WHERE aid = 3")
    log.damage("UPDATE recipient SET name = flip(name, 0) WHERE rid = 2")
    found = {(one.code, one.where.split(" ")[2]) for one in check(log.ledger_file, log, vault=True).findings}
    assert found == {("statement-wrong", "statement"), ("recipient-wrong", "recipient")}


def test_two_entries_with_one_commitment_anywhere_in_the_log_are_found(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = os.urandom(2 * RANDOM_SIZE)
    ledger = place.ledger()
    real = os.urandom
    entries = [entry(1), entry(1)]
    for first in (b"\0", b"\1"):
        # The first row's salt differs and the second row's does not: the draw looks new.
        random = first + draw[1:]
        monkeypatch.setattr(os, "urandom", lambda size, random=random: random if size == len(random) else real(size))
        ledger.append(entries)
    monkeypatch.undo()
    ledger.close()
    report = fsck(place.ledger_file, vault=place.vault(), verifier=signer().verifier)
    assert [(one.code, one.where) for one in report.findings] == [("entry-repeated", "row of entry 3")]


def test_a_log_of_leaves_is_checked_too(tmp_path: Path) -> None:
    file = tmp_path / "epochs.sqlite"
    log = RawLog.open(file, origin=ORIGIN, signer=signer())
    log.append_leaves([b"leaf %d" % number for number in range(300)])
    log.append_leaves([b"the same leaf", b"the same leaf"])
    log.close()
    assert fsck(file, verifier=signer().verifier).findings == ()
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "UPDATE tile SET data = CAST(substr(data, 1, 2) || 'X' || substr(data, 4) AS BLOB) WHERE level = -1"
        )
    assert {one.code for one in fsck(file, verifier=signer().verifier).findings} == {"bundle-wrong"}


def test_a_log_of_entries_that_says_to_be_of_leaves_does_not_hold(whole: Place, tmp_path: Path) -> None:
    log = Place(tmp_path / "log")
    shutil.copytree(whole.directory, log.directory)
    log.damage("UPDATE identity SET kind = 'leaves'")
    assert "entry-surplus" in {one.code for one in check(log.ledger_file, log, vault=False).findings}


def test_an_erased_entry_opens_no_more_and_its_neighbours_do(whole: Place) -> None:
    reader = LedgerReader.open(whole.ledger_file, vault=Vault.read_only(whole.vault_file, bytes(range(32))))
    assert reader.opening(4, "A")["index"] == 4
    assert reader.opening(6, "ADSP")["index"] == 6
    assert 5 not in [index for person in PEOPLE for index in reader.indices_of(person)]
