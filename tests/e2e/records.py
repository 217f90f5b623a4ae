"""Reads topics, schemas and the integrator's own records for a judge: nothing here goes through the project's readers.

Only the connection's arguments and the schema files of the repository are shared with what is judged.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
from aiokafka import AIOKafkaConsumer, TopicPartition

from integrator.kafka.connection import Connection

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Record:
    """One record as the broker gives it. Its representation shows where it stands and nothing of it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    def __repr__(self) -> str:
        return f"Record({self.topic}, {self.partition}, {self.offset})"

    def header(self, name: str) -> str:
        """Return the one header of that name."""
        (value,) = (value for found, value in self.headers if found == name)
        return value.decode()

    @property
    def bytes(self) -> bytes:
        """Everything that whoever reads the record can see."""
        parts = [self.key or b"", self.value]
        parts += [part for name, value in self.headers for part in (name.encode(), value)]
        return b"\x00".join(parts)


async def read_topic(connection: Connection, topic: str) -> list[Record]:
    """Return every committed record of `topic` as it is now, partition by partition, in order."""
    consumer = AIOKafkaConsumer(
        **connection.aiokafka(),
        group_id=None,
        isolation_level="read_committed",
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
    )
    found: list[Record] = []
    await consumer.start()
    try:
        async with asyncio.timeout(_SECONDS):
            first = TopicPartition(topic, 0)
            consumer.assign([first])
            await consumer.beginning_offsets([first])
            places = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
            consumer.assign(places)
            begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
            for place in places:
                consumer.seek(place, begins[place])
            for place in places:
                while await consumer.position(place) < ends[place]:
                    for records in (await consumer.getmany(place, timeout_ms=100)).values():
                        found += [
                            Record(topic, one.partition, one.offset, one.key, one.value or b"", tuple(one.headers))
                            for one in records
                        ]
    finally:
        await consumer.stop()
    return found


async def read_topics(connection: Connection, topics: Iterable[str]) -> dict[str, list[Record]]:
    """Return the records of several topics that one user may read."""
    return {topic: await read_topic(connection, topic) for topic in topics}


@cache
def own_schema(name: str) -> dict[str, Any]:
    """Return the schema of one of the integrator's own records, such as `ledger/disclosure`."""
    return fastavro.parse_schema(json.loads((SCHEMAS / name / "v1.avsc").read_text("utf-8")))


def own(name: str, record: Record) -> dict[str, Any]:
    """Decode one of the integrator's own records: after two bytes of mark and eight of fingerprint."""
    assert record.value[:2] == b"\xc3\x01", record
    return decode(own_schema(name), record.value[10:])


def decode(schema: Mapping[str, Any], body: bytes) -> Any:
    """Decode an Avro value that must fill `body`."""
    stream = BytesIO(body)
    value = fastavro.schemaless_reader(stream, dict(schema), None)
    assert stream.read() == b"", "the value goes on after its end"
    return value


def encode(schema: Mapping[str, Any], value: Any) -> bytes:
    """Encode a value, which must have exactly the members of the schema."""
    out = BytesIO()
    fastavro.schemaless_writer(out, dict(schema), value, strict=True)
    return out.getvalue()


def framed(value: bytes) -> tuple[int, bytes]:
    """Split what stands on a stream into schema id and Avro body."""
    assert value[:1] == b"\x00"
    return int.from_bytes(value[1:5], "big"), value[5:]


def registered(directory: Iterable[Record]) -> dict[int, tuple[str, dict[str, Any]]]:
    """Return the registry as the directory's records have it: id to subject and parsed schema."""
    found: dict[int, tuple[str, dict[str, Any]]] = {}
    for record in directory:
        if (record.key or b"").startswith(b"schema|"):
            members = own("directory/schema", record)
            assert members["id"] not in found, "a schema id was used twice"
            found[members["id"]] = members["subject"], fastavro.parse_schema(json.loads(members["text"]))
    return found


def leaves(value: Any, path: str = "") -> set[str]:
    """Return the paths of a value: through lists without a mark, a null or an empty list as the path itself."""
    if isinstance(value, list):
        return {found for item in value for found in leaves(item, path)} or {path}
    if isinstance(value, dict):
        below = {f"{path}.{name}" if path else name: item for name, item in value.items()}
        return {found for name, item in below.items() for found in leaves(item, name)}
    return {path}


def keep(value: Any, paths: Iterable[str]) -> Any:
    """Return `value` with nothing but what `paths` name: the judge's own projection, of values and not of bytes."""
    wanted = [path.split(".") for path in paths]

    def cut(item: Any, below: list[list[str]]) -> Any:
        if item is None or any(not rest for rest in below):
            return item
        if isinstance(item, list):
            return [cut(each, below) for each in item]
        return {
            name: cut(held, [rest[1:] for rest in below if rest[0] == name])
            for name, held in item.items()
            if any(rest[0] == name for rest in below)
        }

    return cut(value, wanted)


def numbers(value: Any) -> set[str]:
    """Return every national number that stands anywhere in a value, under the name `bsn`."""
    if isinstance(value, list):
        return {found for item in value for found in numbers(item)}
    if isinstance(value, dict):
        mine = {value["bsn"]} if isinstance(value.get("bsn"), str) else set()
        return mine | {found for item in value.values() for found in numbers(item)}
    return set()
