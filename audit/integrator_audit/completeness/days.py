"""The days and half-years of `integrator_audit.halfyear` in the words of this room: a day is its number, from 0 on."""

from __future__ import annotations

from datetime import date
from typing import Final

from integrator_audit import halfyear
from integrator_audit.halfyear import DAY_MS, DAY_ZERO

LAST_DAY: Final = (date(9999, 6, 30) - DAY_ZERO).days
"""The last day of the last half-year after which another one has dates."""


def day_of(milliseconds: int) -> int:
    """Return the day of a moment in milliseconds since 1970. Raises `Invalid` (`day`) before day 0."""
    return halfyear.epoch_of(milliseconds)


def start_of(day: int) -> int:
    """Return the first moment of a day in milliseconds since 1970."""
    return halfyear.day_bounds(day)[0]


def date_of(day: int) -> date:
    """Return the calendar date of a day from 0 to `LAST_DAY`."""
    return halfyear.day_of(day)


def number_of(day: date) -> int:
    """Return the day of a calendar date. Raises `Invalid` (`day`) before day 0."""
    return halfyear.epoch_of_day(day)


def period_of(day: int) -> int:
    """Return the half-year of a day."""
    return halfyear.period_of_day(day)


def first_day(period: int) -> int:
    """Return the first day of a half-year."""
    return halfyear.period_bounds(period)[0]


def last_day(period: int) -> int:
    """Return the last day of a half-year."""
    return halfyear.period_bounds(period)[1] - 1


def period_name(period: int) -> str:
    """Return a half-year's name as logs carry it, for instance `2026h2`."""
    return halfyear.half_year_name(period)


__all__ = [
    "DAY_MS",
    "DAY_ZERO",
    "LAST_DAY",
    "date_of",
    "day_of",
    "first_day",
    "last_day",
    "number_of",
    "period_name",
    "period_of",
    "start_of",
]
