"""Shares the lanes over the workers: who has partition *i* of `integrator.lanes` in the group has lane *i*.

- Nothing is read from those partitions here: they are paused, and asked for all the time, because a member that stops
  asking leaves the group without an error.
- Lanes that stay are not stopped at a rebalance. That is safe: whoever starts a lane fences its last owner.
- The callbacks only note; no lane is started or awaited in them, or one rebalance would wait for another.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# Reason: aiokafka ships no type information; what it returns is typed here, at the boundary.

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.structs import TopicPartition

from integrator import telemetry
from integrator.domain.topics import LANES, LANES_GROUP
from integrator.kafka.connection import Connection, start, stop
from integrator.kafka.failures import FOREIGN, translate

SESSION_MS = 10_000
"""A worker that was silent for so long has lost its lanes."""
_POLL_MS = 500
_PAUSE_SECONDS = 0.5
_CONFIRM_SECONDS = 5.0

_log = telemetry.log("kafka")


class GroupOwnership(ConsumerRebalanceListener):
    """This process's membership. Implements `Membership`; everything happens in one event loop."""

    def __init__(self, connection: Connection, *, session_ms: int = SESSION_MS) -> None:
        self._connection = connection
        self._session_ms = session_ms
        self._consumer: Any = None
        self._polling: asyncio.Task[None] | None = None
        self._lanes: frozenset[int] = frozenset()
        self._settled = False
        self._news = asyncio.Event()

    def owned(self, lane: int) -> bool:
        """Tell whether the group last gave us the lane; during a rebalance what was before still holds."""
        return lane in self._lanes

    async def changed(self) -> None:
        """Return when the group has given or taken lanes, or has begun to."""
        await self._news.wait()

    async def confirmed(self, lane: int) -> bool:
        """Ask the group: it takes a commit only from a member of its present generation.

        Our own view may be as old as a heartbeat, and after a pause of the process older than that.
        """
        while self.owned(lane):
            if not self._settled:
                await self.changed()
                continue
            try:
                async with asyncio.timeout(_CONFIRM_SECONDS):
                    # Nobody reads this position: the state is always read from its beginning.
                    await self._consumer.commit({TopicPartition(LANES, lane): 0})
            except (*FOREIGN, AttributeError):  # of another generation, or the broker or the consumer is away
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return self.owned(lane)
        return False

    async def start(self) -> None:
        """Join the group. Raises as `connection.start` does."""
        self._consumer = await self._join()
        self._polling = asyncio.create_task(self._poll(), name="lanes-group")

    async def close(self) -> None:
        """Leave the group at once, so that others need not wait for the session to end."""
        polling, self._polling = self._polling, None
        if polling is not None:
            polling.cancel()
            await asyncio.wait([polling])
        await self._leave()
        self._note(frozenset(), settled=False)

    # The two names are aiokafka's. Both are called by the consumer's own task.
    def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
        """Note that the group rearranges. What we have, we keep until we know better."""
        del revoked
        self._note(self._lanes, settled=False)

    def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Note which lanes are ours."""
        places = tuple(assigned)
        if self._consumer is not None:
            self._consumer.pause(*places)
        self._note(frozenset(int(place.partition) for place in places), settled=True)

    def _note(self, lanes: frozenset[int], *, settled: bool) -> None:
        self._lanes, self._settled = lanes, settled
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _join(self) -> Any:
        # aiokafka keeps what a member last had in the assignor's class: two members in one process need two.
        assignor = type("LanesAssignor", (StickyPartitionAssignor,), {})
        self._consumer = AIOKafkaConsumer(
            **self._connection.aiokafka(),
            group_id=LANES_GROUP,
            partition_assignment_strategy=[assignor],
            auto_offset_reset="latest",
            enable_auto_commit=False,
            session_timeout_ms=self._session_ms,
            heartbeat_interval_ms=max(self._session_ms // 4, 100),
            retry_backoff_ms=50,
        )
        self._consumer.subscribe([LANES], listener=self)
        return await start(self._consumer, self._connection)

    async def _leave(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop(consumer, seconds=2.0)

    async def _poll(self) -> None:
        """Ask for ever; make a new member when this one fails. The lanes go on meanwhile: fencing decides."""
        while True:
            try:
                consumer = self._consumer or await self._join()
                await consumer.getmany(timeout_ms=_POLL_MS)
            except Exception as error:  # whatever it is: a worker that does not ask leaves the group in silence
                known = translate(error, "Sharing the lanes")
                _log.warning("lanes-group-restarted", code=known.code, reason=known.message)
                await self._leave()
                await asyncio.sleep(_PAUSE_SECONDS)
