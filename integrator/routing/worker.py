"""Runs the lanes that are this process's, all in one event loop, and gives them up in order when it is told to stop.

Shutdown: the lanes finish the transaction that they are in, then the process leaves the group, so that the next owner
finds nothing to fence. Whatever does not end in time is cut off, which is as safe as a crash.
"""

from __future__ import annotations

import asyncio
from typing import Any

from integrator import telemetry
from integrator.domain.errors import IntegratorError
from integrator.routing.lane import Lane
from integrator.routing.ports import Membership, Place
from integrator.routing.setting import LaneSetting

DRAIN_SECONDS = 5.0
"""For the lanes; together with leaving the group and closing, the process ends within 10 seconds."""
COPY_SECONDS = 5.0

_log = telemetry.log("routing")


class Worker:
    """Some of the L lanes. Which, the membership says; it changes while the worker runs."""

    def __init__(self, setting: LaneSetting, membership: Membership) -> None:
        """Make the worker; nothing is started. `membership` is the ownership of `setting`."""
        self._log = setting.log
        self._membership = membership
        self._lanes = [Lane(lane, setting) for lane in range(setting.lanes)]

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set; when this returns, nothing of it runs any more.

        Raises `Refused` or `Unavailable` when the group cannot be joined at the start.
        """
        await self._membership.start()
        copying = asyncio.create_task(self._copy_positions(), name="copy-positions")
        seats = [
            asyncio.create_task(self._seat(number, stop), name=f"lane-{number}") for number in range(len(self._lanes))
        ]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([stopping, copying, *seats], return_when=asyncio.FIRST_COMPLETED)
            for task in (copying, *seats):
                if task.done():
                    task.result()  # a bug: the process ends with it and is started anew, rather than lack a lane
            for lane in self._lanes:
                lane.stop()
            # Seats without a lane wait for one, and for nothing else: they are cut off below.
            if busy := [seat for seat, lane in zip(seats, self._lanes, strict=True) if lane.running]:
                await asyncio.wait(busy, timeout=DRAIN_SECONDS)
        finally:
            ending: tuple[asyncio.Task[Any], ...] = (*seats, copying, stopping)
            for task in ending:
                task.cancel()
            await asyncio.wait(ending)
            await self._membership.close()
            await self._log.close()

    async def _seat(self, number: int, stop: asyncio.Event) -> None:
        """Run lane `number` whenever it is ours. One task per lane, so it never runs twice in a process."""
        lane = self._lanes[number]
        while not stop.is_set():
            if self._membership.owned(number):
                await lane.run()
            else:
                await self._membership.changed()

    async def _copy_positions(self) -> None:
        """Show the lanes' positions to lag tools now and then: best effort, nobody reads them back."""
        copied: dict[Place, int] = {}
        while True:
            await asyncio.sleep(COPY_SECONDS)
            positions = {place: position for lane in self._lanes for place, position in lane.positions().items()}
            fresh = {place: position for place, position in positions.items() if copied.get(place) != position}
            if not fresh:
                continue
            try:
                await self._log.copy_positions(fresh)
            except IntegratorError as error:
                _log.info("positions-not-copied", code=error.code)
            else:
                copied |= fresh
