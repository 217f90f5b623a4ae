"""A source's event on its way to the integrator, as a value and as one line of JSON.

One line is `{"stream", "id", "time", "value"}`: the name of the stream, a UUID, RFC 3339 in UTC, and the record as the
contract's schema describes it. It is what `integrator convert` writes and `integrator publish` reads.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from integrator.domain.errors import Invalid
from integrator.domain.identifiers import STREAM_PATTERN

_MEMBERS = ("stream", "id", "time", "value")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)
_STREAM = re.compile(STREAM_PATTERN)
_NAMESPACE = uuid.UUID("6f2a1d0e-4c55-5d0b-9a53-0d1f3a7c2b10")
"""The namespace of ids that are derived from what a source says; drawn once, and never to change."""


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """One event of a source. Its representation hides `value`, which is about people."""

    stream: str
    id: str
    """UUID as text; the same event has the same id whenever it is converted again."""
    time: str
    """When the source logged it: RFC 3339, UTC."""
    value: dict[str, Any]

    def __repr__(self) -> str:
        return f"SourceMessage({self.stream}, {self.id})"

    def to_json(self) -> str:
        """Return the line of JSON, without its end of line."""
        members = {"stream": self.stream, "id": self.id, "time": self.time, "value": self.value}
        return json.dumps(members, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str, *, number: int) -> SourceMessage:
        """Read line `number` of a file. Raises `Invalid` (`event-line`); its message repeats no value."""
        try:
            members = json.loads(line, object_pairs_hook=_once, parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise _wrong(number, "is no JSON object with each member once") from None
        if not isinstance(members, dict) or set(cast("dict[str, Any]", members)) != set(_MEMBERS):
            raise _wrong(number, f"must have the members {', '.join(_MEMBERS)} and no others")
        stream, identifier, time, value = (cast("dict[str, Any]", members)[name] for name in _MEMBERS)
        if not isinstance(stream, str) or not _STREAM.fullmatch(stream):
            raise _wrong(number, "has no stream of the form source/stream")
        if not isinstance(identifier, str) or not _is_uuid(identifier):
            raise _wrong(number, "has no id that is a UUID in lower case")
        if not isinstance(time, str) or not is_time(time):
            raise _wrong(number, "has no time in RFC 3339, UTC, such as 2026-01-31T12:00:00.000Z")
        if not isinstance(value, dict):
            raise _wrong(number, "has no value that is an object")
        return cls(stream, identifier, time, cast("dict[str, Any]", value))


def read_events(lines: Iterable[bytes]) -> Iterator[SourceMessage]:
    """Read the lines of a file of events, which is UTF-8; pass over empty ones. Raises `Invalid` (`event-line`)."""
    for number, raw in enumerate(lines, start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            raise _wrong(number, "is not UTF-8") from None
        if line:
            yield SourceMessage.from_json(line, number=number)


def message_id(*parts: str) -> str:
    """Return the UUIDv5 of `parts`: the same for the same parts in the same order."""
    return str(uuid.uuid5(_NAMESPACE, "\x00".join(parts)))


def utc_text(instant: datetime) -> str:
    """Write an aware instant as RFC 3339 in UTC, to the millisecond."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def is_time(text: str) -> bool:
    """Tell whether `text` is an instant in RFC 3339 with the designator Z."""
    if not _TIME.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _no_number(_: str) -> float:
    raise ValueError


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _wrong(number: int, what: str) -> Invalid:
    return Invalid("event-line", f"Line {number} of the events {what}.", where=f"line {number}")
