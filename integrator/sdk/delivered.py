"""What an agency holds when an event reaches it: the value, and by which right; leaving its context acknowledges it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any

from integrator.domain.errors import Invalid
from integrator.domain.event import KINDS, Kind

SEQUENCE_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Position:
    """Where a delivered event stands in the agency's own topic."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the headers of a delivered record say."""

    id: str
    """The event under the name that this agency knows for this purpose: a UUID."""
    source: str
    time: datetime
    """When the source logged it."""
    kind: Kind
    sequence: int
    """Contiguous in each partition and lane, from 1."""
    lane: int
    triggers: tuple[str, ...]
    authorisation: str
    version: int
    purpose: str
    purpose_version: int
    corrects: str | None

    @classmethod
    def read(cls, headers: tuple[tuple[str, bytes], ...]) -> Envelope:
        """Read the headers that every delivery has. Raises `Invalid` (`envelope`), naming the header."""
        found: dict[str, str] = {}
        for name, value in headers:
            try:
                found[name] = value.decode()
            except UnicodeDecodeError:
                raise _wrong(name) from None
        authorisation, version = _versioned(found, "ce_authorisation")
        purpose, purpose_version = _versioned(found, "ce_purpose")
        kind = _text(found, "ce_kind")
        if kind not in KINDS:
            raise _wrong("ce_kind")
        return cls(
            id=_uuid(found, "ce_id"),
            source=_text(found, "ce_source"),
            time=_time(found, "ce_time"),
            kind=kind,
            sequence=_number(found, "ce_sequence", digits=SEQUENCE_DIGITS),
            lane=_number(found, "ce_lane"),
            triggers=tuple(name for name in found.get("ce_triggers", "").split(",") if name),
            authorisation=authorisation,
            version=version,
            purpose=purpose,
            purpose_version=purpose_version,
            corrects=found.get("ce_corrects"),
        )


@dataclass(frozen=True, slots=True)
class Delivered:
    """One event, for one purpose.

        async with event:
            decide(event.value)

    Leaving the context without an exception acknowledges the event: it is not delivered again to this group. Its
    representation hides the value, which is about people.
    """

    stream: str
    value: dict[str, Any]
    envelope: Envelope
    person: str
    """Pairwise pseudonym: the same person is another one for everybody else, and for every other purpose."""
    received: datetime
    position: Position
    digest: str
    """SHA-256 of the value as it was received, in hexadecimal: what the ledger's entry says of it, too."""
    missing: int = 0
    """How many events are missing before this one in its partition and lane."""
    acknowledge: Callable[[Position], None] = field(default=lambda _: None, compare=False)
    """Called once the event is dealt with."""

    @property
    def id(self) -> str:
        """The event's id for this agency and purpose, a UUID; `corrects` of a later event names it."""
        return self.envelope.id

    @property
    def kind(self) -> Kind:
        """What kind of event it is."""
        return self.envelope.kind

    @property
    def time(self) -> datetime:
        """When the source logged it."""
        return self.envelope.time

    @property
    def lane(self) -> int:
        """The lane through which it came."""
        return self.envelope.lane

    @property
    def sequence(self) -> int:
        """Contiguous in each partition and lane, from 1."""
        return self.envelope.sequence

    @property
    def triggers(self) -> tuple[str, ...]:
        """Which of the authorised triggers fired."""
        return self.envelope.triggers

    @property
    def authorisation(self) -> tuple[str, int]:
        """Id and version of the authorisation under which it was delivered."""
        return self.envelope.authorisation, self.envelope.version

    @property
    def purpose(self) -> tuple[str, int]:
        """Name and version of the purpose for which it was delivered."""
        return self.envelope.purpose, self.envelope.purpose_version

    @property
    def corrects(self) -> str | None:
        """The id of the event that this one puts right."""
        return self.envelope.corrects

    @property
    def latency(self) -> float:
        """Seconds from the source's `time` until the event was received here."""
        return (self.received - self.time).total_seconds()

    def __repr__(self) -> str:
        return f"Delivered({self.stream}, {self.kind}, lane {self.lane}, sequence {self.sequence})"

    async def __aenter__(self) -> Delivered:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.acknowledge(self.position)

    def as_received(self) -> dict[str, Any]:
        """Return what a book for `integrator reconcile` says of the event: one line, nothing about a person."""
        return {
            "topic": self.position.topic,
            "partition": self.position.partition,
            "lane": self.lane,
            "sequence": self.sequence,
            "valueSha256": self.digest,
        }

    def as_json(self) -> dict[str, Any]:
        """Return the event as `integrator subscribe --json` prints it, one document for each line."""
        envelope = self.envelope
        return {
            "stream": self.stream,
            "id": envelope.id,
            "kind": envelope.kind,
            "time": envelope.time.isoformat().replace("+00:00", "Z"),
            "person": self.person,
            "lane": envelope.lane,
            "sequence": envelope.sequence,
            "triggers": list(envelope.triggers),
            "authorisation": f"{envelope.authorisation}/{envelope.version}",
            "purpose": f"{envelope.purpose}/{envelope.purpose_version}",
            "corrects": envelope.corrects,
            "latencyMs": round(self.latency * 1000, 1),
            "value": self.value,
        }


def _text(headers: dict[str, str], name: str) -> str:
    if not (value := headers.get(name)):
        raise _wrong(name)
    return value


def _uuid(headers: dict[str, str], name: str) -> str:
    try:
        return str(uuid.UUID(_text(headers, name)))
    except ValueError:
        raise _wrong(name) from None


def _time(headers: dict[str, str], name: str) -> datetime:
    try:
        time = datetime.fromisoformat(_text(headers, name))
    except ValueError:
        raise _wrong(name) from None
    if time.tzinfo is None:
        raise _wrong(name)
    return time


def _number(headers: dict[str, str], name: str, *, digits: int | None = None) -> int:
    value = _text(headers, name)
    if not (value.isascii() and value.isdigit()) or (digits is not None and len(value) != digits):
        raise _wrong(name)
    return int(value)


def _versioned(headers: dict[str, str], name: str) -> tuple[str, int]:
    base, separator, version = _text(headers, name).rpartition("/")
    if not separator or not (version.isascii() and version.isdigit()):
        raise _wrong(name)
    return base, int(version)


def _wrong(name: str) -> Invalid:
    return Invalid("envelope", f"A delivered record has no usable header {name}.", where=name)
