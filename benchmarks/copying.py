"""The bare copy beside which the lanes are measured: one process that consumes and produces, and does nothing else.

It reads committed records with aiokafka's `getmany` and writes key, value and headers as they came with `create_batch`
and `send_batch`, in transactions that hold its own positions. It decodes nothing, decides nothing, projects nothing,
makes no pseudonym, no disclosure, no receipt.

`python -m benchmarks.copying` takes one JSON line of settings on standard input, then one line for each copy:
`{"first": {partition: position}, "after": {…}}`. It answers `ready` when it stands at `first`; after a line `go` it
copies up to `after` and answers with the number of records.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# Reason: aiokafka ships no type information.

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from pydantic import SecretStr

from integrator.kafka.connection import Connection, start, stop
from integrator.kafka.consumer import committed_reader

ROUND_RECORDS = 4_000
"""Of one transaction: as many as four lanes have in theirs together."""
_BATCH_BYTES = 512 * 1024
_GROUP = "benchmark.copy"


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy's clients, and between which topics it copies."""

    consumer: AIOKafkaConsumer
    producer: AIOKafkaProducer
    source: str
    target: str

    async def stand(self, first: Mapping[str, int]) -> None:
        """Go to the positions to begin at."""
        self.consumer.assign([TopicPartition(self.source, int(number)) for number in first])
        for number, position in first.items():
            self.consumer.seek(TopicPartition(self.source, int(number)), position)

    async def run(self, after: Mapping[str, int]) -> int:
        """Copy up to `after`; return how many records. When this returns, all of them are committed."""
        left = {int(number): position for number, position in after.items()}
        copied, producer = 0, self.producer
        while left:
            fetched: Mapping[Any, list[Any]] = await self.consumer.getmany(timeout_ms=200, max_records=ROUND_RECORDS)
            if not fetched:
                continue
            await producer.begin_transaction()
            at, futures, positions = int(time.time() * 1000), [], {}
            for place, records in fetched.items():
                batch = producer.create_batch()
                for record in records:
                    member = _member(record, at)
                    if batch.append(**member) is None:
                        futures.append(await producer.send_batch(batch, self.target, partition=place.partition))
                        batch = producer.create_batch()
                        batch.append(**member)
                futures.append(await producer.send_batch(batch, self.target, partition=place.partition))
                positions[place] = records[-1].offset + 1
                copied += len(records)
                if positions[place] >= left.get(place.partition, 0):
                    left.pop(place.partition, None)
            await producer.send_offsets_to_transaction(positions, _GROUP)
            await asyncio.gather(*futures)
            await producer.commit_transaction()
        return copied


async def _main() -> None:
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # as in a worker
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # a topic that is new is retried, which it tells
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    settings: dict[str, str] = json.loads(await lines.readline())
    connection = Connection(settings["bootstrap"], settings["username"], SecretStr(settings["password"]))
    producer = await start(
        AIOKafkaProducer(**connection.aiokafka(), transactional_id="benchmark.copy", max_batch_size=_BATCH_BYTES),
        connection,
    )
    consumer = await start(committed_reader(connection, fetch_max_bytes=8 * 1024 * 1024), connection)
    try:
        copy = Copy(consumer, producer, settings["source"], settings["target"])
        while asked := await lines.readline():
            asks: dict[str, dict[str, int]] = json.loads(asked)
            await copy.stand(asks["first"])
            _say("ready")
            await lines.readline()
            _say(str(await copy.run(asks["after"])))
    finally:
        await stop(consumer)
        await stop(producer)


def _member(record: Any, at: int) -> dict[str, Any]:
    return {"key": record.key, "value": record.value, "timestamp": at, "headers": list(record.headers)}


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(_main())
