"""A lane from start to stop on an event log in memory: what it writes together, and what it does about every fault."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import pytest

from integrator.domain.errors import Refused, Unavailable
from integrator.domain.topics import DISCLOSURES, LANES, STEPS, source_topic
from integrator.encoding import record_type
from integrator.routing.lane import Lane
from integrator.routing.ports import Brakes, Fenced, Unbraked
from integrator.routing.setting import LaneLimits, LaneSetting
from integrator.routing.state import LaneState, fold
from tests.fault import line
from tests.unit.routing.memory_log import MemoryDirectories, MemoryLog, MemoryOwnership

LANE = 1
GRAIN, FLOUR = line.STREAMS
AGENCY = line.AGENCY_TOPICS[0]
LIMITS = LaneLimits(fetch_wait=0.02, pause=0.001, longest_pause=0.004, recheck=0.01, stall=0.2)


@dataclass
class World:
    """One lane and all that it meets."""

    log: MemoryLog = field(default_factory=MemoryLog)
    ownership: MemoryOwnership = field(default_factory=MemoryOwnership)
    directories: MemoryDirectories = field(default_factory=lambda: MemoryDirectories(line.knowledge()))
    now: int = 0
    limits: LaneLimits = LIMITS
    brakes: Brakes = field(default_factory=Unbraked)
    engine: Any = field(default_factory=line.CopyEngine)
    """An `Engine`, but for the kind of reading that it is given."""

    def lane(self) -> Lane:
        """Make the lane."""
        setting = LaneSetting(
            line.LANES,
            self.log,
            self.ownership,
            self.directories,
            self.engine,
            lambda: self.now,
            self.limits,
            self.brakes,
        )
        return Lane(LANE, setting)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Lane]:
        """Run the lane while the body runs; it stops by itself afterwards."""
        lane = self.lane()
        task = asyncio.create_task(lane.run())
        try:
            yield lane
        finally:
            lane.stop()
            async with asyncio.timeout(20):
                await task

    def state(self) -> LaneState:
        """Return what the lane has made visible."""
        return fold((record.key or b"", record.value) for record in self.log.written[LANES, LANE])

    def directory_of_state(self) -> int | None:
        """Return the directory position that the lane has acknowledged."""
        return self.state().directory

    def position(self, stream: str) -> int | None:
        """Return where the lane goes on in the stream's partition that has the lane's number."""
        reached = self.state().positions.get((source_topic(*stream.split("/")), LANE))
        return reached and reached.position

    def positions(self, agency: str = AGENCY) -> list[tuple[str, int]]:
        """Return source topic and position of each delivery, in order."""
        return [(fact["source"], fact["position"]) for fact in map(json.loads, self.log.delivered(agency))]


@pytest.fixture
async def world() -> World:
    """A world in which nothing has happened; its clock is at the directory's day."""
    return World()


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.001)


def permitted(count: int, *, directory: int = 1) -> list[int]:
    """Return which of the first `count` positions the first agency receives."""
    return [position for position in range(count) if line.permits(0, source=position, directory=directory)]


async def test_deliveries_and_all_that_is_recorded_of_them_are_one_transaction(world: World) -> None:
    world.log.publish(GRAIN, LANE, *[b"x"] * 6)
    async with world.running():
        await until(world.log.delivered)
    (outbox,) = [outbox for outbox in world.log.transactions if (DISCLOSURES, LANE) in outbox]
    deliveries = sum(len(outbox.get((topic, LANE), ())) for topic in line.AGENCY_TOPICS)
    assert deliveries == len(outbox[DISCLOSURES, LANE]) > 0
    (step,) = outbox[STEPS, LANE]
    assert step.key == b"mill/grain|1"
    read = record_type("lanes/step").decode(step.value or b"")
    assert (read["topic"], read["partition"], read["from"], read["directoryPosition"]) == ("source.mill.grain", 1, 0, 1)
    state = fold((record.key or b"", record.value) for record in outbox[LANES, LANE])
    assert state.directory == 1
    assert state.positions["source.mill.grain", 1].position == 6
    assert state.sequences[AGENCY, LANE] == len(permitted(6))
    assert state.counts["agency-0", 1, line.REASON] == 6 - len(permitted(6))


async def test_a_lane_reads_its_own_partitions_of_every_stream_only(world: World) -> None:
    for stream in line.STREAMS:
        for partition in range(line.PARTITIONS):
            world.log.publish(stream, partition, *[b"x"] * 2)
    async with world.running():
        await until(lambda: len(world.positions()) == 4 * len(permitted(2)))
    facts = [json.loads(value) for value in world.log.delivered()]
    assert {(fact["source"], fact["partition"]) for fact in facts} == {
        (topic, partition) for topic in ("source.mill.grain", "source.mill.flour") for partition in (1, 5)
    }


async def test_an_idle_lane_answers_a_moved_directory_with_one_record(world: World) -> None:
    async with world.running():
        await until(lambda: world.directory_of_state() == 1)
        world.directories.move(7)
        await until(lambda: world.directory_of_state() == 7)
    assert all(list(outbox) == [(LANES, LANE)] for outbox in world.log.transactions)
    assert [len(outbox[LANES, LANE]) for outbox in world.log.transactions] == [1, 1]


async def test_a_changed_directory_position_writes_one_step_for_each_partition_it_decides(world: World) -> None:
    async with world.running():
        for directory in (1, 1, 2):
            world.directories.move(directory)
            world.log.publish(GRAIN, LANE, b"x")
            await until(lambda: world.position(GRAIN) == len(world.log.sources["source.mill.grain", LANE]))
    steps = [record_type("lanes/step").decode(record.value or b"") for record in world.log.written[STEPS, LANE]]
    assert [(step["from"], step["directoryPosition"]) for step in steps] == [(0, 1), (2, 2)]


@pytest.mark.parametrize("persisted", [True, False])
@pytest.mark.parametrize("error", [Unavailable("kafka-unreachable", "away"), Refused("x", "no"), RuntimeError("odd")])
async def test_a_failed_commit_restarts_the_lane_and_nothing_is_lost_or_repeated(
    world: World, error: Exception, *, persisted: bool
) -> None:
    world.log.publish(GRAIN, LANE, *[b"x"] * 5)
    (world.log.late_failures if persisted else world.log.failures).append(error)
    async with world.running():
        await until(lambda: world.log.starts == 2)
        world.log.publish(GRAIN, LANE, *[b"x"] * 5)
        await until(lambda: world.positions() and world.positions()[-1][1] >= permitted(10)[-1])
    assert [position for _, position in world.positions()] == permitted(10)
    sequences = [json.loads(value)["sequence"] for value in world.log.delivered()]
    assert sequences == list(range(1, len(sequences) + 1))


async def test_a_fenced_lane_that_is_still_ours_starts_anew(world: World) -> None:
    world.log.failures.append(Fenced("taken over"))
    world.log.publish(GRAIN, LANE, b"x", b"x")
    async with world.running():
        await until(world.log.delivered)
    assert world.ownership.asked == 1
    assert world.log.starts == 2


async def test_a_fenced_lane_that_is_another_s_gives_up(world: World) -> None:
    async with world.running() as lane:
        await until(lambda: world.directory_of_state() == 1)
        world.log.epoch += 1
        world.ownership.mine = False
        world.log.publish(GRAIN, LANE, b"x", b"x")
        await until(lambda: not lane.running)
    assert world.log.starts == 1
    assert not world.log.delivered()


async def test_a_lane_that_is_lost_while_it_starts_goes_no_further(world: World) -> None:
    world.ownership.mine = False
    async with world.running() as lane:
        await until(lambda: world.log.starts == 1 and not lane.running)
    assert world.log.reads_of_state == 0


async def test_a_lane_waits_for_a_directory_that_knows_what_it_has_decided_with(world: World) -> None:
    world.directories.move(9)
    async with world.running():
        await until(lambda: world.directory_of_state() == 9)
    world.directories.move(8)
    world.log.publish(GRAIN, LANE, *[b"x"] * 4)
    written = len(world.log.transactions)
    async with world.running():
        await until(lambda: world.log.reads_of_state == 2)
        await asyncio.sleep(3 * LIMITS.recheck)
        assert len(world.log.transactions) == written
        world.directories.move(10)
        await until(world.log.delivered)
    assert {json.loads(value)["directory"] for value in world.log.delivered()} == {10}


async def test_without_a_directory_a_lane_waits_and_goes_on_by_itself(world: World) -> None:
    world.directories.missing = True
    world.log.publish(GRAIN, LANE, *[b"x"] * 4)
    async with world.running():
        await until(lambda: world.log.reads_of_state == 1)
        await asyncio.sleep(3 * LIMITS.recheck)
        assert not world.log.transactions
        world.directories.missing = False
        await until(world.log.delivered)
        world.directories.missing = True
        world.log.publish(GRAIN, LANE, *[b"x"] * 4)
        await asyncio.sleep(3 * LIMITS.recheck)
        world.directories.missing = False
        await until(lambda: world.positions()[-1][1] >= permitted(8)[-1])
    assert world.log.starts == 1, "waiting is not failing"


async def test_past_the_directory_s_day_nothing_is_delivered_but_its_position_is_acknowledged(world: World) -> None:
    world.directories.move(1, line.knowledge(today=date(1970, 1, 1)))
    world.now = 48 * 60 * 60 * 1000
    world.log.publish(GRAIN, LANE, *[b"x"] * 4)
    async with world.running():
        await asyncio.sleep(5 * LIMITS.recheck)
        world.directories.move(2)
        await asyncio.sleep(5 * LIMITS.recheck)
        assert not world.log.delivered()
        world.directories.move(3, line.knowledge(version=2, today=date(1970, 1, 3)))
        await until(world.log.delivered)
    assert {json.loads(value)["directory"] for value in world.log.delivered()} == {3}
    assert world.log.starts == 1


async def test_a_new_contract_s_partitions_join_and_the_others_go_on_where_they_were(world: World) -> None:
    world.directories.move(1, line.knowledge([GRAIN]))
    world.log.publish(GRAIN, LANE, *[b"x"] * 4)
    world.log.publish(FLOUR, LANE, *[b"x"] * 4)
    async with world.running():
        await until(world.log.delivered)
        assert {source for source, _ in world.positions()} == {"source.mill.grain"}
        world.directories.move(5, line.knowledge(version=5))
        await until(lambda: {source for source, _ in world.positions()} == {"source.mill.grain", "source.mill.flour"})
    assert [place for place in world.positions() if place[0] == "source.mill.grain"] == [
        ("source.mill.grain", position) for position in permitted(4)
    ]
    assert world.log.starts == 1


async def test_a_topic_that_was_made_again_is_left_out_and_the_others_go_on(world: World) -> None:
    world.log.publish(GRAIN, LANE, *[b"x"] * 4)
    async with world.running():
        await until(world.log.delivered)
    grain = world.log.identities["source.mill.grain"]
    world.log.identities["source.mill.grain"] = replace(grain, id="another")
    world.log.publish(GRAIN, LANE, *[b"x"] * 4)
    world.log.publish(FLOUR, LANE, *[b"x"] * 4)
    async with world.running():
        await until(lambda: "source.mill.flour" in {source for source, _ in world.positions()})
    assert max(position for source, position in world.positions() if source == "source.mill.grain") < 4


async def test_a_position_beyond_the_end_is_refused_and_the_others_go_on(world: World) -> None:
    world.log.publish(GRAIN, LANE, *[b"x"] * 4)
    async with world.running():
        await until(world.log.delivered)
    world.log.sources["source.mill.grain", LANE].clear()
    world.log.publish(FLOUR, LANE, *[b"x"] * 4)
    async with world.running():
        await until(lambda: "source.mill.flour" in {source for source, _ in world.positions()})


async def test_a_stream_that_keeps_failing_is_left_out_and_the_others_go_on(world: World) -> None:
    world.log.publish(GRAIN, LANE, b"poison")
    async with world.running():
        for count in range(1, 4):
            world.log.publish(FLOUR, LANE, *[b"x"] * 4)
            await until(lambda count=count: len(world.positions()) >= len(permitted(4 * count)))
    assert {source for source, _ in world.positions()} == {"source.mill.flour"}
    assert [position for _, position in world.positions()] == permitted(12)


async def test_a_lane_with_input_and_no_commit_is_started_anew(world: World) -> None:
    world.log.silent = True
    world.log.publish(GRAIN, LANE, *[b"x"] * 4)
    async with world.running():
        await until(lambda: world.log.starts >= 2)
        world.log.silent = False
        await until(world.log.delivered)
    assert [position for _, position in world.positions()] == permitted(4)


async def test_an_idle_lane_is_not_started_anew(world: World) -> None:
    async with world.running():
        await asyncio.sleep(2 * LIMITS.stall)
    assert world.log.starts == 1


async def test_a_lane_that_is_told_to_stop_finishes_the_transaction_it_is_in(world: World) -> None:
    world.log.hold = asyncio.Event()
    world.log.publish(GRAIN, LANE, *[b"x"] * 4)
    async with world.running() as lane:
        await world.log.committing.wait()
        lane.stop()
        await asyncio.sleep(0.02)
        assert lane.running
        world.log.hold.set()
    assert world.log.transactions


async def test_no_reading_of_the_directory_is_open_over_an_await(world: World) -> None:
    world.log.hold = asyncio.Event()
    world.log.publish(GRAIN, LANE, *[b"x"] * 4)
    async with world.running():
        await world.log.committing.wait()
        assert world.directories.open_readings == 0
        world.log.hold.set()


async def test_a_round_is_capped_however_much_there_is(world: World) -> None:
    world.limits = replace(LIMITS, round_records=10)
    world.log.publish(GRAIN, LANE, *[b"x"] * 95)
    async with world.running():
        await until(lambda: len(world.positions()) == len(permitted(95)))
    assert max(len(outbox.get((AGENCY, LANE), ())) for outbox in world.log.transactions) <= 10
    assert [position for _, position in world.positions()] == permitted(95)
