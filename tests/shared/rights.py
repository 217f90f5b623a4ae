"""The authorisations under which the given person list is published, and the judge's own rules for each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

LAW = {"country": "NL", "act": "Wet van de proef", "article": "1", "inForceFrom": "2020-01-01"}
TITLE = {"nl": "Proef", "fr": "Essai", "en": "Trial"}

Value = dict[str, Any]


class Known(Protocol):
    """What the authorisations name that depends on the list: municipalities, and people whom agencies know."""

    @property
    def codes(self) -> tuple[str, ...]: ...

    @property
    def known(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class Right:
    """One authorisation, and whether the judge lets a record through by it."""

    name: str
    fields: tuple[str, ...]
    population: Callable[[Known], list[dict[str, Any]]]
    permits: Callable[[Known, Value], bool]
    triggers: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ("created", "changed")
    condition: str | None = None
    payload: str = "event"

    @property
    def topic(self) -> str:
        return f"agency.{self.name}.proef.brp.person"

    @property
    def delivered(self) -> tuple[str, ...]:
        """The fields that a delivery holds."""
        return ("bsn",) if self.payload == "notification" else self.fields

    def document(self, line: Known) -> dict[str, Any]:
        return {
            "kind": "authorisation", "id": self.name, "version": 1, "agency": self.name, "stream": "brp/person",
            "purpose": "proef", "purposeVersion": 1, "route": "decree", "citations": [LAW], "modes": ["mutation"],
            "fields": list(self.fields), "triggers": list(self.triggers), "kinds": list(self.kinds),
            "population": self.population(line), "protectedAddress": "deliver", "payload": self.payload,
            "proactivity": "inform", "period": {"start": "2020-01-01"}, "retention": "P1Y", "dpia": "proef",
        } | ({"condition": self.condition} if self.condition else {})  # fmt: skip


def everybody(_: Known) -> list[dict[str, Any]]:
    return [{"population": "all"}]


RIGHTS = (
    # Arrays, records in arrays and a whole subtree, of everybody.
    Right(
        "everything-listed",
        (
            "bsn", "names", "birth.date", "parents.bsn", "parents.order", "parents.names.family", "children.birth.date",
            "nationalities.code", "history.residences.address.street", "history.residences.validity", "suspension",
        ),
        everybody,
        lambda _line, _value: True,
    ),
    # Next to the numbers nothing, and only when the address or death changes.
    Right(
        "moves-and-deaths",
        ("bsn", "address.postcode", "address.number", "death.date"),
        everybody,
        lambda _line, value: fires(value, ("address", "death")),
        triggers=("address", "death"),
    ),
    # By where people live.
    Right(
        "two-municipalities",
        ("bsn", "municipality", "municipalitySince", "address", "partner.bsn", "partner.names", "partner.since"),
        lambda line: [{"population": "territory", "codes": list(line.codes)}],
        lambda line, value: value["municipality"] in line.codes,
    ),
    # By whom the agency knows, and a fact about the record.
    Right(
        "known-people",
        ("bsn", "sex", "history.person", "history.parents.names", "parents", "steward"),
        lambda _: [{"population": "inscribed", "capacities": ["client"]}],
        lambda line, value: value["bsn"] in line.known and value["restriction"] == 0,
        condition="restriction == 0",
    ),
    # Only that something happened to a child of somebody whom the agency knows.
    Right(
        "children-of-known-people",
        ("bsn", "death"),
        lambda _: [{"population": "related", "relations": ["parent"], "capacities": ["client"]}],
        lambda line, value: any(parent["bsn"] in line.known for parent in value["parents"]),
        payload="notification",
    ),
    # Nobody's number is in it: no entry in the ledger can name anybody.
    Right(
        "statistics",
        ("birth.date", "sex", "municipality", "children.birth.date"),
        everybody,
        lambda _line, value: value["kind"] == "changed",
        kinds=("changed",),
    ),
)  # fmt: skip
WITH_CLIENTS = ("known-people", "children-of-known-people")


def fires(value: Value, triggers: tuple[str, ...]) -> bool:
    """Tell whether the record says that one of the triggers changed: all of it did when it is new."""
    return value["kind"] == "created" or any(
        f"{path}.".startswith(f"{trigger}.") or f"{trigger}.".startswith(f"{path}.")
        for path in value["changed"]
        for trigger in triggers
    )


def documents(line: Known) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [
        {"kind": "source", "name": "brp", "title": TITLE, "urn": "urn:nld:oin:00000009000000000099:systeem:proef",
            "modelled": True,
        },
        {
            "kind": "purpose", "name": "proef", "version": 1, "title": TITLE, "description": TITLE,
            "activity": "urn:proef:activity:1", "legalGround": "6(1)(e)",
        },
    ]  # fmt: skip
    for number, right in enumerate(RIGHTS):
        made.append(
            {
                "kind": "agency", "name": right.name, "title": TITLE, "identifier": f"oin:0000000900000000010{number}",
                "sector": "trial", "capacities": ["client"], "recipientClass": TITLE, "modelled": True,
            }
        )  # fmt: skip
        made.append(right.document(line))
        if right.name in WITH_CLIENTS:
            people = sorted(f"bsn:{number}" for number in line.known)
            made.append(
                {
                    "kind": "inscriptions", "agency": right.name, "capacity": "client", "start": "2020-01-01",
                    "persons": people,
                }
            )  # fmt: skip
    return made
