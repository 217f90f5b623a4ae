"""The port through which search reads a log: cheap columns of its rows, and each statement once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

HOUR_MS = 3_600_000


class Row(NamedTuple):
    """What search knows of one entry.

    `number` is its index in the log; `statement` the store's number of its part A; `at` the exact time in milliseconds
    since 1970, 0 once that is erased; `person` the store's number of the person, 0 for nobody and once erased; `listed`
    is False for entries that are withheld or padding.
    """

    number: int
    statement: int
    at: int
    person: int
    listed: bool


class SearchedLog(Protocol):
    """One log. Each method sees one moment of it; what was appended before stays as it is, but for erasures."""

    @property
    def origin(self) -> str:
        """Return the log's origin."""
        ...

    @property
    def size(self) -> int:
        """Return the number of entries."""
        ...

    def rows(self, start: int, stop: int) -> Iterable[Row]:
        """Return the rows of the entries from `start` to below `stop`, in order, in bounded memory."""
        ...

    def statement(self, number: int) -> bytes:
        """Return a statement. Raises `Tampered` when there is none of that number."""
        ...

    def subtree(self, height: int, index: int) -> bytes:
        """Return the 32-byte root over the entries [index·2^height, (index+1)·2^height), which are all there."""
        ...

    def persons(self, indices: Sequence[int]) -> set[bytes]:
        """Return the pseudonyms of the persons of these entries, of those that are not erased."""
        ...
