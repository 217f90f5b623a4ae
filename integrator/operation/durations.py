"""Reads ISO 8601 durations: a year is 365 days and a month 30, which is for keeping data, not for law."""

from __future__ import annotations

import re

from integrator.domain.errors import Invalid

_DURATION = re.compile(r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")
_SECONDS = (365 * 86400, 30 * 86400, 7 * 86400, 86400, 3600, 60, 1)


def milliseconds(duration: str) -> int:
    """Return the length of `duration` in milliseconds. Raises `Invalid` (`duration`)."""
    match = _DURATION.fullmatch(duration)
    if match is None or not any(match.groups()):
        raise Invalid("duration", f"{duration!r} is no duration: write one such as P1Y, P30D or PT1H.")
    return 1000 * sum(int(count or 0) * seconds for count, seconds in zip(match.groups(), _SECONDS, strict=True))
