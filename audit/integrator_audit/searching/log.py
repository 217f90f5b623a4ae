"""The port through which search reads a log, and that port over a store.

Search needs of an entry: which statement it makes, in which hour, and whether it is listed; of persons only how many
there are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from integrator_audit.errors import Tampered, Unavailable
from integrator_audit.store import Reading
from integrator_audit.stores import open_reading
from integrator_audit.tiles import subtree_reader

HOUR_MS = 3_600_000


class SearchedLog(Protocol):
    """One log. What was appended stays as it is, but for erasures."""

    @property
    def origin(self) -> str:
        """Return the log's origin."""
        ...

    @property
    def size(self) -> int:
        """Return the number of entries."""
        ...

    def rows(self, start: int, stop: int) -> Iterable[tuple[int, int, int]]:
        """Return (index, number of the statement, moment in ms or 0 when erased) of [start, stop), by index."""
        ...

    def unlisted_between(self, start: int, stop: int) -> Sequence[int]:
        """Return the indices of the withheld entries and the padding in [start, stop)."""
        ...

    def erased_between(self, start: int, stop: int) -> int:
        """Return how many entries of [start, stop) were erased."""
        ...

    def persons_between(self, start: int, stop: int) -> Iterable[tuple[bytes, Sequence[int]]]:
        """Return each person with listed entries in [start, stop) once, with the indices."""
        ...

    def persons(self, indices: Sequence[int]) -> set[bytes]:
        """Return the pseudonyms of the persons of these entries, of those that are not erased."""
        ...

    def statement(self, number: int) -> bytes:
        """Return a statement. Raises `Tampered` when there is none of that number."""
        ...

    def subtree(self, height: int, index: int) -> bytes:
        """Return the 32-byte root over the entries [index·2^height, (index+1)·2^height), which are all there."""
        ...


class StoredLog:
    """A log in a store that nobody else uses. Calls from several threads are taken one after the other."""

    def __init__(self, store: Reading) -> None:
        """Use `open` instead; this takes a store that is already open. Raises `Unavailable` (`ledger-empty`)."""
        self._store = store
        self._lock = threading.Lock()
        with self._lock:
            identity = store.identity()
        if identity is None:
            raise Unavailable("ledger-empty", "the ledger was not created yet; start its writer")
        self._origin = identity.origin

    @classmethod
    def open(cls, place: Path | str) -> StoredLog:
        """Open the log at `place` (a path, or a `postgresql://` URL) for reading; raise as `LedgerReader.open` does."""
        store = open_reading(place)
        try:
            return cls(store)
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Close the store."""
        with self._lock:
            self._store.close()

    @property
    def origin(self) -> str:
        """Return the log's origin."""
        return self._origin

    @property
    def size(self) -> int:
        """Return the number of entries."""
        with self._lock:
            head = self._store.head()
        return 0 if head is None else head.size

    def rows(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """Return (index, number of the statement, moment in ms or 0 when erased) of [start, stop), by index."""
        with self._lock:
            return list(self._store.rows(start, stop))

    def unlisted_between(self, start: int, stop: int) -> list[int]:
        """Return the indices of the withheld entries and the padding in [start, stop)."""
        with self._lock:
            return self._store.unlisted_between(start, stop)

    def erased_between(self, start: int, stop: int) -> int:
        """Return how many entries of [start, stop) were erased."""
        with self._lock:
            return sum(1 for _ in self._store.erasures(start, stop))

    def persons_between(self, start: int, stop: int) -> list[tuple[bytes, list[int]]]:
        """Return each person with listed entries in [start, stop) once, with the indices."""
        with self._lock:
            return list(self._store.persons_between(start, stop))

    def persons(self, indices: Sequence[int]) -> set[bytes]:
        """Return the pseudonyms of the persons of these entries, of those that are not erased."""
        with self._lock:
            rows = [self._store.entry(index) for index in indices]
        return {row.subject for row in rows if row is not None and row.subject is not None}

    def statement(self, number: int) -> bytes:
        """Return a statement. Raises `Tampered` (`search-statement`) when there is none of that number."""
        with self._lock:
            found = self._store.statement(number)
        if found is None:
            raise Tampered("search-statement", f"{self._origin} holds no statement {number}; run fsck")
        return found

    def subtree(self, height: int, index: int) -> bytes:
        """Return the 32-byte root over the entries [index·2^height, (index+1)·2^height), which are all there."""
        with self._lock:
            return subtree_reader(self._store.tile)(height, index)
