from __future__ import annotations

from collections.abc import Iterator

import pytest

from integrator_audit.postgresql.reading import PostgresReading
from integrator_audit.postgresql.store import PostgresStore
from tests.unit.audit.store_contract import IDENTITY, StoreContract


class Stored:
    """A database for one log."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: list[PostgresReading] = []

    def store(self) -> PostgresStore:
        store = PostgresStore.open(self._url, origin=IDENTITY.origin)
        self._opened.append(store)
        return store

    def reading(self) -> PostgresReading:
        reading = PostgresReading.read_only(self._url, origin=IDENTITY.origin)
        self._opened.append(reading)
        return reading

    def close(self) -> None:
        for one in self._opened:
            one.close()


class TestPostgresStore(StoreContract):
    @pytest.fixture
    def stored(self, database: str) -> Iterator[Stored]:
        stored = Stored(database)
        yield stored
        stored.close()
