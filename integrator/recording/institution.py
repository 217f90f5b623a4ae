"""Turns steps of the directory and refused requests into entries of the institution log, none of them about a person.

- A version of an authorisation, a start, an end, and every other document that came into force is one entry.
- A refusal or an auditor's question is one entry, however often it was written: they carry an id. Who asked is part P.
- An inscription is one entry by agency, capacity and phase, and never says of whom, nor from when: it may begin with
  a birth.
- A key's life is told: when it is made, rotated, replaced by another generation or given up.
- The schemas of all parts are entries themselves, so that a reader in thirty years can read the others.
- Dates, and the wish of a lane that somebody be inscribed, are passed over: they are no step of anybody.

LIMIT: an error report has no entry yet, because nobody can file one; the correction that follows one is a disclosure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Literal

from integrator.domain import topics
from integrator.domain.directory import Knowledge
from integrator.domain.errors import Invalid
from integrator.domain.identifiers import Position
from integrator.encoding import record_type, schemas_directory
from integrator.recording.disclosures import ACTOR, instant, milliseconds
from integrator.recording.readings import is_reading, query_entry, read_request
from integrator.recording.sequencer import LogRecord, Statement
from integrator_audit import Entry, part

STEP: Final = 0x02
"""Type of an entry about no person."""
AUTHORISATION: Final = "dienstenintegrator/authorisation-step/v1"
DOCUMENT: Final = "dienstenintegrator/document/v1"
REFUSAL: Final = "dienstenintegrator/refusal/v1"
SCHEMA_TEXT: Final = "dienstenintegrator/schema-text/v1"
INSCRIPTION: Final = "dienstenintegrator/inscription/v1"
ERASURE: Final = "dienstenintegrator/erasure/v1"
ERASURE_COUNTS: Final = "dienstenintegrator/erasure-counts/v1"
KEY_EVENT: Final = "dienstenintegrator/key-event/v1"

KeyEvent = Literal["made", "rotated", "generation-changed", "compromised"]
KeyKind = Literal["log", "label", "generation"]

REMEMBERED: Final = 100_000
"""Ids of requests that are held in memory: whoever asks decides how many there come to be."""
PARTS: Final = ("schemas/ledger/parts", 0)
"""Stands among the consumed positions of the log: how many texts of `TEXTS` are entries of it."""
TEXTS: Final = (
    "accountability/v1",
    "delivery/v1",
    "subject/v1",
    "actor/v1",
    "authorisation-step/v1",
    "document/v1",
    "refusal/v1",
    "schema-text/v1",
    "mediated-accountability/v1",
    "inscription/v1",
    "erasure/v1",
    "erasure-counts/v1",
    "key-event/v1",
    "query/v1",
    "reading/v1",
    "reading-delivery/v1",
    "padding/v1",
)
"""Only ever added to at the end: the position of a log counts along it."""


def key_mark(log: str) -> tuple[str, int]:
    """Return what stands among the consumed positions of the log when it tells that the key of `log` was made."""
    return f"keys/{log}", 0


_DOCUMENTS = frozenset({"source", "contract", "schema", "agency", "purpose"})
_PASSED_OVER = frozenset({"objection", "consent", "link", "date"})
_OVER: Final[Mapping[str, str]] = {state: state for state in ("suspended", "revoked", "expired")}
"""States in which nothing is delivered, and what the step into them is called; the others are applied."""
_KEY = re.compile(rb"([a-z]+)\|([^|]+)\|([0-9]{10})")
_NOTHING = b""
_OPTIONAL = ("agency", "purpose", "stream", "authorisation", "version")


def _entry(a: bytes, p: bytes = _NOTHING, *, at: int = 0) -> Entry:
    return Entry(type=STEP, a=a, d=_NOTHING, s=_NOTHING, p=p, subject=None, at=at)


def schema_texts(recorded: int) -> list[Entry]:
    """Return the entries of the schema texts from the `recorded`th on."""
    folder = schemas_directory() / "ledger" / "parts"
    return [
        _entry(
            part(
                SCHEMA_TEXT,
                {
                    "name": f"dienstenintegrator/{name}",
                    "text": (folder / f"{name.replace('/', '.')}.json").read_text("utf-8"),
                },
            )
        )
        for name in TEXTS[recorded:]
    ]


def erasure(month: str, generation: int, *, retention: int, order: int) -> Entry:
    """Return the entry of a month's erasures (`yyyy-mm`), whose keys were those of `generation`.

    The counts by ground are in part P, which is encrypted under a key of its own.
    """
    counts = part(ERASURE_COUNTS, {"retention": retention, "order": order})
    return _entry(part(ERASURE, {"month": month, "generation": generation}), counts)


def key_event(event: KeyEvent, key: KeyKind, name: str, *, at: datetime, **told: str) -> Entry:
    """Return the entry of an event in the life of a key; `told` are `vkey` of a log's, `sha256` of a label key."""
    return _entry(part(KEY_EVENT, {"event": event, "key": key, "name": name, **told, "at": instant(at)}))


@dataclass(slots=True)
class InstitutionRecorder:
    """Makes entries of the directory's records and of refusals; owned by one sequencer."""

    refusals: dict[str, None] = field(default_factory=dict[str, None])
    """Ids of the refusals and questions that are entries already, the oldest first; the owner fills it from the log.

    LIMIT: one that is written again after a hundred thousand others would be a second entry.
    """

    def read(self, record: LogRecord) -> Statement:
        """Read a record of the directory or of the requests. Both steps raise `Invalid` when it cannot be stated."""
        if record.topic == topics.DIRECTORY:
            return Statement(Position(record.position + 1), partial(self._step, record))
        return Statement(Position(0), partial(self._requested, record))

    def _step(self, record: LogRecord, knowledge: Knowledge) -> list[Entry]:
        match = _KEY.fullmatch(record.key or b"")
        if match is None:
            raise Invalid("directory-key", "The key is not kind|id|version.")
        if not record.value:
            return []  # an erasure; it has an entry of its own, which names nobody
        kind, name, version = match[1].decode(), match[2].decode("utf-8", "replace"), int(match[3])
        common = {"directoryPosition": record.position, "at": _moment(record.timestamp)}
        digest = {"sha256": hashlib.sha256(record.value).hexdigest()}
        if kind == "authorisation":
            return [_entry(_applied(name, version, common, digest, knowledge), at=record.timestamp)]
        if kind in ("start", "end"):
            come = record_type(f"directory/{kind}").decode(record.value)
            step = {"step": f"{kind}ed", "authorisation": come["authorisation"], "version": come["version"]}
            told = step | common | {"moment": instant(come["at"])}
            return [_entry(part(AUTHORISATION, told), at=record.timestamp)]
        if kind == "inscription":
            return [_entry(_inscribed(version, record))]
        if kind in _DOCUMENTS:
            told = {"kind": kind, "id": name, "version": version} | common | digest
            return [_entry(part(DOCUMENT, told), at=record.timestamp)]
        if kind in _PASSED_OVER:
            return []
        raise Invalid("directory-kind", "This release knows no such kind of directory record.")

    def _requested(self, record: LogRecord, _: Knowledge) -> list[Entry]:
        at, body = read_request(record)
        if "id" not in body or body["id"] in self.refusals:
            return []  # an inscription is the directory's to state, when it is applied; a repeated refusal is stated
        self.refusals[body["id"]] = None
        if len(self.refusals) > REMEMBERED:
            del self.refusals[next(iter(self.refusals))]
        if is_reading(body):
            return [query_entry(body, at)]
        told = {name: body[name] for name in ("id", "request", "reason", "detail")}
        named = {name: body[name] for name in _OPTIONAL if body[name] is not None}
        members = {"id": told.pop("id"), "at": instant(at)} | told | named
        return [_entry(part(REFUSAL, members), part(ACTOR, {"actor": body["principal"]}), at=milliseconds(at))]


def _applied(name: str, version: int, common: dict[str, Any], digest: dict[str, Any], knowledge: Knowledge) -> bytes:
    found = knowledge.authorisations.get((name, version))
    if found is None:
        raise Invalid("unknown-authorisation", "The directory has no such version of the authorisation.")
    return part(
        AUTHORISATION,
        {"step": _OVER.get(found.state, "applied"), "authorisation": name, "version": version}
        | common
        | {
            "state": found.state,
            "agency": found.agency,
            "stream": found.stream,
            "purpose": found.purpose,
            "purposeVersion": found.purpose_version,
            "route": found.route,
            "basis": [citation.reference for citation in found.citations],
            "fields": list(found.fields),
        }
        | digest,
    )


def _inscribed(version: int, record: LogRecord) -> bytes:
    told = record_type("directory/inscription").decode(record.value or b"")
    step = "ended" if told["end"] is not None else "begun" if version == 1 else "changed"
    members = {"step": step} | {name: told[name] for name in ("agency", "capacity", "phase")}
    # The day and not the moment: with the moment, whoever knows when a child was born could find its inscription.
    return part(INSCRIPTION, members | {"date": _moment(record.timestamp)[:10]})


def _moment(timestamp: int) -> str:
    try:
        return instant(datetime.fromtimestamp(timestamp / 1000, UTC))
    except (OverflowError, ValueError, OSError):
        raise Invalid("time", "The time of the record is outside the calendar.") from None
