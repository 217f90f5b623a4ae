"""Tells what a stream is: the public part of its contract that an owner needs to publish and anybody may read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from integrator.domain import topics
from integrator.domain.contract import PersonPath
from integrator.domain.documents import Document, Texts
from integrator.domain.errors import Refused
from integrator.domain.identifiers import NAME_PATTERN, Name, StreamName
from integrator.http.ports import Directories
from integrator.http.problems import responses


class FactName(Document):
    """What names the fact inside its subject: the field at `path`, or `constant`."""

    path: str | SkipJsonSchema[None] = None
    constant: str | SkipJsonSchema[None] = None


class Stream(Document):
    """A stream as its owner publishes it."""

    stream: StreamName
    version: Annotated[int, Field(ge=1, description="version of the contract")]
    title: Texts
    description: Texts
    owner: Name
    source_urn: Annotated[str, Field(description="CloudEvents source of its events")]
    event_type: str
    service: str
    topic: str
    subject: Annotated[str, Field(description="subject of the topic's values in the schema registry")]
    schema_id: Annotated[int, Field(ge=1, description="id of the schema to write with")]
    person: Annotated[PersonPath, Field(description="where the number of the person stands")]
    fact: FactName
    modelled: bool


_Segment = Annotated[str, Path(pattern=NAME_PATTERN, max_length=60)]


def router(directories: Directories) -> APIRouter:
    """Return the routes of streams."""
    routes = APIRouter(tags=["Streams"])

    @routes.get(
        "/streams/{source}/{name}",
        responses=responses(400, 404, 503),
        response_model_exclude_none=True,
        summary="Read what a stream is",
    )
    async def read_stream(source: _Segment, name: _Segment) -> Stream:
        with directories.read() as view:
            knowledge = view.knowledge
        contract = knowledge.contracts.get(f"{source}/{name}")
        owner = knowledge.sources.get(source)
        topic = topics.source_topic(source, name)
        schema = knowledge.latest_schema(f"{topic}-value")
        if contract is None or owner is None or schema is None:
            raise Refused("unknown-stream", "No contract of a stream of that name is applied here.")
        return Stream(
            stream=contract.stream,
            version=contract.version,
            title=contract.title,
            description=contract.description,
            owner=contract.owner,
            source_urn=owner.urn,
            event_type=contract.event_type,
            service=contract.service,
            topic=topic,
            subject=schema.subject,
            schema_id=schema.id,
            person=contract.roles.subject,
            fact=FactName(path=contract.roles.fact_id.path, constant=contract.roles.fact_id.constant),
            modelled=contract.modelled,
        )

    return routes
