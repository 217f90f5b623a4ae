"""A small world for the tests of the recording room: one stream, two agencies, and an event log that judges."""

from __future__ import annotations

import asyncio
import hashlib
import os
import zlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from integrator.domain import topics
from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract
from integrator.domain.directory import Knowledge, StandingInscription
from integrator.domain.identifiers import Position, Pseudonym, SubjectRef
from integrator.domain.identities import Identities
from integrator.domain.pseudonyms import pseudonym
from integrator.domain.purpose import Agency, Purpose, Source
from integrator.encoding import record_type
from integrator.recording.logs import Databases, LedgerFiles
from integrator.recording.sequencer import LogBatch, LogRecord
from integrator_audit import LedgerWriter, Signer, Vault

LEDGER_KEY = bytes(range(32))
GENERATION = bytes(range(32, 64))
IDENTITIES = Identities(bytes(range(96, 128)), random=os.urandom)
ORIGIN = "demo.integrator.example/ledger/test/s0-2026h2"
SIGNER = Signer(ORIGIN, bytes(range(64, 96)))
DAY = date(2026, 11, 24)
AT = datetime(2026, 11, 24, 11, 46, 45, 123_000, UTC)
AT_MS = 1_795_520_805_123

CHILD = SubjectRef("test", "100000000001")
MOTHER = SubjectRef("test", "100000000002")
FATHER = SubjectRef("test", "100000000003")
PARTNER = SubjectRef("test", "100000000004")
PEOPLE = (CHILD, MOTHER, FATHER, PARTNER)

SCHEMA = """
{"type": "record", "name": "Person", "namespace": "nl.brp", "fields": [
  {"name": "kind", "type": "string"},
  {"name": "bsn", "type": "string"},
  {"name": "birth", "type": {"type": "record", "name": "Birth", "fields": [
    {"name": "date", "type": "string"}, {"name": "place", "type": "string"}]}},
  {"name": "parents", "type": {"type": "array", "items": {"type": "record", "name": "Parent", "fields": [
    {"name": "bsn", "type": ["null", "string"]}, {"name": "order", "type": "int"},
    {"name": "since", "type": "string"}]}}},
  {"name": "partner", "type": ["null", {"type": "record", "name": "Partner", "fields": [
    {"name": "bsn", "type": ["null", "string"]}, {"name": "since", "type": "string"}]}]},
  {"name": "file", "type": {"type": "record", "name": "File", "fields": [
    {"name": "note", "type": "string"},
    {"name": "guardian", "type": {"type": "record", "name": "Guardian", "fields": [
      {"name": "bsn", "type": "string"}, {"name": "from", "type": "string"}]}}]}}
]}
"""


def texts(word: str) -> dict[str, str]:
    return {"nl": f"{word} (nl)", "fr": f"{word} (fr)", "en": word}


def contract(**change: Any) -> Contract:
    person = {"schemes": ["bsn", "test"]}
    members: dict[str, Any] = {
        "stream": "brp/person",
        "version": 1,
        "title": texts("person list"),
        "description": texts("the whole list"),
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
            "subject": {"path": "bsn", **person},
            "factId": {"constant": "person"},
            "kind": "kind",
            "related": [
                {"path": "parents.bsn", "relation": "parent", **person},
                {"path": "partner.bsn", "relation": "partner", **person},
                {"path": "file.guardian.bsn", "relation": "guardian", **person},
            ],
        },
        "fields": {
            "bsn": {"category": "identifier", "description": texts("number")},
            "birth": {"category": "ordinary", "description": texts("birth")},
            "parents": {"category": "ordinary", "description": texts("parents")},
        },
        "schemas": [SCHEMA],
    }
    return Contract.model_validate(members | change)


def authorisation(**change: Any) -> Authorisation:
    members: dict[str, Any] = {
        "id": "s3-groeifonds",
        "version": 1,
        "agency": "groeifonds",
        "stream": "brp/person",
        "purpose": "startbedrag",
        "purposeVersion": 1,
        "route": "deliberation",
        "citations": [
            {
                "country": "BE",
                "act": "Groeipakket",
                "article": "1",
                "inForceFrom": "2019-01-01",
                "verified": {"by": "a reader", "on": "2026-01-01"},
            },
            {"country": "NL", "act": "A coming law", "article": "2", "inForceFrom": "2027-01-01"},
        ],
        "modes": ["mutation"],
        "fields": ["bsn", "birth.date", "parents.bsn", "parents.order"],
        "kinds": ["created", "changed"],
        "population": [{"population": "all"}],
        "protectedAddress": "deliver",
        "payload": "event",
        "proactivity": "automatic",
        "period": {"start": "2019-01-01"},
        "retention": "P5Y",
        "dpia": "dpia-1",
    }
    return Authorisation.model_validate(members | change)


def knowledge(*authorisations: Authorisation) -> Knowledge:
    known = authorisations or (authorisation(),)
    agency = {"identifier": "oin:1", "sector": "benefit", "recipientClass": texts("payer"), "modelled": True}
    source = {
        "name": "brp",
        "title": texts("population register"),
        "urn": "urn:nld:oin:1:systeem:brp",
        "modelled": True,
    }
    purpose = {
        "name": "startbedrag",
        "version": 1,
        "title": texts("starting amount"),
        "description": texts("to grant it"),
        "activity": "urn:activity:1",
        "legalGround": "6(1)(e)",
    }
    return Knowledge(
        version=10,
        sources={"brp": Source.model_validate(source)},
        agencies={"groeifonds": Agency.model_validate({"name": "groeifonds", "title": texts("growth fund")} | agency)},
        purposes={("startbedrag", 1): Purpose.model_validate(purpose)},
        contracts={"brp/person": contract()},
        authorisations={(one.id, one.version): one for one in known},
    )


def person(who: SubjectRef, role: str, *, mediated: bool = False) -> dict[str, Any]:
    known = pseudonym(LEDGER_KEY, "ledger", who)
    return {"pseudonym": known, "keyVersion": 1, "identity": IDENTITIES.seal(who, known), "role": role} | {
        "mediated": mediated
    }


def disclosure(sequence: int = 1, **change: Any) -> bytes:
    """The value of a disclosure record, as a lane writes it."""
    members: dict[str, Any] = {
        "authorisation": "s3-groeifonds",
        "version": 1,
        "directoryPosition": 10,
        "engine": "python-1",
        "date": DAY,
        "at": AT,
        "topic": "agency.groeifonds.startbedrag.brp.person",
        "partition": 2,
        "lane": 2,
        "sequence": sequence,
        "source": "source.brp.person",
        "sourcePartition": 6,
        "sourcePosition": min(41 + sequence, (1 << 63) - 1),
        "eventId": "0b3f0a6e-5f3c-8a5e-9d0a-8b8f6f3f6a01",
        "kind": "created",
        "valueSha256": hashlib.sha256(b"%d" % sequence).digest(),
        "subjects": [person(CHILD, "subject"), person(MOTHER, "parent"), person(FATHER, "parent")],
        "unidentified": 0,
    }
    return record_type("ledger/disclosure").encode(members | change)


def read_value(sequence: int) -> bytes:
    """SHA-256 of the value that the delivery with this number had."""
    return hashlib.sha256(b"%d" % sequence).digest()


def record(value: bytes | None, position: int, **change: Any) -> LogRecord:
    members: dict[str, Any] = {
        "topic": topics.DISCLOSURES,
        "partition": 2,
        "position": position,
        "timestamp": 1_795_520_805_123,
        "key": None,
        "value": value,
    }
    return LogRecord(**(members | change))


def step(key: str, value: bytes | None = b"\xc3\x01 anything", position: int = 7) -> LogRecord:
    return record(value, position, topic=topics.DIRECTORY, partition=0, key=key.encode())


def refusal(number: int = 1, **change: Any) -> LogRecord:
    body = {
        "id": f"8c4a0001-0000-4000-8000-{number:012}",
        "request": "subscribe",
        "reason": "not-authorised",
        "detail": "No authorisation lets svb receive it.",
        "principal": "agency-svb--nabestaanden",
        "agency": "svb",
        "purpose": "nabestaanden",
        "stream": "brp/person",
        "authorisation": None,
        "version": None,
    }
    value = record_type("integrator/request").encode({"at": AT, "body": body | change})
    return record(value, number, topic=topics.REQUESTS, partition=4)


@dataclass
class StillDirectory:
    """A directory that stands still at `at`; reading it before that is the test's failure."""

    known: Knowledge
    at: int = 10
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: bool = False

    @property
    def position(self) -> Position:
        return Position(self.at)

    @property
    def knowledge(self) -> Knowledge:
        return self.known

    def inscriptions(self, people: Sequence[Pseudonym]) -> list[tuple[StandingInscription, ...]]:
        return [() for _ in people]

    @contextmanager
    def read(self) -> Generator[StillDirectory]:
        yield self

    async def wait_for(self, position: Position) -> None:
        while self.at < position:
            self.waiting = True
            self.moved.clear()
            await self.moved.wait()
        self.waiting = False

    def move(self, at: int) -> None:
        self.at = at
        self.moved.set()


@dataclass
class JudgingSource:
    """An event log in memory that fails the test when it is asked for positions that it never gave out.

    It may hand out records again from an earlier position (`again`), as a log does to a reader that starts anew, and
    it sets `drained` when everything was read and nothing more comes.
    """

    records: list[LogRecord]
    again: int = 0
    largest: int = 100
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    started: list[dict[tuple[str, int], int]] = field(default_factory=list[dict[tuple[str, int], int]])
    given: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    closed: int = 0

    async def start(self, positions: Mapping[tuple[str, int], int]) -> None:
        for place, position in positions.items():
            if place[0].startswith("integrator."):
                assert position <= self.given.get(place, 0), f"{place} was never read to {position}"
        self.started.append(dict(positions))
        self.at = {place: max(0, position - self.again) for place, position in positions.items()}

    async def fetch(self, *, wait: float, limit: int) -> LogBatch:
        del wait
        await asyncio.sleep(0)
        rest = [one for one in self.records if one.position >= self.at.get((one.topic, one.partition), 0)]
        found = rest[: min(limit, self.largest)]
        for one in found:
            self.at[one.topic, one.partition] = one.position + 1
            self.given[one.topic, one.partition] = max(one.position + 1, self.given.get((one.topic, one.partition), 0))
        if not found:
            self.drained.set()
            await asyncio.sleep(0.001)
        moved = {(one.topic, one.partition): one.position + 1 for one in found}
        return LogBatch(found, moved, len(rest) - len(found))

    async def close(self) -> None:
        self.closed += 1


databases: Databases | None = None
"""Where the stores of all ledgers are; the tier of PostgreSQL sets it, and runs tests of this one again."""


def files_at(root: Path) -> LedgerFiles:
    return LedgerFiles(root, databases)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that tells nobody when it comes."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.001)


@contextmanager
def ledger_at(root: Path) -> Generator[LedgerWriter]:
    files = files_at(root)
    vault = Vault.open(files.persons, GENERATION)
    ledger = LedgerWriter.open(files.store("s0-2026h2"), origin=ORIGIN, signer=SIGNER, vault=vault)
    try:
        yield ledger
    finally:
        ledger.close()
        vault.close()


def unpacked(parts: Iterable[bytes]) -> list[bytes]:
    """Return the lines of a document that was handed out as gzip."""
    return zlib.decompress(b"".join(parts), wbits=31).splitlines(keepends=True)
