"""Says where a value breaks its Avro schema, and reads a field by its path; the value itself is never repeated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from fastavro.validation import ValidationError, validate


def broken_path(schema: Mapping[str, Any], value: object) -> str:
    """Return the dotted path of the field at which `value` does not fit the parsed `schema`.

    Empty when a member of the whole is missing or unknown: an unknown member's name is the sender's own text, and may
    be anything.
    """
    try:
        validate(value, cast("Any", schema), raise_errors=True, strict=True)
    except ValidationError as error:
        # fastavro puts the name of each record before the name of its field; a union reports each of its branches.
        fields = [str(found.field or "") for found in cast("list[Any]", error.errors)]
        deepest = max(fields, key=len, default="")
        return ".".join(_field_names(deepest, list(cast("Any", schema).get("__named_schemas", {}))))
    return ""


def _field_names(path: str, records: list[str]) -> list[str]:
    by_length = sorted(records, key=len, reverse=True)
    names: list[str] = []
    while path:
        record = next((name for name in by_length if path == name or path.startswith(name + ".")), "")
        name, _, path = path[len(record) :].removeprefix(".").partition(".")
        if name:
            names.append(name)
    return names


def value_at(value: Mapping[str, Any], path: str) -> object:
    """Return the field at a dotted `path`, `None` where a part of it is absent."""
    found: object = value
    for name in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = cast("Mapping[str, object]", found).get(name)
    return found
