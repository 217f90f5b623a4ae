"""Lanes on the real broker: what its transactions, positions and groups do, and a worker from end to end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import TopicPartition
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from integrator.domain import topics
from integrator.domain.errors import Invalid
from integrator.kafka.consumer import PartitionReader, read_state
from integrator.kafka.ownership import GroupOwnership
from integrator.kafka.producer import TransactionalProducer
from integrator.kafka.worker import KafkaLog, WorkerTiming, make_worker
from integrator.routing.ports import Fenced, OutRecord, StreamFailure
from integrator.routing.setting import LaneLimits
from tests.fault import judge, line
from tests.fault.conftest import Mill

pytestmark = pytest.mark.kafka

BREAD, BEER = line.AGENCY_TOPICS
GRAIN = judge.SOURCE_TOPICS[0]
DIR = OutRecord(b"dir", b"1")


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mill]:
    """A broker of this file's own, because the lanes' topics have fixed names. Each test takes a lane of its own."""
    made = Mill(tmp_path_factory.mktemp("mill"))
    asyncio.run(made.prepare())
    yield made
    made.broker.kill()


@asynccontextmanager
async def producing(mill: Mill, lane: int) -> AsyncGenerator[TransactionalProducer]:
    """Start the lane's producer as the lanes' own user."""
    producer = TransactionalProducer(mill.lanes, lane)
    try:
        await producer.start()
        yield producer
    finally:
        await producer.close()


def now() -> int:
    """Return the time as a lane's clock gives it."""
    return time.time_ns() // 1_000_000


async def values(mill: Mill, topic: str, partition: int) -> list[bytes]:
    """Return what committed readers see once no transaction is open: a commit is decided before its markers stand."""
    async with producing(mill, partition):
        (records,) = (await judge.read_all(mill.broker.connection(), [(topic, partition)])).values()
    return [record.value for record in records]


async def test_an_outbox_larger_than_a_batch_is_written_whole_and_in_order(mill: Mill) -> None:
    big = [b"%06d" % number + b"x" * 3000 for number in range(1000)]
    async with producing(mill, 0) as producer:
        await producer.commit(
            {(BREAD, 0): [OutRecord(b"k", value) for value in big], (topics.LANES, 0): [DIR]}, at=now()
        )
    assert await values(mill, BREAD, 0) == big


async def test_a_refused_batch_leaves_nothing_of_its_transaction(mill: Mill) -> None:
    huge = OutRecord(b"k", b"x" * 2_000_000)
    async with producing(mill, 1) as producer:
        with pytest.raises(Invalid) as error:
            await producer.commit({(BREAD, 1): [OutRecord(b"k", b"lost")], (BEER, 1): [huge]}, at=now())
        assert error.value.code == "kafka-too-large"
    async with producing(mill, 1) as producer:
        await producer.commit({(BREAD, 1): [OutRecord(b"k", b"kept")]}, at=now())
    assert await values(mill, BREAD, 1) == [b"kept"]


async def test_a_second_producer_of_a_lane_fences_the_first(mill: Mill) -> None:
    async with producing(mill, 1) as first:
        await first.commit({(BEER, 1): [OutRecord(b"k", b"first")]}, at=now())
        async with producing(mill, 1) as second:
            await second.commit({(BEER, 1): [OutRecord(b"k", b"second")]}, at=now())
            with pytest.raises(Fenced):
                await first.commit({(BEER, 1): [OutRecord(b"k", b"zombie")]}, at=now())
    assert await values(mill, BEER, 1) == [b"first", b"second"]


async def test_what_a_transaction_left_open_without_its_marker_is_closed_and_never_seen(mill: Mill) -> None:
    # KAFKA-20734 leaves records open of which the coordinator knows nothing any more. The same is had by writing to a
    # partition that was not added to the transaction, which brokers refuse unless told not to look.
    await _verification(mill, "false")
    try:
        for topic in (topics.DISCLOSURES, BREAD):
            await _leave_open(mill, topic, lane=2)
    finally:
        await _verification(mill, "true")
    async with producing(mill, 2) as producer:
        for value in (b"one", b"two"):
            await producer.commit(
                {(topic, 2): [OutRecord(b"k", value)] for topic in (topics.DISCLOSURES, BREAD)}, at=now()
            )
    assert await values(mill, topics.DISCLOSURES, 2) == [b"one", b"two"]
    assert await values(mill, BREAD, 2) == [b"one", b"two"]


async def test_a_commit_that_missed_one_marker_is_completed_and_not_aborted(mill: Mill) -> None:
    # The state shows a transaction of 1,000 ms ago; the agency's partition holds its delivery, and no marker.
    visible = now() - 1000
    await _verification(mill, "false")
    try:
        await _leave_open(mill, BEER, lane=2, at=visible)
        await _leave_open(mill, topics.STEPS, lane=2, at=visible + 1)
    finally:
        await _verification(mill, "true")
    async with producing(mill, 2) as producer:
        await producer.recover(visible, [(BEER, 2)])
        # It is completed at once, not by what comes next: an agency may wait long for its next event.
        async with asyncio.timeout(20):
            while not (await judge.read_all(mill.broker.connection(), [(BEER, 2)]))[BEER, 2]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await producer.commit({(topic, 2): [OutRecord(b"k", b"one")] for topic in (topics.STEPS, BEER)}, at=now())
    assert await values(mill, BEER, 2) == [b"leftover", b"one"]
    assert await values(mill, topics.STEPS, 2) == [b"one"], "of another transaction, which was not committed"


async def _leave_open(mill: Mill, topic: str, *, lane: int, at: int | None = None) -> None:
    producer: Any = AIOKafkaProducer(
        **mill.broker.connection().aiokafka(), transactional_id=topics.lane_transactions(lane)
    )
    await producer.start()
    await producer.begin_transaction()
    partitions = await producer.partitions_for(topic)
    assert lane in partitions
    producer._txn_manager._txn_partitions.add(TopicPartition(topic, lane))
    await producer.send_and_wait(topic, b"leftover", key=b"k", partition=lane, timestamp_ms=at)
    producer._sender.sender_task.cancel()
    await producer.stop()


async def _verification(mill: Mill, value: str) -> None:
    admin = AdminClient(mill.broker.connection().confluent())
    entry = ConfigEntry("transaction.partition.verification.enable", value, incremental_operation=AlterConfigOpType.SET)
    (done,) = admin.incremental_alter_configs(
        [ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])]
    ).values()
    await asyncio.wrap_future(done)


async def test_state_is_read_to_its_end_past_the_markers(mill: Mill) -> None:
    async with producing(mill, 3) as producer:
        assert await read_state(mill.lanes, 3) == []
        for number in range(5):
            await producer.commit(
                {(topics.LANES, 3): [OutRecord(b"dir", b"%d" % number), OutRecord(b"x", None)]}, at=now()
            )
    state = await read_state(mill.lanes, 3)
    assert state == [pair for number in range(5) for pair in ((b"dir", b"%d" % number), (b"x", None))]


async def test_a_reader_goes_on_where_it_is_told_also_after_partitions_join(mill: Mill) -> None:
    await _publish(mill, partition=0, count=6)
    await _publish(mill, partition=1, count=3)
    reader = PartitionReader(mill.lanes)
    try:
        await reader.start({(GRAIN, 0): None})
        assert await _read(reader, 6) == {(GRAIN, 0): [0, 1, 2, 3, 4, 5]}
        await reader.start({(GRAIN, 0): 4, (GRAIN, 1): None})
        assert await _read(reader, 5) == {(GRAIN, 0): [4, 5], (GRAIN, 1): [0, 1, 2]}
        assert not reader.behind()
    finally:
        await reader.close()


async def test_a_position_that_the_log_does_not_have_is_an_error(mill: Mill) -> None:
    reader = PartitionReader(mill.lanes)
    try:
        with pytest.raises(StreamFailure) as error:
            await reader.start({(GRAIN, 2): 1})
        assert (error.value.code, error.value.topic) == ("position-out-of-range", GRAIN)
    finally:
        await reader.close()


async def test_lanes_are_shared_and_the_group_confirms_them_to_their_owner_only(mill: Mill) -> None:
    members = [GroupOwnership(mill.lanes, session_ms=1000) for _ in range(2)]
    try:
        for member in members:
            await member.start()
        async with asyncio.timeout(20):
            while sorted(_of(members[0]) + _of(members[1])) != [0, 1, 2, 3] or not _of(members[1]):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        mine, other = _of(members[0])[0], _of(members[1])[0]
        assert await members[0].confirmed(mine)
        assert not await members[0].confirmed(other)
        await members[0].close()
        async with asyncio.timeout(20):
            while _of(members[1]) != [0, 1, 2, 3]:
                await members[1].changed()
    finally:
        for member in members:
            await member.close()


def _of(member: GroupOwnership) -> list[int]:
    return [lane for lane in range(line.LANES) if member.owned(lane)]


async def test_topics_have_ids_and_positions_are_copied_for_lag_tools(mill: Mill) -> None:
    log = KafkaLog(mill.lanes)
    identities = await log.identify([GRAIN, "source.mill.none"])
    assert set(identities) == {GRAIN}
    assert identities[GRAIN].partitions == line.PARTITIONS
    assert identities[GRAIN].id != identities[GRAIN].cluster != ""
    await log.copy_positions({(GRAIN, 0): 5})
    admin = AdminClient(mill.broker.connection().confluent())
    asked = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(topics.LAG_GROUP)])
    (copied,) = (await asyncio.wrap_future(asked[topics.LAG_GROUP])).topic_partitions
    assert (copied.topic, copied.partition, copied.offset) == (GRAIN, 0, 5)
    await log.close()


async def test_a_worker_delivers_everything_once_and_ends_within_ten_seconds(tmp_path: Any) -> None:
    own = Mill(tmp_path)
    stop = asyncio.Event()
    try:
        await own.prepare()
        worker = make_worker(
            own.lanes,
            lanes=line.LANES,
            engine=line.CopyEngine(),
            directories=own.directory,
            timing=WorkerTiming(LaneLimits(round_records=50), session_ms=1000),
        )
        running = asyncio.create_task(worker.run(stop))
        publishing = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(own.publish(publishing))
            for position in range(2, 12):
                own.directory.set(position)
                await asyncio.sleep(0.1)
            publishing.set()
        evidence = await judge.until_done(own.broker.connection(), directory=11)
        stop.set()
        async with asyncio.timeout(10):
            await running
        figures = judge.judge(evidence)
        assert figures["records"] == own.published > 100
        assert figures["steps"] > line.LANES
    finally:
        own.broker.kill()


async def _publish(mill: Mill, *, partition: int, count: int) -> None:
    producer: Any = AIOKafkaProducer(**mill.broker.connection().aiokafka())
    await producer.start()
    try:
        for _ in range(count):
            await producer.send_and_wait(GRAIN, b"x", partition=partition)
    finally:
        await producer.stop()


async def _read(reader: PartitionReader, count: int) -> dict[tuple[str, int], list[int]]:
    found: dict[tuple[str, int], list[int]] = {}
    async with asyncio.timeout(10):
        while sum(map(len, found.values())) < count:
            for place, records, _ in await reader.fetch(wait=0.1, limit=4):
                found.setdefault(place, []).extend(record.position for record in records)
    return found
