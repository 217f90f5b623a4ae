"""The lane's state: what a fold of its records gives, and what a transaction adds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrator.domain.errors import Invalid
from integrator.domain.identifiers import Position
from integrator.encoding import record_type
from integrator.routing.ports import OutRecord, TopicIdentity
from integrator.routing.state import Draft, LaneState, Reached, fold

TOPIC = TopicIdentity("cluster", "topic-id", 8)


def as_read(records: list[OutRecord]) -> list[tuple[bytes, bytes | None]]:
    """Return records as the log gives them back."""
    return [(record.key or b"", record.value) for record in records]


def test_what_a_transaction_writes_is_what_the_next_start_reads() -> None:
    state = LaneState()
    draft = Draft(state)
    assert [draft.next("agency.a.p.s.t", 3), draft.next("agency.a.p.s.t", 3)] == [1, 2]
    draft.reach(("source.s.t", 7), 42, TOPIC)
    draft.count(("law", 2, "no-trigger"), 5)
    records = draft.records(Position(9), engine="python-1", at=1_700_000_000_000)
    draft.settle(Position(9), at=1_700_000_000_000)
    assert fold(as_read(records)) == state
    assert state == LaneState(
        directory=Position(9),
        at=1_700_000_000_000,
        positions={("source.s.t", 7): Reached("topic-id", "cluster", 42)},
        sequences={("agency.a.p.s.t", 3): 2},
        counts={("law", 2, "no-trigger"): 5},
    )


def test_keys_are_those_of_the_design() -> None:
    draft = Draft(LaneState())
    draft.next("agency.a.p.s.t", 3)
    draft.reach(("source.s.t", 7), 42, TOPIC)
    draft.count(("law", 2, "no-trigger"), 5)
    keys = [record.key for record in draft.records(Position(9), engine="e", at=0)]
    assert keys == [b"dir", b"pos|source.s.t|7", b"seq|agency.a.p.s.t|3", b"cnt|law|2|no-trigger"]


def test_a_transaction_writes_only_what_it_changed() -> None:
    state = LaneState(sequences={("a", 0): 4, ("b", 0): 7}, counts={("x", 1, "kind"): 1, ("y", 1, "kind"): 2})
    draft = Draft(state)
    draft.next("b", 0)
    draft.count(("y", 1, "kind"), 3)
    values = {record.key: record.value for record in draft.records(Position(1), engine="e", at=0)}
    assert set(values) == {b"dir", b"seq|b|0", b"cnt|y|1|kind"}
    assert record_type("lanes/sequence").decode(values[b"seq|b|0"] or b"") == {"last": 8}
    assert record_type("lanes/count").decode(values[b"cnt|y|1|kind"] or b"") == {"count": 5}


def test_a_draft_that_is_dropped_changes_nothing() -> None:
    state = LaneState(sequences={("a", 0): 4})
    draft = Draft(state)
    draft.next("a", 0)
    draft.reach(("s", 0), 1, TOPIC)
    draft.count(("x", 1, "kind"), 1)
    assert state == LaneState(sequences={("a", 0): 4})


def test_cursors_of_sweeps_survive_a_new_position() -> None:
    state = LaneState(positions={("s", 0): Reached("topic-id", "cluster", 5, {"job": 3})})
    draft = Draft(state)
    draft.reach(("s", 0), 6, TOPIC)
    draft.reach(("s", 0), 7, TOPIC)
    draft.settle(Position(1), at=1)
    assert state.positions["s", 0] == Reached("topic-id", "cluster", 7, {"job": 3})


@given(st.lists(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 2)), max_size=6), max_size=6))
def test_sequences_are_contiguous_over_transactions_and_restarts(transactions: list[list[tuple[str, int]]]) -> None:
    log: list[tuple[bytes, bytes | None]] = []
    given_out: dict[tuple[str, int], list[int]] = {}
    for number, places in enumerate(transactions):
        draft = Draft(fold(log))
        for place in places:
            given_out.setdefault(place, []).append(draft.next(*place))
        log += as_read(draft.records(Position(number), engine="e", at=0))
    for numbers in given_out.values():
        assert numbers == list(range(1, len(numbers) + 1))


def test_the_latest_record_of_a_key_holds_and_a_tombstone_removes_it() -> None:
    def at(position: int) -> bytes:
        return record_type("lanes/directory").encode({"position": position, "engine": "e", "at": 0})

    assert fold([(b"dir", at(1)), (b"dir", at(2))]).directory == 2
    assert fold([(b"dir", at(1)), (b"dir", None)]).directory is None


@pytest.mark.parametrize("key", [b"job|1", b"pos|source.s.t", b"\xff", b""])
def test_a_record_that_this_release_does_not_know_stops_the_lane(key: bytes) -> None:
    with pytest.raises(Invalid) as error:
        fold([(key, b"x")])
    assert error.value.code == "lane-state"


def test_a_value_of_another_type_stops_the_lane() -> None:
    with pytest.raises(Invalid) as error:
        fold([(b"dir", record_type("lanes/count").encode({"count": 1}))])
    assert error.value.code == "record-type"
