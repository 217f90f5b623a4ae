"""Holds that every contract that ships can be read, derived and projected, with fastavro as the oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrator.domain.contract import Contract
from integrator.domain.projection import Types, derive_schema, leaf_paths, paths, pick
from integrator.domain.reading import EventReader
from integrator.encoding import decode, parse_schema, schemas_directory
from integrator.routing.splice import compile_projector, compile_reader
from tests.unit.routing.avro_oracle import values

FOLDERS = sorted(Path(str(schemas_directory())).glob("*/*/contract.yaml"))
CASES = pytest.mark.parametrize("file", FOLDERS, ids=lambda file: "/".join(file.parts[-3:-1]))


def shipped(file: Path) -> tuple[Contract, dict[str, Any]]:
    texts = [found.read_text("utf-8") for found in sorted(file.parent.glob("v*.avsc"))]
    contract = Contract.model_validate(yaml.safe_load(file.read_text("utf-8")) | {"schemas": texts})
    return contract, json.loads(texts[-1])


def test_there_are_contracts() -> None:
    assert {file.parent.name for file in FOLDERS} >= {"person", "wlz-indication"}


@CASES
def test_each_leaf_alone_has_a_schema_and_a_projection(file: Path) -> None:
    _, schema = shipped(file)
    for path in leaf_paths(schema):
        assert parse_schema(json.dumps(derive_schema(schema, [path])))
        assert compile_projector(schema, [path])


@CASES
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_random_record_is_read_and_projected_as_the_oracle_does(file: Path, data: st.DataObject) -> None:
    contract, schema = shipped(file)
    known, types = paths(schema), Types(schema)
    value, body = data.draw(st.composite(lambda draw: values(draw, types, types.top, 5))())
    reader = EventReader(contract, known)
    assert compile_reader(schema, ones=reader.paths.ones, lists=reader.paths.lists)(body) == reader.decoded(value)
    fields = data.draw(st.lists(st.sampled_from(list(known)), max_size=8))
    derived = parse_schema(json.dumps(derive_schema(schema, fields)))
    assert decode(derived, compile_projector(schema, fields)(body)) == pick(schema, value, fields)
