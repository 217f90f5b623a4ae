"""Holds what a ledger in PostgreSQL promises when servers are killed, sessions ended, and dead writers wake up."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from integrator_audit import AuditError, Busy, LedgerWriter, Refused, Tampered, Unavailable, Vault
from integrator_audit.postgresql.failures import TABLE, translate
from integrator_audit.postgresql.lease import Lease
from integrator_audit.postgresql.store import PostgresStore
from tests.postgresql.conftest import OwnServer
from tests.postgresql.test_ledger import DatabasePlace
from tests.unit.audit.audit_samples import ORIGIN, entry, signer
from tests.unit.audit.ledger_contract import SOURCE, check, open_ledger

KILLS = 6
BATCH = 40


class Appending:
    """A writer in a thread, which appends until it fails; `confirmed` is the size that it was last promised."""

    def __init__(self, place: DatabasePlace, vault: Vault) -> None:
        self._ledger = open_ledger(place, vault=vault)
        self.started = self.confirmed = self._ledger.size
        self.error: AuditError | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while True:
            entries = [entry(self.confirmed + number) for number in range(BATCH)]
            try:
                appended = self._ledger.append(entries, positions={SOURCE: self.confirmed + BATCH})
            except AuditError as error:
                self.error = error
                break
            self.confirmed = appended.size
        self._ledger.close()


def test_a_server_that_is_killed_again_and_again_loses_nothing_that_was_confirmed(
    own_server: OwnServer, tmp_path: Path
) -> None:
    chance = random.Random(20261125)
    server = own_server()
    server.start()
    place = DatabasePlace(server.url(), tmp_path)
    vault = place.vault()
    for _ in range(KILLS):
        writer = Appending(place, vault)
        while writer.confirmed == writer.started and writer.error is None:
            time.sleep(0.001)
        # Somewhere in one of the next commits: inside COPY, the statements after it, COMMIT, or before its answer.
        time.sleep(chance.uniform(0, 0.02))
        server.kill()
        writer.thread.join(20)
        assert isinstance(writer.error, Unavailable)
        assert writer.error.code in ("ledger-store", "ledger-commit-unknown")
        server.start()
        ledger = open_ledger(place, vault=vault)
        # Whole commits only: the last confirmed one, or also the one that was under way.
        assert ledger.size in (writer.confirmed, writer.confirmed + BATCH)
        assert ledger.positions() == {SOURCE: ledger.size}
        ledger.close()
    assert writer.confirmed > KILLS * BATCH
    report = check(place, vault)
    assert (report.findings, report.size) == ((), ledger.size)


@pytest.mark.parametrize("persisted", [False, True])
def test_a_server_killed_at_the_commit_leaves_an_unknown_outcome_and_the_truth(
    own_server: OwnServer, tmp_path: Path, persisted: bool
) -> None:
    server = own_server()
    server.start()
    place = DatabasePlace(server.url(), tmp_path)
    vault = place.vault()
    ledger = open_ledger(place, vault=vault)
    ledger.append([entry(number) for number in range(300)], positions={SOURCE: 300})
    _at_commit(ledger, server.kill, persisted=persisted)
    with pytest.raises(Unavailable) as caught:
        ledger.append([entry(number) for number in range(10)], positions={SOURCE: 310})
    assert caught.value.code == "ledger-commit-unknown"
    with pytest.raises(Unavailable) as caught:
        ledger.append([entry(1)])
    assert caught.value.code == "ledger-outcome-unknown"
    ledger.close()
    server.start()
    again = open_ledger(place, vault=vault)
    assert (again.size, again.positions()) == ((310, {SOURCE: 310}) if persisted else (300, {SOURCE: 300}))
    again.append([entry(1)], positions={SOURCE: 311})
    again.close()
    assert check(place, vault).holds


def test_a_writer_whose_session_was_ended_writes_nothing_more_and_the_next_goes_on(
    database: str, administrator: psycopg.Connection, tmp_path: Path
) -> None:
    place = DatabasePlace(database, tmp_path)
    vault = place.vault()
    first = open_ledger(place, vault=vault)
    first.append([entry(1)])
    _end_session(administrator, first)
    second = _as_soon_as_free(lambda: open_ledger(place, vault=vault))
    second.append([entry(2)])
    with pytest.raises(Unavailable):
        first.append([entry(3)])
    assert second.append([entry(4)]).size == 3
    assert check(place, vault).holds


def test_a_writer_believed_dead_that_wakes_up_inside_its_commit_is_fenced(
    database: str, administrator: psycopg.Connection, tmp_path: Path
) -> None:
    place = DatabasePlace(database, tmp_path)
    vault = place.vault()
    asleep = open_ledger(place, vault=vault)
    asleep.append([entry(1)])
    sleeping, awake = threading.Event(), threading.Event()

    def sleep() -> None:
        sleeping.set()
        assert awake.wait(20)

    _at_commit(asleep, sleep, persisted=False, fails=False)
    raised: list[BaseException] = []

    def append() -> None:
        try:
            asleep.append([entry(2)])
        except AuditError as error:
            raised.append(error)

    thread = threading.Thread(target=append)
    thread.start()
    assert sleeping.wait(20)
    with pytest.raises(Busy):
        open_ledger(place, vault=vault)
    _end_session(administrator, asleep)
    other = _as_soon_as_free(lambda: open_ledger(place, vault=vault))
    other.append([entry(number) for number in range(5)])
    awake.set()
    thread.join(20)
    assert [type(error) for error in raised] == [Unavailable]
    assert (other.size, other.append([entry(9)]).size) == (6, 7)
    assert check(place, vault).holds


def test_a_writer_that_lost_its_lock_but_not_its_session_is_fenced_by_its_generation(
    database: str, tmp_path: Path
) -> None:
    # So it is behind a pooler, or on a server that was promoted from a stand-by: no lock, and a session that works.
    place = DatabasePlace(database, tmp_path)
    vault = place.vault()
    first = open_ledger(place, vault=vault)
    first.append([entry(1)])
    _session(first).run("SELECT pg_advisory_unlock_all()")
    second = open_ledger(place, vault=vault)
    with pytest.raises(Refused) as caught:
        first.append([entry(2)])
    assert caught.value.code == "ledger-other-writer"
    assert second.append([entry(3)]).size == 2
    second.close()
    assert check(place, vault).holds


def test_a_new_writer_waits_for_a_commit_that_is_under_way(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the lock, only the row of the lease stands between the two.
    monkeypatch.setattr(Lease, "hold", staticmethod(lambda _session: None))
    place = DatabasePlace(database, tmp_path)
    vault = place.vault()
    first = open_ledger(place, vault=vault)
    opened: list[LedgerWriter] = []
    opening = threading.Thread(target=lambda: opened.append(open_ledger(place, vault=vault)))
    _at_commit(first, opening.start, persisted=False, fails=False)
    assert first.append([entry(1)]).size == 1
    opening.join(20)
    assert opened[0].size == 1
    with pytest.raises(Refused):
        first.append([entry(2)])
    assert opened[0].append([entry(2)]).size == 2


def test_a_server_that_takes_no_writes_is_refused(
    database: str, administrator: psycopg.Connection, tmp_path: Path
) -> None:
    place = DatabasePlace(database, tmp_path)
    vault = place.vault()
    open_ledger(place, vault=vault).close()
    name = administrator.info.dbname
    administrator.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
    try:
        with pytest.raises(Refused) as caught:
            open_ledger(place, vault=vault)
    finally:
        administrator.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
    assert caught.value.code == "ledger-read-only"
    assert check(place, vault).holds


def test_a_stand_by_is_read_from_and_takes_over_where_the_primary_ended(own_server: OwnServer, tmp_path: Path) -> None:
    primary = own_server()
    primary.start()
    place = DatabasePlace(primary.url(), tmp_path)
    vault = place.vault()
    ledger = open_ledger(place, vault=vault)
    ledger.append([entry(number) for number in range(300)], positions={SOURCE: 300})
    standby = own_server(of=primary)
    standby.start()
    ledger.append([entry(number) for number in range(50)], positions={SOURCE: 350})
    there = DatabasePlace(standby.url(), tmp_path)
    with psycopg.connect(primary.url()) as connection:
        row = connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()
    assert row is not None
    with psycopg.connect(standby.url(), autocommit=True) as connection:
        _until(connection, "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", row[0])
        report = check(there, vault)
        assert (report.findings, report.size) == ((), 350)
        with pytest.raises(Refused) as caught:
            open_ledger(there, vault=vault)
        assert caught.value.code == "ledger-read-only"
        primary.kill()
        connection.execute("SELECT pg_promote()")
    with pytest.raises(Unavailable):
        ledger.append([entry(1)])
    after = open_ledger(there, vault=vault)
    assert (after.size, after.positions()) == (350, {SOURCE: 350})
    after.append([entry(1)], positions={SOURCE: 351})
    after.close()
    assert check(there, vault).holds


def test_a_server_that_stops_syncing_later_does_not_touch_a_writer_that_is_there(
    database: str, administrator: psycopg.Connection, tmp_path: Path
) -> None:
    ledger = open_ledger(DatabasePlace(database, tmp_path))
    administrator.execute("ALTER SYSTEM SET synchronous_commit = off")
    try:
        administrator.execute("SELECT pg_reload_conf()")
        _until(administrator, "SELECT current_setting('synchronous_commit') = %s", "off")
        ledger.append([entry(1)])
        assert _session(ledger).row("SELECT current_setting('synchronous_commit')") == ("on",)
        with pytest.raises(Refused) as caught:
            Vault.open(database, bytes(32))
        assert caught.value.code == "vault-not-durable"
    finally:
        administrator.execute("ALTER SYSTEM RESET synchronous_commit")
        administrator.execute("SELECT pg_reload_conf()")
        _until(administrator, "SELECT current_setting('synchronous_commit') = %s", "on")


def test_a_vault_that_is_lost_leaves_the_ledger_at_work(
    database: str, administrator: psycopg.Connection, tmp_path: Path
) -> None:
    vault = Vault.open(database, bytes(32))
    ledger = LedgerWriter.open(database, origin=ORIGIN, signer=signer(), vault=vault)
    ledger.append([entry(1)])
    tables: Any = vault._tables
    administrator.execute("SELECT pg_terminate_backend(%s)", (tables._session.connection.info.backend_pid,))
    with pytest.raises(Unavailable) as caught:
        ledger.append([entry(2)])
    assert caught.value.code.startswith("vault-")
    assert ledger.append([entry(2)]).size == 2


@pytest.mark.parametrize(
    ("state", "family", "code"),
    [
        ("53100", Unavailable, "ledger-store-full"),
        ("53200", Unavailable, "ledger-store"),
        ("53300", Unavailable, "ledger-store"),
        ("40001", Busy, "ledger-busy"),
        ("40P01", Busy, "ledger-busy"),
        ("57P01", Unavailable, "ledger-store"),
        ("57P03", Unavailable, "ledger-store"),
        ("58030", Unavailable, "ledger-store-full"),
        ("08006", Unavailable, "ledger-store"),
        ("28P01", Refused, "ledger-login"),
        ("3D000", Unavailable, "ledger-no-database"),
        ("42501", Refused, "ledger-permission"),
        ("XX001", Tampered, "ledger-damaged"),
        ("XX000", Unavailable, "ledger-store"),
    ],
)
def test_errors_that_no_test_can_bring_about_are_in_the_table(state: str, family: type[AuditError], code: str) -> None:
    ours = translate(psycopg.errors.lookup(state)("DETAIL: somebody's entry"), "ledger", "logs on db")
    assert (type(ours), ours.code) == (family, code)
    assert "somebody" not in ours.message
    assert "logs on db" in ours.message


def test_every_error_of_the_table_says_what_to_do_in_a_sentence() -> None:
    for make in TABLE.values():
        error = make("vault", "logs on db")
        assert error.code.startswith("vault-")
        assert "logs on db" in error.message or "vault" in error.message


def _at_commit(ledger: LedgerWriter, act: Callable[[], None], *, persisted: bool, fails: bool = True) -> None:
    """Act at the ledger's next COMMIT: before it is sent, or once it has persisted; `fails` hides its answer."""
    session = _session(ledger)
    session.connection = _Watched(session.connection, act, persisted=persisted, fails=fails)


class _Watched:
    def __init__(
        self, connection: psycopg.Connection[Any], act: Callable[[], None], *, persisted: bool, fails: bool
    ) -> None:
        self._connection = connection
        self._act: Callable[[], None] | None = act
        self._persisted = persisted
        self._fails = fails

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: Any, *parameters: Any) -> Any:
        if statement != "COMMIT" or self._act is None:
            return self._connection.execute(statement, *parameters)
        act, self._act = self._act, None
        if not self._persisted:
            act()
            return self._connection.execute(statement)
        done = self._connection.execute(statement)
        act()
        if self._fails:
            # What the server said is lost with it: the driver finds a closed connection.
            return self._connection.execute("SELECT 1")
        return done


def _session(ledger: LedgerWriter) -> Any:
    store: Any = ledger._store
    assert isinstance(store, PostgresStore)
    return store.session


def _until(connection: psycopg.Connection, query: str, value: str) -> None:
    """Wait until a query is true."""
    for _ in range(500):
        if connection.execute(query.encode(), (value,)).fetchone() == (True,):
            return
        time.sleep(0.02)
    pytest.fail(f"never true: {query}")


def _end_session(administrator: psycopg.Connection, ledger: LedgerWriter) -> None:
    administrator.execute("SELECT pg_terminate_backend(%s)", (_session(ledger).connection.info.backend_pid,))


def _as_soon_as_free(make: Callable[[], LedgerWriter]) -> LedgerWriter:
    for _ in range(200):
        try:
            return make()
        except Busy:
            time.sleep(0.02)
    pytest.fail("the lease is never free")
