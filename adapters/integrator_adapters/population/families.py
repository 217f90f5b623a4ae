"""Makes the families that a population begins with: ages, names and addresses that could be so."""

from __future__ import annotations

from datetime import date, timedelta
from random import Random

from integrator_adapters.population.numbers import Numbers
from integrator_adapters.population.people import Home, Person
from integrator_adapters.population.words import (
    FAMILY_FIRST,
    FAMILY_LAST,
    GIVEN_FEMALE,
    GIVEN_MALE,
    MUNICIPALITIES,
    PREFIXES,
    STREET_FIRST,
    STREET_LAST,
)

Family = list[Person]
LARGEST_FAMILY = 6
"""The most people that `new_family` makes."""
_CODES = tuple(MUNICIPALITIES)


def new_home(random: Random) -> Home:
    """Return an address in one of the four municipalities."""
    code = random.choice(_CODES)
    street = random.choice(STREET_FIRST) + random.choice(STREET_LAST)
    # Y is among the letters that Dutch postcodes leave out.
    postcode = f"{9990 + _CODES.index(code)}Y{random.choice('ABCDEGHJKLMNPRSTVWXZ')}"
    return Home(code, street, random.randint(1, 240), postcode)


def surname(random: Random) -> tuple[str | None, str]:
    """Return the prefix and the rest of a family name."""
    return random.choice(PREFIXES), random.choice(FAMILY_FIRST) + random.choice(FAMILY_LAST)


def new_child(random: Random, numbers: Numbers, mother: Person, father: Person | None, born: date) -> Person:
    """Return a child of `mother` and `father` who lives with the mother and is in both parents' lists."""
    sex = random.choice("MV")
    namer = father or mother
    child = Person(
        number=numbers.take(),
        given=random.choice(GIVEN_MALE if sex == "M" else GIVEN_FEMALE),
        prefix=namer.prefix,
        family=namer.family,
        sex=sex,
        born=born,
        birthplace=mother.home.municipality,
        home=mother.home,
        home_since=max(born, mother.home_since),
        municipality_since=max(born, mother.municipality_since),
        mother=mother,
        father=father,
    )
    for parent in child.parents:
        parent.children.append(child)
    return child


def new_family(random: Random, numbers: Numbers, today: date) -> Family:
    """Return a family: two adults in five of six cases, old people in one of four, else mostly with children."""
    old = random.random() < 0.25
    home, since = new_home(random), today - timedelta(days=random.randint(400, 6_000))
    age = random.randint(66, 92) if old else random.randint(23, 58)
    first = _adult(random, numbers, _birthday(random, age, today), home, sex="V")
    family = [first]
    if random.random() < 5 / 6:
        age = max(20, age + random.randint(-6, 4))
        family.append(_adult(random, numbers, _birthday(random, age, today), home, sex="M"))
        _join(random, *family, today=today)
    for person in family:
        person.home_since = person.municipality_since = since
    if not old:
        ages = sorted(_child_ages(random, today.year - first.born.year), reverse=True)
        family += [new_child(random, numbers, first, first.partner, _birthday(random, age, today)) for age in ages]
    return family


def _child_ages(random: Random, mother: int) -> list[int]:
    """Return ages in years at which the mother was between 20 and 42."""
    possible = range(max(0, mother - 42), min(17, mother - 21) + 1)
    return random.sample(possible, min(len(possible), random.choice((0, 1, 2, 2, 2, 3, 3, 4))))


def _birthday(random: Random, age: int, today: date) -> date:
    """Return a day on which somebody was born who is `age` years old today."""
    latest = today.replace(year=today.year - age, day=min(today.day, 28))
    return latest - timedelta(days=random.randint(0, 330))


def _adult(random: Random, numbers: Numbers, born: date, home: Home, *, sex: str) -> Person:
    prefix, family = surname(random)
    return Person(
        number=numbers.take(),
        given=random.choice(GIVEN_MALE if sex == "M" else GIVEN_FEMALE),
        prefix=prefix,
        family=family,
        sex=sex,
        born=born,
        birthplace=random.choice(_CODES),
        home=home,
        home_since=born,
        municipality_since=born,
    )


def _join(random: Random, first: Person, second: Person, *, today: date) -> None:
    """Marry the two, on a day when both were at least eighteen."""
    grown = max(first.born, second.born) + timedelta(days=18 * 366)
    since = grown + timedelta(days=random.randint(0, max(0, (today - grown).days - 1)))
    marry(first, second, since, form=random.choice("HHHP"))


def marry(first: Person, second: Person, since: date, *, form: str) -> None:
    """Make the two each other's partner."""
    for one, other in ((first, second), (second, first)):
        one.partner, one.partner_since, one.partner_form = other, since, form
        one.partner_place = first.home.municipality
