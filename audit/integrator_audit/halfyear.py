"""Half-years and days as the ledger counts them: period of a log, epoch of a moment.

- Day 0 is 2000-01-01 in UTC; an epoch is the number of a day. A period is a half-year: (year − 2000) × 2 + half − 1.
- The origin of a log that ends with its half-year ends in `-yyyyh1` or `-yyyyh2`; a log whose origin does not never
  ends, and has period 0.
- Moments are in milliseconds since 1970, UTC, without leap seconds. An epoch begins at its first millisecond.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from integrator_audit.errors import Invalid

DAY_MS: Final = 86_400_000
DAY_ZERO: Final = date(2000, 1, 1)
_START: Final = (DAY_ZERO - date(1970, 1, 1)).days
_SUFFIX = re.compile(r"-([0-9]{4})h([12])", re.ASCII)
_NAME = re.compile(r"([0-9]{4})h([12])", re.ASCII)


def epoch_of(at: int) -> int:
    """Return the epoch in which the moment `at` (ms since 1970) lies. Raises `Invalid` (`day`) before day 0."""
    return _checked(at // DAY_MS - _START)


def epoch_of_day(day: date) -> int:
    """Return the epoch of a calendar day. Raises `Invalid` (`day`) before day 0."""
    return _checked((day - DAY_ZERO).days)


def day_of(epoch: int) -> date:
    """Return the calendar day of an epoch."""
    return date.fromordinal(DAY_ZERO.toordinal() + _checked(epoch))


def day_bounds(epoch: int) -> tuple[int, int]:
    """Return the first moment of an epoch and that of the next, in milliseconds since 1970."""
    start = (_checked(epoch) + _START) * DAY_MS
    return start, start + DAY_MS


def period_of_day(epoch: int) -> int:
    """Return the period (half-year) in which an epoch lies."""
    day = day_of(epoch)
    return (day.year - DAY_ZERO.year) * 2 + (day.month > 6)


def period_bounds(period: int) -> tuple[int, int]:
    """Return the first epoch of a period and that of the next."""
    return _first_epoch(period), _first_epoch(period + 1)


def half_year_name(period: int) -> str:
    """Return the name of a period, as in `2026h2`."""
    year, half = divmod(period, 2)
    return f"{DAY_ZERO.year + year:04}h{half + 1}"


def period_of_name(name: str) -> int:
    """Return the period called `name`, as in `2026h2`. Raises `Invalid` (`half-year`)."""
    found = _NAME.fullmatch(name)
    if found is None or int(found[1]) < DAY_ZERO.year:
        raise Invalid("half-year", "a half-year is written as in 2026h2, from 2000h1 on")
    return (int(found[1]) - DAY_ZERO.year) * 2 + int(found[2]) - 1


def period_of_origin(origin: str) -> int:
    """Return the period of a log by the end of its origin; 0 for a log that never ends."""
    found = _SUFFIX.fullmatch(origin[-7:])
    if found is None or int(found[1]) < DAY_ZERO.year:
        return 0
    return period_of_name(origin[-6:])


def _first_epoch(period: int) -> int:
    if period < 0:
        raise Invalid("half-year", "half-years are counted from 2000h1")
    year, half = divmod(period, 2)
    return epoch_of_day(date(DAY_ZERO.year + year, 1 + 6 * half, 1))


def _checked(epoch: int) -> int:
    if epoch < 0:
        raise Invalid("day", f"days are counted from {DAY_ZERO}")
    return epoch
