"""Holds compatibility against Apache's own checker, the second opinion."""

from __future__ import annotations

import json
from typing import Any

import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse

from integrator.directory.compatibility import incompatibilities, unreadable


def record(*fields: dict[str, Any], name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


def field(kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": "f", "type": kind} | more


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols)} | more


NODE = {
    "type": "record",
    "name": "Node",
    "fields": [{"name": "next", "type": ["null", "Node"]}, {"name": "value", "type": "int"}],
}
KINDS: list[Any] = [
    "null",
    "boolean",
    "int",
    "long",
    "float",
    "double",
    "string",
    "bytes",
    ["null", "int"],
    ["null", "string"],
    ["int", "string"],
    {"type": "array", "items": "int"},
    {"type": "array", "items": "long"},
    {"type": "map", "values": "int"},
    {"type": "map", "values": "string"},
    enum("A", "B"),
    enum("A"),
    {"type": "fixed", "name": "F", "size": 4},
    {"type": "fixed", "name": "F", "size": 5},
    record({"name": "a", "type": "int"}, name="Inner"),
    record({"name": "a", "type": "int"}, {"name": "b", "type": "int", "default": 1}, name="Inner"),
    record({"name": "a", "type": "int"}, {"name": "b", "type": "int"}, name="Inner"),
    NODE,
]


@pytest.mark.parametrize("writer", KINDS, ids=json.dumps)
@pytest.mark.parametrize("reader", KINDS, ids=json.dumps)
def test_apaches_checker_agrees(reader: Any, writer: Any) -> None:
    reads, writes = record(field(reader)), record(field(writer))
    apache = ReaderWriterCompatibilityChecker().get_compatibility(parse(json.dumps(reads)), parse(json.dumps(writes)))
    assert (not list(unreadable(reads, writes))) == (apache.compatibility == SchemaCompatibilityType.compatible)


def test_the_place_of_a_break_is_named() -> None:
    inner = record({"name": "a", "type": "int"}, name="Inner")
    wider = record({"name": "a", "type": "string"}, {"name": "b", "type": "int"}, name="Inner")
    reader, writer = (record(field({"type": "array", "items": items})) for items in (wider, inner))
    found = dict(unreadable(reader, writer))
    assert set(found) == {"f.a", "f.b"}
    assert "no default" in found["f.b"]


def test_full_looks_both_ways_and_backward_one_way() -> None:
    before, after = record(field("int")), record(field("long"))
    assert incompatibilities(after, before, "BACKWARD_TRANSITIVE") == []
    assert incompatibilities(before, after, "BACKWARD_TRANSITIVE")
    assert incompatibilities(after, before, "FULL_TRANSITIVE")


def test_an_enum_with_a_default_takes_what_it_does_not_know() -> None:
    assert not list(unreadable(record(field(enum("A", default="A"))), record(field(enum("A", "B")))))


def test_a_field_is_found_by_its_alias() -> None:
    old = record({"name": "old", "type": "int"})
    assert not list(unreadable(record({"name": "new", "type": "int", "aliases": ["old"]}), old))


def test_names_are_compared_without_their_namespace() -> None:
    assert not list(unreadable({**record(), "namespace": "a.b"}, record()))
    assert list(unreadable(record(name="S"), record()))
