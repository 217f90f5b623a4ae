"""Says when an entry's time is over: its processing activity keeps it 2, 10 or 20 years beyond its log's half-year.

- The years are in part A and in the row, and the person's key that seals the body serves one half-year and one such
  length only. So all that a length of retention has in a half-year ends on one day, by one destruction of keys.
- Counting from the end of the half-year is never too early for anybody, and at most half a year late.
"""

from __future__ import annotations

from typing import Final

from integrator_audit.halfyear import first_day

LENGTHS: Final = (2, 10, 20)
"""Years, ascending."""


def due_day(period: int, years: int) -> int:
    """Return the first day (epoch) on which entries of a log of `period` that are kept so long may be erased."""
    return first_day(period + 1 + 2 * years)


def due_lengths(period: int, today: int) -> tuple[int, ...]:
    """Return the lengths of retention that are over in a log of `period` on the day `today` (epoch)."""
    return tuple(years for years in LENGTHS if due_day(period, years) <= today)
