"""Documents and records that the tests of the directory's room share."""

from __future__ import annotations

from datetime import date
from typing import Any

from integrator.directory.records import DirectoryRecord, RecordKey, inscription_id
from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract
from integrator.domain.inscription import Inscription
from integrator.domain.purpose import Agency, Purpose, Source

TEXTS = {"nl": "tekst", "fr": "texte", "en": "text"}
PERSON = "ab" * 32


def source(**change: Any) -> Source:
    members: dict[str, Any] = {"name": "brp", "title": TEXTS, "urn": "urn:nld:oin:1:systeem:brp", "modelled": True}
    return Source.model_validate(members | change)


def agency(**change: Any) -> Agency:
    members: dict[str, Any] = {
        "name": "svb",
        "title": TEXTS,
        "identifier": "oin:1",
        "sector": "social-insurance",
        "capacities": ["pensioner"],
        "recipientClass": TEXTS,
        "modelled": True,
    }
    return Agency.model_validate(members | change)


def contract(**change: Any) -> Contract:
    members: dict[str, Any] = {
        "stream": "brp/person",
        "version": 1,
        "title": TEXTS,
        "description": TEXTS,
        "owner": "rvig",
        "eventType": "nl.brp.person.changed",
        "service": "nl.brp.person.v1",
        "timeZone": "Europe/Amsterdam",
        "state": "fact",
        "retention": "P1Y",
        "compatibility": "FULL_TRANSITIVE",
        "partitions": 8,
        "modelled": True,
        "serviceLevel": {"availability": "99 %", "latency": "PT5S", "support": "always"},
        "roles": {
            "subject": {"path": "bsn", "schemes": ["bsn", "test"]},
            "factId": {"constant": "person"},
            "kind": "kind",
            "related": [{"path": "partner.bsn", "schemes": ["bsn"], "relation": "partner"}],
            "birthDate": "birth.date",
        },
        "decisionFields": {"municipality": "municipality"},
        "fields": {"bsn": {"category": "identifier", "description": TEXTS}},
        "schemas": ['{"type":"record","name":"Person","fields":[]}'],
    }
    return Contract.model_validate(members | change)


def purpose(**change: Any) -> Purpose:
    members: dict[str, Any] = {
        "name": "nabestaanden",
        "version": 1,
        "title": TEXTS,
        "description": TEXTS,
        "activity": "urn:activity:1",
        "legalGround": "6(1)(e)",
    }
    return Purpose.model_validate(members | change)


def authorisation(**change: Any) -> Authorisation:
    members: dict[str, Any] = {
        "id": "s19-svb",
        "version": 1,
        "agency": "svb",
        "stream": "brp/person",
        "purpose": "nabestaanden",
        "purposeVersion": 1,
        "route": "decree",
        "citations": [{"country": "NL", "act": "Anw", "article": "14", "inForceFrom": "1996-07-01"}],
        "modes": ["mutation"],
        "fields": ["bsn", "death.date"],
        "triggers": ["death"],
        "kinds": ["changed"],
        "population": [{"population": "inscribed", "capacities": ["pensioner"]}],
        "protectedAddress": "deliver",
        "payload": "event",
        "proactivity": "automatic",
        "period": {"start": "2014-01-06"},
        "retention": "P7Y",
        "dpia": "dpia-1",
    }
    return Authorisation.model_validate(members | change)


def inscription(version: int = 1, **change: Any) -> DirectoryRecord:
    members: dict[str, Any] = {
        "agency": "svb",
        "person": PERSON,
        "capacity": "pensioner",
        "start": date(2020, 1, 1),
    }
    document = Inscription.model_validate(members | change)
    key = RecordKey("inscription", inscription_id(document.agency, document.capacity, document.person), version)
    return DirectoryRecord(key, document)


def record_of(document: Source | Agency | Purpose | Authorisation, version: int = 1) -> DirectoryRecord:
    match document:
        case Source():
            key = RecordKey("source", document.name, version)
        case Agency():
            key = RecordKey("agency", document.name, version)
        case Purpose():
            key = RecordKey("purpose", document.name, document.version)
        case Authorisation():
            key = RecordKey("authorisation", document.id, document.version)
    return DirectoryRecord(key, document)
