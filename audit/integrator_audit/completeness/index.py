"""The port of the index's store: the tries of every day in pages, and what else is needed to prove from them.

- The index knows labels and places (shard, number), no persons and no names: who lacks a label's key cannot say whose
  it is. Whole tries still link one label's entries, so they go to nobody but the checking cosigner.
- A sealing writes the pages of its day, then `finish` makes the day's leaf durable here, then the epoch log takes that
  leaf: that is the commit point. Pages of a day that was not finished are forgotten by the next `begin`.
- Sealed pages never change, but where something is erased: then the label and its hash stay, salt and list go. Of a
  day's list the bare places are kept, under no label, when that is before its half-year closes: the checking cosigner,
  who saw the list, has to see that the half-year's lacks it because it was erased.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple, Protocol


class Trie(IntEnum):
    """Which trie of a day: its persons, its recipients, or on a period's last day the persons of the whole period."""

    PERSONS = 1
    RECIPIENTS = 2
    PERIOD = 3


class Page(NamedTuple):
    """A piece of a trie. Level 0: the leaves that agree in the trie's first `bits` bits, which are `number`.

    Level n > 0: a tile of summaries of neighbouring pages of the level below (`integrator_audit.completeness.pages`).
    """

    level: int
    number: int
    data: bytes


class Shape(NamedTuple):
    """How a trie lies in pages: its leaves are in 2^bits pages of level 0. A page without leaves is absent."""

    leaves: int
    bits: int


class Cut(NamedTuple):
    """Where a day ends in a shard: the shard's signed checkpoint of that size."""

    shard: int
    origin: str
    size: int
    note: bytes


class Altered(NamedTuple):
    """A day's list of persons from which entries were erased before its half-year closed: packed places, no label."""

    epoch: int
    was: bytes
    left: bytes


class IndexReading(Protocol):
    """What can be read of an index. One thread at a time; iterators are used up before the next call."""

    def newest(self) -> int | None:
        """Return the newest day that was finished here, None when there is none."""
        ...

    def leaf(self, epoch: int) -> bytes | None:
        """Return the leaf with which a day was finished here."""
        ...

    def cut(self, epoch: int, shard: int) -> Cut | None:
        """Return where a day ends in a shard."""
        ...

    def shape(self, epoch: int, trie: Trie) -> Shape | None:
        """Return how a day's trie lies in pages; None when the day has no such trie."""
        ...

    def page(self, epoch: int, trie: Trie, level: int, number: int) -> bytes | None:
        """Return one page."""
        ...

    def pages(self, epoch: int, trie: Trie) -> Iterator[Page]:
        """Yield the pages of level 0 in the order of their labels."""
        ...

    def places(self, epoch: int, trie: Trie, label: bytes) -> Iterator[bytes]:
        """Yield the list of a label that is too long for its page, in pieces of whole places, ascending."""
        ...

    def altered(self, period: int) -> Iterator[Altered]:
        """Yield the lists of persons in a half-year's days that had lost entries when the half-year closed."""
        ...

    def close(self) -> None:
        """Release the store."""
        ...


class IndexStore(IndexReading, Protocol):
    """An index that the one sealer of an epoch log writes. Each method is durable when it returns."""

    def begin(self, epoch: int) -> None:
        """Forget all of this day and later ones: a sealing that did not come to its leaf."""
        ...

    def add_pages(self, epoch: int, trie: Trie, pages: Sequence[Page]) -> None:
        """Keep pages of a trie that is being built."""
        ...

    def add_places(self, epoch: int, trie: Trie, pieces: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep (label, piece of its list): pieces of one label come in ascending order, in one call or several."""
        ...

    def finish(
        self,
        epoch: int,
        leaf: bytes,
        *,
        shapes: Mapping[Trie, Shape],
        cuts: Sequence[Cut],
        altered: Sequence[Altered] = (),
    ) -> None:
        """Close a day with its leaf; the epoch log has to take exactly these bytes next."""
        ...

    def fill(self, first: int, leaves: Iterable[bytes]) -> None:
        """Close days that have nothing: those before the epoch log's first sealing."""
        ...

    def erase(
        self, epoch: int, trie: Trie, pages: Sequence[Page], *, labels: Sequence[bytes], altered: Sequence[Altered]
    ) -> None:
        """Replace pages by ones without the salts and lists of `labels`, whose long lists go too; keep `altered`.

        When this returns, what they replace is gone from the store's own files as well (free pages, write-ahead log).
        """
        ...
