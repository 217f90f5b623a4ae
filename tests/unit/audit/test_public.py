from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrator_audit import Invalid, Refused
from integrator_audit.public import FEWEST_PERSONS, check_public, summarise
from tests.unit.audit.schema_check import breaches, schema

ORIGIN = "demo.integrator.example/ledger/demo/s0-2026h2"


def person(number: int) -> bytes:
    return b"%032d" % number


def rows(recipient: str, persons: int, *, each: int = 1) -> Iterator[tuple[tuple[str, ...], bytes]]:
    for number in range(persons * each):
        yield (recipient, "2026-11"), person(number % persons)


def others(recipient: str, persons: int) -> Iterator[tuple[tuple[str, ...], bytes]]:
    for number in range(persons):
        yield (recipient, "2026-11"), person(1000 + number)


def table(*parts: Iterator[tuple[tuple[str, ...], bytes]]) -> dict[str, object]:
    entries = [row for part in parts for row in part]
    return summarise(entries, origins=[ORIGIN], dimensions=["recipient", "month"])


def test_cells_of_ten_persons_are_shown_and_smaller_ones_are_one_number() -> None:
    document = table(rows("svb", 40, each=2), rows("uwv", 10), rows("cak", 9), others("duo", 2))
    assert document["cells"] == [
        {"values": ["svb", "2026-11"], "entries": 80},
        {"values": ["uwv", "2026-11"], "entries": 10},
    ]
    assert document["merged"] == {"cells": 2, "entries": 11}


def test_small_cells_about_the_same_few_persons_take_the_smallest_other_with_them() -> None:
    document = table(rows("svb", 40), rows("uwv", 12), rows("cak", 9), rows("duo", 9))
    assert document["cells"] == [{"values": ["svb", "2026-11"], "entries": 40}]
    assert document["merged"] == {"cells": 3, "entries": 30}


def test_one_person_with_many_entries_is_one_person() -> None:
    document = table(rows("svb", 1, each=500), rows("uwv", 40))
    assert document["cells"] == []
    assert document["merged"] == {"cells": 2, "entries": 540}


def test_a_table_about_fewer_than_ten_persons_says_no_number_of_entries() -> None:
    document = table(rows("svb", 9, each=7))
    assert document["cells"] == []
    assert document["merged"] == {"cells": 1}
    check_public(document)


def test_a_table_of_nothing_is_empty() -> None:
    assert table() == {
        "schema": "dienstenintegrator/public/v1",
        "origins": [ORIGIN],
        "dimensions": ["recipient", "month"],
        "cells": [],
    }


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 30)), max_size=300))
def test_no_number_in_a_table_is_about_fewer_than_ten_persons(rows: list[tuple[str, int]]) -> None:
    entries = [((recipient, "2026-11"), person(number)) for recipient, number in rows]
    document = summarise(entries, origins=[ORIGIN], dimensions=["recipient", "month"])
    check_public(document)
    assert not list(breaches(document, schema("public.v1"), schema("public.v1")))
    cells: Any = document["cells"]
    shown = {cell["values"][0]: cell["entries"] for cell in cells}
    persons = {name: {number for recipient, number in rows if recipient == name} for name in "abcdef"}
    assert all(len(persons[name]) >= FEWEST_PERSONS for name in shown)
    rest = set[int]().union(*(persons[name] for name in persons if name not in shown))
    merged: Any = document.get("merged", {})
    assert ("entries" in merged) == (len(rest) >= FEWEST_PERSONS)
    if rest and shown:
        assert sum(shown.values()) + merged["entries"] == len(rows)


def test_days_and_other_dimensions_are_refused() -> None:
    for dimensions, values in (
        (["date"], ("2026-11-03",)),
        (["month"], ("2026-11-03",)),
        (["month", "month"], ("2026-11", "2026-11")),
        (["recipient", "partition"], ("svb", "3")),
        ([], ()),
        (["recipient"], ("svb", "2026-11")),
    ):
        with pytest.raises(Invalid) as caught:
            summarise([(values, person(1))], origins=[ORIGIN], dimensions=dimensions)
        assert caught.value.code == "public-dimension"


@pytest.mark.parametrize(
    "change",
    [
        {"partition": 3},
        {"schema": "dienstenintegrator/history/v1"},
        {"origins": None},
        {"dimensions": ["recipient", "offset"]},
        {"dimensions": ["recipient", "eventId"]},
        {"cells": {}},
        {"cells": [{"values": ["svb", "2026-11"], "entries": 9}]},
        {"cells": [{"values": ["svb", "2026-11"], "entries": True}]},
        {"cells": [{"values": ["svb", "2026-11-03"], "entries": 10}]},
        {"cells": [{"values": ["svb"], "entries": 10}]},
        {"cells": [{"values": ["svb", "2026-11"], "entries": 10, "offset": 7}]},
        {"cells": [{"values": ["svb", "2026-11"], "entries": 10, "eventId": "x"}]},
        {"cells": ["svb"]},
        {"merged": 3},
        {"merged": {"cells": 1, "entries": 10, "persons": 3}},
        {"merged": {"cells": 0}},
    ],
)
def test_a_document_that_says_more_than_totals_is_not_for_everybody(change: dict[str, object]) -> None:
    document = json.loads(json.dumps(table(rows("svb", 40))))
    check_public(document)
    with pytest.raises(Refused) as caught:
        check_public(document | change)
    assert caught.value.code == "public-entry"
