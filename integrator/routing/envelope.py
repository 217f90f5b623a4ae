"""Reads the headers of a source's record and writes those of a delivered one: CloudEvents 1.0, Kafka binary mode.

- A header that every event has must be there once and well-formed; others are ignored and never passed on.
- What is copied from a source is an id, a time and a trace: forms that cannot hold a name or a text.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple

from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract
from integrator.domain.errors import Invalid
from integrator.routing.ports import Headers

CONTENT_TYPE = b"application/avro"
SCHEMA_ID_HEADER = "__value_schema_id"
"""Where Confluent's clients put the schema id when it is not before the value: a version byte 0 and four bytes."""

_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|\+00:00)")
# SPEC W3C Trace Context: version, trace id, parent id, flags.
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_EVERY_EVENT = ("ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type")
_ONCE = frozenset((*_EVERY_EVENT, "traceparent", SCHEMA_ID_HEADER))


class Envelope(NamedTuple):
    """What a delivery takes over from the source's headers."""

    id: str
    """The event's UUID, in lower case."""
    time: str
    """RFC 3339 in UTC, when the source logged it."""
    traceparent: bytes | None
    schema_id: bytes | None
    """The header form of the schema id, if the value has no prefix."""


def read_envelope(headers: Headers, *, source: bytes, event_type: bytes) -> Envelope:
    """Read the headers of a record of the source with the URN `source` and events of `event_type`.

    Raises `Invalid` (`envelope`), naming the header and not what it holds.
    """
    found = dict(headers)
    if len(found) != len(headers):
        _refuse_doubles(headers)
    if not all(map(found.get, _EVERY_EVENT)):
        raise _invalid(next(name for name in _EVERY_EVENT if not found.get(name)), "is missing")
    if found["ce_specversion"] != b"1.0":
        raise _invalid("ce_specversion", "is not 1.0")
    if found["ce_source"] != source:
        raise _invalid("ce_source", "is not the URN of the stream's source")
    if found["ce_type"] != event_type:
        raise _invalid("ce_type", "is not the event type of the contract")
    if found["content-type"] != CONTENT_TYPE:
        raise _invalid("content-type", "is not application/avro")
    try:
        event_id, time = found["ce_id"].decode("ascii"), found["ce_time"].decode("ascii")
    except UnicodeDecodeError:
        raise _invalid("ce_id or ce_time", "is not ASCII") from None
    if _ID.fullmatch(event_id) is None:
        raise _invalid("ce_id", "is no UUID")
    if _TIME.fullmatch(time) is None or not _is_time(time):
        raise _invalid("ce_time", "is no RFC 3339 time in UTC")
    traceparent = found.get("traceparent")
    if traceparent is not None and _TRACEPARENT.fullmatch(traceparent) is None:
        traceparent = None  # SPEC W3C Trace Context: "If parsing fails, the vendor creates a new traceparent header"
    return Envelope(event_id.lower(), time, traceparent, found.get(SCHEMA_ID_HEADER))


def _refuse_doubles(headers: Headers) -> None:
    seen: set[str] = set()
    for name, _ in headers:
        if name in seen and name in _ONCE:
            raise _invalid(name, "is there twice")
        seen.add(name)


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _invalid(header: str, what: str) -> Invalid:
    return Invalid("envelope", f"The header {header} {what}.", where=header)


def readable_id(headers: Headers) -> str | None:
    """Return the event's id for a receipt about a record that was set aside, if it has one."""
    for name, value in headers:
        # A header's value may be null on the wire, whatever the type says.
        if name == "ce_id" and value and _ID.fullmatch(text := value.decode("latin-1")):
            return text.lower()
    return None


def constant_headers(
    authorisation: Authorisation, contract: Contract, *, urn: str, schema_id: int, lane: int
) -> Headers:
    """Return the headers that all deliveries under an authorisation through a lane have in common."""
    texts = {
        "ce_specversion": "1.0",
        "ce_source": urn,
        "ce_type": contract.event_type,
        "ce_service": contract.service,
        "ce_dataschema": f"/schemas/ids/{schema_id}",
        "content-type": CONTENT_TYPE.decode(),
        "ce_lane": str(lane),
        "ce_authorisation": f"{authorisation.id}/{authorisation.version}",
        "ce_purpose": f"{authorisation.purpose}/{authorisation.purpose_version}",
    }
    return tuple((name, text.encode()) for name, text in texts.items())
