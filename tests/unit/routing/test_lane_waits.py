"""A lane that may not deliver, or not one of its streams: it holds what it has and goes on by itself with all of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from integrator.domain.errors import Unavailable
from integrator.routing.engine import Output
from integrator.routing.guard import Waits
from integrator.routing.ports import SourceBatch
from tests.fault import line
from tests.unit.routing.test_lane import FLOUR, GRAIN, LANE, LIMITS, World, permitted, until


@pytest.fixture
def world() -> World:
    return World()


class Lever:
    """Brakes that hold while the test says so."""

    def __init__(self) -> None:
        self.held: Waits | None = Waits("ledger-behind", "The ledger is behind.")

    def reason(self, *, at: int) -> Waits | None:
        return self.held if at >= 0 else None


async def test_while_the_brakes_hold_nothing_is_delivered_and_afterwards_everything_once(world: World) -> None:
    lever = world.brakes = Lever()
    world.log.publish(GRAIN, LANE, *[b"x"] * 4)
    async with world.running():
        world.directories.move(1)
        await until(lambda: world.directory_of_state() == 1)  # a position is acknowledged all the same
        await asyncio.sleep(2 * LIMITS.stall)
        assert not world.log.delivered()
        lever.held = None
        await until(world.log.delivered)
    assert [position for _, position in world.positions()] == permitted(4)
    assert world.log.starts == 1


class Undecided:
    """An engine that cannot decide one stream while the test says so, as without the schema of a delivery."""

    def __init__(self) -> None:
        self.waits = True

    def process(self, batch: SourceBatch, view: Any, sequences: Any, *, lane: int, at: int) -> Output:
        if self.waits and batch.stream == GRAIN:
            raise Unavailable("no-schema", "There is no schema yet.")
        return line.CopyEngine().process(batch, view, sequences, lane=lane, at=at)


@pytest.mark.parametrize("together", [True, False])
async def test_a_stream_that_cannot_be_decided_yet_does_not_hold_up_the_others(world: World, together: bool) -> None:
    engine = world.engine = Undecided()
    world.log.publish(GRAIN, LANE, *[b"x"] * 4)
    if together:
        world.log.publish(FLOUR, LANE, *[b"x"] * 4)
    async with world.running():
        if not together:
            await until(lambda: world.log.starts >= 2)
            world.log.publish(FLOUR, LANE, *[b"x"] * 4)
        await until(lambda: len(world.positions()) == len(permitted(4)))
        assert {source for source, _ in world.positions()} == {"source.mill.flour"}
        engine.waits = False
        await until(lambda: len(world.positions()) == 2 * len(permitted(4)))
    assert [place for place in world.positions() if place[0] == "source.mill.grain"] == [
        ("source.mill.grain", position) for position in permitted(4)
    ]


async def test_the_only_stream_is_waited_for(world: World) -> None:
    engine = world.engine = Undecided()
    world.directories.move(1, line.knowledge([GRAIN]))
    world.log.publish(GRAIN, LANE, *[b"x"] * 4)
    async with world.running():
        await asyncio.sleep(5 * LIMITS.recheck)
        engine.waits = False
        await until(world.log.delivered)
    assert world.log.starts == 1
