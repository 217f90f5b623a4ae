"""What auditors read is entered: each question once, and once a day with each person whose entry was opened."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from integrator.domain import topics
from integrator.domain.errors import Invalid
from integrator.domain.identifiers import SubjectRef
from integrator.domain.pseudonyms import pseudonym
from integrator.encoding import schemas_directory
from integrator.recording.disclosures import DisclosureRecorder
from integrator.recording.institution import InstitutionRecorder
from integrator.recording.openings import Openings
from integrator.recording.readings import OpenedPerson, Reading, SubjectRecorder, result_digest
from integrator.recording.sequencer import LogRecord
from integrator_audit import Entry, LedgerReader, LedgerWriter, Vault, read_part
from tests.unit.recording import recording_samples as world

KNOWN = world.knowledge()
MORNING = datetime(2026, 11, 24, 8, 15, 0, 250_000, UTC)


def ledger_name(who: SubjectRef) -> bytes:
    return pseudonym(world.LEDGER_KEY, "ledger", who)


def reading(number: int = 1, *people: SubjectRef, **change: Any) -> Reading:
    members: dict[str, Any] = {
        "id": f"1c4a0001-0000-4000-8000-{number:012}",
        "reader": "rekenkamer",
        "principal": "auditor-rekenkamer",
        "query": "openings" if people else "disclosures",
        "basis": "Comptabiliteitswet 2016, art. 7.24",
        "filter": ("recipient=svb",),
        "results": 7,
        "digest": result_digest(bytes(32), [["s0-2026h2", 4]]),
        "purpose": "lawfulness-2026" if people else None,
        "opened": len(people),
        "people": tuple(OpenedPerson(ledger_name(who), 1, b"sealed") for who in people),
    }
    return Reading(**members | change)


def record(told: Reading, *, at: datetime = MORNING, position: int = 11) -> LogRecord:
    return world.record(told.encode(at), position, topic=topics.REQUESTS, partition=4)


def entries(told: Reading, recorder: InstitutionRecorder) -> list[Entry]:
    return recorder.read(record(told)).make(KNOWN)


def test_a_question_is_one_entry_that_names_no_entry_and_no_person() -> None:
    recorder = InstitutionRecorder()
    (entry,) = entries(reading(1, world.CHILD, world.MOTHER), recorder)
    assert (entry.type, entry.subject, entry.d, entry.s) == (0x02, None, b"", b"")
    assert read_part(entry.a) == {
        "schema": "dienstenintegrator/query/v1",
        "id": "1c4a0001-0000-4000-8000-000000000001",
        "at": "2026-11-24T08:15:00.250Z",
        "reader": "rekenkamer",
        "query": "openings",
        "purpose": "lawfulness-2026",
        "basis": "Comptabiliteitswet 2016, art. 7.24",
        "filter": ["recipient=svb"],
        "results": 7,
        "opened": 2,
        "digest": result_digest(bytes(32), [["s0-2026h2", 4]]).hex(),
    }
    assert read_part(entry.p)["actor"] == "auditor-rekenkamer"
    assert entry.at == int(MORNING.timestamp() * 1000)
    assert entries(reading(1), recorder) == []
    (without,) = entries(reading(2), recorder)
    assert "purpose" not in read_part(without.a)


@contextmanager
def shard(root: Path) -> Iterator[tuple[LedgerWriter, Callable[..., int]]]:
    """A subject shard, and what appends the entries of a reading to it; it returns how many there were."""
    with world.ledger_at(root) as ledger:
        reader = LedgerReader.open(world.files_at(root).store("s0-2026h2"))
        recorder = SubjectRecorder(DisclosureRecorder(), reader)

        def add(told: Reading, at: datetime = MORNING, *, new: bool = False) -> int:
            nonlocal recorder
            if new:
                recorder = SubjectRecorder(DisclosureRecorder(), reader)
            made = recorder.read(record(told, at=at)).make(KNOWN)
            ledger.append(made, now_ms=world.AT_MS)
            return len(made)

        yield ledger, add
        reader.close()


def test_each_person_whose_entry_was_opened_has_an_entry_that_they_find(tmp_path: Path) -> None:
    with shard(tmp_path) as (ledger, add):
        disclosed = DisclosureRecorder().read(world.record(world.disclosure(), 1)).make(KNOWN)
        ledger.append(disclosed, now_ms=world.AT_MS)
        assert add(reading(1, world.CHILD, world.FATHER)) == 2
    vault = Vault.read_only(world.files_at(tmp_path).persons, world.GENERATION)
    opened = LedgerReader.open(world.files_at(tmp_path).store("s0-2026h2"), vault=vault)
    view = Openings(lambda: [("2026h2", [opened])], world.StillDirectory(KNOWN), key=world.LEDGER_KEY)
    page = view.page(world.CHILD, after=None, limit=10)
    shown = page.disclosures[0]
    assert len(page.disclosures) == 2
    assert (shown.recipient.name, shown.source.name, shown.stream.name) == (
        "rekenkamer",
        "integrator",
        "integrator/ledger",
    )
    assert ([field.path for field in shown.fields], shown.purpose.name, shown.under) == (
        ["entry"],
        "lawfulness-2026",
        None,
    )
    assert (shown.at, shown.basis) == ("2026-11-24T08:15:00.250Z", ("Comptabiliteitswet 2016, art. 7.24",))
    assert len(view.page(world.FATHER, after=None, limit=10).disclosures) == 2
    assert len(view.page(world.MOTHER, after=None, limit=10).disclosures) == 1
    opened.close()
    vault.close()


def test_a_reader_reads_a_person_once_for_a_purpose_and_day(tmp_path: Path) -> None:
    with shard(tmp_path) as (ledger, add):
        child = reading(1, world.CHILD)
        assert add(child) == 1
        assert add(reading(2, world.CHILD, world.MOTHER), MORNING + timedelta(hours=3)) == 1
        assert add(reading(3, world.CHILD), new=True) == 0
        assert add(reading(4, world.CHILD, purpose="lawfulness-2027")) == 1
        assert add(reading(5, world.CHILD, reader="inspectie")) == 1
        assert add(reading(6, world.CHILD), MORNING + timedelta(days=1)) == 1
        assert add(reading(7, world.CHILD), MORNING + timedelta(days=1, hours=1), new=True) == 0
        assert ledger.size == 5


def test_a_batch_that_names_a_person_twice_makes_one_entry(tmp_path: Path) -> None:
    with shard(tmp_path) as (_, add):
        recorder = SubjectRecorder(DisclosureRecorder(), LedgerReader.open(world.files_at(tmp_path).store("s0-2026h2")))
        first = recorder.read(record(reading(1, world.CHILD))).make(KNOWN)
        second = recorder.read(record(reading(2, world.CHILD), position=12)).make(KNOWN)
        assert (len(first), len(second)) == (1, 0)
        del add


def test_a_reading_tells_in_d_by_which_question_and_is_kept_ten_years(tmp_path: Path) -> None:
    with shard(tmp_path):
        recorder = SubjectRecorder(DisclosureRecorder(), LedgerReader.open(world.files_at(tmp_path).store("s0-2026h2")))
        (entry,) = recorder.read(record(reading(1, world.CHILD))).make(KNOWN)
    assert read_part(entry.d) == {
        "schema": "dienstenintegrator/reading-delivery/v1",
        "at": "2026-11-24T08:15:00.250Z",
        "topic": topics.REQUESTS,
        "partition": 4,
        "position": 11,
        "query": "1c4a0001-0000-4000-8000-000000000001",
    }
    assert (entry.recipient, entry.retention, entry.identity, entry.listed) == ("rekenkamer", 10, b"sealed", True)
    assert entry.subject == ledger_name(world.CHILD)


def test_subject_shards_pass_over_questions_without_people_and_other_requests(tmp_path: Path) -> None:
    with shard(tmp_path):
        recorder = SubjectRecorder(DisclosureRecorder(), LedgerReader.open(world.files_at(tmp_path).store("s0-2026h2")))
        assert recorder.read(record(reading(1))).make(KNOWN) == []
        assert recorder.read(world.refusal()).make(KNOWN) == []
        assert len(recorder.read(world.record(world.disclosure(), 1)).make(KNOWN)) == 3
        with pytest.raises(Invalid):
            recorder.read(record(reading(1, world.CHILD, purpose=None))).make(KNOWN)
        with pytest.raises(Invalid):
            recorder.read(world.record(b"\xc3\x01 nothing", 3, topic=topics.REQUESTS, partition=4)).make(KNOWN)


def test_parts_keep_the_members_and_order_of_their_published_schemas(tmp_path: Path) -> None:
    with shard(tmp_path):
        recorder = SubjectRecorder(DisclosureRecorder(), LedgerReader.open(world.files_at(tmp_path).store("s0-2026h2")))
        made = [
            *entries(reading(1, world.CHILD), InstitutionRecorder()),
            *recorder.read(record(reading(1, world.CHILD))).make(KNOWN),
        ]
    for data in [data for entry in made for data in (entry.a, entry.d, entry.s, entry.p) if data]:
        members = read_part(data)
        name = str(members["schema"]).removeprefix("dienstenintegrator/").replace("/", ".")
        published = json.loads((schemas_directory() / "ledger" / "parts" / f"{name}.json").read_text("utf-8"))
        assert list(members) == [member for member in published["properties"] if member in members]
        assert set(published["required"]) <= set(members)
