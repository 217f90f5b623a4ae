"""Reads what lanes set aside: by default without what it holds, because that is about people.

A quarantined record is named by where it stands in the quarantine: `<lane>:<offset>`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# Reason: aiokafka ships no type information; what it returns is typed here, at the boundary.

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from integrator.domain import topics
from integrator.domain.errors import Invalid, Refused
from integrator.encoding import record_type
from integrator.kafka.connection import START_SECONDS, Connection, start, stop
from integrator.kafka.failures import translated

_READ_SECONDS: Final = 60.0
_NAME = re.compile(r"([0-9]{1,5}):([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Why a record was set aside, and where it came from. Nothing of the record itself."""

    lane: int
    offset: int
    reason: str
    detail: str
    source: str
    stream: str
    topic: str
    partition: int
    position: int
    at: datetime
    """The broker's time of the record at the source."""
    directory_position: int
    engine: str

    @property
    def name(self) -> str:
        """How to name it: `<lane>:<offset>`."""
        return f"{self.lane}:{self.offset}"


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A quarantined record as it came. Holds personal data; its representation shows none."""

    quarantined: Quarantined
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    def __repr__(self) -> str:
        return f"RawRecord({self.quarantined.name}, {self.quarantined.reason})"


async def list_quarantine(connection: Connection) -> AsyncGenerator[Quarantined]:
    """Yield everything that is in quarantine now, lane by lane, oldest first.

    Raises `Refused` when this user may not read it, `Unavailable` when the broker does not answer in time.
    """
    async with _consumer(connection) as consumer:
        for partition, (first, end) in (await _bounds(consumer)).items():
            async for record in _records(consumer, partition, first=first, end=end):
                yield _quarantined(record, _members(record))


async def show_quarantined(connection: Connection, name: str) -> RawRecord:
    """Return one record as it came. Raises `Refused` (`not-quarantined`) when there is none of that name."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise Invalid("quarantine-name", "Name a quarantined record as `list` does: <lane>:<offset>.")
    wanted = TopicPartition(topics.QUARANTINE, int(match[1]))
    offset = int(match[2])
    async with _consumer(connection) as consumer:
        first, end = (await _bounds(consumer)).get(wanted, (0, 0))
        if first <= offset < end:
            async for record in _records(consumer, wanted, first=offset, end=offset + 1):
                if record.offset == offset:
                    members = _members(record)
                    headers = tuple((header["name"], header["value"]) for header in members["headers"])
                    return RawRecord(_quarantined(record, members), members["key"], members["value"], headers)
    raise Refused("not-quarantined", f"There is no quarantined record {name}: `integrator quarantine list` names them.")


@asynccontextmanager
async def _consumer(connection: Connection) -> AsyncGenerator[Any]:
    # Subscribing without a group: all partitions, and a topic that may not be read is an error at the start.
    consumer = await start(
        AIOKafkaConsumer(
            topics.QUARANTINE,
            **connection.aiokafka(),
            group_id=None,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        ),
        connection,
    )
    try:
        yield consumer
    finally:
        await stop(consumer)


async def _bounds(consumer: Any) -> dict[TopicPartition, tuple[int, int]]:
    """Return the first offset and the end of each partition."""
    with translated("Reading the quarantine"):
        async with asyncio.timeout(START_SECONDS):
            mine = sorted(consumer.assignment(), key=lambda partition: partition.partition)
            for partition in mine:
                await consumer.position(partition)  # settles the client's own start before we seek
            firsts: dict[TopicPartition, int] = await consumer.beginning_offsets(mine)
            ends: dict[TopicPartition, int] = await consumer.end_offsets(mine)
    return {partition: (firsts[partition], ends[partition]) for partition in mine}


async def _records(consumer: Any, partition: TopicPartition, *, first: int, end: int) -> AsyncGenerator[Any]:
    """Yield the records of one partition from `first` until before `end`."""
    if first >= end:
        return
    consumer.seek(partition, first)
    while True:
        with translated("Reading the quarantine"):
            async with asyncio.timeout(_READ_SECONDS):
                found = await consumer.getmany(partition, timeout_ms=500)
                position = await consumer.position(partition)
        for record in found.get(partition, []):
            if record.offset >= end:
                return
            yield record
        # The position passes the marks of transactions, which are no records.
        if position >= end:
            return


def _members(record: Any) -> dict[str, Any]:
    """Return what a record of the quarantine says; one that cannot be read is shown as it is, and hides no other."""
    try:
        return record_type("integrator/quarantine").decode(record.value or b"")
    except Invalid as error:
        return {
            "source": "",
            "stream": "",
            "topic": topics.QUARANTINE,
            "partition": record.partition,
            "position": record.offset,
            "timestamp": datetime.fromtimestamp(record.timestamp / 1000, UTC),
            "reason": error.code,
            "detail": "this record of the quarantine cannot be read itself",
            "directoryPosition": 0,
            "engine": "",
            "key": record.key,
            "value": record.value,
            "headers": [{"name": name, "value": value} for name, value in record.headers],
        }


def _quarantined(record: Any, members: dict[str, Any]) -> Quarantined:
    at: datetime = members["timestamp"]
    return Quarantined(
        lane=record.partition,
        offset=record.offset,
        reason=members["reason"],
        detail=members["detail"],
        source=members["source"],
        stream=members["stream"],
        topic=members["topic"],
        partition=members["partition"],
        position=members["position"],
        at=at.astimezone(UTC),
        directory_position=members["directoryPosition"],
        engine=members["engine"],
    )
