"""Says what an agency received, for the comparison with the ledger: from its topics, or from a book that it kept.

- A line names topic, partition, lane, sequence and SHA-256 of the value; it says nothing about a person.
- Topics are read without a group, and nothing changes. They keep deliveries for a while only: `since` then says from
  which day on they can be compared.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# Reason: aiokafka ships no type information; what it returns is typed here, at the boundary.

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final, cast

from aiokafka import AIOKafkaConsumer, TopicPartition

from integrator.domain.errors import Invalid, Refused
from integrator.kafka.connection import Connection, start, stop
from integrator.kafka.failures import translated
from integrator.recording.failures import translated as audited
from integrator.sdk.delivered import Delivered, Envelope
from integrator_audit.completeness.account import read_received
from integrator_audit.completeness.doubleentry import Received
from integrator_audit.completeness.members import Delivery, DeliverySequence

_SECONDS: Final = 60.0
"""For one step of reading a topic, whatever its length."""


@dataclass(frozen=True, slots=True)
class Books:
    """What was received, to be read once, and the first day of which everything is in it; `None`: from the beginning.

    It is read from a file, so that a big agency's book need not fit in memory.
    """

    received: Iterator[Received]
    since: date | None


class Book:
    """A file to which an agency adds what it has dealt with, one line each. Open it once, for one writer."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, event: Delivered) -> None:
        """Add an event; it is in the file when this returns, and on the disk a little later."""
        os.write(self._file, json.dumps(event.as_received()).encode() + b"\n")

    def close(self) -> None:
        """Make everything durable and close the file."""
        os.fsync(self._file)
        os.close(self._file)


def read_book(path: Path) -> Books:
    """Open a book. Raises `Refused` (`file-missing`), and while it is read `Invalid` (`received-line`) naming the line.

    A delivery that was noted twice, because it was delivered again after a crash, counts once.
    """
    try:
        lines = path.open("rb")
    except OSError as error:
        raise Refused("file-missing", f"The book {path} cannot be read: {error.strerror}.") from None
    return Books(_lines(lines), None)


async def read_topics(connection: Connection, prefix: str) -> Books:
    """Read every topic of one purpose from its beginning to its end as it is now; `prefix` is that of the purpose.

    Raises `Refused` or `Unavailable` as the broker does, `Invalid` for a record that is no delivery.
    """
    # Without a name it goes with this process; it says nothing about a person.
    noted = cast(IO[bytes], TemporaryFile())  # noqa: SIM115  closed by who reads it
    oldest: dict[DeliverySequence, Received] = {}
    async for delivered in _records(connection, prefix):
        noted.write(_line(delivered))
        oldest.setdefault(delivered.delivery.sequence, delivered)
    # Where the first is gone, days are whole only after the one in which the oldest that is kept was delivered.
    cut = [one.at for one in oldest.values() if one.delivery.number > 1 and one.at is not None]
    since = datetime.fromtimestamp(max(cut) / 1000, UTC).date() + timedelta(days=1) if cut else None
    noted.seek(0)
    return Books(_lines(noted), since)


def together(books: Iterable[Books]) -> Books:
    """Return the books of several purposes as one."""
    every: Sequence[Books] = list(books)
    since = [one.since for one in every if one.since is not None]
    return Books(chain.from_iterable(one.received for one in every), max(since) if since else None)


def _lines(file: IO[bytes]) -> Iterator[Received]:
    with file, audited():
        yield from read_received(file)


def _line(item: Received) -> bytes:
    """Return a delivery as a book notes it, with its time."""
    (topic, partition, lane), number, value = item.delivery
    told: dict[str, object] = {"topic": topic, "partition": partition, "lane": lane, "sequence": number}
    told["valueSha256"] = value.hex()
    if item.at is not None:
        told["at"] = datetime.fromtimestamp(item.at / 1000, UTC).isoformat().replace("+00:00", "Z")
    return json.dumps(told).encode() + b"\n"


async def _records(connection: Connection, prefix: str) -> AsyncGenerator[Received]:
    consumer: Any = AIOKafkaConsumer(
        **connection.aiokafka(),
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="none",
    )
    await start(consumer, connection)
    try:
        with translated(f"Reading what was received, as {connection.username}"):
            names: set[str] = await consumer.topics()
            for topic in sorted(name for name in names if name.startswith(prefix)):
                consumer.assign([TopicPartition(topic, 0)])
                async with asyncio.timeout(_SECONDS):
                    await consumer.beginning_offsets([TopicPartition(topic, 0)])
                places = [TopicPartition(topic, one) for one in sorted(consumer.partitions_for_topic(topic) or ())]
                consumer.assign(places)
                async with asyncio.timeout(_SECONDS):
                    first: dict[TopicPartition, int] = await consumer.beginning_offsets(places)
                    ends: dict[TopicPartition, int] = await consumer.end_offsets(places)
                for place in places:
                    consumer.seek(place, first[place])
                for place in places:
                    while await consumer.position(place) < ends[place]:
                        async with asyncio.timeout(_SECONDS):
                            found: dict[TopicPartition, list[Any]] = await consumer.getmany(place, timeout_ms=100)
                        for record in found.get(place, []):
                            yield _received(record)
    finally:
        await stop(consumer)


def _received(record: Any) -> Received:
    envelope = Envelope.read(tuple(record.headers))
    if record.value is None:
        raise Invalid("envelope", f"A record of {record.topic} has no value: this is no topic of deliveries.")
    sequence = DeliverySequence(record.topic, record.partition, envelope.lane)
    delivery = Delivery(sequence, envelope.sequence, hashlib.sha256(record.value).digest())
    return Received(delivery, at=record.timestamp)
