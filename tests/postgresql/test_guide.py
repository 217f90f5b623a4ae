"""Holds the guide for operators to what is there: its statements run, and its codes exist."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from integrator_audit import LedgerReader, Refused
from tests.postgresql.conftest import OwnServer
from tests.postgresql.test_ledger import DatabasePlace
from tests.unit.audit.audit_samples import entry
from tests.unit.audit.ledger_contract import check, open_ledger

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "ledger-postgresql.md").read_text()


def test_the_set_up_of_the_guide_gives_a_writer_that_writes_and_a_reader_that_reads(
    own_server: OwnServer, tmp_path: Path
) -> None:
    server = own_server()
    server.start()
    roles, rights = re.findall(r"```sql\n(.*?)```", GUIDE, re.DOTALL)
    for database, script in (("postgres", roles), ("ledger", rights)):
        with psycopg.connect(server.url(database), autocommit=True) as connection:
            for statement in script.strip().split(";\n"):
                connection.execute(statement.encode())
    writer = DatabasePlace(server.url("ledger", user="ledger_writer"), tmp_path)
    reader = DatabasePlace(server.url("ledger", user="ledger_reader"), tmp_path)
    vault = writer.vault()
    ledger = open_ledger(writer, vault=vault)
    ledger.append([entry(1)])
    ledger.close()
    assert LedgerReader.open(reader.location).size == 1
    assert check(reader, vault).holds
    with pytest.raises(Refused) as caught:
        open_ledger(reader, vault=vault)
    assert caught.value.code == "ledger-permission"


def test_every_code_of_the_guide_is_one_that_the_code_gives() -> None:
    package = ROOT / "audit" / "integrator_audit"
    source = "".join(path.read_text() for path in package.rglob("*.py"))
    codes = set(re.findall(r"`ledger-([a-z-]+)`", GUIDE))
    assert len(codes) > 12
    written = re.compile(r'"ledger-([a-z-]+)"|\{(?:\w+\.)*(?:what|family)\}-([a-z-]+)"|_said\(\s*\w+,\s*"([a-z-]+)"')
    given = {code for groups in written.findall(source) for code in groups if code}
    assert codes <= given


def test_every_setting_that_is_checked_is_in_the_guide() -> None:
    from integrator_audit.postgresql.session import DURABLE

    for setting in DURABLE:
        assert f"`{setting}`" in GUIDE
