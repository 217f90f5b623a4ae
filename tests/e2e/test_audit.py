"""An auditor with the published files and the commands, and an operator who changed one byte."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from shutil import copyfile, copytree
from typing import Any

import pytest

from integrator_audit import Signer
from tests.e2e.conftest import Played
from tests.e2e.installation import Outcome, command

pytestmark = pytest.mark.e2e

LOGS = ("s0", "institution")


def log_of(played: Played, series: str) -> dict[str, Any]:
    ledger = played.document["ledger"]
    return ledger["subjects"][0] if series == "s0" else ledger["institution"]


def published(played: Played, series: str, to: Path) -> Path:
    """Return a copy of the static files of a log."""
    (found,) = (played.files / "ledger" / "public").glob(f"{series}-*")
    return copytree(found, to / found.name)


def database(played: Played, series: str, to: Path) -> Path:
    """Return a copy of the file of a log, with everything that its write-ahead log still holds."""
    (found,) = (played.files / "ledger").glob(f"{series}-*.sqlite")
    copy = to / found.name
    for suffix in ("", "-wal"):
        if (part := found.with_name(found.name + suffix)).exists():
            copyfile(part, copy.with_name(copy.name + suffix))
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return copy


def verify(directory: Path, vkey: str, state: Path) -> Outcome:
    return command("integrator-audit", "verify", directory, "--vkey", vkey, "--state", state, "--json")


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x01
    path.write_bytes(data)


@pytest.mark.parametrize("series", LOGS)
def test_the_published_files_hold_under_the_key_that_the_document_names(
    played: Played, tmp_path: Path, series: str
) -> None:
    log = log_of(played, series)
    outcome = verify(published(played, series, tmp_path), log["vkey"], tmp_path / "state")
    assert outcome.code == 0, outcome.err + outcome.out
    told = json.loads(outcome.out)
    assert (told["result"], told["origin"], told["size"], told["root"]) == (
        "verified", log["origin"], log["size"], log["root"],
    )  # fmt: skip


@pytest.mark.parametrize("series", LOGS)
def test_the_files_of_the_ledger_hold_with_the_keys_of_persons(played: Played, tmp_path: Path, series: str) -> None:
    ledger, key = played.files / "ledger", played.files / "secrets" / "vault-generation-1"
    outcome = command(
        "integrator-audit", "fsck", database(played, series, tmp_path), "--vkey", log_of(played, series)["vkey"],
        "--vault", ledger / "persons.sqlite", "--generation-key", key, "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err + outcome.out
    (file,) = json.loads(outcome.out)["files"]
    assert (file["size"], file["vault"]) == (log_of(played, series)["size"], True)


@pytest.mark.parametrize("path", ["tile/0/000", "tile/entries/000"])
def test_a_flipped_byte_in_a_published_file_is_found_and_named(played: Played, tmp_path: Path, path: str) -> None:
    directory = published(played, "s0", tmp_path)
    flip(directory / path, 40)
    outcome = verify(directory, log_of(played, "s0")["vkey"], tmp_path / "state")
    assert outcome.code == 1, outcome.err + outcome.out
    told = json.loads(outcome.out)
    assert told["result"] == "failed"
    assert path in json.dumps(told)


@pytest.mark.parametrize("part", ["h", "body", "subject"])
def test_a_flipped_byte_in_the_row_of_an_entry_is_found_and_named(played: Played, tmp_path: Path, part: str) -> None:
    file = database(played, "s0", tmp_path)
    with closing(sqlite3.connect(file)) as connection, connection:
        (held,) = connection.execute(f"SELECT {part} FROM entry WHERE idx = 17").fetchone()
        changed = held[:-1] + bytes([held[-1] ^ 0x01])
        connection.execute(f"UPDATE entry SET {part} = ? WHERE idx = 17", (changed,))
    outcome = command("integrator-audit", "fsck", file, "--vkey", log_of(played, "s0")["vkey"], "--json")
    assert outcome.code == 1, outcome.err + outcome.out
    (told,) = json.loads(outcome.out)["files"]
    assert told["result"] == "failed"
    assert "17" in json.dumps(told["findings"])


def test_a_flipped_byte_in_a_stored_tile_or_bundle_is_found_and_named(played: Played, tmp_path: Path) -> None:
    file = database(played, "s0", tmp_path)
    with closing(sqlite3.connect(file)) as connection, connection:
        tiles = connection.execute("SELECT level, n, data FROM tile WHERE n = 0").fetchall()
        assert {level for level, _, _ in tiles} >= {-1, 0}
        for level, n, data in tiles:
            changed = data[:40] + bytes([data[40] ^ 0x01]) + data[41:]
            connection.execute("UPDATE tile SET data = ? WHERE level = ? AND n = ?", (changed, level, n))
    outcome = command("integrator-audit", "fsck", file, "--vkey", log_of(played, "s0")["vkey"], "--json")
    assert outcome.code == 1, outcome.err + outcome.out
    said = json.dumps(json.loads(outcome.out)["files"][0]["findings"])
    assert "tile/entries/000" in said
    assert "tile/0/000" in said


def test_a_key_of_the_same_name_that_did_not_sign_is_not_believed(played: Played, tmp_path: Path) -> None:
    directory = published(played, "s0", tmp_path)
    stranger = Signer(log_of(played, "s0")["origin"], bytes(32)).vkey
    outcome = verify(directory, stranger, tmp_path / "state")
    assert outcome.code in (1, 2)
    assert json.loads(outcome.out)["message"]
    assert "Traceback" not in outcome.err
    other = verify(directory, log_of(played, "institution")["vkey"], tmp_path / "state")
    assert other.code in (1, 2)
    assert json.loads(other.out)["message"]


def test_what_is_no_key_and_what_is_no_log_is_said_in_one_sentence(played: Played, tmp_path: Path) -> None:
    directory, vkey = published(played, "s0", tmp_path), log_of(played, "s0")["vkey"]
    for where, key in ((directory, "no-key"), (tmp_path / "nowhere", vkey)):
        outcome = command("integrator-audit", "verify", where, "--vkey", key, "--state", tmp_path / "state")
        assert outcome.code == 2, outcome.err
        assert len(outcome.err.strip().splitlines()) == 1
        assert "Traceback" not in outcome.err
