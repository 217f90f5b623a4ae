"""Receives what a law lets an agency have, for one purpose at a time, with the agency's own credentials.

- The purpose is required: each purpose has its own credentials, topic, schema and groups.
- Leaving an event's context acknowledges it. Acknowledgements are made durable before the next events are fetched, at
  the latest a second later, and when the subscription ends: after a crash at most those are delivered again.
- A sequence that is missing is an error (`sequence-gap`), unless the agency asks to have it flagged.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Final, Literal

from integrator.domain.errors import Refused
from integrator.kafka.connection import Connection
from integrator.sdk.api import Api
from integrator.sdk.delivered import Delivered
from integrator.sdk.reading import Reading, Subscribed

GROUP: Final = "default"
_GROUP_NAME = re.compile(r"[a-z0-9]+(?:[.-][a-z0-9]+)*")


class Agency:
    """An agency, with the credentials of one purpose.

    async with Agency.connect(connection, api="http://127.0.0.1:8080", token=token) as agency:
        async for event in agency.subscribe("ciz/wlz-indication", purpose="dubbele-kinderbijslag"):
            async with event:
                decide(event.value)
    """

    def __init__(self, connection: Connection, api: Api) -> None:
        self._connection = connection
        self._api = api
        self._open: set[AsyncGenerator[Delivered]] = set()

    @classmethod
    def connect(cls, connection: Connection, *, api: str, token: str) -> Agency:
        """Return an agency that reads Kafka by `connection` and asks the integrator at the address `api`."""
        return cls(connection, Api(api, token))

    async def __aenter__(self) -> Agency:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End every subscription, with its acknowledgements made durable, and close the connections.

        The tasks that read them must have ended.
        """
        while self._open:
            await self._open.pop().aclose()
        await self._api.close()

    async def request(self, stream: str, *, purpose: str) -> Subscribed:
        """Ask where to read. Raises `Refused` (`not-authorised`, `not-active`, …): the refusal is on record."""
        told = await self._api.post("/v1/subscriptions", {"stream": stream, "purpose": purpose})
        return Subscribed(
            stream=told["stream"],
            purpose=told["purpose"],
            topic=told["topic"],
            group_prefix=told["groupPrefix"],
            schema_id=told["schemaId"],
            authorisation=told["authorisation"],
            version=told["version"],
        )

    def subscribe(
        self, stream: str, *, purpose: str, group: str = GROUP, gaps: Literal["raise", "flag"] = "raise"
    ) -> AsyncGenerator[Delivered]:
        """Yield every event that is delivered to this agency for `purpose`, the oldest not acknowledged first.

        `group` names who shares the work: members of one group each receive a part; a new group begins at the oldest
        event that is kept. Raises `Refused` when the integrator or the broker says no, `Unavailable` when one is away,
        `Tampered` (`sequence-gap`) when an event is missing. `flag` leaves it at `Delivered.missing`.
        """
        if not _GROUP_NAME.fullmatch(group):
            raise Refused("group-name", f"{group!r} is no name of a group: use a-z, 0-9, and single dots or hyphens.")
        events = self._events(stream, purpose, group, raises=gaps == "raise")
        # Held until it is closed: one that its reader left with `break` is closed by `close`, not by chance.
        self._open.add(events)
        return events

    async def _events(self, stream: str, purpose: str, group: str, *, raises: bool) -> AsyncGenerator[Delivered]:
        subscribed = await self.request(stream, purpose=purpose)
        reading = Reading(self._connection, self._api, subscribed, group, raises=raises)
        async with aclosing(reading.events()) as events:
            async for event in events:
                yield event
