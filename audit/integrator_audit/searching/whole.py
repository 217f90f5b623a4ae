"""Whole lists: part A of every entry of a range, with what it takes to see that none was left out.

A whole list is a gzip file of JSON lines, all bytes in base64; `documents/whole.v1.json` describes the lines:

    {"schema": "dienstenintegrator/whole/v1", "origin": …, "start": …, "stop": …, "edge": […], "consistency": […],
     "checkpoint": …}
    {"statement": 1, "text": …}            part A as text, before its first entry; numbered from 1
    {"entries": [1, 1, 0, …], "types": …, "salts": …, "hD": …, "hS": …, "hP": …}

- `edge` are the roots of the complete subtrees of the first `start` entries, the largest first (RFC 6962 §2.1).
- An entry line holds up to 256 entries in the order of the log: the number of each one's statement, and columns with a
  byte of type, the salt of A, and the hashes of the other parts. Number 0 is an entry whose A stays closed: its column
  `salts` holds hA. So erased entries and those about people stay as closed as they were.
- Whoever reads it computes every leaf, from edge and leaves the root at `stop`, and compares that with the checkpoint
  (through `consistency` when the checkpoint is of a later size): a leaf that is left out, added or changed gives
  another root.

LIMIT: which entries stay closed can be seen. Unlisted entries are closed for whoever may not know of orders, but the
list then shows which entries are unlisted: give it to those who keep that to themselves.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple, cast

from integrator_audit.encoding import from_base64, to_base64
from integrator_audit.errors import Invalid, Tampered, Unavailable
from integrator_audit.findings import Progress, no_progress
from integrator_audit.merkle import HASH_SIZE, consistency_proof
from integrator_audit.store import EntryRow, Head, Reading
from integrator_audit.strictjson import read_object
from integrator_audit.tiles import subtree_reader

SCHEMA: Final = "dienstenintegrator/whole/v1"
CHUNK: Final = 256
MAX_LINE: Final = 1 << 20
MAX_HASHES: Final = 64
_COLUMNS: Final = ("salts", "hD", "hS", "hP")
_HEADER: Final = {"schema", "origin", "start", "stop", "edge", "consistency", "checkpoint"}


class Written(NamedTuple):
    """What was written: the range, the size of the checkpoint, and how many entries stayed closed."""

    start: int
    stop: int
    size: int
    statements: int
    closed: int


def write_whole(  # noqa: PLR0913  the parts of what is asked for
    store: Reading,
    out: BinaryIO,
    *,
    start: int = 0,
    stop: int | None = None,
    close_unlisted: bool = False,
    progress: Progress = no_progress,
) -> Written:
    """Write the whole list of the entries from `start` to below `stop` into `out`, in bounded memory.

    It stands under the newest published checkpoint, which witnesses have cosigned, where that is large enough, else
    under the newest. `stop` is by default the size of the published one, else of the log. Raises `Invalid`
    (`whole-range`), `Tampered` (`entry-missing`, `entry-changed`).
    """
    with store.snapshot():
        identity, head = store.identity(), store.head()
        if identity is None or head is None:
            raise Unavailable("ledger-empty", "the ledger was not created yet; start its writer")
        size, note = _checkpoint(store, head, stop)
        stop = size if stop is None else stop
        if not 0 <= start <= stop <= size:
            raise Invalid("whole-range", f"the log has {size} entries: there is no range from {start} to {stop}")
        subtree = subtree_reader(store.tile)
        header: dict[str, object] = {
            "schema": SCHEMA,
            "origin": identity.origin,
            "start": start,
            "stop": stop,
            "edge": [to_base64(subtree(height, (start >> height) - 1)) for height in edge_heights(start)],
            "consistency": list(map(to_base64, consistency_proof(stop, size, subtree))),
            "checkpoint": to_base64(note),
        }
        with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as packed:
            packed.write(_line(header))
            numbers: dict[bytes, int] = {}
            closed = 0
            following = start
            for rows in _chunks(store.entries(start, stop)):
                if [row.number for row in rows] != list(range(following, following + len(rows))):
                    raise Tampered("entry-missing", f"an entry from {following} on is missing from the file; run fsck")
                following += len(rows)
                told = [0] * len(rows)
                for at, row in enumerate(rows):
                    if close_unlisted and not row.listed:
                        closed += 1
                        continue
                    if row.a not in numbers:
                        numbers[row.a] = len(numbers) + 1
                        packed.write(_line({"statement": numbers[row.a], "text": _text(row)}))
                    told[at] = numbers[row.a]
                packed.write(_entries(rows, told))
                progress(rows[-1].number + 1 - start, stop - start)
            if following != stop:
                raise Tampered("entry-missing", f"entry {following} is missing from the file; run fsck")
    return Written(start, stop, size, len(numbers), closed)


@dataclass(frozen=True, slots=True)
class Header:
    """What a list says of itself; nothing of it is checked yet but its form."""

    origin: str
    start: int
    stop: int
    edge: tuple[bytes, ...]
    consistency: tuple[bytes, ...]
    checkpoint: bytes


class Statement(NamedTuple):
    """A statement line: the bytes of a part A."""

    text: bytes


class Entries(NamedTuple):
    """An entry line: of each entry the statement's number (0: closed), type, salt of A or hA, and hD ‖ hS ‖ hP."""

    statements: list[int]
    types: bytes
    salts: list[bytes]
    others: list[bytes]


def read_whole(file: BinaryIO) -> tuple[Header, Iterator[Statement | Entries]]:
    """Return the header of a list and its lines, in bounded memory; nothing is believed yet.

    Raises `Tampered` (`whole-malformed`, `whole-cut`), also while the lines are read.
    """
    lines = _read_lines(file)
    first = next(lines, None)
    if first is None:
        raise Tampered("whole-cut", "the list has not even a first line")
    try:
        header = _header(first)
    except Invalid as error:
        raise _malformed("its first line", error.message) from error
    return header, _body(lines)


def edge_heights(size: int) -> list[int]:
    """Return the heights of the complete subtrees at the right edge of a tree, the largest first."""
    return [height for height in range(size.bit_length() - 1, -1, -1) if size >> height & 1]


def _checkpoint(store: Reading, head: Head, stop: int | None) -> tuple[int, bytes]:
    published = store.published()
    if published is not None and (stop is None or stop <= published[0]):
        return published
    return head.size, head.note


def _chunks(rows: Iterator[EntryRow]) -> Iterator[list[EntryRow]]:
    chunk: list[EntryRow] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _entries(rows: Sequence[EntryRow], numbers: Sequence[int]) -> bytes:
    salts = [row.salt_a if number else row.hashes[:HASH_SIZE] for row, number in zip(rows, numbers, strict=True)]
    columns = [salts, *([row.hashes[at * HASH_SIZE : (at + 1) * HASH_SIZE] for row in rows] for at in (1, 2, 3))]
    members: dict[str, object] = {"entries": list(numbers), "types": to_base64(bytes(row.type for row in rows))}
    return _line(members | {name: to_base64(b"".join(column)) for name, column in zip(_COLUMNS, columns, strict=True)})


def _text(row: EntryRow) -> str:
    try:
        return row.a.decode()
    except UnicodeDecodeError as error:
        raise Tampered("entry-changed", f"part A of entry {row.number} is not text; run fsck") from error


def _line(members: dict[str, object]) -> bytes:
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _read_lines(file: BinaryIO) -> Iterator[bytes]:
    unpacked = io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=file, mode="rb")))
    number = 0
    while True:
        number += 1
        try:
            line = unpacked.readline(MAX_LINE + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise Tampered("whole-cut", f"the list ends in the middle or is no gzip file (line {number})") from error
        if not line:
            return
        if not line.endswith(b"\n") or len(line) > MAX_LINE:
            raise _malformed(f"line {number}", "a line ends in a newline and is not longer than 1 MiB")
        yield line


def _body(lines: Iterator[bytes]) -> Iterator[Statement | Entries]:
    known = 0
    for at, line in enumerate(lines, 2):
        try:
            members = read_object(line, what="the line", limit=MAX_LINE)
            if set(members) == {"statement", "text"}:
                known += 1
                number, text = members["statement"], members["text"]
                if type(number) is not int or number != known or type(text) is not str:
                    raise Invalid("whole", "statements are numbered from 1 and have a text")
                yield Statement(text.encode())
            else:
                yield _columns(members, known)
        except Invalid as error:
            raise _malformed(f"line {at}", error.message) from error


def _columns(members: dict[str, object], known: int) -> Entries:
    if set(members) != {"entries", "types", *_COLUMNS}:
        raise Invalid("whole", "a line holds a statement or entries, and nothing else")
    numbers = members["entries"]
    if not isinstance(numbers, list) or not 0 < len(cast("list[object]", numbers)) <= CHUNK:
        raise Invalid("whole", f"a line holds 1 to {CHUNK} entries")
    statements = cast("list[object]", numbers)
    if any(type(number) is not int or not 0 <= number <= known for number in statements):
        raise Invalid("whole", "an entry names a statement that stands before it")
    types = _bytes(members["types"], len(statements))
    salts, *others = (_column(members[name], len(statements)) for name in _COLUMNS)
    return Entries(
        cast("list[int]", statements), types, salts, [b"".join(three) for three in zip(*others, strict=True)]
    )


def _column(value: object, count: int) -> list[bytes]:
    data = _bytes(value, count * HASH_SIZE)
    return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]


def _header(line: bytes) -> Header:
    members = read_object(line, what="the line", limit=MAX_LINE)
    if set(members) != _HEADER or members["schema"] != SCHEMA:
        raise Invalid("whole", f"a list begins with a line of schema {SCHEMA}")
    origin, start, stop = members["origin"], members["start"], members["stop"]
    if type(origin) is not str or type(start) is not int or type(stop) is not int or not 0 <= start <= stop:
        raise Invalid("whole", "a list says its origin and from where to where it goes")
    edge, consistency = (_hashes(members[name]) for name in ("edge", "consistency"))
    if len(edge) != start.bit_count():
        raise Invalid("whole", "the edge has one hash for each complete subtree before the range")
    return Header(origin, start, stop, edge, consistency, _bytes(members["checkpoint"], None))


def _hashes(value: object) -> tuple[bytes, ...]:
    if not isinstance(value, list) or len(cast("list[object]", value)) > MAX_HASHES:
        raise Invalid("whole", "hashes are a list")
    return tuple(_bytes(item, HASH_SIZE) for item in cast("list[object]", value))


def _bytes(value: object, size: int | None) -> bytes:
    if not isinstance(value, str):
        raise Invalid("whole", "bytes are written in base64")
    data = from_base64(value, what="a column")
    if size is not None and len(data) != size:
        raise Invalid("whole", "a column has another length than its entries need")
    return data


def _malformed(where: str, what: str) -> Tampered:
    return Tampered("whole-malformed", f"{where} of the list cannot be believed: {what}")
