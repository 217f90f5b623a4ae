"""When a lane must not decide: the clock may stop delivery, and never permits it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from integrator.domain.identifiers import Position
from integrator.routing.guard import clock_too_far, copy_too_old
from tests.fault import line

TODAY = date(2026, 3, 1)
MIDNIGHT = datetime(2026, 3, 1, 23, 0, tzinfo=UTC)  # in Europe/Amsterdam, winter time
KNOWN = line.knowledge(today=TODAY)


def at(moment: datetime) -> int:
    """Return the moment as the lane's clock gives it."""
    return round(moment.timestamp() * 1000)


@pytest.mark.parametrize(
    ("past", "code"),
    [(timedelta(seconds=-1), None), (timedelta(seconds=1.9), None), (timedelta(seconds=2), "clock-ahead")],
)
def test_a_lane_stops_two_seconds_after_midnight_unless_the_directory_has_the_new_day(
    past: timedelta, code: str | None
) -> None:
    waits = clock_too_far(KNOWN, at=at(MIDNIGHT + past))
    assert (waits.code if waits else None) == code
    tomorrow = replace(KNOWN, dates={line.ZONE: TODAY + timedelta(days=1)})
    assert clock_too_far(tomorrow, at=at(MIDNIGHT + past)) is None


def test_a_clock_that_is_behind_stops_nothing() -> None:
    assert clock_too_far(KNOWN, at=at(MIDNIGHT - timedelta(days=30))) is None


def test_without_a_date_for_a_zone_in_use_nothing_is_decided() -> None:
    waits = clock_too_far(replace(KNOWN, dates={}), at=at(MIDNIGHT))
    assert waits is not None
    assert waits.code == "no-date"


@pytest.mark.parametrize(
    ("copy", "acknowledged", "stops"), [(5, None, False), (5, 5, False), (6, 5, False), (4, 5, True)]
)
def test_a_copy_that_knows_less_than_was_decided_with_stops_the_lane(
    copy: int, acknowledged: int | None, stops: bool
) -> None:
    view = line.LineView(Position(copy), KNOWN)
    waits = copy_too_old(view, None if acknowledged is None else Position(acknowledged))
    assert (waits is not None) is stops
