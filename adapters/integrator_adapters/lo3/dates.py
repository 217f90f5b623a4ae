"""Turns the dates of a person list into the partial dates of the contract.

LO3 writes `YYYYMMDD` and zeros for what is unknown: `19620000` is some day of 1962, `19620300` some day of March 1962,
`00000000` an unknown day. Its time stamp (80.20) is `YYYYMMDDhhmmssmmm` in Dutch civil time.
"""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo

from integrator.domain.event import UNKNOWN, is_partial_date
from integrator.sdk.message import utc_text

_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})")
_STAMP = re.compile(r"([0-9]{14})([0-9]{3})")
_ZONE = ZoneInfo("Europe/Amsterdam")


def date_of(text: str) -> str | None:
    """Return the partial date that the LO3 date `text` means; `None` when it is none."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day = match.groups()
    if text == "00000000":
        return UNKNOWN
    if month == "00":
        found = year if day == "00" else ""
    else:
        found = f"{year}-{month}" if day == "00" else f"{year}-{month}-{day}"
    return found if is_partial_date(found) else None


def instant_of(text: str) -> str | None:
    """Return the LO3 time stamp `text` as RFC 3339 in UTC; `None` when it is none."""
    match = _STAMP.fullmatch(text)
    if match is None:
        return None
    # LIMIT: the hour that a clock shows twice in autumn is taken for the first of the two; LO3 does not say which.
    try:
        moment = datetime.strptime(match[1], "%Y%m%d%H%M%S").replace(microsecond=int(match[2]) * 1000, tzinfo=_ZONE)
        return utc_text(moment)
    except (ValueError, OverflowError):
        return None
