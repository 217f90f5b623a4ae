"""Writes a lane's transactions so that nothing of a failed one is ever seen, by the rules that Kafka's defects ask for.

- Every send is awaited before the commit: aiokafka commits although a batch was refused.
- After any exception the producer is discarded, never aborted: after an authorisation error aiokafka's abort sends
  nothing, and the next commit would publish what was "aborted".
- KAFKA-20734: a transaction that ends while a partition has no leader may get no marker there, and the next marker of
  the same transactional id decides over its records. So nothing is left open:
  - At every start all partitions that the lane's state names are looked at: their end for committed readers must be
    the end of their log. What is open and not newer than the last transaction of the state was committed, and is; what
    is newer is aborted. A partition that the state does not name is looked at before it is first written.
  - While a producer lives, all that it wrote is committed, else it would be thrown away. When a broker may have been
    away since its last transaction, it first commits whatever is open, in a transaction without a record.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# Reason: aiokafka ships no type information; what it returns is typed here, at the boundary.

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import for_code
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.structs import TopicPartition

from integrator.domain import topics
from integrator.domain.errors import IntegratorError, Invalid, Unavailable
from integrator.kafka.connection import Connection, start, stop
from integrator.kafka.failures import FOREIGN, translate
from integrator.routing.ports import Fenced, Outbox, OutRecord, Place

TRANSACTION_TIMEOUT_MS = 60_000
"""Longer than the restart of a broker: fencing ends the transactions of the dead, this only those of nobody."""
COMMIT_SECONDS = 12.0
SLOW_SECONDS = 0.5
"""After a commit that took longer, a partition may have been without a leader when it ended."""
# Below the 1 MiB that a topic takes by default, which counts the batch with its header.
_BATCH_BYTES = 512 * 1024
_OWN_TOPICS = (topics.LANES, topics.STEPS, topics.DISCLOSURES, topics.QUARANTINE, topics.REQUESTS)
_LATEST = -1
_COMMITTED, _UNCOMMITTED = 1, 0
_CLOSING_TRIES = 20


Found = tuple[int, int]
"""Offset and time of a record."""


class TransactionalProducer:
    """The producer of one lane. Implements `LaneProducer`; used by the lane's task alone, so it needs no lock."""

    def __init__(
        self, connection: Connection, lane: int, *, transaction_timeout_ms: int = TRANSACTION_TIMEOUT_MS
    ) -> None:
        self._connection = connection
        self._lane = lane
        self._timeout_ms = transaction_timeout_ms
        self._producer: Any = None
        self._visible_at = 0
        self._shown: set[Place] = set()
        """Partitions that the lane's state names: what is open there may have been committed."""
        self._connections: tuple[Any, ...] = ()
        """Those that were open after the last commit: when one is gone, a broker may have been away."""
        self._whole: set[Place] = set()
        """Partitions that this producer has seen without leftovers: only its own transactions are there since."""

    async def start(self) -> None:
        """Fence every earlier owner; when this returns, the lane's state can be read to its end."""
        self._producer = AIOKafkaProducer(
            **self._connection.aiokafka(),
            transactional_id=topics.lane_transactions(self._lane),
            transaction_timeout_ms=self._timeout_ms,
            max_batch_size=_BATCH_BYTES,
            request_timeout_ms=10_000,
            retry_backoff_ms=20,
        )
        try:
            await start(self._producer, self._connection)
            async with asyncio.timeout(COMMIT_SECONDS):
                # LIMIT: when the last transaction was committed and only the state did not get its marker, its
                # leftover is aborted here and what it delivered is delivered again.
                await self._ensure_whole([(topics.LANES, self._lane)])
        except (*FOREIGN, AssertionError, IntegratorError) as error:
            raise self._known(error, "Starting") from error

    async def recover(self, at: int, places: Collection[Place]) -> None:
        """Close what earlier transactions left open in the integrator's own topics and in `places`.

        `at` is the time of the last transaction that the lane's state shows, `places` are those that the state names.
        """
        self._visible_at = at
        # Without a transaction in the state, nothing that is open was ever committed.
        self._shown = {*((name, self._lane) for name in _OWN_TOPICS), *places} if at else set()
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._ensure_whole({*((name, self._lane) for name in _OWN_TOPICS), *places})
        except (*FOREIGN, AssertionError, IntegratorError) as error:
            raise self._known(error, "Recovering") from error

    async def commit(self, outbox: Outbox, *, at: int) -> None:
        """Write all of `outbox` in one transaction; each of its records has the time `at`.

        A partition that this producer has not written yet is looked at first. That includes those of agencies, of
        which a directory that lagged at the start may not have known.
        """
        futures: list[asyncio.Future[Any]] = []
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                if any(not connection.connected() for connection in self._connections):
                    await self._finish_own()
                await self._ensure_whole([place for place in outbox if place not in self._whole])
                batches = [(place, batch) for place, records in outbox.items() for batch in self._batches(records, at)]
                if await self._begin(outbox) > SLOW_SECONDS:
                    # Nothing is written yet: this transaction too may only finish what was open before it.
                    await self._producer.commit_transaction()
                    await self._finish_own()
                    await self._begin(outbox)
                begun = time.monotonic()
                for (topic, partition), batch in batches:
                    future = await self._producer.send_batch(batch, topic, partition=partition)
                    future.add_done_callback(_look)
                    futures.append(future)
                await asyncio.gather(*futures)
                await self._producer.commit_transaction()
                self._connections = tuple(self._producer.client._conns.values())
                if time.monotonic() - begun > SLOW_SECONDS:
                    await self._finish_own()
        except (*FOREIGN, AssertionError) as error:
            # Between two batches a refused one shows as `IllegalOperation`; its own future knows why.
            raise self._known(_first_failure(futures) or error, "Writing") from error

    async def _begin(self, places: Collection[Place]) -> float:
        """Begin a transaction over `places` and return how many seconds the coordinator took to take them in.

        It takes none before the last transaction has ended everywhere, as far as it knows. aiokafka adds a partition
        with its first record only, so its transaction manager is told directly; the record would be read by agencies.
        """
        begun = time.monotonic()
        await self._producer.begin_transaction()
        manager: Any = self._producer._txn_manager
        for place in places:
            manager.maybe_add_partition_to_txn(TopicPartition(*place))
        while manager.partitions_to_add():
            if not manager.is_in_transaction():
                break  # it failed; whatever is called next says why
            await asyncio.sleep(0.001)
        return time.monotonic() - begun

    async def _finish_own(self) -> None:
        """Commit what this producer's transactions have left open: all of them were committed."""
        if self._whole:
            await self._begin(self._whole)
            await self._producer.commit_transaction()
            self._connections = tuple(self._producer.client._conns.values())

    async def close(self) -> None:
        """Let go of the connections without sending what is still waiting."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        sender: Any = producer._sender.sender_task
        if sender is not None:
            # `stop()` alone would first send all that waits, for as long as a broker is away.
            sender.cancel()
        await stop(producer, seconds=2.0)
        await stop(producer.client, seconds=2.0)

    def _known(self, error: BaseException, doing: str) -> IntegratorError:
        known = translate(error, f"{doing} as lane {self._lane}")
        if known.code == "kafka-fenced" or isinstance(error, AssertionError):
            # aiokafka's transaction manager asserts its state once it has been fenced.
            return Fenced(f"Lane {self._lane} was taken over by another producer, or its transaction timed out.")
        return known

    def _batches(self, records: Sequence[OutRecord], at: int) -> list[Any]:
        batches = [self._producer.create_batch()]
        for record in records:
            if _append(batches[-1], record, at) is None:
                batches.append(self._producer.create_batch())
                if _append(batches[-1], record, at) is None:
                    raise Invalid("kafka-too-large", "A record is larger than a batch may be.")
        for batch in batches:
            batch.close()
        return batches

    async def _ensure_whole(self, places: Collection[Place]) -> None:
        """Return when none of `places` holds records of a transaction that has ended without its marker."""
        if not places:
            return
        for _ in range(_CLOSING_TRIES):
            committed, aborted = await self._leftovers(places)
            if not committed and not aborted:
                self._whole.update(places)
                return
            if committed:
                await self._begin(committed)
                await self._producer.commit_transaction()
            if aborted:
                await self._begin(aborted)
                await self._producer.abort_transaction()
        raise Unavailable("lane-leftovers", f"Open records stay in {len(places)} partitions of lane {self._lane}.")

    async def _leftovers(self, places: Collection[Place]) -> tuple[list[Place], list[Place]]:
        """Return the partitions that hold open records of committed transactions, and those of others.

        Times of transactions grow within a lane, and every record of one has its time. What is not newer than the last
        transaction of the state was committed: an aborted one of before was closed when its next owner started.
        """
        committed = await self._offsets(places, _LATEST, isolation=_COMMITTED)
        ends = await self._offsets(places, _LATEST, isolation=_UNCOMMITTED)
        open_places = [place for place in places if committed[place][0] != ends[place][0]]
        known = [place for place in open_places if place in self._shown]
        if not known:
            return [], open_places
        newer = await self._offsets(known, self._visible_at + 1, isolation=_UNCOMMITTED)
        shown = {place for place in known if newer[place][0] < 0}
        return [place for place in open_places if place in shown], [one for one in open_places if one not in shown]

    async def _offsets(self, places: Collection[Place], asked_for: int, *, isolation: int) -> Mapping[Place, Found]:
        """Return offset and time of the end of each partition (`_LATEST`), or of its first record at or after a time.

        The end is that of what is committed, or of the log; it has no time.

        A consumer's `end_offsets` takes 100 ms and more for topics that it has not been assigned; this takes one
        request for each broker.
        """
        client = self._producer.client
        by_node: dict[int, dict[str, list[tuple[int, int]]]] = {}
        for topic, partition in places:
            await self._producer.partitions_for(topic)
            node = client.cluster.leader_for_partition(TopicPartition(topic, partition))
            if node is None or node < 0:
                client.force_metadata_update()
                raise Unavailable("kafka-no-leader", f"Partition {partition} of {topic} has no leader now.")
            by_node.setdefault(node, {}).setdefault(topic, []).append((partition, asked_for))
        found: dict[Place, Found] = {}
        for node, asked in by_node.items():
            answer: Any = await client.send(node, OffsetRequest(-1, isolation, list(asked.items())))
            for topic, partitions in answer.topics:
                for partition, code, timestamp, offset, *_epoch in partitions:
                    if code:
                        client.force_metadata_update()
                        raise for_code(code)(f"{topic}/{partition}")
                    found[topic, partition] = offset, timestamp
        return found


def _append(batch: Any, record: OutRecord, at: int) -> Any:
    return batch.append(key=record.key, value=record.value, timestamp=at, headers=list(record.headers))


def _look(future: asyncio.Future[Any]) -> None:
    """Take note of a failure that nobody waits for any more, so that it is not logged as forgotten."""
    if not future.cancelled():
        future.exception()


def _first_failure(futures: Sequence[asyncio.Future[Any]]) -> BaseException | None:
    for future in futures:
        if future.done() and not future.cancelled() and (error := future.exception()) is not None:
            return error
    return None
