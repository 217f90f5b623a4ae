"""Holds the calendar of the ledger: days from 2000-01-01, half-years by the ends of origins."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrator_audit import Invalid
from integrator_audit.halfyear import (
    LAST_DAY,
    date_of,
    day_of,
    first_day,
    last_day,
    number_of,
    period_name,
    period_of,
    period_of_name,
    period_of_origin,
    start_of,
)


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def test_day_zero_is_the_first_of_january_2000_in_utc() -> None:
    start = milliseconds(datetime(2000, 1, 1, tzinfo=UTC))
    assert start == 946_684_800_000
    assert (day_of(start), day_of(start + 86_400_000 - 1), day_of(start + 86_400_000)) == (0, 0, 1)
    assert (start_of(0), start_of(1), date_of(0), period_of(0)) == (start, start + 86_400_000, date(2000, 1, 1), 0)
    with pytest.raises(Invalid):
        day_of(start - 1)
    with pytest.raises(Invalid):
        start_of(-1)
    with pytest.raises(Invalid):
        first_day(-1)


def test_a_half_year_is_two_times_the_years_since_2000_and_its_half() -> None:
    assert period_of_name("2026h2") == 53
    assert period_name(53) == "2026h2"
    assert [period_of(number_of(day)) for day in (date(2026, 6, 30), date(2026, 7, 1))] == [52, 53]
    assert (date_of(first_day(53)), date_of(last_day(53))) == (date(2026, 7, 1), date(2026, 12, 31))
    assert first_day(53) == last_day(52) + 1


def test_the_last_day_is_that_of_the_last_half_year_before_another() -> None:
    assert last_day(period_of(LAST_DAY)) == LAST_DAY


@given(st.dates(min_value=date(2000, 1, 1), max_value=date(2999, 12, 31)))
def test_days_half_years_and_their_bounds_agree(day: date) -> None:
    number = number_of(day)
    assert date_of(number) == day
    period = period_of(number)
    assert first_day(period) <= number <= last_day(period)
    start = start_of(number)
    assert datetime.fromtimestamp(start / 1000, UTC).date() == day
    assert (day_of(start), day_of(start_of(number + 1) - 1)) == (number, number)
    assert period_of_name(period_name(period)) == period


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
