"""Holds that an index in PostgreSQL keeps the contract of an index."""

from __future__ import annotations

import psycopg
import pytest

from integrator_audit import Refused, Tampered
from integrator_audit.completeness.index import Trie
from integrator_audit.completeness.indexes import open_index, open_index_erasing, read_index
from integrator_audit.postgresql.index import PostgresIndex
from tests.unit.audit.index_contract import IndexContract, build, labels, places

ORIGIN = "demo.integrator.example/ledger/demo/epochs"
TABLES = ("sealed", "cut", "trie", "page", "place", "altered")


class DatabaseIndex:
    """A database for one index."""

    def __init__(self, url: str) -> None:
        self._url = url

    def open(self) -> PostgresIndex:
        return PostgresIndex.open(self._url, origin=ORIGIN)

    def open_erasing(self) -> PostgresIndex:
        return PostgresIndex.open_erasing(self._url, origin=ORIGIN)

    def read_only(self) -> PostgresIndex:
        return PostgresIndex.read_only(self._url, origin=ORIGIN)

    def damage(self, statement: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("SET search_path TO index_epochs")
            connection.execute(statement.encode())

    def rows(self) -> list[str]:
        with psycopg.connect(self._url) as connection:
            connection.execute("SET search_path TO index_epochs")
            return [
                f"{table} {row}"
                for table in TABLES
                for row in sorted(map(repr, connection.execute(f"SELECT * FROM {table}".encode())))
            ]

    def content(self) -> bytes:
        with psycopg.connect(self._url) as connection:
            connection.execute("SET search_path TO index_epochs")
            return b"".join(
                value
                for table in TABLES
                for row in connection.execute(f"SELECT * FROM {table}".encode())
                for value in row
                if isinstance(value, bytes)
            )


class TestPostgresIndex(IndexContract):
    @pytest.fixture
    def kept(self, database: str) -> DatabaseIndex:
        return DatabaseIndex(database)


@pytest.mark.parametrize("value", ["text USING 'page'", "jsonb USING '{}'::jsonb", "bytea[] USING ARRAY[data]"])
def test_a_page_of_another_type_is_damage(database: str, value: str) -> None:
    kept = DatabaseIndex(database)
    index = kept.open()
    build(index, [label + places(at) for at, label in enumerate(labels(3))])
    kept.damage(f"ALTER TABLE page ALTER data TYPE {value}")
    for read in (lambda: list(index.pages(7, Trie.PERSONS)), lambda: index.page(7, Trie.PERSONS, 0, 0)):
        with pytest.raises(Tampered) as caught:
            read()
        assert caught.value.code == "index-damaged"
    index.close()


def test_an_index_in_which_a_view_took_the_place_of_a_table_is_not_read(database: str) -> None:
    kept = DatabaseIndex(database)
    kept.open().close()
    kept.damage("ALTER TABLE page RENAME TO before")
    kept.damage("CREATE VIEW page AS SELECT before.* FROM before, pg_sleep(1000)")
    for read in (kept.open, kept.open_erasing, kept.read_only):
        with pytest.raises(Tampered) as caught:
            read()
        assert caught.value.code == "index-damaged"


def test_a_sealer_that_was_fenced_writes_nothing(database: str) -> None:
    kept = DatabaseIndex(database)
    first = kept.open()
    first._session.run("SELECT pg_advisory_unlock_all()")
    second = kept.open()
    with pytest.raises(Refused) as caught:
        first.begin(7)
    assert caught.value.code == "index-other-writer"
    second.begin(7)
    for store in (first, second):
        store.close()


def test_places_of_indexes_are_urls_too(database: str) -> None:
    with pytest.raises(Refused) as caught:
        open_index(database)
    assert caught.value.code == "index-which"
    index = open_index(database, origin=ORIGIN)
    build(index, [label + places(at) for at, label in enumerate(labels(3))])
    url = f"{database}{'&' if '?' in database else '?'}schema=index_epochs"
    for opened in (read_index(url), open_index_erasing(url)):
        assert opened.newest() == 7
        opened.close()
    with pytest.raises(Refused):
        PostgresIndex.read_only(url).begin(7)
