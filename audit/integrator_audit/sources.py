"""Where a verifier gets a log's files from: a URL or a directory.

Nothing that comes from here is believed: sizes are capped, and what is fetched is compared with hashes.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from typing import Final, Protocol

from integrator_audit.errors import Busy, Invalid, Unavailable

MAX_RESOURCE: Final = 256 * (2 + 0xFFFF)
TIMEOUT_SECONDS: Final = 15.0
ATTEMPTS: Final = 3
_ABSENT: Final = (404, 410)


class Source(Protocol):
    """Fetch a log's files by their paths. Called from several threads at once."""

    def fetch(self, path: str) -> bytes | None:
        """Return a file, None when the log says that it has none; raise `Unavailable` when nobody answers."""
        ...


class DirectorySource:
    """A log exported as static files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def fetch(self, path: str) -> bytes | None:
        """Return a file, or None when there is none."""
        try:
            return (self._directory / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unavailable("source-unreadable", f"{path} cannot be read: {error.strerror}") from error


class HttpSource:
    """A log served over HTTP; `url` is its prefix."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise Invalid("source-url", "a log's URL starts with http:// or https://")
        self._prefix = url.rstrip("/")

    def fetch(self, path: str) -> bytes | None:
        """Return a file, None for 404 or 410; try again when the server is busy or the connection breaks."""
        for attempt in range(1, ATTEMPTS):
            try:
                return self._fetch_once(path)
            except Busy:
                time.sleep(0.2 * attempt)
        try:
            return self._fetch_once(path)
        except Busy as error:
            raise Unavailable("source-unreachable", error.message) from error

    def _fetch_once(self, path: str) -> bytes | None:
        """Return a file or None; raise `Busy` when another attempt may help, `Unavailable` when it will not."""
        try:
            return self._request(path)
        except urllib.error.HTTPError as error:
            if error.code in _ABSENT:
                return None
            message = f"the server answered {error.code} for {self._prefix}/{path}"
            if error.code < 500 and error.code != 429:
                raise Unavailable("source-unreachable", message) from error
            raise Busy("source-busy", message) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise Busy("source-busy", f"{self._prefix}/{path} could not be fetched: {reason}") from error

    def _request(self, path: str) -> bytes:
        # SPEC tlog-tiles: "Clients SHOULD include `gzip` and `identity` in their `Accept-Encoding` headers."
        headers = {"Accept-Encoding": "gzip, identity", "User-Agent": "integrator-audit"}
        request = urllib.request.Request(f"{self._prefix}/{path}", headers=headers)  # noqa: S310  scheme checked above
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310
            data: bytes = response.read(MAX_RESOURCE + 1)
            encoding = response.headers.get("Content-Encoding", "identity")
        if encoding == "gzip":
            data = _gunzip(data, path)
        if len(data) > MAX_RESOURCE:
            raise Unavailable("source-too-large", f"{path} is larger than any file of a log")
        return data


def open_source(location: str) -> Source:
    """Return the source for a URL or a directory that a person gave; raise `Unavailable` when it is neither."""
    if "://" in location:
        return HttpSource(location)
    directory = Path(location)
    if not directory.is_dir():
        raise Unavailable("no-such-directory", f"{location} is neither a URL nor a directory")
    return DirectorySource(directory)


def _gunzip(data: bytes, path: str) -> bytes:
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        return decoder.decompress(data, MAX_RESOURCE + 1)
    except zlib.error as error:
        raise Unavailable("source-encoding", f"{path} says to be gzip and is not") from error
