"""A reader of the few words of JSON Schema 2020-12 that the documents of the ledger use; it fails at any other word."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

_SILENT = {"$schema", "$id", "$defs", "title", "description"}
_TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}


def schema(name: str) -> dict[str, Any]:
    """Return a schema that ships with the library, such as `opening.v1`."""
    text = resources.files("integrator_audit").joinpath("documents", f"{name}.json").read_text("utf-8")
    return json.loads(text)


def breaches(value: Any, rules: dict[str, Any], root: dict[str, Any], where: str = "") -> Iterator[str]:
    """Yield where and how `value` breaks `rules`, a part of the schema `root`."""
    for word, wanted in rules.items():
        match word:
            case "$ref":
                yield from breaches(value, root["$defs"][wanted.removeprefix("#/$defs/")], root, where)
            case "allOf":
                for item in wanted:
                    yield from breaches(value, item, root, where)
            case "oneOf":
                if sum(not list(breaches(value, item, root, where)) for item in wanted) != 1:
                    yield f"{where}: oneOf"
            case "properties":
                for key in set(wanted) & set(value):
                    yield from breaches(value[key], wanted[key], root, f"{where}/{key}")
            case "items":
                for at, item in enumerate(value):
                    yield from breaches(item, wanted, root, f"{where}/{at}")
            case _ if word not in _SILENT:
                if not _holds(word, wanted, value, rules):
                    yield f"{where}: {word}"


def _holds(word: str, wanted: Any, value: Any, rules: dict[str, Any]) -> bool:
    match word:
        case "type":
            return isinstance(value, _TYPES[wanted]) and not (wanted == "integer" and isinstance(value, bool))
        case "const":
            return value == wanted
        case "enum":
            return value in wanted
        case "pattern":
            return re.search(wanted, value) is not None
        case "minimum":
            return value >= wanted
        case "maximum":
            return value <= wanted
        case "minLength" | "minItems":
            return len(value) >= wanted
        case "maxLength" | "maxItems":
            return len(value) <= wanted
        case "uniqueItems":
            return len(set(value)) == len(value)
        case "required":
            return set(wanted) <= set(value)
        case "additionalProperties":
            return bool(wanted) or set(value) <= set(rules["properties"])
    raise ValueError(f"this reader of schemas does not know {word}")
