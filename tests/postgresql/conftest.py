"""Gives the tests of this tier one real PostgreSQL for the session, each test an empty database, and its time a limit.

`INTEGRATOR_TEST_POSTGRESQL` names a server to use instead: a URL of a user who may create databases. Without it the
tests start one of their own, and end it. Tests that kill a server make theirs with `own_server`.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Iterator
from types import FrameType

import psycopg
import pytest
from psycopg import sql

from tests.postgresql.server import Server

TEST_SECONDS = 60

OwnServer = Callable[..., Server]


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]  # autouse
    def late(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"this test took more than {TEST_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(TEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """Return the URL of a server's administrator."""
    if given := os.environ.get("INTEGRATOR_TEST_POSTGRESQL"):
        yield given
        return
    server = Server()
    try:
        server.start()
        yield server.url()
    finally:
        server.remove()


@pytest.fixture(scope="session")
def _database(server_url: str) -> Iterator[str]:
    name = f"integrator_test_{secrets.token_hex(4)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    base, _, query = server_url.partition("?")
    yield f"{base.rsplit('/', 1)[0]}/{name}?{query}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database(_database: str) -> Iterator[str]:
    """Return the URL of a database without any log in it."""
    yield _database
    with psycopg.connect(_database, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        made = connection.execute(
            "SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN"
            " ('public', 'information_schema')"
        ).fetchall()
        for (schema,) in made:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


@pytest.fixture
def administrator(database: str) -> Iterator[psycopg.Connection]:
    """Return a connection beside the one under test."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def own_server() -> Iterator[OwnServer]:
    """Return a function that makes a server for this test alone, or a stand-by `of` one."""
    made: list[Server] = []

    def make(*settings: str, of: Server | None = None) -> Server:
        made.append(Server(*settings) if of is None else of.standby())
        return made[-1]

    yield make
    for server in made:
        server.remove()
