"""Plays the demonstration with its ledger in a real PostgreSQL: the same play, and no store of it is a file."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg

from tests.e2e.installation import command
from tests.postgresql.server import Server


def test_the_demonstration_with_its_ledger_in_a_database(tmp_path: Path) -> None:
    server = Server()
    try:
        server.start()
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE ledger TEMPLATE template0")
            connection.execute("CREATE DATABASE vault TEMPLATE template0")
        _play(tmp_path / "installation", ledger=server.url("ledger"), vault=server.url("vault"))
    finally:
        server.remove()


def _play(data: Path, *, ledger: str, vault: str) -> None:
    there = {"INTEGRATOR_LEDGER_DATABASE": ledger, "INTEGRATOR_LEDGER_VAULT": vault}
    outcome = command("integrator", "demo", "--once", "--json", "--data", data, seconds=120, **there)
    assert outcome.code == 0, outcome.err
    logs = json.loads(outcome.out)["ledger"]
    (shard,) = logs["subjects"]
    assert shard["size"] > shard["unlisted"] > 0
    assert not [path for path in (data / "ledger").rglob("*.sqlite*") if ".search." not in path.name]

    with psycopg.connect(vault) as connection:
        assert connection.execute("SELECT count(*) FROM vault.node").fetchone() != (0,)
    database = {"INTEGRATOR_AUDIT_DATABASE": ledger}
    for log in (shard, logs["institution"], logs["days"]):
        name = log["origin"].rpartition("/")[2]
        schema, key = f"ledger_{name.replace('-', '_')}", data / "ledger" / f"{name}.vkey"
        checked = command("integrator-audit", "fsck", schema, "--vkey", key, "--json", **database)
        assert (checked.code, json.loads(checked.out)["result"]) == (0, "holds"), checked.out + checked.err
    index = command("integrator-audit", "fsck-index", "index_epochs", "--epochs", "ledger_epochs", **database)
    assert index.code == 0, index.out + index.err
