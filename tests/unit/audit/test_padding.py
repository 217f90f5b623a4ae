from __future__ import annotations

from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrator_audit import Invalid
from integrator_audit.completeness.padding import REST_MS, PaddingMeter, padding_due, padding_entries
from integrator_audit.completeness.unlisted import check_padding, is_unlisted_count
from integrator_audit.halfyear import DAY_MS, number_of, start_of
from integrator_audit.parts import check_entry

DAY = number_of(date(2026, 11, 25))
START, END = start_of(DAY), start_of(DAY + 1)


def test_padding_grows_evenly_over_the_day() -> None:
    due = [padding_due(constant=480, used=0, now=START + hour * DAY_MS // 24).padding for hour in range(24)]
    steps = {later - earlier for earlier, later in pairwise(due)}
    assert due[0] == 0
    assert steps <= {20, 21}


def test_all_that_is_missing_is_due_before_the_day_ends() -> None:
    assert padding_due(constant=7, used=3, now=END - REST_MS) == (4, 7, False)
    assert padding_due(constant=7, used=3, now=END - 1) == (4, 7, False)
    assert padding_due(constant=7, used=3, now=END) == (0, 7, False)


def test_more_withheld_entries_than_the_constant_go_to_a_power_of_two_and_tell_somebody() -> None:
    assert padding_due(constant=10, used=10, now=END - 1) == (0, 10, False)
    assert padding_due(constant=10, used=11, now=END - 1) == (5, 16, True)
    assert padding_due(constant=10, used=17, now=END - 1) == (15, 32, True)


def test_an_early_crowd_of_withheld_entries_is_not_padded_before_its_time() -> None:
    noon = START + (DAY_MS - REST_MS) // 2
    assert padding_due(constant=100, used=70, now=noon).padding == 0
    assert padding_due(constant=100, used=40, now=noon).padding == 10


def test_numbers_below_zero_are_refused() -> None:
    for constant, used in ((-1, 0), (0, -1)):
        with pytest.raises(Invalid):
            padding_due(constant=constant, used=used, now=START)


@given(
    constant=st.integers(0, 50),
    commits=st.lists(st.tuples(st.integers(0, DAY_MS - REST_MS - 1), st.integers(0, 3)), max_size=30),
)
def test_whatever_is_withheld_when_the_day_comes_to_a_number_that_says_nothing(
    constant: int, commits: list[tuple[int, int]]
) -> None:
    meter = PaddingMeter(constant, day=DAY, used=0)
    total = 0
    for moment, withheld in [*sorted(commits), (DAY_MS - 1, 0)]:
        due = meter.due(START + moment, withheld=withheld)
        meter.committed(START + moment, unlisted=withheld + due.padding)
        total += withheld + due.padding
    assert is_unlisted_count(total, constant)
    assert meter.due(END - 1) == (0, total, total > constant)
    assert meter.due(END) == (0, constant, False), "the next day begins at nothing"


def test_a_commit_that_failed_is_asked_for_again() -> None:
    meter = PaddingMeter(10, day=DAY, used=2)
    assert meter.due(END - 1) == meter.due(END - 1) == (8, 10, False)
    meter.committed(END - 1, unlisted=8)
    assert meter.due(END - 1).padding == 0


def test_a_new_day_forgets_the_one_before_and_a_late_moment_does_not_bring_it_back() -> None:
    meter = PaddingMeter(10, day=DAY, used=10)
    meter.committed(END + 5, unlisted=1)
    assert meter.due(END + DAY_MS - 1) == (9, 10, False)
    meter.committed(END - 5, unlisted=1)
    assert meter.due(END + DAY_MS - 1).padding == 8


def test_padding_entries_say_nothing_and_are_of_nobody() -> None:
    entries = padding_entries(3, at=START, retention=2)
    assert len(entries) == 3
    for entry in entries:
        check_entry(entry)
        check_padding({"A": entry.a, "D": entry.d, "S": entry.s, "P": entry.p})
        assert (entry.listed, entry.recipient, entry.identity, entry.retention) == (False, "", b"", 2)
