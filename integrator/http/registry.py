"""Serves schemas to any Avro client in the shapes of Confluent's Schema Registry: the reading half, at the root.

- Schemas come from the directory: contracts are applied, so registering a new one is refused, in the registry's shape.
  Registering what is registered already answers its id, as the original does: default clients do so before they write.
- `/associations/…` is exactly 404: Confluent's newest clients ask there first, and any other refusal stops them.
- Queries that are not known are ignored, and come as `False`, `false` or `-1`.

LIMIT: no schema has a `guid` (record headers are not used to name schemas), and nothing answers below `/compatibility`.

Source of paths, members and error numbers: Confluent Schema Registry API reference, and what five clients were seen
to ask.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from integrator.domain import topics
from integrator.domain.directory import Knowledge, RegisteredSchema
from integrator.domain.errors import IntegratorError
from integrator.http.ports import Directories

MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"
_PATHS: Final = ("/schemas", "/subjects", "/config", "/mode", "/contexts", "/associations", "/compatibility")
_APPLIED: Final = (
    "Contracts are applied to the directory (`integrator apply -f`); their schemas cannot be registered here."
)
_WHOLE_NUMBER_DIGITS: Final = 9


class RegistryError(Exception):
    """An answer of the registry that is no success: a status and Confluent's own number."""

    def __init__(self, status: int, number: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.number = number
        self.message = message


def speaks_for(path: str) -> bool:
    """Tell whether errors of this path must have the registry's shape."""
    return any(path == known or path.startswith(known + "/") for known in _PATHS)


def answer(content: object, status: int = 200) -> Response:
    """Return JSON under the registry's media type."""
    return Response(json.dumps(content, separators=(",", ":")), status, media_type=MEDIA_TYPE)


def error(status: int, number: int, message: str) -> Response:
    """Return an error in the registry's shape."""
    return answer({"error_code": number, "message": message}, status)


def routes(directories: Directories) -> list[Route]:
    """Return the routes of the registry, for the root."""
    handlers: tuple[tuple[str, str, Callable[[Knowledge, Request], Awaitable[object]]], ...] = (
        ("GET", "/schemas/types", _types),
        ("GET", "/schemas/ids/{id}", _by_id),
        ("GET", "/schemas/ids/{id}/schema", _text_by_id),
        ("GET", "/schemas/ids/{id}/subjects", _subjects_by_id),
        ("GET", "/schemas/ids/{id}/versions", _versions_by_id),
        ("GET", "/subjects", _subjects),
        ("GET", "/subjects/{subject}/versions", _versions),
        ("POST", "/subjects/{subject}/versions", _register),
        ("GET", "/subjects/{subject}/versions/{version}", _version),
        ("GET", "/subjects/{subject}/versions/{version}/schema", _version_text),
        ("POST", "/subjects/{subject}", _look_up),
        ("GET", "/config", _config),
        ("GET", "/config/{subject}", _subject_config),
        ("PUT", "/config", _refuse),
        ("PUT", "/config/{subject}", _refuse),
        ("DELETE", "/subjects/{subject}", _refuse),
        ("DELETE", "/subjects/{subject}/versions/{version}", _refuse),
        ("GET", "/mode", _mode),
        ("GET", "/mode/{subject}", _mode),
        ("PUT", "/mode", _refuse),
        ("GET", "/contexts", _contexts),
    )
    return [Route(path, _endpoint(directories, handle), methods=[method]) for method, path, handle in handlers]


def _endpoint(
    directories: Directories, handle: Callable[[Knowledge, Request], Awaitable[object]]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            with directories.read() as view:
                knowledge = view.knowledge
            return answer(await handle(knowledge, request))
        except RegistryError as refused:
            return error(refused.status, refused.number, refused.message)
        except IntegratorError as known:
            return error(503, 50302, known.message)

    return endpoint


async def _types(_: Knowledge, __: Request) -> object:
    return ["AVRO"]


async def _contexts(_: Knowledge, __: Request) -> object:
    return ["."]


async def _mode(_: Knowledge, __: Request) -> object:
    return {"mode": "READONLY"}


async def _refuse(_: Knowledge, __: Request) -> object:
    raise RegistryError(403, 40301, _APPLIED)


async def _by_id(knowledge: Knowledge, request: Request) -> object:
    found: dict[str, object] = {"schema": _schema(knowledge, request).text}
    if request.query_params.get("fetchMaxId", "").lower() == "true":
        found["maxId"] = max(knowledge.schemas, default=0)
    if request.query_params.get("includeSubjects", "").lower() == "true":
        found["subjects"] = [_schema(knowledge, request).subject]
    return found


async def _text_by_id(knowledge: Knowledge, request: Request) -> object:
    return json.loads(_schema(knowledge, request).text)


async def _subjects_by_id(knowledge: Knowledge, request: Request) -> object:
    return [_schema(knowledge, request).subject]


async def _versions_by_id(knowledge: Knowledge, request: Request) -> object:
    schema = _schema(knowledge, request)
    return [{"subject": schema.subject, "version": schema.version}]


async def _subjects(knowledge: Knowledge, _: Request) -> object:
    return sorted({schema.subject for schema in knowledge.schemas.values()})


async def _versions(knowledge: Knowledge, request: Request) -> object:
    return [schema.version for schema in _of_subject(knowledge, request)]


async def _version(knowledge: Knowledge, request: Request) -> object:
    return _described(_one_version(knowledge, request))


async def _version_text(knowledge: Knowledge, request: Request) -> object:
    return json.loads(_one_version(knowledge, request).text)


async def _look_up(knowledge: Knowledge, request: Request) -> object:
    wanted = await _posted(request)
    for schema in _of_subject(knowledge, request):
        if json.loads(schema.text) == wanted:
            return _described(schema)
    raise RegistryError(404, 40403, "Schema not found")


async def _register(knowledge: Knowledge, request: Request) -> object:
    wanted = await _posted(request)
    subject = request.path_params["subject"]
    for schema in knowledge.schemas.values():
        if schema.subject == subject and json.loads(schema.text) == wanted:
            return {"id": schema.id}
    raise RegistryError(403, 40301, _APPLIED)


async def _config(_: Knowledge, __: Request) -> object:
    return {"compatibilityLevel": "FULL_TRANSITIVE"}


async def _subject_config(knowledge: Knowledge, request: Request) -> object:
    subject = request.path_params["subject"]
    for contract in knowledge.contracts.values():
        source, _, stream = contract.stream.partition("/")
        if subject == f"{topics.source_topic(source, stream)}-value":
            return {"compatibilityLevel": contract.compatibility}
    known = any(schema.subject == subject for schema in knowledge.schemas.values())
    if known or request.query_params.get("defaultToGlobal", "").lower() == "true":
        return {"compatibilityLevel": "FULL_TRANSITIVE"}
    raise RegistryError(404, 40408, f"Subject '{_shown(subject)}' does not have subject-level compatibility configured")


def _described(schema: RegisteredSchema) -> dict[str, object]:
    return {"subject": schema.subject, "version": schema.version, "id": schema.id, "schema": schema.text}


def _schema(knowledge: Knowledge, request: Request) -> RegisteredSchema:
    found = knowledge.schemas.get(_number(request.path_params["id"]))
    if found is None:
        raise RegistryError(404, 40403, "Schema not found")
    return found


def _of_subject(knowledge: Knowledge, request: Request) -> list[RegisteredSchema]:
    subject = request.path_params["subject"]
    found = [schema for schema in knowledge.schemas.values() if schema.subject == subject]
    if not found:
        raise RegistryError(404, 40401, f"Subject '{_shown(subject)}' not found.")
    return sorted(found, key=lambda schema: schema.version)


def _one_version(knowledge: Knowledge, request: Request) -> RegisteredSchema:
    found = _of_subject(knowledge, request)
    wanted = request.path_params["version"]
    if wanted in ("latest", "-1"):
        return found[-1]
    number = _number(wanted)
    if number < 1:
        raise RegistryError(
            422, 42202, 'The specified version is not a valid version id: use a number from 1, or "latest".'
        )
    for schema in found:
        if schema.version == number:
            return schema
    raise RegistryError(404, 40402, f"Version {number} not found.")


def _number(text: str) -> int:
    short = len(text) <= _WHOLE_NUMBER_DIGITS
    return int(text) if short and text.isascii() and text.isdigit() else -1


def _shown(subject: str) -> str:
    # What a caller typed goes back only when it looks like a subject: an answer must not carry anything else.
    plain = len(subject) <= 255 and all(part.isalnum() or part in "._-" for part in subject)
    return subject if plain else "…"


async def _posted(request: Request) -> object:
    try:
        body: Any = json.loads(await request.body())
        members = cast("dict[str, Any]", body)
        if members.get("schemaType", "AVRO") != "AVRO":
            raise RegistryError(422, 42201, "Only Avro schemas are kept here.")
        return json.loads(members["schema"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise RegistryError(422, 42201, 'Send {"schema": "…"} with an Avro schema as JSON text.') from None
