"""Documents of JSON lines, usually packed by gzip: made and read line by line, so that memory does not grow with them.

- Each line is a strict JSON object in UTF-8 of at most 1 MiB, with a line feed at its end.
- Nothing marks the end: whoever reads such a document knows from its lines what has to follow, and misses it.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import IO, Final, cast

from integrator_audit.completeness.fields import Fields
from integrator_audit.durable import PRIVATE, replacing
from integrator_audit.errors import Invalid, Tampered, Unavailable
from integrator_audit.findings import Progress, no_progress
from integrator_audit.strictjson import read_object

MAX_LINE: Final = 1 << 20
_GZIP: Final = b"\x1f\x8b"
_LINES_AT_ONCE: Final = 256
"""Lines between two reports of progress."""


class Lines:
    """The lines of a document, taken one after the other. `what` names it, `code` says that lines are out of order."""

    def __init__(self, lines: Iterable[bytes], *, what: str, code: str) -> None:
        self._lines = self._read(lines, what)
        self._next: Fields | None = None
        self._what = what
        self._code = code

    def peek(self) -> Fields | None:
        """Return the next line without taking it, None after the last; raise `Tampered` (`document-malformed`)."""
        if self._next is None:
            self._next = next(self._lines, None)
        return self._next

    def take(self) -> Fields:
        """Return the next line; raise `Tampered` (the document's `code`) when there is none."""
        fields, self._next = self.peek(), None
        if fields is None:
            raise self.disorder("ends too early")
        return fields

    def end(self) -> None:
        """Raise `Tampered` (the document's `code`) when something stands after the last day."""
        if self.peek() is not None:
            raise self.disorder("goes on after its last day, or has lines out of order")

    def disorder(self, how: str) -> Tampered:
        """Return the error that says how the order of the lines is wrong."""
        return Tampered(self._code, f"{self._what} {how}")

    @staticmethod
    def _read(lines: Iterable[bytes], what: str) -> Iterator[Fields]:
        for number, line in enumerate(lines, 1):
            where = f"line {number} of {what}"
            try:
                yield Fields(read_object(line, what=where, limit=MAX_LINE), where)
            except Invalid as error:
                raise Tampered("document-malformed", error.message) from error


def line_of(members: Mapping[str, object]) -> bytes:
    """Return an object as one line."""
    return json.dumps(members, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def write_lines(path: Path, lines: Iterable[bytes], *, code: str) -> None:
    """Write lines to a gzip file that appears whole or not at all, readable by its owner only.

    Raises `Unavailable` (`code`) when it cannot be written.
    """
    try:
        # Salts and hashes do not shrink; the rest does at the lowest level already.
        with (
            replacing(path, mode=PRIVATE) as raw,
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=1, mtime=0) as packed,
        ):
            for line in lines:
                packed.write(line)
    except OSError as error:
        raise Unavailable(code, f"{path} cannot be written: {error.strerror}") from error


def open_lines(path: Path, *, progress: Progress = no_progress) -> Iterator[bytes]:
    """Yield the lines of a file, unpacked if it is gzip; `progress` is told of its bytes.

    Raises `Unavailable` (`file-unreadable`) when it cannot be read to its end, `Tampered` (`document-malformed`) when a
    line is too long.
    """
    try:
        with path.open("rb") as raw, _unpacked(raw) as file:
            total, number = path.stat().st_size, 0
            while line := file.readline(MAX_LINE + 1):
                if len(line) > MAX_LINE:
                    raise Tampered("document-malformed", f"a line of {path.name} has more than {MAX_LINE} bytes")
                yield line
                number += 1
                if not number % _LINES_AT_ONCE:
                    progress(raw.tell(), total)
            progress(total, total)
    except (OSError, EOFError, zlib.error) as error:
        raise Unavailable("file-unreadable", f"{path} cannot be read to its end") from error


def _unpacked(file: BufferedReader) -> IO[bytes]:
    packed = file.peek(2)[:2] == _GZIP
    return cast(IO[bytes], gzip.GzipFile(fileobj=file)) if packed else file
