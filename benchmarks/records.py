"""Makes the records of the benchmark and publishes them all at once, so that nothing of publishing is measured.

They are published in one transaction: nobody who reads committed records sees any before the last is written, and then
all are there. Sources publish without transactions; what the records hold is exactly what the SDK of a source sends.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# Reason: aiokafka ships no type information.

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer

from benchmarks.stage import PARTITIONS
from integrator.domain.topics import partition_of
from integrator.kafka.connection import Connection, start, stop
from integrator.routing.ports import Place
from integrator.sdk.message import SourceMessage
from integrator.sdk.owner import Record, Stream

_SEED = 20_260_101
_STREETS = ("Dorpsstraat", "Kerkweg", "Stationsplein", "Molenlaan", "Nieuwe Gracht", "Havenkade")
_PLACES = ("Amersfoort", "Den Helder", "Goes", "Sittard", "Zwolle", "Leeuwarden")
_NAMES = ("Anna Maria", "Johannes", "Sanne", "Mohammed Ali", "Pieter Jan", "Noor")
_SCORES = ("mobility", "self-care", "orientation", "household")
_FAMILIES = ("Jansen", "De Vries", "Bakker", "Van den Berg", "Yilmaz", "Peeters")


@dataclass(frozen=True, slots=True)
class Published:
    """What was published once. Positions by (topic, partition)."""

    records: int
    first: dict[Place, int]
    """Where the first record of each partition is."""
    after: dict[Place, int]
    """One past the last."""


def make(stream: Stream, count: int) -> list[Record]:
    """Return `count` records as the SDK of a source makes them: each of another person, the same for the same count."""
    draw = random.Random(_SEED)
    return [stream.record(_message(stream.name, number, draw)) for number in range(count)]


def _message(stream: str, number: int, draw: random.Random) -> SourceMessage:
    place = draw.choice(_PLACES)
    moment = f"2026-01-{draw.randint(1, 28):02}T{draw.randint(0, 23):02}:{draw.randint(0, 59):02}:07.250Z"
    value: dict[str, Any] = {
        "kind": "changed",
        "changed": ["address", "municipality"],
        "corrects": None,
        "registeredAt": moment,
        "number": f"{100_000_000_000 + number}",
        "steward": f"{draw.randint(1, 1999):04}",
        "givenNames": draw.choice(_NAMES),
        "prefix": None,
        "familyName": draw.choice(_FAMILIES),
        "birthDate": f"{draw.randint(1930, 2025)}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}",
        "birthPlace": place,
        "sex": draw.choice(("female", "male", "unknown")),
        "municipality": f"{draw.randint(1, 1999):04}",
        "municipalitySince": moment[:10],
        "address": {
            "street": draw.choice(_STREETS),
            "houseNumber": draw.randint(1, 400),
            "postcode": f"{draw.randint(1000, 9999)} AB",
            "place": place,
            "object": f"NL.IMBAG.Nummeraanduiding.{draw.randrange(10**16):016}",
        },
        "nationalities": ["0001", "0054"][: draw.randint(1, 2)],
        "restriction": 0,
        "scores": {name: draw.randint(0, 3) for name in _SCORES},
    }
    return SourceMessage(stream, str(uuid.UUID(int=draw.getrandbits(128), version=4)), moment, value)


class Publisher:
    """Publishes the same records again and again. Used by one task."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._producer: Any = None

    async def __aenter__(self) -> Publisher:
        self._producer = await start(
            AIOKafkaProducer(
                **self._connection.aiokafka(), transactional_id="benchmark.publisher", max_batch_size=256 * 1024
            ),
            self._connection,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await stop(self._producer)

    async def write(self, topic: str, records: Sequence[Record]) -> Published:
        """Write `records` and return where they are; nobody sees them before `release`."""
        parts: dict[int, list[Record]] = {}
        for record in records:
            parts.setdefault(partition_of(record.person, PARTITIONS), []).append(record)
        first: dict[Place, int] = {}
        after: dict[Place, int] = {}
        producer = self._producer
        await producer.begin_transaction()
        at = int(time.time() * 1000)
        for partition, its in parts.items():
            batch, waiting = producer.create_batch(), []
            for record in its:
                member = {"key": record.key, "value": record.value, "timestamp": at, "headers": list(record.headers)}
                if batch.append(**member) is None:
                    waiting.append(await producer.send_batch(batch, topic, partition=partition))
                    batch = producer.create_batch()
                    batch.append(**member)
            waiting.append(await producer.send_batch(batch, topic, partition=partition))
            metadata = await asyncio.gather(*waiting)
            first[topic, partition] = int(metadata[0].offset)
            after[topic, partition] = first[topic, partition] + len(its)
        return Published(len(records), first, after)

    async def release(self) -> None:
        """Make what was written visible, all of it at once."""
        await self._producer.commit_transaction()
