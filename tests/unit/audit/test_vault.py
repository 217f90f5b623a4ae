"""Holds that a vault in a file keeps the contract of a key store."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from integrator_audit import Refused, Unavailable, Vault
from tests.unit.audit.audit_samples import GENERATION_KEY, PEOPLE
from tests.unit.audit.keystore_contract import KeyStoreContract, generations, in_class

__all__ = ["generations"]


@dataclass(frozen=True)
class FileKept:
    place: Path

    def change(self, statement: str) -> None:
        with sqlite3.connect(self.place) as connection:
            connection.execute(statement)


class TestSqliteVault(KeyStoreContract):
    @pytest.fixture
    def kept(self, tmp_path: Path) -> FileKept:
        return FileKept(tmp_path / "v")


def test_reading_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        Vault.read_only(tmp_path / "v", GENERATION_KEY)
    assert list(tmp_path.iterdir()) == []


def test_a_vault_of_another_format_and_one_that_lost_its_generation_are_refused(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path / "v", GENERATION_KEY)
    vault.people(in_class(PEOPLE))
    vault.close()
    kept = FileKept(tmp_path / "v")
    for statement in ("DELETE FROM generation", "PRAGMA user_version=1"):
        kept.change(statement)
        with pytest.raises(Refused) as caught:
            Vault.open(tmp_path / "v", GENERATION_KEY)
        assert caught.value.code == "vault-format"
