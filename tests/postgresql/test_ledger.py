"""Holds that a ledger in PostgreSQL keeps the contract of a ledger, and what `fsck` finds of its own tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from integrator_audit import LedgerReader, LedgerWriter, RawLog, Refused, Signer, Tampered, Vault
from integrator_audit.keystore import KeyStore
from integrator_audit.postgresql.raw import SHAPE, PostgresRows
from integrator_audit.postgresql.reading import PostgresReading
from tests.unit.audit.audit_samples import GENERATION_KEY, ORIGIN, entry
from tests.unit.audit.ledger_contract import OTHER_ORIGIN, SIZE, LedgerContract, check, open_ledger

SCHEMA = "ledger_s0_2026h2"
_FLIP = """
CREATE FUNCTION {0}.flip(value bytea, at int) RETURNS bytea LANGUAGE sql
  RETURN set_byte(value, at, get_byte(value, at) # 1);
CREATE FUNCTION {0}.flip(value text, at int) RETURNS text LANGUAGE sql
  RETURN convert_from({0}.flip(convert_to(value, 'UTF8'), at), 'UTF8');
"""


class FailingConnection:
    """A connection whose next COMMIT raises, before or after it did its work."""

    def __init__(self, connection: psycopg.Connection[Any], *, persist: bool) -> None:
        self._connection = connection
        self._persist = persist

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: Any, *parameters: Any) -> Any:
        if statement == "COMMIT":
            if self._persist:
                self._connection.execute(statement)
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return self._connection.execute(statement, *parameters)


class DatabasePlace:
    """A database with a log; its vault is a file."""

    def __init__(self, url: str, directory: Path) -> None:
        self.location = url
        self._directory = directory

    def vault(self) -> Vault:
        return Vault.open(self._directory / "persons.sqlite", GENERATION_KEY)

    def failing(self, ledger: LedgerWriter, *, persist: bool) -> None:
        store: Any = ledger._store
        store.session.connection = FailingConnection(store.session.connection, persist=persist)

    def damage(self, statement: str) -> None:
        with psycopg.connect(self.location, autocommit=True) as connection:
            connection.execute("CREATE SCHEMA damaging")
            connection.execute(_FLIP.format("damaging").encode())
            connection.execute(f"SET search_path TO {SCHEMA}, damaging, pg_catalog".encode())
            changed = connection.execute(statement.encode()).rowcount
            connection.execute("DROP SCHEMA damaging CASCADE")
        assert changed == 1, f"{statement} changed {changed} rows"

    def change(self, *statements: str) -> None:
        """Run statements as the server's administrator."""
        with psycopg.connect(self.location, autocommit=True) as connection:
            connection.execute(f"SET search_path TO {SCHEMA}, pg_catalog".encode())
            for statement in statements:
                connection.execute(statement.encode())


class TestPostgresLedger(LedgerContract):
    @pytest.fixture
    def place(self, database: str, tmp_path: Path) -> DatabasePlace:
        return DatabasePlace(database, tmp_path)

    @pytest.mark.parametrize(
        ("statement", "code", "where"),
        [
            ("UPDATE entry SET salt = flip(salt, 0) WHERE idx = 300", "entry-wrong", "row of entry 300, part A"),
            (
                "UPDATE entry SET p = flip(p, 20) WHERE idx = (SELECT min(idx) FROM entry WHERE p <> '')",
                "entry-wrong",
                "",
            ),
            (
                "UPDATE entry SET pk = flip(pk, 2) WHERE idx = (SELECT min(idx) FROM entry WHERE p <> '')",
                "entry-wrong",
                "",
            ),
            ("UPDATE entry SET kv = 2 WHERE idx = (SELECT max(idx) FROM entry WHERE pk IS NULL)", "entry-wrong", ""),
            ("UPDATE entry SET years = 2 WHERE idx = 300", "entry-wrong", "row of entry 300, part D and S"),
            ("UPDATE entry SET listed = false WHERE idx = 300", "entry-wrong", "row of entry 300"),
            ("UPDATE entry SET rid = NULL WHERE idx = 300", "entry-wrong", "row of entry 300"),
            (
                "UPDATE entry SET subject = flip(subject, 3) WHERE idx = 300",
                "entry-wrong",
                "row of entry 300, part D and S",
            ),
            ("DELETE FROM entry WHERE idx = 300", "entry-wrong", "row of entry 300"),
            (
                "INSERT INTO entry SELECT 9999, aid, at, seal, rid, kv, t, years, listed, subject, salt, h, pk, body, p"
                " FROM entry WHERE idx = 300",
                "entry-surplus",
                "row of entry 9999",
            ),
            ("UPDATE lease SET size = size + 1", "lease-wrong", "row of lease"),
        ],
    )
    def test_what_was_changed_in_tables_of_this_store_is_named(
        self, place: DatabasePlace, full: KeyStore, statement: str, code: str, where: str
    ) -> None:
        place.damage(statement)
        (finding,) = check(place, full).findings
        assert finding.code == code
        assert finding.where == where or not where
        assert not check(place).holds

    @pytest.mark.parametrize(
        "statement",
        [
            "DROP INDEX by_subject",
            "CREATE TABLE more (x int)",
            "ALTER TABLE entry ADD COLUMN more int",
            "ALTER TABLE draw DROP CONSTRAINT draw_salt_key",
            "ALTER TABLE entry ALTER h DROP NOT NULL",
            "CREATE RULE quiet AS ON DELETE TO entry DO INSTEAD NOTHING",
            "ALTER TABLE entry ENABLE ROW LEVEL SECURITY",
            "CREATE VIEW seen AS SELECT 1",
            "CREATE FUNCTION sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'",
            "CREATE OPERATOR <> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = int8eq)",
            "CREATE TABLE pg_class AS SELECT * FROM pg_catalog.pg_class WHERE false",
            "ALTER TABLE entry SET UNLOGGED",
            "ALTER TABLE recipient ADD COLUMN more bigint GENERATED ALWAYS AS (seal) STORED",
        ],
    )
    def test_a_schema_that_the_migrations_did_not_make_is_named(
        self, place: DatabasePlace, full: KeyStore, statement: str
    ) -> None:
        place.change(statement)
        findings = check(place, full).findings
        assert {finding.code for finding in findings} <= {"schema-wrong", "index-wrong"}
        assert findings

    @pytest.mark.parametrize(
        "statements",
        [
            (
                "ALTER TABLE statement RENAME TO statement_before",
                "CREATE VIEW statement AS SELECT n AS aid, ''::bytea AS digest, ''::bytea AS bytes"
                " FROM generate_series(1, 1000000000000) AS n",
            ),
            (
                "ALTER TABLE identity RENAME TO identity_before",
                "CREATE VIEW identity AS SELECT before.* FROM identity_before AS before, pg_sleep(1000)",
            ),
            ("ALTER TABLE tile RENAME TO before", "CREATE MATERIALIZED VIEW tile AS SELECT * FROM before"),
            (
                "CREATE SCHEMA elsewhere",
                f"CREATE TABLE elsewhere.more () INHERITS ({SCHEMA}.entry)",
                "INSERT INTO elsewhere.more SELECT * FROM ONLY entry WHERE idx = 5",
            ),
        ],
        ids=["endless", "asleep", "materialized", "inherited"],
    )
    def test_what_took_the_place_of_a_table_is_not_read_by_anybody(
        self, place: DatabasePlace, full: KeyStore, statements: tuple[str, ...]
    ) -> None:
        place.change(*statements)
        for read in (
            lambda: check(place, full),
            lambda: PostgresReading.read_only(place.location),
            lambda: open_ledger(place, vault=full),
        ):
            with pytest.raises(Tampered) as caught:
                read()
            assert caught.value.code == "ledger-damaged"

    @pytest.mark.parametrize(
        ("table", "column", "other"),
        [
            ("entry", "at", "bigint[] USING ARRAY[at]"),
            ("entry", "salt", "text USING 'salt'"),
            ("statement", "bytes", "text USING 'statement'"),
            ("checkpoint", "at", "numeric USING 'NaN'::numeric"),
            ("tile", "data", "jsonb USING '[1]'::jsonb"),
            ("position", "next", "bigint USING -1"),
            ("identity", "vkey", "bytea USING ''::bytea"),
        ],
    )
    def test_a_column_of_another_type_or_size_is_damage_to_every_reader(
        self, place: DatabasePlace, full: KeyStore, table: str, column: str, other: str
    ) -> None:
        place.change(f"ALTER TABLE {table} ALTER {column} TYPE {other}")
        assert not check(place, full).holds
        reading = PostgresReading.read_only(place.location)
        caught: list[str] = []
        for read in (
            reading.identity,
            reading.head,
            reading.positions,
            lambda: reading.tile(0, 0),
            lambda: list(reading.entries(0, SIZE)),
            lambda: list(reading.rows(0, SIZE)),
            lambda: list(reading.statements()),
        ):
            try:
                read()
            except Tampered as error:
                caught.append(error.code)
        reading.close()
        assert set(caught) == {"ledger-damaged"}

    @pytest.mark.parametrize(
        ("table", "column", "other"),
        [
            ("recipient", "rid", "bigint[] USING ARRAY[rid]"),
            ("recipient", "name", "jsonb USING to_jsonb(name)"),
            ("statement", "bytes", "jsonb USING '[1]'::jsonb"),
            ("draw", "first", "numeric"),
            ("draw", "count", "interval USING '1 day'::interval"),
            ("checkpoint", "root", "bytea[] USING ARRAY[root]"),
            ("set_aside", "reason", "timestamptz USING 'infinity'::timestamptz"),
        ],
    )
    def test_a_column_of_a_type_that_no_file_has_is_a_finding(
        self, place: DatabasePlace, full: KeyStore, table: str, column: str, other: str
    ) -> None:
        place.change(f"ALTER TABLE {table} ALTER {column} TYPE {other}")
        assert "schema-wrong" in {finding.code for finding in check(place, full).findings}

    def test_a_policy_that_hides_rows_is_an_error_and_not_fewer_rows(
        self, place: DatabasePlace, full: KeyStore
    ) -> None:
        place.change(
            "CREATE ROLE hidden_from LOGIN",
            f"GRANT USAGE ON SCHEMA {SCHEMA} TO hidden_from",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {SCHEMA} TO hidden_from",
            "ALTER TABLE entry ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY hiding ON entry USING (idx > 5)",
        )
        try:
            reading = PostgresReading.read_only(place.location.replace("postgres@", "hidden_from@"))
            with pytest.raises(Refused) as caught:
                list(reading.entries(0, 10))
            assert caught.value.code == "ledger-permission"
            reading.close()
        finally:
            place.change("DROP OWNED BY hidden_from", "DROP ROLE hidden_from")

    @pytest.mark.parametrize(
        ("index", "change"),
        [
            ("by_subject", "UPDATE entry SET subject = sha256(subject) WHERE idx = 300"),
            ("by_recipient", "UPDATE entry SET rid = rid % 3 + 1 WHERE idx = 300"),
            ("unlisted", "UPDATE entry SET listed = false WHERE idx = 300"),
        ],
    )
    def test_an_index_that_lacks_an_entry_is_named(
        self, place: DatabasePlace, full: KeyStore, index: str, change: str
    ) -> None:
        # While an index is not ready, PostgreSQL does not keep it up: afterwards it looks whole and lacks a row.
        ready = f"UPDATE pg_index SET indisready = {{}} WHERE indexrelid = '{index}'::regclass"
        place.change(ready.format("false"), change, ready.format("true"))
        found = {(finding.code, finding.where) for finding in check(place, full).findings}
        assert ("index-wrong", f"index {index}") in found

    def test_the_shape_that_the_package_names_is_what_the_migrations_make(self, place: DatabasePlace) -> None:
        open_ledger(place).close()
        rows = PostgresRows.open(place.location)
        assert list(rows.structure()) == []
        assert len(list(rows.query(SHAPE))) > 80
        rows.close()

    def test_the_second_migration_puts_the_nodes_beside_the_tiles_that_are_there(
        self, place: DatabasePlace, full: KeyStore
    ) -> None:
        place.change("ALTER TABLE tile DROP COLUMN nodes", "DELETE FROM migration WHERE number = 2")
        open_ledger(place, vault=full).close()
        assert check(place, full).findings == ()


def test_a_database_keeps_many_logs_and_a_url_says_which(database: str, tmp_path: Path) -> None:
    place = DatabasePlace(database, tmp_path)
    ledger = open_ledger(place)
    ledger.append([entry(1)])
    assert LedgerReader.open(database).size == 1, "the only one needs no name"
    RawLog.open(database, origin=OTHER_ORIGIN, signer=Signer.generate(OTHER_ORIGIN))
    with pytest.raises(Refused, match="ledger_epochs, ledger_s0_2026h2") as caught:
        LedgerReader.open(database)
    assert caught.value.code == "ledger-which"
    assert LedgerReader.open(_with(database, SCHEMA)).origin == ORIGIN
    assert LedgerReader.open(database, origin=OTHER_ORIGIN).size == 0
    with pytest.raises(Refused) as caught:
        LedgerWriter.open(
            _with(database, "ledger_other"), origin=ORIGIN, signer=Signer.generate(ORIGIN), vault=place.vault()
        )
    assert caught.value.code == "ledger-origin"


def _with(url: str, schema: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}schema={schema}"
