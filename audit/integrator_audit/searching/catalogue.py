"""The kinds of statements in memory, so that what a question asks for is known before any block is looked at.

- Sets of kinds and sets of blocks are integers whose bits are their numbers: `&` and `|` are the search.
- A question that no kind answers costs nothing more, however long the log is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final, cast

from integrator_audit.columns import damaged, typed
from integrator_audit.database import translated
from integrator_audit.errors import Invalid
from integrator_audit.searching.blocks import HEIGHT, IndexFile
from integrator_audit.searching.terms import Alternatives, Among, Condition, Overlapping, Term, is_moment, value_text

_BITS: Final = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))


class Kinds:
    """Kinds by what they say."""

    def __init__(self) -> None:
        self.terms: list[tuple[Term, ...]] = []
        """What the statements of each kind say beside dates and what is left out."""
        self._listed = 0
        self._saying: dict[str, dict[str, int]] = {}

    def add(self, terms: tuple[Term, ...], *, listed: bool) -> int:
        """Add a kind and return its number, which is one more than the last one's."""
        number = len(self.terms)
        bit = 1 << number
        self.terms.append(terms)
        self._listed |= bit if listed else 0
        for member, value in terms:
            values = self._saying.setdefault(member, {})
            values[value] = values.get(value, 0) | bit
        return number

    def asked_for(self, alternatives: Alternatives, *, unlisted: bool) -> int:
        """Return the kinds that a question asks for, unlisted entries among them only if it says so."""
        every = (1 << len(self.terms)) - 1
        found = 0 if alternatives else every
        for conditions in alternatives:
            fulfilled = every
            for condition in conditions:
                fulfilled &= self._fulfil(condition)
            found |= fulfilled
        return found if unlisted else found & self._listed

    def values(self, member: str) -> list[str]:
        """Return every value of a member, sorted."""
        return sorted(self._saying.get(member, ()))

    def members(self) -> list[str]:
        """Return every member that can be searched, sorted."""
        return sorted(self._saying)

    def _fulfil(self, condition: Condition) -> int:
        values = self._saying.get(condition.member, {})
        found = 0
        if isinstance(condition, Among):
            for value in condition.values:
                found |= values.get(value, 0)
        else:
            for value, kinds in values.items():
                if condition.accepts(value):
                    found |= kinds
        return found


class Catalogue:
    """What an index's file says of kinds and blocks, at the moment at which it was loaded."""

    def __init__(self) -> None:
        """Make the catalogue of an index without blocks."""
        self.size = 0
        """How many blocks there are."""
        self.height = HEIGHT
        """A block has 2^height entries."""
        self.hour = 0
        """The hour of the last entry that is in a block."""
        self.kinds = Kinds()
        # By kind: the blocks that it is in, as bits.
        self._blocks: list[int] = []
        self._times: list[tuple[int, int, str, str]] = []

    @classmethod
    def load(cls, index: IndexFile) -> Catalogue:
        """Return the catalogue of a file."""
        made = cls()
        with translated("search"):
            made.size, made.height, made.hour = index.blocks(), index.height(), index.hour()
            rows = index.connection.execute("SELECT listed, terms, blocks FROM kind ORDER BY kid").fetchall()
            for listed, told, blocks in typed("itb", rows, what="search"):
                made.kinds.add(_read_terms(told), listed=bool(listed))
                made._blocks.append(int.from_bytes(blocks, "little"))
            query = "SELECT first_hour, last_hour, first_day, last_day FROM block ORDER BY number"
            made._times = typed("vvtt", index.connection.execute(query).fetchall(), what="search")
        return made

    @property
    def end(self) -> int:
        """Return the index of the first entry that is in no block."""
        return self.size << self.height

    def blocks_of(self, kinds: Sequence[int]) -> int:
        """Return the blocks in which there is any of these kinds."""
        found = 0
        for kind in kinds:
            found |= self._blocks[kind]
        return found

    def within(self, kinds: Sequence[int], block: int) -> list[int]:
        """Return those of `kinds` that are in a block."""
        bit = 1 << block
        return [kind for kind in kinds if self._blocks[kind] & bit]

    def blocks_between(self, hours: tuple[int | None, int | None], days: tuple[str, str] | None) -> int:
        """Return the blocks that may have an entry in this time: hours end before the second, days with it."""
        first, end = hours
        if first is None and end is None and days is None:
            return (1 << self.size) - 1
        found = 0
        for number, (first_hour, last_hour, first_day, last_day) in enumerate(self._times):
            in_hours = (first is None or last_hour >= first) and (end is None or first_hour < end)
            if in_hours and (days is None or (last_day >= days[0] and first_day <= days[1])):
                found |= 1 << number
        return found


def _read_terms(told: str) -> tuple[Term, ...]:
    try:
        return tuple(Term(*term) for term in cast("list[list[str]]", json.loads(told)))
    except (ValueError, TypeError) as error:
        raise damaged("what a kind of statement says cannot be read", what="search") from error


def check_searchable(alternatives: Alternatives, left_out: frozenset[str]) -> None:
    """Raise `Invalid` (`not-searchable`) for a condition about what kinds do not say: the answer would be wrong."""
    for condition in (one for conditions in alternatives for one in conditions):
        match condition:
            case Among(member, values):
                by_time = any(map(is_moment, values))
            case Overlapping(member, path):
                by_time = is_moment(value_text(path))
        if member in left_out:
            raise Invalid("not-searchable", f"{member} is left out of this index: look at the entries themselves")
        if by_time:
            raise Invalid("not-searchable", f"{member} is a date or an instant: ask for days or hours instead")


def bits(number: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set, ascending."""
    for at, byte in enumerate(number.to_bytes((number.bit_length() + 7) // 8, "little")):
        if byte:
            for bit in _BITS[byte]:
                yield at * 8 + bit
