"""HTTP exchanges that end: whoever answers byte by byte is cut off when the time of the whole exchange is over.

The standard library measures a timeout anew with every packet, so a server that sends one byte every few seconds would
hold its client for ever.

LIMIT: the timeouts of name resolution, connecting and the TLS handshake are those of single packets.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TypeVar, cast

_Connection = TypeVar("_Connection", "_Http", "_Https")


@contextmanager
def open_within(
    request: urllib.request.Request, *, timeout: float, seconds: float, redirects: bool
) -> Generator[http.client.HTTPResponse]:
    """Send a request and give its answer, from which to read until `seconds` after the beginning are over.

    `timeout` is for single packets. An answer with a status from 300 on is an answer like any other, unless
    `redirects` are followed. Raises what `urllib` does, `TimeoutError` when the time is over.
    """
    watch = _Watch()
    opener = urllib.request.OpenerDirector()
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler(), _Handler(watch)]
    if redirects:
        handlers += [urllib.request.HTTPRedirectHandler(), urllib.request.HTTPErrorProcessor()]
        handlers += [urllib.request.HTTPDefaultErrorHandler(), urllib.request.UnknownHandler()]
    for handler in handlers:
        opener.add_handler(handler)
    until = time.monotonic() + seconds
    timer = threading.Timer(seconds, watch.cut)
    timer.daemon = True
    timer.start()
    try:
        with cast(http.client.HTTPResponse, opener.open(request, timeout=timeout)) as response:
            yield response
    except (OSError, http.client.HTTPException, ValueError) as error:
        # A connection that was cut looks like one that its server closed; a packet may have had no less time than all.
        if watch.is_over or time.monotonic() >= until:
            raise _over(seconds) from error
        raise
    finally:
        timer.cancel()
        watch.release()
    if watch.is_over:
        raise _over(seconds)


def _over(seconds: float) -> TimeoutError:
    return TimeoutError(f"the whole answer takes more than {seconds:g} seconds")


class _Watch:
    """The connections of one exchange. Used by the thread that asks and by the timer's."""

    def __init__(self) -> None:
        self.is_over = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []

    def add(self, connected: socket.socket) -> None:
        """Watch one more connection; the descriptor is ours, so that it names no other file before `release`."""
        with self._lock:
            self._sockets.append(socket.socket(fileno=socket.dup(connected.fileno())))
            if self.is_over:
                self._shut()

    def cut(self) -> None:
        """End all connections: who reads from them finds their end."""
        with self._lock:
            self.is_over = True
            self._shut()

    def release(self) -> None:
        """Close the descriptors."""
        with self._lock:
            for watched in self._sockets:
                watched.close()
            self._sockets.clear()

    def _shut(self) -> None:
        for watched in self._sockets:
            with suppress(OSError):
                watched.shutdown(socket.SHUT_RDWR)


class _Http(http.client.HTTPConnection):
    watch: _Watch

    def connect(self) -> None:
        super().connect()
        self.watch.add(self.sock)


class _Https(http.client.HTTPSConnection):
    watch: _Watch

    def connect(self) -> None:
        super().connect()
        self.watch.add(self.sock)


class _Handler(urllib.request.AbstractHTTPHandler):
    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(self._connected, _Http), req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(self._connected, _Https), req)

    def _connected(self, kind: type[_Connection], host: str, /, **options: Any) -> _Connection:
        connection = kind(host, **options)
        connection.watch = self._watch
        return connection
