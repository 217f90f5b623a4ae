"""Holds that a derived schema is legal Avro, keeps its names, and describes exactly what is picked."""

from __future__ import annotations

import copy
from io import BytesIO
from typing import Any

import fastavro
import pytest

from integrator.domain.errors import Invalid
from integrator.domain.projection import derive_schema, leaf_paths, paths, pick

NAMES = {
    "type": "record",
    "name": "Names",
    "fields": [{"name": "given", "type": "string"}, {"name": "family", "type": "string", "doc": "last name"}],
}
NODE = {
    "type": "record",
    "name": "Node",
    "fields": [
        {"name": "sex", "type": {"type": "enum", "name": "Sex", "symbols": ["F", "M", "X"]}},
        {"name": "next", "type": ["null", "Node"]},
    ],
}
PARENT = {
    "type": "record",
    "name": "Parent",
    "fields": [{"name": "bsn", "type": ["null", "string"]}, {"name": "names", "type": ["null", "Names"]}],
}
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Person",
    "namespace": "brp",
    "fields": [
        {"name": "bsn", "type": "string"},
        {"name": "names", "type": NAMES, "default": {"given": "", "family": "-"}},
        {"name": "parents", "type": {"type": "array", "items": PARENT}},
        {"name": "line", "type": ["null", NODE], "default": None},
        {"name": "scores", "type": {"type": "map", "values": "Node"}},
        {"name": "sex", "type": "Sex"},
        {"name": "other", "type": ["null", "string", "Names"]},
    ],
}
VALUE: dict[str, Any] = {
    "bsn": "999990019",
    "names": {"given": "Anna", "family": "Zomer"},
    "parents": [{"bsn": "999990020", "names": {"given": "Bo", "family": "Zomer"}}, {"bsn": None, "names": None}],
    "line": {"sex": "F", "next": {"sex": "M", "next": None}},
    "scores": {"a": {"sex": "X", "next": None}},
    "sex": "F",
    "other": None,
}
CASES = [
    ["bsn"],
    ["parents.names.given", "names"],
    ["line", "scores", "sex", "other"],
    ["line.next"],
    ["scores", "parents.names", "names.family"],
    ["parents.bsn", "parents", "bsn"],
    [path for path in paths(SCHEMA) if "." not in path],
]


def _round_trip(schema: dict[str, Any], value: Any) -> Any:
    out = BytesIO()
    fastavro.schemaless_writer(out, copy.deepcopy(schema), value)
    out.seek(0)
    return fastavro.schemaless_reader(out, copy.deepcopy(schema), None)


@pytest.mark.parametrize("fields", CASES)
def test_what_is_picked_is_what_the_derived_schema_describes(fields: list[str]) -> None:
    derived, picked = derive_schema(SCHEMA, fields), pick(SCHEMA, VALUE, fields)
    assert _round_trip(derived, picked) == picked
    out = BytesIO()
    fastavro.schemaless_writer(out, derived, picked, strict=True)  # strict: no field more, no field less


@pytest.mark.parametrize("fields", CASES)
def test_resolution_against_the_derived_schema_gives_the_same(fields: list[str]) -> None:
    out = BytesIO()
    fastavro.schemaless_writer(out, copy.deepcopy(SCHEMA), VALUE)
    out.seek(0)
    assert fastavro.schemaless_reader(out, copy.deepcopy(SCHEMA), derive_schema(SCHEMA, fields)) == pick(
        SCHEMA, VALUE, fields
    )


def test_only_named_fields_remain_in_the_order_of_the_schema() -> None:
    assert pick(SCHEMA, VALUE, ["sex", "parents.names.given", "bsn"]) == {
        "bsn": "999990019",
        "parents": [{"names": {"given": "Bo"}}, {"names": None}],
        "sex": "F",
    }
    assert [field["name"] for field in derive_schema(SCHEMA, ["sex", "bsn"])["fields"]] == ["bsn", "sex"]


def test_a_type_reduced_in_two_ways_has_two_names() -> None:
    derived = derive_schema(SCHEMA, ["names.family", "parents.names.given"])
    names = derived["fields"][0]["type"]["name"]
    of_parents = derived["fields"][1]["type"]["items"]["fields"][0]["type"][1]["name"]
    assert (names, of_parents) == ("brp.Names", "brp.parents.names.Names")


def test_names_made_of_paths_do_not_meet() -> None:
    inner = {"type": "record", "name": "In", "fields": [{"name": "t", "type": "T"}]}
    schema = {
        "type": "record",
        "name": "Top",
        "fields": [
            {"name": "t", "type": {"type": "record", "name": "T", "fields": [{"name": "x", "type": "int"}]}},
            {"name": "a_t", "type": "T"},
            {"name": "a", "type": inner},
        ],
    }
    derived = derive_schema(schema, ["t", "a_t", "a"])
    assert _round_trip(derived, {"t": {"x": 1}, "a_t": {"x": 2}, "a": {"t": {"x": 3}}})["a"]["t"] == {"x": 3}


def test_the_top_record_keeps_its_full_name() -> None:
    assert derive_schema(SCHEMA, ["bsn"])["name"] == "brp.Person"


def test_a_wider_authorisation_renames_nothing() -> None:
    def names(node: Any, path: str = "") -> dict[str, str]:
        if isinstance(node, list):
            return {key: value for branch in node for key, value in names(branch, path).items()}
        if not isinstance(node, dict):
            return {}
        if node["type"] == "array":
            return names(node["items"], path)
        inner = {k: v for f in node.get("fields", ()) for k, v in names(f["type"], f"{path}.{f['name']}").items()}
        return {path: node["name"], **inner} if "fields" in node else inner

    narrow = names(derive_schema(SCHEMA, ["parents.names.given"]))
    wide = names(derive_schema(SCHEMA, ["parents", "names", "line", "bsn"]))
    assert narrow.items() <= wide.items()
    assert len(narrow) == 3


def test_a_default_is_reduced_with_its_record() -> None:
    assert derive_schema(SCHEMA, ["names.family"])["fields"][0]["default"] == {"family": "-"}


def test_a_record_inside_itself_is_one_value() -> None:
    assert paths(SCHEMA)["line.next"].type == "recursion"
    derived = derive_schema(SCHEMA, ["line.next"])
    assert pick(SCHEMA, VALUE, ["line.next"]) == {"line": {"next": {"sex": "M", "next": None}}}
    assert _round_trip(derived, {"line": {"next": {"sex": "M", "next": None}}})["line"]["next"]["sex"] == "M"


@pytest.mark.parametrize(
    "path", ["nothing", "names.nothing", "scores.sex", "other.given", "line.next.sex", "bsn.x", ""]
)
def test_a_path_that_the_schema_cannot_address_is_refused(path: str) -> None:
    with pytest.raises(Invalid) as error:
        derive_schema(SCHEMA, ["bsn", path])
    assert (error.value.code, error.value.where) == ("path-unknown", path)


@pytest.mark.parametrize("schema", [{}, {"type": "string"}, {"type": "record", "fields": []}, {"type": ["null"]}])
def test_what_is_no_record_schema_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as error:
        derive_schema(schema, [])
    assert error.value.code == "schema-invalid"


def test_types_that_multiply_are_refused() -> None:
    node: dict[str, Any] = {"type": "record", "name": "T0", "fields": [{"name": "v", "type": "int"}]}
    for level in range(1, 15):
        node = {
            "type": "record",
            "name": f"T{level}",
            "fields": [{"name": "a", "type": node}, {"name": "b", "type": f"T{level - 1}"}],
        }
    with pytest.raises(Invalid, match="paths"):
        paths(node)


def test_paths_tell_types_through_arrays_and_nulls() -> None:
    found = paths(SCHEMA)
    assert (found["parents.bsn"].type, found["parents.bsn"].optional) == ("string", True)
    assert (found["parents"].type, found["parents"].many) == ("record", True)
    assert (found["scores"].type, found["other"].type) == ("map", "union")
    assert leaf_paths(SCHEMA)[:3] == ["bsn", "names.given", "names.family"]
    assert "parents" not in leaf_paths(SCHEMA)


def test_deriving_leaves_the_schema_as_it_was() -> None:
    before = copy.deepcopy(SCHEMA)
    derive_schema(SCHEMA, ["parents.names", "line"])
    pick(SCHEMA, VALUE, ["names"])
    assert before == SCHEMA
