"""Kills, pauses, adds and stops worker processes while records flow: none is lost, none comes twice."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tests.fault import judge, line
from tests.fault.conftest import Mill, Worker

pytestmark = pytest.mark.fault


@asynccontextmanager
async def flowing(mill: Mill) -> AsyncGenerator[None]:
    """Publish while the body runs, and let the directory move on all the time."""
    stop = asyncio.Event()

    async def move() -> None:
        while not stop.is_set():
            mill.directory.set(mill.directory.position() + 1)
            await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        group.create_task(mill.publish(stop))
        group.create_task(move())
        try:
            yield
        finally:
            stop.set()


async def judged(mill: Mill) -> dict[str, int]:
    """Wait until everything is decided, and judge it."""
    evidence = await judge.until_done(mill.broker.connection(), directory=mill.directory.position())
    figures = judge.judge(evidence)
    assert figures["records"] >= mill.published > 500
    return figures


async def test_a_killed_worker_loses_nothing_and_repeats_nothing(mill: Mill) -> None:
    first, second = mill.worker(), mill.worker()
    async with flowing(mill):
        await until_shared(first, second)
        await mill.until_moving()
        first.send(signal.SIGKILL)
        await mill.until_moving(records=400)
    await judged(mill)


async def test_a_paused_worker_that_comes_back_neither_repeats_nor_loses(mill: Mill) -> None:
    first, second = mill.worker(), mill.worker()
    async with flowing(mill):
        await until_shared(first, second)
        await mill.until_moving()
        before = second.said("lane-opened")
        first.send(signal.SIGSTOP)
        # Its lanes are the other's once the session (1 s) is over; then it wakes up inside its old transactions.
        await until_said(second, "lane-opened", times=before + line.LANES // 2)
        await mill.until_moving()
        first.send(signal.SIGCONT)
        await until_said(first, "lane-fenced")
        await mill.until_moving(records=400)
    await judged(mill)


async def test_workers_that_join_and_leave_hand_their_lanes_over(mill: Mill) -> None:
    first = mill.worker()
    async with flowing(mill):
        await mill.until_moving()
        second = mill.worker()
        await until_said(second, "lane-opened", times=line.LANES // 2)
        await mill.until_moving()
        # On a busy machine a session of a second may end by itself before this; what counts is the leaving.
        fenced = first.said("lane-fenced")
        first.send(signal.SIGTERM)
        assert await first.ended(seconds=10) == 0
        await mill.until_moving(records=400)
    await judged(mill)
    assert first.said("lane-fenced") == fenced, "a worker that leaves in order is not fenced"


async def test_nothing_is_decided_with_less_than_was_already_decided_with(mill: Mill) -> None:
    mill.directory.set(100)
    ahead = mill.worker()
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(mill.publish(stop))
        await mill.until_moving()
        ahead.send(signal.SIGKILL)
        await ahead.ended()
        lagging = line.FileDirectory(mill.folder / "lagging")
        lagging.set(50)
        behind = mill.worker(lagging)
        await until_said(behind, "directory-behind", times=line.LANES)
        stop.set()
    waiting = judge.open_ends(await judge.gather(mill.broker.connection()), directory=100)
    assert any("has more" in each for each in waiting), "the lagging worker decided"
    assert "lane-opened" not in behind.log.read_text()
    lagging.set(99)
    lagging.set(101)
    judge.judge(await judge.until_done(mill.broker.connection(), directory=101))


async def until_shared(*workers: Worker) -> None:
    """Wait until each of two workers has opened its half of the lanes."""
    for worker in workers:
        await until_said(worker, "lane-opened", times=line.LANES // 2)


async def until_said(worker: Worker, event: str, *, times: int = 1) -> None:
    """Wait until the worker's log has the event so many times."""
    async with asyncio.timeout(30):
        while worker.said(event) < times:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
