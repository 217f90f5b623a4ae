"""Hands out what the sealed days prove: a person's whole history, an agency's account, the supervisor's dossier.

- A person gets the history of the number under which they logged in, an agency its own account, whatever is in the
  path; nobody gets anybody else's.
- These are files to be checked by a verifier, from another origin than this one; nothing here is for reading alone.
- A dossier links the entries of each person over a day. It goes to the checking cosigner, by a token of its own.
"""

# No postponed annotations here: FastAPI must see the dependencies that are made inside `router`.

from datetime import date
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response, Security
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from integrator.domain.documents import Document
from integrator.domain.errors import Refused
from integrator.domain.identifiers import Name, SubjectRef
from integrator.http.identity import (
    AgencyFor,
    Authority,
    Citizens,
    Identities,
    bearer,
    require_agency,
    require_supervisor,
)
from integrator.http.problems import responses
from integrator.recording.sealed import Histories, Range
from integrator_audit.completeness.presenting import document_bytes

_CITIZEN: Final = HTTPBearer(scheme_name="Citizen", auto_error=False, description="The token of a person")
_AGENCY: Final = HTTPBearer(scheme_name="Agency", auto_error=False, description="The agency's token for any purpose")
_SUPERVISOR: Final = HTTPBearer(scheme_name="Supervisor", auto_error=False, description="The supervisor's token")
_JSON: Final = "application/json"
_GZIP: Final = "application/gzip"


class DaysQuery(Document):
    """Which sealed days; without them all that there are."""

    first: Annotated[date | SkipJsonSchema[None], Field(description="from this day on (UTC)")] = None
    last: Annotated[date | SkipJsonSchema[None], Field(description="to this day (UTC), which must be sealed")] = None

    def range(self) -> Range:
        """Return it in the words of the ledger's room."""
        return Range(self.first, self.last)


def router(histories: Histories, citizens: Citizens, identities: Identities) -> APIRouter:
    """Return the routes of documents that prove completeness."""
    api = APIRouter(tags=["Histories"])

    def citizen(request: Request) -> SubjectRef:
        person = citizens.identify(bearer(request.headers))
        if person is None:
            raise Refused("not-authenticated", "The token is not known here.")
        return person

    def asking(request: Request) -> AgencyFor:
        return require_agency(request, identities)

    def supervisor(request: Request) -> Authority:
        return require_supervisor(request, identities)

    # Not `async`: the framework then runs these in a thread, because SQLite blocks.
    @api.get(
        "/me/history",
        dependencies=[Security(_CITIZEN)],
        response_class=Response,
        responses=responses(400, 401, 500, 503)
        | {200: _file(_JSON, "the document dienstenintegrator/history/v1, for `integrator-audit history`")},
        summary="Get everything that was disclosed about you, with the proof that it is everything",
    )
    def read_history(query: Annotated[DaysQuery, Query()], person: Annotated[SubjectRef, Depends(citizen)]) -> Response:
        return Response(document_bytes(histories.history(person, query.range())), media_type=_JSON)

    @api.get(
        "/accounts/{agency}",
        dependencies=[Security(_AGENCY)],
        response_class=StreamingResponse,
        responses=responses(400, 401, 403, 500, 503)
        | {200: _file(_GZIP, "JSON lines, gzip: dienstenintegrator/account/v1, for `integrator-audit account`")},
        summary="Get every entry that the ledger lists under an agency, with the proof that it is every one",
    )
    def read_account(
        agency: Name, query: Annotated[DaysQuery, Query()], who: Annotated[AgencyFor, Depends(asking)]
    ) -> StreamingResponse:
        if who.agency != agency:
            raise Refused("not-authorised", "An agency is shown its own account only.")
        return StreamingResponse(histories.account(agency, query.range()), media_type=_GZIP)

    @api.get(
        "/dossier",
        dependencies=[Security(_SUPERVISOR)],
        response_class=StreamingResponse,
        responses=responses(400, 401, 403, 500, 503)
        | {200: _file(_GZIP, "JSON lines, gzip: dienstenintegrator/dossier/v1, for `integrator-audit cosign`")},
        summary="Get all lists of some days and whatever is unlisted, to rebuild and cosign them",
    )
    def read_dossier(
        query: Annotated[DaysQuery, Query()],
        who: Annotated[Authority, Depends(supervisor)],  # noqa: ARG001  the check itself
    ) -> StreamingResponse:
        return StreamingResponse(histories.dossier(query.range()), media_type=_GZIP)

    return api


def _file(media_type: str, description: str) -> dict[str, Any]:
    schema = {"type": "object"} if media_type == _JSON else {"type": "string", "format": "binary"}
    return {"description": description, "content": {media_type: {"schema": schema}}}
