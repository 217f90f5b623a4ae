"""Runs blocking work of the ledger in a thread so that cancellations wait for its end, whatever the end is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


async def in_thread(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return what `call` returns, or raise what it raises.

    When this is cancelled, however often, the thread goes on: this returns the cancellation only after it, so that
    nobody closes a file under its hands.
    """
    running = asyncio.ensure_future(asyncio.to_thread(partial(call, *args, **kwargs)))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({running})
        # Whoever cancelled this does not want its outcome; taken note of, it is not logged as forgotten.
        if not running.cancelled():
            running.exception()
        raise
