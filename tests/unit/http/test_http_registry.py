"""Any Avro client finds its schemas, in the shapes and error numbers of Confluent's registry.

The calls are those that five clients were seen to make: Python, Java, kafkajs, franz-go and kafka-ui.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.unit.http.http_samples import PROJECTED, SCHEMA, World

SUBJECT = "agency.svb.aow.demo.grant-value"
REGISTERED = {"subject": SUBJECT, "version": 1, "id": 2, "schema": json.dumps(PROJECTED)}


@pytest.fixture
def client() -> TestClient:
    return World().client()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/schemas/types", ["AVRO"]),
        ("/schemas/ids/2", {"schema": json.dumps(PROJECTED)}),
        (f"/schemas/ids/2?subject={SUBJECT}", {"schema": json.dumps(PROJECTED)}),
        ("/schemas/ids/1?fetchMaxId=true", {"schema": json.dumps(SCHEMA), "maxId": 2}),
        ("/schemas/ids/2?includeSubjects=True", {"schema": json.dumps(PROJECTED), "subjects": [SUBJECT]}),
        ("/schemas/ids/2/schema", PROJECTED),
        ("/schemas/ids/2/subjects", [SUBJECT]),
        ("/schemas/ids/2/versions", [{"subject": SUBJECT, "version": 1}]),
        ("/subjects", [SUBJECT, "source.demo.grant-value"]),
        (f"/subjects/{SUBJECT}/versions", [1]),
        (f"/subjects/{SUBJECT}/versions/1", REGISTERED),
        (f"/subjects/{SUBJECT}/versions/latest", REGISTERED),
        (f"/subjects/{SUBJECT}/versions/-1", REGISTERED),
        (f"/subjects/{SUBJECT}/versions/1/schema", PROJECTED),
        ("/config", {"compatibilityLevel": "FULL_TRANSITIVE"}),
        (f"/config/{SUBJECT}", {"compatibilityLevel": "FULL_TRANSITIVE"}),
        ("/config/unknown?defaultToGlobal=true", {"compatibilityLevel": "FULL_TRANSITIVE"}),
        ("/mode", {"mode": "READONLY"}),
        ("/contexts", ["."]),
    ],
)
def test_what_clients_read(client: TestClient, path: str, expected: Any) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/vnd.schemaregistry.v1+json"
    assert answer.json() == expected


@pytest.mark.parametrize(
    ("path", "status", "number"),
    [
        ("/schemas/ids/99", 404, 40403),
        ("/schemas/ids/x", 404, 40403),
        ("/subjects/unknown/versions", 404, 40401),
        (f"/subjects/{SUBJECT}/versions/9", 404, 40402),
        (f"/subjects/{SUBJECT}/versions/x", 422, 42202),
        ("/config/unknown", 404, 40408),
        ("/subjects/a/b/c", 404, 404),
        ("/schemas/guids/7b6c1f6e-0000-0000-0000-000000000000", 404, 404),
        ("/associations/resources/-/topic?resourceType=topic&associationType=value", 404, 404),
    ],
)
def test_what_is_not_there_has_the_registrys_own_number(
    client: TestClient, path: str, status: int, number: int
) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.json()["error_code"] == number
    assert answer.headers["content-type"] == "application/vnd.schemaregistry.v1+json"


def test_a_schema_is_looked_up_by_its_content(client: TestClient) -> None:
    rewritten = json.dumps(json.loads(json.dumps(PROJECTED)), indent=2)
    answer = client.post(f"/subjects/{SUBJECT}?normalize=False&deleted=False", json={"schema": rewritten})
    assert answer.json() == REGISTERED
    missing = client.post(f"/subjects/{SUBJECT}", json={"schema": '"string"'})
    assert (missing.status_code, missing.json()["error_code"]) == (404, 40403)


def test_registering_what_is_registered_answers_its_id(client: TestClient) -> None:
    answer = client.post(f"/subjects/{SUBJECT}/versions?normalize=False", json={"schema": json.dumps(PROJECTED)})
    assert (answer.status_code, answer.json()) == (200, {"id": 2})


@pytest.mark.parametrize("subject", [SUBJECT, "unknown"])
def test_registering_anything_new_is_refused_and_says_what_to_do(client: TestClient, subject: str) -> None:
    answer = client.post(f"/subjects/{subject}/versions", json={"schema": '"string"'})
    assert (answer.status_code, answer.json()["error_code"]) == (403, 40301)
    assert "integrator apply" in answer.json()["message"]


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/config"), ("PUT", f"/config/{SUBJECT}"), ("DELETE", f"/subjects/{SUBJECT}")]
)
def test_nothing_can_be_changed(client: TestClient, method: str, path: str) -> None:
    assert client.request(method, path, json={}).json()["error_code"] == 40301


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"schema": 1}', b'{"schema": "{"}', b"\xff"])
def test_a_body_that_is_no_schema_is_told_so(client: TestClient, body: bytes) -> None:
    answer = client.post(f"/subjects/{SUBJECT}", content=body)
    assert (answer.status_code, answer.json()["error_code"]) == (422, 42201)


def test_a_wrong_method_has_the_registrys_shape_and_names_the_right_ones(client: TestClient) -> None:
    answer = client.post("/schemas/ids/1")
    assert (answer.status_code, answer.json()["error_code"]) == (405, 405)
    assert answer.headers["allow"] == "GET, HEAD"


def test_what_a_caller_typed_is_not_echoed_unless_it_looks_like_a_subject(client: TestClient) -> None:
    assert "<b>" not in client.get("/subjects/%3Cb%3E/versions").text
