from __future__ import annotations

from typing import Any

import pytest

from integrator_audit.completeness.history import History
from integrator_audit.errors import Tampered
from tests.unit.audit.lying.operator import Document, Operator
from tests.unit.audit.lying.verifiers import history_of
from tests.unit.audit.schema_check import breaches, schema

ANN, BOB, CARL = "bsn:999990019", "bsn:999990020", "bsn:999990032"


def check(operator: Operator, document: Document, number: str = ANN, **asked: Any) -> History:
    return history_of(operator, document, number, **asked)


@pytest.fixture(scope="module")
def week() -> Operator:
    """Return an operator after five days: Ann and Bob have entries, Carl none; on the third day nobody has."""
    operator = Operator()
    for day in range(5):
        for _ in range(0 if day == 2 else 2):
            operator.deliver(ANN, "svb")
            operator.deliver(BOB, "uwv")
        for at in range(5):
            operator.deliver(f"bsn:{day}{at}", "svb")
        operator.deliver(ANN, "uwv") if day == 4 else None
        operator.end_day()
    return operator


def test_a_whole_history_holds_and_says_what_was_found_each_day(week: Operator) -> None:
    result = check(week, week.history(ANN))
    assert [len(day.entries) for day in result.days] == [2, 2, 0, 2, 3]
    assert [entry.parts["A"]["recipient"] for entry in result.days[4].entries] == ["svb", "svb", "uwv"]
    assert {entry.parts["A"]["date"] for entry in result.days[1].entries} == {"2000-01-02"}
    assert result.unlisted == 4
    assert all(set(entry.parts) == {"A", "S"} for entry in result.entries)


def test_a_person_without_entries_gets_a_proof_of_that_for_each_day(week: Operator) -> None:
    assert [len(day.entries) for day in check(week, week.history(CARL), CARL).days] == [0] * 5


def test_days_can_be_asked_for(week: Operator) -> None:
    result = check(week, week.history(ANN, first=1, last=3), first=1, last=3)
    assert [(day.first, day.last, len(day.entries)) for day in result.days] == [(1, 1, 2), (2, 2, 0), (3, 3, 2)]
    with pytest.raises(Tampered) as caught:
        check(week, week.history(ANN, first=1, last=3))
    assert caught.value.code == "day-missing"
    assert "2000-01-01" in caught.value.message
    with pytest.raises(Tampered) as caught:
        check(week, week.history(ANN, first=1, last=3), first=1)
    assert caught.value.code == "day-missing"
    assert "2000-01-05" in caught.value.message


def test_documents_are_of_their_published_schema(week: Operator) -> None:
    document = week.history(ANN) | {
        "erased": [{"ground": "retention", "opening": week.opening(week.kept(0)[0], "A", size=1)}]
    }
    for changed in (document, week.history(CARL), document | {"days": erased_day(document)}):
        assert list(breaches(changed, schema("history.v1"), schema("history.v1"))) == []
    for opening in document["entries"]:
        assert list(breaches(opening, schema("opening.v1"), schema("opening.v1"))) == []
    for change in ({"y": "AAAA"}, {"epochs": {}}, {"shards": [{}]}, {"days": [{"epoch": 1}]}):
        assert list(breaches(document | change, schema("history.v1"), schema("history.v1"))) != []


def erased_day(document: Document) -> list[Document]:
    """Return a document's days with the first one's list erased."""
    end = {"erased": {"hL": document["days"][0]["end"]["leaf"]["salt"], "ground": "order"}}
    return [document["days"][0] | {"end": end}, *document["days"][1:]]
