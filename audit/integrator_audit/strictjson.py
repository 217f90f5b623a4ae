"""Reads JSON documents that strangers hand over so that no two readers can understand different things by them.

- UTF-8 without byte order mark; one object; no key twice in an object (RFC 8259 §4 lets readers choose which counts).
- Numbers are integers smaller than 2^53 and not `-0`: what JavaScript holds exactly. No NaN, no Infinity.
- No null: what is not said is absent. No key made of digits: JavaScript moves those to the front.
- No surrogate without its pair, at most 32 levels, and a limit on the bytes.
- White space, the order of keys and escapes are free: people re-save such files with tools of their own.
"""

from __future__ import annotations

import json
import re
from typing import Final, NoReturn, cast

from integrator_audit.errors import Invalid

MAX_DEPTH: Final = 32
_INTEGER_LIMIT: Final = 1 << 53
_INTEGER_DIGITS: Final = 17
_DIGITS: Final = re.compile("[0-9]+")
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def read_object(data: bytes, *, what: str, limit: int) -> dict[str, object]:
    """Return the JSON object in `data`; raise `Invalid` (`document`) when it breaks a rule. `what` names it."""
    if len(data) > limit:
        raise Invalid("document", f"{what} has at most {limit} bytes")
    try:
        value: object = json.loads(
            data.decode(),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
        )
        _check(value, depth=1)
    except RecursionError as error:
        raise Invalid("document", f"{what} is nested more than {MAX_DEPTH} deep") from error
    except UnicodeDecodeError as error:
        raise Invalid("document", f"{what} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise Invalid("document", f"{what} is not JSON: {error.msg} at character {error.pos}") from error
    except ValueError as error:
        raise Invalid("document", f"{what} is not a strict JSON document: {error}") from error
    if not isinstance(value, dict):
        raise Invalid("document", f"{what} is not a JSON object")
    return cast("dict[str, object]", value)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key stands twice in one object")
    if any(_DIGITS.fullmatch(key) for key in members):
        raise ValueError("a key is made of digits only")
    return members


def _integer(text: str) -> int:
    if text == "-0" or len(text) > _INTEGER_DIGITS or not -_INTEGER_LIMIT < (number := int(text)) < _INTEGER_LIMIT:
        raise ValueError("an integer is smaller than 2^53, and zero has no sign")
    return number


def _refuse_number(_text: str) -> NoReturn:
    raise ValueError("a number is an integer in plain digits")


def _check(value: object, *, depth: int) -> None:
    if isinstance(value, str):
        if _LONE_SURROGATE.search(value):
            raise ValueError("a text has a surrogate without its pair")
        return
    if value is None:
        raise ValueError("null says nothing: leave the key out")
    if not isinstance(value, dict | list):
        return
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        for key, item in members.items():
            _check(key, depth=depth)
            _check(item, depth=depth + 1)
    else:
        for item in cast("list[object]", value):
            _check(item, depth=depth + 1)
