"""Plays the demonstration once for the whole tier, keeps what it left behind, and starts the same installation again.

- `played` is what a newcomer gets: the command's document, its files and every topic, before anybody touched them.
- `installation` is that directory, running again from its own data. Tests may publish there; they publish about people
  of their own and count from where they began.
- Each test has a limit on its time, so that what hangs fails.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shutil import copytree, ignore_patterns
from types import FrameType
from typing import Any

import pytest

from integrator.operation.settings import Installation
from integrator_audit import LedgerReader, Vault
from tests.e2e.installation import Broker, Outcome, Running, command, processes_about
from tests.e2e.records import Record, decode, framed, own, read_topics, registered

TEST_SECONDS = 150
STREAMS = {"brp/person": "source.brp.person", "ciz/wlz-indication": "source.ciz.wlz-indication"}
INTERNAL = ("directory", "requests", "lanes", "steps", "disclosures", "quarantine")


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]  # autouse
    def late(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"this test took more than {TEST_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(TEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivered record, with what its envelope says and what its own schema makes of it."""

    record: Record
    authorisation: str
    value: dict[str, Any]

    @property
    def place(self) -> tuple[str, int, int, int]:
        """Topic, partition, lane and sequence: what names a delivery in the ledger."""
        record = self.record
        return record.topic, record.partition, int(record.header("ce_lane")), int(record.header("ce_sequence"))


class Played:
    """What one run of the demonstration left behind."""

    def __init__(self, data: Path, outcome: Outcome, aside: Path) -> None:
        self.data = data
        self.outcome = outcome
        self.files = aside
        """A copy of everything that it wrote, but for Kafka's own data."""
        self.left_running = processes_about(data)
        """Command lines of processes that outlived the command."""
        self.topics: dict[str, list[Record]] = {}

    def read_topics(self) -> None:
        """Read every topic, those of agencies with the agencies' own credentials."""
        installation = Installation.open(self.data)
        topics = [*STREAMS.values(), *(f"integrator.{name}" for name in INTERNAL)]
        topics += ["source.brp.receipts", "source.ciz.receipts"]

        async def read() -> None:
            self.topics |= await read_topics(installation.connection("admin"), topics)
            for topic in self.document["topics"].values():
                _, agency, purpose, *_ = topic.split(".")
                self.topics |= await read_topics(installation.connection(f"agency-{agency}--{purpose}"), [topic])

        asyncio.run(read())

    @cached_property
    def document(self) -> dict[str, Any]:
        """What the command printed."""
        return json.loads(self.outcome.out)

    @cached_property
    def registry(self) -> dict[int, tuple[str, dict[str, Any]]]:
        """Schema id to subject and schema, from the directory's own records."""
        return registered(self.topics["integrator.directory"])

    @cached_property
    def published(self) -> dict[tuple[str, int, int], dict[str, Any]]:
        """What the sources published, decoded, by topic, partition and position."""
        found: dict[tuple[str, int, int], dict[str, Any]] = {}
        for topic in STREAMS.values():
            for record in self.topics[topic]:
                schema_id, body = framed(record.value)
                found[topic, record.partition, record.offset] = decode(self.registry[schema_id][1], body)
        return found

    @cached_property
    def deliveries(self) -> list[Delivery]:
        """Everything that agencies received, decoded with the schemas that its records name."""
        found: list[Delivery] = []
        for topic in sorted(self.document["topics"].values()):
            for record in self.topics[topic]:
                schema_id, body = framed(record.value)
                subject, schema = self.registry[schema_id]
                assert subject == f"{topic}-value"
                authorisation, _, _ = record.header("ce_authorisation").partition("/")
                found.append(Delivery(record, authorisation, decode(schema, body)))
        return found

    @cached_property
    def disclosures(self) -> dict[tuple[str, int, int, int], dict[str, Any]]:
        """What the lanes wrote for the ledger, by topic, partition, lane and sequence of the delivery."""
        found: dict[tuple[str, int, int, int], dict[str, Any]] = {}
        for record in self.topics["integrator.disclosures"]:
            said = own("ledger/disclosure", record)
            place = said["topic"], said["partition"], said["lane"], said["sequence"]
            assert place not in found, f"a delivery was disclosed twice: {place}"
            found[place] = said
        return found

    def open_log(self, series: str) -> LedgerReader:
        """Open a log of the copy, persons' keys included."""
        (path,) = (self.files / "ledger").glob(f"{series}-*.sqlite")
        key = (self.files / "secrets" / "vault-generation-1").read_bytes()
        return LedgerReader.open(path, vault=Vault.read_only(self.files / "ledger" / "persons.sqlite", key))

    def by_event(self) -> dict[tuple[str, int, int], list[Delivery]]:
        """Return the deliveries of each source record, by its topic, partition and position."""
        found: dict[tuple[str, int, int], list[Delivery]] = defaultdict(list)
        for delivery in self.deliveries:
            said = self.disclosures[delivery.place]
            found[said["source"], said["sourcePartition"], said["sourcePosition"]].append(delivery)
        return found


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The demonstration, played once for the session."""
    data = tmp_path_factory.mktemp("demo") / "installation"
    outcome = command("integrator", "demo", "--once", "--json", "--data", data, seconds=120)
    assert outcome.code == 0, outcome.err
    aside = copytree(data, data.with_name("aside"), ignore=ignore_patterns("kafka"))
    made = Played(data, outcome, aside)
    broker = Broker(data)
    broker.start()
    try:
        made.read_topics()
    finally:
        broker.stop()
    return made


@pytest.fixture(scope="session")
def installation(played: Played) -> Iterator[Running]:
    """The demonstration's installation, running again on what it wrote."""
    running = Running(played.data)
    running.start()
    yield running
    running.stop()
