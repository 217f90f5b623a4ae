"""Lets auditors search the ledger, count in it and open single entries; each question is an entry before its answer.

- Who asks is known by a token of the organisation; by which law it asks stands in the header `Audit-Basis`. Neither
  that nor any parameter has a place for a person: searching is by what part A says, and that leads to nobody.
- Times are whole hours: finer, a question could find out the exact moment of an entry.
- A cursor is a place in one organisation's own question and is signed for both: it fits no other.
"""

# No postponed annotations here: FastAPI must see the dependencies that are made inside `router`.

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, Query, Request, Security
from fastapi.security import HTTPBearer
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from integrator.domain.documents import Document
from integrator.domain.errors import Invalid
from integrator.domain.identifiers import Name, StreamName
from integrator.http.identity import Auditor, Identities, require_auditor
from integrator.http.problems import responses
from integrator.recording.auditing import Auditing, Parts, Reader, Receipt, Wanted
from integrator.recording.quotas import IN_A_QUESTION
from integrator.recording.searching import Asked, FoundEntry, Outcome
from integrator_audit.searching.counts import Cell, Step

_SCHEME: Final = HTTPBearer(scheme_name="Auditor", auto_error=False, description="The token of an organisation")
_TAG_SIZE: Final = 12
MOST: Final = 1000

_HOUR: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:00:00Z$"
_DAY: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
Hour = Annotated[str, Field(pattern=_HOUR, json_schema_extra={"format": "date-time"})]
Day = Annotated[str, Field(pattern=_DAY, json_schema_extra={"format": "date"})]
FieldPath = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$", max_length=300)]
Basis = Annotated[
    str,
    Header(
        alias="Audit-Basis",
        min_length=3,
        max_length=300,
        pattern=r"^[\x20-\x7e]+$",
        description="by which law or mandate it is asked; it is entered in the ledger, so it names no person",
    ),
]
Dimension = Literal["recipient", "source", "stream", "field", "purpose", "authorisation", "reason", "agency", "reader"]


class AuditFilter(Document):
    """What is asked for; what is left out narrows nothing."""

    outcome: Annotated[
        list[Outcome],
        Field(
            min_length=1,
            max_length=5,
            description="what became of it: `disclosed`, `read` (by auditors, about people), `refused`, `decided` "
            "(steps of authorisations), `asked` (questions of auditors)",
        ),
    ] = ["disclosed"]  # noqa: RUF012  pydantic copies it
    recipient: Annotated[
        Name | SkipJsonSchema[None],
        Field(description="the agency, or the class of agencies where an entry is mediated; who read or asked"),
    ] = None
    source: Name | SkipJsonSchema[None] = None
    stream: StreamName | SkipJsonSchema[None] = None
    field: Annotated[
        FieldPath | SkipJsonSchema[None],
        Field(description="a path of the schema: it, what is above and what is below it"),
    ] = None
    purpose: Name | SkipJsonSchema[None] = None
    activity: Annotated[
        str | SkipJsonSchema[None],
        Field(max_length=300, description="a processing activity: stands for the purposes that the directory knows"),
    ] = None
    authorisation: Name | SkipJsonSchema[None] = None
    basis: Annotated[
        str | SkipJsonSchema[None], Field(max_length=2000, description="a law as the entries cite it, the whole line")
    ] = None
    since: Annotated[Hour | SkipJsonSchema[None], Field(description="from this hour on")] = None
    until: Annotated[Hour | SkipJsonSchema[None], Field(description="before this hour")] = None
    first_day: Annotated[Day | SkipJsonSchema[None], Field(description="legal day in the entry, from this on")] = None
    last_day: Annotated[Day | SkipJsonSchema[None], Field(description="legal day in the entry, to this one")] = None

    def asked(self) -> Asked:
        """Return it in the words of the ledger's room."""
        return Asked(
            tuple(dict.fromkeys(self.outcome)),
            self.recipient,
            self.source,
            self.stream,
            self.field,
            self.purpose,
            self.activity,
            self.authorisation,
            self.basis,
            self.since,
            self.until,
            self.first_day,
            self.last_day,
        )


class AuditQuery(AuditFilter):
    """Which entries, and which part of the list."""

    limit: Annotated[int, Field(ge=1, le=MOST, description="how many at most")] = 100
    cursor: Annotated[
        str | SkipJsonSchema[None],
        Field(max_length=8000, pattern="^[A-Za-z0-9_-]+$", description="`next` of the page before"),
    ] = None


class CountQuery(AuditFilter):
    """Which entries, and by what they are counted."""

    by: Annotated[
        list[Dimension], Field(max_length=4, description="what each figure is about; none: all together")
    ] = []  # noqa: RUF012  pydantic copies it
    step: Annotated[Step, Field(description="also by time: an hour, or the day or month that the entries name")] = "all"


class AuditReading(Document):
    """The entry that tells of this question, in the institution log."""

    id: str
    salt: Annotated[
        str, Field(description="base64: with it, and the results, the digest in the entry can be computed again")
    ]


class AuditEntry(Document):
    """One entry, as its part A tells it."""

    log: str
    index: Annotated[int, Field(ge=0)]
    outcome: Outcome
    statement: Annotated[dict[str, Any], Field(description="part A as it was committed; open the entry for the proof")]


class AuditPage(Document):
    """A part of the list, newest first; order within an hour tells nothing."""

    entries: list[AuditEntry]
    next: Annotated[str | SkipJsonSchema[None], Field(description="cursor of the next page; absent at the end")] = None
    reading: AuditReading


class AuditCount(Document):
    """How many entries."""

    time: Annotated[
        str | SkipJsonSchema[None], Field(description="an hour (RFC 3339), a day or a month; absent for all time")
    ] = None
    values: Annotated[dict[str, str], Field(description="by `by`; empty where entries do not say it")]
    entries: Annotated[int, Field(ge=1)]


class AuditCounts(Document):
    """Figures, by time and values."""

    counts: list[AuditCount]
    reading: AuditReading


class AuditPlace(Document):
    """Where an entry is."""

    log: Annotated[str, Field(max_length=60, pattern=r"^[a-z0-9]+-[0-9]{4}h[12]$")]
    index: Annotated[int, Field(ge=0, le=2**53 - 1, strict=True)]


class OpeningRequest(Document):
    """Which entries to open, and how far."""

    entries: Annotated[list[AuditPlace], Field(min_length=1, max_length=IN_A_QUESTION)]
    parts: Annotated[
        Parts, Field(description="`AS` also opens whom it is about and when: those people are told by the ledger")
    ] = "A"
    purpose: Annotated[Name | SkipJsonSchema[None], Field(description="for what; needed for `AS`")] = None
    basis: Annotated[str, Field(min_length=3, max_length=300, description="by which law or mandate; names no person")]


class AuditOpenings(Document):
    """Openings in the order asked for; of an erased entry part A only."""

    openings: Annotated[
        list[dict[str, Any]], Field(description="parts with their salts, hashes of the others, proof of inclusion")
    ]
    reading: AuditReading


class Places:
    """Signs places: base64url(HMAC-SHA256(key, scope ‖ 0x00 ‖ place)[:12] ‖ place)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, scope: bytes, place: Mapping[str, int]) -> str:
        """Return the cursor of a place."""
        data = json.dumps(place, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._tag(scope, data) + data).rstrip(b"=").decode()

    def read(self, scope: bytes, cursor: str) -> dict[str, int]:
        """Return the place of a cursor. Raises `Invalid` (`cursor-invalid`) for one of another scope."""
        try:
            data = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except (binascii.Error, ValueError):
            data = b""
        tag, place = data[:_TAG_SIZE], data[_TAG_SIZE:]
        if not hmac.compare_digest(tag, self._tag(scope, place)):
            raise Invalid("cursor-invalid", "The cursor is not of this list: begin without one.", where="cursor")
        return json.loads(place)

    def _tag(self, scope: bytes, place: bytes) -> bytes:
        return hmac.digest(self._key, scope + b"\0" + place, "sha256")[:_TAG_SIZE]


def router(auditing: Auditing, identities: Identities, *, cursor_key: bytes) -> APIRouter:
    """Return the routes of auditors. `cursor_key` are 32 bytes; this process' own will do."""
    api = APIRouter(prefix="/audit", tags=["Audit"], dependencies=[Security(_SCHEME)])
    places = Places(cursor_key)

    def auditor(request: Request) -> Auditor:
        return require_auditor(request, identities)

    @api.get(
        "/disclosures",
        responses=responses(400, 401, 403, 500, 503),
        response_model_exclude_none=True,
        summary="Find entries by what they say",
    )
    async def find_disclosures(
        query: Annotated[AuditQuery, Query()], basis: Basis, who: Annotated[Auditor, Depends(auditor)]
    ) -> AuditPage:
        asked = query.asked()
        scope = "\0".join(("disclosures", who.name, *asked.told())).encode()
        after = None if query.cursor is None else places.read(scope, query.cursor)
        page, receipt = await auditing.find(_reader(who, basis), asked, after=after, limit=query.limit)
        return AuditPage(
            entries=[_entry(one) for one in page.found],
            next=None if page.after is None else places.sign(scope, page.after),
            reading=_reading(receipt),
        )

    @api.get(
        "/counts",
        responses=responses(400, 401, 403, 500, 503),
        response_model_exclude_none=True,
        summary="Count entries by what they say and by time",
    )
    async def count_disclosures(
        query: Annotated[CountQuery, Query()], basis: Basis, who: Annotated[Auditor, Depends(auditor)]
    ) -> AuditCounts:
        by = list(dict.fromkeys(query.by))
        cells, receipt = await auditing.count(_reader(who, basis), query.asked(), by=by, step=query.step)
        return AuditCounts(counts=[_count(cell, by, query.step) for cell in cells], reading=_reading(receipt))

    @api.post(
        "/openings",
        responses=responses(400, 401, 403, 413, 429, 500, 503),
        response_model_exclude_none=True,
        summary="Open entries, with their proofs",
    )
    async def open_entries(wanted: OpeningRequest, who: Annotated[Auditor, Depends(auditor)]) -> AuditOpenings:
        openings, receipt = await auditing.open(
            _reader(who, wanted.basis),
            [Wanted(one.log, one.index) for one in wanted.entries],
            parts=wanted.parts,
            purpose=wanted.purpose,
        )
        return AuditOpenings(openings=openings, reading=_reading(receipt))

    return api


def _reader(who: Auditor, basis: str) -> Reader:
    return Reader(who.organisation, who.name, basis)


def _reading(receipt: Receipt) -> AuditReading:
    return AuditReading(id=receipt.id, salt=base64.b64encode(receipt.salt).decode())


def _entry(found: FoundEntry) -> AuditEntry:
    return AuditEntry(log=found.log, index=found.number, outcome=found.outcome, statement=dict(found.says))


def _count(cell: Cell, by: list[Dimension], step: Step) -> AuditCount:
    time = None if step == "all" else cell.time
    if step == "hour":
        time = f"{datetime.fromtimestamp(int(cell.time) * 3600, UTC):%Y-%m-%dT%H:00:00Z}"
    values = {name: str(json.loads(value)) if value else "" for name, value in zip(by, cell.values, strict=True)}
    return AuditCount(time=time, values=values, entries=cell.n)
