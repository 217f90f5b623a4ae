"""Gives each test of this tier a broker of its own with the line's topics, source records, and worker processes."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from integrator.domain import topics
from integrator.domain.errors import Refused
from integrator.kafka.access import lanes_access, plan_access
from integrator.kafka.access_apply import apply_access, read_access
from integrator.kafka.connection import Connection
from integrator.kafka.development import DevelopmentBroker
from integrator.kafka.topics import internal_topics, lane_written_topic, reconcile_topics, stream_topic
from tests.fault import judge, line
from tests.fault.worker import Plan

ROOT = Path(__file__).resolve().parents[2]
SESSION_MS = 1000
TRANSACTION_TIMEOUT_MS = 3000
"""Shorter than a broker's restart takes, so that the coordinator's time-out falls into it."""


class Mill:
    """A broker, the line's topics on it, a source that publishes, a directory, and workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = DevelopmentBroker(
            folder / "installation",
            admin_password=secrets.token_urlsafe(24),
            broker_password=secrets.token_urlsafe(24),
            fast=True,
        )
        self.directory = line.FileDirectory(folder / "directory")
        self.directory.set(1)
        self.workers: list[Worker] = []
        self.password = SecretStr(secrets.token_urlsafe(24))
        self.published = 0
        self._numbers = itertools.count()

    @property
    def lanes(self) -> Connection:
        """The connection of the lanes' own user, with the rights that an installation gives it."""
        return Connection(self.broker.bootstrap, topics_user, self.password)

    async def prepare(self) -> None:
        """Start the broker and make topics and the lanes' user."""
        await self.broker.start()
        admin = self.broker.connection()
        specs = internal_topics(line.LANES)
        for stream in line.STREAMS:
            source, name = stream.split("/")
            specs.append(stream_topic(source, name, partitions=line.PARTITIONS, state="none", retention_ms=86_400_000))
        specs += [lane_written_topic(name, line.LANES, retention_ms=86_400_000) for name in line.AGENCY_TOPICS]
        specs.append(lane_written_topic(topics.receipts_topic(line.SOURCE), line.LANES, retention_ms=86_400_000))
        await reconcile_topics(admin, specs)
        spec = lanes_access([line.SOURCE])
        plan = plan_access([spec], await read_access(admin))
        await apply_access(admin, plan, {spec.principal: self.password})
        async with asyncio.timeout(20):
            while not await self._login():  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def _login(self) -> bool:
        """Tell whether the lanes' user is known to the broker by now."""
        try:
            await self.lanes.look()
        except Refused:
            return False
        return True

    async def publish(self, stop: asyncio.Event, *, pause: float = 0.005) -> None:
        """Publish numbered records to every partition until `stop`; waits while the broker is away."""
        producer = AIOKafkaProducer(
            **self.broker.connection().aiokafka(), enable_idempotence=True, request_timeout_ms=60_000, linger_ms=2
        )
        await producer.start()
        try:
            while not stop.is_set():
                futures = []
                for _ in range(16):
                    number = next(self._numbers)
                    topic = judge.SOURCE_TOPICS[number % 2]
                    partition = number // 2 % line.PARTITIONS
                    value = str(number).encode()
                    futures.append(await producer.send(topic, value, key=b"k%d" % partition, partition=partition))
                await asyncio.gather(*futures)
                self.published += len(futures)
                await asyncio.sleep(pause)
        finally:
            await producer.stop()

    def worker(self, directory: line.FileDirectory | None = None) -> Worker:
        """Start one more worker process."""
        number = len(self.workers)
        path = self.folder / f"worker-{number}.json"
        own = (directory or self.directory).path
        Plan(
            self.broker.bootstrap,
            topics_user,
            self.password.get_secret_value(),
            str(own),
            session_ms=SESSION_MS,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        ).write(path)
        self.workers.append(Worker(path, self.folder / f"worker-{number}.log"))
        return self.workers[-1]

    async def until_moving(self, *, records: int = 200, seconds: float = 30.0) -> None:
        """Return when so many more source records have been decided."""
        admin = self.broker.connection()
        begun = await _decided(admin)
        async with asyncio.timeout(seconds):
            while await _decided(admin) < begun + records:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


topics_user = lanes_access([]).principal


async def _decided(connection: Connection) -> int:
    evidence = await judge.gather(connection)
    return sum(reached.position for state in evidence.states.values() for reached in state.positions.values())


class Worker:
    """One worker process."""

    def __init__(self, plan: Path, log: Path) -> None:
        self.log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fault.worker", str(plan)], cwd=ROOT, stdout=out, stderr=out
            )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        os.kill(self._process.pid, number)

    def said(self, event: str) -> int:
        """Return how many times the worker's log has the event."""
        return self.log.read_text().count(event)

    async def ended(self, *, seconds: float = 15.0) -> int:
        """Return the exit code when the process has ended."""
        return await asyncio.to_thread(self._process.wait, seconds)

    def end(self) -> None:
        """Kill the process if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
async def mill(tmp_path: Path) -> AsyncIterator[Mill]:
    """A mill that runs no worker yet. Afterwards nothing of it runs."""
    made = Mill(tmp_path)
    try:
        await made.prepare()
        yield made
    finally:
        for worker in made.workers:
            worker.end()
        made.broker.kill()
