"""Finds the log of a series that is written now, and closes the one before it when its half-year is over.

- A log is closed for good before its successor is made, and the successor begins to read where it ended: nothing is in
  both, nothing in neither.
- What is over is decided by the clock alone, also when nothing comes: a half-year ends for all logs.

| crash                                   | on disk                        | recovery                              |
|-----------------------------------------|--------------------------------|---------------------------------------|
| before the old log is closed            | one log, open, its time over   | it is closed at the next start        |
| after that, before the new one is made  | one log, closed                | the new one is made                   |
| while the new one is made               | a closed log and an empty file | the file becomes the new log          |
| after that                              | a closed log and an open one   | the open one is filled                |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from integrator.domain.errors import Tampered
from integrator.recording.failures import translated
from integrator.recording.logs import LedgerFiles, end_of, half_year_at, half_year_of
from integrator_audit import LedgerWriter
from integrator_audit.stores import open_reading

Positions = Mapping[tuple[str, int], int]
_OWN = ("schemas/", "keys/")
"""What begins so among consumed positions is the log's own book-keeping, which no other log continues."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The log to write, where it begins to read if it is new, and when its half-year is over (ms since 1970)."""

    log: str
    positions: Positions
    until: int


def standing(
    files: LedgerFiles, series: str, *, now: int, open_log: Callable[[str, Positions], LedgerWriter]
) -> tuple[Standing, list[str]]:
    """Return the log of `series` that is written at `now`, and the names of the closed ones before it.

    `open_log(log, positions)` opens the writer of a log and makes the log where there is none. When this returns, every
    log before the one to write is closed. Raises `Tampered` (`ledger-not-closed`) when one of them was left open while
    a later one was made, and whatever opening raises.
    """
    *earlier, latest = files.series(series) or [f"{series}-{half_year_at(now)}"]
    positions: Positions = _end(files, earlier[-1]) if earlier else {}
    if end_of(half_year_of(latest)) > now:
        return Standing(latest, positions, end_of(half_year_of(latest))), earlier
    with translated():
        ledger = open_log(latest, positions)
        try:
            # CRASH here, or after: it is closed, or will be; either way there is no successor yet.
            if not ledger.is_closed:
                ledger.freeze()
            positions = _read_positions(ledger.positions())
        finally:
            ledger.close()
    log = f"{series}-{half_year_at(now)}"
    return Standing(log, positions, end_of(half_year_of(log))), [*earlier, latest]


def _end(files: LedgerFiles, log: str) -> Positions:
    with translated():
        reader = open_reading(files.store(log))
        try:
            if not reader.is_closed():
                raise Tampered(
                    "ledger-not-closed",
                    f"There is a later log than {log}, which was not closed: its file was replaced by an older one. "
                    "Find the newer one, and do not go on before.",
                )
            return _read_positions(reader.positions())
        finally:
            reader.close()


def _read_positions(positions: Positions) -> Positions:
    return {place: position for place, position in positions.items() if not place[0].startswith(_OWN)}
