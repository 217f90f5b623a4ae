"""Says no in one shape: `application/problem+json` (RFC 9457) with a stable code, never an echo of what was sent.

- Each of the five families of errors has a status; a few codes have their own.
- A wrong request is 400 and never 422, with all its issues at once. Pydantic's own report holds the caller's input and
  is never serialised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema
from starlette.exceptions import HTTPException
from starlette.routing import Match

from integrator.domain.errors import Busy, IntegratorError, Invalid, Refused, Unavailable
from integrator.recording.failures import told
from integrator_audit import AuditError

MEDIA_TYPE = "application/problem+json"
TYPE = "urn:problem-type:dienstenintegrator:"

_STATUS_BY_CODE: Final[dict[str, int]] = {
    "not-authenticated": 401,
    "not-found": 404,
    "unknown-stream": 404,
    "no-legal-basis": 409,
    "stale": 409,
    "conflict": 409,
    "quota-spent": 429,
}


class Issue(BaseModel):
    """One thing that is wrong with a request; the value itself is left out."""

    model_config = ConfigDict(populate_by_name=True)

    within: Annotated[str, Field(serialization_alias="in", description="body, query, path or header")]
    name: Annotated[str, Field(description="where it stands, dotted")]
    type: Annotated[str, Field(description="which rule it breaks")]
    detail: str


class Problem(BaseModel):
    """Why a request was not done, after RFC 9457."""

    type: Annotated[str, Field(description="URN that ends in the code")]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    code: Annotated[str, Field(description="stable kebab-case code", pattern="^[a-z0-9-]+$")]
    where: Annotated[
        str | SkipJsonSchema[None], Field(description="the place in a document that the problem is about")
    ] = None
    issues: Annotated[
        list[Issue] | SkipJsonSchema[None], Field(description="everything that is wrong with the request")
    ] = None


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the problems that a route answers with; `default` keeps FastAPI from documenting 422."""
    every: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses
    }
    return every | {"default": {"model": Problem, "description": "Any other problem"}}


def problem(  # noqa: PLR0913  one argument for each member of RFC 9457
    status: int,
    code: str,
    detail: str,
    *,
    where: str | None = None,
    issues: Sequence[Issue] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer that says no."""
    body = Problem(
        type=TYPE + code,
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        where=where,
        issues=None if issues is None else list(issues),
    )
    content = body.model_dump_json(by_alias=True, exclude_none=True)
    return Response(content, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def status_of(error: IntegratorError) -> int:
    """Return the status that an error of the five families has over HTTP."""
    if (known := _STATUS_BY_CODE.get(error.code)) is not None:
        return known
    match error:
        case Refused():
            return 403
        case Invalid():
            return 400
        case Busy() | Unavailable():
            return 503
        case _:
            return 500


def problem_of(error: IntegratorError) -> Response:
    """Return the answer for an error of the five families."""
    headers: dict[str, str] = {}
    if isinstance(error, Busy):
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    if status_of(error) == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="integrator"'
    where = error.where or None if isinstance(error, Invalid) else None
    return problem(status_of(error), error.code, error.message, where=where, headers=headers)


def allowed(app: FastAPI, request: Request) -> str:
    """Return the `Allow` of a path: the methods of every route that matches it, not only of the first."""
    found = [
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in app.routes)
    ]
    return ", ".join([*found, "HEAD"] if "GET" in found else found)


def install(app: FastAPI) -> None:
    """Make `app` answer every error as a problem."""

    async def known(_: Request, error: Exception) -> Response:
        (one,) = told(error)
        return problem_of(one)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  as above; Starlette's own covers unknown paths and 405
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = allowed(app, request)
        if error.status_code < 400:
            return Response(status_code=error.status_code, headers=headers)
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-").replace("'", "")
        detail = "There is nothing at this path." if error.status_code == 404 else HTTPStatus(error.status_code).phrase
        return problem(error.status_code, code, detail, headers=headers)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101  as above
        issues = [_issue(raw) for raw in error.errors()]
        return problem(400, "request-invalid", f"{len(issues)} member(s) of the request are wrong.", issues=issues)

    app.add_exception_handler(IntegratorError, known)
    app.add_exception_handler(AuditError, known)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, invalid)


def _issue(raw: Mapping[str, Any]) -> Issue:
    # The name of an unknown member is the caller's own text, and a number may stand where a name should: leave it out.
    # So are the messages of our own validators: only pydantic's fixed texts are passed on.
    unknown = raw["type"] == "extra_forbidden"
    place = [str(part) for part in raw["loc"][1:]]
    named = ".".join(place[:-1] if unknown else place)
    detail = "Not a member of this document." if unknown else _detail(raw)
    return Issue(within=str(raw["loc"][0]), name=named, type=str(raw["type"]), detail=detail)


def _detail(raw: Mapping[str, Any]) -> str:
    if raw["type"] == "json_invalid":
        return "The body is no JSON."
    return (
        str(raw["msg"]) if not raw.get("ctx", {}).get("error") else "The value does not keep the rule of this member."
    )
