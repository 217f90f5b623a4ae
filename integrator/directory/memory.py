"""Keeps a copy of the directory in memory: the same readings as from LMDB, for trials and the tests of other rooms."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from integrator.directory.knowledge import Entry, Known, fold
from integrator.directory.people import Line
from integrator.directory.ports import FedRecord, Incarnation
from integrator.directory.records import PERSON_KINDS, DirectoryRecord, RecordKey, read_content
from integrator.directory.store import line_change
from integrator.directory.view import POLL_SECONDS, DirectoryReading
from integrator.domain.directory import Knowledge, StandingInscription
from integrator.domain.identifiers import Position, Pseudonym

INCARNATION = Incarnation("memory", "memory")


class MemoryDirectory:
    """A copy in memory. `feed` applies records as the feeder does; readings stay as they were when opened."""

    def __init__(self, records: Iterable[DirectoryRecord] = ()) -> None:
        self._entries: dict[int, Entry] = {}
        self._version = 0
        self._known: Known | None = None
        self._people: dict[Pseudonym, tuple[Line, ...]] = {}
        self._position = Position(0)
        self.append(records)

    def append(self, records: Iterable[DirectoryRecord]) -> Position:
        """Apply `records` at the next offsets and return the position after them."""
        encoded = [record.encode() for record in records]
        fed = [FedRecord(self._position + at, key, value) for at, (key, value) in enumerate(encoded)]
        self.feed(fed, Position(self._position + len(fed)))
        return self._position

    def feed(self, records: Sequence[FedRecord], position: Position) -> None:
        """Apply records of the topic; afterwards the copy is at `position`."""
        for record in records:
            key = RecordKey.decode(record.key)
            if key.kind in PERSON_KINDS:
                change = line_change(key, record)
                self._people[change.person] = change.apply(self._people.get(change.person, ()))
                continue
            self._version, self._known = record.offset + 1, None
            if record.value is not None:
                self._entries[record.offset] = Entry(record.offset, key, read_content(key.kind, record.value))
            else:
                self._entries = {at: entry for at, entry in self._entries.items() if entry.key != key}
        self._position = position

    def incarnation(self) -> Incarnation:
        """Return the one topic that there is in memory."""
        return INCARNATION

    def position(self) -> Position:
        """Return the offset of the next record to apply."""
        return self._position

    @contextmanager
    def read(self) -> Generator[DirectoryReading]:
        """Open one consistent reading; close it before the first await."""
        if self._known is None:
            self._known = fold(self._entries.values(), self._version)
        yield _MemoryReading(self._position, self._known, dict(self._people))

    async def wait_for(self, position: Position) -> None:
        """Return when the copy is at or past `position`; the caller sets the time limit."""
        while self._position < position:  # noqa: ASYNC110  as the copy that another process writes
            await asyncio.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class _MemoryReading:
    position: Position
    known: Known
    people: dict[Pseudonym, tuple[Line, ...]]

    @property
    def knowledge(self) -> Knowledge:
        return self.known.knowledge

    def inscriptions(self, people: Sequence[Pseudonym]) -> list[tuple[StandingInscription, ...]]:
        return [tuple(line.inscription for line in lines) for lines in self.lines(people)]

    def lines(self, people: Sequence[Pseudonym]) -> list[tuple[Line, ...]]:
        return [self.people.get(person, ()) for person in people]
