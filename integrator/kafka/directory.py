"""Joins the directory to the event log: what its feeder reads, what its one writer appends, what is asked of it.

The directory has one partition and one writer, so everything here is about partition 0 of one topic.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false
# Reason: aiokafka ships no type information; what it returns is typed here, at the boundary.

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from confluent_kafka import TopicCollection

from integrator.directory.ports import FedRecord, Incarnation, Outgoing, Request
from integrator.domain import topics
from integrator.domain.errors import Invalid, Refused, Unavailable
from integrator.domain.identifiers import Position
from integrator.kafka.admin import REQUEST_SECONDS, administering, answers
from integrator.kafka.connection import START_SECONDS, Connection, start, stop
from integrator.kafka.failures import translated

FETCH_RECORDS = 5_000
# LIMIT: the broker takes a megabyte by default, so a contract with all its schemas must fit in 900 KiB.
BATCH_BYTES = 900 * 1024
APPEND_SECONDS = 30.0
TRANSACTION_MS = 60_000


def _consumer(connection: Connection, *, isolation: str = "read_committed", group: str | None = None) -> Any:
    return AIOKafkaConsumer(
        **connection.aiokafka(),
        client_id="integrator-directory",
        group_id=group,
        enable_auto_commit=False,
        isolation_level=isolation,
        auto_offset_reset="none",
        fetch_max_wait_ms=100,
        retry_backoff_ms=50,
    )


async def _assign(consumer: Any, topic: str, *, in_group: bool = False) -> list[TopicPartition]:
    """Assign all partitions of `topic` and return them. Raises `Refused` (`kafka-no-topic`)."""
    # A consumer that is given a topic which does not exist asks for it without end and says nothing.
    if topic not in await consumer.topics():
        raise Refused(
            "kafka-no-topic", f"There is no topic {topic}, or this user may not see it: `integrator topics apply`."
        )
    # Only an assigned topic has its partitions in the client's metadata.
    first = TopicPartition(topic, 0)
    consumer.assign([first])
    await consumer.beginning_offsets([first])
    if in_group:
        # aiokafka's coordination task ends for good (an AssertionError in its log) when the assignment changes while it
        # still looks for the group's coordinator; once this is answered it knows.
        await consumer.committed(first)
    found = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
    consumer.assign(found)
    return found


async def _incarnation(connection: Connection, topic: str) -> Incarnation:
    cluster = await connection.look()
    async with administering(connection) as admin:
        asked = admin.describe_topics(TopicCollection([topic]), request_timeout=REQUEST_SECONDS)
        found = await answers("Reading topics", asked)
    return Incarnation(cluster.id, str(found[topic].topic_id))


class KafkaDirectoryTopic:
    """A `DirectoryTopic`. Owned by one feeder."""

    def __init__(self, connection: Connection, *, topic: str = topics.DIRECTORY) -> None:
        self._connection = connection
        self._partition = TopicPartition(topic, 0)
        self._consumer: Any = None

    async def incarnation(self) -> Incarnation:
        """Return the ids of the cluster and of the topic. Raises `Refused` (`kafka-no-topic`, …), `Unavailable`."""
        return await _incarnation(self._connection, self._partition.topic)

    async def start(self, position: Position) -> None:
        """Begin at `position`. Raises `Refused` (`directory-beyond-end`, `kafka-no-topic`, …), `Unavailable`."""
        await self.close()
        self._consumer = consumer = await start(_consumer(self._connection), self._connection)
        with translated("Finding the position in the directory"):
            async with asyncio.timeout(START_SECONDS):
                await _assign(consumer, self._partition.topic)
                ends: dict[TopicPartition, int] = await consumer.end_offsets([self._partition])
        end = ends[self._partition]
        if position > end:
            raise Refused(
                "directory-beyond-end",
                f"This machine's copy of the directory is at {position}, but the topic ends at {end}: the cluster was "
                "restored from an older state. Make the topic anew or restore a newer state, and tell the operators.",
            )
        consumer.seek(self._partition, position)

    async def fetch(self, *, wait: float) -> tuple[Sequence[FedRecord], Position]:
        """Return the next records and the position after them. Raises `Unavailable`, `Refused`."""
        consumer = self._consumer
        with translated("Reading the directory"):
            found: dict[TopicPartition, list[Any]] = await consumer.getmany(
                timeout_ms=int(wait * 1000), max_records=FETCH_RECORDS
            )
            # By position and not by record: the marks of transactions take offsets too.
            position: int = await consumer.position(self._partition)
        records = found.get(self._partition, [])
        return [FedRecord(one.offset, one.key or b"", one.value) for one in records], Position(position)

    async def close(self) -> None:
        """Stop reading; `start` may follow."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop(consumer)


class KafkaDirectoryLog:
    """A `DirectoryLog`. Owned by one writer, which makes one call at a time."""

    def __init__(
        self,
        connection: Connection,
        *,
        topic: str = topics.DIRECTORY,
        requests: str = topics.REQUESTS,
        transactional_id: str = topics.DIRECTORY_TRANSACTIONS,
    ) -> None:
        self._connection = connection
        self._partition = TopicPartition(topic, 0)
        self._requests = requests
        self._transactional_id = transactional_id
        self._producer: Any = None

    async def incarnation(self) -> Incarnation:
        """Return the ids of the cluster and of the topic. Raises `Refused` (`kafka-no-topic`, …), `Unavailable`."""
        return await _incarnation(self._connection, self._partition.topic)

    async def start(self) -> Position:
        """Fence every earlier writer and return the end of the topic. Raises `Refused`, `Unavailable`."""
        await self.close()
        self._producer = await start(
            AIOKafkaProducer(
                **self._connection.aiokafka(),
                client_id="integrator-directory",
                transactional_id=self._transactional_id,
                transaction_timeout_ms=TRANSACTION_MS,
                acks="all",
                max_batch_size=BATCH_BYTES,
                retry_backoff_ms=20,
            ),
            self._connection,
        )
        try:
            with translated("Looking for leftovers in the directory"):
                async with asyncio.timeout(APPEND_SECONDS):
                    return await self._without_leftovers()
        except BaseException:
            await self.close()
            raise

    async def _without_leftovers(self) -> Position:
        """Return the end of the topic, after finishing what a lost mark left open there.

        A transaction that ended while the partition had no leader may never have got its mark; the next commit under
        this transactional id would publish it (KAFKA-20734). An abort of a record of our own closes it.
        """
        while True:
            committed, written = await self._ends()
            if committed == written:
                return Position(committed)
            await self._producer.begin_transaction()
            sent = await self._producer.send(self._partition.topic, value=b"", key=b"leftovers", partition=0)
            await sent
            await self._producer.abort_transaction()

    async def _ends(self) -> tuple[int, int]:
        """Return the end of what is committed and the end of what is written."""
        ends: list[int] = []
        for isolation in ("read_committed", "read_uncommitted"):
            consumer = await start(_consumer(self._connection, isolation=isolation), self._connection)
            try:
                await _assign(consumer, self._partition.topic)
                found: dict[TopicPartition, int] = await consumer.end_offsets([self._partition])
            finally:
                await stop(consumer)
            ends.append(found[self._partition])
        return ends[0], ends[1]

    async def append(self, records: Sequence[Outgoing], *, requests: Mapping[int, int] | None = None) -> Position:
        """Commit `records` in this order and return the position after the last; see `DirectoryLog`.

        Raises `Invalid` (`kafka-too-large`), `Refused` (`kafka-fenced`, …) or `Unavailable`; the producer is thrown
        away then, because aiokafka may publish an aborted transaction with the next commit.
        """
        producer = self._producer
        if producer is None:
            raise Unavailable("directory-writer", "The writer of the directory is not connected; try again.")
        try:
            with translated("Appending to the directory"):
                async with asyncio.timeout(APPEND_SECONDS):
                    return await self._commit(producer, records, requests or {})
        except BaseException:
            await self.close()
            raise

    async def _commit(self, producer: Any, records: Sequence[Outgoing], requests: Mapping[int, int]) -> Position:
        batches = _batches(producer, records)
        await producer.begin_transaction()
        topic = self._partition.topic
        futures = [await producer.send_batch(batch, topic, partition=0) for batch, _ in batches]
        # Each of them: a commit succeeds although a batch was refused.
        stored = await asyncio.gather(*futures)
        if requests:
            positions = {TopicPartition(self._requests, number): position for number, position in requests.items()}
            await producer.send_offsets_to_transaction(positions, topics.DIRECTORY_GROUP)
        await producer.commit_transaction()
        if not batches:
            return Position(0)
        return Position(stored[-1].offset + batches[-1][1])

    async def close(self) -> None:
        """Give up the producer; the next `start` ends what it left open."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop(producer)


def _batches(producer: Any, records: Sequence[Outgoing]) -> list[tuple[Any, int]]:
    """Build every batch before the first is sent, with how many records it has."""
    made: list[tuple[Any, int]] = []
    batch, count = producer.create_batch(), 0
    for key, value in records:
        added = batch.append(key=key, value=value, timestamp=None)
        if added is None:  # full
            if count:
                made.append((batch, count))
            batch, count = producer.create_batch(), 0
            added = batch.append(key=key, value=value, timestamp=None)
        if added is None or len(value) > BATCH_BYTES:
            raise Invalid("kafka-too-large", f"A record of the directory is larger than {BATCH_BYTES} bytes.")
        count += 1
    return [*made, (batch, count)] if count else made


class KafkaRequests:
    """The `Requests` port over every partition of the requests topic. Owned by one writer."""

    def __init__(self, connection: Connection, *, topic: str = topics.REQUESTS) -> None:
        self._connection = connection
        self._topic = topic
        self._consumer: Any = None

    async def start(self) -> None:
        """Begin where the writer last recorded, else at the first request. Raises `Refused`, `Unavailable`."""
        await self.close()
        made = _consumer(self._connection, group=topics.DIRECTORY_GROUP)
        self._consumer = consumer = await start(made, self._connection)
        with translated("Finding the requests to the directory"):
            async with asyncio.timeout(START_SECONDS):
                assigned = await _assign(consumer, self._topic, in_group=True)
                first: dict[TopicPartition, int] = await consumer.beginning_offsets(assigned)
                end: dict[TopicPartition, int] = await consumer.end_offsets(assigned)
                for partition in assigned:
                    recorded: int | None = await consumer.committed(partition)
                    # A position that expired, or that is of another topic's making, costs a second reading only: a
                    # request that was done changes nothing.
                    known = recorded is not None and first[partition] <= recorded <= end[partition]
                    consumer.seek(partition, recorded if known else first[partition])

    async def fetch(self, *, wait: float, limit: int) -> tuple[Sequence[Request], Mapping[int, int]]:
        """Return requests and, by partition, the position after them. Raises `Refused`, `Unavailable`."""
        with translated("Reading the requests to the directory"):
            found: dict[TopicPartition, list[Any]] = await self._consumer.getmany(
                timeout_ms=int(wait * 1000), max_records=limit
            )
        requests = [
            Request(partition.partition, one.offset, one.value or b"")
            for partition, records in found.items()
            for one in records
        ]
        return requests, {request.partition: request.offset + 1 for request in requests}

    async def close(self) -> None:
        """Stop reading; `start` may follow."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop(consumer)
