"""Holds what each part of an entry says, to the byte, and what it never says."""

from __future__ import annotations

import contextlib
import json
from datetime import date
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrator.domain.authorisation import Citation, covers
from integrator.domain.errors import Invalid
from integrator.domain.projection import paths
from integrator.encoding import parse_schema, schemas_directory
from integrator.recording.accountability import accountability, concerning, in_force
from integrator.recording.disclosures import DisclosureRecorder, read
from integrator_audit import Entry, read_part
from tests.unit.recording import recording_samples as world


def made(value: bytes, **known: Any) -> list[Entry]:
    knowledge = world.knowledge(*known.get("authorisations", ()))
    return DisclosureRecorder().read(world.record(value, 0)).make(knowledge)


def test_one_delivery_is_one_entry_for_each_person_whom_it_names() -> None:
    entries = made(world.disclosure())
    assert [entry.subject for entry in entries] == [
        world.pseudonym(world.LEDGER_KEY, "ledger", who) for who in (world.CHILD, world.MOTHER, world.FATHER)
    ]
    assert {entry.type for entry in entries} == {1}


def test_the_parts_of_a_disclosure_have_these_bytes() -> None:
    # The members and their order are final; values are those of `recording_samples`.
    child = made(world.disclosure())[0]
    assert child.a == (
        b'{"schema":"dienstenintegrator/accountability/v1","recipient":"groeifonds","provider":"brp",'
        b'"stream":"brp/person","fields":["bsn","birth.date"],"purpose":"startbedrag","purposeVersion":1,'
        b'"basis":["BE, Groeipakket, art. 1"],"authorisation":"s3-groeifonds","version":1,"date":"2026-11-24",'
        b'"retention":10}'
    )
    assert child.d == (
        b'{"schema":"dienstenintegrator/delivery/v1","at":"2026-11-24T11:46:45.123Z",'
        b'"topic":"agency.groeifonds.startbedrag.brp.person","partition":2,"lane":2,"sequence":1,'
        b'"source":"source.brp.person","sourcePartition":6,"sourcePosition":42,'
        b'"eventId":"0b3f0a6e-5f3c-8a5e-9d0a-8b8f6f3f6a01","kind":"created","directoryPosition":10,'
        b'"engine":"python-1","valueSha256":"6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"}'
    )
    # HMAC-SHA256(00…1f, "ledger" 0x00 "test:100000000001"), computed with `openssl dgst -mac hmac`.
    assert child.s == (
        b'{"schema":"dienstenintegrator/subject/v1","subject":"SfI8pDlpx5uhgc_jbP8TZNv_S9N41e0YKMBTMh2M_2g",'
        b'"keyVersion":1,"role":"subject","at":"2026-11-24T11:46:45.123Z"}'
    )
    assert child.p == b""


def test_a_parents_entry_names_the_fields_about_the_parent_only() -> None:
    mother = read_part(made(world.disclosure())[1].a)
    assert mother["fields"] == ["parents.bsn", "parents.order"]


def test_two_people_in_one_role_have_the_same_part_a_so_it_leads_to_neither() -> None:
    _, mother, father = made(world.disclosure())
    assert mother.a == father.a


def test_a_whole_subtree_is_divided_between_the_people_in_it() -> None:
    rule = world.authorisation(fields=["bsn", "file", "partner"])
    contract = world.contract()
    assert concerning(rule, contract, "subject") == ("bsn", "file.note")
    assert concerning(rule, contract, "guardian") == ("file.guardian",)
    assert concerning(rule, contract, "partner") == ("partner",)


def test_a_notification_tells_nothing_about_anybody_but_its_subject() -> None:
    rule = world.authorisation(payload="notification")
    assert concerning(rule, world.contract(), "subject") == ("bsn",)
    with pytest.raises(Invalid, match="No authorised field"):
        concerning(rule, world.contract(), "parent")


@given(st.lists(st.sampled_from(sorted(paths(parse_schema(world.SCHEMA)))), min_size=1, max_size=8))
def test_no_part_of_a_field_is_told_to_two_people_in_different_roles(fields: list[str]) -> None:
    rule, contract = world.authorisation(fields=list(dict.fromkeys(fields))), world.contract()
    told: dict[str, tuple[str, ...]] = {}
    for role in ("subject", "parent", "partner", "guardian"):
        # A role that no authorised field concerns is told nothing.
        with contextlib.suppress(Invalid):
            told[role] = concerning(rule, contract, role)
    leaves = [path for path, found in paths(parse_schema(world.SCHEMA)).items() if found.type != "record"]
    for leaf in leaves:
        authorised = any(covers(field, leaf) for field in rule.fields)
        tellers = [role for role, own in told.items() if any(covers(path, leaf) for path in own)]
        assert len(tellers) == (1 if authorised else 0), (leaf, tellers)


def test_no_number_pseudonym_or_position_stands_in_part_a() -> None:
    for entry in made(world.disclosure()):
        text = entry.a.decode()
        for who in world.PEOPLE:
            hidden = world.pseudonym(world.LEDGER_KEY, "ledger", who)
            assert who.value not in text
            assert hidden.hex() not in text
            assert str(read_part(entry.s)["subject"]) not in text
        assert set(cast("dict[str, Any]", json.loads(text))) == {
            *("schema", "recipient", "provider", "stream", "fields", "purpose", "purposeVersion"),
            *("basis", "authorisation", "version", "date", "retention"),
        }


def test_no_number_of_a_person_stands_in_any_part() -> None:
    for entry in made(world.disclosure()):
        for who in world.PEOPLE:
            assert who.value.encode() not in entry.a + entry.d + entry.s + entry.p


def test_a_delivery_that_names_nobody_is_no_entry() -> None:
    assert made(world.disclosure(subjects=[], unidentified=2)) == []


def test_a_law_is_cited_from_its_day_in_the_contracts_time_zone_until_its_end() -> None:
    def law(begin: str, end: str | None = None) -> Citation:
        members = {"country": "NL", "act": f"act {begin}", "article": "1", "inForceFrom": begin, "inForceUntil": end}
        return Citation.model_validate(members)

    zone = ZoneInfo("Europe/Amsterdam")
    cited = in_force(
        [
            law("2026-11-24"),
            law("2026-11-25"),
            law("2020-01-01", "2026-11-24"),
            law("2020-01-02", "2026-11-25"),
            # Midnight in Amsterdam is 23:00 UTC the day before.
            law("2026-11-23T23:00:00Z"),
            law("2026-11-24T23:00:00Z"),
        ],
        world.DAY,
        zone,
    )
    assert [reference.split(", ")[1] for reference in cited] == [
        "act 2026-11-24",
        "act 2020-01-02",
        "act 2026-11-23T23:00:00Z",
    ]


def test_part_a_is_made_once_for_a_version_role_and_day() -> None:
    recorder, knowledge = DisclosureRecorder(), world.knowledge()
    first = recorder.read(world.record(world.disclosure(1), 0)).make(knowledge)
    second = recorder.read(world.record(world.disclosure(2), 1)).make(knowledge)
    other_day = recorder.read(world.record(world.disclosure(3, date=date(2026, 11, 25)), 2)).make(knowledge)
    assert first[0].a is second[0].a
    assert read_part(other_day[0].a)["date"] == "2026-11-25"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"authorisation": "another"}, "unknown-authorisation"),
        ({"version": 9}, "unknown-authorisation"),
        ({"subjects": [world.person(world.MOTHER, "aunt")]}, "unknown-role"),
        ({"subjects": [world.person(world.PARTNER, "partner")]}, "nothing-concerns"),
        ({"sequence": 1 << 60}, "part"),
    ],
)
def test_a_record_that_cannot_be_stated_whole_is_invalid(change: dict[str, Any], code: str) -> None:
    with pytest.raises(Exception) as caught:
        made(world.disclosure(**change))
    assert getattr(caught.value, "code", "") == code


@pytest.mark.parametrize(
    "value",
    [None, b"", b"\xc3\x01", b"no record", world.disclosure()[:-3], world.disclosure() + b"\0"],
)
def test_bytes_that_are_no_disclosure_are_invalid(value: bytes | None) -> None:
    with pytest.raises(Invalid):
        read(value)


def test_a_person_who_is_named_twice_is_invalid() -> None:
    twice = [world.person(world.CHILD, "subject"), world.person(world.CHILD, "parent")]
    with pytest.raises(Invalid, match="twice"):
        read(world.disclosure(subjects=twice))


def test_every_part_keeps_the_members_and_order_of_its_published_schema() -> None:
    child = made(world.disclosure())[0]
    mother = made(world.disclosure(subjects=[world.person(world.MOTHER, "parent", mediated=True)]))[0]
    for data in (child.a, child.d, child.s, mother.a):
        members = read_part(data)
        name = str(members["schema"]).removeprefix("dienstenintegrator/").replace("/", ".")
        published = json.loads((schemas_directory() / "ledger" / "parts" / f"{name}.json").read_text("utf-8"))
        # Part D has the members that part A leaves out where it is mediated.
        assert list(members) == published["required"]
        assert list(members) == [name for name in published["properties"] if name in members]
        assert published["properties"]["schema"] == {"const": members["schema"]}


def test_the_same_disclosure_on_the_same_knowledge_says_the_same() -> None:
    rule = world.authorisation()
    first, second = (accountability(rule, world.contract(), "subject", day=world.DAY, retention=2) for _ in range(2))
    assert first == second
    assert read_part(first)["retention"] == 2


def test_a_purpose_that_the_directory_lacks_states_nothing() -> None:
    with pytest.raises(Invalid, match="purpose") as caught:
        made(world.disclosure(), authorisations=[world.authorisation(purposeVersion=2)])
    assert caught.value.code == "unknown-purpose"
