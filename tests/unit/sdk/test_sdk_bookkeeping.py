"""Nothing is acknowledged by accident, and nothing is missing unseen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from integrator.sdk.bookkeeping import Acknowledgements, Sequences
from integrator.sdk.delivered import Position


def at(offset: int, partition: int = 0) -> Position:
    return Position("agency.a.b.c.d", partition, offset)


def test_a_position_is_committed_only_when_everything_before_it_is_acknowledged() -> None:
    books = Acknowledgements()
    for offset in (5, 6, 9):
        books.give(at(offset))
    books.done(at(6))
    books.done(at(9))
    assert books.take() == {}
    books.done(at(5))
    assert books.take() == {0: 10}
    assert books.take() == {}


def test_partitions_do_not_wait_for_each_other() -> None:
    books = Acknowledgements()
    books.give(at(1, partition=0))
    books.give(at(1, partition=1))
    books.done(at(1, partition=1))
    assert books.take() == {1: 2}


def test_what_was_never_handed_out_and_what_was_acknowledged_twice_change_nothing() -> None:
    books = Acknowledgements()
    books.done(at(3))
    books.give(at(4))
    books.done(at(3))
    assert books.take() == {}
    books.done(at(4))
    books.done(at(4))
    assert books.take() == {0: 5}


def test_a_commit_that_failed_is_tried_again_unless_a_later_one_stands() -> None:
    books = Acknowledgements()
    for offset in (1, 2):
        books.give(at(offset))
    books.done(at(1))
    taken = books.take()
    books.put_back(taken)
    assert books.take() == {0: 2}
    books.done(at(2))
    books.put_back(taken)
    assert books.take() == {0: 3}


@given(st.permutations(range(6)), st.integers(0, 6))
def test_the_committed_position_is_the_first_that_is_not_acknowledged(order: list[int], many: int) -> None:
    books = Acknowledgements()
    for offset in range(6):
        books.give(at(offset))
    for offset in order[:many]:
        books.done(at(offset))
    missing = min(set(range(7)) - set(order[:many]))
    assert books.take().get(0, 0) == missing


def test_a_gap_is_counted_and_duplicates_are_none() -> None:
    sequences = Sequences()
    found = [sequences.missing(0, 1, sequence) for sequence in (7, 8, 8, 11, 9, 12)]
    assert found == [0, 0, 0, 2, 0, 0]


def test_each_partition_and_lane_counts_for_itself() -> None:
    sequences = Sequences()
    assert [sequences.missing(*key, 1) for key in ((0, 0), (0, 1), (1, 0))] == [0, 0, 0]
    assert [sequences.missing(*key, 2) for key in ((0, 0), (0, 1), (1, 0))] == [0, 0, 0]
