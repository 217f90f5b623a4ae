"""What happens to fictional people: each change alters the state and says whose record changed, and where.

`changed` names the paths of the new record whose values differ from those of the one before, apart from what every
event says of itself (kind, what it corrects, when it was recorded, since when it holds): triggers rest on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from random import Random

from integrator.domain.event import Kind
from integrator_adapters.population.families import Family, marry, new_home
from integrator_adapters.population.people import Part, Person, remember
from integrator_adapters.population.words import COUNTRY, FAMILY_FIRST, FAMILY_LAST

_WHERE = (
    ("municipality", "municipality"),
    ("municipality", "steward"),
    ("municipalitySince", "municipalitySince"),
    ("address", "address"),
    ("validity", "residenceValidity"),
)
"""A part of a residence, and the path in the record that tells it."""


@dataclass(frozen=True, slots=True)
class Change:
    """One record that changed."""

    person: Person
    kind: Kind
    changed: tuple[str, ...]


def born(child: Person) -> list[Change]:
    """Return the changes when `child` was born: the record of the child, and those of the living parents."""
    living = [parent for parent in child.parents if parent.died is None]
    return [Change(child, "created", ()), *(Change(parent, "changed", ("children",)) for parent in living)]


def move(random: Random, family: Family, day: date) -> list[Change]:
    """Move everybody alive in `family` who lives at its first living member's address to a new one."""
    living = [person for person in family if person.died is None]
    old, new = living[0].home, new_home(random)
    while new == old:
        new = new_home(random)
    changes: list[Change] = []
    for person in living:
        if person.home == old:
            before = person.residence()
            remember(person.former_residences, before)
            person.settle(new, day)
            after = person.residence()
            differing = (path for part, path in _WHERE if before[part] != after[part])
            changes.append(Change(person, "changed", (*differing, "history.residences")))
    return changes


def die(person: Person, day: date) -> list[Change]:
    """Let `person` die, which ends the partner's marriage; relatives keep naming them."""
    person.died = day
    changes = [Change(person, "changed", ("death", "suspension"))]
    survivor = person.partner
    if survivor is not None and survivor.died is None:
        remember(survivor.former_partners, _ended(survivor, day, reason="O"))
        survivor.partner = survivor.partner_since = None
        changes.append(Change(survivor, "changed", ("partner", "history.partners")))
    return changes


def divorce(person: Person, day: date) -> list[Change]:
    """End the partnership of `person`, who must have a living partner."""
    other = person.partner
    pair = [one for one in (person, other) if one is not None]
    for one in pair:
        remember(one.former_partners, _ended(one, day, reason="S"))
    for one in pair:
        one.partner = one.partner_since = None
    return [Change(one, "changed", ("partner", "history.partners")) for one in pair]


def wed(first: Person, second: Person, day: date) -> list[Change]:
    """Marry two people who have no partner."""
    marry(first, second, day, form="H")
    return [Change(one, "changed", ("partner",)) for one in (first, second)]


def respell(random: Random, person: Person) -> list[Change]:
    """Correct the family name of `person`, there and in the record of everybody who names them."""
    remember(person.former_names, person.former_self())
    before = person.family
    while person.family == before:
        person.family = random.choice(FAMILY_FIRST) + random.choice(FAMILY_LAST)
    own = Change(person, "corrected", ("names.family", "history.person"))
    return [own, *(Change(relative, "changed", (f"{path}.names.family",)) for relative, path in person.relatives)]


def naturalise(random: Random, person: Person, day: date) -> list[Change]:
    """Give `person` another nationality."""
    remember(person.former_nationalities, person.former_nationality(day))
    person.nationality = random.choice([code for code in ("0001", "0052", "0055") if code != person.nationality])
    person.nationality_since = day
    return [Change(person, "changed", ("nationalities", "history.nationalities"))]


def restrict(person: Person) -> list[Change]:
    """Close the record of `person` to third parties, or open it again."""
    person.restriction = 7 - person.restriction
    return [Change(person, "changed", ("restriction",))]


def _ended(person: Person, day: date, *, reason: str) -> Part:
    until = {"until": day.isoformat(), "untilPlace": person.home.municipality, "untilCountry": COUNTRY}
    return {**person.partnership(), **until, "endReason": reason}
