"""Days and half-years as the epoch log counts them: day 0 is 2000-01-01 UTC, period 0 its first half-year."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

DAY_MS: Final = 86_400_000
DAY_ZERO: Final = date(2000, 1, 1)
# The last day of the last half-year after which another one has dates.
LAST_DAY: Final = (date(9999, 6, 30) - DAY_ZERO).days
_DAY_ZERO_MS: Final = 946_684_800_000


def day_of(milliseconds: int) -> int:
    """Return the day of a moment in milliseconds since 1970; negative before day 0."""
    return (milliseconds - _DAY_ZERO_MS) // DAY_MS


def start_of(day: int) -> int:
    """Return the first moment of a day in milliseconds since 1970."""
    return _DAY_ZERO_MS + day * DAY_MS


def date_of(day: int) -> date:
    """Return the calendar date of a day from 0 to `LAST_DAY`."""
    return DAY_ZERO + timedelta(days=day)


def number_of(day: date) -> int:
    """Return the number of a calendar date."""
    return (day - DAY_ZERO).days


def period_of(day: int) -> int:
    """Return the half-year of a day: (year − 2000) × 2 + half − 1."""
    then = date_of(day)
    return (then.year - 2000) * 2 + (then.month > 6)


def first_day(period: int) -> int:
    """Return the first day of a half-year."""
    return number_of(date(2000 + period // 2, 7 if period % 2 else 1, 1))


def last_day(period: int) -> int:
    """Return the last day of a half-year."""
    return first_day(period + 1) - 1


def period_name(period: int) -> str:
    """Return a half-year's name as logs carry it, for instance `2026h2`."""
    return f"{2000 + period // 2}h{period % 2 + 1}"
