"""Holds that a ledger in a file keeps the contract of a ledger."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from integrator_audit import LedgerWriter, Vault
from integrator_audit.keystore import KeyStore
from tests.unit.audit import ledger_contract
from tests.unit.audit.audit_samples import Place
from tests.unit.audit.ledger_contract import LedgerContract


class FailingConnection:
    """A connection whose next COMMIT raises, before or after it did its work."""

    def __init__(self, connection: sqlite3.Connection, *, persist: bool) -> None:
        self._connection = connection
        self._persist = persist

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *parameters: Any) -> Any:
        if statement == "COMMIT":
            if self._persist:
                self._connection.execute(statement)
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(statement, *parameters)


class FilePlace:
    """A directory with a log and its vault."""

    def __init__(self, directory: Path) -> None:
        self.files = Place(directory)
        self.location = self.files.ledger_file

    def vault(self) -> Vault:
        return self.files.vault()

    def failing(self, ledger: LedgerWriter, *, persist: bool) -> None:
        store: Any = ledger._store
        store.connection = FailingConnection(store.connection, persist=persist)

    def damage(self, statement: str) -> None:
        self.files.damage(statement)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill one log for all tests to copy."""
    directory = tmp_path_factory.mktemp("once")
    ledger_contract.fill(FilePlace(directory)).close()  # type: ignore[attr-defined]
    return directory


class TestSqliteLedger(LedgerContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> FilePlace:
        return FilePlace(tmp_path)

    @pytest.fixture
    def full(self, place: FilePlace, once: Path) -> KeyStore:
        shutil.copytree(once, place.files.directory, dirs_exist_ok=True)
        return place.vault()
