"""Makes a worker on Kafka: the clients of its lanes, its place in the group, and what the log says of its topics."""

# pyright: reportPrivateImportUsage=false
# Reason: confluent-kafka documents these names in `confluent_kafka.admin`, but its types do not export them.

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, TopicDescription

from integrator.domain.topics import LAG_GROUP
from integrator.kafka.admin import REQUEST_SECONDS, answers
from integrator.kafka.connection import Connection
from integrator.kafka.consumer import PartitionReader, read_state
from integrator.kafka.ownership import SESSION_MS, GroupOwnership
from integrator.kafka.producer import TRANSACTION_TIMEOUT_MS, TransactionalProducer
from integrator.routing.engine import Engine
from integrator.routing.ports import Brakes, Directories, Place, TopicIdentity, Unbraked
from integrator.routing.setting import LaneLimits, LaneSetting
from integrator.routing.worker import Worker

_UNKNOWN_TOPIC, _NOT_AUTHORISED = 3, 29


class KafkaLog:
    """The event log as lanes need it. Implements `EventLog`."""

    def __init__(self, connection: Connection, *, transaction_timeout_ms: int = TRANSACTION_TIMEOUT_MS) -> None:
        self._connection = connection
        self._transaction_timeout_ms = transaction_timeout_ms
        # `Any`: its types leave out what its futures hold.
        self._administrator: Any = None

    def producer(self, lane: int) -> TransactionalProducer:
        """Return a producer for one start of one lane."""
        return TransactionalProducer(self._connection, lane, transaction_timeout_ms=self._transaction_timeout_ms)

    def reader(self) -> PartitionReader:
        """Return a reader for one lane."""
        return PartitionReader(self._connection)

    async def state(self, lane: int) -> Sequence[tuple[bytes, bytes | None]]:
        """Return the lane's state records."""
        return await read_state(self._connection, lane)

    async def identify(self, topics: Sequence[str]) -> Mapping[str, TopicIdentity]:
        """Return what those of `topics` are that exist and that the lanes' user may see."""
        cluster = await self._connection.look()
        asked = self._admin().describe_topics(TopicCollection(list(topics)), request_timeout=REQUEST_SECONDS)
        found: dict[str, TopicDescription] = await answers(
            "Looking at the sources' topics", asked, without=frozenset({_UNKNOWN_TOPIC, _NOT_AUTHORISED})
        )
        return {
            name: TopicIdentity(cluster.id, str(topic.topic_id), len(topic.partitions)) for name, topic in found.items()
        }

    async def copy_positions(self, positions: Mapping[Place, int]) -> None:
        """Commit positions to the group `integrator.lag`. The group of the lanes itself would refuse them."""
        copies = [TopicPartition(topic, partition, position) for (topic, partition), position in positions.items()]
        asked = self._admin().alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(LAG_GROUP, copies)], request_timeout=REQUEST_SECONDS
        )
        await answers("Copying positions", asked)

    async def close(self) -> None:
        """Let go of the administrator's client; its threads end with the last reference."""
        self._administrator = None

    def _admin(self) -> Any:
        if self._administrator is None:
            self._administrator = AdminClient(self._connection.confluent())
        return self._administrator


@dataclass(frozen=True, slots=True)
class WorkerTiming:
    """How fast a worker works, and how fast the others notice that it does not."""

    limits: LaneLimits = field(default_factory=LaneLimits)
    session_ms: int = SESSION_MS
    transaction_timeout_ms: int = TRANSACTION_TIMEOUT_MS


def make_worker(  # noqa: PLR0913  each is a part of the world that a worker is wired to
    connection: Connection,
    *,
    lanes: int,
    engine: Engine,
    directories: Directories,
    brakes: Brakes | None = None,
    timing: WorkerTiming | None = None,
) -> Worker:
    """Return a worker that shares `lanes` lanes with every other of the same Kafka; `Worker.run` starts it.

    Without `brakes` nothing but the directory and the clock makes a lane wait: no ledger is asked.
    """
    timing = timing or WorkerTiming()
    membership = GroupOwnership(connection, session_ms=timing.session_ms)
    setting = LaneSetting(
        lanes,
        log=KafkaLog(connection, transaction_timeout_ms=timing.transaction_timeout_ms),
        ownership=membership,
        directories=directories,
        engine=engine,
        clock=lambda: time.time_ns() // 1_000_000,
        limits=timing.limits,
        brakes=brakes or Unbraked(),
    )
    return Worker(setting, membership)
