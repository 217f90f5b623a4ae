"""Lets an agency find what it may read: a topic, its groups and its schema; or says no, durably, before it answers.

A subscription changes nothing: the broker's rules stand already and are the second wall. What this adds is one answer
to "may I, for this purpose?", and an entry in the institution log for every no.
"""

# No postponed annotations here: FastAPI must see the dependencies that are made inside `router`.

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Security
from fastapi.security import HTTPBearer
from pydantic import Field

from integrator.domain import topics
from integrator.domain.directory import Knowledge, StandingAuthorisation
from integrator.domain.documents import Document
from integrator.domain.errors import Refused, Unavailable
from integrator.domain.identifiers import Name, StreamName, split_stream
from integrator.http.identity import AgencyFor, Identities, require_agency
from integrator.http.ports import Directories, Refusals
from integrator.http.problems import responses
from integrator.kafka.refusals import Refusal

_SCHEME = HTTPBearer(auto_error=False, description="The agency's token for one purpose")


class SubscriptionRequest(Document):
    """What an agency asks for."""

    stream: StreamName
    purpose: Name


class Subscription(Document):
    """Where an agency reads a stream for a purpose, and under which authorisation it is delivered."""

    stream: StreamName
    purpose: Name
    topic: Annotated[str, Field(description="the agency's own topic")]
    group_prefix: Annotated[str, Field(description="its consumer groups must begin with this")]
    subject: Annotated[str, Field(description="subject of the topic's values in the schema registry")]
    schema_id: Annotated[int, Field(ge=1, description="id of the schema that is written now")]
    authorisation: Name
    version: Annotated[int, Field(ge=1, description="version of the authorisation")]


def subscribe(knowledge: Knowledge, who: AgencyFor, wanted: SubscriptionRequest) -> Subscription:
    """Answer a request from one reading of the directory.

    Raises `Refused` (`not-authorised`, `not-active`), or `Unavailable` (`no-schema`) while the writer still makes one.
    """
    standing = _standing(knowledge, who, wanted)
    source, stream = split_stream(wanted.stream)
    topic = topics.agency_topic(who.agency, who.purpose, source, stream)
    schema = knowledge.latest_schema(f"{topic}-value")
    if schema is None:
        raise Unavailable("no-schema", f"The schema of {topic} is not registered yet: try again in a moment.")
    return Subscription(
        stream=wanted.stream,
        purpose=who.purpose,
        topic=topic,
        group_prefix=topics.agency_prefix(who.agency, who.purpose),
        subject=schema.subject,
        schema_id=schema.id,
        authorisation=standing.authorisation.id,
        version=standing.authorisation.version,
    )


def _standing(knowledge: Knowledge, who: AgencyFor, wanted: SubscriptionRequest) -> StandingAuthorisation:
    if wanted.purpose != who.purpose:
        raise Refused("not-authorised", "The token is for another purpose: each purpose has credentials of its own.")
    found = [
        standing
        for standing in knowledge.standing.get(wanted.stream, ())
        if standing.authorisation.agency == who.agency
        and standing.authorisation.purpose == who.purpose
        and "mutation" in standing.authorisation.modes
    ]
    if not found:
        raise Refused(
            "not-authorised",
            f"No authorisation lets {who.agency} receive {wanted.stream} for {who.purpose}: request one first.",
        )
    for standing in found:
        if standing.active:
            return standing
    states = ", ".join(f"{each.authorisation.id} is {each.authorisation.state}" for each in found)
    raise Refused(
        "not-active", f"The authorisation is not in force ({states}): see its state and its period in the directory."
    )


def router(directories: Directories, identities: Identities, refusals: Refusals) -> APIRouter:
    """Return the routes of subscriptions."""
    routes = APIRouter(tags=["Subscriptions"], dependencies=[Security(_SCHEME)])

    def agency(request: Request) -> AgencyFor:
        return require_agency(request, identities)

    @routes.post(
        "/subscriptions",
        status_code=201,
        responses=responses(400, 401, 403, 413, 503),
        summary="Ask where to read a stream for a purpose",
    )
    async def create_subscription(
        wanted: SubscriptionRequest, who: Annotated[AgencyFor, Depends(agency)]
    ) -> Subscription:
        with directories.read() as view:
            knowledge = view.knowledge
        try:
            return subscribe(knowledge, who, wanted)
        except Refused as refused:
            await refusals.record(
                Refusal(
                    request="subscribe",
                    reason=refused.code,
                    detail=refused.message,
                    principal=who.name,
                    agency=who.agency,
                    purpose=wanted.purpose,
                    stream=wanted.stream,
                )
            )
            raise

    return routes
