"""Puts the HTTP interface together: the API under `/v1`, the schema registry and the ledger's files at the root.

- The API is mounted, not prefixed: nothing of it answers without `/v1`, and its document is at `/v1/openapi.json`.
- FastAPI's own telemetry stays off: it exports paths and queries.
- The document follows the NL API Design Rules; the committed copy is `schemas/openapi/integrator-v1.json`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Literal

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from pydantic.alias_generators import to_camel
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from integrator.http import directory, problems, registry, status, streams, subscriptions
from integrator.http.headers import Crashes, Headers
from integrator.http.identity import Identities
from integrator.http.ports import Directories, Refusals, Watch, Writer

VERSION: Final = "1.0.0"
"""Version of the API, after semantic versioning; not that of the software."""
MAX_BODY: Final = 256 * 1024
"""Bytes, for everybody."""
MAX_STATEMENT: Final = 32 * 1024 * 1024
"""Bytes of an operator's statement: a million people to inscribe fit in."""
CONTACT: Final = {
    "name": "The operator of this installation",
    "url": "https://integrator.example/contact",
    "email": "operator@integrator.example",
}
"""Put into the document by hand: given to FastAPI, it would want a validator of addresses for it."""
SILENT: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False}

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the interface stands on. `v1` and `root` are what other rooms serve: disclosures, the ledger's files."""

    directories: Directories
    writer: Writer
    identities: Identities
    refusals: Refusals
    watch: Watch
    profile: Literal["development", "production"]
    installation: str
    v1: Sequence[APIRouter] = ()
    root: Sequence[BaseRoute] = ()


class _Application(FastAPI):
    """A FastAPI whose outermost layer is ours, outside everything that the framework adds."""

    def build_middleware_stack(self) -> ASGIApp:
        return Headers(
            super().build_middleware_stack(),
            version=VERSION,
            limits=[("/v1/directory/", MAX_STATEMENT), ("", MAX_BODY)],
        )


def create_app(ports: Ports, *, lifespan: Lifespan | None = None) -> FastAPI:
    """Return the whole interface. `lifespan` opens and closes what the ports stand on."""
    root = _Application(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=SILENT,
        lifespan=lifespan,
        middleware=[Middleware(Crashes)],
    )
    problems.install(root)
    _speak_registry(root)
    root.router.routes.extend(registry.routes(ports.directories))
    root.router.routes.extend(ports.root)
    root.mount("/v1", create_api(ports))
    return root


def create_api(ports: Ports) -> FastAPI:
    """Return the API that is mounted at `/v1`."""
    api = FastAPI(
        title="Dienstenintegrator",
        summary="Subscriptions, directory and disclosures of a services integrator",
        description="Sources publish a change once; agencies receive what a law lets them have; citizens can check it.",
        version=VERSION,
        license_info={"name": "EUPL-1.2", "identifier": "EUPL-1.2"},
        servers=[{"url": "https://integrator.example/v1", "description": "An installation"}],
        root_path_in_servers=False,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=SILENT,
        separate_input_output_schemas=False,
        generate_unique_id_function=_operation_id,
        middleware=[Middleware(Crashes)],
    )
    problems.install(api)
    api.include_router(subscriptions.router(ports.directories, ports.identities, ports.refusals))
    api.include_router(streams.router(ports.directories))
    api.include_router(directory.router(ports.directories, ports.writer, ports.identities, ports.refusals))
    api.include_router(
        status.router(
            ports.directories,
            ports.identities,
            ports.watch,
            profile=ports.profile,
            installation=ports.installation,
        )
    )
    for router in ports.v1:
        api.include_router(router)

    async def openapi(_: Request) -> Response:
        return JSONResponse(document(api), headers={"Access-Control-Allow-Origin": "*"})

    api.add_route("/openapi.json", openapi, include_in_schema=False)
    return api


def document(api: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of `api`: the version header on every answer, problems as `problem+json`."""
    if api.openapi_schema is None:
        made = api.openapi()
        made["info"]["contact"] = CONTACT
        version = {"description": "Full version of the API", "required": True, "schema": {"type": "string"}}
        made["components"].setdefault("headers", {})["ApiVersion"] = version
        for operation in (operation for path in made["paths"].values() for operation in path.values()):
            for code, response in operation["responses"].items():
                response.setdefault("headers", {})["Api-Version"] = {"$ref": "#/components/headers/ApiVersion"}
                if code == "default" or code >= "400":
                    response["content"] = {problems.MEDIA_TYPE: response["content"]["application/json"]}
        api.openapi_schema = made
    assert api.openapi_schema is not None  # noqa: S101  set above
    return api.openapi_schema


def _operation_id(route: APIRoute) -> str:
    return to_camel(route.name)


def _speak_registry(root: FastAPI) -> None:
    """Make unknown paths and methods of the registry answer in its own shape."""
    as_problem = root.exception_handlers[HTTPException]

    async def refused(request: Request, raised: Exception) -> Response:
        if isinstance(raised, HTTPException) and registry.speaks_for(request.url.path):
            code = raised.status_code
            answer = registry.error(code, 404 if code == 404 else code, f"HTTP {code} {raised.detail}")
            if code == 405:
                answer.headers["Allow"] = problems.allowed(root, request)
            return answer
        answer = as_problem(request, raised)
        return await answer if not isinstance(answer, Response) else answer

    root.add_exception_handler(HTTPException, refused)
