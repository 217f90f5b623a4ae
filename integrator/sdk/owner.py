"""Publishes a source's events: each in the partition of its person, written once, kept by all in-sync replicas.

- The contract's schema and its id come from the integrator, once per stream; a value that breaks it is never sent.
- A record's key is `scheme:value|fact-id`; its partition is that of the person, so the owner's producer sets it itself.
- At most `in_flight` records wait for the broker; then `publish` waits too: memory stays flat under a stalled broker.
- After a failed write nothing more is sent: what comes later must not overtake what was lost. Open the owner anew and
  go on after the last record that was acknowledged.

LIMIT: the whole record is published. Leaving out what no authorisation names needs a schema of the source in which
those fields may be absent, and a new version of it whenever an authorisation changes.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# Reason: aiokafka ships no type information; what it returns is typed here, at the boundary.

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, cast

from aiokafka import AIOKafkaProducer

from integrator.domain.errors import IntegratorError, Invalid, Refused, Unavailable
from integrator.domain.identifiers import Scheme, SubjectRef, split_stream
from integrator.domain.topics import partition_of
from integrator.encoding import encode, frame
from integrator.kafka.connection import START_SECONDS, Connection, start, stop
from integrator.kafka.failures import translate
from integrator.sdk.api import Api
from integrator.sdk.message import SourceMessage
from integrator.sdk.receipts import Receipts
from integrator.sdk.values import broken_path, value_at

IN_FLIGHT: Final = 2000
CANCEL_SECONDS: Final = 5.0
WRITE_SECONDS: Final = 60.0
"""How long one record may wait for the broker's acknowledgement, a restart of the broker included."""


@dataclass(frozen=True, slots=True)
class Published:
    """Where an event stands: durable, and next to be decided about."""

    stream: str
    event: str
    partition: int
    position: int


@dataclass(slots=True)
class Tally:
    """How many events were acknowledged, by stream."""

    streams: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def events(self) -> int:
        """The sum over all streams."""
        return sum(self.streams.values())

    def count(self, published: Published) -> None:
        """Enter one event."""
        self.streams[published.stream] = self.streams.get(published.stream, 0) + 1


@dataclass(frozen=True, slots=True)
class Stream:
    """What the owner knows of one of its streams."""

    name: str
    topic: str
    source_urn: str
    event_type: str
    schema_id: int
    schema: dict[str, Any]
    person: str
    schemes: tuple[Scheme, ...]
    fact_path: str | None
    fact_constant: str | None

    @classmethod
    async def read(cls, api: Api, name: str) -> Stream:
        """Ask the integrator what the stream is. Raises `Refused` (`unknown-stream`)."""
        source, stream = split_stream(name)
        told = await api.get(f"/v1/streams/{source}/{stream}")
        return cls(
            name=name,
            topic=told["topic"],
            source_urn=told["sourceUrn"],
            event_type=told["eventType"],
            schema_id=told["schemaId"],
            schema=await api.schema(told["schemaId"]),
            person=told["person"]["path"],
            schemes=tuple(told["person"]["schemes"]),
            fact_path=told["fact"].get("path"),
            fact_constant=told["fact"].get("constant"),
        )

    def record(self, message: SourceMessage) -> Record:
        """Return the record of an event. Raises `Invalid` (`contract`, `subject-invalid`), naming the path."""
        try:
            body = encode(self.schema, message.value)
        except Invalid:
            path = broken_path(self.schema, message.value)
            where = f"at {path}" if path else "as a whole: a member is missing or unknown"
            raise Invalid(
                "contract", f"Event {message.id} does not fit the contract of {self.name}, {where}.", where=path
            ) from None
        number = value_at(message.value, self.person)
        fact = self.fact_constant if self.fact_path is None else value_at(message.value, self.fact_path)
        if not isinstance(number, str) or not isinstance(fact, str) or not fact or "|" in fact:
            wrong = self.person if not isinstance(number, str) else self.fact_path or ""
            raise Invalid("contract", f"Event {message.id} has no usable text at {wrong}.", where=wrong)
        try:
            person = SubjectRef.of(number, self.schemes)
        except Invalid as error:
            raise Invalid(
                error.code, f"Event {message.id}, at {self.person}: {error.message}", where=self.person
            ) from None
        headers = (
            ("ce_specversion", b"1.0"),
            ("ce_id", message.id.encode()),
            ("ce_source", self.source_urn.encode()),
            ("ce_type", self.event_type.encode()),
            ("ce_time", message.time.encode()),
            ("content-type", b"application/avro"),
        )
        return Record(person, f"{person.canonical}|{fact}".encode(), frame(self.schema_id, body), headers)


@dataclass(frozen=True, slots=True)
class Record:
    """One record for the event log. Its representation would show a number: it has none."""

    person: SubjectRef
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    def __repr__(self) -> str:
        return f"Record({len(self.value)} bytes)"


_Waiting = tuple[SourceMessage, int, "asyncio.Future[Any]"]


class RegistryOwner:
    """A source, publishing with its own credentials.

        async with RegistryOwner(connection, "brp", api="http://127.0.0.1:8080") as owner:
            await owner.publish(message)

    Not safe for several tasks at once on `publish_many`; `publish` is.
    """

    def __init__(self, connection: Connection, source: str, *, api: str, in_flight: int = IN_FLIGHT) -> None:
        self._connection = connection
        self.source = source
        self._api = Api(api)
        self._in_flight = in_flight
        self._streams: dict[str, Stream] = {}
        self._partitions: dict[str, int] = {}
        self._producer: Any = None
        self._broken: IntegratorError | None = None
        self._slots = asyncio.Semaphore(in_flight)

    async def __aenter__(self) -> RegistryOwner:
        try:
            self._producer = await start(
                AIOKafkaProducer(
                    **self._connection.aiokafka(),
                    enable_idempotence=True,
                    acks="all",
                    linger_ms=5,
                    max_batch_size=256 * 1024,
                    retry_backoff_ms=20,
                ),
                self._connection,
            )
        except BaseException:
            await self._api.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        producer, self._producer = self._producer, None
        await stop(producer)
        await self._api.close()

    async def publish(self, message: SourceMessage) -> Published:
        """Publish one event. When this returns, it is durable.

        Raises `Invalid` when the event breaks its contract (nothing was sent), `Refused` when the source may not
        publish the stream, `Unavailable` when it is not known whether it was written.
        """
        async with self._slots:
            return await self._settled(message, *await self._send(message))

    async def publish_many(
        self,
        messages: Iterable[SourceMessage] | AsyncIterable[SourceMessage],
        *,
        progress: Callable[[Published], None] | None = None,
    ) -> Tally:
        """Publish events in their order and return how many; `progress` hears of each, in order, once it is durable.

        Stops at the first that fails, and when cancelled, after settling all before it. Raises as `publish` does.
        """
        tally = Tally()
        waiting: deque[_Waiting] = deque()

        async def settle(down_to: int) -> None:
            while len(waiting) > down_to:
                published = await self._settled(*waiting.popleft())
                tally.count(published)
                if progress is not None:
                    progress(published)

        try:
            async for message in _each(messages):
                if len(waiting) >= self._in_flight:
                    await settle(self._in_flight // 2)
                waiting.append((message, *await self._send(message)))
                while waiting and waiting[0][2].done():
                    await settle(len(waiting) - 1)
        except IntegratorError:
            # What was sent before the event that is wrong is good, and its owner wants to know how far that is.
            if self._broken is None:
                await settle(0)
            raise
        except asyncio.CancelledError:
            # What was sent is in the broker or soon will be: say so, as far as a moment's wait can tell.
            with suppress(IntegratorError, TimeoutError):
                async with asyncio.timeout(CANCEL_SECONDS):
                    await settle(0)
            raise
        await settle(0)
        return tally

    def receipts(self) -> Receipts:
        """Return what becomes of this source's events from now on: forwarded or not, never to whom.

        async with owner.receipts() as receipts:
            await owner.publish(message)
            async for receipt in receipts: ...
        """
        return Receipts(self._connection, self.source)

    async def stream(self, name: str) -> Stream:
        """Return what the integrator says of one of this source's streams. Raises `Refused` (`foreign-stream`)."""
        if (known := self._streams.get(name)) is None:
            if split_stream(name)[0] != self.source:
                raise Refused("foreign-stream", f"{name} is not a stream of the source {self.source}.")
            known = self._streams[name] = await Stream.read(self._api, name)
        return known

    async def _send(self, message: SourceMessage) -> tuple[int, asyncio.Future[Any]]:
        if self._broken is not None:
            raise self._broken
        if self._producer is None:
            raise Refused("not-open", "Use the owner inside `async with`.")
        stream = await self.stream(message.stream)
        record = stream.record(message)
        try:
            async with asyncio.timeout(START_SECONDS):
                partition = partition_of(record.person, await self._count(stream.topic))
            async with asyncio.timeout(WRITE_SECONDS):
                future = await self._producer.send(
                    stream.topic, record.value, record.key, partition=partition, headers=list(record.headers)
                )
        except IntegratorError:
            raise
        except Exception as error:
            raise self._fail(error, message.stream) from error
        return partition, cast("asyncio.Future[Any]", future)

    async def _count(self, topic: str) -> int:
        """Return the topic's number of partitions, which never changes."""
        if (known := self._partitions.get(topic)) is None:
            found = cast("set[int] | None", await self._producer.partitions_for(topic))
            if not found:
                raise Unavailable("kafka-no-topic", f"There is no topic {topic}, or this source may not see it.")
            known = self._partitions[topic] = len(found)
        return known

    async def _settled(self, message: SourceMessage, partition: int, future: asyncio.Future[Any]) -> Published:
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                metadata = await future
        except Exception as error:
            raise self._fail(error, message.stream) from error
        return Published(message.stream, message.id, partition, int(metadata.offset))

    def _fail(self, error: Exception, stream: str) -> IntegratorError:
        """Remember the first failure: after it the producer numbers its batches wrongly and is never used again."""
        if self._broken is None:
            self._broken = translate(error, f"Publishing to {stream} as {self._connection.username}")
        return self._broken


async def _each(messages: Iterable[SourceMessage] | AsyncIterable[SourceMessage]) -> AsyncIterable[SourceMessage]:
    if isinstance(messages, AsyncIterable):
        async for message in messages:
            yield message
    else:
        for message in messages:
            yield message
