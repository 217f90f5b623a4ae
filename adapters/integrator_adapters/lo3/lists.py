"""Groups rows into person lists and says what each unit (row, category) is: current or former, of which relation.

- The first row of a list holds current values. A mark `CC.H` tells what the next row of that category holds: its
  history number (category + 50: a former state of the same relation) or its own (a further relation, current).
- RvIG's own test set has rows that no mark announces. In a category that is there once (the person, a parent, the
  death, the residence) such a row can only be a former state, and is taken for it; elsewhere it could be another
  child, nationality or marriage, and is rejected.
- Memory holds one list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from integrator.domain.errors import Invalid
from integrator.sdk.adapter import BlankRow, Rejected, RowRead
from integrator_adapters.lo3.codes import RejectCode
from integrator_adapters.lo3.reader import Row

CATEGORIES = frozenset({"01", "02", "03", "04", "05", "06", "07", "08", "09"})
"""The categories that the contract has."""
_ONCE = frozenset({"01", "02", "03", "06", "08"})
MOST_ROWS = 10_000
"""A longer list is a file of another kind; it is refused before it fills the memory."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One category on one row, in its place."""

    row: int
    category: str
    relation: int
    """Which child, nationality or marriage, from 0."""
    former: bool
    elements: Mapping[str, str]
    fault: RejectCode | None
    """Why it cannot be used, as far as its place tells."""

    def rejected(self, code: RejectCode) -> Rejected:
        """Return the rejection of this unit."""
        return Rejected(self.row, self.category, code)


@dataclass(slots=True)
class PersonList:
    """All units of one person, in the order of the file. Owned by the loop that reads the file."""

    row: int
    units: list[Unit] = field(default_factory=list[Unit])
    rows: int = 0
    _marks: dict[str, str] = field(default_factory=dict[str, str])
    _relations: dict[str, int] = field(default_factory=dict[str, int])

    def add(self, row: Row) -> int:
        """Place the categories of `row` and return how many units it holds."""
        self.rows += 1
        if self.rows > MOST_ROWS:
            raise Invalid("lo3-list-too-long", f"Row {row.number}: one person list has more than {MOST_ROWS} rows.")
        before = len(self.units)
        for category in sorted(row.cells.keys() | ({"01"} if row.begins else set())):
            self.units.append(self._place(row, category))
        self._marks.update(row.marks)
        if row.extra:
            self.units.append(Unit(row.number, "", 0, former=False, elements={}, fault="extra-cells"))
        return len(self.units) - before

    def _place(self, row: Row, category: str) -> Unit:
        mark = self._marks.pop(category, "")
        relation = self._relations.setdefault(category, 0)
        former, fault = False, self._fault(row, category)
        if not row.begins:
            former = mark == str(int(category) + 50)
            if mark == category:
                relation = self._relations[category] = relation + 1
            elif not former and category in _ONCE:
                former = True
            elif not former:
                fault = fault or "not-announced"
        return Unit(row.number, category, relation, former, row.cells.get(category, {}), fault)

    @staticmethod
    def _fault(row: Row, category: str) -> RejectCode | None:
        if category not in CATEGORIES:
            return "not-in-contract"
        return "column-conflict" if category in row.conflicts else None


def group(rows: Iterable[tuple[int, Row | None]]) -> Iterator[PersonList | RowRead | BlankRow | Rejected]:
    """Yield every row as it is read, and each list after its last row; units before the first list are rejected."""
    current: PersonList | None = None
    for number, row in rows:
        if row is None:
            yield BlankRow(number)
            continue
        if row.begins:
            if current is not None:
                yield current
            current = PersonList(number)
        if current is not None:
            yield RowRead(number, current.add(row))
            continue
        lost = sorted(row.cells) + ([""] if row.extra else [])
        yield RowRead(number, len(lost))
        yield from (Rejected(number, category, "list-missing") for category in lost)
    if current is not None:
        yield current
