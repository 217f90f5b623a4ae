"""Starts real installations and real commands for tests, waits for what they do, and ends only what it started."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from integrator.directory.documents import Stated, to_wire
from integrator.domain.errors import IntegratorError
from integrator.domain.topics import DISCLOSURES, agency_principal, source_principal
from integrator.http.identity import AgencyFor, Operator, token_secret
from integrator.kafka.accounts import Accounts, read_accounts
from integrator.kafka.connection import Connection
from integrator.kafka.development import DevelopmentBroker
from integrator.operation.processes import readers_of, tokens_of
from integrator.operation.secrets import password
from integrator.operation.settings import Installation
from integrator.sdk.agency import Agency
from integrator.sdk.api import Api
from integrator.sdk.owner import RegistryOwner

PROGRAMS = Path(sys.executable).parent
WAIT_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str
    seconds: float


def command(program: str, *arguments: str | Path, told: str = "", seconds: float = 60.0, **environment: str) -> Outcome:
    """Run one of the project's programs to its end, without a terminal. A program that hangs fails the test."""
    begun = time.monotonic()
    done = subprocess.run(
        [str(PROGRAMS / program), *map(str, arguments)],
        input=told,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env={**os.environ, **environment},
    )
    return Outcome(done.returncode, done.stdout, done.stderr, time.monotonic() - begun)


def processes_about(path: Path) -> list[str]:
    """Return the command lines of running processes that name `path`."""
    found: list[str] = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\x00", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(path) in line:
            found.append(line)
    return found


async def until(holds: Callable[[], Awaitable[bool]], what: str, *, seconds: float = WAIT_SECONDS) -> None:
    """Return when `holds` does; fail with `what` when it does not in time."""
    deadline = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} seconds for {what}"
        await asyncio.sleep(0.1)


class Broker:
    """The development broker of an installation, for as long as a test needs it."""

    def __init__(self, data: Path) -> None:
        secrets = Installation.open(data).secrets
        self._broker = DevelopmentBroker(
            data,
            admin_password=secrets.create("kafka-admin", password).decode(),
            broker_password=secrets.create("kafka-broker", password).decode(),
            fast=True,
        )

    def start(self) -> None:
        """Start it; when this returns, it serves."""
        asyncio.run(self._broker.start())

    def stop(self) -> None:
        """Stop it; when this returns, its process is gone."""
        asyncio.run(self._broker.stop())


class Running:
    """One installation that runs: a broker and `integrator run`, as an operator starts them."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.installation = Installation.open(data)
        self._broker = Broker(data)
        self._process: subprocess.Popen[str] | None = None
        self.said: list[str] = []

    def start(self) -> None:
        """Start everything; when this returns, HTTP answers."""
        self._broker.start()
        try:
            self.run()
        except BaseException:
            self._broker.stop()
            raise

    def run(self) -> None:
        """Start `integrator run` beside a broker that runs."""
        self._process = subprocess.Popen(
            [str(PROGRAMS / "integrator"), "run", "--data", str(self.data)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        try:
            asyncio.run(until(self._answers, "HTTP to answer"))
        except BaseException:
            self.halt()
            raise

    def halt(self) -> int:
        """Stop `integrator run` as Ctrl-C does and return its exit code; the broker goes on."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.terminate()
        try:
            return process.wait(60)
        finally:
            process.kill()

    def stop(self) -> None:
        """Stop everything that was started."""
        try:
            self.halt()
        finally:
            self._broker.stop()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            self.said.append(line.rstrip())

    async def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "\n".join(self.said)
        try:
            async with self.operator() as api:
                await api.get("/v1/status")
        except IntegratorError:
            return False
        return True

    # What people of the installation hold

    def operator(self) -> Api:
        """Return the operator's way in."""
        token = self.installation.secrets.get(token_secret(Operator())).decode()
        return Api(self.installation.api_url, token)

    def owner(self, source: str) -> RegistryOwner:
        """Return a source with its own credentials."""
        return RegistryOwner(self.source(source), source, api=self.installation.api_url)

    def source(self, source: str) -> Connection:
        """Return how a source reaches Kafka."""
        return self.installation.connection(source_principal(source))

    def recipient(self, agency: str, purpose: str) -> Connection:
        """Return how an agency, for one purpose, reaches Kafka."""
        return self.installation.connection(agency_principal(agency, purpose))

    def agency(self, agency: str, purpose: str) -> Agency:
        """Return an agency, for one purpose, with its own credentials and token."""
        who = AgencyFor(agency, purpose)
        tokens_of(self.installation).provide(self.installation.secrets, [who])
        token = self.installation.secrets.get(token_secret(who)).decode()
        return Agency.connect(self.recipient(agency, purpose), api=self.installation.api_url, token=token)

    @property
    def admin(self) -> Connection:
        """Return the administrator's connection."""
        return self.installation.connection("admin")

    # What is waited for

    async def apply(self, documents: Sequence[Stated]) -> int:
        """Apply documents as the operator and wait until every lane decides with them; return the position."""
        async with self.operator() as api:
            position = int((await api.post("/v1/directory/apply", {"documents": to_wire(documents)}))["position"])
        await self.acknowledged(position)
        return position

    async def acknowledged(self, position: int) -> None:
        """Wait until every lane decides with the directory at `position`."""

        async def reached() -> bool:
            directory = (await self.accounts()).directory
            return directory is not None and directory >= position

        await until(reached, "every lane to decide with the documents")

    async def accounts(self) -> Accounts:
        """Return what the lanes committed of themselves."""
        return await read_accounts(self.admin, lanes=self.installation.settings.lanes)

    async def decided(self, topic: str) -> None:
        """Wait until the lanes have decided about everything in `topic`."""
        ends = await self.ends(topic)

        async def read() -> bool:
            positions = (await self.accounts()).positions
            return all(positions.get((topic, partition), 0) >= end for partition, end in ends.items())

        await until(read, f"the lanes to decide about {topic}")

    async def recorded(self) -> None:
        """Wait until every disclosure that is committed now stands in the ledger."""
        ends = await self.ends(DISCLOSURES)
        readers = readers_of(self.installation)

        async def entered() -> bool:
            try:
                positions = readers.latest("s0").positions()
            except IntegratorError:
                return False
            return all(positions.get((DISCLOSURES, partition), 0) >= end for partition, end in ends.items())

        try:
            await until(entered, "the ledger to record")
        finally:
            readers.close()

    async def ends(self, topic: str) -> dict[int, int]:
        """Return the end of what is committed in each partition."""
        consumer = AIOKafkaConsumer(**self.admin.aiokafka(), group_id=None, isolation_level="read_committed")
        await consumer.start()
        try:
            first = TopicPartition(topic, 0)
            consumer.assign([first])
            await consumer.beginning_offsets([first])
            places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
            ends: dict[Any, int] = await consumer.end_offsets(places)
        finally:
            await consumer.stop()
        return {place.partition: end for place, end in ends.items()}
