"""Holds that a vault in PostgreSQL keeps the contract of a key store."""

from __future__ import annotations

import psycopg
import pytest

from integrator_audit import Refused, Unavailable, Vault
from tests.unit.audit.audit_samples import GENERATION_KEY, PEOPLE
from tests.unit.audit.keystore_contract import CLASS, KeyStoreContract, generations, in_class, is_key

__all__ = ["generations"]


class DatabaseKept:
    """A database for one vault."""

    def __init__(self, url: str) -> None:
        self.place = url

    def change(self, statement: str) -> None:
        with psycopg.connect(self.place, autocommit=True) as connection:
            connection.execute("SET search_path TO vault")
            connection.execute(statement.encode())


class TestPostgresVault(KeyStoreContract):
    @pytest.fixture
    def kept(self, database: str) -> DatabaseKept:
        return DatabaseKept(database)


def test_a_vault_connects_again_after_its_connection_was_lost(database: str, administrator: psycopg.Connection) -> None:
    vault = Vault.open(database, GENERATION_KEY)
    key = vault.people(in_class(PEOPLE[:1]))[PEOPLE[0], CLASS]
    administrator.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with pytest.raises(Unavailable) as caught:
        vault.person(PEOPLE[0], CLASS)
    assert caught.value.code.startswith("vault-")
    assert is_key(vault.person(PEOPLE[0], CLASS), key.cipher)
    assert len(vault.people(in_class(PEOPLE))) == len(PEOPLE)


def test_a_schema_in_the_url_names_the_vault_and_a_logs_schema_is_none(database: str) -> None:
    mark = "&" if "?" in database else "?"
    Vault.open(f"{database}{mark}schema=persons", GENERATION_KEY).people(in_class(PEOPLE[:1]))
    assert Vault.open(database, GENERATION_KEY).person(PEOPLE[0], CLASS) is None
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA ledger_other")
        connection.execute("CREATE TABLE ledger_other.lease (x int)")
    with pytest.raises(Refused) as caught:
        Vault.open(f"{database}{mark}schema=ledger_other", GENERATION_KEY)
    assert caught.value.code == "vault-format"
