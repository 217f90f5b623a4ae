"""Holds that each principal can do its work on the broker, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from confluent_kafka import KafkaException
from pydantic import SecretStr

from integrator.domain import topics
from integrator.domain.errors import IntegratorError, Refused
from integrator.kafka import access
from integrator.kafka import connection as connections
from integrator.kafka.access_apply import apply_access, lock_users, read_access
from integrator.kafka.admin import administering
from integrator.kafka.connection import Connection
from integrator.kafka.development import DevelopmentBroker
from integrator.kafka.topics import TopicSpec, internal_topics, read_topics, reconcile_topics

pytestmark = pytest.mark.kafka

Login = Callable[[access.AccessSpec], Awaitable[Connection]]
LANES = 2


@dataclass(frozen=True)
class World:
    """One source and two agencies, one of them with two purposes; everything is named after the test."""

    source: str
    stream: str
    receipts: str
    mine: str
    my_other_purpose: str
    theirs: str
    agency: str
    purpose: str

    @property
    def prefix(self) -> str:
        return topics.agency_prefix(self.agency, self.purpose)


@pytest.fixture
async def world(admin: Connection, name: str) -> World:
    world = World(
        source=name,
        stream=topics.source_topic(name, "person"),
        receipts=topics.receipts_topic(name),
        mine=topics.agency_topic(name, "allowance", name, "person"),
        my_other_purpose=topics.agency_topic(name, "allowances", name, "person"),
        theirs=topics.agency_topic(f"{name}x", "allowance", name, "person"),
        agency=name,
        purpose="allowance",
    )
    made = (world.stream, world.receipts, world.mine, world.my_other_purpose, world.theirs)
    await reconcile_topics(admin, [*internal_topics(LANES), *(TopicSpec(topic, LANES) for topic in made)])
    return world


async def read(connection: Connection, topic: str, *, group: str) -> list[bytes | None]:
    """Read the first record of a topic as a member of a group, and commit."""
    consumer = AIOKafkaConsumer(topic, group_id=group, auto_offset_reset="earliest", **connection.aiokafka())
    try:
        async with asyncio.timeout(20):
            await consumer.start()
            record = await consumer.getone()
            await consumer.commit()
            return [record.value]
    finally:
        await connections.stop(consumer)


async def write(connection: Connection, topic: str, *, transactional_id: str | None = None) -> None:
    """Write one record to partition 0, idempotent, in a transaction when an id is given."""
    producer = AIOKafkaProducer(enable_idempotence=True, transactional_id=transactional_id, **connection.aiokafka())
    try:
        async with asyncio.timeout(20):
            await producer.start()
            if transactional_id is not None:
                await producer.begin_transaction()
            await producer.send_and_wait(topic, b"value", key=b"key", partition=0)
            if transactional_id is not None:
                await producer.commit_transaction()
    finally:
        await connections.stop(producer)


async def wait_for_an_end(connection: Connection, topic: str, *, isolation: str) -> None:
    """Wait until a record is below the end; a commit is answered before its marker stands in every partition."""
    consumer = AIOKafkaConsumer(isolation_level=isolation, **connection.aiokafka())
    partition = TopicPartition(topic, 0)
    try:
        async with asyncio.timeout(20):
            await consumer.start()
            consumer.assign([partition])
            while (await consumer.end_offsets([partition]))[partition] == 0:  # noqa: ASYNC110  the broker's condition
                await asyncio.sleep(0.01)
    finally:
        await connections.stop(consumer)


async def test_an_agency_reads_its_own_topic_in_its_own_group(world: World, admin: Connection, login: Login) -> None:
    agency = await login(access.agency_access(world.agency, world.purpose))
    await write(admin, world.mine)
    assert await read(agency, world.mine, group=f"{world.prefix}desk") == [b"value"]


async def test_an_agency_is_denied_every_other_topic(world: World, login: Login) -> None:
    agency = await login(access.agency_access(world.agency, world.purpose))
    others = (world.theirs, world.my_other_purpose, world.stream, world.receipts)
    internal = (topics.DIRECTORY, topics.REQUESTS, topics.LANES, topics.STEPS, topics.DISCLOSURES, topics.QUARANTINE)
    for topic in (*others, *internal):
        with pytest.raises(TopicAuthorizationFailedError):
            await read(agency, topic, group=f"{world.prefix}desk")
        assert await read_topics_quietly(agency, topic) == {}


async def read_topics_quietly(connection: Connection, topic: str) -> dict[str, object]:
    try:
        return dict(await read_topics(connection, [topic]))
    except Refused as error:
        return {} if error.code == "kafka-not-authorised" else {topic: error}


async def test_an_agency_may_write_nowhere_not_even_to_its_own_topic(world: World, login: Login) -> None:
    agency = await login(access.agency_access(world.agency, world.purpose))
    for topic in (world.mine, world.theirs, world.stream, topics.DIRECTORY, topics.REQUESTS, topics.LANES):
        producer = await connections.start(AIOKafkaProducer(enable_idempotence=False, **agency.aiokafka()), agency)
        try:
            async with asyncio.timeout(20):
                with pytest.raises(TopicAuthorizationFailedError):
                    await producer.send_and_wait(topic, b"value", partition=0)
        finally:
            await connections.stop(producer)


async def test_an_agency_is_denied_foreign_groups(world: World, login: Login) -> None:
    agency = await login(access.agency_access(world.agency, world.purpose))
    beside = (
        topics.agency_prefix(f"{world.agency}x", world.purpose) + "desk",
        topics.agency_prefix(world.agency, "allowances") + "desk",
        world.prefix.removesuffix("."),
        "desk",
        topics.LANES_GROUP,
        topics.LAG_GROUP,
    )
    for group in beside:
        with pytest.raises(GroupAuthorizationFailedError):
            await read(agency, world.mine, group=group)


async def test_an_agency_is_denied_every_transactional_id(world: World, login: Login) -> None:
    agency = await login(access.agency_access(world.agency, world.purpose))
    for identifier in (topics.lane_transactions(0), topics.DIRECTORY_TRANSACTIONS, f"{world.prefix}mine"):
        with pytest.raises(TransactionalIdAuthorizationFailed):
            await write(agency, world.mine, transactional_id=identifier)


async def test_an_agency_may_not_change_topics_rules_or_users(world: World, login: Login) -> None:
    agency = await login(access.agency_access(world.agency, world.purpose))
    for attempt in (
        reconcile_topics(agency, [TopicSpec(f"{world.prefix}more", 1)]),
        read_access(agency),
        lock_users(agency, [access.LANES]),
    ):
        with pytest.raises(Refused) as caught:
            await attempt
        assert caught.value.code == "kafka-not-authorised"
    async with administering(agency) as client:
        with pytest.raises(KafkaException, match=r"(?i)authoriz"):
            await asyncio.wrap_future(client.delete_topics([world.mine], request_timeout=10)[world.mine])


async def test_a_source_writes_its_streams_and_only_reads_its_receipts(
    world: World, admin: Connection, login: Login
) -> None:
    source = await login(access.source_access(world.source))
    await write(source, world.stream)
    for topic in (world.receipts, world.mine, topics.DIRECTORY, topics.LANES):
        with pytest.raises(TopicAuthorizationFailedError):
            await write(source, topic)
    await write(admin, world.receipts)
    group = topics.source_prefix(world.source) + "desk"
    assert await read(source, world.receipts, group=group) == [b"value"]
    with pytest.raises(TopicAuthorizationFailedError):
        await read(source, world.stream, group=group)


async def test_the_lanes_do_their_work_in_one_transaction_and_write_no_stream(
    world: World, admin: Connection, login: Login
) -> None:
    others = sorted(acl.name for acl in (await read_access(admin)).acls.get(access.LANES, ()) if "receipts" in acl.name)
    sources = {world.source, *(name.split(".")[1] for name in others)}
    lanes = await login(access.lanes_access(sources))
    await write(admin, world.stream)
    outputs = (
        world.mine,
        world.receipts,
        topics.LANES,
        topics.REQUESTS,
        topics.STEPS,
        topics.DISCLOSURES,
        topics.QUARANTINE,
    )
    identifier = f"{topics.LANE_TRANSACTIONS}{world.source}"
    for topic in outputs:
        await write(lanes, topic, transactional_id=identifier)
        for isolation in ("read_committed", "read_uncommitted"):
            await wait_for_an_end(lanes, topic, isolation=isolation)
    assert await read(lanes, world.stream, group=topics.LAG_GROUP) == [b"value"]
    for topic in (world.stream, topics.DIRECTORY):
        with pytest.raises(TopicAuthorizationFailedError):
            await write(lanes, topic)
    for foreign in (topics.DIRECTORY_TRANSACTIONS, "integrator.lanes.0"):
        with pytest.raises(TransactionalIdAuthorizationFailed):
            await write(lanes, world.mine, transactional_id=foreign)
    with pytest.raises(TopicAuthorizationFailedError):
        await read(lanes, world.mine, group=topics.LAG_GROUP)


async def test_the_directory_writer_writes_its_topic_under_its_own_transactional_id(world: World, login: Login) -> None:
    writer = await login(access.directory_access())
    for topic in (topics.DIRECTORY, topics.REQUESTS):
        await write(writer, topic, transactional_id=topics.DIRECTORY_TRANSACTIONS)
        assert await read(writer, topic, group=topics.DIRECTORY_GROUP)
    for topic in (topics.LANES, topics.DISCLOSURES, world.mine):
        with pytest.raises(TopicAuthorizationFailedError):
            await write(writer, topic)
    with pytest.raises(TransactionalIdAuthorizationFailed):
        await write(writer, topics.DIRECTORY, transactional_id=topics.lane_transactions(0))


@pytest.mark.parametrize(
    ("spec", "readable"),
    [
        (access.feeder_access(), topics.DIRECTORY),
        (access.ledger_access(), topics.DISCLOSURES),
        (access.operator_access(), topics.QUARANTINE),
    ],
    ids=lambda value: value.principal if isinstance(value, access.AccessSpec) else str(value),
)
async def test_a_reader_of_the_integrator_reads_one_topic_and_writes_none(
    world: World, admin: Connection, login: Login, spec: access.AccessSpec, readable: str
) -> None:
    reader = await login(spec)
    await write(admin, readable)
    consumer = await connections.start(AIOKafkaConsumer(auto_offset_reset="earliest", **reader.aiokafka()), reader)
    try:
        consumer.assign([TopicPartition(readable, 0)])
        async with asyncio.timeout(20):
            assert await consumer.getone()
    finally:
        await connections.stop(consumer)
    for topic in {topics.DIRECTORY, topics.DISCLOSURES, topics.QUARANTINE, world.mine, world.stream} - {readable}:
        with pytest.raises((TopicAuthorizationFailedError, GroupAuthorizationFailedError)):
            await read(reader, topic, group=f"{world.prefix}desk")
    for topic in (readable, topics.DIRECTORY, world.mine):
        # Who may write nowhere is not even given the number of a producer.
        with pytest.raises(ClusterAuthorizationFailedError):
            await write(reader, topic)


async def test_a_second_plan_is_empty_and_a_rule_beside_the_spec_is_withdrawn(
    world: World, admin: Connection, login: Login
) -> None:
    spec = access.agency_access(world.agency, world.purpose)
    await login(spec)
    assert not access.plan_access([spec], await read_access(admin))
    too_much = access.AccessSpec(spec.principal, spec.acls | {access.Acl("topic", world.theirs, "read")})
    agency = await login(too_much)
    await write(admin, world.theirs)
    assert await read(agency, world.theirs, group=f"{world.prefix}desk")
    agency = await login(spec)
    assert (await read_access(admin)).acls[spec.principal] == spec.acls
    with pytest.raises(TopicAuthorizationFailedError):
        await read(agency, world.theirs, group=f"{world.prefix}desk")


async def test_a_locked_user_cannot_log_in_and_every_other_user_still_can_after_a_restart(
    own_broker: Callable[[], DevelopmentBroker],
) -> None:
    """Deleting users can cost this Kafka all of them at its next start; locking must not."""
    broker = own_broker()
    await broker.start()
    admin = broker.connection()
    names = [f"x{number}" for number in range(8)]
    specs = [access.agency_access(each, "allowance") for each in names]
    passwords = {spec.principal: SecretStr(f"a long password {spec.principal}") for spec in specs}
    await apply_access(admin, access.plan_access(specs, await read_access(admin)), passwords)
    gone, kept = specs[:4], specs[4:]
    await lock_users(admin, [spec.principal for spec in gone])
    for restarted in (False, True):
        if restarted:
            await broker.stop()
            await broker.start()
        for spec in kept:
            await Connection(admin.bootstrap, spec.principal, passwords[spec.principal]).look()
        for spec in gone:
            with pytest.raises(IntegratorError, match="does not accept this user and password"):
                await Connection(admin.bootstrap, spec.principal, passwords[spec.principal]).look()
    assert not {spec.principal for spec in gone} & set((await read_access(admin)).acls)
