"""Holds the calendar of the ledger: days from 2000-01-01, half-years by the ends of origins."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrator_audit import Invalid
from integrator_audit.halfyear import (
    day_bounds,
    day_of,
    epoch_of,
    epoch_of_day,
    half_year_name,
    period_bounds,
    period_of_day,
    period_of_name,
    period_of_origin,
)


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def test_day_zero_is_the_first_of_january_2000_in_utc() -> None:
    start = milliseconds(datetime(2000, 1, 1, tzinfo=UTC))
    assert start == 946_684_800_000
    assert (epoch_of(start), epoch_of(start + 86_400_000 - 1), epoch_of(start + 86_400_000)) == (0, 0, 1)
    assert day_bounds(0) == (start, start + 86_400_000)
    with pytest.raises(Invalid):
        epoch_of(start - 1)
    with pytest.raises(Invalid):
        day_bounds(-1)


def test_a_half_year_is_two_times_the_years_since_2000_and_its_half() -> None:
    # facts/ledger.md: period = (year − 2000) × 2 + half − 1
    assert period_of_name("2026h2") == 53
    assert half_year_name(53) == "2026h2"
    assert [period_of_day(epoch_of_day(day)) for day in (date(2026, 6, 30), date(2026, 7, 1))] == [52, 53]
    assert period_bounds(53) == (epoch_of_day(date(2026, 7, 1)), epoch_of_day(date(2027, 1, 1)))


@given(st.dates(min_value=date(2000, 1, 1), max_value=date(2999, 12, 31)))
def test_days_half_years_and_their_bounds_agree(day: date) -> None:
    epoch = epoch_of_day(day)
    assert day_of(epoch) == day
    first, after = period_bounds(period_of_day(epoch))
    assert first <= epoch < after
    start, end = day_bounds(epoch)
    assert datetime.fromtimestamp(start / 1000, UTC).date() == day
    assert epoch_of(end - 1) == epoch
    assert period_of_name(half_year_name(period_of_day(epoch))) == period_of_day(epoch)


@pytest.mark.parametrize(
    ("origin", "period"),
    [
        ("demo.integrator.example/ledger/demo/s0-2026h2", 53),
        ("demo.integrator.example/ledger/demo/institution-2000h1", 0),
        ("demo.integrator.example/ledger/demo/epochs", 0),
        ("demo.integrator.example/ledger/demo/s02026h2", 0),
        ("demo.integrator.example/ledger/demo/s0-2026h3", 0),
        ("demo.integrator.example/ledger/demo/s0-1999h2", 0),
        ("demo.integrator.example/ledger/demo/s0-2026h2/x", 0),
        ("-2026h1", 52),
        ("", 0),
    ],
)
def test_an_origin_tells_its_half_year_by_its_end(origin: str, period: int) -> None:
    assert period_of_origin(origin) == period


@pytest.mark.parametrize("name", ["2026", "2026h0", "2026h3", "1999h2", "2026h1\n", "²026h1"])
def test_other_names_are_no_half_years(name: str) -> None:
    with pytest.raises(Invalid):
        period_of_name(name)
