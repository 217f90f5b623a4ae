"""Tells an operator how the installation is: position of the directory, newest checkpoints, lag of each stream."""

# No postponed annotations here: FastAPI must see the dependencies that are made inside `router`.

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Security
from fastapi.security import HTTPBearer
from pydantic import Field

from integrator.domain.documents import Document
from integrator.http.identity import Identities, Operator, require_operator
from integrator.http.ports import Directories, LedgerCare, Watch
from integrator.http.problems import responses


class DirectoryStatus(Document):
    """How far this machine's copy of the directory is."""

    position: Annotated[int, Field(ge=0, description="offset of the next record to apply")]
    knowledge_version: int
    days: Annotated[dict[str, str], Field(description="the legal day by time zone, ISO 8601")]
    streams: Annotated[int, Field(ge=0)]
    authorisations: Annotated[int, Field(ge=0, description="authorisations that are in force")]


class LogStatus(Document):
    """The newest checkpoint of one log."""

    origin: str
    size: Annotated[int, Field(ge=0)]
    root: Annotated[str, Field(description="base64, as in the checkpoint")]


class CareStatus(Document):
    """How the ledger is kept."""

    witnessed: Annotated[
        bool, Field(description="whether witnesses cosign what is published; else it is published at once")
    ]
    sealed: Annotated[str, Field(description="the newest sealed day, ISO 8601; empty before the first")]
    waiting: Annotated[int, Field(ge=0, description="days that are over and not sealed")]
    problem: Annotated[str, Field(description="code of what they wait for; empty when nothing is wrong")]
    set_aside: Annotated[int, Field(ge=0, description="records that could not become entries")]


class LagStatus(Document):
    """What waits in one stream."""

    stream: str
    records: Annotated[int, Field(ge=0, description="records that no lane has decided about yet")]


class Status(Document):
    """How an installation is."""

    profile: Literal["development", "production"]
    installation: str
    directory: DirectoryStatus
    ledger: list[LogStatus]
    care: CareStatus
    lag: list[LagStatus]


def router(
    directories: Directories,
    identities: Identities,
    watch: Watch,
    *,
    profile: Literal["development", "production"],
    installation: str,
) -> APIRouter:
    """Return the routes of the status."""
    routes = APIRouter(tags=["Status"], dependencies=[Security(HTTPBearer(auto_error=False))])

    def operator(request: Request) -> Operator:
        return require_operator(request, identities)

    @routes.get("/status", responses=responses(401, 403, 503), summary="Read how the installation is")
    async def read_status(who: Annotated[Operator, Depends(operator)]) -> Status:  # noqa: ARG001  the check itself
        with directories.read() as view:
            position, knowledge = view.position, view.knowledge
        active = sum(standing.active for each in knowledge.standing.values() for standing in each)
        return Status(
            profile=profile,
            installation=installation,
            directory=DirectoryStatus(
                position=position,
                knowledge_version=knowledge.version,
                days={zone: day.isoformat() for zone, day in sorted(knowledge.dates.items())},
                streams=len(knowledge.contracts),
                authorisations=active,
            ),
            ledger=[LogStatus(origin=head.origin, size=head.size, root=head.root) for head in await watch.heads()],
            care=_care(await watch.care()),
            lag=[LagStatus(stream=each.stream, records=each.records) for each in await watch.lag()],
        )

    return routes


def _care(care: LedgerCare) -> CareStatus:
    return CareStatus(
        witnessed=care.witnessed,
        sealed=care.sealed,
        waiting=care.waiting,
        problem=care.problem,
        set_aside=care.set_aside,
    )
