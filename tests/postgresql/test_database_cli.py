"""Holds that commands find a ledger in a database, and that nothing they say shows a password."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from integrator_audit import Vault
from integrator_audit.cli.main import app
from tests.postgresql.conftest import OwnServer
from tests.postgresql.test_ledger import SCHEMA, DatabasePlace
from tests.unit.audit.audit_samples import GENERATION_KEY, ORIGIN, signer
from tests.unit.audit.ledger_contract import SIZE, fill

PASSWORD = "Gz7-secret-w0rd"
Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    def start(*arguments: object, database: str = "") -> Result:
        monkeypatch.setenv("INTEGRATOR_AUDIT_DATABASE", database)
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return start


def test_fsck_checks_a_log_by_url_and_by_name(database: str, tmp_path: Path, run: Run) -> None:
    place = DatabasePlace(database, tmp_path)
    fill(place)
    (tmp_path / "key").write_bytes(GENERATION_KEY)
    vault = ("--vault", tmp_path / "persons.sqlite", "--generation-key", tmp_path / "key")
    for result in (
        run("fsck", database, "--vkey", signer().vkey, *vault, "--json"),
        run("fsck", SCHEMA, "--vkey", signer().vkey, *vault, "--json", database=database),
    ):
        assert result.exit_code == 0, result.output
        (report,) = json.loads(result.stdout)["files"]
        assert (report["result"], report["origin"], report["size"], report["vault"]) == ("holds", ORIGIN, SIZE, True)
    place.damage("UPDATE tile SET width = 255 WHERE level = 0 AND n = 2")
    result = run("fsck", SCHEMA, database=database)
    assert result.exit_code == 1
    assert f"{SCHEMA}: tile/0/002" in result.stdout


def test_a_vault_in_a_database_opens_the_entries(database: str, run: Run, tmp_path: Path) -> None:
    class Both(DatabasePlace):
        def vault(self) -> Vault:
            return Vault.open(self.location, GENERATION_KEY)

    fill(Both(database, tmp_path))
    (tmp_path / "key").write_bytes(GENERATION_KEY)
    arguments = ("fsck", SCHEMA, "--vault", "vault", "--generation-key", tmp_path / "key")
    result = run(*arguments, database=database)
    assert (result.exit_code, result.stdout) == (0, f"{SCHEMA}: {ORIGIN}, {SIZE} entries: everything holds.\n")


def test_what_cannot_be_reached_could_not_be_told_and_shows_no_password(own_server: OwnServer, run: Run) -> None:
    server = own_server()
    (server.data / "pg_hba.conf").write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    server.start()
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE writer LOGIN PASSWORD 'right'")
    url = server.url(user=f"writer:{PASSWORD}")
    for result, code in (
        (run("fsck", SCHEMA, database=url), "ledger-login"),
        (run("fsck", SCHEMA, "--json", database=url), "ledger-login"),
        (run("fsck", url), "database-password"),
        (run("fsck", SCHEMA, database=f"postgresql://u:{PASSWORD}@127.0.0.1:1/d"), "ledger-store"),
        (run("fsck", "ledger_nothing", database=server.url()), "ledger-absent"),
    ):
        assert result.exit_code == 2
        assert code in result.output
        assert PASSWORD not in result.output
        assert "Traceback" not in result.output
