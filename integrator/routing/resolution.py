"""Turns an Avro body of one schema into one of another: defaults, renames and promotions, by fastavro.

It is the slow way, for records of an older schema and for topics whose schema was derived from another version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, cast

import fastavro
from fastavro.read import SchemaResolutionError
from fastavro.schema import to_parsing_canonical_form

from integrator.domain.errors import Invalid
from integrator.encoding import encode
from integrator.routing.splice import compile_projector

Resolver = Callable[[bytes], bytes]
"""Avro body in, Avro body out. Raises `Invalid` (`contract`)."""


def same_encoding(schema: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two parsed schemas write the same bytes and the same names. SPEC Avro "Parsing Canonical Form"."""
    return to_parsing_canonical_form(cast("Any", schema)) == to_parsing_canonical_form(cast("Any", other))


def compile_resolver(writer: Mapping[str, Any], reader: Mapping[str, Any]) -> Resolver:
    """Return Avro's schema resolution between two parsed schemas as a function of the body."""
    # The walk comes first: it bounds what a decoder would do with hostile bytes.
    validate = compile_projector(writer, [])

    def resolve(body: bytes) -> bytes:
        validate(body)
        try:
            value = fastavro.schemaless_reader(BytesIO(body), cast("Any", writer), cast("Any", reader))
        except (SchemaResolutionError, ValueError, TypeError, LookupError) as error:
            raise Invalid("contract", "The value cannot be read as the other schema.") from error
        return encode(reader, value)

    return resolve
