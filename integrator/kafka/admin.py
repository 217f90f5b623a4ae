"""Lends confluent-kafka's admin client to a caller that is asynchronous, with limits on time and translated errors.

aiokafka has no calls for access rules and users, and replaces a topic's whole configuration where this one changes one
setting. A look at the cluster comes first: librdkafka itself reports a wrong password as a time-out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from confluent_kafka.admin import AdminClient

from integrator.kafka.connection import Connection
from integrator.kafka.failures import FOREIGN, code_of, translate

REQUEST_SECONDS = 20.0
K = TypeVar("K")


@asynccontextmanager
async def administering(connection: Connection) -> AsyncGenerator[Any]:
    """Lend an `AdminClient` of `connection`. Raises as `Connection.look` does when it cannot log in.

    It is `Any` because its types leave out what its futures hold; callers say what they expect.
    """
    await connection.look()
    yield AdminClient(connection.confluent())


async def answers(
    doing: str, futures: Mapping[K, Future[Any]], *, without: frozenset[int] = frozenset()
) -> dict[K, Any]:
    """Await one answer for each key and return those that came; `without` are error numbers that leave a key out.

    All answers are awaited before the first error is raised, so nothing goes on behind the caller's back.
    """
    async with asyncio.timeout(REQUEST_SECONDS + 5):
        found = await asyncio.gather(*map(asyncio.wrap_future, futures.values()), return_exceptions=True)
    kept: dict[K, Any] = {}
    for key, answer in zip(futures, found, strict=True):
        if not isinstance(answer, BaseException):
            kept[key] = answer
        elif not isinstance(answer, FOREIGN):
            raise answer
        elif code_of(answer) not in without:
            raise translate(answer, f"{doing} ({key})") from answer
    return kept
