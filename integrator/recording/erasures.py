"""Enters into the institution log what the register of erasures shows: each month once when it is over, and new keys.

- One entry is over all grounds and everybody of a month; how many they were is encrypted. There is no entry for one
  person, and none says which entries are gone.
- A change of the vault's generation is entered when it is seen: from then on no older backup opens what was erased.
- Up to where this was told stands among the log's positions, in the same commit, and goes with them into the log of the
  next half-year.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from integrator import telemetry
from integrator.recording import institution
from integrator.recording.sequencer import NOTHING, Due
from integrator_audit import Entry
from integrator_audit.errors import AuditError
from integrator_audit.forgetting.register import Change, Month, Register

_LOG = telemetry.log("recording")

MONTHS: Final = ("erasures/months", 0)
"""Stands for the last month that is an entry, counted from January of the year 0."""
GENERATIONS: Final = ("erasures/generations", 0)
"""Stands for the newest generation that is an entry."""
SETTLING: Final = timedelta(hours=1)
"""How long after its end a month may still be written to: an erasure that is completed at midnight takes a moment."""


class Erasures:
    """What of the register is not in the log yet. Owned by one sequencer."""

    def __init__(self, register: Path, *, recorded: Mapping[tuple[str, int], int]) -> None:
        """`recorded` are the positions of the log, also those that it has from the log before it."""
        self._path = register
        self._month, self._generation = recorded.get(MONTHS, 0), recorded.get(GENERATIONS, 0)
        self._seen: tuple[int, int] | None = None
        self._register: tuple[list[Month], list[Change]] = ([], [])

    def due(self, now: int, entries: Sequence[Entry]) -> Due:  # noqa: ARG002  nothing depends on the records
        """Return the entries of the months that are over, and of the changes of generation."""
        months, changes = self._read()
        at = datetime.fromtimestamp(now / 1000, UTC)
        this_month = number(f"{at - SETTLING:%Y-%m}")
        over = [one for one in months if self._month < number(one.month) < this_month]
        newer = [one for one in changes if self._generation < one.generation]
        if not over and not newer:
            return NOTHING
        told = [
            institution.erasure(
                one.month,
                one.generation - 1,
                retention=one.entries.get("retention", 0),
                order=one.entries.get("order", 0),
            )
            for one in over
        ]
        told += [institution.key_event("generation-changed", "generation", str(one.generation), at=at) for one in newer]
        marks: dict[tuple[str, int], int] = {}
        if over:
            marks[MONTHS] = number(over[-1].month)
        if newer:
            marks[GENERATIONS] = newer[-1].generation
        return Due(told, marks)

    def committed(self, now: int, entries: Sequence[Entry], marks: Mapping[tuple[str, int], int]) -> None:  # noqa: ARG002
        """Take note of what is durable."""
        self._month = marks.get(MONTHS, self._month)
        self._generation = marks.get(GENERATIONS, self._generation)

    def _read(self) -> tuple[list[Month], list[Change]]:
        """Return the register, read anew when its file has changed.

        A register that cannot be read is told, once, and keeps nothing from being entered.
        """
        try:
            found = self._path.stat()
        except OSError:
            return self._register
        if self._seen == (seen := (found.st_mtime_ns, found.st_size)):
            return self._register
        self._seen = seen
        register = Register(self._path)
        try:
            self._register = (register.months(), register.changes())
        except AuditError as error:
            _LOG.warning("ledger-erasures-unread", code=error.code, detail=error.message)
        return self._register


def number(month: str) -> int:
    """Return the number of a month such as `2026-11`, which grows by one from each to the next."""
    year, _, of_year = month.partition("-")
    return int(year) * 12 + int(of_year) - 1
