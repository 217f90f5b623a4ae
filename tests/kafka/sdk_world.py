"""A source, an agency and the integrator's interface on a real port, for the tests of what users import and type."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from integrator.domain import topics
from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract
from integrator.domain.directory import Knowledge, RegisteredSchema, StandingAuthorisation, StandingInscription
from integrator.domain.identifiers import Position, Pseudonym
from integrator.domain.purpose import Source
from integrator.encoding import encode, frame, parse_schema
from integrator.http.app import Ports, create_app
from integrator.http.identity import AgencyFor, Principal
from integrator.http.server import serve
from integrator.kafka import access
from integrator.kafka.access import AccessSpec
from integrator.kafka.connection import Connection
from integrator.kafka.refusals import KafkaRefusals
from integrator.kafka.topics import TopicSpec, internal_topics, reconcile_topics
from integrator.sdk.message import SourceMessage, message_id

Login = Callable[[AccessSpec], Awaitable[Connection]]
LANES = 2
PARTITIONS = 4
TOKEN = "the agency's"
TEXTS = {"nl": "x", "fr": "x", "en": "x"}
SCHEMA_TEXT = json.dumps(
    {
        "type": "record", "name": "Grant", "namespace": "nl.demo",
        "fields": [{"name": name, "type": "string"} for name in ("kind", "bsn", "grantId")],
    }
)  # fmt: skip
SCHEMA = parse_schema(SCHEMA_TEXT)


@dataclass(frozen=True)
class View:
    position: Position
    knowledge: Knowledge

    def inscriptions(self, people: Sequence[Pseudonym]) -> list[tuple[StandingInscription, ...]]:
        return [() for _ in people]


@dataclass
class World:
    """One source with one stream, one agency with one purpose, and the integrator's interface on a real port."""

    name: str
    knowledge: Knowledge
    url: str = ""
    source: Connection = field(init=False)
    agency: Connection = field(init=False)

    @property
    def stream(self) -> str:
        return f"{self.name}/grant"

    @property
    def delivered(self) -> str:
        return topics.agency_topic(self.name, "aow", self.name, "grant")

    @contextmanager
    def read(self) -> Generator[View]:
        yield View(Position(9), self.knowledge)

    async def wait_for(self, position: Position) -> None:
        assert position <= 9

    def identify(self, token: str) -> Principal | None:
        return AgencyFor(self.name, "aow") if token == TOKEN else None

    def message(self, number: int, **members: str) -> SourceMessage:
        value = {"kind": "created", "bsn": f"{number % 7:012}", "grantId": f"g{number}"} | members
        time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return SourceMessage(self.stream, message_id(self.name, str(number)), time, value)


def known(name: str) -> Knowledge:
    stream = f"{name}/grant"
    contract = Contract.model_validate(
        {
            "stream": stream, "version": 1, "title": TEXTS, "description": TEXTS, "owner": "owner",
            "eventType": "nl.demo.grant.changed", "service": "nl.demo.grant.v1", "timeZone": "Europe/Amsterdam",
            "state": "none", "retention": "P7D", "compatibility": "FULL_TRANSITIVE", "partitions": PARTITIONS,
            "modelled": True, "serviceLevel": {"availability": "x", "latency": "x", "support": "x"},
            "roles": {"subject": {"path": "bsn", "schemes": ["bsn", "test"]}, "factId": {"path": "grantId"},
                      "kind": "kind"},
            "fields": {"bsn": {"category": "identifier", "description": TEXTS}}, "schemas": [SCHEMA_TEXT],
        }
    )  # fmt: skip
    authorisation = Authorisation.model_validate(
        {
            "id": "a1", "version": 1, "agency": name, "stream": stream, "purpose": "aow", "purposeVersion": 1,
            "route": "decree",
            "citations": [{"country": "NL", "act": "Demo", "article": "1", "inForceFrom": "2020-01-01"}],
            "modes": ["mutation"], "fields": ["bsn"], "kinds": ["created"], "population": [{"population": "all"}],
            "protectedAddress": "deliver", "payload": "event", "proactivity": "inform",
            "period": {"start": "2020-01-01"}, "retention": "P1Y", "dpia": "demo",
        }
    )  # fmt: skip
    urn = "urn:nld:oin:1:systeem:demo"
    delivered = topics.agency_topic(name, "aow", name, "grant")
    return Knowledge(
        version=7,
        sources={name: Source.model_validate({"name": name, "title": TEXTS, "urn": urn, "modelled": True})},
        contracts={stream: contract},
        standing={stream: (StandingAuthorisation(authorisation, Position(5), active=True),)},
        schemas={
            1: RegisteredSchema(1, f"source.{name}.grant-value", 1, SCHEMA_TEXT),
            2: RegisteredSchema(2, f"{delivered}-value", 1, SCHEMA_TEXT),
        },
    )


@pytest.fixture
async def world(admin: Connection, name: str, login: Login) -> AsyncIterator[World]:
    world = World(name, known(name))
    await reconcile_topics(
        admin,
        [
            *internal_topics(LANES),
            TopicSpec(topics.source_topic(name, "grant"), PARTITIONS),
            TopicSpec(topics.receipts_topic(name), LANES),
            TopicSpec(world.delivered, LANES),
        ],
    )
    world.source = await login(access.source_access(name))
    world.agency = await login(access.agency_access(name, "aow"))
    nothing: Any = None
    stop = asyncio.Event()
    async with KafkaRefusals(await login(access.api_access())) as refusals:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            world.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            ports = Ports(
                directories=world, writer=nothing, identities=world, refusals=refusals, watch=nothing,
                profile="development", installation="demo",
            )  # fmt: skip
            serving = asyncio.create_task(serve(create_app(ports), listener, stop))
            yield world
            stop.set()
            await serving


async def every_record(connection: Connection, topic: str, partitions: int) -> list[Any]:
    """Read a topic from its beginning to its present end, with positions assigned by hand."""
    consumer = AIOKafkaConsumer(
        **connection.aiokafka(),
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        mine = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(mine)
        ends = await consumer.end_offsets(mine)
        found: list[Any] = []
        while any([(await consumer.position(partition)) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
        return found
    finally:
        await consumer.stop()


async def deliver(
    admin: Connection, world: World, sequences: Sequence[int], *, lane: int = 0, kind: str = "created"
) -> None:
    """Write deliveries as a lane does, one for each sequence."""
    producer = AIOKafkaProducer(**admin.aiokafka(), acks="all")
    await producer.start()
    try:
        for sequence in sequences:
            value = {"kind": kind, "bsn": "000000000001", "grantId": f"g{sequence}"}
            headers = {
                "ce_specversion": "1.0", "ce_id": message_id(str(sequence)), "ce_source": "urn:nld:oin:1:systeem:demo",
                "ce_type": "nl.demo.grant.changed", "ce_time": datetime.now(UTC).isoformat(),
                "ce_sequence": f"{sequence:020}", "ce_lane": str(lane), "ce_kind": kind, "ce_authorisation": "a1/1",
                "ce_purpose": "aow/1",
            }  # fmt: skip
            await producer.send_and_wait(
                world.delivered, frame(2, encode(SCHEMA, value)), b"pairwise", partition=lane % LANES,
                headers=[(name, text.encode()) for name, text in headers.items()],
            )  # fmt: skip
    finally:
        await producer.stop()
