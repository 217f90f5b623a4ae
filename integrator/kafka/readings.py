"""Hands what an auditor reads to the ledger, and returns when it is an entry there: only then may they be answered.

The record goes to the API's partition of `integrator.requests`, from which the institution log and the subject shard
that reads this partition make their entries. The API knows their positions from the ledger's own files.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from integrator.kafka.refusals import KafkaRefusals
from integrator.recording.entered import Entered
from integrator.recording.readings import Reading


class KafkaReadings:
    """Readings on the event log, through the producer of the refusals."""

    def __init__(
        self,
        requests: KafkaRefusals,
        entered: Entered,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._requests = requests
        self._entered = entered
        self._clock = clock

    async def record(self, reading: Reading) -> None:
        """Write one reading. When this returns, it is a durable entry, and each person's of it too.

        Raises `Unavailable` (`reading-not-entered`, or as the event log does) when that is not known in time: the
        answer must not be given.
        """
        partition, position = await self._requests.write(reading.encode(self._clock()))
        await self._entered.wait(partition, position, people=bool(reading.people))
