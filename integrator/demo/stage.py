"""Brings up one whole installation for the demonstration, and takes down what it brought up and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from integrator.directory.documents import Stated, to_wire
from integrator.domain.errors import Refused, Unavailable
from integrator.domain.identifiers import SubjectRef
from integrator.http.identity import AgencyFor, Authority, DevelopmentCitizens, Operator, Tokens, token_secret
from integrator.kafka.artefacts import Progress
from integrator.kafka.development import DevelopmentBroker, status_of
from integrator.operation.processes import citizens_of, commands, tokens_of
from integrator.operation.provisioning import lay_foundation
from integrator.operation.secrets import password
from integrator.operation.settings import FILE, Installation, Settings
from integrator.operation.supervisor import Supervisor
from integrator.sdk.api import Api

HOST = "demo.integrator.example"
LANES = 4
WORKERS = 2
_MARK = "demonstration"
_OURS = (FILE, "secrets", "kafka", "directory", "ledger", "logs", "run", _MARK)
"""Everything that a demonstration makes, its mark last."""
_READY_SECONDS = 60.0

Tell = Callable[[str], None]
"""Hears one sentence about what happens now."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A running installation and the operator's way in."""

    installation: Installation
    supervisor: Supervisor
    operator: Api
    tokens: Tokens
    citizens: DevelopmentCitizens

    async def apply(self, documents: Sequence[Stated]) -> int:
        """Apply documents as the operator; return the directory position after them. Raises `Refused`."""
        answer = await self.operator.post("/v1/directory/apply", {"documents": to_wire(documents)})
        return int(answer["position"])

    def agency_token(self, agency: str, purpose: str) -> str:
        """Return the token with which an agency, for one purpose, asks the integrator; made when it is new."""
        who = AgencyFor(agency, purpose)
        self.tokens.provide(self.installation.secrets, [who])
        return self.installation.secrets.get(token_secret(who)).decode()

    def admit(self, people: Sequence[SubjectRef]) -> None:
        """Let these fictional people ask what was disclosed about them."""
        self.citizens.register(people)

    def check(self) -> None:
        """Raise `Refused` or `Unavailable` (`process`) when a process must not go on or keeps ending."""
        if (failure := self.supervisor.failure()) is not None:
            raise failure


def prepare(data: Path) -> Installation:
    """Make the files of a new demonstration in `data`; one that was played there before makes way.

    Raises `Refused` (`demo-directory`) when the directory holds anything else, or a demonstration that still runs.
    """
    if data.is_dir() and any(data.iterdir()):
        if not (data / _MARK).exists():
            raise Refused("demo-directory", f"{data} holds other files: name an empty directory with --data.")
        if status_of(data).state == "running":
            raise Refused("demo-directory", f"A demonstration runs in {data}: stop it, or name another directory.")
        for name in _OURS:
            path = data / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    # It makes new keys, so it is another installation: who verified an earlier demonstration must not meet a log of the
    # same name under another key.
    name = f"demo-{token_hex(4)}"
    settings = Settings(profile="development", installation=name, host=HOST, lanes=LANES, workers=WORKERS, http_port=0)
    installation = Installation.create(data, settings)
    (data / _MARK).write_text(f"This directory was made by `integrator demo`; {FILE} describes it.\n", "utf-8")
    return installation


@asynccontextmanager
async def open_stage(installation: Installation, *, tell: Tell, progress: Progress | None) -> AsyncGenerator[Stage]:
    """Run a broker and every process of `installation`; all of it is stopped when the context is left."""
    secrets = installation.secrets
    broker = DevelopmentBroker(
        installation.data,
        admin_password=secrets.create("kafka-admin", password).decode(),
        broker_password=secrets.create("kafka-broker", password).decode(),
        fast=True,
    )
    async with contextlib.AsyncExitStack() as stack:
        address = await broker.start(progress=progress)
        stack.push_async_callback(broker.stop)
        tell(f"Kafka runs at {address.bootstrap}, with passwords and access rules.")
        await lay_foundation(installation)
        supervisor = Supervisor(commands(installation), logs=installation.data / "logs")
        stack.push_async_callback(supervisor.stop)
        await supervisor.start()
        tokens = tokens_of(installation)
        tokens.provide(secrets, [Operator(), Authority()])
        operator = Api(await _address(installation, supervisor), secrets.get(token_secret(Operator())).decode())
        stack.push_async_callback(operator.close)
        stage = Stage(installation, supervisor, operator, tokens, citizens_of(installation))
        await _until_ready(stage)
        tell(f"{len(supervisor.children)} processes run: {', '.join(supervisor.children)}.")
        yield stage


async def _address(installation: Installation, supervisor: Supervisor) -> str:
    """Wait until the HTTP process has chosen its port."""
    deadline = asyncio.get_running_loop().time() + _READY_SECONDS
    while True:
        try:
            return installation.api_url
        except Refused:
            if asyncio.get_running_loop().time() > deadline or supervisor.failure():
                raise
            await asyncio.sleep(0.05)


async def _until_ready(stage: Stage) -> None:
    deadline = asyncio.get_running_loop().time() + _READY_SECONDS
    while True:
        stage.check()
        try:
            await stage.operator.get("/v1/status")
        except Unavailable:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            return
