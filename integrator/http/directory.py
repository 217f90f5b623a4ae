"""Lets an operator state what must stand in the directory: first as a plan, then for good; a refusal is on record.

Nothing of a refused statement is applied. A statement with the wrong form is the operator's mistake and is only
answered; one that a rule refuses, such as a permission without a law in force, is entered in the institution log too.
"""

# No postponed annotations here: FastAPI must see the dependencies that are made inside `router`.

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Security
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from integrator.directory.documents import Rejected, from_wire
from integrator.domain.authorisation import Authorisation
from integrator.domain.documents import Document
from integrator.http.identity import Identities, Operator, require_operator
from integrator.http.ports import Planned, Refusals, Writer
from integrator.http.problems import Issue, problem, responses
from integrator.kafka.refusals import Refusal

_SCHEME: Final = HTTPBearer(auto_error=False, description="The operator's token")
_MOST: Final = 10_000
_WRONG_IN_ITSELF: Final = frozenset({"form", "kind-unknown", "subject-invalid"})


class Statement(Document):
    """Documents as they are stated; the directory checks each and answers with everything that is wrong."""

    documents: Annotated[
        list[dict[str, Any]],
        Field(min_length=1, max_length=_MOST, description="`{kind, origin: {file, document, line}, body}` each"),
    ]


class Change(Document):
    """One difference between what is stated and what stands."""

    action: str
    kind: str
    id: str
    version: int | SkipJsonSchema[None] = None
    summary: Annotated[str, Field(description="for people; names no person")]


class Plan(Document):
    """What an apply does, and the directory position at which it was looked at, or after which it stands."""

    position: Annotated[int, Field(ge=0)]
    changes: list[Change]


def router(writer: Writer, identities: Identities, refusals: Refusals) -> APIRouter:
    """Return the routes of the directory."""
    routes = APIRouter(tags=["Directory"], dependencies=[Security(_SCHEME)])
    answers = responses(400, 401, 403, 409, 413, 503)

    def operator(request: Request) -> Operator:
        return require_operator(request, identities)

    @routes.post(
        "/directory/plan",
        responses=answers,
        response_model=Plan,
        response_model_exclude_none=True,
        dependencies=[Depends(operator)],
        summary="See what stating these documents would change",
    )
    async def plan_directory(statement: Statement) -> Plan | Response:
        try:
            return _plan(await writer.plan(from_wire(statement.documents)))
        except Rejected as refused:
            return _no(refused)

    @routes.post(
        "/directory/apply",
        responses=answers,
        response_model=Plan,
        response_model_exclude_none=True,
        summary="State documents for good",
    )
    async def apply_directory(statement: Statement, who: Annotated[Operator, Depends(operator)]) -> Plan | Response:
        try:
            documents = from_wire(statement.documents)
        except Rejected as wrong:
            return _no(wrong)
        try:
            return _plan(await writer.apply(documents))
        except Rejected as refused:
            await refusals.record(_refusal(refused, who))
            return _no(refused)

    return routes


def _plan(planned: Planned) -> Plan:
    return Plan(
        position=planned.position,
        changes=[
            Change(action=each.action, kind=each.kind, id=each.id, version=each.version, summary=each.summary)
            for each in planned.changes
        ],
    )


def _no(refused: Rejected) -> Response:
    issues = [
        Issue(within="body", name=found.place, type=found.code, detail=found.message) for found in refused.problems
    ]
    # A document that is wrong in itself is a wrong request; one that the directory or the law contradicts conflicts.
    status = 400 if refused.code in _WRONG_IN_ITSELF else 409
    return problem(status, refused.code, refused.message, issues=issues)


def _refusal(refused: Rejected, who: Operator) -> Refusal:
    """Return the refusal, with the authorisation that it is about where there is one."""
    found = [problem.document for problem in refused.problems if problem.code == refused.code]
    about = next((document for document in found if isinstance(document, Authorisation)), None)
    if about is None:
        return Refusal(request="apply", reason=refused.code, detail=refused.message, principal=who.name)
    return Refusal(
        request="apply",
        reason=refused.code,
        detail=refused.message,
        principal=who.name,
        agency=about.agency,
        purpose=about.purpose,
        stream=about.stream,
        authorisation=about.id,
        version=about.version,
    )
