"""Two histories, older ones, and logs that others do not see."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest

from integrator_audit.checkpoint import read_unverified
from integrator_audit.completeness.epochlog import Trust, read_epoch_log
from integrator_audit.completeness.memory import Memory
from integrator_audit.errors import Tampered
from integrator_audit.state import State
from integrator_audit.witnessing.policy import Policy
from tests.unit.audit.lying.catching import ANN, by_anyone, by_cosigner, by_person, caught, ordinary
from tests.unit.audit.lying.files import MemorySource
from tests.unit.audit.lying.operator import CHECKER, EPOCHS, POLICY, Operator
from tests.unit.audit.lying.verifiers import epochs_of


def forked() -> tuple[Operator, Operator]:
    """Return an operator, and the same one telling somebody else another second day."""
    one = ordinary(count=1)
    other = copy.deepcopy(one)
    ordinary(one, count=2)
    other.lie = lambda plan: plan.persons.pop(ANN, None)
    ordinary(other, count=2)
    return one, other


def read(operator: Operator, *, state: State | None = None, source: MemorySource | None = None) -> object:
    trust = Trust(operator.now(), Policy.parse(POLICY), CHECKER.key)
    return read_epoch_log(source or operator.source(), operator.epoch_signer.verifier, trust=trust, state=state)


def test_a_fork_with_two_tries_for_a_day_is_found_by_a_verifier_with_state_and_not_by_one_without(
    tmp_path: Path,
) -> None:
    one, other = forked()
    assert one.leaves[1].persons_root != other.leaves[1].persons_root
    # Who looks for the first time believes either.
    assert [by_anyone(one), by_anyone(other), by_person(other)] == [None, None, None]
    state = State(tmp_path)
    read(one, state=state)
    assert caught(lambda: read(other, state=state)) == "fork"


def test_a_fork_that_the_witnesses_did_not_see_gets_no_quorum() -> None:
    _, other = forked()
    alone = other.source(cosigned=False)
    trust = Trust(other.now(), Policy.parse(POLICY), CHECKER.key)
    epochs = read_epoch_log(alone, other.epoch_signer.verifier, trust=trust)
    assert [doubt.code for doubt in epochs.doubts] == ["no-quorum", "not-checked-for-omission"]
    # Cosignatures of the other history do not belong to this one.
    one, other = forked()
    lines = one.source().files["checkpoint"].partition(b"\n\n")[2].splitlines(keepends=True)[1:]
    grafted = other.source(cosigned=False)
    grafted.files["checkpoint"] += b"".join(lines)
    with pytest.raises(Tampered) as found:
        read(other, source=grafted)
    assert found.value.code == "cosignature"


def test_a_rollback_is_found_by_a_verifier_with_state_and_doubted_by_one_without(tmp_path: Path) -> None:
    operator = ordinary(count=4)
    state = State(tmp_path)
    read(operator, state=state)
    older = operator.source(size=2)
    assert caught(lambda: read(operator, state=state, source=older)) == "rollback"
    trust = Trust(operator.now(), Policy.parse(POLICY), CHECKER.key)
    epochs = read_epoch_log(older, operator.epoch_signer.verifier, trust=trust)
    assert [doubt.code for doubt in epochs.doubts] == ["epochs-old"]


def test_a_fork_and_a_rollback_are_found_by_the_cosigner_who_remembers_what_it_checked() -> None:
    one, other = forked()
    memory = Memory(EPOCHS)
    assert by_cosigner(one, memory=memory) is None
    assert by_cosigner(other, memory=memory) == "fork"
    del one.leaves[1:]
    assert by_cosigner(one, memory=memory) == "rollback"


def test_a_shard_whose_public_log_says_another_root_than_it_has_is_found_by_the_cosigner() -> None:
    operator = ordinary()
    honest = operator.shard_source

    def lying(shard: int, period: int) -> MemorySource:
        source, origin = honest(shard, period), operator.origin(shard, period)
        said = read_unverified(source.files["checkpoint"])
        source.files["checkpoint"] = replace(said, root=bytes(32)).sign(operator.signer(origin))
        return source

    operator.shard_source = lying  # type: ignore[method-assign]
    assert by_cosigner(operator) == "shard-fork"


def test_a_log_that_stands_still_is_doubted() -> None:
    operator = ordinary()
    fresh, later = operator.now(), operator.now(hours=2 + 49)
    assert epochs_of(operator, now=fresh).doubts == ()
    doubts = [doubt.code for doubt in epochs_of(operator, now=later).doubts]
    assert doubts == ["quorum-old", "not-checked-for-omission", "epochs-old"]


def test_days_that_are_not_over_are_doubted() -> None:
    operator = ordinary()
    # A clock that is a little behind may see the day that was sealed a moment ago as today's.
    for hours, expected in ((-1, False), (-30, True)):
        doubts = epochs_of(operator, now=operator.now(hours=hours)).doubts
        assert ("epochs-ahead" in [doubt.code for doubt in doubts]) is expected


def test_a_day_that_says_to_be_sealed_in_the_future_is_doubted() -> None:
    operator = ordinary()
    sealed = operator.leaves[-1].sealed_at
    for later, expected in ((23 * 3_600_000, False), (50 * 3_600_000, True), ((1 << 64) - 1 - sealed, True)):
        operator.leaves[-1] = replace(operator.leaves[-1], sealed_at=sealed + later)
        assert ("epochs-ahead" in [doubt.code for doubt in epochs_of(operator).doubts]) is expected


def test_without_policy_or_cosigner_nothing_is_said_about_what_others_see_and_what_is_missing() -> None:
    operator = ordinary()
    assert [doubt.code for doubt in epochs_of(operator, policy=None).doubts] == ["no-policy"]
    assert [doubt.code for doubt in epochs_of(operator, cosigner=None).doubts] == ["not-checked-for-omission"]
    none = Policy.parse(b"quorum none\n")
    assert [doubt.code for doubt in epochs_of(operator, policy=none).doubts] == ["no-quorum"]


def test_a_file_that_changes_between_verifying_and_reading_makes_no_difference() -> None:
    operator = ordinary()

    class Changing(MemorySource):
        def fetch(self, path: str) -> bytes | None:
            data = super().fetch(path)
            if path.startswith("tile/entries") and self.fetched.count(path) > 1:
                assert data is not None
                return data[:-1] + bytes([data[-1] ^ 1])
            return data

    epochs = read(operator, source=Changing(operator.source().files))
    assert epochs.leaves == operator.leaves  # type: ignore[attr-defined]


def test_an_epoch_log_that_does_not_hold_is_found_by_anyone() -> None:
    operator = ordinary()
    source = operator.source()
    bundle = next(path for path in source.files if path.startswith("tile/entries"))
    source.files[bundle] = source.files[bundle][:-1] + b"\1"
    assert caught(lambda: read(operator, source=source)) == "bundle-wrong"
    operator.leaves[1] = operator.leaves[0]
    assert by_anyone(operator) == "epoch-index"
