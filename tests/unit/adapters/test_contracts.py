"""The contracts that ship with the integrator: valid, wholly described, and true to what adapters write."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from integrator.domain.contract import Contract
from integrator.domain.projection import leaf_paths, paths
from integrator.encoding import schemas_directory

STREAMS = ("brp/person", "ciz/wlz-indication")


def load(stream: str) -> tuple[Contract, dict[str, Any]]:
    folder = schemas_directory() / stream
    text = (folder / "v1.avsc").read_text("utf-8")
    document = yaml.safe_load((folder / "contract.yaml").read_text("utf-8"))
    return Contract.model_validate({**document, "schemas": [text]}), json.loads(text)


@pytest.mark.parametrize("stream", STREAMS)
def test_every_field_has_a_category_and_words_for_citizens(stream: str) -> None:
    contract, schema = load(stream)
    assert [path for path in leaf_paths(schema) if contract.note(path) is None] == []


@pytest.mark.parametrize("stream", STREAMS)
def test_roles_notes_and_decision_fields_name_fields_that_exist(stream: str) -> None:
    contract, schema = load(stream)
    roles = contract.roles.model_dump()
    named = {value for value in roles.values() if isinstance(value, str)}
    named |= {contract.roles.subject.path, *(related.path for related in contract.roles.related)}
    named |= {*contract.fields, *contract.decision_fields.values()}
    assert named - set(paths(schema)) == set()


@pytest.mark.parametrize("stream", STREAMS)
def test_every_number_of_another_person_has_a_role(stream: str) -> None:
    contract, schema = load(stream)
    numbers = {path for path in leaf_paths(schema) if path.rpartition(".")[2] == "bsn"}
    own = {contract.roles.subject.path, "history.person.bsn"}
    assert numbers - own == {related.path for related in contract.roles.related}


def test_no_condition_can_ask_for_origin_or_for_reasons_of_health() -> None:
    person, _ = load("brp/person")
    care, _ = load("ciz/wlz-indication")
    for path in person.decision_fields.values():
        note = person.note(path)
        assert note is not None
        assert note.category not in ("origin", "special", "criminal")
    assert not {"ground", "diagnosis", "careProfile", "scores"} & set(care.decision_fields.values())


def test_both_contracts_say_that_no_official_message_was_found() -> None:
    assert all(load(stream)[0].modelled for stream in STREAMS)
