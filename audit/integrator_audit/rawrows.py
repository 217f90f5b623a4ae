"""The port through which a check reads a store: rows as they lie there, whatever they hold.

- All stores have the same small tables, so checks ask in SQL that every store understands: `?` marks a parameter.
- How a store lays out entries and indexes, and what only it has (pages, a catalogue), it reads and checks itself.
- Nothing is believed: a column may hold another type than the schema says, and every method raises `Tampered`
  (`ledger-damaged`) when the store cannot read its own rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, NamedTuple, Protocol

from integrator_audit.store import EntryRow

NAMED: Final = 20
"""So many rows of one kind are named; who has more has a larger problem."""


class RawEntry(NamedTuple):
    """An entry with the numbers of its statement and recipient, what is said of its erasure, and how it is indexed.

    `is_unlisted` says whether the list of unlisted entries has it. Of a damaged store nothing has to be as typed here.
    """

    row: EntryRow
    statement: int
    recipient: int | None
    ground: object
    is_unlisted: bool


class Wrong(NamedTuple):
    """What is wrong in a store of one kind only: a stable code, where, and a sentence."""

    code: str
    where: str
    message: str


class RawRows(Protocol):
    """The rows of one log."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Hold one moment."""
        ...

    def query(self, statement: str, parameters: Sequence[int] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query in bounded memory."""
        ...

    def first(self, statement: str, parameters: Sequence[int] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None."""
        ...

    def entries(self, start: int, stop: int) -> list[RawEntry]:
        """Return the rows of entries in [start, stop) that can be read."""
        ...

    def draws(self) -> Iterator[tuple[Any, ...]]:
        """Yield (first index, count, start of the first salt, start of the first entry's salt or None), by index."""
        ...

    def structure(self) -> Iterator[Wrong]:
        """Yield what is wrong with pages, tables and indexes as such."""
        ...

    def indexes(self) -> Iterator[Wrong]:
        """Yield where an index by person or recipient is not that of the entries."""
        ...

    def close(self) -> None:
        """Release the store."""
        ...
