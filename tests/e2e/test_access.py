"""What the broker denies the real users of an installation, whose rules came from its authorisations."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from integrator.kafka.connection import Connection
from tests.e2e.installation import Running

pytestmark = pytest.mark.e2e

MINE = "agency.svb.nabestaanden.brp.person"


@pytest.fixture
def mine(installation: Running) -> Connection:
    """One agency, for one of its two purposes."""
    return installation.recipient("svb", "nabestaanden")


async def first_record(connection: Connection, topic: str) -> bytes | None:
    consumer = AIOKafkaConsumer(topic, **connection.aiokafka(), group_id=None, auto_offset_reset="earliest")
    try:
        async with asyncio.timeout(20):
            await consumer.start()
            return (await consumer.getone()).value
    finally:
        await consumer.stop()


async def committed(connection: Connection, group: str) -> int | None:
    consumer = AIOKafkaConsumer(**connection.aiokafka(), group_id=group)
    try:
        async with asyncio.timeout(20):
            await consumer.start()
            consumer.assign([TopicPartition(MINE, 0)])
            return await consumer.committed(TopicPartition(MINE, 0))
    finally:
        await consumer.stop()


async def write(connection: Connection, topic: str) -> None:
    producer = AIOKafkaProducer(**connection.aiokafka(), enable_idempotence=False)
    try:
        async with asyncio.timeout(20):
            await producer.start()
            await producer.send_and_wait(topic, b"forged", partition=0)
    finally:
        await producer.stop()


async def begin(connection: Connection, transactional_id: str) -> None:
    producer = AIOKafkaProducer(**connection.aiokafka(), transactional_id=transactional_id)
    try:
        async with asyncio.timeout(20):
            await producer.start()
    finally:
        await producer.stop()


async def test_an_agency_reads_its_own_topic_in_its_own_groups(mine: Connection) -> None:
    assert await first_record(mine, MINE)
    assert await committed(mine, "agency.svb.nabestaanden.nobody") is None


@pytest.mark.parametrize(
    "topic",
    [
        "agency.svb.dubbele-kinderbijslag.ciz.wlz-indication",
        "agency.duo.studieschuld.brp.person",
        "source.brp.person",
        "source.brp.receipts",
        "integrator.directory",
        "integrator.disclosures",
        "integrator.quarantine",
    ],
)
async def test_an_agency_reads_no_topic_of_another_purpose_agency_source_or_of_the_integrator(
    mine: Connection, topic: str
) -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        await first_record(mine, topic)


@pytest.mark.parametrize(
    "group", ["agency.svb.dubbele-kinderbijslag.default", "agency.duo.studieschuld.default", "integrator.lanes"]
)
async def test_an_agency_is_no_member_of_foreign_groups(mine: Connection, group: str) -> None:
    with pytest.raises(GroupAuthorizationFailedError):
        await committed(mine, group)


@pytest.mark.parametrize("topic", [MINE, "source.brp.person", "integrator.lanes"])
async def test_an_agency_writes_nowhere_not_even_to_its_own_topic(mine: Connection, topic: str) -> None:
    with pytest.raises(TopicAuthorizationFailedError):
        await write(mine, topic)


@pytest.mark.parametrize("name", ["integrator.lane.0", "integrator.directory", "agency.svb.nabestaanden.mine"])
async def test_an_agency_opens_no_transaction(mine: Connection, name: str) -> None:
    with pytest.raises(TransactionalIdAuthorizationFailed):
        await begin(mine, name)
