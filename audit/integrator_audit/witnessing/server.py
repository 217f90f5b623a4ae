"""A small witness over HTTP, with the standard library's server: bounded in connections, bytes and time.

- `POST /add-checkpoint` and `GET /<hex SHA-256 of origin>/checkpoint`, the submission and the monitoring prefix in one.
- It speaks plain HTTP: what faces the internet is a reverse proxy, which also brings TLS.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from integrator_audit.errors import AuditError
from integrator_audit.witnessing.addcheckpoint import MAX_TAKEN, Answer
from integrator_audit.witnessing.witness import TEXT_TYPE, Witness

MAX_CONNECTIONS = 64
TIMEOUT = 10.0
"""Seconds for a packet, and for an idle connection."""
REQUEST_TIMEOUT = 30.0
"""Seconds for one request, from the wait for it to the answer."""

_CHECKPOINT = re.compile(r"/([0-9a-f]{64})/checkpoint", re.ASCII)


class WitnessServer(ThreadingHTTPServer):
    """Serve one witness. A connection beyond `MAX_CONNECTIONS` is closed at once: its client tries again."""

    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], witness: Witness) -> None:
        """Listen on `address`; port 0 takes a free one, which `server_port` then says."""
        self.witness = witness
        self._places = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection when there is a place for it."""
        if self._places.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except BaseException:
                # No thread could be started, so none gives the place back.
                self._places.release()
                raise
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Handle a connection and give its place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error in a connection's thread, except that its client went away."""
        error = sys.exception() if sys.version_info >= (3, 12) else sys.exc_info()[1]
        if not isinstance(error, (OSError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    # SPEC tlog-witness: "Clients SHOULD use, and witnesses SHOULD support, HTTP keep-alive HTTP connections to reduce
    # latency and load due to connection establishment."
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT
    disable_nagle_algorithm = True
    server_version = "integrator-audit"
    sys_version = ""

    @property
    def _witness(self) -> Witness:
        return cast(WitnessServer, self.server).witness

    def handle_one_request(self) -> None:
        """Handle a request, and end its connection when it takes too long: a head may come byte by byte."""
        timer = threading.Timer(REQUEST_TIMEOUT, self._cut)
        timer.daemon = True
        timer.start()
        try:
            super().handle_one_request()
        finally:
            timer.cancel()

    def _cut(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_POST(self) -> None:
        """Answer `add-checkpoint`."""
        if self.path != "/add-checkpoint":
            return self._send(Answer(404, TEXT_TYPE, b"there is only add-checkpoint here\n"), close=True)
        length = self.headers.get("Content-Length", "")
        # Two lengths, or one of a proxy's kind only: who stands before us may see other requests here than we do.
        is_told = length.isascii() and length.isdigit() and len(self.headers.get_all("Content-Length", ())) == 1
        if not is_told or "Transfer-Encoding" in self.headers:
            return self._send(Answer(411, TEXT_TYPE, b"a request says its Content-Length, once\n"), close=True)
        if len(length) > 9 or int(length) > MAX_TAKEN:
            message = f"a request has at most {MAX_TAKEN} bytes\n".encode()
            return self._send(Answer(413, TEXT_TYPE, message), close=True)
        body = self._read(int(length))
        try:
            answer = self._witness.add_checkpoint(body)
        except AuditError as error:
            return self._send(Answer(500, TEXT_TYPE, f"{error.message}\n".encode()), close=True)
        return self._send(answer)

    def do_HEAD(self) -> None:
        """Answer as GET does, without the body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Answer with the latest cosigned checkpoint of a log."""
        # A body that nobody reads would be the next request.
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True
        match = _CHECKPOINT.fullmatch(self.path)
        try:
            note = None if match is None else self._witness.checkpoint(match[1])
        except AuditError as error:
            return self._send(Answer(500, TEXT_TYPE, f"{error.message}\n".encode()), close=True)
        if note is None:
            status = 405 if self.path == "/add-checkpoint" else 404
            return self._send(Answer(status, TEXT_TYPE, b"there is no such checkpoint here\n"))
        return self._send(Answer(200, TEXT_TYPE, note))

    def _read(self, length: int) -> bytes:
        """Read the body within the time of one request."""
        until = time.monotonic() + TIMEOUT
        data = b""
        while len(data) < length:
            self.connection.settimeout(max(until - time.monotonic(), 0.001))
            chunk = self.rfile.read1(length - len(data))
            if not chunk:
                raise ConnectionResetError("the client closed in the middle of a request")
            data += chunk
        self.connection.settimeout(TIMEOUT)
        return data

    def _send(self, answer: Answer, *, close: bool = False) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-cache")
        if answer.status == 405:
            self.send_header("Allow", "POST")
        if close or self.close_connection:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name of the base class
        """Say nothing for each request."""
        del format, args
