"""The vectors that the verifiers in Python, Node and Chromium share; this is Python's turn."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from tests.vectors import large
from tests.vectors.judging import judge
from tests.vectors.make import FOLDER, NAMES, files, load, made, written
from tests.vectors.mutating import damaged

VECTORS = [vector for name in NAMES for vector in load(name)] + made(large.cases())
ACCEPTED = [vector for vector in VECTORS if "proves" in vector]
REFUSED = [vector for vector in VECTORS if "code" in vector]


@pytest.mark.parametrize("vector", ACCEPTED, ids=lambda vector: vector["name"])
def test_what_holds_proves_what_it_says(vector: dict[str, Any]) -> None:
    assert judge(vector) == {"proves": vector["proves"]}


@pytest.mark.parametrize("vector", REFUSED, ids=lambda vector: vector["name"])
def test_what_was_tampered_with_fails_with_its_code(vector: dict[str, Any]) -> None:
    assert judge(vector) == {"code": vector["code"]}


def test_the_committed_vectors_are_those_that_the_script_makes() -> None:
    for name, content in files().items():
        assert written(content) == (FOLDER / name).read_text("utf-8"), f"run python -m tests.vectors.make for {name}"
    assert {file.name for file in FOLDER.glob("*.json")} == set(files()) == set(NAMES)


def test_every_vector_has_a_name_of_its_own() -> None:
    names = [vector["name"] for vector in VECTORS]
    assert len(set(names)) == len(names)


@settings(max_examples=250, deadline=None)
@given(damaged())
def test_a_damaged_opening_that_is_still_accepted_says_the_same(vector: dict[str, Any]) -> None:
    found = judge(vector)
    assert found.get("proves", vector["proves"]) == vector["proves"]
