"""Talks to an integrator's HTTP interface and turns every failure into one of the five families of errors."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, BinaryIO, Final, cast

import httpx2

from integrator.domain.errors import Busy, IntegratorError, Invalid, Refused, Unavailable
from integrator.encoding import parse_schema

_SECONDS: Final = 20.0


class Api:
    """One integrator's HTTP interface, at `url` (without a trailing slash), with or without a token."""

    def __init__(self, url: str, token: str | None = None) -> None:
        headers = {"Accept": "application/json, application/problem+json"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self.url = url.rstrip("/")
        # Proxies of the environment are for the internet; `trust_env` would also send loopback through them.
        self._client = httpx2.AsyncClient(base_url=self.url, headers=headers, timeout=_SECONDS, trust_env=False)
        self._schemas: dict[int, dict[str, Any]] = {}

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get(self, path: str) -> Any:
        """Return the JSON at `path`. Raises what the interface says, or `Unavailable` (`api-unreachable`)."""
        return await self._ask("GET", path)

    async def read(self, path: str) -> bytes:
        """Return what is at `path` as it came. Raises as `get` does."""
        return (await self._send("GET", path)).content

    async def save(self, path: str, file: BinaryIO) -> None:
        """Write what is at `path` to a file, as it comes. Raises as `get` does; the file then has a part of it."""
        try:
            async with self._client.stream("GET", path) as answer:
                if not answer.is_success:
                    await answer.aread()
                    raise error_of(answer)
                async for part in answer.aiter_bytes():
                    file.write(part)
        except httpx2.HTTPError as error:
            raise self._unreachable() from error

    async def post(self, path: str, body: object) -> Any:
        """Send JSON to `path` and return the answer. Raises as `get` does."""
        return await self._ask("POST", path, json.dumps(body).encode())

    async def schema(self, identifier: int) -> dict[str, Any]:
        """Return the parsed Avro schema with this id; asked for once."""
        if (known := self._schemas.get(identifier)) is None:
            answer = await self.get(f"/schemas/ids/{identifier}")
            known = self._schemas[identifier] = parse_schema(str(answer["schema"]))
        return known

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        return _members(await self._send(method, path, body))

    async def _send(self, method: str, path: str, body: bytes | None = None) -> httpx2.Response:
        headers = {"Content-Type": "application/json"} if body is not None else None
        try:
            answer = await self._client.request(method, path, content=body, headers=headers)
        except (httpx2.HTTPError, OSError) as error:
            raise self._unreachable() from error
        if answer.is_success:
            return answer
        raise error_of(answer)

    def _unreachable(self) -> Unavailable:
        message = f"The integrator at {self.url} does not answer: is it running, is the address right?"
        return Unavailable("api-unreachable", message)


def _members(answer: httpx2.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise Unavailable("api-unreadable", "The integrator's answer is no JSON: is this its address?") from None


def error_of(answer: httpx2.Response) -> IntegratorError:
    """Return the error that an answer stands for: a problem's code and detail, or the registry's message."""
    try:
        members = cast("dict[str, Any]", answer.json())
        code = str(members.get("code") or f"registry-{members['error_code']}")
        message = str(members.get("detail") or members["message"])
        issues = cast("list[dict[str, Any]]", members.get("issues") or [])
    except (ValueError, KeyError, TypeError, AttributeError):
        return Unavailable("api-unreadable", f"Something answered {answer.status_code} that is no integrator.")
    if issues:
        message += " " + "; ".join(f"{issue['name'] or issue['in']}: {issue['detail']}" for issue in issues)
    match answer.status_code:
        case 429:
            return Busy(code, message, retry_after=_seconds(answer))
        case 503 if "retry-after" in answer.headers:
            return Busy(code, message, retry_after=_seconds(answer))
        case 400 | 413 | 422:
            return Invalid(code, message, where=str(members.get("where") or ""))
        case status if status < 500:
            return Refused(code, message)
        case _:
            return Unavailable(code, message)


def _seconds(answer: httpx2.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 1.0
