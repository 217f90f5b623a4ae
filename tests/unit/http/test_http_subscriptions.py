"""An agency learns where to read, or is refused, and the refusal is on record before it hears of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from integrator.domain.directory import StandingAuthorisation
from integrator.domain.identifiers import Position
from tests.unit.http.http_samples import World, authorisation, bearer, knowledge

ASKED = {"stream": "demo/grant", "purpose": "aow"}


def test_an_agency_with_an_authorisation_in_force_learns_where_to_read() -> None:
    world = World()
    answer = world.client().post("/v1/subscriptions", json=ASKED, headers=bearer("svb-aow"))
    assert answer.status_code == 201
    assert answer.json() == {
        "stream": "demo/grant",
        "purpose": "aow",
        "topic": "agency.svb.aow.demo.grant",
        "groupPrefix": "agency.svb.aow.",
        "subject": "agency.svb.aow.demo.grant-value",
        "schemaId": 2,
        "authorisation": "a1",
        "version": 1,
    }
    assert world.refused == []


@pytest.mark.parametrize(
    ("token", "asked", "reason"),
    [
        ("duo-aow", ASKED, "not-authorised"),
        ("svb-aow", ASKED | {"purpose": "other"}, "not-authorised"),
        ("svb-aow", ASKED | {"stream": "demo/other"}, "not-authorised"),
    ],
)
def test_an_agency_without_one_is_refused_and_the_refusal_is_recorded(
    token: str, asked: dict[str, str], reason: str
) -> None:
    world = World()
    answer = world.client().post("/v1/subscriptions", json=asked, headers=bearer(token))
    assert answer.status_code == 403
    assert answer.json()["code"] == reason
    [refusal] = world.refused
    assert (refusal.request, refusal.reason) == ("subscribe", reason)
    assert (refusal.stream, refusal.purpose) == (asked["stream"], asked["purpose"])
    assert refusal.principal == f"agency-{token.replace('-', '--')}"


def test_an_authorisation_that_is_not_in_force_is_another_reason() -> None:
    world = World(knowledge(active=False))
    answer = world.client().post("/v1/subscriptions", json=ASKED, headers=bearer("svb-aow"))
    assert (answer.status_code, answer.json()["code"]) == (403, "not-active")
    assert [refusal.reason for refusal in world.refused] == ["not-active"]


def test_an_authorisation_for_questions_only_lets_nobody_subscribe() -> None:
    asking = StandingAuthorisation(authorisation(modes=["question"]), Position(5), active=True)
    world = World(replace(knowledge(), standing={"demo/grant": (asking,)}))
    answer = world.client().post("/v1/subscriptions", json=ASKED, headers=bearer("svb-aow"))
    assert answer.json()["code"] == "not-authorised"


def test_a_refusal_that_cannot_be_recorded_is_not_answered_as_one() -> None:
    world = World(broken=True)
    answer = world.client().post("/v1/subscriptions", json=ASKED, headers=bearer("duo-aow"))
    assert (answer.status_code, answer.json()["code"]) == (503, "kafka-unreachable")


@pytest.mark.parametrize(("headers", "code"), [({}, "not-authenticated"), (bearer("unknown"), "not-authenticated")])
def test_somebody_unknown_is_asked_who_they_are(headers: dict[str, str], code: str) -> None:
    world = World()
    answer = world.client().post("/v1/subscriptions", json=ASKED, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert world.refused == []


def test_an_operator_is_no_agency() -> None:
    answer = World().client().post("/v1/subscriptions", json=ASKED, headers=bearer("operator"))
    assert (answer.status_code, answer.json()["code"]) == (403, "agency-only")


def test_a_stream_tells_its_owner_what_to_write() -> None:
    told = World().client().get("/v1/streams/demo/grant").json()
    assert told["topic"] == "source.demo.grant"
    assert told["schemaId"] == 1
    assert told["sourceUrn"] == "urn:nld:oin:1:systeem:demo"
    assert told["person"] == {"path": "bsn", "schemes": ["bsn", "test"]}
    assert told["fact"] == {"path": "grantId"}


def test_an_unknown_stream_is_not_found() -> None:
    answer = World().client().get("/v1/streams/demo/other")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-stream")


def test_the_status_is_the_operators() -> None:
    client = World().client()
    assert client.get("/v1/status", headers=bearer("svb-aow")).json()["code"] == "operator-only"
    status = client.get("/v1/status", headers=bearer("operator")).json()
    assert status["directory"] == {
        "position": 9,
        "knowledgeVersion": 7,
        "days": {"Europe/Amsterdam": "2026-01-02"},
        "streams": 1,
        "authorisations": 1,
    }
    assert status["lag"] == [{"stream": "demo/grant", "records": 2}]
    assert status["ledger"][0]["size"] == 3
    assert status["care"] == {
        "witnessed": False,
        "sealed": "2026-11-23",
        "waiting": 1,
        "problem": "label-service",
        "setAside": 2,
    }
