"""Holds that a byte projection equals fastavro's decode-pick-encode, and that nothing malformed passes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrator.domain.errors import Invalid
from integrator.domain.projection import Types, derive_schema, paths, pick, selection
from integrator.encoding import decode, encode, parse_schema
from integrator.routing.splice import compile_projector, compile_reader
from tests.unit.routing.avro_oracle import long, overlay, schemas, text, values

THOROUGH = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def parsed(schema: Any) -> dict[str, Any]:
    return parse_schema(json.dumps(schema))


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], list[str], Any, bytes, Any]:
    """A schema, fields, a value with one of its encodings, and a value of which nothing may be seen."""
    schema = draw(schemas())
    types = Types(schema)
    fields = draw(st.lists(st.sampled_from(list(paths(schema))), max_size=4))
    value, body = values(draw, types, types.top)
    other, _ = values(draw, types, types.top)
    return schema, fields, value, body, other


@THOROUGH
@given(cases())
def test_a_projection_is_what_picking_means(case: tuple[dict[str, Any], list[str], Any, bytes, Any]) -> None:
    schema, fields, value, body, _ = case
    assert decode(parsed(schema), body) == value
    projected = compile_projector(schema, fields)(body)
    assert decode(parsed(derive_schema(schema, fields)), projected) == pick(schema, value, fields)
    assert compile_projector(schema, fields, validated=True)(body) == projected


@THOROUGH
@given(cases())
def test_fields_that_are_not_authorised_change_no_byte(
    case: tuple[dict[str, Any], list[str], Any, bytes, Any],
) -> None:
    schema, fields, value, _, other = case
    types = Types(schema)
    disguised = overlay(types, types.top, value, other, selection(fields))
    project = compile_projector(schema, fields)
    assert project(encode(parsed(schema), disguised)) == project(encode(parsed(schema), value))


def test_a_short_list_of_items_without_bytes_is_a_list() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "f", "type": {"type": "array", "items": "null"}}]}
    body = encode(parsed(schema), {"f": [None] * 3})
    assert compile_projector(schema, ["f"])(body) == body


def test_a_type_that_contains_itself_may_hold_lists_in_lists_in_lists() -> None:
    deep: Any = {"type": "map", "values": "int"}
    for kind in ("items", "values", "values"):
        deep = {"type": "array" if kind == "items" else "map", kind: deep}
    fields = [{"name": "self", "type": ["null", "R"]}, {"name": "deep", "type": deep}]
    schema = {"type": "record", "name": "R", "fields": fields}
    inner = {"self": None, "deep": {"a": {"b": [{"c": 1}]}}}
    value = {"self": inner | {"self": inner}, "deep": {}}
    body = encode(parsed(schema), value)
    assert compile_reader(schema, ones=["self"], lists=["self"])(body) == (value["self"], [value["self"]])
    assert compile_projector(schema, ["self"])(body) == encode(
        parsed(derive_schema(schema, ["self"])), pick(schema, value, ["self"])
    )
    assert compile_projector(schema, ["deep"])(body) == b"\0"


@THOROUGH
@given(cases(), st.data())
def test_what_the_oracle_rejects_is_never_projected(
    case: tuple[dict[str, Any], list[str], Any, bytes, Any], data: st.DataObject
) -> None:
    schema, fields, _, body, _ = case
    hostile = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(hostile)))
        match data.draw(st.sampled_from(["set", "insert", "remove", "cut"])):
            case "set" if at < len(hostile):
                hostile[at] = data.draw(st.integers(0, 255))
            case "insert":
                hostile[at:at] = data.draw(st.binary(min_size=1, max_size=10))
            case "remove":
                del hostile[at : at + data.draw(st.integers(1, 4))]
            case _:
                del hostile[at:]
    try:
        projected = compile_projector(schema, fields)(bytes(hostile))
    except Invalid:
        return
    value = decode(parsed(schema), bytes(hostile))
    derived = parsed(derive_schema(schema, fields))
    assert compile_projector(schema, fields, validated=True)(bytes(hostile)) == projected
    # Encoded, because a mutated double may be NaN, which equals nothing.
    assert encode(derived, decode(derived, projected)) == encode(derived, pick(schema, value, fields))


def met(types: Types, node: Any, value: Any, path: list[str]) -> list[Any]:
    """The values at `path`, read from a decoded record."""
    if not path:
        return [value]
    node = types.resolve(node)
    if isinstance(node, list):
        return [] if value is None else met(types, next(b for b in node if b != "null"), value, path)
    if node["type"] == "array":
        return [found for item in value for found in met(types, node["items"], item, path)]
    below = next(field["type"] for field in node["fields"] if field["name"] == path[0])
    return met(types, below, value[path[0]], path[1:])


@THOROUGH
@given(cases(), st.data())
def test_a_reader_reads_what_decoding_gives(
    case: tuple[dict[str, Any], list[str], Any, bytes, Any], data: st.DataObject
) -> None:
    schema, lists, value, body, _ = case
    known, types = paths(schema), Types(schema)
    single = [path for path in known if not any(known[path[:at]].many for at, c in enumerate(path) if c == ".")]
    ones = data.draw(st.lists(st.sampled_from(single), max_size=3))
    read = compile_reader(schema, ones=ones, lists=lists)(body)
    for path, found in zip(ones, read[: len(ones)], strict=True):
        assert found == (met(types, types.top, value, path.split(".")) or [None])[0]
    for path, found in zip(lists, read[len(ones) :], strict=True):
        assert found == met(types, types.top, value, path.split("."))


RECORD = {
    "type": "record",
    "name": "R",
    "fields": [
        {"name": "secret", "type": "string"},
        {"name": "flag", "type": "boolean"},
        {"name": "small", "type": "int"},
        {"name": "large", "type": "long"},
        {"name": "choice", "type": ["null", "string"]},
        {"name": "sign", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"]}},
        {"name": "items", "type": {"type": "array", "items": {"type": "record", "name": "I", "fields": [
            {"name": "open", "type": "string"}, {"name": "closed", "type": "string"}]}}},
        {"name": "empties", "type": {"type": "array", "items": "null"}},
        {"name": "reals", "type": {"type": "array", "items": "double"}},
    ],
}  # fmt: skip


def body(**parts: bytes) -> bytes:
    whole = {
        "secret": text("canary"),
        "flag": b"\1",
        "small": long(-1),
        "large": long(2**63 - 1),
        "choice": long(1) + text("é"),
        "sign": long(1),
        "items": long(1) + text("seen") + text("canary") + b"\0",
        "empties": long(2) + b"\0",
        "reals": long(1) + b"\0" * 8 + b"\0",
    }
    assert parts.keys() <= whole.keys() | {"after"}
    return b"".join((whole | parts).values())


def test_a_partly_authorised_array_keeps_its_count_and_nothing_else() -> None:
    assert compile_projector(RECORD, ["items.open"])(body()) == long(1) + text("seen") + b"\0"


@pytest.mark.parametrize(
    ("what", "part"),
    [
        ("a length past the end", {"secret": long(1000) + b"canary"}),
        ("a negative length", {"secret": long(-1)}),
        ("text that is not UTF-8", {"secret": long(2) + b"\xc3\x28"}),
        ("a boolean of 2", {"flag": b"\2"}),
        ("an int of 33 bits", {"small": long(2**32)}),
        ("a varint of 11 bytes", {"large": b"\x80" * 10 + b"\1"}),
        ("a varint of 65 bits", {"large": b"\xff" * 9 + b"\2"}),
        ("a union index out of range", {"choice": long(2)}),
        ("a negative union index", {"choice": long(-1)}),
        ("an enum index out of range", {"sign": long(2)}),
        ("a block size that is too small", {"items": long(-1) + long(5) + text("seen") + text("canary") + b"\0"}),
        ("a block size that is too large", {"items": long(-1) + long(13) + text("seen") + text("canary") + b"\0"}),
        ("a negative block size", {"items": long(-1) + long(-12) + text("seen") + text("canary") + b"\0"}),
        ("a count past the end", {"items": long(2**40) + text("seen") + text("canary") + b"\0"}),
        ("a count of nothings without end", {"empties": long(2**62) + b"\0"}),
        ("a count of fixed sizes past the end", {"reals": long(2**62) + b"\0" * 8 + b"\0"}),
        ("bytes after the end", {"after": b"\0"}),
        ("an array without an end", {"reals": long(1) + b"\0" * 8}),
    ],
)
def test_malformed_bytes_do_not_pass(what: str, part: dict[str, bytes]) -> None:
    for fields in (
        ["secret"],
        ["choice"],
        ["items.open"],
        ["items", "empties"],
        [field["name"] for field in RECORD["fields"]],
    ):
        with pytest.raises(Invalid) as error:
            compile_projector(RECORD, fields)(body(**part))
        assert error.value.code == "contract", what
        assert "canary" not in str(error.value)
        assert error.value.__cause__ is None
    with pytest.raises(Invalid):
        compile_reader(RECORD, ones=["choice"], lists=["items.closed"])(body(**part))


def test_every_cut_is_noticed() -> None:
    whole = body()
    project = compile_projector(RECORD, ["secret", "reals"])
    assert project(whole)
    for end in range(len(whole)):
        with pytest.raises(Invalid):
            project(whole[:end])


def test_a_value_nested_without_end_is_refused() -> None:
    schema = {"type": "record", "name": "N", "fields": [{"name": "next", "type": ["null", "N"]}]}
    assert compile_projector(schema, ["next"])(b"\2" * 50 + b"\0")
    with pytest.raises(Invalid):
        compile_projector(schema, ["next"])(b"\2" * 100_000 + b"\0")


def test_arrays_nested_deeper_than_a_function_may_nest_loops_are_walked() -> None:
    items: Any = {"type": "record", "name": "I", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "int"}]}
    value: Any = {"a": 1, "b": 2}
    for _ in range(14):
        items, value = {"type": "array", "items": items}, [value, value] if _ < 3 else [value]
    schema = {"type": "record", "name": "R", "fields": [{"name": "deep", "type": items}]}
    encoded = encode(parsed(schema), {"deep": value})
    projected = compile_projector(schema, ["deep.b"])(encoded)
    expected = pick(schema, {"deep": value}, ["deep.b"])
    assert decode(parsed(derive_schema(schema, ["deep.b"])), projected) == expected
    assert compile_reader(schema, ones=[], lists=["deep.a"])(encoded) == ([1] * 8,)


def test_a_path_inside_an_array_has_no_one_value() -> None:
    with pytest.raises(Invalid) as error:
        compile_reader(RECORD, ones=["items.open"], lists=[])
    assert error.value.code == "path-many"


def test_a_logical_type_is_read_as_fastavro_reads_it() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "on", "type": {"type": "int", "logicalType": "date"}}]}
    decoded = decode(parsed(schema), long(0))["on"]
    assert compile_reader(schema, ones=["on"], lists=["on"])(long(0)) == (decoded, [decoded])
