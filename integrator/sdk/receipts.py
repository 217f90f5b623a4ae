"""Reads what became of a source's records: forwarded or not, or set aside and why; never who received anything."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# Reason: aiokafka ships no type information; what it returns is typed here, at the boundary.

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Final

from aiokafka import AIOKafkaConsumer

from integrator.domain import topics
from integrator.encoding import record_type
from integrator.kafka.connection import START_SECONDS, Connection, start, stop
from integrator.kafka.failures import translated

_FETCH_MS: Final = 500


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one record. `quarantined` is a reason code, or `None`."""

    event: str | None
    stream: str
    partition: int
    position: int
    forwarded: bool
    quarantined: str | None
    at: datetime


class Receipts:
    """An asynchronous iterator over the receipts from the moment at which it was entered; it ends when it is left."""

    def __init__(self, connection: Connection, source: str) -> None:
        self._connection = connection
        self._topic = topics.receipts_topic(source)
        self._consumer: Any = None
        self._read: deque[Receipt] = deque()

    async def __aenter__(self) -> Receipts:
        """Stand at the end of the receipts. When this returns, every later receipt will be read."""
        # Without a group the client takes all partitions by itself, and a topic that it may not read is an error at the
        # start; assigned by hand, such a topic would be asked for without end.
        consumer = await start(
            AIOKafkaConsumer(
                self._topic,
                **self._connection.aiokafka(),
                group_id=None,
                isolation_level="read_committed",
                auto_offset_reset="latest",
                enable_auto_commit=False,
            ),
            self._connection,
        )
        try:
            with translated(f"Reading {self._topic}"):
                async with asyncio.timeout(START_SECONDS):
                    for partition in consumer.assignment():
                        await consumer.position(partition)  # waits until the end is found and stays there
        except BaseException:
            await stop(consumer)
            raise
        self._consumer = consumer
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop(consumer)

    def __aiter__(self) -> Receipts:
        return self

    async def __anext__(self) -> Receipt:
        """Return the next receipt, waiting for it as long as it takes. Raises as every read of Kafka does."""
        while not self._read:
            if self._consumer is None:
                raise StopAsyncIteration
            with translated(f"Reading {self._topic}"):
                found = await self._consumer.getmany(timeout_ms=_FETCH_MS)
            for records in found.values():
                self._read.extend(_receipt(record.value) for record in records)
        return self._read.popleft()


def _receipt(value: bytes) -> Receipt:
    members = record_type("integrator/receipt").decode(value)
    return Receipt(
        event=members["eventId"],
        stream=members["stream"],
        partition=members["partition"],
        position=members["position"],
        forwarded=members["forwarded"],
        quarantined=members["quarantined"],
        at=members["at"],
    )
