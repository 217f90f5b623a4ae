"""Holds what the SDK promises against the real broker: a source publishes, an agency receives, and neither more."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from integrator.domain import topics
from integrator.domain.errors import Invalid, Refused, Tampered, Unavailable
from integrator.domain.identifiers import SubjectRef
from integrator.encoding import decode, record_type, unframe
from integrator.kafka import access
from integrator.kafka.access import AccessSpec
from integrator.kafka.connection import Connection
from integrator.sdk.agency import Agency
from integrator.sdk.delivered import Delivered
from integrator.sdk.message import SourceMessage, message_id
from integrator.sdk.owner import Published, RegistryOwner
from tests.kafka.sdk_world import LANES, PARTITIONS, SCHEMA, TOKEN, Login, World, deliver, every_record, world

pytestmark = pytest.mark.kafka
__all__ = ["world"]


async def received(world: World, many: int, *, group: str = "default", acknowledge: bool = True) -> list[Delivered]:
    """Receive and acknowledge so many events as the agency."""
    found: list[Delivered] = []
    async with Agency.connect(world.agency, api=world.url, token=TOKEN) as agency:
        async for event in agency.subscribe(world.stream, purpose="aow", group=group):
            if acknowledge:
                async with event:
                    found.append(event)
            else:
                found.append(event)
            if len(found) == many:
                break
    return found


async def test_what_is_published_stands_in_the_partition_of_its_person_with_the_designs_envelope(
    world: World, admin: Connection
) -> None:
    messages = [world.message(number) for number in range(50)]
    heard: list[Published] = []
    async with RegistryOwner(world.source, world.name, api=world.url) as owner:
        tally = await owner.publish_many(messages, progress=heard.append)
    assert tally.streams == {world.stream: 50}
    assert [published.event for published in heard] == [message.id for message in messages]
    records = await every_record(admin, topics.source_topic(world.name, "grant"), PARTITIONS)
    by_id = {dict(record.headers)["ce_id"].decode(): record for record in records}
    assert len(by_id) == len(records) == 50
    for message, published in zip(messages, heard, strict=True):
        record = by_id[message.id]
        person = SubjectRef("test", message.value["bsn"])
        assert record.key == f"{person.canonical}|{message.value['grantId']}".encode()
        assert record.partition == topics.partition_of(person, PARTITIONS)
        assert (record.partition, record.offset) == (published.partition, published.position)
        assert decode(SCHEMA, unframe(record.value)[1]) == message.value


async def test_a_value_that_breaks_the_contract_stops_the_rest_and_what_came_before_is_durable(
    world: World, admin: Connection
) -> None:
    heard: list[Published] = []
    wrong = world.message(3)
    wrong.value["bsn"] = 5  # type: ignore[index]  # what a careless source does
    async with RegistryOwner(world.source, world.name, api=world.url) as owner:
        with pytest.raises(Invalid, match="at bsn"):
            await owner.publish_many(
                [world.message(1), world.message(2), wrong, world.message(4)], progress=heard.append
            )
        assert [published.event for published in heard] == [world.message(1).id, world.message(2).id]
        await owner.publish(world.message(5))
    assert len(await every_record(admin, topics.source_topic(world.name, "grant"), PARTITIONS)) == 3


async def test_another_sources_stream_is_refused(world: World) -> None:
    async with RegistryOwner(world.source, world.name, api=world.url) as owner:
        with pytest.raises(Refused, match="not a stream of the source"):
            await owner.publish(SourceMessage("other/grant", message_id("x"), "2026-01-01T00:00:00Z", {}))


async def test_receipts_are_those_from_the_moment_of_asking(world: World, login: Login) -> None:
    lanes = await login(AccessSpec("t-receipts", frozenset({access.Acl("topic", "source.", "write", "prefixed")})))
    producer = AIOKafkaProducer(**lanes.aiokafka(), acks="all")
    await producer.start()

    async def write(position: int) -> None:
        receipt = {
            "eventId": "e", "stream": world.stream, "partition": 0, "position": position, "forwarded": True,
            "quarantined": None, "at": datetime.now(UTC),
        }  # fmt: skip
        value = record_type("integrator/receipt").encode(receipt)
        await producer.send_and_wait(topics.receipts_topic(world.name), value, partition=0)

    try:
        await write(1)
        async with (
            RegistryOwner(world.source, world.name, api=world.url) as owner,
            owner.receipts() as receipts,
        ):
            await write(2)
            receipt = await asyncio.wait_for(anext(receipts), 20)
            assert (receipt.position, receipt.forwarded, receipt.quarantined) == (2, True, None)
    finally:
        await producer.stop()


async def test_a_source_that_the_broker_does_not_know_is_told_so(world: World) -> None:
    stranger = Connection(world.source.bootstrap, world.source.username, SecretStr("wrong"))
    with pytest.raises(Refused, match="password"):
        async with RegistryOwner(stranger, world.name, api=world.url):
            pytest.fail("nobody gets in with a wrong password")


async def test_an_agency_receives_its_events_in_order_and_each_once(world: World, admin: Connection) -> None:
    await deliver(admin, world, range(1, 6))
    first = await received(world, 3)
    assert [event.sequence for event in first] == [1, 2, 3]
    assert first[0].value == {"kind": "created", "bsn": "000000000001", "grantId": "g1"}
    assert first[0].authorisation == ("a1", 1)
    assert first[0].purpose == ("aow", 1)
    assert 0 <= first[0].latency < 60
    rest = await received(world, 2)
    assert [event.sequence for event in rest] == [4, 5]


async def test_an_event_that_is_not_acknowledged_comes_again(world: World, admin: Connection) -> None:
    await deliver(admin, world, range(1, 4))
    assert [event.sequence for event in await received(world, 2, acknowledge=False)] == [1, 2]
    assert [event.sequence for event in await received(world, 3)] == [1, 2, 3]


async def test_an_event_that_fails_is_not_acknowledged_and_the_error_comes_out(world: World, admin: Connection) -> None:
    await deliver(admin, world, range(1, 3))

    async def fail_at_once() -> None:
        async with Agency.connect(world.agency, api=world.url, token=TOKEN) as agency:
            async for event in agency.subscribe(world.stream, purpose="aow"):
                async with event:
                    _ = 1 // (event.sequence - 1)

    with pytest.raises(ZeroDivisionError):
        await fail_at_once()
    assert [event.sequence for event in await received(world, 2)] == [1, 2]


async def test_groups_do_not_disturb_each_other(world: World, admin: Connection) -> None:
    await deliver(admin, world, range(1, 4))
    assert len(await received(world, 3, group="one")) == 3
    assert len(await received(world, 3, group="two")) == 3


async def test_a_missing_sequence_is_an_error_or_a_flag(world: World, admin: Connection) -> None:
    await deliver(admin, world, [1, 2, 5])
    with pytest.raises(Tampered, match="2 event"):
        await received(world, 3, group="raising")
    async with Agency.connect(world.agency, api=world.url, token=TOKEN) as agency:
        missing: list[int] = []
        async for event in agency.subscribe(world.stream, purpose="aow", group="flagging", gaps="flag"):
            async with event:
                missing.append(event.missing)
            if len(missing) == 3:
                break
    assert missing == [0, 0, 2]


async def test_two_members_of_a_group_share_the_lanes_and_nothing_is_lost(world: World, admin: Connection) -> None:
    seen: list[tuple[int, int]] = []

    async def member() -> None:
        async with Agency.connect(world.agency, api=world.url, token=TOKEN) as agency:
            async for event in agency.subscribe(world.stream, purpose="aow"):
                async with event:
                    seen.append((event.lane, event.sequence))

    async def until(many: int) -> None:
        while len(set(seen)) < many:  # noqa: ASYNC110  two tasks add to it
            await asyncio.sleep(0.02)

    first = asyncio.create_task(member())
    await deliver(admin, world, range(1, 11), lane=0)
    await asyncio.wait_for(until(10), 30)
    second = asyncio.create_task(member())
    await deliver(admin, world, range(1, 11), lane=1)
    await deliver(admin, world, range(11, 21), lane=0)
    await asyncio.wait_for(until(30), 60)
    for task in (first, second):
        task.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert set(seen) == {(0, n) for n in range(1, 21)} | {(1, n) for n in range(1, 11)}


async def test_a_subscription_without_authorisation_is_refused_and_the_refusal_is_durable(
    world: World, admin: Connection
) -> None:
    async with Agency.connect(world.agency, api=world.url, token=TOKEN) as agency:
        with pytest.raises(Refused) as caught:
            await anext(agency.subscribe(world.stream, purpose="other"))
    assert caught.value.code == "not-authorised"
    records = [
        record_type("integrator/request").decode(record.value)["body"]
        for record in await every_record(admin, topics.REQUESTS, LANES + 1)
        if record.partition == LANES
    ]
    # The topic takes what auditors ask too, which names no agency.
    mine = [body for body in records if body.get("agency") == world.name]
    assert [(body["request"], body["reason"], body["purpose"]) for body in mine] == [
        ("subscribe", "not-authorised", "other")
    ]


async def test_the_broker_is_the_second_wall(world: World, login: Login) -> None:
    stranger = await login(access.agency_access(f"{world.name}x", "aow"))
    async with Agency.connect(stranger, api=world.url, token=TOKEN) as agency:
        with pytest.raises(Refused) as caught:
            await anext(agency.subscribe(world.stream, purpose="aow"))
    assert caught.value.code == "kafka-not-authorised"


async def test_an_integrator_that_is_away_is_said_to_be(world: World) -> None:
    async with Agency.connect(world.agency, api="http://127.0.0.1:9", token=TOKEN) as agency:
        with pytest.raises(Unavailable, match="does not answer"):
            await anext(agency.subscribe(world.stream, purpose="aow"))
