"""Brings up the installation that is measured: a broker as for work (not for tests), and every process of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from integrator.directory.documents import Rejected, Stated, to_wire
from integrator.directory.manifests import load
from integrator.domain.contract import Contract
from integrator.domain.errors import Refused, Unavailable
from integrator.http.identity import Operator, token_secret
from integrator.kafka.connection import Connection
from integrator.kafka.development import DevelopmentBroker
from integrator.kafka.topics import TopicSpec, reconcile_topics
from integrator.operation.processes import commands, tokens_of
from integrator.operation.provisioning import ADMIN, lay_foundation
from integrator.operation.secrets import password
from integrator.operation.settings import Installation, Settings
from integrator.operation.supervisor import Supervisor
from integrator.sdk.api import Api

LANES: Final = 4
PARTITIONS: Final = 4
ONE: Final = "benchmark/one"
TWO: Final = "benchmark/two"
COPY_TOPIC: Final = "benchmark.copy"
_FILES: Final = Path(__file__).resolve().parent / "stream"
_READY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A running installation with the benchmark's streams and authorisations."""

    installation: Installation
    broker: DevelopmentBroker
    supervisor: Supervisor
    api: Api

    @property
    def admin(self) -> Connection:
        """The administrator's way in: it publishes in transactions, which no source may."""
        return self.installation.connection(ADMIN)

    def pids(self, role: str) -> list[int]:
        """Return the processes whose role begins with `role`. Raises `Unavailable` (`process`) when one is missing."""
        found = [child.pid for name, child in self.supervisor.children.items() if name.startswith(role)]
        if failure := self.supervisor.failure():
            raise failure
        if not found or None in found:
            raise Unavailable("process", f"A process {role} has ended: its log is in {self.installation.data}/logs.")
        return [pid for pid in found if pid is not None]

    def broker_pids(self) -> list[int]:
        """Return the broker's process. Raises `Unavailable` (`kafka-died`)."""
        if (pid := self.broker.pid) is None:
            raise Unavailable("kafka-died", f"The broker has ended: its log is {self.broker.log}.")
        return [pid]


def documents() -> list[Stated]:
    """Return what is applied: both streams are one contract under two names."""
    loaded = load([_FILES])
    if loaded.problems:
        raise Rejected(loaded.problems)
    found = list(loaded.documents)
    contract = next(one for one in found if isinstance(one.document, Contract))
    if isinstance(contract.document, Contract):
        found.append(replace(contract, document=contract.document.model_copy(update={"stream": TWO})))
    return found


@asynccontextmanager
async def open_stage(data: Path) -> AsyncGenerator[Stage]:
    """Run everything in `data`, an empty directory; all of it is stopped when the context is left."""
    settings = Settings(
        profile="development",
        installation="benchmark",
        host="benchmark.example",
        lanes=LANES,
        workers=1,
        ledger_unlisted=0,
    )
    installation = Installation.create(data, settings)
    secrets = installation.secrets
    broker = DevelopmentBroker(
        data,
        admin_password=secrets.create("kafka-admin", password).decode(),
        broker_password=secrets.create("kafka-broker", password).decode(),
    )
    async with AsyncExitStack() as stack:
        await broker.start()
        stack.push_async_callback(broker.stop)
        await lay_foundation(installation)
        tokens_of(installation).provide(secrets, [Operator()])
        supervisor = Supervisor(commands(installation), logs=data / "logs")
        stack.push_async_callback(supervisor.stop)
        await supervisor.start()
        address = await _address(installation, supervisor)
        api = Api(address, secrets.get(token_secret(Operator())).decode())
        stack.push_async_callback(api.close)
        stage = Stage(installation, broker, supervisor, api)
        await _apply(stage, documents())
        await reconcile_topics(stage.admin, [TopicSpec(COPY_TOPIC, PARTITIONS)])
        yield stage


async def _address(installation: Installation, supervisor: Supervisor) -> str:
    deadline = asyncio.get_running_loop().time() + _READY_SECONDS
    while True:
        try:
            return installation.api_url
        except Refused:
            if failure := supervisor.failure():
                raise failure from None
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.05)


async def _apply(stage: Stage, stated: Sequence[Stated]) -> None:
    deadline = asyncio.get_running_loop().time() + _READY_SECONDS
    while True:
        stage.pids("api")
        try:
            await stage.api.post("/v1/directory/apply", {"documents": to_wire(stated)})
        except Unavailable:  # it does not listen yet, or the directory is not there yet
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return
