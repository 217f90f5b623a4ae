"""The auditors' interface: who may ask, what may be asked, and that no answer comes without an entry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from integrator.http import audit
from integrator.http.app import create_app
from integrator.http.audit import Places
from integrator.http.identity import AgencyFor, Auditor, Operator, Principal, Tokens
from integrator.operation.secrets import FileSecrets
from integrator.recording.readings import result_digest
from tests.unit.http.http_samples import World, bearer
from tests.unit.recording.auditing_world import SUBJECTS, AuditedLedger

BASIS = {"Audit-Basis": "Comptabiliteitswet 2016, art. 7.24"}


class Auditors:
    """Knows two organisations, an operator and an agency by their names."""

    def identify(self, token: str) -> Principal | None:
        known: dict[str, Principal] = {
            "rekenkamer": Auditor("rekenkamer"),
            "inspectie": Auditor("inspectie"),
            "operator": Operator(),
            "svb": AgencyFor("svb", "aow"),
        }
        return known.get(token)


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[AuditedLedger]:
    made = AuditedLedger(tmp_path)
    made.disclose(5)
    made.refuse(1)
    yield made
    made.close()


@pytest.fixture
def client(audited: AuditedLedger) -> TestClient:
    router = audit.router(audited.auditing(in_a_day=4), Auditors(), cursor_key=b"k" * 32)
    return TestClient(create_app(replace(World().ports(), v1=[router])), raise_server_exceptions=False)


def get(client: TestClient, path: str, *, token: str = "rekenkamer", **query: Any) -> Any:
    return client.get(f"/v1/audit/{path}", params=query, headers=bearer(token) | BASIS)


def post(client: TestClient, *indices: int, token: str = "rekenkamer", **members: Any) -> Any:
    body = {"entries": [{"log": SUBJECTS, "index": index} for index in indices], "basis": BASIS["Audit-Basis"]}
    return client.post("/v1/audit/openings", json=body | members, headers=bearer(token))


def test_an_auditor_finds_entries_page_by_page(client: TestClient, audited: AuditedLedger) -> None:
    answer = get(client, "disclosures", recipient="groeifonds", field="bsn", limit=2).json()
    first = answer["entries"][0]
    assert (first["log"], first["outcome"]) == (SUBJECTS, "disclosed")
    assert first["statement"]["purpose"] == "startbedrag"
    seen = [entry["index"] for entry in answer["entries"]]
    while "next" in answer:
        answer = get(client, "disclosures", recipient="groeifonds", field="bsn", limit=2, cursor=answer["next"]).json()
        seen += [entry["index"] for entry in answer["entries"]]
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 5
    assert len(audited.readings) == 3


def test_the_digest_in_the_entry_can_be_computed_again(client: TestClient, audited: AuditedLedger) -> None:
    import base64

    answer = get(client, "disclosures").json()
    results = [[entry["log"], entry["index"]] for entry in answer["entries"]]
    assert result_digest(base64.b64decode(answer["reading"]["salt"]), results) == audited.readings[0].digest
    assert answer["reading"]["id"] == audited.readings[0].id


@pytest.mark.parametrize(("token", "status"), [("nobody", 401), ("operator", 403), ("svb", 403)])
def test_only_auditors_ask(client: TestClient, audited: AuditedLedger, token: str, status: int) -> None:
    assert get(client, "disclosures", token=token).status_code == status
    assert get(client, "counts", token=token).status_code == status
    assert post(client, 0, token=token).status_code == status
    assert audited.readings == []


def test_a_question_says_its_basis(client: TestClient) -> None:
    answer = client.get("/v1/audit/disclosures", headers=bearer("rekenkamer"))
    assert answer.status_code == 400
    assert answer.json()["issues"][0]["in"] == "header"


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 1001},
        {"outcome": "withheld"},
        {"since": "2026-11-24T10:30:00Z"},
        {"since": "2026-11-24T10:00:00+01:00"},
        {"since": "2026-99-24T10:00:00Z"},
        {"recipient": "SVB"},
        {"field": "birth date"},
        {"person": "999990019"},
        {"bsn": "999990019"},
        {"cursor": "AAAA"},
    ],
)
def test_what_cannot_be_asked_is_a_problem_without_an_echo(
    client: TestClient, audited: AuditedLedger, query: dict[str, Any]
) -> None:
    answer = get(client, "disclosures", **query)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert "999990019" not in answer.text
    assert audited.readings == []


def test_a_cursor_fits_one_organisations_own_question(client: TestClient) -> None:
    cursor = get(client, "disclosures", limit=2).json()["next"]
    assert get(client, "disclosures", limit=7, cursor=cursor).status_code == 200
    assert get(client, "disclosures", limit=2, cursor=cursor, token="inspectie").status_code == 400
    assert get(client, "disclosures", limit=2, cursor=cursor, recipient="groeifonds").status_code == 400


def test_counts_have_the_words_of_the_house(client: TestClient) -> None:
    answer = get(client, "counts", by=["recipient", "source"], step="hour").json()
    (cell,) = answer["counts"]
    assert cell == {
        "time": "2026-11-24T11:00:00Z",
        "values": {"recipient": "groeifonds", "source": "brp"},
        "entries": 15,
    }
    (alone,) = get(client, "counts", outcome=["disclosed", "refused"]).json()["counts"]
    assert alone == {"values": {}, "entries": 16}
    assert get(client, "counts", by="person").status_code == 400


def test_entries_are_opened_within_the_quota(client: TestClient, audited: AuditedLedger) -> None:
    plain = post(client, 0, 1).json()
    assert [set("ADSP") & set(opening) for opening in plain["openings"]] == [{"A"}, {"A"}]
    people = post(client, 0, 1, 2, parts="AS", purpose="lawfulness-2026")
    assert people.status_code == 200
    assert [set("ADSP") & set(opening) for opening in people.json()["openings"]] == [{"A", "S"}] * 3
    spent = post(client, 3, 4, parts="AS", purpose="lawfulness-2026")
    assert (spent.status_code, spent.json()["code"]) == (429, "quota-spent")
    assert [reading.opened for reading in audited.readings] == [0, 3]


@pytest.mark.parametrize(
    ("indices", "members", "code"),
    [
        ([0], {"parts": "AS"}, "purpose-missing"),
        ([0], {"parts": "ADS"}, "request-invalid"),
        ([], {}, "request-invalid"),
        ([99], {}, "no-such-entry"),
        ([0], {"basis": ""}, "request-invalid"),
        ([0] * 1001, {}, "request-invalid"),
        ([-1], {}, "request-invalid"),
    ],
)
def test_what_cannot_be_opened_is_said(
    client: TestClient, indices: list[int], members: dict[str, Any], code: str
) -> None:
    answer = post(client, *indices, **members)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_no_answer_comes_without_an_entry(client: TestClient, audited: AuditedLedger) -> None:
    audited.broken = True
    for answer in (get(client, "disclosures"), get(client, "counts"), post(client, 0)):
        assert answer.status_code == 503
        assert set(answer.json()) <= {"type", "title", "status", "detail", "code"}


def test_places_survive_and_do_not_move() -> None:
    places = Places(b"k" * 32)
    cursor = places.sign(b"one", {"s0-2026h2": 7})
    assert places.read(b"one", cursor) == {"s0-2026h2": 7}
    assert Places(b"k" * 32).read(b"one", cursor) == {"s0-2026h2": 7}
    for scope, given in ((b"two", cursor), (b"one", cursor[:-1]), (b"one", "")):
        with pytest.raises(Exception, match="begin without one"):
            places.read(scope, given)


def test_an_auditor_that_the_settings_do_not_name_any_more_is_nobody(tmp_path: Path) -> None:
    secrets, path = FileSecrets(tmp_path / "secrets"), tmp_path / "tokens.sha256"
    Tokens(path, auditors=["rekenkamer"]).provide(secrets, [Auditor("rekenkamer"), Operator()])
    token = secrets.get("token-auditor-rekenkamer").decode()
    assert Tokens(path, auditors=["rekenkamer", "inspectie"]).identify(token) == Auditor("rekenkamer")
    assert Tokens(path, auditors=["inspectie"]).identify(token) is None
    assert Tokens(path).identify(secrets.get("token-operator").decode()) == Operator()
