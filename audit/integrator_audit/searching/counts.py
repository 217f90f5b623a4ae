"""Counts the entries that a question asks for, by what they say and by hour, day or month, and what of that is public.

- Counting reads the index: of a block whose time is wholly inside, one number for each kind. A day or month is the one
  that the statement names, an hour that of the entry.
- An entry whose member has several values counts under each of them.
- For the public form persons are looked up only where the index does not show at once that they are many. Persons who
  were erased are not counted, so a cell is rather merged than shown.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Final, Literal, NamedTuple

from integrator_audit.errors import Invalid
from integrator_audit.public import FEWEST_PERSONS, Crowd, totals
from integrator_audit.searching.catalogue import Kinds, bits, check_searchable
from integrator_audit.searching.query import LogSearch, Question, is_whole
from integrator_audit.searching.terms import Term

Step = Literal["hour", "day", "month", "all"]
_MONTH: Final = "month"
MAX_CELLS: Final = 100_000
_LOOKED_UP: Final = 200


class Cell(NamedTuple):
    """How many entries say `values`, the JSON of each member asked for (empty: none), in a time.

    `time` is an hour since 1970 in decimal, a day or a month (ISO 8601; empty where statements name none), or `all`.
    """

    time: str
    values: tuple[str, ...]
    n: int


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


def public(searches: Sequence[LogSearch], question: Question, *, dimensions: Sequence[str]) -> dict[str, object]:
    """Return the document for everybody (`integrator_audit.public`) over what a question asks for.

    Unlisted entries are never in it, whatever the question says. Raises as `count` does, and `Invalid`
    (`public-dimension`).
    """
    question = Question(question.any_of, question.hours, question.days, unlisted=False)
    cells: _Cells = defaultdict(_Crowd)
    for search in searches:
        _gather(search, question, dimensions, cells)
    crowds = {values: Crowd(crowd.n, crowd.persons()) for values, crowd in cells.items()}
    return totals(crowds, origins=[search.origin for search in searches], dimensions=dimensions)


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
        if self.most < FEWEST_PERSONS:
            self.places.append(places)
        else:
            self.places.clear()

    def persons(self) -> set[bytes] | None:
        """Return the persons, looked up in the logs; None as soon as they make the cell large."""
        if self.most >= FEWEST_PERSONS:
            return None
        found: set[bytes] = set()
        for search, indices in self.places:
            for start in range(0, len(indices), _LOOKED_UP):
                found |= search.log.persons(indices[start : start + _LOOKED_UP])
                if len(found) >= FEWEST_PERSONS:
                    return None
        return found


_Cells = defaultdict[tuple[str, ...], _Crowd]


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


def _gather(search: LogSearch, question: Question, dimensions: Sequence[str], cells: _Cells) -> None:
    """Add one log's entries to the cells."""
    check_searchable(question.any_of, search.left_out)
    with search.moment() as moment:
        values = _Values(moment.catalogue.kinds, question, dimensions)
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
                    plain = _plain(combination, dimensions, month)
                    cells[plain].add(len(indices), persons, (search, indices))
        tail, values = moment.tail, _Values(moment.tail.kinds, question, dimensions)
        for (kind, day, _), indices in tail.each(values.kinds, hours=question.hours, days=question.days).items():
            for combination in values.of(kind):
                cells[_plain(combination, dimensions, day[:7])].add(len(indices), 0, (search, indices))


def _plain(values: Sequence[str], dimensions: Sequence[str], month: str) -> tuple[str, ...]:
    """Return the values as the public document writes them: texts without quotes, the month of the statements."""
    return tuple(
        month if dimension == _MONTH else str(json.loads(value)) if value else ""
        for dimension, value in zip(dimensions, values, strict=True)
    )


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
