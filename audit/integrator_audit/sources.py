"""Where a verifier gets a log's files from: a URL or a directory.

Nothing that comes from here is believed, and what is fetched is compared with hashes.

- Of a file at most one byte more is read than its name allows: the check of its length then says that it is wrong. A
  directory may be a stranger's as well: nothing but regular files is read from it.
- Answers end: single packets and the whole of an answer have their time.
"""

from __future__ import annotations

import http
import http.client
import stat
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from typing import Final, Protocol

from integrator_audit.errors import Busy, Invalid, Unavailable
from integrator_audit.merkle import HASH_SIZE
from integrator_audit.note import MAX_NOTE
from integrator_audit.patience import open_within
from integrator_audit.tiles import ENTRIES, MAX_ENTRY, TileName

TIMEOUT_SECONDS: Final = 15.0
ANSWER_SECONDS: Final = 120.0
"""For the whole of an answer: the largest bundle, of 16 MiB, over a slow line."""
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
        place = self._directory / path
        try:
            if not stat.S_ISREG(place.stat().st_mode):
                raise Unavailable("source-unreadable", f"{path} is not a regular file")
            with place.open("rb") as file:
                return file.read(largest(path) + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unavailable("source-unreadable", f"{path} cannot be read: {error.strerror}") from error


class HttpSource:
    """A log served over HTTP; `url` is its prefix."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise Invalid("source-url", "a log's URL starts with http:// or https://")
        if "@" in url.split("/")[2]:
            # It would not be used, and every message that names the URL would show it.
            raise Invalid("source-url", "a log's URL has no user name and no password: what is published needs none")
        if "?" in url or "#" in url:
            raise Invalid("source-url", "a log's URL is a prefix to which paths are added: it has no '?' and no '#'")
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
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise Busy("source-busy", f"{self._prefix}/{path} could not be fetched: {reason}") from error

    def _request(self, path: str) -> bytes:
        # SPEC tlog-tiles: "Clients SHOULD include `gzip` and `identity` in their `Accept-Encoding` headers."
        headers = {"Accept-Encoding": "gzip, identity", "User-Agent": "integrator-audit"}
        request = urllib.request.Request(f"{self._prefix}/{path}", headers=headers)  # noqa: S310  scheme checked above
        limit = largest(path)
        with open_within(request, timeout=TIMEOUT_SECONDS, seconds=ANSWER_SECONDS, redirects=True) as response:
            # A part of the file, or nothing, under another status of success is no file that could be wrong.
            if response.status != http.HTTPStatus.OK:
                message = f"the server answered {response.status} for {self._prefix}/{path}"
                raise Unavailable("source-unreachable", message)
            # What cannot be compressed grows a little.
            most = limit + (limit >> 6) + 64
            data = response.read(most)
            encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
            said = response.headers.get("Content-Length", "").strip()
        # Reading a part does not tell by itself that the connection broke, and a broken connection proves nothing.
        if said.isascii() and said.isdigit() and len(said) < 20 and len(data) < min(int(said), most):
            raise http.client.IncompleteRead(data, int(said) - len(data))
        match encoding:
            case "identity" | "":
                return data
            case "gzip" | "x-gzip":
                return _gunzip(data, path, limit)
            case _:
                raise Unavailable("source-encoding", f"{path} comes in an encoding that was not asked for")


def largest(path: str) -> int:
    """Return how many bytes a file of a log has at most."""
    try:
        name = TileName.parse(path)
    except Invalid:
        return MAX_NOTE
    return name.width * (2 + MAX_ENTRY if name.level == ENTRIES else HASH_SIZE)


def open_source(location: str) -> Source:
    """Return the source for a URL or a directory that a person gave; raise `Unavailable` when it is neither."""
    if "://" in location:
        return HttpSource(location)
    directory = Path(location)
    if not directory.is_dir():
        raise Unavailable("no-such-directory", f"{location} is neither a URL nor a directory")
    return DirectorySource(directory)


def _gunzip(data: bytes, path: str, limit: int) -> bytes:
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        plain = decoder.decompress(data, limit + 1)
    except zlib.error as error:
        raise Unavailable("source-encoding", f"{path} says to be gzip and is not") from error
    if len(plain) <= limit and not decoder.eof:
        raise Unavailable("source-encoding", f"{path} comes in gzip that ends too early")
    if decoder.unused_data:
        raise Unavailable("source-encoding", f"{path} comes in gzip that goes on after its end")
    return plain
