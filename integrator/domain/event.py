"""What an event is before anybody decides about it: its kind, its dates, its people."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Literal, get_args

Kind = Literal["created", "changed", "corrected", "annulled", "ended", "initial", "identity-changed", "answer"]
KINDS: tuple[Kind, ...] = get_args(Kind)

WHOLE_KINDS: frozenset[Kind] = frozenset({"created", "annulled", "ended", "initial"})
"""Kinds that concern the whole fact: every trigger fires."""

_PARTIAL = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?")
UNKNOWN = "unknown"


def is_partial_date(text: str) -> bool:
    """Tell whether `text` is `YYYY`, `YYYY-MM`, `YYYY-MM-DD` (a date of the calendar) or `unknown`."""
    return text == UNKNOWN or last_day(text) is not None


def last_day(text: str) -> date | None:
    """Return the last day that the partial date `text` can mean; `None` when it is unknown or no date.

    Ages are counted from it, so that nobody is taken for older than they are known to be.
    """
    match = _PARTIAL.fullmatch(text)
    if match is None:
        return None
    year, month, day = (int(part) if part else None for part in match.groups())
    try:
        if year is None:
            return None
        if month is None:
            return date(year, 12, 31)
        if day is None:
            following = date(year + month // 12, month % 12 + 1, 1)
            return following - timedelta(days=1)
        return date(year, month, day)
    except ValueError:
        return None


def age_on(birth: str, today: date) -> int | None:
    """Return the age in whole years on `today` of somebody born on the partial date `birth`; `None` when unknown."""
    born = last_day(birth)
    if born is None:
        return None
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))
