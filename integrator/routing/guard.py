"""Says why a lane must not decide now: clocks, stale copies and brakes may stop delivery, and never permit it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from integrator.domain.directory import DirectoryView, Knowledge
from integrator.domain.identifiers import Position

CLOCK_TOLERANCE = timedelta(seconds=2)
"""How far a lane's own clock may be past midnight before the directory's date has followed."""

_zone = cache(ZoneInfo)


@dataclass(frozen=True, slots=True)
class Waits:
    """Why the lane waits: a stable code and a sentence for people."""

    code: str
    message: str


def copy_too_old(view: DirectoryView, acknowledged: Position | None) -> Waits | None:
    """Tell whether this machine's copy knows less than the lane has already decided with."""
    if acknowledged is None or view.position >= acknowledged:
        return None
    return Waits(
        "directory-behind",
        f"This machine's copy of the directory is at {view.position} and the lane has decided at {acknowledged}: "
        "waiting for the feeder.",
    )


def clock_too_far(knowledge: Knowledge, *, at: int) -> Waits | None:
    """Tell whether the lane's clock `at` (milliseconds since 1970) has left the directory's day in any zone in use."""
    moment = datetime.fromtimestamp(at / 1000, UTC) - CLOCK_TOLERANCE
    for zone in sorted({contract.time_zone for contract in knowledge.contracts.values()}):
        today = knowledge.dates.get(zone)
        if today is None:
            return Waits("no-date", f"The directory has no date for {zone} yet: is the directory writer running?")
        if moment.astimezone(_zone(zone)).date() > today:
            return Waits(
                "clock-ahead",
                f"This machine's clock is past {today} in {zone}, the directory is not: one of them is wrong, "
                "or the directory writer does not run.",
            )
    return None
