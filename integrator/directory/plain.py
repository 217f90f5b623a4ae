"""Says in plain words what is wrong with the form of a document, and what to write instead; never with its values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from difflib import get_close_matches
from typing import Any, cast

from pydantic import ValidationError

from integrator.domain.identifiers import NAME_PATTERN, STREAM_PATTERN

_PATTERNS = {
    NAME_PATTERN: "must be a name: a to z, 0 to 9 and single hyphens",
    STREAM_PATTERN: "must be source/stream, each of a to z, 0 to 9 and single hyphens",
    r"^P(\d+[YMWD])+$": "must be a duration after ISO 8601, as P5Y or P6M",
    r"^P(\d+[YMWD])+$|^PT?\d+[HMS]$": "must be a duration after ISO 8601, as P7D or PT12H",
    r"^[A-Z]{2}$": "must be a country of two capital letters, as NL",
    r"^[0-9]{4,5}$": "must be a municipality's code of four or five digits, in quotes",
    r"^[0-9a-f]{64}$": "must be 64 hexadecimal digits",
    r"^urn:[a-z0-9][a-z0-9-]{0,31}:[A-Za-z0-9:._-]+$": "must be a URN, as urn:nld:oin:…",
}
_WORDS = {
    "missing": "is missing",
    "string_type": "must be a text; write numbers, dates and yes or no in quotes",
    "string_too_short": "must not be empty",
    "too_short": "must have at least one value",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list, as [a, b]",
    "list_type": "must be a list, as [a, b]",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of names to values",
    "model_attributes_type": "must be a mapping of names to values",
    "string_unicode": "must be a text without broken characters",
}
_DAY = "must be a day, as 2026-01-31"
_MOMENT = "must be a day, as 2026-01-31, or an instant, as 2026-01-31T12:00:00+01:00"
_ZONE = "is an instant without a time zone; end it in Z or +01:00"
_MOMENT_MEMBERS = frozenset({"start", "end", "inForceFrom", "inForceUntil", "on"})
_WRITTEN_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WRITTEN_INSTANT = re.compile(rf"{_WRITTEN_DAY.pattern}[Tt ][0-9:.]+([Zz]|[+-][0-9]{{2}}:?[0-9]{{2}})?")
_LONG_NUMBER = re.compile(r"[0-9]{8,}")
_TAGS = frozenset({"datetime", "date", "[key]"})


def explain(error: ValidationError, body: Any) -> list[tuple[str, str]]:
    """Return, for each place with an error, its path and one sentence; no value of the document is in either."""
    found: dict[str, list[tuple[str, str]]] = {}
    for one in error.errors(include_url=False, include_input=False):
        path, last = _path(one["loc"], body)
        found.setdefault(path, []).append((one["type"], _words(one["type"], one.get("ctx") or {}, last)))
    # Of a list whose values are wrong, pydantic also says that it has too few.
    return [
        (path, _sentence(path, together))
        for path, together in found.items()
        if together[0][0] != "too_short" or not any(other.startswith(f"{path}[") for other in found)
    ]


def moments(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and sentence of each moment that is neither a day nor an instant with a time zone.

    Pydantic would take a number for seconds since 1970, and an instant at midnight without a time zone for a day.
    """
    if isinstance(value, list):
        for at, item in enumerate(cast("list[Any]", value)):
            yield from moments(item, f"{path}[{at}]")
    elif isinstance(value, dict):
        for name, inner in cast("dict[Any, Any]", value).items():
            where = f"{path}.{mask(str(name))}" if path else mask(str(name))
            if name in _MOMENT_MEMBERS and not isinstance(inner, dict | list):
                if (words := _moment_words(inner)) is not None:
                    yield where, f"{where} {words}."
            else:
                yield from moments(inner, where)


def _moment_words(value: Any) -> str | None:
    if isinstance(value, datetime):
        return _ZONE if value.tzinfo is None else None
    if value is None or isinstance(value, date):
        return None
    if not isinstance(value, str):
        return _MOMENT
    if (written := _WRITTEN_INSTANT.fullmatch(value)) is not None:
        return _ZONE if written[1] is None else None
    return None if _WRITTEN_DAY.fullmatch(value) else _MOMENT


def _sentence(path: str, together: Sequence[tuple[str, str]]) -> str:
    types = [kind for kind, _ in together]
    if any(kind.startswith(("date_", "datetime_", "timezone_")) for kind in types):
        # A moment is a day or an instant, and both forms object: one sentence for the two.
        days_only = not any(kind.startswith(("datetime_", "timezone_")) for kind in types)
        words = _ZONE if "timezone_aware" in types else _DAY if days_only else _MOMENT
    else:
        words = together[0][1]
    subject = f"{path} " if path else "The document "
    return words if words.startswith("There is no") else f"{subject}{words}."


def _words(kind: str, context: dict[str, Any], last: str) -> str:
    match kind:
        case "extra_forbidden":
            return f"There is no member {mask(last)} here.{suggest(last, _members())}"
        case "literal_error" | "enum":
            return f"must be {context.get('expected', 'one of the known values')}"
        case "union_tag_invalid" | "union_tag_not_found":
            tags = context.get("expected_tags", "'inscribed', 'related', 'territory', 'all'")
            return f"must say its population, one of {tags}"
        case "string_pattern_mismatch":
            return _PATTERNS.get(context["pattern"], f"must have the form {context['pattern']}")
        case "string_too_long" | "too_long":
            return f"is longer than {context.get('max_length')}"
        case "greater_than_equal":
            return f"must be at least {context.get('ge')}"
        case "less_than_equal":
            return f"must be at most {context.get('le')}"
        case _:
            return _WORDS.get(kind, "does not have the form that it must have")


def _path(location: Sequence[int | str], body: Any) -> tuple[str, str]:
    """Return the path and its last name, without the names of alternatives that pydantic puts in between."""
    path, last, here = "", "", body
    for at, step in enumerate(location):
        if isinstance(step, int) and not isinstance(here, dict):
            path += f"[{step}]"
            here = _step(here, step)
            continue
        inside = isinstance(here, dict) and step in cast("dict[int | str, Any]", here)
        if not inside and (step in _TAGS or at < len(location) - 1):
            continue
        last = str(step)
        name = mask(last)
        path += f".{name}" if path else name
        here = _step(here, step)
    return path, last


def _step(here: Any, step: int | str) -> Any:
    try:
        return here[step]
    except (KeyError, IndexError, TypeError):
        return None


def mask(text: str) -> str:
    """Return `text` with long numbers hidden: a person's number in the wrong place stays unsaid."""
    return _LONG_NUMBER.sub("•••", text)


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a sentence that names the nearest of `known`, or nothing when none is near."""
    near = get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""


def _members() -> set[str]:
    """Return every member name of every document."""
    # Imported here: the documents explain themselves with this module.
    from integrator.domain import authorisation, contract, inscription, purpose  # noqa: PLC0415
    from integrator.domain.documents import Document  # noqa: PLC0415

    modules = (authorisation, contract, inscription, purpose)
    models = [
        found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, Document)
    ]
    names = {field.alias or name for model in models for name, field in model.model_fields.items()}
    return names | {"persons", "personsFile"}
