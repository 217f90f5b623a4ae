"""The committed document of the API is the one that the code makes, and keeps the house's own rules.

When the API changes on purpose: `python -m integrator.http.openapi > schemas/openapi/integrator-v1.json`.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from integrator.http.openapi import as_text, integrator_document
from tests.unit.http.http_samples import REPOSITORY

DOCUMENT = integrator_document()


def test_the_committed_document_is_what_the_code_says() -> None:
    committed = REPOSITORY / "schemas" / "openapi" / "integrator-v1.json"
    assert committed.read_text("utf-8") == as_text(DOCUMENT)


def test_every_operation_says_what_else_can_happen() -> None:
    for path in DOCUMENT["paths"].values():
        for operation in path.values():
            assert "default" in operation["responses"]
            assert "422" not in operation["responses"]


def test_problems_are_documented_as_problems() -> None:
    for path in DOCUMENT["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if status == "default" or status >= "400":
                    assert list(response["content"]) == ["application/problem+json"]


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["schemas"]))
def test_members_are_in_camel_case(name: str) -> None:
    properties: dict[str, Any] = DOCUMENT["components"]["schemas"][name].get("properties", {})
    assert [member for member in properties if not re.fullmatch(r"[a-z][a-zA-Z0-9]*", member)] == []


def test_no_path_has_a_place_for_a_person() -> None:
    places = {place for path in DOCUMENT["paths"] for place in re.findall(r"{(\w+)}", path)}
    assert places <= {"source", "name", "agency"}
