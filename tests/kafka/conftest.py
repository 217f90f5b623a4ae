"""Gives every test of this tier a real broker, a name of its own, and a limit on its time; without a broker it fails.

- `broker` serves the whole session: never stop or kill it. A test of faults makes its own with `own_broker`.
- `name` is unique to a test: use it for sources, agencies, purposes and prefixes, and tests cannot meet.
- `login` makes a user that may do what a spec says, and returns its connection.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest
from pydantic import SecretStr

from integrator.kafka.access import AccessSpec, plan_access
from integrator.kafka.access_apply import apply_access, read_access
from integrator.kafka.connection import Connection
from integrator.kafka.development import DevelopmentBroker

TEST_SECONDS = 120
_count = itertools.count(1)
_session = secrets.token_hex(2)

OwnBroker = Callable[[], DevelopmentBroker]
Login = Callable[[AccessSpec], Awaitable[Connection]]


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]  # autouse
    def late(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"this test took more than {TEST_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(TEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    # Fenced clients leave futures that nobody awaits. Collected now, their complaints are not raised in the middle of
    # another test.
    gc.collect()


def _broker(directory: Path) -> DevelopmentBroker:
    return DevelopmentBroker(
        directory,
        admin_password=secrets.token_urlsafe(24),
        broker_password=secrets.token_urlsafe(24),
        fast=True,
    )


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevelopmentBroker]:
    """The session's broker. When it cannot start (no Java, no network for the jars), every test here fails."""
    made = _broker(tmp_path_factory.mktemp("broker"))
    asyncio.run(made.start())
    yield made
    asyncio.run(made.stop())


@pytest.fixture
async def own_broker(tmp_path: Path) -> AsyncIterator[OwnBroker]:
    """Make brokers of this test's own, not yet started; they are killed when it ends."""
    made: list[DevelopmentBroker] = []

    def make() -> DevelopmentBroker:
        made.append(_broker(tmp_path / f"installation-{len(made)}"))
        return made[-1]

    yield make
    for each in made:
        each.kill()


@pytest.fixture
def admin(broker: DevelopmentBroker) -> Connection:
    """The administrator's connection to the session's broker."""
    return broker.connection()


@pytest.fixture
def name() -> str:
    """A name that no other test has, valid for a source, an agency or a purpose."""
    return f"t{next(_count)}-{_session}"


@pytest.fixture(scope="session")
def _passwords() -> dict[str, SecretStr]:  # pyright: ignore[reportUnusedFunction]  # a fixture
    return {}


@pytest.fixture
def login(admin: Connection, _passwords: dict[str, SecretStr]) -> Login:
    """Give the user of a spec exactly its rules and return its connection; its password stays for the session."""

    async def make(spec: AccessSpec) -> Connection:
        password = _passwords.setdefault(spec.principal, SecretStr(secrets.token_urlsafe(24)))
        plan = plan_access([spec], await read_access(admin))
        await apply_access(admin, plan, {spec.principal: password})
        return Connection(admin.bootstrap, spec.principal, password)

    return make
