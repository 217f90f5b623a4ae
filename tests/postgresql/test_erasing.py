"""Holds what erasing does in PostgreSQL beyond the contract: vacuums, and that a rewrite ends what they leave."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from integrator_audit import Erasure, Invalid, LedgerReader
from integrator_audit.forgetting import erasure
from integrator_audit.forgetting.erasure import Eraser, Log
from integrator_audit.forgetting.register import Register
from integrator_audit.forgetting.retention import due_day
from integrator_audit.halfyear import period_of_name
from integrator_audit.postgresql.store import PostgresStore
from integrator_audit.postgresql.vacuum import EVERY_SECONDS, Vacuum
from integrator_audit.stores import open_erasing
from tests.postgresql.conftest import OwnServer
from tests.postgresql.test_ledger import DatabasePlace
from tests.unit.audit.audit_samples import ORIGIN, PEOPLE, entry
from tests.unit.audit.ledger_contract import check, open_ledger
from tests.unit.audit.store_contract import IDENTITY, Growing


class Counted:
    """A session that counts statements."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.in_transaction = False

    def run(self, statement: str) -> None:
        self.statements.append(statement)


def test_vacuums_are_at_once_then_once_a_minute_and_at_the_end() -> None:
    session, now = Counted(), [0.0]
    kept: Any = session
    vacuum = Vacuum(kept, "entry", clock=lambda: now[0])
    vacuum.finish()
    assert session.statements == [], "nothing was erased"
    for _ in range(5):
        vacuum.want()
    assert len(session.statements) == 1
    now[0] = EVERY_SECONDS
    vacuum.want()
    assert len(session.statements) == 2
    vacuum.finish()
    assert len(session.statements) == 2, "nothing waits"
    vacuum.want()
    session.in_transaction = True
    vacuum.finish()
    session.in_transaction = False
    vacuum.finish()
    assert len(session.statements) == 3
    assert all(statement.endswith(" entry") for statement in session.statements)


def test_a_rewrite_of_the_table_takes_an_erased_person_out_of_its_files_and_its_indexes(
    own_server: OwnServer, tmp_path: Path
) -> None:
    server = own_server("autovacuum=off")
    server.start()
    place = DatabasePlace(server.url(), tmp_path)
    vault = place.vault()
    ledger = open_ledger(place, vault=vault)
    appended = ledger.append([entry(number, subject=PEOPLE[number % 3]) for number in range(60)])
    gone = [appended.indices[number] for number in range(0, 60, 3)]
    ledger.close()
    eraser = open_erasing(place.location, origin=ORIGIN)
    bodies = [row.body for row in eraser.entries(0, 60) if row.number in gone]
    assert len(_found(server.url(), server.data, [PEOPLE[0], bodies[0]])) == 2
    eraser.erase([Erasure(index, "order") for index in gone])
    eraser.close()
    assert check(place, vault).holds
    # What the guide says of the rest.
    place.change("VACUUM FULL entry", "CHECKPOINT")
    assert _found(server.url(), server.data, [PEOPLE[0], *bodies]) == []
    assert PEOPLE[0] not in _index(server.url(), server.data)
    assert _found(server.url(), server.data, [PEOPLE[1]]) == [PEOPLE[1]]
    assert check(place, vault).holds


def test_what_is_due_goes_in_many_transactions(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "CHUNK", 10)
    place = DatabasePlace(database, tmp_path)
    vault = place.vault()
    ledger = open_ledger(place, vault=vault)
    gone = ledger.append(
        [entry(number, subject=PEOPLE[0], actor="official 7")._replace(retention=2) for number in range(25)]
    )
    kept = ledger.append([entry(number, subject=PEOPLE[0]) for number in range(25)])
    late = ledger.append([entry(number, subject=PEOPLE[1])._replace(retention=2) for number in range(5)])
    ledger.freeze()
    ledger.close()
    eraser = Eraser(
        [Log(ORIGIN, None, open_erasing(place.location, origin=ORIGIN))],
        keys=vault,
        index=None,
        register=Register(tmp_path / "erasures.jsonl"),
        clock=lambda: 1_900_000_000_000,
    )
    seen: list[tuple[int, int]] = []
    today = due_day(period_of_name("2026h2"), 2)
    erased = eraser.by_retention(today, lambda done, total: seen.append((done, total)))
    assert erased.entries == {"retention": 30}
    assert seen[-1] == (55, 55)
    assert eraser.by_retention(today).entries == {}
    with closing(LedgerReader.open(place.location, vault=vault, origin=ORIGIN)) as reader:
        assert {reader.erased(index) for index in (*gone.indices, *late.indices)} == {"retention"}
        assert all(reader.opening(index, "DS") for index in kept.indices)
    assert check(place, vault).holds


def test_a_text_that_the_server_cannot_store_is_invalid_and_nothing_is_written(database: str) -> None:
    store = PostgresStore.open(database, origin=IDENTITY.origin)
    log = Growing(store)
    store.create(IDENTITY, log.batch([])[0].head, {})
    with pytest.raises(Invalid) as caught:
        store.commit(log.batch([log.row(0, recipient="a\0b")])[0])
    assert caught.value.code == "ledger-text"
    assert store.entry(0) is None
    log.append(1)
    store.close()


def _found(url: str, data: Path, secrets: list[bytes]) -> list[bytes]:
    content = _files(url, data, "entry")
    return [secret for secret in secrets if secret in content]


def _index(url: str, data: Path) -> bytes:
    return _files(url, data, "by_subject")


def _files(url: str, data: Path, relation: str) -> bytes:
    """Return the bytes of a table with its TOAST, or of an index, as they lie on disk."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        connection.execute("SET search_path TO ledger_s0_2026h2")
        query = "SELECT pg_relation_filepath(oid) FROM pg_class WHERE oid = %s::regclass OR oid = (SELECT reltoastrelid"
        paths = connection.execute(f"{query} FROM pg_class WHERE oid = %s::regclass)".encode(), (relation, relation))
        return b"".join((data / path).read_bytes() for (path,) in paths)
