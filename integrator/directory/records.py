"""Says what a record of the directory is: its kind, its key, which is never used twice, and its value.

- A key is `kind|id|version`, UTF-8, the version in ten digits. A newer version of the same kind and id takes the place
  of the older one at its position; the older record stays, because decisions were made with it.
- A value is the Avro single-object encoding of `directory/<kind>/v1`, whose members are those of the document.
- An empty value erases: it is the only way in which a record leaves the topic.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, cast, get_args

from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract
from integrator.domain.directory import RegisteredSchema
from integrator.domain.errors import Invalid
from integrator.domain.inscription import Inscription
from integrator.domain.purpose import Agency, Purpose, Source
from integrator.encoding import record_type

RecordKind = Literal[
    "source",
    "contract",
    "schema",
    "agency",
    "purpose",
    "authorisation",
    "inscription",
    "objection",
    "consent",
    "link",
    "date",
    "start",
    "end",
]
"""Every kind that a key can have. `objection`, `consent` and `link` are reserved: nothing writes them yet."""
KINDS: tuple[RecordKind, ...] = get_args(RecordKind)
PERSON_KINDS: frozenset[RecordKind] = frozenset({"inscription", "objection", "consent", "link"})
"""The persons part of the directory; every other kind is knowledge."""

_KEY = re.compile(r"([a-z]+)\|([^|]+)\|([0-9]{10})")


@dataclass(frozen=True, slots=True)
class RecordKey:
    """What a record is about. `version` counts upwards within kind and id, from 1, and may leave numbers out."""

    kind: RecordKind
    id: str
    version: int

    def encode(self) -> bytes:
        """Return the key as it stands in the topic."""
        return f"{self.kind}|{self.id}|{self.version:010}".encode()

    @classmethod
    def decode(cls, data: bytes | None) -> RecordKey:
        """Read a key of the topic. Raises `Invalid` (`directory-key`), which does not repeat it."""
        match = _KEY.fullmatch((data or b"").decode("utf-8", "replace"))
        if match is None or match[1] not in KINDS:
            raise Invalid(
                "directory-key",
                "A record of the directory has a key that this release does not know: use the release that wrote it.",
            )
        return cls(cast("RecordKind", match[1]), match[2], int(match[3]))


@dataclass(frozen=True, slots=True)
class LegalDay:
    """From this record on it is `date` in the time zone. Only such records make a day pass."""

    time_zone: str
    date: date


@dataclass(frozen=True, slots=True)
class InstantCome:
    """The instant `at`, and every earlier one, of the authorisation's period and citations has come."""

    authorisation: str
    version: int
    at: datetime


Content = Source | Contract | RegisteredSchema | Agency | Purpose | Authorisation | Inscription | LegalDay | InstantCome


@dataclass(frozen=True, slots=True)
class DirectoryRecord:
    """One record to append."""

    key: RecordKey
    content: Content

    def encode(self) -> tuple[bytes, bytes]:
        """Return key and value as they stand in the topic."""
        kind = self.key.kind
        return self.key.encode(), record_type(f"directory/{kind}").encode(_members(self.content))


def inscription_id(agency: str, capacity: str, person: str) -> str:
    """Return the id of an inscription; `person` is the directory's pseudonym in lower-case hexadecimal."""
    return f"{agency}/{capacity}/{person}"


def version_id(authorisation: str, version: int) -> str:
    """Return the id of `start` and `end` records: the version of the authorisation that they are about."""
    return f"{authorisation}/{version}"


def day_record(zone: str, day: date) -> DirectoryRecord:
    """Return the record that says that `day` begins in `zone`. Its version is the day's proleptic ordinal."""
    return DirectoryRecord(RecordKey("date", zone, day.toordinal()), LegalDay(zone, day))


def schema_record(schema: RegisteredSchema) -> DirectoryRecord:
    """Return the record that gives a schema its id."""
    return DirectoryRecord(RecordKey("schema", str(schema.id), 1), schema)


def _members(content: Content) -> dict[str, Any]:
    match content:
        case LegalDay():
            return {"timeZone": content.time_zone, "date": content.date}
        case InstantCome():
            return {"authorisation": content.authorisation, "version": content.version, "at": content.at}
        case RegisteredSchema():
            return {
                "id": content.id,
                "subject": content.subject,
                "version": content.version,
                "text": content.text,
            }
        case Inscription():
            # Fifty million of them: days are numbers here and text in the documents that a person reads.
            return content.model_dump(mode="python", by_alias=True)
        case _:
            return content.model_dump(mode="json", by_alias=True)


_READ: dict[RecordKind, Callable[[dict[str, Any]], Content]] = {
    "source": Source.model_validate,
    "contract": Contract.model_validate,
    "schema": lambda members: RegisteredSchema(**members),
    "agency": Agency.model_validate,
    "purpose": Purpose.model_validate,
    "authorisation": Authorisation.model_validate,
    "inscription": Inscription.model_validate,
    "date": lambda members: LegalDay(members["timeZone"], members["date"]),
    "start": lambda members: InstantCome(**members),
    "end": lambda members: InstantCome(**members),
}


def read_content(kind: RecordKind, value: bytes) -> Content:
    """Read the value of a record. Raises `Invalid` (`record-type`, `contract`, `directory-kind`)."""
    read = _READ.get(kind)
    if read is None:
        raise Invalid(
            "directory-kind",
            f"The directory holds a record of the kind {kind}, which this release does not know: use a newer one.",
        )
    members = record_type(f"directory/{kind}").decode(value)
    try:
        return read(members)
    except ValueError:
        # The text of a validation error repeats the value.
        raise Invalid("contract", f"A record of the kind {kind} in the directory does not hold what it must.") from None
