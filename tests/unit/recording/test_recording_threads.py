"""Holds that nobody who is cancelled goes on before the thread that works for them has come to its end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from integrator.recording.threads import in_thread


async def test_however_often_it_is_cancelled_it_ends_after_the_thread() -> None:
    begun, may_end = asyncio.Event(), threading.Event()
    loop, ended = asyncio.get_running_loop(), False

    def work() -> None:
        nonlocal ended
        loop.call_soon_threadsafe(begun.set)
        may_end.wait(20)
        ended = True

    async def ask() -> None:
        try:
            await in_thread(work)
        finally:
            assert ended, "what comes now would close files under the hands of the thread"

    asking = asyncio.create_task(ask())
    await begun.wait()
    for _ in range(3):
        asking.cancel()
        # So many turns of the loop as a cancellation takes to go through a few tasks.
        for _ in range(10):
            await asyncio.sleep(0)
        assert not asking.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_it_returns_and_raises_what_the_call_does() -> None:
    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 7, 0)
