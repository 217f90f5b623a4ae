"""A clock that goes backwards moves no commit and no day: it is caught up with, or refused with what to do."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from integrator_audit import Refused
from integrator_audit.completeness.labels import FileUniqueSigner
from integrator_audit.halfyear import DAY_MS, start_of
from integrator_audit.writer import MAX_BEHIND
from tests.fault_ledger.lives import DAY, open_sealer
from tests.fault_ledger.world import World, append, violations

pytestmark = pytest.mark.fault_ledger
NOON = start_of(DAY) + DAY_MS // 2


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "log")
    world.prepare()
    return world


def test_a_commit_is_never_dated_before_the_one_before_it(world: World) -> None:
    vault = world.vault()
    ledger = world.ledger(vault)
    append(ledger, Random(1), most=9, now_ms=NOON)
    append(ledger, Random(2), most=9, now_ms=NOON - MAX_BEHIND)
    assert ledger.head.at == NOON
    ledger.close()
    assert world.ledger(vault).head.at == NOON
    vault.close()


def test_a_clock_further_back_is_refused_and_set_right_the_writer_goes_on(world: World) -> None:
    vault = world.vault()
    ledger = world.ledger(vault)
    done = append(ledger, Random(1), most=9, now_ms=NOON)
    with pytest.raises(Refused, match="clock is 301 seconds behind") as caught:
        append(ledger, Random(2), most=9, now_ms=NOON - MAX_BEHIND - 1_000)
    assert caught.value.code == "ledger-clock-back"
    assert ledger.size == done.size
    again = append(ledger, Random(2), most=9, now_ms=NOON + 1)
    ledger.close()
    vault.close()
    assert violations(world, [done, again], thorough=True) == []


def test_a_day_is_not_sealed_by_a_clock_behind_the_sealing_before_it(world: World) -> None:
    (world.directory / "label.spki").write_bytes(FileUniqueSigner.generate().spki)
    vault = world.vault()
    ledger = world.ledger(vault)
    append(ledger, Random(1), most=9, now_ms=NOON)
    ledger.close()
    vault.close()
    sealer, close = open_sealer(world, now=start_of(DAY) + 1)
    assert sealer.begin() == DAY
    close()
    # The day was sealed days later, and then the clock was set back to just after its end's successor.
    sealer, close = open_sealer(world, now=start_of(DAY + 5))
    sealer.seal(DAY)
    close()
    sealer, close = open_sealer(world, now=start_of(DAY + 2) + 120_000)
    with pytest.raises(Refused) as caught:
        sealer.seal(DAY + 1)
    assert caught.value.code == "epoch-clock-back"
    close()
    sealer, close = open_sealer(world, now=start_of(DAY + 5) + 120_000)
    assert [leaf.epoch for leaf in sealer.seal_due()] == [DAY + 1, DAY + 2, DAY + 3, DAY + 4]
    close()
