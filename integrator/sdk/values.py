"""Says where a value breaks its Avro schema, and reads a field by its path; the value itself is never repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from fastavro.validation import validate

_Path = tuple[str, ...]


def broken_path(schema: Mapping[str, Any], value: object) -> str:
    """Return the dotted path of the field at which `value` does not fit the parsed `schema`.

    Arrays and maps are passed through without a mark. Empty when a member of the whole is missing or unknown: an
    unknown member's name is the sender's own text, and may be anything.
    """
    named = cast("Mapping[str, Any]", schema.get("__named_schemas", {}))
    return ".".join(_broken(schema, value, named) or ())


def value_at(value: Mapping[str, Any], path: str) -> object:
    """Return the field at a dotted `path`, `None` where a part of it is absent."""
    found: object = value
    for name in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = cast("Mapping[str, object]", found).get(name)
    return found


def _broken(schema: Any, value: Any, named: Mapping[str, Any]) -> _Path | None:
    """Return where `value` breaks `schema`, `None` when it fits."""
    if isinstance(schema, list):
        return _broken_union(cast("list[Any]", schema), value, named)
    if isinstance(schema, str) and schema in named:
        return _broken(named[schema], value, named)
    whole = cast("Mapping[str, Any]", {"type": schema} if isinstance(schema, str) else schema)
    kind = whole["type"]
    if isinstance(kind, list | dict):
        return _broken(kind, value, named)
    if kind == "record":
        return _broken_record(whole, value, named)
    if kind == "array" and isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return _first(whole["items"], cast("Sequence[Any]", value), named)
    if kind == "map" and isinstance(value, Mapping):
        return _first(whole["values"], tuple(cast("Mapping[str, Any]", value).values()), named)
    if kind in ("array", "map"):
        return ()
    return None if validate(value, schema, raise_errors=False) else ()


def _broken_record(schema: Mapping[str, Any], value: Any, named: Mapping[str, Any]) -> _Path | None:
    if not isinstance(value, Mapping):
        return ()
    members = cast("Mapping[str, Any]", value)
    fields = {str(field["name"]): field for field in schema["fields"]}
    for name, field in fields.items():
        if name in members and (below := _broken(field["type"], members[name], named)) is not None:
            return name, *below
    # The writer is strict: a member that has a default must be there all the same.
    return None if fields.keys() == members.keys() else ()


def _broken_union(branches: list[Any], value: Any, named: Mapping[str, Any]) -> _Path | None:
    found = [_broken(branch, value, named) for branch in branches]
    return None if None in found else max((each for each in found if each is not None), key=len, default=())


def _first(schema: Any, items: Sequence[Any], named: Mapping[str, Any]) -> _Path | None:
    return next((found for item in items if (found := _broken(schema, item, named)) is not None), None)
