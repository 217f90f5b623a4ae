"""Reads an agency's topic as a member of its group: at least once, in order, with nothing acknowledged by accident.

- Subscribing (never assigning by hand) makes a foreign topic an error at the start.
- When the group shares its partitions anew, each is read on from what is acknowledged. The client hands out records
  while that happens; those are dropped, because they come again (`_settled`).
- The books belong to one assignment: what was handed out under an earlier one is acknowledged to nobody.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# Reason: aiokafka ships no type information; what it returns is typed here, at the boundary.

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from integrator.domain.errors import IntegratorError, Refused, Tampered, Unavailable
from integrator.encoding import decode, unframe
from integrator.kafka.connection import Connection, start, stop
from integrator.kafka.failures import FOREIGN, translate, translated
from integrator.sdk.api import Api
from integrator.sdk.bookkeeping import Acknowledgements, Sequences
from integrator.sdk.delivered import Delivered, Envelope, Position

_FETCH_MS: Final = 500
_COMMIT_SECONDS: Final = 1.0
_LIMIT: Final = 500


@dataclass(frozen=True, slots=True)
class Subscribed:
    """What the integrator answered: where to read, and under which authorisation."""

    stream: str
    purpose: str
    topic: str
    group_prefix: str
    schema_id: int
    authorisation: str
    version: int


@dataclass(frozen=True, slots=True)
class _Books:
    """What is known of one assignment."""

    acknowledgements: Acknowledgements
    sequences: Sequences


class Reading:
    """One member of the agency's group, reading one topic. Owned by the task that iterates over `events`."""

    def __init__(self, connection: Connection, api: Api, subscribed: Subscribed, group: str, *, raises: bool) -> None:
        self._connection = connection
        self._api = api
        self._subscribed = subscribed
        self._raises = raises
        self._books = _Books(Acknowledgements(), Sequences())
        self._settled = asyncio.Event()
        self._failed: IntegratorError | None = None
        """What went wrong while the group shared its partitions: the client only logs that."""
        self._committed_at = 0.0
        self._consumer: Any = AIOKafkaConsumer(
            **connection.aiokafka(),
            group_id=subscribed.group_prefix + group,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_poll_records=_LIMIT,
        )

    async def events(self) -> AsyncGenerator[Delivered]:
        """Yield what is delivered, until closed. Raises `Refused`, `Unavailable`, `Invalid`, `Tampered`."""
        doing = f"Receiving {self._subscribed.topic} as {self._connection.username}"
        self._consumer.subscribe([self._subscribed.topic], listener=_Rebalances(self))
        await start(self._consumer, self._connection)
        try:
            while True:
                with translated(doing):
                    found = await self._consumer.getmany(timeout_ms=_FETCH_MS, max_records=_LIMIT)
                if self._failed is not None:
                    raise self._failed
                if self._settled.is_set():
                    for record in (record for records in found.values() for record in records):
                        books = self._books
                        event = await self._delivered(record, books)
                        if books is not self._books or not self._settled.is_set():
                            break  # the rest comes again, here or to another member
                        yield event
                        if asyncio.get_running_loop().time() - self._committed_at >= _COMMIT_SECONDS:
                            await self._commit()
                        if books is not self._books or not self._settled.is_set():
                            break
                await self._commit()
        finally:
            await self._leave()

    async def unsettle(self) -> None:
        """The group is about to share its partitions anew: make durable what is acknowledged, hand out nothing."""
        self._settled.clear()
        try:
            await self._commit()
        except IntegratorError as error:
            self._failed = error

    async def settle(self, assigned: list[TopicPartition]) -> None:
        """Read on from what is acknowledged, with new books."""
        try:
            positions = await self._acknowledged(assigned)
        except FOREIGN as error:
            self._failed = translate(error, f"Finding what is acknowledged in {self._subscribed.topic}")
            return
        # No await from here: a record fetched before is never handed out after.
        for partition, offset in positions.items():
            self._consumer.seek(partition, offset)
        self._books = _Books(Acknowledgements(), Sequences())
        self._settled.set()

    async def _acknowledged(self, assigned: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where to read on: what the group has acknowledged, else the oldest event that is kept."""
        positions: dict[TopicPartition, int] = {}
        for partition in assigned:
            committed = cast("int | None", await self._consumer.committed(partition))
            if committed is not None:
                positions[partition] = committed
        fresh = [partition for partition in assigned if partition not in positions]
        if fresh:
            positions |= cast("dict[TopicPartition, int]", await self._consumer.beginning_offsets(fresh))
        return positions

    async def _delivered(self, record: Any, books: _Books) -> Delivered:
        envelope = Envelope.read(tuple(record.headers))
        identifier, body = unframe(record.value)
        value = decode(await self._api.schema(identifier), body)
        missing = books.sequences.missing(record.partition, envelope.lane, envelope.sequence)
        if missing and self._raises:
            raise Tampered(
                "sequence-gap",
                f"{missing} event(s) are missing in {record.topic}, partition {record.partition}, lane "
                f"{envelope.lane}, before sequence {envelope.sequence}: ask the integrator before you go on.",
            )
        position = Position(record.topic, record.partition, record.offset)
        books.acknowledgements.give(position)
        return Delivered(
            stream=self._subscribed.stream,
            value=value,
            envelope=envelope,
            person=bytes(record.key or b"").decode("ascii", "replace"),
            received=datetime.now(UTC),
            position=position,
            digest=hashlib.sha256(record.value).hexdigest(),
            missing=missing,
            acknowledge=books.acknowledgements.done,
        )

    async def _commit(self) -> None:
        """Make acknowledgements durable. When that fails, they stay in the books, or the events come again."""
        self._committed_at = asyncio.get_running_loop().time()
        books = self._books
        positions = books.acknowledgements.take()
        held: set[TopicPartition] = self._consumer.assignment()
        offsets = {partition: positions[partition.partition] for partition in held if partition.partition in positions}
        if not offsets:
            return
        try:
            await self._consumer.commit(offsets)
        except FOREIGN as error:
            books.acknowledgements.put_back(positions)
            known = translate(error, f"Acknowledging {self._subscribed.topic}")
            if not isinstance(known, Unavailable):
                raise known from error

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(5):
                await self._commit()
        except (TimeoutError, Refused):
            # Not durable, so delivered again: the promise of an acknowledgement is at least once. A reader who may
            # no longer read cannot acknowledge either, and hears that from the read.
            return
        finally:
            await stop(self._consumer)


class _Rebalances(ConsumerRebalanceListener):
    """Passes the group's changes on to the reading."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # noqa: ARG002  aiokafka awaits it
        await self._reading.unsettle()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        await self._reading.settle(list(assigned))
