"""The interface is served on a socket that was bound before, and stops when told, leaving signals alone."""

from __future__ import annotations

import asyncio
import signal
import socket

import httpx2

from integrator.http.app import create_app
from integrator.http.server import serve
from tests.unit.http.http_samples import World


async def test_requests_are_answered_until_the_word_to_stop() -> None:
    before = signal.getsignal(signal.SIGTERM)
    stop = asyncio.Event()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        serving = asyncio.create_task(serve(create_app(World().ports()), listener, stop))
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            answer = await client.get("/v1/streams/demo/grant")
        assert answer.status_code == 200
        assert "server" not in answer.headers
        assert signal.getsignal(signal.SIGTERM) is before
        stop.set()
        await asyncio.wait_for(serving, 20)
