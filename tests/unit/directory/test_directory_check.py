"""What `check` finds in documents that have the right form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from integrator.directory.check import check
from integrator.directory.documents import Inscriptions, Stated
from integrator.directory.manifests import load
from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract
from integrator.domain.documents import Document

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def demo() -> list[Stated]:
    return list(load([REPOSITORY / "schemas", REPOSITORY / "integrator/demo/manifests"]).documents)


def changed(document: Document, change: dict[str, Any]) -> Any:
    return type(document).model_validate(document.model_dump(mode="json", by_alias=True) | change)


def contract_of(documents: list[Stated], stream: str) -> Contract:
    contracts = [each.document for each in documents if isinstance(each.document, Contract)]
    return next(contract for contract in contracts if contract.stream == stream)


def found(demo: list[Stated], name: str, change: dict[str, Any]) -> list[tuple[str, str]]:
    """Return code and path of what is wrong when the named document is changed."""
    documents: list[Stated] = []
    for stated in demo:
        document = stated.document
        named = isinstance(document, Authorisation) and document.id == name
        named = named or (isinstance(document, Contract) and document.stream == name)
        documents.append(Stated(changed(document, change)) if named else stated)
    return [(problem.code, problem.path) for problem in check(documents)]


def test_everything_shipped_is_right(demo: list[Stated]) -> None:
    assert check(demo) == []


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"agency": "svbb"}, "agency-unknown", "agency"),
        ({"onBehalfOf": "nobody"}, "agency-unknown", "onBehalfOf"),
        ({"stream": "brp/persons"}, "stream-unknown", "stream"),
        ({"purpose": "other"}, "purpose-unknown", "purpose"),
        ({"purposeVersion": 7}, "purpose-unknown", "purposeVersion"),
        ({"fields": ["bsn", "birth.dat"]}, "path-unknown", "fields[1]"),
        ({"fields": ["bsn", "bsn"]}, "duplicate", "fields[1]"),
        ({"triggers": ["births"]}, "path-unknown", "triggers[0]"),
        ({"condition": "age <"}, "condition", "condition"),
        ({"condition": "nationality == 'x'"}, "condition", "condition"),
        ({"condition": "frobnicate(age)"}, "condition", "condition"),
        ({"conditionMayUse": ["nationality"]}, "condition", "conditionMayUse[0]"),
        ({"protectedAddress": "withhold"}, "role-missing", "protectedAddress"),
        ({"inscribes": {"capacity": "adult"}}, "capacity-unknown", "inscribes.capacity"),
        (
            {"population": [{"population": "inscribed", "capacities": ["adult"]}]},
            "capacity-unknown",
            "population[0].capacities[0]",
        ),
        (
            {"population": [{"population": "related", "relations": ["neighbour"]}]},
            "relation-unknown",
            "population[0].relations[0]",
        ),
        ({"period": {"start": "2026-01-02", "end": "2026-01-01"}}, "period", "period.end"),
    ],
)
def test_an_authorisation_that_cannot_be_right_is_found(
    demo: list[Stated], change: dict[str, Any], code: str, path: str
) -> None:
    assert found(demo, "s3-groeifonds-geboorte", change) == [(code, path)]


@pytest.mark.parametrize(
    "condition",
    ["age >= 3 && age < 18", "kind == 'created'", "death_date != null", "['a'].exists(x, x == municipality)"],
)
def test_a_condition_may_ask_what_the_contract_offers(demo: list[Stated], condition: str) -> None:
    assert found(demo, "s3-groeifonds-geboorte", {"condition": condition}) == []


def test_a_condition_about_origin_needs_to_be_named(demo: list[Stated]) -> None:
    contract = contract_of(demo, "brp/person")
    fields = {"decisionFields": {**contract.decision_fields, "nationality": "nationalities.code"}}
    documents = [Stated(changed(contract, fields)) if each.document is contract else each for each in demo]
    about = {"condition": "size(nationality) > 0"}
    assert found(documents, "s3-groeifonds-geboorte", about) == [("condition-origin", "condition")]
    assert found(documents, "s3-groeifonds-geboorte", about | {"conditionMayUse": ["nationality"]}) == []


def test_special_data_need_a_ground(demo: list[Stated]) -> None:
    change = {"purpose": "nabestaanden", "fields": ["bsn", "careKind"]}
    assert found(demo, "s4-svb-zorgindicatie", change) == [("no-special-ground", "fields[1]")]


def test_that_special_data_changed_needs_a_ground_too(demo: list[Stated]) -> None:
    change = {"purpose": "nabestaanden", "fields": ["bsn"], "triggers": ["decidedOn", "diagnosis"]}
    assert found(demo, "s4-svb-zorgindicatie", change) == [("no-special-ground", "triggers[1]")]


def test_a_stream_that_does_not_say_what_changed_has_no_triggers(demo: list[Stated]) -> None:
    contract = contract_of(demo, "ciz/wlz-indication")
    roles = contract.roles.model_dump(mode="json", by_alias=True) | {"changed": None}
    assert found(demo, "ciz/wlz-indication", {"roles": roles}) == [("role-missing", "triggers")]


@pytest.mark.parametrize(
    ("roles", "code", "path"),
    [
        ({"territory": "municipalty"}, "path-unknown", "roles.territory"),
        ({"territory": "nationalities.code"}, "role-type", "roles.territory"),
        ({"kind": "names"}, "role-type", "roles.kind"),
        ({"changed": "bsn"}, "role-type", "roles.changed"),
        ({"factId": {}}, "role-invalid", "roles.factId"),
        ({"factId": {"path": "bsn", "constant": "x"}}, "role-invalid", "roles.factId"),
        ({"subject": {"path": "parents.bsn", "schemes": ["bsn"]}}, "role-type", "roles.subject.path"),
        ({"birthDate": "restriction"}, None, None),
    ],
)
def test_a_role_points_to_a_field_of_its_type(
    demo: list[Stated], roles: dict[str, Any], code: str | None, path: str | None
) -> None:
    contract = contract_of(demo, "brp/person")
    all_roles = contract.roles.model_dump(mode="json", by_alias=True) | roles
    problems = found(demo, "brp/person", {"roles": all_roles})
    assert problems == ([] if code is None else [(code, path)])


@pytest.mark.parametrize(
    ("change", "code", "path"),
    [
        ({"timeZone": "Europe/Nowhere"}, "time-zone", "timeZone"),
        ({"timeZone": "../../etc/passwd"}, "time-zone", "timeZone"),
        ({"dpia": None}, "dpia-missing", "dpia"),
        ({"decisionFields": {"age": "restriction"}}, "decision-field", "decisionFields.age"),
        ({"decisionFields": {"in": "restriction"}}, "decision-field", "decisionFields.in"),
        ({"decisionFields": {"x": "names"}}, "role-type", "decisionFields.x"),
        ({"schemas": ["{"]}, "schema-invalid", "v1.avsc"),
        ({"schemas": ['"string"']}, "schema-invalid", "v1.avsc"),
    ],
)
def test_a_contract_that_cannot_be_right_is_found(
    demo: list[Stated], change: dict[str, Any], code: str, path: str
) -> None:
    assert (code, path) in found(demo, "brp/person", change)


def test_every_field_is_described(demo: list[Stated]) -> None:
    contract = contract_of(demo, "ciz/wlz-indication")
    fields = contract.model_dump(mode="json", by_alias=True)["fields"]
    del fields["scores"]
    fields["score"] = fields["bsn"]
    assert found(demo, "ciz/wlz-indication", {"fields": fields}) == [
        ("path-unknown", "fields.score"),
        ("field-undescribed", "fields"),
    ]


def test_a_schema_that_breaks_its_promise_is_found(demo: list[Stated]) -> None:
    contract = contract_of(demo, "ciz/wlz-indication")
    schema = json.loads(contract.schemas[0])
    first, *others = schema["fields"]
    schema["fields"] = [first | {"name": f"{first['name']}2"}, *others]
    problems = found(demo, "ciz/wlz-indication", {"schemas": [*contract.schemas, json.dumps(schema)]})
    assert ("schema-incompatible", "v2.avsc") in problems


def test_the_same_name_twice_is_told_when_the_contents_differ(demo: list[Stated]) -> None:
    first = next(each for each in demo if isinstance(each.document, Authorisation))
    assert check([*demo, first, Stated(first.document)]) == []
    other = Stated(changed(first.document, {"retention": "P1D"}))
    assert [problem.code for problem in check([*demo, other])] == ["duplicate"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"agency": "nobody"}, "agency-unknown"),
        ({"capacity": "adult"}, "capacity-unknown"),
        ({"end": "2019-12-31"}, "period"),
        ({"fill": "initial"}, "not-yet"),
    ],
)
def test_inscriptions_that_cannot_be_right_are_found(demo: list[Stated], change: dict[str, Any], code: str) -> None:
    members = {"agency": "groeifonds", "capacity": "child", "start": "2020-01-01", "persons": ["test:123456789012"]}
    document = Inscriptions.model_validate(members | change)
    assert [problem.code for problem in check([*demo, Stated(document)])] == [code]
