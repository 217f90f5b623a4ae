"""Writes what the API reports to its own partition of `integrator.requests`, durable before the caller is answered.

A refusal names who asked for what, never a person; its id makes a repeated write one entry of the institution log. What
auditors read goes the same way (`readings`).
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# Reason: aiokafka ships no type information; what it returns is typed here, at the boundary.

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal

from aiokafka import AIOKafkaProducer

from integrator.domain import topics
from integrator.domain.errors import Unavailable
from integrator.encoding import record_type
from integrator.kafka.connection import Connection, start, stop
from integrator.kafka.failures import translated

_WRITE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """One request that a rule refused. `detail` says what to do and holds no personal data."""

    request: Literal["apply", "subscribe"]
    reason: str
    detail: str
    principal: str
    agency: str | None = None
    purpose: str | None = None
    stream: str | None = None
    authorisation: str | None = None
    version: int | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def encode(self, at: datetime) -> bytes:
        """Return the single-object encoding of `integrator/request/v1` with this refusal as its body."""
        body = ("integrator.routing.Refusal", asdict(self))
        return record_type("integrator/request").encode({"at": at, "body": body})


class KafkaRefusals:
    """Refusals on the event log. Owns one idempotent producer, made again after any failure.

    A producer whose batch was refused numbers its next batch wrongly, so it is never used twice after an error.
    """

    def __init__(self, connection: Connection, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._connection = connection
        self._clock = clock
        self._lock = asyncio.Lock()
        self._producer: Any = None

    async def __aenter__(self) -> KafkaRefusals:
        async with self._lock:
            await self._ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._lock:
            await self._discard()

    async def record(self, refusal: Refusal) -> None:
        """Write one refusal. When this returns, all in-sync replicas hold it.

        Raises `Unavailable` when that is not known, `Refused` when the broker does not let this user write.
        """
        await self.write(refusal.encode(self._clock()))

    async def write(self, value: bytes) -> tuple[int, int]:
        """Write the value of a request and return its partition and position; raise as `record` does."""
        # One at a time: requests are rare, and a producer is never stopped under another's write.
        async with self._lock:
            try:
                producer = await self._ready()
                with translated("Recording a request"):
                    async with asyncio.timeout(_WRITE_SECONDS):
                        partitions: set[int] = await producer.partitions_for(topics.REQUESTS)
                        if not partitions:
                            raise Unavailable("kafka-no-topic", f"There is no topic {topics.REQUESTS} yet.")
                        written = await producer.send_and_wait(topics.REQUESTS, value, partition=max(partitions))
                        return int(written.partition), int(written.offset)
            except BaseException:
                await self._discard()
                raise

    async def _ready(self) -> Any:
        if self._producer is None:
            self._producer = await start(
                AIOKafkaProducer(**self._connection.aiokafka(), enable_idempotence=True, acks="all"), self._connection
            )
        return self._producer

    async def _discard(self) -> None:
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await stop(producer)
