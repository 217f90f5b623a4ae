"""Serves the ledger's logs by the C2SP paths: checkpoint, tiles and bundles, readable by anybody.

- `/ledger/<log>/checkpoint` and `/ledger/<log>/tile/…` below the integrator's address; `<log>` as in `s0-2026h2`.
- What a checkpoint does not imply is 404: a width that was never published, a leading zero, an index beyond the end.
- Nothing here is about a person: the leaves are commitments.
"""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from integrator.domain.errors import Refused
from integrator.http.problems import problem_of
from integrator.recording.failures import translated
from integrator.recording.readers import Readers

# LIMIT: bundles are not compressed on request; 33 of their 35 bytes an entry are random and would not get smaller.


def routes(readers: Readers) -> list[BaseRoute]:
    """Return the routes, to be put at the root of the interface."""

    async def read(request: Request) -> Response:
        log, path = str(request.path_params["log"]), str(request.path_params["path"])
        # In a thread, because SQLite blocks.
        found = await run_in_threadpool(_resource, readers, log, path)
        return found if found is not None else problem_of(Refused("not-found", "The log has no such file."))

    return [Route("/ledger/{log}/{path:path}", read, methods=["GET"], include_in_schema=False)]


def _resource(readers: Readers, log: str, path: str) -> Response | None:
    if log not in readers:
        return None
    with translated():
        found = readers.reader(log).resource(path)
    if found is None:
        return None
    headers = {"Content-Type": found.content_type, "Cache-Control": found.cache_control}
    # Anybody may verify, also a page of another origin.
    return Response(found.content, headers=headers | {"Access-Control-Allow-Origin": "*"})
