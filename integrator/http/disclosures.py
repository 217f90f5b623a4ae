"""Shows people what was disclosed about them, newest first, each with the opening that proves it.

- Who asks is known by their token alone: no number is in a path, a query, an answer's header or a log line.
- A cursor is a place in one person's own list and is signed for that person: it cannot be carried to another's.
- What is shown beside an opening is for reading; a client that shows a tick verifies the opening first.
"""

# No `from __future__ import annotations`: the framework could not find the dependencies, which are local functions.

import base64
import binascii
import hmac
import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Security
from fastapi.security import HTTPBearer
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from integrator.domain.contract import Category
from integrator.domain.documents import Document, Texts
from integrator.domain.errors import Invalid, Refused
from integrator.domain.identifiers import SubjectRef
from integrator.http.identity import Citizens, bearer
from integrator.http.problems import responses
from integrator.recording.openings import Named, Openings, Place, ShownDisclosure

_SCHEME: Final = HTTPBearer(scheme_name="Citizen", auto_error=False, description="The token of a person")
_ROUTE: Final = "/me/disclosures"
_TAG_SIZE: Final = 12
MOST: Final = 100


class DisclosureQuery(Document):
    """Which part of the list."""

    limit: Annotated[int, Field(ge=1, le=MOST, description="how many at most")] = 25
    cursor: Annotated[
        str | SkipJsonSchema[None],
        Field(max_length=4000, pattern="^[A-Za-z0-9_-]+$", description="`next` of the page before"),
    ] = None


class NamedThing(Document):
    """A name and, where the directory knows it still, its title for people."""

    name: str
    title: Texts | SkipJsonSchema[None] = None


class DisclosedField(Document):
    """A field of the stream; all below it belongs to it."""

    path: str
    category: Category | SkipJsonSchema[None] = None
    description: Texts | SkipJsonSchema[None] = None


class DisclosedPurpose(NamedThing):
    """Why it was received."""

    version: Annotated[int, Field(ge=1)]
    description: Texts | SkipJsonSchema[None] = None


class DisclosedUnder(Document):
    """The authorisation that permitted it."""

    id: str
    version: Annotated[int, Field(ge=1)]


class DisclosedItem(Document):
    """One event about the person, delivered to one agency."""

    at: Annotated[str, Field(description="when, RFC 3339 in UTC; of an erased entry the day")]
    erased: Annotated[bool, Field(description="whether only part A is left of the entry")] = False
    recipient: NamedThing
    source: NamedThing
    stream: NamedThing
    role: Annotated[str, Field(description="in which role the person is in the event: subject, parent, …; or empty")]
    fields: list[DisclosedField]
    purpose: DisclosedPurpose
    basis: Annotated[list[str], Field(description="by which law, one citation each")]
    authorisation: Annotated[
        DisclosedUnder | SkipJsonSchema[None],
        Field(
            description="absent where the entry is mediated (the recipient is then a class of agencies), and where an "
            "auditor read an entry about the person (the source is then the integrator itself)"
        ),
    ] = None
    opening: Annotated[
        dict[str, Any],
        Field(description="parts A and S with their salts, the hashes of the others, and the proof of inclusion"),
    ]


class DisclosurePage(Document):
    """A part of the list, newest first."""

    disclosures: list[DisclosedItem]
    next: Annotated[str | SkipJsonSchema[None], Field(description="cursor of the next page; absent at the end")] = None


class Cursors:
    """Signs places in a list: base64url(HMAC-SHA256(key, route ‖ 0x00 ‖ person ‖ 0x00 ‖ place)[:12] ‖ place)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, person: SubjectRef, place: Place) -> str:
        """Return the cursor of a place."""
        data = json.dumps([place.half, *place.befores], separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._tag(person, data) + data).rstrip(b"=").decode()

    def read(self, person: SubjectRef, cursor: str) -> Place:
        """Return the place of a cursor. Raises `Invalid` (`cursor-invalid`) for one that was not made for `person`."""
        try:
            data = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        except (binascii.Error, ValueError):
            data = b""
        tag, place = data[:_TAG_SIZE], data[_TAG_SIZE:]
        if not hmac.compare_digest(tag, self._tag(person, place)):
            raise Invalid("cursor-invalid", "The cursor is not of this list: begin without one.", where="cursor")
        half, *befores = json.loads(place)
        return Place(half, tuple(befores))

    def _tag(self, person: SubjectRef, place: bytes) -> bytes:
        scope = b"%b\x00%b\x00" % (_ROUTE.encode(), person.canonical.encode())
        return hmac.digest(self._key, scope + place, "sha256")[:_TAG_SIZE]


def router(openings: Openings, citizens: Citizens, *, cursor_key: bytes) -> APIRouter:
    """Return the routes of people's own disclosures. `cursor_key` are 32 bytes; this process' own will do."""
    api = APIRouter(tags=["Disclosures"], dependencies=[Security(_SCHEME)])
    cursors = Cursors(cursor_key)

    def citizen(request: Request) -> SubjectRef:
        person = citizens.identify(bearer(request.headers))
        if person is None:
            raise Refused("not-authenticated", "The token is not known here.")
        return person

    # Not `async`: the framework then runs it in a thread, because SQLite blocks.
    @api.get(
        _ROUTE,
        responses=responses(400, 401, 500, 503),
        response_model_exclude_none=True,
        summary="Read what was disclosed about you",
    )
    def mine(
        query: Annotated[DisclosureQuery, Query()], person: Annotated[SubjectRef, Depends(citizen)]
    ) -> DisclosurePage:
        after = None if query.cursor is None else cursors.read(person, query.cursor)
        page = openings.page(person, after=after, limit=query.limit)
        return DisclosurePage(
            disclosures=[_item(shown) for shown in page.disclosures],
            next=None if page.after is None else cursors.make(person, page.after),
        )

    return api


def _item(shown: ShownDisclosure) -> DisclosedItem:
    return DisclosedItem(
        at=shown.at,
        erased="S" not in shown.opening,
        recipient=_named(shown.recipient),
        source=_named(shown.source),
        stream=_named(shown.stream),
        role=shown.role,
        fields=[
            DisclosedField(path=field.path, category=field.category, description=field.description)
            for field in shown.fields
        ],
        purpose=DisclosedPurpose(
            name=shown.purpose.name,
            version=shown.purpose.version,
            title=shown.purpose.title,
            description=shown.purpose.description,
        ),
        basis=list(shown.basis),
        authorisation=None if shown.under is None else DisclosedUnder(id=shown.under[0], version=shown.under[1]),
        opening=dict(shown.opening),
    )


def _named(named: Named) -> NamedThing:
    return NamedThing(name=named.name, title=named.title)
