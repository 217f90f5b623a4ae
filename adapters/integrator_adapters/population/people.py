"""Holds the state of fictional people and says what their record is at this moment.

A record is made from the state, and relatives are references: so what two records say of one person agrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from integrator_adapters.population.words import COUNTRY, MUNICIPALITIES

Part = dict[str, Any]
LONGEST_HISTORY = 12
"""The most former states of a kind that a record keeps."""
# LIMIT: a real register keeps them all; an endless stream of changes over few people would outgrow every message.


@dataclass(frozen=True, slots=True)
class Home:
    """An address."""

    municipality: str
    street: str
    number: int
    postcode: str


@dataclass(slots=True, eq=False)
class Person:
    """One fictional person; owned by the population that made them."""

    number: str
    given: str
    prefix: str | None
    family: str
    sex: str
    born: date
    birthplace: str
    home: Home
    home_since: date
    municipality_since: date
    nationality: str = "0001"
    nationality_since: date | None = None
    restriction: int = 0
    mother: Person | None = None
    father: Person | None = None
    partner: Person | None = None
    partner_since: date | None = None
    partner_form: str = "H"
    partner_place: str = "9001"
    children: list[Person] = field(default_factory=list["Person"])
    died: date | None = None
    last_event: str | None = None
    """Id of the latest event about this person, for a correction to name."""
    former_names: list[Part] = field(default_factory=list[Part])
    former_nationalities: list[Part] = field(default_factory=list[Part])
    former_partners: list[Part] = field(default_factory=list[Part])
    former_residences: list[Part] = field(default_factory=list[Part])

    @property
    def parents(self) -> Sequence[Person]:
        """Return those who are known, the mother first."""
        return [parent for parent in (self.mother, self.father) if parent is not None]

    @property
    def relatives(self) -> list[tuple[Person, str]]:
        """Return the living people whose record names this one, and at which path."""
        found = [(parent, "children") for parent in self.parents] + [(child, "parents") for child in self.children]
        if self.partner is not None:
            found.append((self.partner, "partner"))
        return [(person, path) for person, path in found if person.died is None]

    def age(self, today: date) -> int:
        """Return the age in whole years."""
        return today.year - self.born.year - ((today.month, today.day) < (self.born.month, self.born.day))

    def settle(self, home: Home, day: date) -> None:
        """Live at `home` from `day`; within a municipality the registration there goes on."""
        if home.municipality != self.home.municipality:
            self.municipality_since = day
        self.home, self.home_since = home, day

    def names(self) -> Part:
        """Return the names as relatives' records carry them."""
        return {"given": self.given, "title": None, "prefix": self.prefix, "family": self.family}

    def birth(self) -> Part:
        """Return the birth."""
        return {"date": self.born.isoformat(), "place": self.birthplace, "country": COUNTRY}

    def residence(self) -> Part:
        """Return where the person lives, as the history keeps it."""
        return {
            "municipality": self.home.municipality,
            "municipalitySince": self.municipality_since.isoformat(),
            "address": _address(self.home, self.home_since),
            "validity": validity(self.home_since),
        }

    def partnership(self) -> Part:
        """Return the marriage or partnership in force without the partner's number. Only for who has a partner."""
        if self.partner is None or self.partner_since is None:
            raise ValueError("nobody")
        return {
            "names": self.partner.names(),
            "birth": self.partner.birth(),
            "sex": self.partner.sex,
            "since": self.partner_since.isoformat(),
            "sincePlace": self.partner_place,
            "sinceCountry": COUNTRY,
            "form": self.partner_form,
            "validity": validity(self.partner_since),
        }

    def record(self, kind: str, changed: list[str], *, at: str, valid_from: date, corrects: str | None = None) -> Part:
        """Return the whole `brp/person` record. `at` is when it was recorded, RFC 3339 in UTC."""
        home = self.residence()
        return {
            "kind": kind,
            "changed": changed,
            "corrects": corrects,
            "registeredAt": at,
            "validFrom": valid_from.isoformat(),
            "steward": self.home.municipality,
            "bsn": self.number,
            "anr": None,
            "names": {**self.names(), "usage": "E"},
            "birth": self.birth(),
            "sex": self.sex,
            "validity": validity(self.born),
            "parents": [_parent(order, parent, self.born) for order, parent in enumerate(self.parents, start=1)],
            "nationalities": [self._nationality()],
            "partner": None if self.partner is None else {"bsn": self.partner.number, **self.partnership()},
            "children": [_child(child) for child in self.children],
            "municipality": home["municipality"],
            "municipalitySince": home["municipalitySince"],
            "address": home["address"],
            "residenceValidity": home["validity"],
            "death": None if self.died is None else self._death(self.died),
            "restriction": self.restriction,
            "suspension": None if self.died is None else {"date": self.died.isoformat(), "reason": "O"},
            "history": {
                "person": list(self.former_names),
                "parents": [],
                "nationalities": list(self.former_nationalities),
                "partners": list(self.former_partners),
                "deaths": [],
                "residences": list(self.former_residences),
                "children": [],
            },
        }

    def former_self(self) -> Part:
        """Return who the person is, as the history keeps it when a name turns out to be misspelt."""
        return {
            "bsn": self.number,
            "anr": None,
            "names": self.names(),
            "birth": self.birth(),
            "sex": self.sex,
            "validity": {**validity(self.born), "incorrect": "O"},
        }

    def _nationality(self) -> Part:
        since = self.nationality_since or self.born
        return {
            "code": self.nationality,
            "since": since.isoformat(),
            "reason": "001",
            "special": None,
            "validity": validity(since),
        }

    def former_nationality(self, until: date) -> Part:
        """Return the nationality as the history keeps it."""
        return {**self._nationality(), "endReason": "401", "validity": validity(until)}

    def _death(self, day: date) -> Part:
        place = self.home.municipality
        return {"date": day.isoformat(), "place": place, "country": COUNTRY, "validity": validity(day)}


def validity(since: date) -> Part:
    """Return a validity that begins and was recorded on `since`."""
    day = since.isoformat()
    return {"validFrom": day, "registeredOn": day, "incorrect": None, "investigation": None}


def remember(history: list[Part], part: Part) -> None:
    """Put `part` in front of `history`, which keeps the newest."""
    history.insert(0, part)
    del history[LONGEST_HISTORY:]


def _parent(order: int, person: Person, since: date) -> Part:
    return {
        "order": order,
        "bsn": person.number,
        "names": person.names(),
        "birth": person.birth(),
        "sex": person.sex,
        "since": since.isoformat(),
        "validity": validity(since),
    }


def _child(person: Person) -> Part:
    return {
        "bsn": person.number,
        "names": person.names(),
        "birth": person.birth(),
        "validity": validity(person.born),
    }


def _address(home: Home, since: date) -> Part:
    return {
        "function": "W",
        "municipalityPart": None,
        "since": since.isoformat(),
        "street": home.street,
        "publicSpace": home.street,
        "number": home.number,
        "letter": None,
        "addition": None,
        "indication": None,
        "postcode": home.postcode,
        "place": MUNICIPALITIES[home.municipality],
        "bagObject": None,
        "bagAddress": None,
        "location": None,
        "country": None,
        "abroadSince": None,
        "abroad": [],
        "immigratedFrom": None,
        "immigratedOn": None,
        "reason": "I",
    }
