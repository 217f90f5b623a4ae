"""An operator plans and applies statements; what a rule refuses is on record, wrong writing is only answered."""

from __future__ import annotations

from typing import Any

import pytest

from integrator.directory.documents import Origin, Rejected, Stated, problem, to_wire
from integrator.domain.purpose import Agency
from tests.unit.http.http_samples import TEXTS, World, authorisation, bearer

AGENCY = Agency.model_validate(
    {
        "name": "svb", "title": TEXTS, "identifier": "oin:1", "sector": "social-insurance", "recipientClass": TEXTS,
        "modelled": True,
    }
)  # fmt: skip
STATED = {"documents": to_wire([Stated(AGENCY, Origin("parties.yaml", 1, 1))])}


def no_law() -> Rejected:
    stated = Stated(authorisation(), Origin("law.yaml", 2, 14))
    other = Stated(AGENCY, Origin("parties.yaml", 1, 1))
    return Rejected(
        [
            problem(other, "version-changed", "The agency stands with other content."),
            problem(stated, "no-legal-basis", "No citation is in force.", path="citations"),
        ]
    )


def test_a_plan_says_what_would_change_and_changes_nothing() -> None:
    world = World()
    answer = world.client().post("/v1/directory/plan", json=STATED, headers=bearer("operator"))
    assert answer.status_code == 200
    change = {"action": "create", "kind": "agency", "id": "svb", "version": 1, "note": "a new agency", "count": 1}
    assert answer.json() == {"basedOn": 7, "changes": [change], "problems": []}
    assert world.applied == []


def test_what_is_applied_reaches_the_writer_as_it_was_stated() -> None:
    world = World()
    answer = world.client().post("/v1/directory/apply", json=STATED, headers=bearer("operator"))
    assert answer.json()["position"] == 10
    assert world.waited_for == 10
    assert [stated.document for stated in world.applied] == [AGENCY]


def test_an_authorisation_without_a_law_in_force_conflicts_and_is_recorded_with_its_names() -> None:
    world = World(refuse=no_law())
    answer = world.client().post("/v1/directory/apply", json=STATED, headers=bearer("operator"))
    assert answer.status_code == 409
    assert answer.json()["code"] == "no-legal-basis"
    assert answer.json()["detail"] == "law.yaml:14: citations: No citation is in force. (and 1 more)"
    assert answer.json()["issues"][1]["name"] == "law.yaml:14: citations"
    [refusal] = world.refused
    assert refusal.detail == "citations: No citation is in force."  # without the file, which is the operator's affair
    assert (refusal.request, refusal.reason, refusal.principal) == ("apply", "no-legal-basis", "operator")
    assert (refusal.agency, refusal.purpose, refusal.stream) == ("svb", "aow", "demo/grant")
    assert (refusal.authorisation, refusal.version) == ("a1", 1)


def test_a_plan_that_could_not_stand_says_why_and_is_not_recorded() -> None:
    world = World(refuse=no_law())
    answer = world.client().post("/v1/directory/plan", json=STATED, headers=bearer("operator"))
    assert answer.json()["problems"][1:] == [
        {"code": "no-legal-basis", "message": "No citation is in force.", "place": "law.yaml:14: citations"}
    ]
    assert world.refused == []


def test_what_was_agreed_to_before_the_directory_changed_is_refused_as_stale() -> None:
    world = World()
    client = world.client()
    stale = client.post("/v1/directory/apply", json=STATED | {"basedOn": 6}, headers=bearer("operator"))
    assert (stale.status_code, stale.json()["code"]) == (409, "stale")
    assert world.applied == []
    assert client.post("/v1/directory/apply", json=STATED | {"basedOn": 7}, headers=bearer("operator")).is_success


@pytest.mark.parametrize("action", ["plan", "apply"])
def test_a_document_that_is_wrong_in_itself_is_a_wrong_request_and_not_recorded(action: str) -> None:
    world = World()
    wrong: dict[str, Any] = {"documents": [{"kind": "agency", "body": {"name": "Not A Name"}}]}
    answer = world.client().post(f"/v1/directory/{action}", json=wrong, headers=bearer("operator"))
    assert answer.status_code == 400
    assert answer.json()["code"] == "form"
    assert len(answer.json()["issues"]) > 1
    assert world.refused == []
    assert world.applied == []


@pytest.mark.parametrize("action", ["plan", "apply"])
def test_only_an_operator_may_state_anything(action: str) -> None:
    world = World()
    answer = world.client().post(f"/v1/directory/{action}", json=STATED, headers=bearer("svb-aow"))
    assert (answer.status_code, answer.json()["code"]) == (403, "operator-only")
    assert world.applied == []


def test_a_refusal_that_cannot_be_recorded_is_not_answered_as_one() -> None:
    world = World(refuse=no_law(), broken=True)
    answer = world.client().post("/v1/directory/apply", json=STATED, headers=bearer("operator"))
    assert (answer.status_code, answer.json()["code"]) == (503, "kafka-unreachable")
