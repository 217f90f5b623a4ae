"""Looks for one person in every byte of a database with a ledger and a vault, before and after they are forgotten.

What PostgreSQL keeps beyond its tables is said, and shown: free space of pages until the table is written anew, and the
write-ahead log until its files are removed. `docs/register-of-copies.md` names these tests.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from integrator_audit import LedgerReader, LedgerWriter, Refused, Vault
from integrator_audit.forgetting.erasure import Eraser, Log
from integrator_audit.forgetting.orders import SCHEMA, ErasureOrder
from integrator_audit.forgetting.register import Register
from integrator_audit.fsck import fsck
from integrator_audit.generationkeys import FileGenerationKeys
from integrator_audit.stores import open_erasing
from tests.postgresql.conftest import OwnServer
from tests.postgresql.server import Server
from tests.unit.audit.audit_samples import ORIGIN, entry, signer
from tests.unit.audit.canary_samples import Needles, files_below, found

CANARY = bytes(range(200, 232))
TABLES, WAL = "base", "pg_wal"


@dataclass
class Place:
    """A server with one ledger and one vault, and what a person of them is known by."""

    server: Server
    directory: Path

    def __post_init__(self) -> None:
        (self.directory / "keys").mkdir()
        self.generations = FileGenerationKeys(self.directory / "keys")
        self.generations.make()
        self.url = self.server.url()
        self.vault = Vault.open(self.url, self.generations)
        self.log = LedgerWriter.open(self.url, origin=ORIGIN, signer=signer(), vault=self.vault)
        self.register = Register(self.directory / "register")

    def run(self, *statements: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def areas(self, needles: Needles) -> dict[str, set[str]]:
        """Return in which parts of the server's directory each needle stands."""
        self.run("CHECKPOINT")
        read = files_below(self.server.data)
        return {kind: {name.split("/")[0] for name in names} for kind, names in found(needles, read).items()}

    def needles(self) -> Needles:
        reader = LedgerReader.open(self.url, vault=self.vault)
        rows = [reader._store.entry(index) for index in reader.indices_of(CANARY)]
        reader.close()
        # The tree out of which the canary will be cut, and the keys of who acted.
        wrapped = self.vault._tables.rows("SELECT wrapped FROM node")
        keys = [bytes(row.entry_key) for row in rows if row and row.entry_key]
        for key in keys:
            wrapped += self.vault._tables.rows("SELECT wrapped FROM entry_key WHERE id = ?", (key,))
        return {
            "pseudonym": [CANARY],
            "body": [row.body for row in rows if row],
            "actor": [row.p for row in rows if row],
            "wrapped key": [bytes(content) for (content,) in wrapped],
        }

    def forget(self) -> None:
        store = open_erasing(self.url, origin=ORIGIN)
        eraser = Eraser(
            [Log(ORIGIN, 0, store)],
            keys=self.vault,
            index=None,
            register=self.register,
            clock=lambda: 1_800_000_000_000,
        )
        subject = base64.b64encode(CANARY).decode()
        order = ErasureOrder.parse(json.dumps({"schema": SCHEMA, "order": "O-1", "subject": subject}).encode())
        eraser.by_order(order)
        eraser.finish()
        store.close()

    def close(self) -> None:
        self.log.close()
        self.vault.close()


def everywhere(needles: Needles, *areas: str) -> dict[str, set[str]]:
    return {kind: set(areas) for kind in needles}


@pytest.fixture
def place(own_server: OwnServer, tmp_path: Path) -> Iterator[Place]:
    # What was logged is not kept by being recycled, and each switch makes a file of its own removable.
    server = own_server(
        "wal_recycle=off", "min_wal_size=32MB", "wal_level=minimal", "max_wal_senders=0", "autovacuum=off"
    )
    server.start()
    place = Place(server, tmp_path)
    yield place
    place.close()


def test_a_forgotten_person_is_in_no_row_and_after_a_rewrite_in_no_file_of_a_table(place: Place) -> None:
    theirs = place.log.append([entry(number, subject=CANARY, actor="official 7") for number in range(3)]).indices
    others = place.log.append([entry(number) for number in range(40)]).indices
    needles = place.needles()
    reader = LedgerReader.open(place.url, vault=place.vault)
    before = [reader.opening(index, "ADSP", note=reader.checkpoint()) for index in others]
    areas = place.areas(needles)
    assert areas == everywhere(needles, TABLES, WAL), "what the search cannot find, its silence says nothing about"

    place.forget()

    with psycopg.connect(place.url) as connection:
        row = connection.execute("SELECT count(*) FROM ledger_s0_2026h2.entry WHERE subject = %s", (CANARY,)).fetchone()
    assert row == (0,)
    # LIMIT of PostgreSQL, said in docs/ledger-postgresql.md: its log has it, and free space of pages may have it.
    assert all(WAL in areas for areas in place.areas(needles).values())

    place.run(*(f"VACUUM FULL {table}" for table in ("ledger_s0_2026h2.entry", "vault.node", "vault.entry_key")))
    assert place.areas(needles) == everywhere(needles, WAL)

    for _ in range(3):
        place.run("SELECT pg_switch_wal()", "CREATE TABLE IF NOT EXISTS public.some (x int)", "CHECKPOINT")
    assert place.areas(needles) == everywhere(needles)

    assert [reader.opening(index, "ADSP", note=reader.checkpoint()) for index in others] == before
    for index in theirs:
        with pytest.raises(Refused) as caught:
            reader.opening(index, "S")
        assert caught.value.code == "opening-erased"
    reader.close()
    assert fsck(place.url, vault=place.vault).holds


def test_a_restored_backup_of_both_schemas_opens_nothing_once_the_generation_has_changed(place: Place) -> None:
    theirs = place.log.append([entry(number, subject=CANARY, actor="official 7") for number in range(3)]).indices
    place.close()
    place.run("CREATE DATABASE backup TEMPLATE postgres")
    backup = place.server.url("backup")
    place.vault = Vault.open(place.url, place.generations)
    place.log = LedgerWriter.open(place.url, origin=ORIGIN, signer=signer(), vault=place.vault)
    with_old_key = Vault.open(backup, place.generations)
    reader = LedgerReader.open(backup, vault=with_old_key)
    assert reader.opening(theirs[0], "ADSP"), "the backup that opens nothing must once have opened"
    reader.close()
    with_old_key.close()

    place.forget()

    with pytest.raises(Refused) as caught:
        Vault.open(backup, place.generations)
    assert caught.value.code == "vault-other-key"
    reader = LedgerReader.open(backup, vault=place.vault)
    assert len(reader.indices_of(CANARY)) == 3, "a pseudonym stays in a backup for as long as that is kept"
    for letter in "DSP":
        with pytest.raises(Refused) as erased:
            reader.opening(theirs[0], letter)
        assert erased.value.code == "opening-erased"
    reader.close()
