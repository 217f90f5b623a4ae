"""Plays the agencies: each receives for its purposes with its own credentials, and notes what came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence, Set
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from integrator.demo.scenarios import Right
from integrator.demo.stage import Stage
from integrator.domain.topics import agency_principal
from integrator.sdk.agency import Agency
from integrator.sdk.delivered import Delivered

Hear = Callable[[Right, Delivered], None]


@dataclass(slots=True)
class Notes:
    """What one agency received for one purpose from one stream. Owned by its task; read by anybody."""

    right: Right
    received: int = 0
    latencies: list[float] = field(default_factory=list[float])
    """Seconds, one for each event."""
    about: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, "list[dict[str, Any]]"])
    """By person, for those of the scenarios: each delivery as fields."""


class Recipients:
    """The agencies while they listen. `watched` may grow: deliveries about those people are kept whole."""

    def __init__(self, stage: Stage, watched: Set[str], hear: Hear) -> None:
        self._stage = stage
        self._watched = watched
        self._hear = hear
        self.notes: dict[tuple[str, str, str], Notes] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def listen(self, rights: Sequence[Right]) -> None:
        """Let the agencies of `rights` subscribe and receive from now on."""
        for right in rights:
            self.notes[right.key] = Notes(right)
            self._tasks.append(asyncio.create_task(self._receive(self.notes[right.key]), name=f"agency {right.key}"))

    def check(self) -> None:
        """Raise what made an agency stop."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def close(self) -> None:
        """Let the agencies leave."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _receive(self, notes: Notes) -> None:
        agency, purpose, stream = notes.right.key
        async with (
            open_agency(self._stage, agency, purpose) as connected,
            aclosing(connected.subscribe(stream, purpose=purpose)) as events,
        ):
            async for event in events:
                async with event:
                    notes.received += 1
                    notes.latencies.append(event.latency)
                    self._note(notes, event)
                    self._hear(notes.right, event)

    def _note(self, notes: Notes, event: Delivered) -> None:
        number = str(event.value.get("bsn", ""))
        if number in self._watched:
            received = {
                "kind": event.kind,
                "purpose": event.purpose[0],
                "triggers": list(event.triggers),
                "fields": event.value,
            }
            notes.about.setdefault(number, []).append(received)


@asynccontextmanager
async def open_agency(stage: Stage, agency: str, purpose: str) -> AsyncGenerator[Agency]:
    """Connect as `agency` for `purpose`, with its own user of the broker and its own token."""
    installation = stage.installation
    async with Agency.connect(
        installation.connection(agency_principal(agency, purpose)),
        api=installation.api_url,
        token=stage.agency_token(agency, purpose),
    ) as connected:
        yield connected
