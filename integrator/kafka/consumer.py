"""Reads committed records: a lane's sources at positions that the lane names, and its own state to the end.

- A consumer for each lane: assigning one more partition makes aiokafka forget the positions of the others, so all are
  sought again.
- Nothing is ever reset to another position by itself: one that the log does not have is an error.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# Reason: aiokafka ships no type information; what it returns is typed here, at the boundary.

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import TopicPartition

from integrator.domain.topics import LANES
from integrator.kafka.connection import Connection, start, stop
from integrator.kafka.failures import translated
from integrator.routing.ports import Place, SourceRecord, StreamFailure

READ_SECONDS = 15.0
# How long the broker waits for records when it has none; a new assignment waits out the fetch in flight.
_FETCH_WAIT_MS = 100


def committed_reader(connection: Connection, **settings: Any) -> Any:
    """Return an `AIOKafkaConsumer`, not started, that reads committed records and never jumps."""
    return AIOKafkaConsumer(
        **connection.aiokafka(),
        isolation_level="read_committed",
        auto_offset_reset="none",
        enable_auto_commit=False,
        fetch_max_wait_ms=_FETCH_WAIT_MS,
        retry_backoff_ms=50,
        **settings,
    )


class PartitionReader:
    """Reads partitions assigned by hand. Implements `SourceReader`; used by one task."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._consumer: Any = None
        self._places: tuple[TopicPartition, ...] = ()

    async def start(self, positions: Mapping[Place, int | None]) -> None:
        """Read exactly these partitions from now on, each from its position, or from the earliest record."""
        if self._consumer is None:
            # What is buffered for one lane stays below 8 MiB, however many partitions it reads.
            self._consumer = await start(
                committed_reader(self._connection, fetch_max_bytes=8 * 1024 * 1024), self._connection
            )
        self._places = tuple(TopicPartition(*place) for place in positions)
        with translated("Seeking the positions of a lane"):
            async with asyncio.timeout(READ_SECONDS):
                self._consumer.assign(self._places)
                earliest: Mapping[Any, int] = await self._consumer.beginning_offsets(self._places)
                latest: Mapping[Any, int] = await self._consumer.end_offsets(self._places)
                for place, wanted in zip(self._places, positions.values(), strict=True):
                    position = earliest[place] if wanted is None else wanted
                    # `latest` is the end of what is committed. Positions come from committed records, so one beyond
                    # it is of another incarnation of the topic.
                    if not earliest[place] <= position <= latest[place]:
                        raise _out_of_range(place, f"has {earliest[place]} to {latest[place]}, not {position}")
                    self._consumer.seek(place, position)

    async def fetch(self, *, wait: float, limit: int) -> list[tuple[Place, Sequence[SourceRecord], int]]:
        """Return what there is of each partition, in order, after at most `wait` seconds."""
        with translated("Reading the sources"):
            try:
                fetched: Mapping[Any, list[Any]] = await self._consumer.getmany(
                    timeout_ms=int(wait * 1000), max_records=limit
                )
            except OffsetOutOfRangeError as error:
                place, position = next(iter(error.args[0].items()))
                raise _out_of_range(place, f"does not have {position} any more") from error
        return [
            ((place.topic, place.partition), [_record(record) for record in records], records[-1].offset + 1)
            for place, records in fetched.items()
            if records
        ]

    def behind(self) -> bool:
        """Tell whether some partition is known to go on after what was last fetched of it."""
        subscription = self._consumer and self._consumer._subscription.subscription
        if not subscription:
            return False
        for place in self._places:
            state = subscription.assignment.state_value(place)
            if state.has_valid_position and state.lso is not None and state.lso > state.position:
                return True
        return False

    async def close(self) -> None:
        """Let go of the connection."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop(consumer, seconds=2.0)


async def read_state(connection: Connection, lane: int) -> list[tuple[bytes, bytes | None]]:
    """Return every committed record of the lane's partition of `integrator.lanes`, to the end as it is now.

    The lane's producer must have been started before: then nobody adds to it, and it has no open end.
    """
    consumer = await start(committed_reader(connection), connection)
    place = TopicPartition(LANES, lane)
    found: list[tuple[bytes, bytes | None]] = []
    try:
        with translated(f"Reading the state of lane {lane}"):
            async with asyncio.timeout(READ_SECONDS):
                consumer.assign([place])
                earliest: Mapping[Any, int] = await consumer.beginning_offsets([place])
                latest: Mapping[Any, int] = await consumer.end_offsets([place])
                consumer.seek(place, earliest[place])
                # The last records are markers of transactions, which no fetch returns: the position passes them.
                while await consumer.position(place) < latest[place]:
                    fetched: Mapping[Any, list[Any]] = await consumer.getmany(place, timeout_ms=_FETCH_WAIT_MS)
                    found += [(record.key, record.value) for record in fetched.get(place, ())]
    finally:
        await stop(consumer, seconds=2.0)
    return found


def _record(record: Any) -> SourceRecord:
    return SourceRecord(record.offset, record.timestamp, record.key, record.value, tuple(record.headers))


def _out_of_range(place: Any, what: str) -> StreamFailure:
    return StreamFailure(
        "position-out-of-range",
        f"Partition {place.partition} of {place.topic} {what}: records were removed before they were read, or the "
        "topic was made again.",
        topic=place.topic,
    )
