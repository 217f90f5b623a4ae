"""One seeded population that feeds every source: what happens to a person in one stream holds in the others.

- The same seed, size and clock make the same messages, byte for byte, when the same methods are used in the same order.
- Methods are lazy: a change happens when its message is taken, and stays. One task uses a population at a time.
- Up to 2,000 families have citizen service numbers of RvIG's test range; more have numbers of scheme `test`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from random import Random
from typing import TypeVar
from zoneinfo import ZoneInfo

from integrator.domain.errors import Invalid
from integrator.domain.identifiers import Scheme
from integrator.sdk.message import SourceMessage, message_id, utc_text
from integrator_adapters.population import changes
from integrator_adapters.population.changes import Change
from integrator_adapters.population.families import LARGEST_FAMILY, Family, new_child, new_family
from integrator_adapters.population.indications import OLDEST, YOUNGEST, Indication, new_indication, reassess
from integrator_adapters.population.numbers import MOST_FAMILIES_WITH_BSN, Numbers
from integrator_adapters.population.people import Person

PERSONS = "brp/person"
INDICATIONS = "ciz/wlz-indication"
_T = TypeVar("_T")
_ZONE = ZoneInfo("Europe/Amsterdam")
_TRIES = 64
_MIX = {
    "move": 30, "respell": 20, "naturalise": 15, "restrict": 10, "reassess": 8, "birth": 6, "divorce": 4, "wed": 4,
    "die": 3,
}  # fmt: skip
"""How often each change comes in a hundred of the background."""


def _now() -> datetime:
    return datetime.now(UTC)


class Population:
    """Fictional families and what happens to them."""

    def __init__(self, seed: int, families: int, *, clock: Callable[[], datetime] = _now) -> None:
        """Make the families. `clock` gives the times of the messages, and at this moment the day on which all is.

        Raises `Invalid` (`population-size`) when `families` is not positive.
        """
        if families < 1:
            raise Invalid("population-size", "A population has at least one family.")
        self.seed = seed
        self.scheme: Scheme = "bsn" if families <= MOST_FAMILIES_WITH_BSN else "test"
        self.today: date = clock().astimezone(_ZONE).date()
        self._clock = clock
        self._random = Random(seed)  # noqa: S311 - people are made up, no secret rests on it
        self._numbers = Numbers(seed, self.scheme)
        self._events = 0
        self.families: list[Family] = [new_family(self._random, self._numbers, self.today) for _ in range(families)]
        self.departed: list[Family] = []
        """Families of which nobody is alive any more, whose place others took."""
        self.indicated: list[Indication] = []

    @property
    def people(self) -> Iterator[Person]:
        """Yield everybody who ever was in it, family by family."""
        return (person for family in (*self.families, *self.departed) for person in family)

    def eldest(self, n: int) -> list[Person]:
        """Return the `n` people whom `deaths` takes next: the eldest who have a partner, one of each couple.

        Raises `Invalid` (`population-too-small`).
        """
        found: list[Person] = []
        partners: set[str] = set()
        for person in sorted(self.people, key=lambda person: (person.born, person.number)):
            if person.died is None and person.partner is not None and person.number not in partners:
                found.append(person)
                partners.add(person.partner.number)
        return _enough(found, n, "people with a partner")

    def eligible(self, n: int) -> list[Person]:
        """Return the `n` children whom `indications` takes next: alive, 3 to 17 years old, without an indication.

        Raises `Invalid` (`population-too-small`).
        """
        taken = {indication.person.number for indication in self.indicated}
        found = [
            person
            for person in self.people
            if person.died is None and person.number not in taken and YOUNGEST <= person.age(self.today) <= OLDEST
        ]
        return _enough(found, n, f"children of {YOUNGEST} to {OLDEST} years without an indication")

    def initial(self) -> Iterator[SourceMessage]:
        """Yield one `created` for everybody who is alive."""
        for person in self.people:
            if person.died is None:
                yield self._person(Change(person, "created", ()))

    def births(self, n: int, *, municipalities: Collection[str] = ()) -> Iterator[SourceMessage]:
        """Let `n` children be born today. Each is a `created` of the child and a `changed` of each living parent.

        With `municipalities`, only to mothers who live in one of those. Raises `Invalid` (`population-too-small`).
        """
        for mother, family in self._mothers(n, municipalities):
            yield from self._persons(changes.born(self._child(mother, family)))

    def moves(self, n: int) -> Iterator[SourceMessage]:
        """Let `n` families move today, one after the other. Each is a `changed` of everybody in the household."""
        homes = [family for family in self.families if any(person.died is None for person in family)]
        for family in _enough(homes, n, "families"):
            yield from self._persons(changes.move(self._random, family, self.today))

    def deaths(self, n: int) -> Iterator[SourceMessage]:
        """Let the `n` people of `eldest` die today. Each is a `changed` of them and one of the partner left behind."""
        for person in self.eldest(n):
            yield from self._persons(changes.die(person, self.today))

    def indications(self, n: int) -> Iterator[SourceMessage]:
        """Decide today on care for the `n` children of `eligible`: a `created` of `ciz/wlz-indication` each."""
        for child in self.eligible(n):
            indication = new_indication(self._random, child, len(self.indicated) + 1, self.today)
            self.indicated.append(indication)
            yield self._indication(indication, "created", ())

    def background(self, *, sparing: Collection[str] = ()) -> Iterator[SourceMessage]:
        """Yield changes without end: moves, births, deaths, marriages, corrected names, nationalities, care profiles.

        Nothing happens to a family with a number in `sparing`.
        """
        spared = frozenset(
            person.number
            for family in self.families
            if any(person.number in sparing for person in family)
            for person in family
        )
        names, weights = list(_MIX), list(_MIX.values())
        while True:
            place = self._random.randrange(len(self.families))
            family = self.families[place]
            if not any(person.died is None for person in family):
                yield from self._replace(place)
            elif family[0].number not in spared:
                yield from self._background(self._random.choices(names, weights)[0], family, spared)

    def _background(self, what: str, family: Family, spared: frozenset[str]) -> Iterator[SourceMessage]:
        random, today = self._random, self.today
        person = random.choice([person for person in family if person.died is None])
        match what:
            case "reassess" if self.indicated:
                indication = random.choice(self.indicated)
                if indication.person.died is None and indication.person.number not in spared:
                    yield self._indication(indication, "changed", reassess(random, indication))
            case "birth" if _may_bear(person, today) and self._plenty:
                yield from self._persons(changes.born(self._child(person, family)))
            case "divorce" if person.partner is not None:
                yield from self._persons(changes.divorce(person, today))
            case "wed" if (other := self._free(person, spared)) is not None:
                yield from self._persons(changes.wed(person, other, today))
            case "die" if person.age(today) >= 40 and self._plenty:
                yield from self._persons(changes.die(person, today))
            case "respell":
                yield from self._persons(changes.respell(random, person))
            case "naturalise":
                yield from self._persons(changes.naturalise(random, person, today))
            case "restrict":
                yield from self._persons(changes.restrict(person))
            case _:
                yield from self._persons(changes.move(random, family, today))

    def _replace(self, place: int) -> Iterator[SourceMessage]:
        """Let another family come where one died out, so that there is always somebody."""
        self.departed.append(self.families[place])
        self.families[place] = new_family(self._random, self._numbers, self.today)
        yield from self._persons([Change(person, "created", ()) for person in self.families[place]])

    @property
    def _plenty(self) -> bool:
        """Tell whether every family could still be replaced: else nobody is born and nobody dies."""
        return self._numbers.left > LARGEST_FAMILY * len(self.families)

    def _free(self, person: Person, spared: frozenset[str]) -> Person | None:
        """Return another grown person without a partner, from another family; `None` when the search is in vain."""
        if person.partner is not None or person.age(self.today) < 18:
            return None
        for _ in range(_TRIES):
            other = self._random.choice(self._random.choice(self.families))
            grown = other.died is None and other.partner is None and other.age(self.today) >= 18
            if grown and other.home != person.home and other.number not in spared:
                return other
        return None

    def _mothers(self, n: int, municipalities: Collection[str]) -> list[tuple[Person, Family]]:
        found = [
            (person, family)
            for family in self.families
            for person in family
            if _may_bear(person, self.today) and (not municipalities or person.home.municipality in municipalities)
        ]
        found.sort(key=lambda pair: (pair[0].partner is None, len(pair[0].children)))
        return _enough(found, n, "possible mothers")

    def _child(self, mother: Person, family: Family) -> Person:
        father = mother.partner if mother.partner is not None and mother.partner.sex == "M" else None
        child = new_child(self._random, self._numbers, mother, father, self.today)
        family.append(child)
        return child

    def _persons(self, happened: Iterable[Change]) -> Iterator[SourceMessage]:
        # Every change was made before the first message of it is taken: a record shows all of it.
        for change in list(happened):
            yield self._person(change)

    def _person(self, change: Change) -> SourceMessage:
        person = change.person
        at = utc_text(self._clock())
        corrects = person.last_event if change.kind == "corrected" else None
        value = person.record(change.kind, list(change.changed), at=at, valid_from=self.today, corrects=corrects)
        message = SourceMessage(PERSONS, self._id(PERSONS, person.number), at, value)
        person.last_event = message.id
        return message

    def _indication(self, indication: Indication, kind: str, changed: Sequence[str]) -> SourceMessage:
        at = utc_text(self._clock())
        value = indication.record(kind, list(changed), at=at)
        message = SourceMessage(INDICATIONS, self._id(INDICATIONS, indication.number), at, value)
        indication.last_event = message.id
        return message

    def _id(self, stream: str, fact: str) -> str:
        self._events += 1
        return message_id("population", stream, str(self.seed), fact, str(self._events))


def _may_bear(person: Person, today: date) -> bool:
    return person.died is None and person.sex == "V" and 18 <= person.age(today) <= 45


def _enough(found: list[_T], n: int, what: str) -> list[_T]:
    if len(found) < n:
        raise Invalid("population-too-small", f"There are {len(found)} {what} left, not {n}: use more families.")
    return found[:n]
