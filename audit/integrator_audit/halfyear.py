"""Days and half-years as the ledger counts them: the day of a moment, the period of a day, the period of a log.

- A day is its number: day 0 is 2000-01-01 in UTC. An entry of the epoch log is about one day, so that an epoch is the
  number of a day too. A period is a half-year: (year − 2000) × 2 + half − 1.
- The origin of a log that ends with its half-year ends in `-yyyyh1` or `-yyyyh2`; a log whose origin does not never
  ends, and has period 0.
- Moments are in milliseconds since 1970, UTC, without leap seconds. A day begins at its first millisecond.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from integrator_audit.errors import Invalid

DAY_MS: Final = 86_400_000
DAY_ZERO: Final = date(2000, 1, 1)
LAST_DAY: Final = (date(9999, 6, 30) - DAY_ZERO).days
"""The last day of the last half-year after which another one has dates."""

_START: Final = (DAY_ZERO - date(1970, 1, 1)).days
_SUFFIX = re.compile(r"-([0-9]{4})h([12])", re.ASCII)
_NAME = re.compile(r"([0-9]{4})h([12])", re.ASCII)
_SHARD = re.compile(r"(?:^|/)s(0|[1-9][0-9]{0,4})(?:-[0-9]{4}h[12])?$", re.ASCII)


def day_of(at: int) -> int:
    """Return the day in which the moment `at` (ms since 1970) lies. Raises `Invalid` (`day`) before day 0."""
    return _checked(at // DAY_MS - _START)


def start_of(day: int) -> int:
    """Return the first moment of a day in milliseconds since 1970. Raises `Invalid` (`day`) before day 0."""
    return (_checked(day) + _START) * DAY_MS


def date_of(day: int) -> date:
    """Return the calendar date of a day. Raises `Invalid` (`day`) before day 0."""
    return date.fromordinal(DAY_ZERO.toordinal() + _checked(day))


def number_of(day: date) -> int:
    """Return the day of a calendar date. Raises `Invalid` (`day`) before day 0."""
    return _checked((day - DAY_ZERO).days)


def period_of(day: int) -> int:
    """Return the period (half-year) in which a day lies."""
    found = date_of(day)
    return (found.year - DAY_ZERO.year) * 2 + (found.month > 6)


def first_day(period: int) -> int:
    """Return the first day of a period. Raises `Invalid` (`half-year`) before 2000h1."""
    if period < 0:
        raise Invalid("half-year", "half-years are counted from 2000h1")
    year, half = divmod(period, 2)
    return number_of(date(DAY_ZERO.year + year, 1 + 6 * half, 1))


def last_day(period: int) -> int:
    """Return the last day of a period; `LAST_DAY` is that of the last one."""
    return first_day(period + 1) - 1


def period_name(period: int) -> str:
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


def shard_of_origin(origin: str) -> int | None:
    """Return the number of a shard by the end of its log's origin (`…/s3-2026h2`), None for another log."""
    found = _SHARD.search(origin)
    return None if found is None else int(found[1])


def _checked(day: int) -> int:
    if day < 0:
        raise Invalid("day", f"days are counted from {DAY_ZERO}")
    return day
