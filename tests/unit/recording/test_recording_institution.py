"""Holds what the institution log says: steps and refusals, each once, and nothing about a person."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from integrator.domain import topics
from integrator.domain.errors import Invalid
from integrator.encoding import record_type, schemas_directory
from integrator.recording import institution
from integrator.recording.institution import PARTS, TEXTS, InstitutionRecorder, erasure, key_event, schema_texts
from integrator.recording.sequencer import LogRecord
from integrator_audit import Entry, read_part
from tests.unit.recording import recording_samples as world

AT = "2026-11-24T11:46:45.123Z"
refusal, step = world.refusal, world.step


def entries(record: LogRecord, recorder: InstitutionRecorder | None = None) -> list[Entry]:
    return (recorder or InstitutionRecorder()).read(record).make(world.knowledge())


def test_a_version_of_an_authorisation_is_an_entry_with_its_law_and_fields() -> None:
    value = b"\xc3\x01 the version"
    (entry,) = entries(step("authorisation|s3-groeifonds|0000000001", value))
    assert (entry.type, entry.d, entry.s, entry.p, entry.subject) == (2, b"", b"", b"", None)
    assert read_part(entry.a) == {
        "schema": "dienstenintegrator/authorisation-step/v1",
        "step": "applied",
        "authorisation": "s3-groeifonds",
        "version": 1,
        "directoryPosition": 7,
        "at": AT,
        "state": "active",
        "agency": "groeifonds",
        "stream": "brp/person",
        "purpose": "startbedrag",
        "purposeVersion": 1,
        "route": "deliberation",
        "basis": ["BE, Groeipakket, art. 1", "NL, A coming law, art. 2 (unverified)"],
        "fields": ["bsn", "birth.date", "parents.bsn", "parents.order"],
        "sha256": hashlib.sha256(value).hexdigest(),
    }


@pytest.mark.parametrize("kind", ["start", "end"])
def test_a_moment_of_a_period_or_a_law_is_an_entry(kind: str) -> None:
    come = {"authorisation": "s3-groeifonds", "version": 1, "at": datetime(2027, 1, 1, tzinfo=UTC)}
    value = record_type(f"directory/{kind}").encode(come)
    (entry,) = entries(step(f"{kind}|s3-groeifonds/1|0000000001", value))
    members = read_part(entry.a)
    assert (members["step"], members["moment"]) == (f"{kind}ed", "2027-01-01T00:00:00.000Z")


@pytest.mark.parametrize("key", ["contract|brp/person|0000000002", "agency|svb|0000000001", "schema|3|0000000001"])
def test_a_document_is_an_entry_by_name_and_digest(key: str) -> None:
    (entry,) = entries(step(key))
    kind, name, version = key.split("|")
    members = read_part(entry.a)
    assert (members["kind"], members["id"], members["version"]) == (kind, name, int(version))


def inscription(version: int, **change: Any) -> LogRecord:
    members = {"agency": "svb", "person": "ab" * 32, "capacity": "parent", "phase": "definitive"}
    value = record_type("directory/inscription").encode(
        members | {"start": date(2026, 11, 23), "end": None, "fill": "none"} | change
    )
    return step(f"inscription|svb/parent/{'ab' * 32}|{version:010}", value)


def test_a_day_is_no_entry() -> None:
    assert entries(step("date|Europe/Amsterdam|0000000001")) == []


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (inscription(1), ("begun", "definitive")),
        (inscription(2, phase="provisional"), ("changed", "provisional")),
        (inscription(3, end=date(2027, 1, 1)), ("ended", "definitive")),
    ],
)
def test_an_inscription_is_an_entry_that_says_neither_of_whom_nor_from_when(
    record: LogRecord, said: tuple[str, str]
) -> None:
    (entry,) = entries(record)
    assert read_part(entry.a) == {
        "schema": "dienstenintegrator/inscription/v1",
        "step": said[0],
        "agency": "svb",
        "capacity": "parent",
        "phase": said[1],
        "date": "2026-11-24",
    }
    assert (entry.p, entry.subject) == (b"", None)
    # Neither the person, nor the day of the inscription, nor the record by digest or position.
    digest = hashlib.sha256(record.value or b"").hexdigest()
    assert not [told for told in ("abab", "2026-11-23", "2027", digest) if told.encode() in entry.a]


@pytest.mark.parametrize("state", ["suspended", "revoked", "expired"])
def test_a_version_that_ends_deliveries_is_a_step_of_that_name(state: str) -> None:
    known = world.knowledge(world.authorisation(version=2, state=state))
    record = step("authorisation|s3-groeifonds|0000000002")
    (entry,) = InstitutionRecorder().read(record).make(known)
    members = read_part(entry.a)
    # The position is that from which nothing flows under it.
    assert (members["step"], members["state"], members["directoryPosition"]) == (state, state, 7)


def test_an_erasure_tells_its_month_to_all_and_its_counts_to_few() -> None:
    entry = erasure("2036-07", 3, retention=120, order=1)
    assert read_part(entry.a) == {"schema": "dienstenintegrator/erasure/v1", "month": "2036-07", "generation": 3}
    assert read_part(entry.p) == {"schema": "dienstenintegrator/erasure-counts/v1", "retention": 120, "order": 1}


def test_a_key_that_is_made_is_an_entry_with_what_verifies_under_it() -> None:
    entry = key_event("made", "log", world.ORIGIN, at=world.AT, vkey=world.SIGNER.vkey)
    assert read_part(entry.a) == {
        "schema": "dienstenintegrator/key-event/v1",
        "event": "made",
        "key": "log",
        "name": world.ORIGIN,
        "vkey": world.SIGNER.vkey,
        "at": AT,
    }


def test_an_erasure_is_no_entry_by_its_key() -> None:
    assert entries(step("inscription|svb/parent/" + "ab" * 32 + "|0000000001", None)) == []


@pytest.mark.parametrize("key", ["", "authorisation", "novelty|x|0000000001", "authorisation|unknown|0000000001"])
def test_a_record_that_is_none_of_the_directorys_is_invalid(key: str) -> None:
    with pytest.raises(Invalid):
        entries(step(key))


def test_the_version_is_stated_only_with_a_directory_that_knows_it() -> None:
    assert InstitutionRecorder().read(step("agency|svb|0000000001", position=7)).needs == 8


def test_a_refusal_is_an_entry_and_who_asked_is_its_actor() -> None:
    (entry,) = entries(refusal())
    assert read_part(entry.a) == {
        "schema": "dienstenintegrator/refusal/v1",
        "id": "8c4a0001-0000-4000-8000-000000000001",
        "at": AT,
        "request": "subscribe",
        "reason": "not-authorised",
        "detail": "No authorisation lets svb receive it.",
        "agency": "svb",
        "purpose": "nabestaanden",
        "stream": "brp/person",
    }
    assert read_part(entry.p) == {"schema": "dienstenintegrator/actor/v1", "actor": "agency-svb--nabestaanden"}
    assert b"agency-svb" not in entry.a


def test_a_refusal_that_is_written_twice_is_one_entry() -> None:
    recorder = InstitutionRecorder()
    assert [len(entries(refusal(number), recorder)) for number in (1, 1, 2, 1, 2)] == [1, 0, 1, 0, 0]


def test_a_refusal_that_the_log_holds_already_is_no_entry() -> None:
    assert entries(refusal(), InstitutionRecorder({"8c4a0001-0000-4000-8000-000000000001": None})) == []


def test_so_many_refusals_are_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(institution, "REMEMBERED", 3)
    recorder = InstitutionRecorder()
    assert [len(entries(refusal(number), recorder)) for number in (1, 2, 3, 4, 2, 3, 4)] == [1, 1, 1, 1, 0, 0, 0]
    assert len(recorder.refusals) == 3


def test_an_automatic_inscription_is_no_entry() -> None:
    body = {
        "agency": "svb",
        "person": "ab" * 32,
        "capacity": "child",
        "phase": "definitive",
        "start": world.DAY,
        "authorisation": "s3-groeifonds",
        "version": 1,
        "directoryPosition": 10,
    }
    value = record_type("integrator/request").encode({"at": world.AT, "body": body})
    assert entries(world.record(value, 0, topic=topics.REQUESTS, partition=0)) == []


def test_every_schema_of_a_part_is_an_entry_byte_for_byte() -> None:
    texts = schema_texts(0)
    assert len(texts) == len(TEXTS)
    folder = schemas_directory() / "ledger" / "parts"
    published = {file.name for file in folder.iterdir()}
    assert published == {f"{name.replace('/', '.')}.json" for name in TEXTS}
    for entry, name in zip(texts, TEXTS, strict=True):
        members = read_part(entry.a)
        assert members["name"] == f"dienstenintegrator/{name}"
        assert members["text"] == (folder / f"{name.replace('/', '.')}.json").read_text("utf-8")
        assert json.loads(str(members["text"]))["properties"]["schema"] == {"const": members["name"]}


def test_only_new_schema_texts_are_entered_after_the_first_time() -> None:
    assert len(schema_texts(len(TEXTS) - 1)) == 1
    assert schema_texts(len(TEXTS)) == []
    assert PARTS[0] not in {topics.DIRECTORY, topics.REQUESTS}


def test_every_entry_keeps_the_members_and_order_of_its_published_schema() -> None:
    value = record_type("directory/start").encode(
        {"authorisation": "s3-groeifonds", "version": 1, "at": datetime(2027, 1, 1, tzinfo=UTC)}
    )
    every = [
        *entries(step("authorisation|s3-groeifonds|0000000001")),
        *entries(step("start|s3-groeifonds/1|0000000001", value)),
        *entries(step("agency|svb|0000000001")),
        *entries(refusal()),
        *entries(inscription(1)),
        *schema_texts(0),
        erasure("2036-07", 3, retention=120, order=1),
        key_event("made", "label", "53", at=world.AT, sha256="ab" * 32),
    ]
    for entry in every:
        for data in (entry.a, entry.p):
            if data:
                members = read_part(data)
                name = str(members["schema"]).removeprefix("dienstenintegrator/").replace("/", ".")
                published = json.loads((schemas_directory() / "ledger" / "parts" / f"{name}.json").read_text("utf-8"))
                order = [member for member in published["properties"] if member in members]
                assert list(members) == order
                assert set(published["required"]) <= set(members)
