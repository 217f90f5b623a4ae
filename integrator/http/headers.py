"""The outermost layer: every answer carries its version and security headers, a crash included, and no body is endless.

- HEAD is answered wherever GET is, by the same code without the body.
- What goes wrong inside is answered as a problem with an incident number and logged by type and place; the exception's
  text stays out, because it may quote a record.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from integrator import telemetry
from integrator.http.problems import problem

SECURITY: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
)
"""Sent unless the answer has a value of its own."""

_log = telemetry.log("http")


class Headers:
    """Wrap a whole application. `limits` are the largest bodies in bytes by prefix of the path; the first counts."""

    def __init__(self, app: ASGIApp, *, version: str, limits: Sequence[tuple[str, int]]) -> None:
        self._app = app
        self._version = (b"api-version", version.encode())
        self._limits = tuple(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head = scope["method"] == "HEAD"

        async def out(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._complete(scope, list(message["headers"]))}
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        given = 0

        async def within_limit() -> Message:
            nonlocal given
            message = await receive()
            given += len(message.get("body", b""))
            if given > limit:
                raise HTTPException(413)  # inside the application, whose handlers give it its shape
            return message

        inner = {**scope, "method": "GET"} if head else scope
        limit = next(size for prefix, size in self._limits if scope["path"].startswith(prefix))
        if _declared_length(scope) > limit:
            # Starlette would answer in text/plain, past every handler.
            answer = problem(413, "too-large", f"A body may have at most {limit} bytes.")
            await answer(inner, receive, out)
            return
        await self._app(inner, within_limit, out)

    def _complete(self, scope: Scope, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        present = {name.lower() for name, _ in headers}
        headers += [pair for pair in SECURITY if pair[0] not in present]
        if scope["path"].startswith("/v1/"):
            headers.append(self._version)
        return headers


class Crashes:
    """Answer what goes wrong inside as a problem, before the framework and the server print its text."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def out(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, out)
        except Exception as error:
            # Every exception: this is the last wall. An answer that has begun cannot be taken back; the connection
            # ends short and the client sees that.
            incident = secrets.token_hex(8)
            _log.error("request-failed", incident=incident, error=telemetry.place_of(error))
            if not begun:
                detail = f"Something went wrong inside. Tell the operator this number: {incident}."
                await problem(500, "internal", detail)(scope, receive, send)


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
