"""Kills the broker while transactions are open, with a transaction time-out shorter than its restart."""

from __future__ import annotations

import asyncio

import pytest

from tests.fault.conftest import Mill
from tests.fault.test_workers import flowing, judged

pytestmark = pytest.mark.fault


async def test_a_killed_broker_that_comes_back_costs_time_only(mill: Mill) -> None:
    mill.worker()
    mill.worker()
    async with flowing(mill):
        for _ in range(3):
            await mill.until_moving(seconds=60)
            mill.broker.kill()
            # Lanes meet the outage in every phase; the time-out of their open transactions (3 s) falls into it.
            await asyncio.sleep(1)
            await mill.broker.start()
        await mill.until_moving(records=400, seconds=60)
    await judged(mill)
