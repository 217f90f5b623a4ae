"""Plays the main job: sources publish, the law comes into force, agencies receive, the ledger keeps account.

The order of the acts is the order of the issue that they show: who has no law is refused, what was published before the
law stays undelivered, what is outside an authorisation is withheld with a reason.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from integrator.demo.people import Person, Population, reference
from integrator.demo.recipients import Recipients, open_agency
from integrator.demo.scenarios import BIRTHS, INDICATIONS, INDICATIONS_EACH, PERSONS, Plot, Right, plot, with_law
from integrator.demo.stage import Stage
from integrator.directory.documents import Stated
from integrator.domain.errors import Refused, Unavailable
from integrator.domain.identifiers import SubjectRef, split_stream
from integrator.domain.topics import DISCLOSURES, agency_topic, source_principal, source_topic
from integrator.kafka.access import OPERATOR
from integrator.kafka.accounts import Accounts, read_accounts, read_ends
from integrator.operation.processes import readers_of
from integrator.recording.logs import is_shard
from integrator.sdk.delivered import Delivered
from integrator.sdk.message import SourceMessage
from integrator.sdk.owner import RegistryOwner

LAW_AFTER: Final = timedelta(seconds=4)
"""So long after it was asked for without a law, the law of S4 comes into force: later on a slow machine."""
_QUIET_SECONDS: Final = 60.0
"""So long everything may take to arrive once the last event is published."""
_PER_SECOND: Final = 300
"""Background changes in a second: enough to see them flow, few enough that nothing waits in a queue."""
_AT_ONCE: Final = 10
STREAMS: Final = (PERSONS, INDICATIONS)


@dataclass(slots=True)
class Story:
    """What happened, as far as the play has come."""

    plot: Plot
    newborn: list[str] = field(default_factory=list[str])
    """Numbers of the children of S3."""
    refused: dict[str, int] = field(default_factory=dict[str, int])
    """Refused requests, by reason."""
    first_delivery: datetime | None = None
    law_applied: datetime | None = None


class Screen:
    """Hears what happens. This one says nothing; a terminal overrides what it shows."""

    def say(self, sentence: str) -> None:
        """Hear one sentence about the play as a whole."""

    def published(self, message: SourceMessage) -> None:
        """Hear that a scripted event was published."""

    def delivered(self, right: Right, event: Delivered) -> None:
        """Hear that an agency received an event."""

    def refused(self, who: str, refusal: Refused) -> None:
        """Hear that a request was refused."""


class Play:
    """One performance. Its methods run in one task, the agencies in tasks of their own."""

    def __init__(self, stage: Stage, population: Population, screen: Screen) -> None:
        self.stage = stage
        self.population = population
        self.screen = screen
        self.story = Story(plot(population))
        scripted = (*self.story.plot.dying, *self.story.plot.indicated_before, *self.story.plot.indicated_after)
        self._spared = frozenset(person.number for person in scripted)
        self.watched: set[str] = set(self._spared)
        self.recipients = Recipients(stage, self.watched, self._hear)
        self.published = 0
        """Events that sources published so far."""
        self._owners: dict[str, RegistryOwner] = {}
        self.readers = readers_of(stage.installation)
        self.positions: dict[str, int] = {}
        """By stream, the directory position from which its authorisations decide."""

    async def run(self, *, background: int) -> None:
        """Play every act, with so many background changes beside them; when this returns, everything has arrived."""
        begun = datetime.now(UTC)
        position = await self.stage.apply(self.story.plot.documents)
        preparing = datetime.now(UTC) - begun
        self.positions[PERSONS] = position
        self.screen.say(f"Contracts, purposes, authorisations and inscriptions stand at directory position {position}.")
        self.recipients.listen([right for right in self.story.plot.rights if right.authorisation.stream == PERSONS])
        self.stage.admit([reference(self.population, person) for person in self._scripted()])
        async with self._sources():
            # To refuse takes a small part of what it took to prepare everything.
            law_at = datetime.now(UTC) + max(LAW_AFTER, 2 * preparing)
            law = with_law(self.story.plot.law, law_at)
            await self._refusals(law)
            await self._publish(self._births())
            await self._publish(self.population.indications(INDICATIONS_EACH))
            await self._publish(self.population.deaths(len(self.story.plot.dying)))
            changes = islice(self.population.background(sparing=self._watched_so_far()), background)
            await self._at_a_pace(changes)
            await self._law(law, law_at)
            await self._publish(self.population.indications(INDICATIONS_EACH))
            await self.settled()

    async def go_on(self, *, pause: float) -> None:
        """Publish one background change every `pause` seconds until cancelled."""
        async with self._sources():
            for change in self.population.background(sparing=self._watched_so_far()):
                await self._publish((change,), shown=False)
                await asyncio.sleep(pause)

    async def close(self) -> None:
        """Let the agencies leave and close the logs."""
        await self.recipients.close()
        self.readers.close()

    def check(self) -> None:
        """Raise what made a process or an agency stop."""
        self.stage.check()
        self.recipients.check()

    @asynccontextmanager
    async def _sources(self) -> AsyncGenerator[None]:
        """Connect both sources, each with its own credentials."""
        installation = self.stage.installation
        async with contextlib.AsyncExitStack() as stack:
            for stream in STREAMS:
                source, _ = split_stream(stream)
                connection = installation.connection(source_principal(source))
                owner = RegistryOwner(connection, source, api=installation.api_url)
                self._owners[source] = await stack.enter_async_context(owner)
            yield

    async def _refusals(self, law: Stated) -> None:
        """Two requests without a law behind them are refused, and stand in the institution log.

        Raises `Unavailable` (`demo-slow`) when the law came into force before it was asked for.
        """
        try:
            await self.stage.apply([law])
        except Refused as refusal:
            self._refused("svb asks for ciz/wlz-indication", refusal)
        else:
            raise Unavailable(
                "demo-slow", "This machine is too slow just now to show what happens before a law: again?"
            )
        async with open_agency(self.stage, "duo", "studieschuld") as duo:
            try:
                await duo.request(INDICATIONS, purpose="studieschuld")
            except Refused as refusal:
                self._refused("duo subscribes to ciz/wlz-indication", refusal)

    def _refused(self, who: str, refusal: Refused) -> None:
        self.story.refused[refusal.code] = self.story.refused.get(refusal.code, 0) + 1
        self.screen.refused(who, refusal)

    def _births(self) -> Iterable[SourceMessage]:
        for message in self.population.births(BIRTHS, municipalities=self.story.plot.territory):
            if message.value["kind"] == "created":
                number = str(message.value["bsn"])
                self.story.newborn.append(number)
                self.watched.add(number)
                # Whoever is born may ask what was disclosed about them, as everybody of the scenarios.
                self.stage.admit([SubjectRef(self.population.scheme, number)])
            yield message

    async def _law(self, law: Stated, law_at: datetime) -> None:
        """Wait for the moment of the law, then apply the authorisation again: now it is permitted."""
        story = self.story
        # A source's record that is read before the authorisation stands is decided by nobody: all of them must be.
        await self._until(self._read_by_lanes, "the lanes to read everything that was published before the law")
        remaining = (law_at - datetime.now(UTC)).total_seconds()
        await asyncio.sleep(max(0.0, remaining))
        position = await self.stage.apply([law])
        story.law_applied = datetime.now(UTC)
        self.positions[INDICATIONS] = position
        self.screen.say(f"The law of double child benefit is in force; applied at directory position {position}.")
        await self._until(lambda: self._acknowledged(position), "the lanes to decide with the law")
        self.recipients.listen([right for right in story.plot.rights if right.authorisation.stream == INDICATIONS])

    async def _at_a_pace(self, changes: Iterator[SourceMessage]) -> None:
        """Publish background changes as registries have them, one after the other and not all at once."""
        loop = asyncio.get_running_loop()
        begun, published = loop.time(), 0
        while batch := list(islice(changes, _AT_ONCE)):
            await self._publish(batch, shown=False)
            published += len(batch)
            await asyncio.sleep(max(0.0, begun + published / _PER_SECOND - loop.time()))

    async def settled(self) -> None:
        """Return when all that was published has been decided, delivered, received and entered in the ledger."""
        await self._until(self._read_by_lanes, "the lanes to decide")
        accounts = await self.accounts()
        await self._until(lambda: self._received(accounts), "the agencies to receive")
        await self._until(self._recorded, "the ledger to record")

    async def accounts(self) -> Accounts:
        """Return what the lanes say of themselves."""
        installation = self.stage.installation
        return await read_accounts(installation.connection(OPERATOR), lanes=installation.settings.lanes)

    async def _read_by_lanes(self) -> bool:
        operator = self.stage.installation.connection(OPERATOR)
        ends = await read_ends(operator, [source_topic(*split_stream(stream)) for stream in STREAMS])
        positions = (await self.accounts()).positions
        return all(positions.get(place, 0) >= end for place, end in ends.items())

    async def _acknowledged(self, position: int) -> bool:
        acknowledged = (await self.accounts()).directory
        return acknowledged is not None and acknowledged >= position

    async def _received(self, accounts: Accounts) -> bool:
        return all(
            notes.received >= accounts.delivered(topic_of(notes.right)) for notes in self.recipients.notes.values()
        )

    async def _recorded(self) -> bool:
        """Tell whether every disclosure is in the ledger and the published files show it."""
        installation = self.stage.installation
        ends = await read_ends(installation.connection(OPERATOR), [DISCLOSURES])
        files = installation.ledger_files
        for log in files.logs():
            reader = self.readers.reader(log)
            published = files.public(log) / "checkpoint"
            if not published.is_file() or published.read_bytes() != reader.checkpoint():
                return False
            positions = reader.positions()
            if is_shard(log) and any(positions.get(place, 0) < end for place, end in ends.items()):
                return False
        return bool(files.logs())

    async def _until(self, holds: Callable[[], Awaitable[bool]], what: str) -> None:
        deadline = asyncio.get_running_loop().time() + _QUIET_SECONDS
        while not await holds():
            self.check()
            if asyncio.get_running_loop().time() > deadline:
                logs = self.stage.installation.data / "logs"
                raise Unavailable("demo-stalled", f"Waited {_QUIET_SECONDS:.0f} s for {what}. The log is in {logs}.")
            await asyncio.sleep(0.1)

    async def _publish(self, messages: Iterable[SourceMessage], *, shown: bool = True) -> None:
        """Publish in order; consecutive events of one source go together."""
        batch: list[SourceMessage] = []
        for message in messages:
            if batch and message.stream != batch[0].stream:
                await self._send(batch, shown=shown)
                batch = []
            batch.append(message)
        if batch:
            await self._send(batch, shown=shown)
        self.check()

    async def _send(self, batch: Sequence[SourceMessage], *, shown: bool) -> None:
        await self._owners[split_stream(batch[0].stream)[0]].publish_many(batch)
        self.published += len(batch)
        if shown:
            for message in batch:
                self.screen.published(message)

    def _hear(self, right: Right, event: Delivered) -> None:
        if self.story.first_delivery is None:
            self.story.first_delivery = event.received
        self.screen.delivered(right, event)

    def _scripted(self) -> tuple[Person, ...]:
        plotted = self.story.plot
        return *plotted.dying, *plotted.indicated_before, *plotted.indicated_after

    def _watched_so_far(self) -> frozenset[str]:
        return frozenset(self.watched)


def topic_of(right: Right) -> str:
    """Return the topic on which an agency receives by `right`."""
    agency, purpose, stream = right.key
    return agency_topic(agency, purpose, *split_stream(stream))
