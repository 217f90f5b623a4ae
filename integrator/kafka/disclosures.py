"""Reads topics of the event log for the ledger: committed records only, from positions that the ledger itself keeps.

There is no consumer group: the positions are in the ledger's own transaction. A position that the topic no longer has
would mean that disclosures were lost before they were entered, one beyond its end that this is another cluster: both
stop the ledger with a sentence.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Reason: aiokafka ships no type information; what it returns is typed here, at the boundary.

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from integrator.domain.errors import Refused
from integrator.kafka.connection import START_SECONDS, Connection, start, stop
from integrator.kafka.failures import translated
from integrator.recording.sequencer import WHOLE, LogBatch, LogRecord, Share


class KafkaDisclosureSource:
    """A `DisclosureSource` over the partitions of `topics` that are in `share`. Owned by one sequencer."""

    # LIMIT: positions do not name the topic's id: a topic that was deleted, made again and grew past the position is
    # not recognised.

    def __init__(self, connection: Connection, topics: Sequence[str], share: Share = WHOLE) -> None:
        self._connection = connection
        self._topics = tuple(topics)
        self._share = share
        self._consumer: AIOKafkaConsumer | None = None
        self._told: dict[tuple[str, int], int] = {}

    async def start(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Begin at `positions`, elsewhere at the first record.

        Raises `Refused` (`position-gone`, `position-beyond-end`, `kafka-no-topic`, …) or `Unavailable`.
        """
        await self.close()
        consumer: Any = AIOKafkaConsumer(
            **self._connection.aiokafka(),
            client_id="integrator-ledger",
            group_id=None,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="none",
            fetch_max_wait_ms=100,
            retry_backoff_ms=50,
        )
        self._consumer = await start(consumer, self._connection)
        with translated(f"Finding the positions of {', '.join(self._topics)}"):
            async with asyncio.timeout(START_SECONDS):
                await self._seek(consumer, positions)

    async def _seek(self, consumer: Any, positions: Mapping[tuple[str, int], int]) -> None:
        # A consumer that is given a topic which does not exist asks for it without end and says nothing.
        there: set[str] = await consumer.topics()
        if missing := [topic for topic in self._topics if topic not in there]:
            raise Refused(
                "kafka-no-topic",
                f"There is no topic {missing[0]}, or this user may not see it: `integrator topics apply`.",
            )
        # Only an assigned topic has its partitions in the client's metadata.
        consumer.assign([TopicPartition(topic, 0) for topic in self._topics])
        await consumer.beginning_offsets([TopicPartition(topic, 0) for topic in self._topics])
        assigned = [
            TopicPartition(topic, partition)
            for topic in self._topics
            for partition in sorted(consumer.partitions_for_topic(topic) or ())
            if self._share.has(partition)
        ]
        consumer.assign(assigned)
        first: dict[TopicPartition, int] = await consumer.beginning_offsets(assigned)
        # Of a read_committed consumer: the end of what is committed.
        end: dict[TopicPartition, int] = await consumer.end_offsets(assigned)
        for partition in assigned:
            position = positions.get((partition.topic, partition.partition), first[partition])
            _check(partition, position, first[partition], end[partition])
            consumer.seek(partition, position)
            self._told[partition.topic, partition.partition] = position

    async def fetch(self, *, wait: float, limit: int) -> LogBatch:
        """Return at most `limit` records, or none after `wait` seconds."""
        consumer: Any = self._consumer
        with translated(f"Reading {', '.join(self._topics)}"):
            found: dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]] = await consumer.getmany(
                timeout_ms=int(wait * 1000), max_records=limit
            )
            moved: dict[tuple[str, int], int] = {}
            behind = 0
            # By position and not by record: the marks of transactions take offsets too, and only past them is a
            # partition that was emptied read to its end.
            for partition in consumer.assignment():
                key = (partition.topic, partition.partition)
                position: int = await consumer.position(partition)
                behind += max(0, (consumer.last_stable_offset(partition) or 0) - position)
                if position != self._told[key]:
                    moved[key] = position
        self._told.update(moved)
        return LogBatch([_record(one) for records in found.values() for one in records], moved, behind)

    async def close(self) -> None:
        """Stop reading. `start` may follow."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop(consumer)


def _check(partition: TopicPartition, position: int, first: int, end: int) -> None:
    where = f"{partition.topic}, partition {partition.partition}"
    if position < first:
        raise Refused(
            "position-gone",
            f"{where}: the ledger has read up to {position}, but the topic now begins at {first}; records in between "
            "were removed before they were entered. Restore the topic, or declare the loss.",
        )
    if position > end:
        raise Refused(
            "position-beyond-end",
            f"{where}: the ledger has read up to {position}, but the topic ends at {end}: this is another cluster, or "
            "an older copy of it. Connect to the one that the ledger was filled from.",
        )


def _record(record: ConsumerRecord[bytes, bytes]) -> LogRecord:
    return LogRecord(
        topic=record.topic,
        partition=record.partition,
        position=record.offset,
        timestamp=record.timestamp,
        key=record.key,
        value=record.value,
    )
