"""Lets an operator state what must stand in the directory: first as a plan, then for good; a refusal is on record.

Nothing of a refused statement is applied. A statement with the wrong form is the operator's mistake and is only
answered; one that a rule refuses, such as a permission without a law in force, is entered in the institution log too.
"""

# No postponed annotations here: FastAPI must see the dependencies that are made inside `router`.

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Security
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from integrator.directory.documents import Rejected, from_wire
from integrator.directory.plan import Action, Change
from integrator.domain.authorisation import Authorisation
from integrator.domain.documents import Document
from integrator.http.identity import Identities, Operator, require_operator
from integrator.http.ports import Directories, Refusals, Writer
from integrator.http.problems import Issue, problem, responses
from integrator.kafka.refusals import Refusal

_SCHEME: Final = HTTPBearer(auto_error=False, description="The operator's token")
_COPY_SECONDS: Final = 10.0
_MOST: Final = 10_000
_WRONG_IN_ITSELF: Final = frozenset({"form", "kind-unknown", "subject-invalid"})


class Statement(Document):
    """Documents as they are stated; the directory checks each and answers with everything that is wrong."""

    documents: Annotated[
        list[dict[str, Any]],
        Field(min_length=1, max_length=_MOST, description="`{kind, origin: {file, document, line}, body}` each"),
    ]


class AgreedStatement(Statement):
    """Documents to be stated for good, if what stands is still what the plan looked at."""

    based_on: Annotated[
        int | SkipJsonSchema[None], Field(ge=0, description="`basedOn` of the plan that somebody agreed to")
    ] = None


class PlannedChange(Document):
    """One difference between what is stated and what stands. Nobody is named."""

    action: Action
    kind: str
    id: str
    version: int
    note: Annotated[str, Field(description="for people")]
    count: Annotated[int, Field(ge=0, description="how many people it is about, or 1")]


class PlanProblem(Document):
    """What keeps a statement from standing."""

    code: str
    message: str
    place: Annotated[str, Field(description="file, line and path")]


class DirectoryPlan(Document):
    """What an apply would do to the directory as it stands; with problems it would do nothing."""

    based_on: Annotated[int, Field(ge=0, description="version of the knowledge that this was compared with")]
    changes: list[PlannedChange]
    problems: list[PlanProblem]


class DirectoryChanges(Document):
    """What was done. A copy of the directory at or past `position` holds all of it."""

    position: Annotated[int, Field(ge=0)]
    changes: list[PlannedChange]


def router(directories: Directories, writer: Writer, identities: Identities, refusals: Refusals) -> APIRouter:
    """Return the routes of the directory."""
    routes = APIRouter(tags=["Directory"], dependencies=[Security(_SCHEME)])
    answers = responses(400, 401, 403, 409, 413, 503)

    def operator(request: Request) -> Operator:
        return require_operator(request, identities)

    @routes.post(
        "/directory/plan",
        responses=answers,
        response_model=DirectoryPlan,
        dependencies=[Depends(operator)],
        summary="See what stating these documents would change",
    )
    async def plan_directory(statement: Statement) -> DirectoryPlan | Response:
        try:
            found = await writer.plan(from_wire(statement.documents))
        except Rejected as wrong:
            return _no(wrong)
        problems = [PlanProblem(code=each.code, message=each.message, place=each.place) for each in found.problems]
        return DirectoryPlan(based_on=found.based_on, changes=_changes(found.changes), problems=problems)

    @routes.post(
        "/directory/apply",
        responses=answers,
        response_model=DirectoryChanges,
        summary="State documents for good",
    )
    async def apply_directory(
        statement: AgreedStatement, who: Annotated[Operator, Depends(operator)]
    ) -> DirectoryChanges | Response:
        try:
            documents = from_wire(statement.documents)
        except Rejected as wrong:
            return _no(wrong)
        try:
            applied = await writer.apply(documents, based_on=statement.based_on)
        except Rejected as refused:
            await refusals.record(_refusal(refused, who))
            return _no(refused)
        # Whoever asks this interface next finds what was applied; a copy that is late does not undo it.
        with suppress(TimeoutError):
            async with asyncio.timeout(_COPY_SECONDS):
                await directories.wait_for(applied.position)
        return DirectoryChanges(position=applied.position, changes=_changes(applied.changes))

    return routes


def _changes(changes: Sequence[Change]) -> list[PlannedChange]:
    return [PlannedChange(**asdict(change)) for change in changes]


def _no(refused: Rejected) -> Response:
    issues = [
        Issue(within="body", name=found.place, type=found.code, detail=found.message) for found in refused.problems
    ]
    # A document that is wrong in itself is a wrong request; one that the directory or the law contradicts conflicts.
    status = 400 if refused.code in _WRONG_IN_ITSELF else 409
    return problem(status, refused.code, refused.message, issues=issues)


def _refusal(refused: Rejected, who: Operator) -> Refusal:
    """Return the refusal, with the authorisation that it is about where there is one.

    It is on record for ever, so it has the place in the document and not the file, which is the operator's own affair.
    """
    first = refused.first
    detail = f"{first.path}: {first.message}" if first.path else first.message
    if not isinstance(about := first.document, Authorisation):
        return Refusal(request="apply", reason=refused.code, detail=detail, principal=who.name)
    return Refusal(
        request="apply",
        reason=refused.code,
        detail=detail,
        principal=who.name,
        agency=about.agency,
        purpose=about.purpose,
        stream=about.stream,
        authorisation=about.id,
        version=about.version,
    )
