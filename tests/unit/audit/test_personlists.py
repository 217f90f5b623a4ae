"""Holds that the lists of persons say what a plain dictionary does, whatever the commits, and stay few."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from integrator_audit.personlists import PersonLists
from integrator_audit.sqlitereading import SCHEMA
from integrator_audit.store import BLOCK_BITS

PEOPLE = [bytes((7 * number, number)) * 16 for number in range(9)]
NOBODY = b"\xff" * 32
BLOCK = 1 << BLOCK_BITS


def lists() -> tuple[sqlite3.Connection, PersonLists]:
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    return connection, PersonLists(connection)


def holds(index: PersonLists, expected: dict[bytes, list[int]], *, stop: int) -> None:
    blocks = range((stop >> BLOCK_BITS) + 1)
    theirs = {who: indices for who, indices in expected.items() if indices}
    assert {who: index.indices_of(who, stop, 10_000, blocks)[::-1] for who in theirs} == theirs
    assert dict(index.between(0, stop, blocks)) == theirs
    for who, indices in theirs.items():
        middle = indices[len(indices) // 2]
        assert index.indices_of(who, middle, 2, blocks) == [one for one in indices if one < middle][:-3:-1]
    assert index.indices_of(NOBODY, stop, 5, blocks) == []


# Sizes about those at which lists are joined, and a beginning short of a block's end.
@given(
    st.lists(st.sampled_from([1, 1, 2, 3, 40, 1_023, 1_024, 1_500]), min_size=1, max_size=25),
    st.sampled_from([BLOCK, 1, 30, 1_100, 3_000]),
    st.integers(0, 1 << 32),
)
def test_whatever_the_commits_and_erasures_each_person_has_theirs(
    sizes: list[int], before_the_end: int, seed: int
) -> None:
    _, index = lists()
    drawn = Random(seed)
    expected: dict[bytes, list[int]] = defaultdict(list)
    first = BLOCK - before_the_end
    for size in sizes:
        # A store gives the entries of each block apart.
        for start, stop in ((first, min(first + size, BLOCK)), (max(first, BLOCK), first + size)):
            if start < stop:
                listed = [(drawn.choice(PEOPLE), one) for one in range(start, stop) if drawn.random() < 0.9]
                index.add(listed, last=stop - 1)
                for who, one in listed:
                    expected[who].append(one)
        first += size
    holds(index, expected, stop=first)
    gone = [(who, one) for who, indices in expected.items() for one in indices if drawn.random() < 0.2]
    index.remove(gone)
    index.remove([*gone, (NOBODY, 5)])
    for who, one in gone:
        expected[who].remove(one)
    holds(index, expected, stop=first)
    index.remove([(who, one) for who, indices in expected.items() for one in indices])
    holds(index, {}, stop=first)


def test_a_block_of_small_commits_has_few_lists_and_a_full_one_none() -> None:
    connection, index = lists()
    count = "SELECT count(*) FROM by_subject_newest"
    most = 0
    for one in range(BLOCK):
        index.add([(PEOPLE[one % len(PEOPLE)], one)], last=one)
        most = max(most, connection.execute(count).fetchone()[0])
    # Thirty-one of a thousand, and one for each bit of what is left.
    assert most <= 31 + 10
    assert connection.execute(count).fetchone() == (0,)
    assert index.indices_of(PEOPLE[3], BLOCK, 10_000, range(1)) == list(range(3, BLOCK, len(PEOPLE)))[::-1]
