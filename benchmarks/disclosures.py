"""Makes disclosure records as lanes write them, for the benchmark of the ledger: one stream, many agencies and people.

- An event is about one person of a population, and in every second event about a parent of theirs too.
- Each event goes to two agencies, one record after the other, as a lane delivers it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from integrator.domain import topics
from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract
from integrator.domain.directory import Knowledge
from integrator.domain.purpose import Agency, Purpose, Source
from integrator.encoding import record_type
from integrator.recording.sequencer import LogRecord

DAY: Final = date(2026, 11, 24)
AT: Final = datetime(2026, 11, 24, 11, 46, 45, 123_000, UTC)
AGENCIES: Final = 40
RECEIVE: Final = 2
PARTITIONS: Final = 8
IDENTITY_SIZE: Final = 52
"""Bytes of a sealed number (`integrator.domain.identities`)."""

_SCHEMA: Final = """
{"type": "record", "name": "Person", "namespace": "benchmark", "fields": [
  {"name": "kind", "type": "string"}, {"name": "number", "type": "string"}, {"name": "birthDate", "type": "string"},
  {"name": "address", "type": "string"},
  {"name": "parents", "type": {"type": "array", "items": {"type": "record", "name": "Parent", "fields": [
    {"name": "number", "type": "string"}, {"name": "since", "type": "string"}]}}}]}
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """Of how many people the records are, drawn evenly, and the seed of the draw."""

    population: int = 1_000_000
    seed: int = 20_260_101


def knowledge() -> Knowledge:
    """Return the directory that the records were decided with."""
    purpose = {
        "name": "measuring",
        "version": 1,
        "title": _texts("measuring"),
        "description": _texts("to measure"),
        "activity": "urn:activity:measuring",
        "legalGround": "6(1)(e)",
    }
    source = {"name": "benchmark", "title": _texts("benchmark"), "urn": "urn:nld:oin:9:systeem:b", "modelled": True}
    authorisations = [_authorisation(number) for number in range(AGENCIES)]
    return Knowledge(
        version=10,
        sources={"benchmark": Source.model_validate(source)},
        agencies={name: _agency(name) for name in map(_name, range(AGENCIES))},
        purposes={("measuring", 1): Purpose.model_validate(purpose)},
        contracts={"benchmark/person": _contract()},
        authorisations={(one.id, one.version): one for one in authorisations},
    )


def records(shape: Shape) -> Iterator[LogRecord]:
    """Yield records without end, each at the next position of its partition."""
    draw = random.Random(shape.seed)
    encode = record_type("ledger/disclosure").encode
    positions = [0] * PARTITIONS
    event = 0
    while True:
        event += 1
        subject = draw.randrange(shape.population)
        people = [_person(subject, "subject")]
        if event % 2:
            # Anybody but the subject.
            parent = (subject + draw.randrange(1, shape.population)) % shape.population
            people.append(_person(parent, "parent"))
        partition = draw.randrange(PARTITIONS)
        digest = draw.randbytes(32)
        for agency in draw.sample(range(AGENCIES), RECEIVE):
            value: dict[str, Any] = {
                "authorisation": f"measuring-{_name(agency)}",
                "version": 1,
                "directoryPosition": 10,
                "engine": "python-1",
                "date": DAY,
                "at": AT + timedelta(milliseconds=event // 20),
                "topic": f"agency.{_name(agency)}.measuring.benchmark.person",
                "partition": partition,
                "lane": partition,
                "sequence": event,
                "source": "source.benchmark.person",
                "sourcePartition": partition,
                "sourcePosition": event,
                "eventId": f"0b3f0a6e-5f3c-8a5e-9d0a-{event:012x}",
                "kind": "changed",
                "valueSha256": digest,
                "subjects": people,
                "unidentified": 0,
            }
            position = positions[partition]
            positions[partition] += 1
            yield LogRecord(topics.DISCLOSURES, partition, position, 1_795_520_805_123, None, encode(value))


def pseudonym_of(number: int) -> bytes:
    """Return the pseudonym of a person of the population."""
    return sha256(b"person %d" % number).digest()


def _person(number: int, role: str) -> dict[str, Any]:
    pseudonym = pseudonym_of(number)
    identity = (pseudonym + pseudonym)[:IDENTITY_SIZE]
    return {"pseudonym": pseudonym, "keyVersion": 1, "identity": identity, "role": role, "mediated": False}


def _name(agency: int) -> str:
    return f"agency-{agency:02}"


def _texts(word: str) -> dict[str, str]:
    return {"nl": word, "fr": word, "en": word}


def _agency(name: str) -> Agency:
    members = {
        "identifier": f"oin:{name}",
        "sector": "benchmark",
        "recipientClass": _texts("invented"),
        "modelled": True,
    }
    return Agency.model_validate({"name": name, "title": _texts(name)} | members)


def _authorisation(agency: int) -> Authorisation:
    members = {
        "id": f"measuring-{_name(agency)}",
        "version": 1,
        "agency": _name(agency),
        "stream": "benchmark/person",
        "purpose": "measuring",
        "purposeVersion": 1,
        "route": "deliberation",
        "citations": [{"country": "NL", "act": "Invented act", "article": "1", "inForceFrom": "2020-01-01"}],
        "modes": ["mutation"],
        "fields": ["number", "birthDate", "address", "parents.number"],
        "kinds": ["changed"],
        "population": [{"population": "all"}],
        "protectedAddress": "deliver",
        "payload": "event",
        "proactivity": "automatic",
        "period": {"start": "2020-01-01"},
        "retention": "P1Y",
        "dpia": "benchmark",
    }
    return Authorisation.model_validate(members)


def _contract() -> Contract:
    person = {"schemes": ["bsn", "test"]}
    ordinary = {"category": "ordinary", "description": _texts("invented")}
    members = {
        "stream": "benchmark/person",
        "version": 1,
        "title": _texts("person"),
        "description": _texts("person"),
        "owner": "benchmark",
        "eventType": "benchmark.person.changed",
        "service": "benchmark.person.v1",
        "timeZone": "Europe/Amsterdam",
        "state": "fact",
        "retention": "P1Y",
        "compatibility": "FULL_TRANSITIVE",
        "partitions": PARTITIONS,
        "modelled": True,
        "serviceLevel": {"availability": "99 %", "latency": "PT5S", "support": "never"},
        "roles": {
            "subject": {"path": "number", **person},
            "factId": {"constant": "person"},
            "kind": "kind",
            "related": [{"path": "parents.number", "relation": "parent", **person}],
        },
        "fields": dict.fromkeys(("number", "birthDate", "address", "parents"), ordinary),
        "schemas": [_SCHEMA],
    }
    return Contract.model_validate(members)
