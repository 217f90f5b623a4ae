"""Turns one person list into one `brp/person` record, or says of every unit why not.

- A unit that cannot be read is rejected alone; only category 01, which says who it is, takes the whole list with it.
- Where category 07 is absent or rejected, the narrowest restriction holds: an unread secrecy is no openness.
- `partner` is the marriage or partnership in force; what ended stands in `history.partners`.
- A category that says "there is none" (a second parent who does not exist in law) is applied by leaving the part out.
- The history keeps the order of the source, newest first within each relation, and what was marked wrong (84.10).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from integrator.domain.event import UNKNOWN
from integrator.sdk.adapter import Rejected
from integrator.sdk.message import utc_text
from integrator_adapters.lo3.codes import Elements, RejectedUnit, read, read_bsn, read_number
from integrator_adapters.lo3.dates import instant_of
from integrator_adapters.lo3.lists import PersonList, Unit

Part = dict[str, Any]
NOBODY = "0000"
"""LO3's code for a municipality that is not known."""
CLOSED = 7
"""The narrowest restriction, for a list that does not say which holds."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """What became of a list: a record and the units in it, or nothing but rejections."""

    value: Part | None
    applied: int
    rejected: list[Rejected]


def assemble(person: PersonList, *, now: datetime) -> Assembled:
    """Return the record that `person` makes. `now` is when it was registered, where the list has no time stamp."""
    assembly = _Assembly()
    rejected: list[Rejected] = []
    usable = True
    for unit in person.units:
        try:
            if unit.fault is not None:
                raise RejectedUnit(unit.fault)
            assembly.apply(unit)
        except RejectedUnit as reason:
            rejected.append(unit.rejected(reason.code))
            usable = usable and (unit.category != "01" or unit.former)
    if usable:
        return Assembled(assembly.value(utc_text(now)), len(person.units) - len(rejected), rejected)
    return Assembled(None, 0, _all_rejected(person, rejected))


def _all_rejected(person: PersonList, own: list[Rejected]) -> list[Rejected]:
    causes = {(reject.row, reject.category): reject for reject in own}
    return [causes.get((unit.row, unit.category)) or unit.rejected("person-unusable") for unit in person.units]


@dataclass(slots=True)
class _Assembly:
    """The record of one person while its units are read."""

    person: Part = field(default_factory=dict[str, Any])
    registration: Part = field(default_factory=dict[str, Any])
    residence: Part = field(default_factory=dict[str, Any])
    death: Part | None = None
    partner: Part | None = None
    parents: list[Part] = field(default_factory=list[Part])
    nationalities: list[Part] = field(default_factory=list[Part])
    children: list[Part] = field(default_factory=list[Part])
    history: dict[str, list[tuple[int, int, Part]]] = field(default_factory=dict[str, list[tuple[int, int, Part]]])

    def apply(self, unit: Unit) -> None:
        """Read `unit` into its place. Raises `RejectedUnit`, and then nothing has changed."""
        _APPLY[unit.category](self, unit, unit.elements)

    def former(self, name: str, unit: Unit, part: Part) -> None:
        """Put `part` into the history, behind what was recorded later of the same relation."""
        order = int(unit.category) * 1000 + unit.relation
        self.history.setdefault(name, []).append((order, unit.row, part))

    def value(self, registered_at: str) -> Part:
        """Return the record, every field in the order of the schema."""
        names = ("person", "parents", "nationalities", "partners", "deaths", "residences", "children")
        municipality = self.residence.get("municipality")
        return {
            "kind": "created",
            "changed": [],
            "corrects": None,
            "registeredAt": self.registration.get("at") or registered_at,
            "validFrom": self.person["validity"]["validFrom"],
            "steward": municipality or self.registration.get("card") or NOBODY,
            **self.person,
            "parents": sorted(self.parents, key=lambda parent: parent["order"]),
            "nationalities": self.nationalities,
            "partner": self.partner,
            "children": self.children,
            "municipality": municipality,
            "municipalitySince": self.residence.get("municipalitySince"),
            "address": self.residence.get("address"),
            "residenceValidity": self.residence.get("validity"),
            "death": self.death,
            "restriction": self.registration.get("restriction", CLOSED),
            "suspension": self.registration.get("suspension"),
            "history": {
                name: [part for _, _, part in sorted(self.history.get(name, []), key=lambda entry: entry[:2])]
                for name in names
            },
        }


def _person(into: _Assembly, unit: Unit, elements: Elements) -> None:
    bsn = read_bsn(elements)
    part: Part = {"bsn": bsn, "anr": read(elements, "01.10"), "names": names(elements), "birth": birth(elements)}
    part["sex"] = read(elements, "04.10")
    part["validity"] = validity(elements)
    if unit.former:
        into.former("person", unit, part)
        return
    if bsn is None:
        raise RejectedUnit("bsn-missing")
    part["names"]["usage"] = read(elements, "61.10")
    into.person = part


def _parent(into: _Assembly, unit: Unit, elements: Elements) -> None:
    part: Part = {"order": int(unit.category) - 1}
    if not unit.former:
        part["bsn"] = read_bsn(elements)
    part |= _relative(elements)
    part |= {"since": read(elements, "62.10"), "validity": validity(elements)}
    if unit.former:
        into.former("parents", unit, part)
    elif _mentions(elements, "01", "02", "03", "04"):
        into.parents.append(part)


def _nationality(into: _Assembly, unit: Unit, elements: Elements) -> None:
    code, special, ended = (read(elements, element) for element in ("05.10", "65.10", "64.10"))
    part: Part = {"code": code, "since": read(elements, "85.10"), "reason": read(elements, "63.10")}
    rest: Part = {"special": special, "validity": validity(elements)}
    if unit.former or ended or not (code or special):
        into.former("nationalities", unit, part | {"endReason": ended} | rest)
    else:
        into.nationalities.append(part | rest)


def _partner(into: _Assembly, unit: Unit, elements: Elements) -> None:
    since: Part = {
        "since": read(elements, "06.10"),
        "sincePlace": read(elements, "06.20"),
        "sinceCountry": read(elements, "06.30"),
    }
    until: Part = {
        "until": read(elements, "07.10"),
        "untilPlace": read(elements, "07.20"),
        "untilCountry": read(elements, "07.30"),
        "endReason": read(elements, "07.40"),
    }
    rest: Part = {"form": read(elements, "15.10"), "validity": validity(elements)}
    bsn, relative = read_bsn(elements), _relative(elements)
    if unit.former or _mentions(elements, "07"):
        into.former("partners", unit, relative | since | until | rest)
    elif _mentions(elements, "01", "02", "03", "04", "06", "15"):
        if into.partner is not None:
            raise RejectedUnit("second-partner")
        into.partner = {"bsn": bsn} | relative | since | rest


def _death(into: _Assembly, unit: Unit, elements: Elements) -> None:
    part: Part = {
        "date": read(elements, "08.10"),
        "place": read(elements, "08.20"),
        "country": read(elements, "08.30"),
        "validity": validity(elements),
    }
    if unit.former:
        into.former("deaths", unit, part)
    elif part["date"]:
        into.death = part


def _registration(into: _Assembly, _: Unit, elements: Elements) -> None:
    stamp, restriction = elements.get("80.20"), read_number(elements, "70.10")
    if stamp and instant_of(stamp) is None:
        raise RejectedUnit("date-invalid")
    suspended, reason = read(elements, "67.10"), read(elements, "67.20")
    into.registration = {
        "at": instant_of(stamp) if stamp else None,
        "card": read(elements, "69.10"),
        "restriction": CLOSED if restriction is None else restriction,
        "suspension": {"date": suspended, "reason": reason or "."} if suspended or reason else None,
    }


def _residence(into: _Assembly, unit: Unit, elements: Elements) -> None:
    part: Part = {
        "municipality": read(elements, "09.10"),
        "municipalitySince": read(elements, "09.20"),
        "address": address(elements),
        "validity": validity(elements),
    }
    if unit.former:
        into.former("residences", unit, part)
    else:
        into.residence = part


def _child(into: _Assembly, unit: Unit, elements: Elements) -> None:
    part: Part = {"names": names(elements), "birth": birth(elements), "validity": validity(elements)}
    bsn = read_bsn(elements)
    if unit.former:
        into.former("children", unit, part)
    elif _mentions(elements, "01", "02", "03"):
        into.children.append({"bsn": bsn} | part)


_APPLY: dict[str, Callable[[_Assembly, Unit, Elements], None]] = {
    "01": _person,
    "02": _parent,
    "03": _parent,
    "04": _nationality,
    "05": _partner,
    "06": _death,
    "07": _registration,
    "08": _residence,
    "09": _child,
}


def _mentions(elements: Elements, *groups: str) -> bool:
    return any(element[:2] in groups for element in elements)


def _relative(elements: Elements) -> Part:
    return {"names": names(elements), "birth": birth(elements), "sex": read(elements, "04.10")}


def names(elements: Elements) -> Part:
    """Return group 02: the names of anybody."""
    return {
        "given": read(elements, "02.10"),
        "title": read(elements, "02.20"),
        "prefix": read(elements, "02.30"),
        "family": read(elements, "02.40"),
    }


def birth(elements: Elements) -> Part:
    """Return group 03: a birth, of which the date may be unknown."""
    return {
        "date": read(elements, "03.10") or UNKNOWN,
        "place": read(elements, "03.20"),
        "country": read(elements, "03.30"),
    }


def validity(elements: Elements) -> Part:
    """Return groups 83 to 86: since when the part holds, when it was recorded, whether it is wrong or examined."""
    aspect = read(elements, "83.10")
    since, until = read(elements, "83.20"), read(elements, "83.30")
    return {
        "validFrom": read(elements, "85.10"),
        "registeredOn": read(elements, "86.10"),
        "incorrect": read(elements, "84.10"),
        "investigation": {"aspect": aspect, "since": since, "until": until} if aspect else None,
    }


def address(elements: Elements) -> Part:
    """Return groups 10 to 14 and 72: an address in the Netherlands or abroad."""
    return {
        "function": read(elements, "10.10"),
        "municipalityPart": read(elements, "10.20"),
        "since": read(elements, "10.30"),
        "street": read(elements, "11.10"),
        "publicSpace": read(elements, "11.15"),
        "number": read_number(elements, "11.20"),
        "letter": read(elements, "11.30"),
        "addition": read(elements, "11.40"),
        "indication": read(elements, "11.50"),
        "postcode": read(elements, "11.60"),
        "place": read(elements, "11.70"),
        "bagObject": read(elements, "11.80"),
        "bagAddress": read(elements, "11.90"),
        "location": read(elements, "12.10"),
        "country": read(elements, "13.10"),
        "abroadSince": read(elements, "13.20"),
        "abroad": [line for element in ("13.30", "13.40", "13.50") if (line := read(elements, element))],
        "immigratedFrom": read(elements, "14.10"),
        "immigratedOn": read(elements, "14.20"),
        "reason": read(elements, "72.10"),
    }
