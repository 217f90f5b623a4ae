"""Reads and writes Avro: Confluent frames on streams, single-object frames in the integrator's own records.

- Stream values: `0x00`, 4-byte big-endian schema id, Avro binary.
- The integrator's own records (directory, lanes, steps, disclosures, requests, receipts, quarantine): Avro
  single-object encoding, `0xC3 0x01`, 8-byte little-endian CRC-64-AVRO fingerprint of the schema, Avro binary.
  SPEC Avro 1.12 "Single-object encoding". So a record says by itself which version of its schema wrote it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import fastavro
from fastavro.schema import SchemaParseException, fingerprint, to_parsing_canonical_form

from integrator.domain.errors import Invalid

_MARK = b"\xc3\x01"
_FRAME = struct.Struct(">bI")


def schemas_directory() -> Traversable:
    """Return the folder of schemas: inside the wheel, or beside the package in a checkout."""
    packaged = resources.files("integrator") / "_data" / "schemas"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parent.parent / "schemas"


def parse_schema(text: str) -> dict[str, Any]:
    """Parse an Avro schema from JSON text. Raises `Invalid` (`schema-invalid`)."""
    try:
        return cast("dict[str, Any]", fastavro.parse_schema(json.loads(text)))
    except (ValueError, KeyError, TypeError, SchemaParseException) as error:
        raise Invalid("schema-invalid", f"This is no Avro schema: {error}") from None


def decode(schema: Mapping[str, Any], body: bytes) -> Any:
    """Decode one Avro value that fills `body` to its last byte. Raises `Invalid` (`contract`)."""
    stream = BytesIO(body)
    try:
        value = fastavro.schemaless_reader(stream, cast("Any", schema), None)
    except Exception as error:
        # fastavro raises EOFError, IndexError, ValueError, UnicodeDecodeError, OverflowError, MemoryError and more
        # for hostile bytes; all of them mean the same here, and their texts may quote the data.
        raise Invalid("contract", "The value does not fit its schema.") from error
    if stream.tell() != len(body):
        raise Invalid("contract", "The value goes on after its schema's end.")
    return value


def encode(schema: Mapping[str, Any], value: Any) -> bytes:
    """Encode one Avro value. Raises `Invalid` (`contract`) when it does not fit; the message names no value."""
    out = BytesIO()
    try:
        fastavro.schemaless_writer(out, cast("Any", schema), value, strict=True)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError) as error:
        raise Invalid("contract", "The value does not fit its schema.") from error
    return out.getvalue()


def frame(schema_id: int, body: bytes) -> bytes:
    """Put the Confluent prefix before an Avro body."""
    return _FRAME.pack(0, schema_id) + body


def unframe(value: bytes | None) -> tuple[int, bytes]:
    """Split a stream value into schema id and Avro body. Raises `Invalid` (`not-avro`)."""
    if value is None or len(value) < _FRAME.size or value[0] != 0:
        raise Invalid("not-avro", "The value does not begin with 0x00 and a schema id.")
    return int.from_bytes(value[1:5], "big"), value[5:]


@dataclass(frozen=True, slots=True)
class RecordType:
    """One of the integrator's own record types, with every version of its schema that was ever written."""

    name: str
    schema: dict[str, Any]
    """The version that is written."""
    prefix: bytes
    known: Mapping[bytes, dict[str, Any]]
    """Every version that is read, by the ten bytes that open its records."""

    def encode(self, value: Mapping[str, Any]) -> bytes:
        """Return the single-object encoding of `value`. Raises `Invalid` (`contract`)."""
        return self.prefix + encode(self.schema, value)

    def decode(self, data: bytes) -> dict[str, Any]:
        """Read a single-object encoding of any known version. Raises `Invalid` (`record-type`, `contract`)."""
        writer = self.known.get(data[:10])
        if writer is None:
            raise Invalid("record-type", f"The record is not a {self.name} of a version that this release knows.")
        return decode(writer, data[10:])


def prefix(schema: Mapping[str, Any]) -> bytes:
    """Return the ten bytes that open a single-object encoding under `schema`."""
    return _MARK + bytes.fromhex(fingerprint(to_parsing_canonical_form(cast("Any", schema)), "CRC-64-AVRO"))


@cache
def record_type(name: str) -> RecordType:
    """Load the record type `name`, such as `ledger/disclosure`, from its `v<N>.avsc` files."""
    folder = schemas_directory()
    for part in name.split("/"):
        folder = folder / part
    versions: list[dict[str, Any]] = []
    while (file := folder / f"v{len(versions) + 1}.avsc").is_file():
        versions.append(parse_schema(file.read_text("utf-8")))
    if not versions:
        raise Invalid("record-type", f"There is no schema {name}/v1.avsc in this installation.")
    return RecordType(name, versions[-1], prefix(versions[-1]), {prefix(schema): schema for schema in versions})
