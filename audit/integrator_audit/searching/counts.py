"""Counts the entries that a question asks for, by what they say and by hour, day or month, and what of that is public.

- Counting reads the index: of a block whose time is wholly inside, one number for each kind. A day or month is the one
  that the statement names, an hour that of the entry.
- An entry whose member has several values counts under each of them.
- Public figures are by month. A cell about fewer than ten persons is not shown: small cells are merged into one, to
  which further cells are added, the smallest first, until it is about ten persons. So nothing that is hidden can be
  computed from what is shown. LIMIT: that holds for one table of a month; publish one set of members and keep to it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Final, Literal, NamedTuple

from integrator_audit.errors import Invalid
from integrator_audit.searching.catalogue import Kinds, bits, check_searchable
from integrator_audit.searching.query import LogSearch, Question, is_whole
from integrator_audit.searching.terms import Term

Step = Literal["hour", "day", "month", "all"]
SMALL: Final = 10
"""Fewer persons than this are a small cell."""
MAX_CELLS: Final = 100_000
_LOOKED_UP: Final = 200


class Cell(NamedTuple):
    """How many entries say `values`, the JSON of each member asked for (empty: none), in a time.

    `time` is an hour since 1970 in decimal, a day or a month (ISO 8601; empty where statements name none), or `all`.
    """

    time: str
    values: tuple[str, ...]
    n: int


@dataclass(frozen=True, slots=True)
class PublicCell:
    """A figure that may be published. `values` is empty for the merged cell; `n` is None when even that is small."""

    month: str
    values: tuple[str, ...]
    n: int | None
    merged: int = 1
    """How many cells stand behind it."""


def count(searches: Sequence[LogSearch], question: Question, *, by: Sequence[str], step: Step = "all") -> list[Cell]:
    """Return the counts of what a question asks for over several logs, by time and values, sorted.

    Raises `Invalid` (`not-searchable`; `counts-too-many`: more than 100,000 cells) and `Busy` (`search-behind`).
    """
    cells: dict[tuple[str, tuple[str, ...]], int] = {}
    for search in searches:
        for time, values, n in _each(search, question, by, step):
            cells[time, values] = cells.get((time, values), 0) + n
            if len(cells) > MAX_CELLS:
                raise Invalid("counts-too-many", f"that is more than {MAX_CELLS} figures: ask for a shorter time")
    return [Cell(time, values, n) for (time, values), n in sorted(cells.items())]


def public(searches: Sequence[LogSearch], question: Question, *, by: Sequence[str]) -> list[PublicCell]:
    """Return the public form of the counts by month; unlisted entries are never in it."""
    question = Question(question.any_of, question.hours, question.days, unlisted=False)
    cells: _Cells = defaultdict(_Crowd)
    for search in searches:
        _gather(search, question, by, cells)
    months: dict[str, dict[tuple[str, ...], _Crowd]] = {}
    for (month, values), crowd in cells.items():
        months.setdefault(month, {})[values] = crowd
    return [cell for month in sorted(months) for cell in _merged(month, months[month])]


@dataclass(slots=True)
class _Crowd:
    """Entries, and about how many persons: at least `most`, and exactly those of `places` as long as it may be few."""

    n: int = 0
    most: int = 0
    """The largest number of persons that one posting alone is about."""
    places: list[tuple[LogSearch, list[int]]] = field(default_factory=list[tuple[LogSearch, list[int]]])

    def add(self, n: int, persons: int, places: tuple[LogSearch, list[int]]) -> None:
        self.n += n
        self.most = max(self.most, persons)
        if self.most < SMALL:
            self.places.append(places)
        else:
            self.places.clear()

    def persons(self) -> set[bytes]:
        """Return the persons, looked up in the logs; no more than make the cell large."""
        found: set[bytes] = set()
        for search, indices in self.places:
            for start in range(0, len(indices), _LOOKED_UP):
                found |= search.log.persons(indices[start : start + _LOOKED_UP])
                if len(found) >= SMALL:
                    return found
        return found


_Cells = defaultdict[tuple[str, tuple[str, ...]], _Crowd]


def _merged(month: str, cells: Mapping[tuple[str, ...], _Crowd]) -> Iterator[PublicCell]:
    # A cell that one posting alone shows to be large needs no look at its persons.
    few = {values: crowd.persons() for values, crowd in cells.items() if crowd.most < SMALL}
    small = sorted(
        (values for values, people in few.items() if len(people) < SMALL), key=lambda one: (len(few[one]), one)
    )
    large = sorted(cells.keys() - set(small), key=lambda one: (cells[one].n, one))
    together = set[bytes]().union(*(few[values] for values in small))
    hidden = list(small)
    if small and len(together) < SMALL and large:
        hidden.append(large.pop(0))
        together = set[bytes]()
    for values in sorted(large):
        yield PublicCell(month, values, cells[values].n)
    if hidden:
        shown = len(hidden) > len(small) or len(together) >= SMALL
        yield PublicCell(month, (), sum(cells[values].n for values in hidden) if shown else None, len(hidden))


def _each(
    search: LogSearch, question: Question, by: Sequence[str], step: Step
) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Yield time, values and number, as many times as they come."""
    check_searchable(question.any_of, search.left_out)
    with search.moment() as moment:
        values = _Values(moment.catalogue.kinds, question, by)
        for summary in moment.summaries(question):
            combinations = values.of(summary.kind)
            if not combinations:
                continue
            ends = (
                _times(step, summary.first_day, summary.first_hour),
                _times(step, summary.last_day, summary.last_hour),
            )
            if is_whole(summary, question) and ends[0] == ends[1]:
                numbers = {ends[0]: summary.n}
            else:
                posting = moment.whole(summary)
                days = moment.days_of(posting) if step in ("day", "month") else {}
                numbers = Counter[str]()
                for group, _ in moment.groups(posting, question):
                    numbers[_times(step, days.get(group.statement, ""), group.hour)] += group.n
            for combination in combinations:
                for time, n in numbers.items():
                    yield time, combination, n
        tail, values = moment.tail, _Values(moment.tail.kinds, question, by)
        for (kind, day, hour), indices in tail.each(values.kinds, hours=question.hours, days=question.days).items():
            for combination in values.of(kind):
                yield _times(step, day, hour), combination, len(indices)


def _gather(search: LogSearch, question: Question, by: Sequence[str], cells: _Cells) -> None:
    """Add one log's entries to the cells by month."""
    check_searchable(question.any_of, search.left_out)
    with search.moment() as moment:
        values = _Values(moment.catalogue.kinds, question, by)
        for summary in moment.summaries(question):
            combinations = values.of(summary.kind)
            if not combinations:
                continue
            posting = moment.whole(summary)
            first = posting.block << moment.catalogue.height
            days = moment.days_of(posting)
            months: dict[str, list[int]] = {}
            for group, offsets in moment.groups(posting, question):
                months.setdefault(days[group.statement][:7], []).extend(first + offset for offset in offsets)
            for month, indices in months.items():
                persons = posting.persons if len(indices) == posting.n else 0
                for combination in combinations:
                    cells[month, combination].add(len(indices), persons, (search, indices))
        tail, values = moment.tail, _Values(moment.tail.kinds, question, by)
        for (kind, day, _), indices in tail.each(values.kinds, hours=question.hours, days=question.days).items():
            for combination in values.of(kind):
                cells[day[:7], combination].add(len(indices), 0, (search, indices))


class _Values:
    """The combinations of values under which the entries of a kind count: several where a member has several."""

    def __init__(self, kinds: Kinds, question: Question, by: Sequence[str]) -> None:
        self.kinds = kinds.asked_for(question.any_of, unlisted=question.unlisted)
        self._of = {kind: _combinations(kinds.terms[kind], by) for kind in bits(self.kinds)}

    def of(self, kind: int) -> list[tuple[str, ...]]:
        """Return the combinations of a kind, none for one that is not asked for."""
        return self._of.get(kind, [])


def _combinations(terms: Sequence[Term], by: Sequence[str]) -> list[tuple[str, ...]]:
    each = [[term.value for term in terms if term.member == member] or [""] for member in by]
    return list(product(*each))


def _times(step: Step, day: str, hour: int) -> str:
    match step:
        case "hour":
            return str(hour)
        case "day":
            return day
        case "month":
            return day[:7]
        case "all":
            return "all"
