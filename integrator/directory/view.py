"""Reads this machine's copy of the directory: one consistent reading for each batch, at one position.

A worker opens a reading, copies what it needs and leaves it before its first `await`: a reading that lasts keeps old
pages of the copy from being used again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from integrator.directory.knowledge import Entry, Known, fold
from integrator.directory.people import Line
from integrator.directory.ports import Incarnation
from integrator.directory.records import RecordKey, read_content
from integrator.directory.store import Snapshot, Store
from integrator.domain.directory import DirectoryView, Knowledge, StandingInscription
from integrator.domain.errors import Unavailable
from integrator.domain.identifiers import Position, Pseudonym

POLL_SECONDS = 0.01


class DirectoryReading(DirectoryView, Protocol):
    """A reading as the directory's own room sees it: with what the writer needs to add to it."""

    @property
    def known(self) -> Known:
        """The knowledge part, and the latest record of each kind and id."""
        ...

    def lines(self, people: Sequence[Pseudonym]) -> list[tuple[Line, ...]]:
        """Return, for each person, the latest record about each agency and capacity."""
        ...


class Directory:
    """The copy on this machine. Knowledge is compiled once for each of its versions."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._incarnation: Incarnation | None = None
        self._known: Known | None = None
        # A key is never used twice, so what stands at an offset never changes within one incarnation.
        self._entries: dict[int, Entry] = {}

    @classmethod
    def open(cls, path: Path) -> Directory:
        """Open the copy in the folder `path`. Raises `Unavailable` (`no-directory`) when the feeder made none yet."""
        return cls(Store.open(path))

    @classmethod
    async def wait_open(cls, path: Path) -> Directory:
        """Open the copy in the folder `path` as soon as there is one; the caller sets the time limit."""
        while True:
            try:
                directory = cls.open(path)
            except Unavailable:
                await asyncio.sleep(POLL_SECONDS)
                continue
            if directory.incarnation() is not None:
                return directory
            directory.close()
            await asyncio.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Close the copy; no reading may be open."""
        self._store.close()

    def position(self) -> Position:
        """Return the offset of the next record that the copy will apply. Costs microseconds."""
        with self._store.snapshot() as snapshot:
            return snapshot.applied

    def incarnation(self) -> Incarnation | None:
        """Return which topic of which cluster this is a copy of; `None` before the feeder's first start."""
        with self._store.snapshot() as snapshot:
            return snapshot.incarnation

    @contextmanager
    def read(self) -> Generator[DirectoryReading]:
        """Open one consistent reading; close it before the first await."""
        with self._store.snapshot() as snapshot:
            yield _Reading(self, snapshot)

    async def wait_for(self, position: Position) -> None:
        """Return when the copy is at or past `position`; the caller sets the time limit."""
        while self.position() < position:  # noqa: ASYNC110  another process writes the copy
            await asyncio.sleep(POLL_SECONDS)

    def compile(self, snapshot: Snapshot) -> Known:
        """Return the knowledge part of `snapshot`, from before where nothing of it changed."""
        if (incarnation := snapshot.incarnation) != self._incarnation:
            self._incarnation, self._known, self._entries = incarnation, None, {}
        version = snapshot.knowledge_version
        if self._known is None or self._known.knowledge.version != version:
            entries: dict[int, Entry] = {}
            for offset in snapshot.knowledge_offsets():
                entries[offset] = self._entries.get(offset) or _entry(offset, *snapshot.knowledge_record(offset))
            self._entries = entries
            self._known = fold(entries.values(), version)
        return self._known


def _entry(offset: int, key: bytes, value: bytes) -> Entry:
    decoded = RecordKey.decode(key)
    return Entry(offset, decoded, read_content(decoded.kind, value))


class _Reading:
    """One reading over a snapshot; see `DirectoryReading`."""

    def __init__(self, directory: Directory, snapshot: Snapshot) -> None:
        self._directory = directory
        self._snapshot = snapshot
        self.position = snapshot.applied

    @property
    def known(self) -> Known:
        return self._directory.compile(self._snapshot)

    @property
    def knowledge(self) -> Knowledge:
        return self.known.knowledge

    def inscriptions(self, people: Sequence[Pseudonym]) -> list[tuple[StandingInscription, ...]]:
        return [tuple(line.inscription for line in lines) for lines in self._snapshot.lines(people)]

    def lines(self, people: Sequence[Pseudonym]) -> list[tuple[Line, ...]]:
        return list(self._snapshot.lines(people))
