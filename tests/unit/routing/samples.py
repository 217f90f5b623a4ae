"""A small contract, authorisations and readings of the directory, for tests of decisions and of the engine."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract
from integrator.domain.directory import Knowledge, RegisteredSchema, StandingAuthorisation, StandingInscription
from integrator.domain.identifiers import Position, Pseudonym, SubjectRef
from integrator.domain.identities import Identities
from integrator.domain.projection import delivered_fields, derive_schema
from integrator.domain.pseudonyms import pseudonym
from integrator.domain.purpose import Source
from integrator.domain.topics import agency_topic

POSITION = Position(77)
TODAY = date(2026, 11, 24)
DIRECTORY_KEY, LEDGER_KEY = b"d" * 32, b"l" * 32
IDENTITIES = Identities(b"i" * 32, random=os.urandom)
TEXTS = {"nl": "tekst", "fr": "texte", "en": "text"}
STREAM, TOPIC, URN = "brp/person", "source.brp.person", "urn:nld:oin:1:systeem:brp"
SUBJECT, MOTHER, CHILD = "100000000001", "100000000002", "100000000003"
OPTIONAL = ["null", "string"]
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Person",
    "namespace": "brp",
    "fields": [
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": [
            "created", "changed", "corrected", "annulled", "ended", "initial", "unheard"]}},
        {"name": "changed", "type": {"type": "array", "items": "string"}},
        {"name": "corrects", "type": OPTIONAL},
        {"name": "bsn", "type": "string"},
        {"name": "name", "type": "string"},
        {"name": "birth", "type": {"type": "record", "name": "Birth", "fields": [
            {"name": "date", "type": OPTIONAL}, {"name": "country", "type": OPTIONAL}]}},
        {"name": "parents", "type": {"type": "array", "items": {"type": "record", "name": "Parent", "fields": [
            {"name": "bsn", "type": OPTIONAL}, {"name": "name", "type": OPTIONAL}]}}},
        {"name": "partner", "type": ["null", {"type": "record", "name": "Partner", "fields": [
            {"name": "bsn", "type": OPTIONAL}, {"name": "name", "type": OPTIONAL}]}]},
        {"name": "municipality", "type": OPTIONAL},
        {"name": "address", "type": ["null", {"type": "record", "name": "Address", "fields": [
            {"name": "street", "type": "string"}, {"name": "postcode", "type": "string"}]}]},
        {"name": "shielded", "type": "boolean", "default": False},
        {"name": "diagnosis", "type": "string", "default": ""},
    ],
}  # fmt: skip


def value(**change: Any) -> dict[str, Any]:
    """A record of the stream as its source means it."""
    whole: dict[str, Any] = {
        "kind": "changed",
        "changed": ["address"],
        "corrects": None,
        "bsn": SUBJECT,
        "name": "Anna",
        "birth": {"date": "2012-03-04", "country": "6030"},
        "parents": [{"bsn": MOTHER, "name": "Bo"}, {"bsn": None, "name": "Cas"}],
        "partner": None,
        "municipality": "0518",
        "address": {"street": "Voorhout", "postcode": "2514EH"},
        "shielded": False,
        "diagnosis": "canary",
    }
    assert change.keys() <= whole.keys()
    return whole | change


def contract(**change: Any) -> Contract:
    members: dict[str, Any] = {
        "stream": STREAM,
        "version": 1,
        "title": TEXTS,
        "description": TEXTS,
        "owner": "rvig",
        "eventType": "nl.brp.person.changed",
        "service": "nl.brp.person.v1",
        "timeZone": "Europe/Amsterdam",
        "state": "none",
        "retention": "P7D",
        "compatibility": "FULL_TRANSITIVE",
        "partitions": 4,
        "modelled": True,
        "serviceLevel": {"availability": "99 %", "latency": "PT5S", "support": "always"},
        "roles": {
            "subject": {"path": "bsn", "schemes": ["bsn", "test"]},
            "factId": {"constant": "person"},
            "kind": "kind",
            "related": [
                {"path": "parents.bsn", "schemes": ["bsn", "test"], "relation": "parent"},
                {"path": "partner.bsn", "schemes": ["bsn", "test"], "relation": "partner"},
            ],
            "corrects": "corrects",
            "changed": "changed",
            "birthDate": "birth.date",
            "territory": "municipality",
            "protectedAddress": "shielded",
        },
        "decisionFields": {"home-town": "municipality", "birth-country": "birth.country"},
        "fields": {
            "bsn": {"category": "identifier", "description": TEXTS},
            "municipality": {"category": "address", "description": TEXTS},
            "birth.country": {"category": "origin", "description": TEXTS},
        },
        "schemas": [json.dumps(SCHEMA)],
    }
    return Contract.model_validate(members | change)


CITATION = {"country": "NL", "act": "Wet", "article": "1", "inForceFrom": "2020-01-01"}


def authorisation(**change: Any) -> Authorisation:
    members: dict[str, Any] = {
        "id": "svb-address",
        "version": 1,
        "agency": "svb",
        "stream": STREAM,
        "purpose": "child-benefit",
        "purposeVersion": 2,
        "route": "statute",
        "citations": [CITATION],
        "modes": ["mutation"],
        "fields": ["bsn", "name", "parents.bsn", "address"],
        "triggers": ["address"],
        "kinds": ["created", "changed", "corrected"],
        "population": [{"population": "all"}],
        "protectedAddress": "deliver",
        "payload": "event",
        "proactivity": "automatic",
        "period": {"start": "2020-01-01"},
        "retention": "P1Y",
        "dpia": "DPIA 1",
    }
    return Authorisation.model_validate(members | change)


def person(number: str) -> SubjectRef:
    return SubjectRef.of(number, ("bsn", "test"))


def known_as(ref: SubjectRef) -> Pseudonym:
    return pseudonym(DIRECTORY_KEY, "directory", ref)


def line(agency: str = "svb", capacity: str = "child", **change: Any) -> StandingInscription:
    return replace(StandingInscription(agency, capacity, "definitive", date(2020, 1, 1), None), **change)


@dataclass
class View:
    """A reading of the directory, made by hand; counts how often it is asked about people."""

    knowledge: Knowledge
    lines: Mapping[str, tuple[StandingInscription, ...]] = field(default_factory=dict[str, Any])
    position: Position = POSITION
    asked: int = 0

    def inscriptions(self, people: Sequence[Pseudonym]) -> list[tuple[StandingInscription, ...]]:
        self.asked += 1
        found = {known_as(person(number)): lines for number, lines in self.lines.items()}
        return [found.get(one, ()) for one in people]


def standing(one: Authorisation, *, active: bool = True) -> StandingAuthorisation:
    return StandingAuthorisation(one, Position(5), active)


def knowledge(*asked: Authorisation | StandingAuthorisation, of: Contract | None = None, **change: Any) -> Knowledge:
    """The directory's knowledge of the contract and these authorisations, with their schemas."""
    about = of or contract()
    stand = tuple(one if isinstance(one, StandingAuthorisation) else standing(one) for one in asked)
    schemas = {
        number: RegisteredSchema(number, f"{TOPIC}-value", number, text) for number, text in enumerate(about.schemas, 1)
    }
    for number, one in enumerate(stand, 100):
        fields = delivered_fields(one.authorisation, about)
        topic = agency_topic(one.authorisation.agency, one.authorisation.purpose, "brp", "person")
        derived = json.dumps(derive_schema(json.loads(about.schemas[-1]), fields))
        schemas[number] = RegisteredSchema(number, f"{topic}-value", number - 99, derived)
    members: dict[str, Any] = {
        "version": 60,
        "sources": {"brp": Source.model_validate({"name": "brp", "title": TEXTS, "urn": URN, "modelled": True})},
        "contracts": {STREAM: about},
        "authorisations": {(one.authorisation.id, one.authorisation.version): one.authorisation for one in stand},
        "standing": {STREAM: stand},
        "schemas": schemas,
        "dates": {"Europe/Amsterdam": TODAY},
    }
    return Knowledge(**(members | change))
