"""Applies the directory's topic to this machine's copy: one feeder a machine, and the only one who writes the copy.

- Records become visible in the order of the topic, a whole fetch at a time, with the position that they lead to.
- A copy of another topic or cluster is thrown away and made anew; a position that the topic does not have is refused.
- A crash at any moment leaves the copy as it was after some fetch; the next start goes on from there.
"""

from __future__ import annotations

from integrator import telemetry
from integrator.directory.ports import DirectoryTopic
from integrator.directory.store import Store
from integrator.domain.identifiers import Position

WAIT_SECONDS = 0.05
"""How long a fetch may wait for records. It returns with the first of them, so this is no delay."""


class Feeder:
    """Feeds one copy. Owned by one task; nothing here is shared."""

    # LIMIT: a copy that was away for longer than the topic keeps erasures must be deleted by hand; nothing erases yet.
    # LIMIT: a new machine reads the whole topic (some 30,000 records a second); it cannot start from a snapshot yet.

    def __init__(self, topic: DirectoryTopic, store: Store) -> None:
        self._topic = topic
        self._store = store
        self._position = Position(0)
        self._log = telemetry.log("directory")

    async def start(self) -> None:
        """Find out where to go on. Raises `Refused` (`directory-beyond-end`)."""
        incarnation = await self._topic.incarnation()
        with self._store.snapshot() as snapshot:
            before, position = snapshot.incarnation, snapshot.applied
        if before != incarnation:
            self._store.begin_anew(incarnation)
            if before is not None:
                self._log.warning("directory-rebuilt", position=position)
        with self._store.snapshot() as snapshot:
            position = snapshot.applied
        await self._topic.start(position)
        self._position = position

    async def step(self) -> None:
        """Wait for records, for a moment, and apply them in one transaction."""
        records, position = await self._topic.fetch(wait=WAIT_SECONDS)
        if position != self._position:
            self._store.apply(records, position)
            self._position = position

    async def run(self) -> None:
        """Feed until cancelled; a step that has begun to write is never cut in two, because it does not await."""
        await self.start()
        while True:
            await self.step()
