"""Waits until a record that the API wrote is an entry of the ledger, by the positions in the logs' own files.

The ledger's process commits positions in the transaction of the entries: a log whose next position is behind a record
has its entries, or has set it aside, which is looked for too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final, Protocol

from integrator.domain.errors import Unavailable
from integrator.domain.topics import REQUESTS
from integrator.recording.failures import translated
from integrator.recording.threads import in_thread
from integrator_audit import SetAside

PATIENCE: Final = 10.0
"""Seconds after which the ledger is said not to answer."""
_LOOK: Final = 0.02
"""Seconds between two looks: the ledger commits a few times in a second."""


class Standing(Protocol):
    """A log as this room reads it: `integrator_audit.LedgerReader`."""

    def positions(self) -> dict[tuple[str, int], int]: ...

    def set_asides(self) -> list[SetAside]: ...


class Newest(Protocol):
    """The logs that are written now: `integrator.recording.readers.Readers`. Raises `Unavailable` before there are."""

    def written(self) -> tuple[Standing, Sequence[Standing]]:
        """Return the institution log and the subject shards."""
        ...


class Entered:
    """Follows the logs of one installation. Safe to share between tasks."""

    def __init__(self, logs: Newest) -> None:
        self._logs = logs

    async def wait(self, partition: int, position: int, *, people: bool) -> None:
        """Return when the record at this position of `integrator.requests` is an entry of the institution log.

        With `people` also of the subject shard that reads this partition. Raises `Unavailable` (`reading-not-entered`)
        when that does not happen in time, or when the record was set aside.
        """
        end = time.monotonic() + PATIENCE
        while not await in_thread(self._is_entered, (REQUESTS, partition), position, people=people):
            if time.monotonic() > end:
                raise Unavailable(
                    "reading-not-entered",
                    "The ledger did not enter this question in time, so it is not answered: is its process running?",
                )
            await asyncio.sleep(_LOOK)

    def _is_entered(self, place: tuple[str, int], position: int, *, people: bool) -> bool:
        with translated():
            institution, shards = self._logs.written()
            # Of the shards one alone reads this partition.
            behind = [log for log in shards if log.positions().get(place, 0) > position] if people else []
            if institution.positions().get(place, 0) <= position or (people and not behind):
                return False
            for log in (institution, *behind):
                if any((one.topic, one.partition, one.position) == (*place, position) for one in log.set_asides()):
                    raise Unavailable(
                        "reading-not-entered",
                        "The ledger set this question aside instead of entering it, so it is not answered: tell the "
                        "operator.",
                    )
        return True
