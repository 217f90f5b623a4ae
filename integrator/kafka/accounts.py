"""Adds up what the lanes say of themselves: how far they are, what they delivered, what they withheld and why.

It reads what the lanes committed and asks no lane, so an account can be drawn up while everything is stopped.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# Reason: aiokafka ships no type information; what it returns is typed here, at the boundary.

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka.structs import TopicPartition

from integrator.domain import topics
from integrator.domain.errors import Refused
from integrator.encoding import record_type
from integrator.kafka.connection import Connection, start, stop
from integrator.kafka.consumer import committed_reader, read_state
from integrator.kafka.failures import translated
from integrator.routing.ports import Place
from integrator.routing.state import Count, LaneState, fold

_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """From `start` on, the records of this partition are decided at this directory position."""

    topic: str
    partition: int
    start: int
    directory: int


@dataclass(slots=True)
class Accounts:
    """The state of all lanes together."""

    positions: dict[Place, int] = field(default_factory=dict[Place, int])
    sequences: dict[Place, int] = field(default_factory=dict[Place, int])
    """How many were delivered, by topic and partition: each partition has one lane."""
    counts: dict[Count, int] = field(default_factory=dict[Count, int])
    directory: int | None = None
    """The directory position that every lane has decided with; `None` when some lane has not begun."""

    def delivered(self, topic: str) -> int:
        """Return how many records were delivered to `topic`."""
        return sum(last for (name, _), last in self.sequences.items() if name == topic)


def add_up(states: Sequence[LaneState]) -> Accounts:
    """Return the account of these lanes."""
    accounts = Accounts()
    for state in states:
        accounts.positions.update({place: reached.position for place, reached in state.positions.items()})
        accounts.sequences.update(state.sequences)
        for key, number in state.counts.items():
            accounts.counts[key] = accounts.counts.get(key, 0) + number
    acknowledged = [state.directory for state in states]
    if acknowledged and None not in acknowledged:
        accounts.directory = min(position for position in acknowledged if position is not None)
    return accounts


async def read_accounts(connection: Connection, *, lanes: int) -> Accounts:
    """Read the state of every lane as it is committed now. Needs a user that may read `integrator.lanes`."""
    states = await asyncio.gather(*(read_state(connection, lane) for lane in range(lanes)))
    return add_up([fold(records) for records in states])


async def read_all(connection: Connection, topic: str) -> list[Any]:
    """Return every committed record of `topic` as it is now, partition by partition, as aiokafka gives them."""
    consumer = await start(committed_reader(connection), connection)
    found: list[Any] = []
    try:
        with translated(f"Reading {topic}"):
            async with asyncio.timeout(_SECONDS):
                places = [TopicPartition(topic, number) for number in await _partitions(consumer, topic)]
                consumer.assign(places)
                earliest: Mapping[Any, int] = await consumer.beginning_offsets(places)
                latest: Mapping[Any, int] = await consumer.end_offsets(places)
                for place in places:
                    consumer.seek(place, earliest[place])
                for place in places:
                    while await consumer.position(place) < latest[place]:
                        fetched: Mapping[Any, list[Any]] = await consumer.getmany(place, timeout_ms=100)
                        found += fetched.get(place, [])
    finally:
        await stop(consumer, seconds=2.0)
    return found


async def read_steps(connection: Connection) -> list[Step]:
    """Return every step that the lanes recorded, oldest first within a partition."""
    decode = record_type("lanes/step").decode
    steps: list[Step] = []
    for record in await read_all(connection, topics.STEPS):
        value = decode(record.value)
        steps.append(Step(value["topic"], value["partition"], value["from"], value["directoryPosition"]))
    return steps


async def read_ends(connection: Connection, names: Iterable[str]) -> dict[Place, int]:
    """Return the end of what is committed, for every partition of these topics."""
    consumer = await start(committed_reader(connection), connection)
    try:
        with translated("Reading the ends of topics"):
            async with asyncio.timeout(_SECONDS):
                places = [TopicPartition(name, n) for name in names for n in await _partitions(consumer, name)]
                consumer.assign(places)
                ends: Mapping[Any, int] = await consumer.end_offsets(places)
    finally:
        await stop(consumer, seconds=2.0)
    return {(place.topic, place.partition): end for place, end in ends.items()}


async def _partitions(consumer: Any, topic: str) -> list[int]:
    # A consumer that is given a topic which does not exist asks for it without end and says nothing.
    if topic not in await consumer.topics():
        raise Refused("kafka-no-topic", f"There is no topic {topic}, or this user may not see it.")
    # Only an assigned topic has its partitions in the client's metadata.
    first = TopicPartition(topic, 0)
    consumer.assign([first])
    await consumer.beginning_offsets([first])
    return sorted(consumer.partitions_for_topic(topic) or ())
