"""Makes entries of what auditors read: one of each question, and one for each person whose entry was opened to them.

- A question is an entry of the institution log: who asked what by which law, how many results there were, and a salted
  digest of them. It names no entry and no person: a list of indices would be one person's set.
- Whoever has part S of an entry knows whom it is about. So that person gets an entry of their own in a subject shard,
  which they find like any disclosure; at most one for a reader, person, purpose and day.
- Depth 1: that a reading was read is an entry of the institution log and of nobody else.
- A citizen who reads their own entries makes none.

LIMIT: a log that begins at midnight of a new half-year does not look into the one before; a day does not span the two.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, Final, Literal, Protocol, cast

from integrator.domain import topics
from integrator.domain.errors import Invalid
from integrator.domain.identifiers import Position, Pseudonym
from integrator.encoding import record_type
from integrator.recording.disclosures import ACTOR, DISCLOSURE, PERSON, instant, milliseconds
from integrator.recording.sequencer import LogRecord, Recorder, Statement
from integrator_audit import Entry, part, read_part

QUERY: Final = "dienstenintegrator/query/v1"
READING: Final = "dienstenintegrator/reading/v1"
READING_DELIVERY: Final = "dienstenintegrator/reading-delivery/v1"
INTEGRATOR: Final = "integrator"
"""Stands where a disclosure names its source: what auditors read comes from the integrator itself."""
LEDGER_STREAM: Final = "integrator/ledger"
RETENTION: Final = 10
"""Years for which a reading can be opened."""
SALT_SIZE: Final = 32

Asked = Literal["disclosures", "counts", "openings"]
_NOTHING = b""
_LOOKED_THROUGH: Final = 1000
_LATE: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class OpenedPerson:
    """A person whose part S was opened; `identity` is their number, sealed for the label service, or empty."""

    pseudonym: Pseudonym
    key_version: int
    identity: bytes = b""


@dataclass(frozen=True, slots=True)
class Reading:
    """One question of an auditor, as it goes on its way to the ledger. `filter` and `basis` hold no personal data."""

    id: str
    reader: str
    principal: str
    query: Asked
    basis: str
    filter: tuple[str, ...]
    results: int
    digest: bytes
    opened: int = 0
    """In how many entries part S was opened; `people` are those of them who are told."""
    purpose: str | None = None
    people: tuple[OpenedPerson, ...] = ()

    def encode(self, at: datetime) -> bytes:
        """Return the single-object encoding of `integrator/request` with this reading as its body."""
        body = {
            "id": self.id,
            "reader": self.reader,
            "principal": self.principal,
            "query": self.query,
            "purpose": self.purpose,
            "basis": self.basis,
            "filter": list(self.filter),
            "results": self.results,
            "opened": self.opened,
            "digest": self.digest,
            "people": [
                {"pseudonym": one.pseudonym, "keyVersion": one.key_version, "identity": one.identity}
                for one in self.people
            ],
        }
        return record_type("integrator/request").encode({"at": at, "body": ("integrator.routing.Reading", body)})


def result_digest(salt: bytes, results: Sequence[object]) -> bytes:
    """Return SHA-256 over `salt` and the results as JSON without whitespace: what binds a reader to what they got."""
    told = json.dumps(results, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(salt + told.encode()).digest()


class Subjects(Protocol):
    """A subject shard as it is while it is filled: `integrator_audit.LedgerReader`."""

    def indices_of(self, subject: bytes, *, before: int | None = None, limit: int = 100) -> list[int]: ...

    def says(self, index: int) -> bytes: ...


def is_reading(body: dict[str, Any]) -> bool:
    """Tell whether the body of a request is a reading."""
    return "digest" in body


def query_entry(body: dict[str, Any], at: datetime) -> Entry:
    """Return the entry of a question for the institution log."""
    purpose = {} if body["purpose"] is None else {"purpose": body["purpose"]}
    members = {
        "id": body["id"],
        "at": instant(at),
        "reader": body["reader"],
        "query": body["query"],
        **purpose,
        "basis": body["basis"],
        "filter": body["filter"],
        "results": body["results"],
        "opened": body["opened"],
        "digest": body["digest"].hex(),
    }
    actor = part(ACTOR, {"actor": body["principal"]})
    return Entry(0x02, part(QUERY, members), _NOTHING, _NOTHING, actor, None, at=milliseconds(at))


@dataclass(slots=True)
class SubjectRecorder:
    """Makes the entries of a subject shard: disclosures, and readings of people's entries. Owned by one sequencer."""

    disclosures: Recorder
    shard: Subjects
    _made: set[tuple[str, str, str, Pseudonym]] = field(default_factory=set[tuple[str, str, str, Pseudonym]])
    """Readings of the newest day seen, as (reader, purpose, day, person): what a batch in hand has not made durable."""
    _day: str = ""

    def read(self, record: LogRecord) -> Statement:
        """Read a record of the disclosures or of the requests. Both steps raise `Invalid` when it cannot be stated."""
        if record.topic != topics.REQUESTS:
            return self.disclosures.read(record)
        return Statement(Position(0), partial(self._readings, record))

    def _readings(self, record: LogRecord, _: object) -> list[Entry]:
        at, body = read_request(record)
        if not is_reading(body) or not body["people"]:
            return []
        if body["purpose"] is None:
            raise Invalid("contract", "Whoever opens people's entries says for what.")
        day = at.astimezone(UTC).date()
        a = reading_statement(body["reader"], body["purpose"], body["basis"], day=day)
        if day.isoformat() != self._day:
            self._made.clear()
            self._day = day.isoformat()
        return [
            _reading_entry(record, body, at, a=a, person=one)
            for one in body["people"]
            if self._is_first((body["reader"], body["purpose"], day.isoformat(), one["pseudonym"]))
        ]

    def _is_first(self, key: tuple[str, str, str, Pseudonym]) -> bool:
        if key in self._made or key in self._told(key[3], key[2]):
            return False
        self._made.add(key)
        return True

    def _told(self, person: Pseudonym, day: str) -> Iterator[tuple[str, str, str, Pseudonym]]:
        """Yield the readings of a person's entries that the log holds, from some days before `day` on."""
        before: int | None = None
        # What was disclosed some days ago may be entered today, after a stop of the ledger.
        enough = (date.fromisoformat(day) - _LATE).isoformat()
        while indices := self.shard.indices_of(person, before=before, limit=_LOOKED_THROUGH):
            for index in indices:
                said = read_part(self.shard.says(index))
                if str(said["date"]) < enough:
                    return
                if said["schema"] == READING:
                    yield str(said["recipient"]), str(said["purpose"]), str(said["date"]), person
            before = indices[-1]


def read_request(record: LogRecord) -> tuple[datetime, dict[str, Any]]:
    """Return the moment and the body of a record of `integrator.requests`. Raises `Invalid`."""
    if record.value is None:
        raise Invalid("record-type", "The record has no value.")
    request = record_type("integrator/request").decode(record.value)
    return cast("datetime", request["at"]), cast("dict[str, Any]", request["body"])


def reading_statement(reader: str, purpose: str, basis: str, *, day: date) -> bytes:
    """Return part A of a person's entry: who read an entry about them, for what and by which law, on which day."""
    return part(
        READING,
        {
            "recipient": reader,
            "provider": INTEGRATOR,
            "stream": LEDGER_STREAM,
            "fields": ["entry"],
            "purpose": purpose,
            "purposeVersion": 1,
            "basis": [basis],
            "date": day.isoformat(),
            "retention": RETENTION,
        },
    )


def _reading_entry(record: LogRecord, body: dict[str, Any], at: datetime, *, a: bytes, person: dict[str, Any]) -> Entry:
    moment = instant(at)
    delivery = {
        "at": moment,
        "topic": record.topic,
        "partition": record.partition,
        "position": record.position,
        "query": body["id"],
    }
    subject = {
        "subject": base64.urlsafe_b64encode(person["pseudonym"]).rstrip(b"=").decode(),
        "keyVersion": person["keyVersion"],
        "role": "subject",
        "at": moment,
    }
    return Entry(
        DISCLOSURE,
        a,
        part(READING_DELIVERY, delivery),
        part(PERSON, subject),
        _NOTHING,
        person["pseudonym"],
        recipient=body["reader"],
        at=milliseconds(at),
        retention=RETENTION,
        identity=person["identity"],
    )
