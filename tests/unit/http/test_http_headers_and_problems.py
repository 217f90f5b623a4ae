"""Every answer has the shape that the API rules ask for, a crash included, and echoes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from integrator.http.app import MAX_BODY, MAX_STATEMENT, create_app
from integrator.http.headers import SECURITY
from integrator_audit import Unavailable
from tests.unit.http.http_samples import World, bearer

ASKED = {"stream": "demo/grant", "purpose": "aow"}


async def crash(_: Request) -> Response:
    raise RuntimeError("999990019 must not come out")


async def away(_: Request) -> Response:
    raise Unavailable("ledger-store", "the connection was lost")


@pytest.fixture
def client() -> TestClient:
    return TestClient(create_app(replace(World().ports(), root=[Route("/crash", crash), Route("/away", away)])))


@pytest.mark.parametrize("path", ["/v1/streams/demo/grant", "/v1/nothing", "/nothing", "/crash", "/subjects"])
def test_every_answer_has_the_security_headers(client: TestClient, path: str) -> None:
    answer = client.get(path)
    for name, value in SECURITY:
        assert answer.headers[name.decode()] == value.decode()


def test_answers_of_the_api_carry_its_version_and_others_do_not(client: TestClient) -> None:
    assert client.get("/v1/streams/demo/grant").headers["api-version"] == "1.0.0"
    assert client.get("/v1/nothing").headers["api-version"] == "1.0.0"
    assert "api-version" not in client.get("/subjects").headers


def test_a_crash_is_a_problem_with_an_incident_number_and_nothing_of_the_error(client: TestClient) -> None:
    answer = client.get("/crash")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "internal"
    assert "999990019" not in answer.text


def test_a_database_that_is_away_is_said_whoever_reads_it(client: TestClient) -> None:
    answer = client.get("/away")
    assert (answer.status_code, answer.json()["code"]) == (503, "ledger-store")


def test_head_is_answered_wherever_get_is_without_a_body(client: TestClient) -> None:
    got, headed = client.get("/v1/streams/demo/grant"), client.head("/v1/streams/demo/grant")
    assert headed.status_code == 200
    assert headed.content == b""
    assert headed.headers["content-length"] == got.headers["content-length"]


def test_a_wrong_method_names_the_methods_that_are_allowed(client: TestClient) -> None:
    answer = client.delete("/v1/subscriptions")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert client.post("/v1/streams/demo/grant").headers["allow"] == "GET, HEAD"
    assert answer.json()["code"] == "method-not-allowed"


@pytest.mark.parametrize("path", ["/v1/streams/demo/grant/", "/streams/demo/grant", "/v1", "/v1/v1/status"])
def test_a_path_that_is_nearly_right_is_not_found(client: TestClient, path: str) -> None:
    assert client.get(path, follow_redirects=False).status_code == 404


def test_a_wrong_request_is_400_with_every_issue_and_no_value(client: TestClient) -> None:
    body = {"stream": "999990019", "purpose": 999990019, "999990019": "999990019"}
    answer = client.post("/v1/subscriptions", json=body, headers=bearer("svb-aow"))
    assert answer.status_code == 400
    assert {(issue["name"], issue["type"]) for issue in answer.json()["issues"]} == {
        ("stream", "string_pattern_mismatch"),
        ("purpose", "string_type"),
        ("", "extra_forbidden"),
    }
    assert "999990019" not in answer.text


def test_a_body_that_is_no_json_is_400_and_not_echoed(client: TestClient) -> None:
    headers = bearer("svb-aow") | {"Content-Type": "application/json"}
    answer = client.post("/v1/subscriptions", content=b'{"999990019', headers=headers)
    assert answer.status_code == 400
    assert "999990019" not in answer.text


LIMITS = [("/v1/subscriptions", MAX_BODY), ("/v1/directory/plan", MAX_STATEMENT), ("/subjects/x", MAX_BODY)]


@pytest.mark.parametrize(("path", "limit"), LIMITS)
def test_a_body_that_is_too_large_is_refused_as_a_problem_before_it_is_read(
    client: TestClient, path: str, limit: int
) -> None:
    answer = client.post(path, content=b"", headers={"Content-Length": str(limit + 1)})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("path", "limit"), LIMITS)
def test_a_large_body_without_a_declared_length_is_refused_as_well(client: TestClient, path: str, limit: int) -> None:
    given = 0

    def chunks() -> Iterator[bytes]:
        nonlocal given
        for _ in range(limit // 65536 + 2):
            given += 65536
            yield b" " * 65536

    headers = bearer("operator" if "directory" in path else "svb-aow") | {"Content-Type": "application/json"}
    answer = client.post(path, content=chunks(), headers=headers)
    assert answer.status_code == 413
    assert "json" in answer.headers["content-type"]


def test_a_statement_may_be_larger_than_anything_else(client: TestClient) -> None:
    headers = bearer("operator") | {"Content-Type": "application/json"}
    padded = b'{"documents": []' + b" " * (MAX_BODY * 2) + b"}"
    answer = client.post("/v1/directory/plan", content=padded, headers=headers)
    assert answer.json()["code"] == "request-invalid"


def test_the_document_can_be_read_by_anybody(client: TestClient) -> None:
    answer = client.get("/v1/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
