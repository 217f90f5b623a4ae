"""Holds that everybody whom a delivery names with a number is a data subject once, and everybody else is counted."""

from __future__ import annotations

from typing import Any

import pytest

from integrator.domain.disclosure import DeliveredPeople
from integrator.domain.errors import Invalid
from integrator.domain.projection import paths
from integrator.domain.reading import EventReader, SourceEvent, values_at
from tests.unit.routing.samples import CHILD, MOTHER, SCHEMA, SUBJECT, contract, person, value


def event(**change: Any) -> SourceEvent:
    reader = EventReader(contract(), paths(SCHEMA))
    return reader.event(reader.decoded(value(**change)), id="e", time="t")


def named(fields: list[str], about: SourceEvent) -> tuple[list[tuple[str, str]], int]:
    found, unidentified = DeliveredPeople(contract(), fields).of(about)
    return [(who.value, role) for who, role in found], unidentified


@pytest.mark.parametrize(
    ("fields", "expected", "unidentified"),
    [
        (["bsn"], [(SUBJECT, "subject")], 0),
        (["name"], [], 1),
        (["bsn", "parents.bsn"], [(SUBJECT, "subject"), (MOTHER, "parent")], 1),
        (["bsn", "parents"], [(SUBJECT, "subject"), (MOTHER, "parent")], 1),
        (["bsn", "parents.name"], [(SUBJECT, "subject")], 2),
        (["bsn", "partner"], [(SUBJECT, "subject")], 0),
    ],
)
def test_an_authorised_number_makes_a_data_subject(
    fields: list[str], expected: list[tuple[str, str]], unidentified: int
) -> None:
    assert named(fields, event()) == (expected, unidentified)


def test_nobody_is_a_data_subject_twice_and_the_first_role_counts() -> None:
    about = event(
        parents=[{"bsn": MOTHER, "name": None}, {"bsn": SUBJECT, "name": None}, {"bsn": MOTHER, "name": None}],
        partner={"bsn": MOTHER, "name": None},
    )
    assert named(["bsn", "parents", "partner"], about) == ([(SUBJECT, "subject"), (MOTHER, "parent")], 0)


def test_people_come_in_the_order_of_the_record() -> None:
    roles = contract().roles.model_dump(by_alias=True)
    roles["related"] = list(reversed(roles["related"]))
    reader = EventReader(contract(roles=roles), paths(SCHEMA))
    about = reader.event(reader.decoded(value(partner={"bsn": CHILD, "name": None})), id="e", time="t")
    found, _ = DeliveredPeople(contract(roles=roles), ["bsn", "partner", "parents"]).of(about)
    assert [role for _, role in found] == ["subject", "parent", "partner"]


def test_a_wrong_number_of_a_related_person_identifies_nobody() -> None:
    about = event(parents=[{"bsn": "123", "name": None}, {"bsn": "", "name": None}])
    assert [one.ref for one in about.related] == [None, None]
    assert named(["bsn", "parents.bsn"], about) == ([(SUBJECT, "subject")], 2)


def test_the_event_has_what_the_roles_say() -> None:
    about = event(kind="corrected", corrects="e0", shielded=True)
    assert (about.subject, about.kind, about.corrects, about.fact_id) == (person(SUBJECT), "corrected", "e0", "person")
    assert (about.territory, about.birth_date, about.protected) == ("0518", "2012-03-04", True)
    assert about.sheltered
    assert not event(shielded=False).sheltered
    assert about.changed == ("address",)
    assert about.decision_fields == {"home-town": "0518", "birth-country": "6030"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"kind": "unheard"}, "contract"),
        ({"bsn": ""}, "no-subject"),
        ({"bsn": "999990018"}, "subject-invalid"),
        ({"bsn": "9999900 19"}, "subject-invalid"),
    ],
)
def test_a_record_without_a_kind_or_a_subject_is_no_event(change: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid) as error:
        event(**change)
    assert error.value.code == code
    assert "9999" not in str(error.value)


def test_a_role_that_the_schema_lacks_is_refused() -> None:
    roles = contract().roles.model_dump(by_alias=True) | {"territory": "nowhere"}
    with pytest.raises(Invalid) as error:
        EventReader(contract(roles=roles), paths(SCHEMA))
    assert (error.value.code, error.value.where) == ("path-unknown", "nowhere")


def test_values_are_found_through_arrays_and_not_through_nulls() -> None:
    assert values_at(value(), "parents.bsn") == [MOTHER, None]
    assert values_at(value(), "partner.bsn") == []
    assert values_at(value(), "changed") == [["address"]]
