"""What a plan says about new versions of contracts and authorisations, over a directory that stands."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from integrator.directory.documents import Stated
from integrator.directory.manifests import load
from integrator.directory.memory import MemoryDirectory
from integrator.directory.plan import Plan, plan_knowledge
from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract
from integrator.domain.purpose import Source

REPOSITORY = Path(__file__).parents[3]
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
STREAM = "ciz/wlz-indication"
SUBJECT = "agency.svb.dubbele-kinderbijslag.ciz.wlz-indication-value"


@pytest.fixture(scope="module")
def demo() -> list[Stated]:
    return list(load([REPOSITORY / "schemas", REPOSITORY / "integrator/demo/manifests"]).documents)


@pytest.fixture
def directory(demo: list[Stated]) -> MemoryDirectory:
    made = MemoryDirectory()
    made.append(plan(made, demo).records)
    return made


def plan(directory: MemoryDirectory, documents: list[Stated], *, now: datetime = NOON) -> Plan:
    with directory.read() as view:
        return plan_knowledge(documents, view.known, now=now)


def changed(demo: list[Stated], kind: type[Contract] | type[Authorisation], change: dict[str, Any]) -> list[Stated]:
    """Return the document about the indications with other members (outside names)."""
    found = next(each.document for each in demo if isinstance(each.document, kind) and each.document.stream == STREAM)
    return [Stated(kind.model_validate(found.model_dump(mode="json", by_alias=True) | change))]


def schemas(demo: list[Stated], edit: Callable[[list[dict[str, Any]]], object]) -> list[str]:
    """Return the contract's schemas with one more, whose fields `edit` has changed."""
    (stated,) = changed(demo, Contract, {})
    assert isinstance(stated.document, Contract)
    schema = json.loads(stated.document.schemas[0])
    edit(schema["fields"])
    return [*stated.document.schemas, json.dumps(schema)]


def codes(found: Plan) -> list[str]:
    return [problem.code for problem in found.problems]


def test_a_new_field_of_a_source_does_not_flow_by_itself(demo: list[Stated], directory: MemoryDirectory) -> None:
    added = schemas(demo, lambda fields: fields.append({"name": "note", "type": "string", "default": ""}))
    fields = changed(demo, Contract, {})[0].document.model_dump(mode="json", by_alias=True)["fields"]
    fields["note"] = fields["bsn"]
    found = plan(directory, changed(demo, Contract, {"version": 2, "schemas": added, "fields": fields}))
    assert codes(found) == []
    # The stream has a second schema; what the agency receives has not changed.
    new = [change for change in found.changes if change.kind == "schema"]
    assert [(change.id, change.version) for change in new] == [("source.ciz.wlz-indication-value", 2)]


def inside(schema: dict[str, Any], record: str) -> list[dict[str, Any]]:
    """Return the fields of the record that the schema defines under this name."""
    nodes: list[Any] = [schema]
    for node in nodes:
        if isinstance(node, dict):
            members = cast("dict[str, Any]", node)
            if members.get("name") == record and "fields" in members:
                return members["fields"]
            nodes.extend(members.values())
        elif isinstance(node, list):
            nodes.extend(cast("list[Any]", node))
    raise AssertionError(record)


@pytest.mark.parametrize(("record", "problems"), [("Address", ["field-flows"]), ("Nationality", [])])
def test_a_new_field_inside_a_record_that_is_received_whole_needs_a_new_authorisation(
    demo: list[Stated], directory: MemoryDirectory, record: str, problems: list[str]
) -> None:
    documents = [each.document for each in demo]
    contract = next(one for one in documents if isinstance(one, Contract) and one.stream == "brp/person")
    whole = next(one for one in documents if isinstance(one, Authorisation) and "address" in one.fields)
    schema = json.loads(contract.schemas[0])
    inside(schema, record).append({"name": "extra", "type": ["null", "string"], "default": None})
    members = contract.model_dump(mode="json", by_alias=True)
    wider = [
        Stated(Contract.model_validate(members | {"version": 2, "schemas": [*contract.schemas, json.dumps(schema)]}))
    ]
    found = plan(directory, wider)
    assert codes(found) == problems
    assert all(whole.id in problem.message for problem in found.problems)
    decided = Stated(whole.model_copy(update={"version": 2}))
    assert codes(plan(directory, [*wider, decided])) == []


def test_a_changed_field_gives_the_agency_a_schema_for_each_of_the_streams(
    demo: list[Stated], directory: MemoryDirectory
) -> None:
    def describe(fields: list[dict[str, Any]]) -> None:
        next(field for field in fields if field["name"] == "decidedOn")["doc"] = "another description"

    found = plan(directory, changed(demo, Contract, {"version": 2, "schemas": schemas(demo, describe)}))
    assert codes(found) == []
    assert (SUBJECT, 2) in [(change.id, change.version) for change in found.changes if change.kind == "schema"]


def test_a_field_that_an_authorisation_names_cannot_leave_the_contract(
    demo: list[Stated], directory: MemoryDirectory
) -> None:
    def remove(fields: list[dict[str, Any]]) -> None:
        fields[:] = [field for field in fields if field["name"] != "validUntil"]

    (stated,) = changed(demo, Contract, {"version": 2, "schemas": schemas(demo, remove)})
    members = stated.document.model_dump(mode="json", by_alias=True)
    members["roles"]["validUntil"] = None
    del members["decisionFields"]["valid-until"], members["fields"]["validUntil"]
    found = plan(directory, [Stated(Contract.model_validate(members))])
    assert codes(found) == ["path-unknown", "path-unknown"]  # a field and a trigger
    assert "s4-svb-zorgindicatie" in found.problems[0].message


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"partitions": 8}, "partitions"),
        ({"schemas": "changed"}, "schema-changed"),
        ({"roles": {"factId": {"constant": "decision"}}}, "role-changed"),
    ],
)
def test_what_keys_and_partitions_depend_on_never_changes(
    demo: list[Stated], directory: MemoryDirectory, change: dict[str, Any], code: str
) -> None:
    if "schemas" in change:
        change = {"schemas": schemas(demo, lambda fields: fields[0].update(doc="x"))[1:]}
    if "roles" in change:
        roles = changed(demo, Contract, {})[0].document.model_dump(mode="json", by_alias=True)["roles"]
        change = {"roles": roles | change["roles"]}
    assert codes(plan(directory, changed(demo, Contract, change | {"version": 2}))) == [code]


def test_a_wider_authorisation_needs_defaults_for_readers_of_what_was_delivered(
    demo: list[Stated], directory: MemoryDirectory
) -> None:
    (stated,) = changed(demo, Authorisation, {})
    assert isinstance(stated.document, Authorisation)
    fields = list(stated.document.fields)
    wider = plan(directory, changed(demo, Authorisation, {"version": 2, "fields": [*fields, "registeredAt"]}))
    assert codes(wider) == ["schema-incompatible"]
    with_default = plan(directory, changed(demo, Authorisation, {"version": 2, "fields": [*fields, "corrects"]}))
    assert codes(with_default) == []
    assert [change.version for change in with_default.changes if change.id == SUBJECT] == [2]


def test_a_notification_delivers_the_subject_only(demo: list[Stated]) -> None:
    made = MemoryDirectory()
    others = [each for each in demo if not isinstance(each.document, Authorisation)]
    made.append(plan(made, [*others, *changed(demo, Authorisation, {"payload": "notification"})]).records)
    with made.read() as view:
        schema = view.knowledge.latest_schema(SUBJECT)
    assert schema is not None
    assert [field["name"] for field in json.loads(schema.text)["fields"]] == ["bsn"]


@pytest.mark.parametrize("member", ["agency", "purpose"])
def test_another_party_is_another_authorisation(demo: list[Stated], directory: MemoryDirectory, member: str) -> None:
    change = {"agency": "gemeente"} if member == "agency" else {"purpose": "nabestaanden"}
    assert "another-authorisation" in codes(plan(directory, changed(demo, Authorisation, change | {"version": 2})))


def about_roles(demo: list[Stated], **change: Any) -> list[Stated]:
    """Return the next version of the contract, with other roles."""
    (stated,) = changed(demo, Contract, {})
    assert isinstance(stated.document, Contract)
    roles = stated.document.roles.model_dump(mode="json", by_alias=True)
    return changed(demo, Contract, {"version": 2, "roles": roles | change})


def test_a_contract_cannot_lose_what_a_standing_authorisation_withholds_by(demo: list[Stated]) -> None:
    withholding = changed(demo, Authorisation, {"protectedAddress": "withhold"})
    others = [each for each in demo if not isinstance(each.document, Authorisation | Contract)]
    made = MemoryDirectory()
    made.append(plan(made, [*others, *about_roles(demo, protectedAddress="withdrawn"), *withholding]).records)
    (stated,) = about_roles(demo, protectedAddress=None)
    without = [Stated(stated.document.model_copy(update={"version": 3}))]
    assert codes(plan(made, without)) == ["role-changed", "role-missing"]
    replaced = changed(demo, Authorisation, {"version": 2, "protectedAddress": "deliver"})
    # The ledger names recipients by their class where the mark stands, whatever the authorisations say.
    assert codes(plan(made, [*without, *replaced])) == ["role-changed"]
    (moved,) = about_roles(demo, protectedAddress="ground")
    assert codes(plan(made, [Stated(moved.document.model_copy(update={"version": 3}))])) == []


def test_a_contract_cannot_lose_what_a_standing_authorisation_decides_by(
    demo: list[Stated], directory: MemoryDirectory
) -> None:
    assert codes(plan(directory, about_roles(demo, birthDate=None))) == ["condition"]
    assert "role-missing" in codes(plan(directory, about_roles(demo, changed=None)))


def test_people_whom_deliveries_name_cannot_leave_the_contract(demo: list[Stated], directory: MemoryDirectory) -> None:
    assert codes(plan(directory, about_roles(demo, related=[]))) == ["role-changed"]


def test_a_second_authorisation_for_the_same_topic_waits_until_the_first_is_revoked(
    demo: list[Stated], directory: MemoryDirectory
) -> None:
    second = changed(demo, Authorisation, {"id": "another"})
    assert codes(plan(directory, second)) == ["second-authorisation"]
    revoked = changed(demo, Authorisation, {"version": 2, "state": "revoked"})
    assert codes(plan(directory, [*second, *revoked])) == []
    directory.append(plan(directory, revoked).records)
    assert codes(plan(directory, second)) == []


def test_revoking_is_possible_when_the_law_is_gone(demo: list[Stated], directory: MemoryDirectory) -> None:
    gone = [{"country": "NL", "act": "Law", "article": "1", "inForceFrom": "2020-01-01", "inForceUntil": "2021-01-01"}]
    change = {"version": 2, "citations": gone}
    assert codes(plan(directory, changed(demo, Authorisation, change))) == ["no-legal-basis"]
    assert codes(plan(directory, changed(demo, Authorisation, change | {"state": "revoked"}))) == []


def test_a_contract_needs_its_source(demo: list[Stated]) -> None:
    without = [each for each in demo if not isinstance(each.document, Source)]
    assert codes(plan(MemoryDirectory(), without)) == ["source-unknown", "source-unknown"]


def test_the_same_documents_in_any_order_make_the_same_directory(demo: list[Stated]) -> None:
    forwards, backwards = MemoryDirectory(), MemoryDirectory()
    forwards.append(plan(forwards, demo).records)
    backwards.append(plan(backwards, demo[::-1]).records)
    with forwards.read() as one, backwards.read() as other:
        assert one.knowledge.contracts == other.knowledge.contracts
        assert one.knowledge.authorisations == other.knowledge.authorisations
        assert {schema.text for schema in one.knowledge.schemas.values()} == {
            schema.text for schema in other.knowledge.schemas.values()
        }
