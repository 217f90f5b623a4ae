"""Draws random Avro schemas, values and encodings for the tests of projections."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, cast

from hypothesis import strategies as st

from integrator.domain.projection import Selection, Types

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a record schema with nested records, unions, arrays, maps, references by name, and recursion."""
    names: list[str] = []  # finished types, which may be referred to
    open_records: list[str] = []

    def new_name() -> str:
        return f"T{len(names) + len(open_records)}_{draw(st.integers(0, 10**9))}"

    def record(depth: int) -> dict[str, Any]:
        name = new_name()
        open_records.append(name)
        fields = [{"name": f"f{number}", "type": node(depth + 1)} for number in range(draw(st.integers(1, 4)))]
        open_records.pop()
        names.append(name)
        return {"type": "record", "name": name, "fields": fields}

    def node(depth: int) -> Any:
        kinds = ["primitive", "primitive", "enum", "fixed", "optional"]
        kinds += ["record", "record", "array", "map", "union", "logical"] if depth < 5 else []
        kinds += ["reference"] if names else []
        kinds += ["recursion"] if open_records else []
        match draw(st.sampled_from(kinds)):
            case "primitive":
                return draw(st.sampled_from(PRIMITIVES))
            case "logical":
                return {"type": "string", "logicalType": "unheard-of"}
            case "enum":
                names.append(name := new_name())
                return {"type": "enum", "name": name, "symbols": ["A", "B", "C"][: draw(st.integers(1, 3))]}
            case "fixed":
                names.append(name := new_name())
                return {"type": "fixed", "name": name, "size": draw(st.integers(0, 5))}
            case "optional":
                inner = node(depth + 1)
                if isinstance(inner, list):
                    return inner
                return draw(st.permutations(["null", "string" if inner == "null" else inner]))
            case "record":
                return record(depth)
            case "array":
                return {"type": "array", "items": node(depth + 1)}
            case "map":
                return {"type": "map", "values": node(depth + 1)}
            case "union":
                return ["null", "boolean", "string", record(depth)]
            case "reference":
                return draw(st.sampled_from(names))
            case _:
                return ["null", draw(st.sampled_from(open_records))]

    return record(0)


def values(draw: st.DrawFn, types: Types, node: Any, depth: int = 0) -> tuple[Any, bytes]:
    """Draw a value and one of its encodings: blocks are split, and counted positively or negatively with a size."""
    found = types.resolve(node)
    if isinstance(found, list):
        union = cast("list[Any]", found)
        index = union.index("null") if depth > 7 and "null" in union else draw(st.integers(0, len(union) - 1))
        value, encoded = values(draw, types, union[index], depth + 1)
        return value, long(index) + encoded
    kind = cast("dict[str, Any]", found) if isinstance(found, dict) else {"type": found}
    match kind["type"]:
        case "record":
            parts = {field["name"]: values(draw, types, field["type"], depth + 1) for field in kind["fields"]}
            return {name: value for name, (value, _) in parts.items()}, b"".join(part for _, part in parts.values())
        case "array":
            return _blocks(draw, [values(draw, types, kind["items"], depth + 1) for _ in range(_size(draw, depth))])
        case "map":
            keys = [f"{number}{draw(st.text(max_size=2))}" for number in range(_size(draw, depth))]
            entries = [values(draw, types, kind["values"], depth + 1) for _ in keys]
            encoded = [(None, text(key) + part) for key, (_, part) in zip(keys, entries, strict=True)]
            return {key: value for key, (value, _) in zip(keys, entries, strict=True)}, _blocks(draw, encoded)[1]
        case "enum":
            index = draw(st.integers(0, len(kind["symbols"]) - 1))
            return kind["symbols"][index], long(index)
        case "fixed":
            value = draw(st.binary(min_size=kind["size"], max_size=kind["size"]))
            return value, value
        case primitive:
            return _primitive(draw, primitive)


def _size(draw: st.DrawFn, depth: int) -> int:
    return 0 if depth > 7 else draw(st.integers(0, 3))


def _blocks(draw: st.DrawFn, items: list[tuple[Any, bytes]]) -> tuple[list[Any], bytes]:
    encoded, left = b"", [part for _, part in items]
    while left:
        size = draw(st.integers(1, len(left)))
        body = b"".join(left[:size])
        encoded += (long(-size) + long(len(body)) if draw(st.booleans()) else long(size)) + body
        left = left[size:]
    return [value for value, _ in items], encoded + b"\0"


def _primitive(draw: st.DrawFn, kind: str) -> tuple[Any, bytes]:
    match kind:
        case "null":
            return None, b""
        case "boolean":
            flag = draw(st.booleans())
            return flag, bytes([flag])
        case "int" | "long":
            bits = 31 if kind == "int" else 63
            number = draw(st.integers(-(2**bits), 2**bits - 1) | st.integers(-70, 70))
            return number, long(number)
        case "float":
            real = draw(st.floats(width=32, allow_nan=False))
            return real, struct.pack("<f", real)
        case "double":
            real = draw(st.floats(allow_nan=False))
            return real, struct.pack("<d", real)
        case "bytes":
            data = draw(st.binary(max_size=70))
            return data, long(len(data)) + data
        case _:
            word = draw(st.text(max_size=5) | st.text(min_size=60, max_size=70))
            return word, text(word)


def long(number: int) -> bytes:
    """Encode an Avro int or long."""
    value, out = (number << 1) ^ (number >> 63), bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def text(word: str) -> bytes:
    """Encode an Avro string."""
    return long(len(word.encode())) + word.encode()


def overlay(types: Types, node: Any, kept: Any, other: Any, chosen: Selection | None) -> Any:
    """Return `other` with the authorised parts of `kept`: a value that an agency MUST NOT be able to tell from it."""
    if chosen is None or kept is None:
        return kept
    found = types.resolve(node)
    if isinstance(found, list):
        found = types.resolve(next(branch for branch in cast("list[Any]", found) if branch != "null"))
    kind = cast("Mapping[str, Any]", found)
    if kind["type"] == "array":
        spare = list(other) if isinstance(other, list) else []
        return [
            overlay(types, kind["items"], item, spare[number] if number < len(spare) else item, chosen)
            for number, item in enumerate(kept)
        ]
    other = other if isinstance(other, dict) else kept
    return {
        field["name"]: overlay(types, field["type"], kept[field["name"]], other[field["name"]], chosen[field["name"]])
        if field["name"] in chosen
        else other[field["name"]]
        for field in kind["fields"]
    }
