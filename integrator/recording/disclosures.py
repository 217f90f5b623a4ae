"""Turns one disclosure record into one ledger entry per data subject, which says only what concerns that person.

- Part A (`recording.accountability`) may be opened without the person. Where somebody in the event must not be found,
  the others' entries are mediated: part D then says what part A leaves out, to those who may know.
- Part D is the delivery; part S is the person, their role and the exact time; part P is zero bytes, for a lane acts.
- A record that cannot be stated whole is `Invalid`; the caller sets it aside. There is never half an entry.

The schemas of the parts are `schemas/ledger/parts/*.v1.json`; their members stand in one order for ever.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, Final, cast

from integrator.domain.authorisation import Authorisation
from integrator.domain.directory import Knowledge
from integrator.domain.errors import Invalid
from integrator.domain.identifiers import Position, Pseudonym
from integrator.domain.purpose import Purpose
from integrator.encoding import record_type
from integrator.recording.accountability import accountability
from integrator.recording.engine import KERNEL
from integrator.recording.sequencer import LogRecord, Statement
from integrator.recording.shortcut import Common, Head, Shortcut, role_text
from integrator_audit import Entry, part

DISCLOSURE: Final = 0x01
"""Type of an entry about one person."""
DELIVERY: Final = "dienstenintegrator/delivery/v1"
PERSON: Final = "dienstenintegrator/subject/v1"
ACTOR: Final = "dienstenintegrator/actor/v1"

_NOBODY = b""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_STATEMENTS = 20_000


@dataclass(frozen=True, slots=True)
class DataSubject:
    """A person in a delivery, under the ledger's key; `role` is `subject` or the relation of the contract."""

    pseudonym: Pseudonym
    key_version: int
    identity: bytes = field(repr=False)
    """The number, sealed for the label service."""
    role: str
    mediated: bool


@dataclass(frozen=True, slots=True)
class Disclosure:
    """One delivery, as the lane wrote it. `at` is UTC; `value_sha256` are 32 bytes."""

    authorisation: str
    version: int
    directory_position: Position
    engine: str
    date: date
    at: datetime
    topic: str
    partition: int
    lane: int
    sequence: int
    source: str
    source_partition: int
    source_position: int
    event_id: str
    kind: str
    value_sha256: bytes
    subjects: tuple[DataSubject, ...]


def read(value: bytes | None) -> Disclosure:
    """Read the value of a record of `integrator.disclosures`. Raises `Invalid` (`record-type`, `contract`)."""
    if value is None:
        raise Invalid("record-type", "The record has no value.")
    found = record_type("ledger/disclosure").decode(value)
    subjects = cast("list[dict[str, Any]]", found["subjects"])
    people = tuple(
        DataSubject(one["pseudonym"], one["keyVersion"], one["identity"], one["role"], one["mediated"])
        for one in subjects
    )
    if len({person.pseudonym for person in people}) != len(people):
        raise Invalid("contract", "The record names a person twice.", where="subjects")
    return Disclosure(
        authorisation=found["authorisation"],
        version=found["version"],
        directory_position=found["directoryPosition"],
        engine=found["engine"],
        date=found["date"],
        at=found["at"],
        topic=found["topic"],
        partition=found["partition"],
        lane=found["lane"],
        sequence=found["sequence"],
        source=found["source"],
        source_partition=found["sourcePartition"],
        source_position=found["sourcePosition"],
        event_id=found["eventId"],
        kind=found["kind"],
        value_sha256=found["valueSha256"],
        subjects=people,
    )


def instant(at: datetime) -> str:
    """Write a moment as the parts do: RFC 3339, UTC, milliseconds, `Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(at: datetime) -> int:
    """Return a moment in milliseconds since 1970, exactly."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


class DisclosureRecorder:
    """Makes entries of disclosure records; owned by one sequencer.

    Part A depends on the authorisation's version, the contract's, the role and the day only, so its bytes are kept.
    Common records go the short way (`integrator.recording.shortcut`), which gives the same entries.
    """

    def __init__(self) -> None:
        self._accountability: dict[tuple[str, int, int, str, str | None, date], bytes] = {}
        self._shortcut = Shortcut()
        # What is said of records with one head, by the person's role, with the knowledge that was used last.
        self._knowledge: Knowledge | None = None
        self._said: dict[tuple[bytes, bytes], tuple[bytes, str, int]] = {}

    def read(self, record: LogRecord) -> Statement:
        """Read a record of `integrator.disclosures`. Raises `Invalid` (`record-type`, `contract`)."""
        common = None if record.value is None else self._shortcut.read(record.value)
        if common is not None:
            return Statement(common.head.directory_position, partial(self._common, common))
        disclosure = read(record.value)
        return Statement(disclosure.directory_position, partial(self.entries, disclosure))

    def _common(self, common: Common, knowledge: Knowledge) -> list[Entry]:
        """Return what `entries` returns for the same record."""
        if knowledge is not self._knowledge or len(self._said) > _MOST_STATEMENTS:
            self._knowledge = knowledge
            self._said.clear()
        if KERNEL is not None:
            return KERNEL.entries(common, self._said, self._accounted, knowledge, DISCLOSURE, Entry)
        head, at, delivery, people = common
        found: list[Entry] = []
        for pseudonym, identity, role, subject in people:
            said = self._said.get((head.piece, role))
            if said is None:
                said = self._said[head.piece, role] = self._accounted(head, role, knowledge)
            a, recipient, retention = said
            found.append(
                Entry(DISCLOSURE, a, delivery, subject, _NOBODY, pseudonym, recipient, at, retention, True, identity)
            )
        return found

    def _accounted(self, head: Head, role: bytes, knowledge: Knowledge) -> tuple[bytes, str, int]:
        """Return part A, recipient and years for a person in a role, as Avro writes it."""
        authorisation = _authorisation(head.authorisation, head.version, knowledge)
        a = self._accountable(authorisation, head.day, role_text(role), None, knowledge)
        return a, authorisation.agency, _purpose(authorisation, knowledge).retention

    def entries(self, disclosure: Disclosure, knowledge: Knowledge) -> list[Entry]:
        """Return one entry for each data subject of `disclosure`, none when it names nobody.

        `knowledge` must be at or past the disclosure's directory position.
        Raises `Invalid` (`unknown-authorisation`, `unknown-purpose`, `unknown-agency`, `unknown-stream`,
        `unknown-role`, `nothing-concerns`, `time-zone`).
        """
        if not disclosure.subjects:
            return []
        authorisation = _authorisation(disclosure.authorisation, disclosure.version, knowledge)
        exact, mediated = _delivery(disclosure), b""
        if any(person.mediated for person in disclosure.subjects):
            mediated = _delivery(disclosure, authorisation)
        retention, at = _purpose(authorisation, knowledge).retention, milliseconds(disclosure.at)
        return [
            Entry(
                type=DISCLOSURE,
                a=self._accountable(
                    authorisation,
                    disclosure.date,
                    person.role,
                    _class(authorisation, knowledge) if person.mediated else None,
                    knowledge,
                ),
                d=mediated if person.mediated else exact,
                s=_subject(person, disclosure.at),
                p=_NOBODY,
                subject=person.pseudonym,
                recipient=authorisation.agency,
                at=at,
                retention=retention,
                identity=person.identity,
            )
            for person in disclosure.subjects
        ]

    def _accountable(
        self, authorisation: Authorisation, day: date, role: str, instead: str | None, knowledge: Knowledge
    ) -> bytes:
        # LIMIT: the directory keeps the current version of a contract; a role that moved to another path between the
        # delivery and its entry would be stated with the new path.
        contract = knowledge.contracts.get(authorisation.stream)
        if contract is None:
            raise Invalid("unknown-stream", "The directory has no contract for the authorisation's stream.")
        key = (authorisation.id, authorisation.version, contract.version, role, instead, day)
        made = self._accountability.get(key)
        if made is None:
            if len(self._accountability) >= _MOST_STATEMENTS:
                self._accountability.clear()
            retention = _purpose(authorisation, knowledge).retention
            made = accountability(authorisation, contract, role, day=day, retention=retention, instead=instead)
            self._accountability[key] = made
        return made


def _authorisation(name: str, version: int, knowledge: Knowledge) -> Authorisation:
    found = knowledge.authorisations.get((name, version))
    if found is None:
        raise Invalid("unknown-authorisation", "The directory has no such version of the authorisation.")
    return found


def _purpose(authorisation: Authorisation, knowledge: Knowledge) -> Purpose:
    purpose = knowledge.purposes.get((authorisation.purpose, authorisation.purpose_version))
    if purpose is None:
        raise Invalid("unknown-purpose", "The directory has no such version of the authorisation's purpose.")
    return purpose


def _class(authorisation: Authorisation, knowledge: Knowledge) -> str:
    agency = knowledge.agencies.get(authorisation.agency)
    if agency is None:
        raise Invalid("unknown-agency", "The directory does not know the agency of the authorisation.")
    return agency.class_name


def _delivery(disclosure: Disclosure, said: Authorisation | None = None) -> bytes:
    """Return part D; with `said`, what part A of a mediated entry leaves out stands at its end."""
    more = {} if said is None else {"recipient": said.agency, "authorisation": said.id, "version": said.version}
    return part(
        DELIVERY,
        {
            "at": instant(disclosure.at),
            "topic": disclosure.topic,
            "partition": disclosure.partition,
            "lane": disclosure.lane,
            "sequence": disclosure.sequence,
            "source": disclosure.source,
            "sourcePartition": disclosure.source_partition,
            "sourcePosition": disclosure.source_position,
            "eventId": disclosure.event_id,
            "kind": disclosure.kind,
            "directoryPosition": disclosure.directory_position,
            "engine": disclosure.engine,
            "valueSha256": disclosure.value_sha256.hex(),
            **more,
        },
    )


def _subject(person: DataSubject, at: datetime) -> bytes:
    return part(
        PERSON,
        {
            "subject": base64.urlsafe_b64encode(person.pseudonym).rstrip(b"=").decode(),
            "keyVersion": person.key_version,
            "role": person.role,
            "at": instant(at),
        },
    )
