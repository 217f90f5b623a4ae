"""Serves the ledger's logs by the C2SP paths, and the keys to check them with, to anybody.

- `/ledger/<log>/checkpoint` and `/ledger/<log>/tile/…` below the integrator's address; `<log>` as in `s0-2026h2`, and
  `epochs` for the days.
- `/ledger/<log>/vkey` is a log's verification key, `/ledger/labels/<half-year>.json` the public key of people's labels
  with its certificate, `/ledger/keys` all of them. They are here for convenience: whoever checks the operator takes
  keys from somebody else.
- What a checkpoint does not imply is 404: a width that was never published, a leading zero, an index beyond the end.
- Nothing here is about a person: the leaves are commitments.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from integrator.domain.errors import Refused
from integrator.http.problems import problem_of
from integrator.recording.failures import translated
from integrator.recording.readers import Readers

# LIMIT: bundles are not compressed on request; 33 of their 35 bytes an entry are random and would not get smaller.

_OPEN: Final = {"Access-Control-Allow-Origin": "*"}
"""Anybody may verify, also a page of another origin."""


def routes(readers: Readers, *, witnessed: bool = False) -> list[BaseRoute]:
    """Return the routes, to be put at the root of the interface.

    With `witnessed` each log ends at the last checkpoint that a quorum of witnesses has cosigned.
    """

    def resource(params: dict[str, Any]) -> Response | None:
        return _resource(readers, str(params["log"]), str(params["path"]), witnessed=witnessed)

    def keys(_: dict[str, Any]) -> Response:
        return JSONResponse({"logs": readers.vkeys(), "labels": readers.label_keys()}, headers=_OPEN)

    def label_key(params: dict[str, Any]) -> Response | None:
        found = readers.label_keys().get(str(params["half"]))
        return None if found is None else JSONResponse(found, headers=_OPEN)

    return [
        Route("/ledger/keys", _answer(keys), include_in_schema=False),
        Route("/ledger/labels/{half}.json", _answer(label_key), include_in_schema=False),
        Route("/ledger/{log}/{path:path}", _answer(resource), include_in_schema=False),
    ]


def _answer(find: Callable[[dict[str, Any]], Response | None]) -> Callable[[Request], Awaitable[Response]]:
    async def read(request: Request) -> Response:
        # In a thread, because SQLite blocks. The pattern of a route lets a newline at the end pass, and drops it.
        is_named = "\n" not in request.scope["path"]
        found = await run_in_threadpool(find, request.path_params) if is_named else None
        return found if found is not None else problem_of(Refused("not-found", "The log has no such file."))

    return read


def _resource(readers: Readers, log: str, path: str, *, witnessed: bool) -> Response | None:
    if log not in readers:
        return None
    with translated():
        reader = readers.reader(log)
        if path == "vkey":
            return Response(reader.vkey + "\n", media_type="text/plain", headers=_OPEN)
        found = reader.resource(path, published=witnessed)
    if found is None:
        return None
    headers = {"Content-Type": found.content_type, "Cache-Control": found.cache_control}
    return Response(found.content, headers=headers | _OPEN)
