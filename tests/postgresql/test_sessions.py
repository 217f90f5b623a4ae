from __future__ import annotations

import traceback

import psycopg
import pytest

from integrator_audit import AuditError, Busy, Invalid, Refused, Tampered, Unavailable
from integrator_audit.postgresql.address import Address
from integrator_audit.postgresql.lease import Lease
from integrator_audit.postgresql.migrations import check_migrated, migrate, scripts
from integrator_audit.postgresql.session import Session
from integrator_audit.stores import schema_of
from tests.postgresql.conftest import OwnServer

SCHEMA = "ledger_s0_2026h2"
PASSWORD = "Gz7-secret-w0rd"


def session(url: str, *, writing: bool = True, schema: str = SCHEMA) -> Session:
    return Session(Address.parse(url), schema, what="ledger", writing=writing)


def _end(administrator: psycopg.Connection, backend: int, *, then: Session | None) -> None:
    administrator.execute("SELECT pg_terminate_backend(%s)", (backend,))
    if then is not None:
        then.run("SELECT 1")


def told(error: BaseException) -> str:
    """Return everything that a log could show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


class TestAddress:
    def test_the_last_element_of_an_origin_names_the_schema(self) -> None:
        assert schema_of("demo.example/ledger/demo/s0-2026h2") == "ledger_s0_2026h2"
        assert schema_of("demo.example/ledger/demo/institution") == "ledger_institution"

    @pytest.mark.parametrize("last", ["S0", "s0 2026", 's0"', "s" * 57, "sé"])
    def test_an_origin_that_makes_no_schema_is_refused(self, last: str) -> None:
        with pytest.raises(Invalid) as caught:
            schema_of(f"demo.example/{last}")
        assert caught.value.code == "database-schema"

    def test_the_schema_of_a_url_is_ours_and_not_the_drivers(self) -> None:
        address = Address.parse("postgresql://u@db.example:6432/logs?schema=ledger_s0&sslmode=verify-full")
        assert (address.schema, address.label) == ("ledger_s0", "logs on db.example")
        assert "schema" not in address.conninfo
        assert "sslmode=verify-full" in address.conninfo

    def test_every_other_parameter_reaches_the_driver_to_the_letter(self) -> None:
        address = Address.parse("postgresql://h/d?password=a+b%2B&schema=ledger_s0&options=-c%20role%3Dx")
        assert "password=a+b+" in address.conninfo
        assert "options='-c role=x'" in address.conninfo

    @pytest.mark.parametrize(
        "url",
        [
            "mysql://u@h/d",
            "postgresql://u:%ZZ@h/d",
            "postgresql://u@h/d?unknown=1",
            "postgresql://u@h/d?schema=a&schema=b",
            "postgresql://u@h/d?schema=A",
            "postgresql://u@h/d?schema=pg_catalog",
            "ledger.sqlite",
        ],
    )
    def test_another_url_is_invalid_and_never_repeated(self, url: str) -> None:
        with pytest.raises(Invalid) as caught:
            Address.parse(url.replace("u@", f"u:{PASSWORD}@"))
        assert PASSWORD not in told(caught.value)

    def test_a_password_shows_in_no_address(self) -> None:
        for url in (f"postgresql://u:{PASSWORD}@h/d", f"postgresql://u@h/d?password={PASSWORD}"):
            address = Address.parse(url)
            assert PASSWORD not in repr(address) + str(address) + address.label
            assert PASSWORD in address.conninfo

    def test_a_host_that_is_not_one_is_not_repeated(self) -> None:
        # A password with a slash or an at sign that was not encoded moves into what looks like a host.
        for password in ("a@b/c#d", "x?y&z", "100%", "p@q", "p/q", "p@q/r", "@", "p:q@r"):
            try:
                label = Address.parse(f"postgresql://u:{password}@h/d").label
            except Invalid as error:
                assert error.message.endswith("this is no such URL")  # noqa: PT017  either is right
            else:
                assert label in ("the database", "d on h")


class TestErrors:
    def test_a_wrong_password_is_refused_without_showing_it(self, own_server: OwnServer) -> None:
        server = own_server()
        (server.data / "pg_hba.conf").write_text("local all postgres trust\nlocal all all scram-sha-256\n")
        server.start()
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE ROLE writer LOGIN PASSWORD 'right'")
        with pytest.raises(Refused) as caught:
            session(server.url(user=f"writer:{PASSWORD}"))
        assert caught.value.code == "ledger-login"
        assert PASSWORD not in told(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None

    def test_an_unknown_user_and_database_are_told_apart(self, server_url: str) -> None:
        base, _, query = server_url.partition("?")
        with pytest.raises(Unavailable) as caught:
            session(f"{base.rsplit('/', 1)[0]}/nowhere?{query}")
        assert caught.value.code == "ledger-no-database"

    def test_a_server_that_is_not_there_is_one_clear_message(self) -> None:
        with pytest.raises(Unavailable, match="cannot be reached") as caught:
            session(f"postgresql://u:{PASSWORD}@127.0.0.1:1/d")
        assert caught.value.code == "ledger-store"
        assert PASSWORD not in told(caught.value)

    @pytest.mark.parametrize(
        ("statement", "family", "code"),
        [
            ("SELECT * FROM nothing", Tampered, "ledger-damaged"),
            ("INSERT INTO t VALUES ('\\x0102')", Tampered, "ledger-repeated"),
            ("INSERT INTO t VALUES (NULL)", Tampered, "ledger-damaged"),
            ("SELECT pg_cancel_backend(pg_backend_pid())", Unavailable, "ledger-store"),
            ("SELECT 1/0", Unavailable, "ledger-store"),
            ("LOCK TABLE t NOWAIT", Busy, "ledger-busy"),
        ],
    )
    def test_errors_of_statements_become_ours_and_show_no_values(
        self, database: str, administrator: psycopg.Connection, statement: str, family: type[AuditError], code: str
    ) -> None:
        one = session(database)
        one.run(f"CREATE SCHEMA {SCHEMA}")
        one.run("CREATE TABLE t (x bytea PRIMARY KEY)")
        one.run("INSERT INTO t VALUES ('\\x0102')")
        with administrator.transaction():
            if family is Busy:
                administrator.execute(f"LOCK TABLE {SCHEMA}.t")
            with pytest.raises(family) as caught, one.transaction():
                one.run(statement)
        assert caught.value.code == code
        assert "0102" not in "".join(traceback.format_exception(caught.value)).replace(statement, "")
        assert one.row("SELECT count(*) FROM t") == (1,)

    def test_a_user_without_rights_is_refused(self, database: str, administrator: psycopg.Connection) -> None:
        administrator.execute("DROP ROLE IF EXISTS nobodys")
        administrator.execute("CREATE ROLE nobodys")
        one = session(database)
        one.run("SET ROLE nobodys")
        with pytest.raises(Refused) as caught:
            migrate(one, "ledger")
        assert caught.value.code == "ledger-permission"
        one.close()
        administrator.execute("DROP ROLE nobodys")

    def test_a_lost_connection_is_unknown_at_a_commit_and_lost_before(
        self, database: str, administrator: psycopg.Connection
    ) -> None:
        for at_commit in (True, False):
            one = session(database)
            backend = one.connection.info.backend_pid
            with pytest.raises(Unavailable) as caught, one.transaction():
                _end(administrator, backend, then=None if at_commit else one)
            assert caught.value.code == ("ledger-commit-unknown" if at_commit else "ledger-store")
            with pytest.raises(Unavailable):
                one.run("SELECT 1")


class TestSession:
    @pytest.mark.parametrize(
        ("setting", "value"), [("synchronous_commit", "off"), ("synchronous_commit", "local"), ("fsync", "off")]
    )
    def test_a_server_that_could_lose_a_commit_is_refused_for_writing(
        self, own_server: OwnServer, setting: str, value: str
    ) -> None:
        server = own_server(f"{setting}={value}")
        server.start()
        with pytest.raises(Refused, match=f"{setting} is {value} in postgres on") as caught:
            session(server.url())
        assert caught.value.code == "ledger-not-durable"
        session(server.url(), writing=False).close()

    def test_a_reading_session_connects_again_and_a_writing_one_does_not(
        self, database: str, administrator: psycopg.Connection
    ) -> None:
        reading, writing = session(database, writing=False), session(database)

        def lose(one: Session) -> None:
            administrator.execute("SELECT pg_terminate_backend(%s)", (one.connection.info.backend_pid,))

        lose(reading)
        assert reading.row("SELECT 1") == (1,)
        lose(reading)
        assert list(reading.stream("SELECT 1")) == [(1,)]
        with reading.snapshot():
            lose(reading)
            with pytest.raises(Unavailable):
                reading.row("SELECT 1")
        assert reading.row("SELECT 1") == (1,)
        lose(writing)
        for _ in range(2):
            with pytest.raises(Unavailable):
                writing.row("SELECT 1")
        with pytest.raises(Unavailable), writing.transaction():
            pass

    def test_a_snapshot_sees_one_moment_and_streams_in_it(self, database: str) -> None:
        writing, reading = session(database), session(database, writing=False)
        writing.run(f"CREATE SCHEMA {SCHEMA}")
        writing.run("CREATE TABLE t AS SELECT generate_series(1, 2500) AS x")
        count = "SELECT count(*) FROM t"
        with reading.snapshot():
            assert reading.row(count) == (2500,)
            stream = reading.stream("SELECT x FROM t")
            next(stream)
            writing.run("DELETE FROM t WHERE x > 10")
            assert len(list(stream)) == 2499
            assert reading.row(count) == (2500,)
        assert reading.row(count) == (10,)
        assert len(list(reading.stream("SELECT x FROM t"))) == 10

    def test_a_snapshot_cannot_write(self, database: str) -> None:
        reading = session(database, writing=False)
        reading.run(f"CREATE SCHEMA {SCHEMA}")
        with pytest.raises(Refused) as caught, reading.snapshot():
            reading.run("CREATE TABLE t (x int)")
        assert caught.value.code == "ledger-read-only"


class TestLease:
    def test_only_one_session_holds_it_and_the_next_gets_it_when_that_one_is_gone(
        self, database: str, administrator: psycopg.Connection
    ) -> None:
        first, second = session(database), session(database)
        Lease.hold(first)
        with pytest.raises(Busy) as caught:
            Lease.hold(second)
        assert caught.value.code == "ledger-lease"
        Lease.hold(session(database, schema="ledger_s1_2026h2"))
        administrator.execute("SELECT pg_terminate_backend(%s)", (first.connection.info.backend_pid,))
        for _ in range(100):
            try:
                Lease.hold(second)
                break
            except Busy:
                administrator.execute("SELECT pg_sleep(0.02)")
        else:
            pytest.fail("the lease of a lost session is never free")

    def test_a_fenced_writer_moves_nothing(self, database: str) -> None:
        first, second = session(database), session(database)
        migrate(first, "ledger")
        old = Lease.begin(first)
        with first.transaction():
            old.advance(0, 5)
        new = Lease.begin(second)
        with pytest.raises(Refused, match="writer 2 of the ledger has taken over") as caught, first.transaction():
            old.advance(5, 6)
        assert caught.value.code == "ledger-other-writer"
        with pytest.raises(Refused, match="to size 5"), second.transaction():
            new.advance(4, 6)
        with second.transaction():
            new.advance(5, 6)

    def test_a_pooler_that_changes_the_session_is_refused(self, database: str) -> None:
        first, other = session(database), session(database)
        migrate(first, "ledger")
        lease = Lease.begin(first)
        first.connection, kept = other.connection, first.connection
        with pytest.raises(Refused, match="a pooler in front of"), first.transaction():
            lease.advance(0, 1)
        first.connection = kept


class TestMigrations:
    def test_a_new_schema_gets_every_migration_once(self, database: str) -> None:
        one = session(database)
        for _ in range(2):
            migrate(one, "ledger")
            assert one.rows("SELECT number FROM migration") == [(n + 1,) for n in range(len(scripts("ledger")))]
        check_migrated(session(database, writing=False), "ledger")

    def test_reading_an_absent_schema_makes_nothing(self, database: str) -> None:
        reading = session(database, writing=False)
        with pytest.raises(Unavailable) as caught:
            check_migrated(reading, "ledger")
        assert caught.value.code == "ledger-absent"
        assert reading.row("SELECT 1 FROM pg_namespace WHERE nspname = %s", (SCHEMA,)) is None

    def test_a_newer_schema_is_refused_by_both(self, database: str) -> None:
        one = session(database)
        migrate(one, "ledger")
        one.run("INSERT INTO migration (number, family) VALUES (%s, 'ledger')", (len(scripts("ledger")) + 1,))
        for refuse in (migrate, check_migrated):
            with pytest.raises(Refused) as caught:
                refuse(one, "ledger")
            assert caught.value.code == "ledger-newer"

    def test_a_schema_of_others_and_of_another_family_is_left_alone(self, database: str) -> None:
        one = session(database)
        one.run(f"CREATE SCHEMA {SCHEMA}")
        one.run("CREATE TABLE t (x int)")
        with pytest.raises(Refused) as caught:
            migrate(one, "ledger")
        assert caught.value.code == "ledger-format"
        other = session(database, schema="ledger_other")
        migrate(other, "ledger")
        with pytest.raises(Refused) as caught:
            migrate(other, "vault")
        assert caught.value.code == "vault-format"

    def test_an_older_schema_is_read_only_after_it_was_migrated(
        self, database: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = session(database)
        migrate(one, "ledger")
        more = [*scripts("ledger"), "CREATE TABLE later (x int)"]
        monkeypatch.setattr("integrator_audit.postgresql.migrations.scripts", lambda _family: more)
        with pytest.raises(Refused, match="reading never migrates") as caught:
            check_migrated(one, "ledger")
        assert caught.value.code == "ledger-older"
        migrate(one, "ledger")
        check_migrated(one, "ledger")
        assert one.row("SELECT count(*) FROM later") == (0,)

    def test_a_migration_that_fails_leaves_the_schema_where_it_stood(
        self, database: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one = session(database)
        migrate(one, "ledger")
        more = [*scripts("ledger"), "CREATE TABLE later (x int); SELECT * FROM nothing"]
        monkeypatch.setattr("integrator_audit.postgresql.migrations.scripts", lambda _family: more)
        with pytest.raises(Tampered):
            migrate(one, "ledger")
        assert one.row("SELECT to_regclass('later') IS NULL, max(number) FROM migration") == (True, len(more) - 1)
