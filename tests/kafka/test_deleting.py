"""Holds that records before a position go from a real log, by whom that is allowed, and that their bytes go too."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from integrator.domain.errors import Refused
from integrator.kafka.access import AccessSpec, Acl
from integrator.kafka.connection import Connection, start, stop
from integrator.kafka.deleting import delete_before
from integrator.kafka.development import DevelopmentBroker
from integrator.kafka.topics import TopicSpec, reconcile_topics
from tests.kafka.conftest import Login

pytestmark = pytest.mark.kafka

CANARY = b"a canary in a disclosure"


async def write(admin: Connection, topic: str, *values: bytes) -> None:
    producer = await start(AIOKafkaProducer(**admin.aiokafka()), admin)
    try:
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)
    finally:
        await stop(producer)


async def first(admin: Connection, topic: str) -> int:
    place = TopicPartition(topic, 0)
    consumer = await start(AIOKafkaConsumer(**admin.aiokafka()), admin)
    try:
        consumer.assign([place])
        return (await consumer.beginning_offsets([place]))[place]
    finally:
        await stop(consumer)


def holding(broker: DevelopmentBroker, word: bytes) -> list[str]:
    """Return the files of the broker in which a word stands."""
    found: list[str] = []
    for path in sorted(broker._files.data.rglob("*")):
        try:
            if path.is_file() and word in path.read_bytes():
                found.append(path.name)
        except FileNotFoundError:
            continue  # the broker took it away just now
    return found


async def test_records_before_a_position_are_gone_and_their_bytes_with_the_segment(
    broker: DevelopmentBroker, admin: Connection, name: str
) -> None:
    topic = f"{name}.disclosures"
    spec = TopicSpec(topic, 1, {"cleanup.policy": "delete", "retention.ms": "-1", "segment.ms": "1"})
    await reconcile_topics(admin, [spec])
    await write(admin, topic, CANARY, CANARY, b"another")
    assert holding(broker, CANARY), "what the search cannot find, its silence says nothing about"
    assert await delete_before(admin, {(topic, 0): 2}) == {(topic, 0): 2}
    assert await first(admin, topic) == 2
    assert await delete_before(admin, {(topic, 0): 1}) == {(topic, 0): 2}, "what is deleted already is no error"
    # The segment that is written to stays: another one has to follow it.
    await asyncio.sleep(0.05)
    await write(admin, topic, b"a day later")
    deadline = time.monotonic() + 60
    while holding(broker, CANARY):
        assert time.monotonic() < deadline, "deleted records are still on the disk"
        await asyncio.sleep(0.5)
    assert await first(admin, topic) == 2


async def test_a_position_beyond_the_end_and_a_user_who_may_not_are_refused(
    admin: Connection, login: Login, name: str
) -> None:
    topic = f"{name}.disclosures"
    await reconcile_topics(admin, [TopicSpec(topic, 1, {"cleanup.policy": "delete"})])
    await write(admin, topic, b"one")
    reader = await login(AccessSpec(f"{name}-reader", frozenset({Acl("topic", topic, "read")})))
    for connection, position, code in (
        (admin, 2, "kafka-position-gone"),
        (admin, -1, "kafka-position"),
        (reader, 1, "kafka-not-authorised"),
    ):
        with pytest.raises(Refused) as caught:
            await delete_before(connection, {(topic, 0): position})
        assert caught.value.code == code
    assert await first(admin, topic) == 0
    assert await delete_before(admin, {}) == {}
