"""Auditors find what entries say; a question is an entry before its answer, and people are told who opened theirs."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from integrator.domain.errors import Invalid, Refused, Unavailable
from integrator.domain.pseudonyms import pseudonym
from integrator.recording.auditing import Reader, Wanted
from integrator.recording.quotas import Quotas
from integrator.recording.readings import result_digest
from integrator.recording.searching import Asked, Outcome, update_indexes
from integrator_audit import Verifier, read_part, verify_opening
from tests.unit.recording import recording_samples as world
from tests.unit.recording.auditing_world import INSTITUTION, KNOWN, SUBJECTS, AuditedLedger

WHO = Reader("rekenkamer", "auditor-rekenkamer", "Comptabiliteitswet 2016, art. 7.24")


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[AuditedLedger]:
    made = AuditedLedger(tmp_path)
    made.disclose(4)
    made.refuse(1)
    made.refuse(2)
    made.step("authorisation|s3-groeifonds|0000000001")
    yield made
    made.close()


def found(audited: AuditedLedger, *outcomes: Outcome, **narrowed: Any) -> list[tuple[str, int]]:
    asked = Asked(outcomes or ("disclosed",), **narrowed)
    page = audited.searches.find(asked, KNOWN, limit=1000)
    assert all(one.outcome in asked.outcomes for one in page.found)
    return [(one.log, one.number) for one in page.found]


def test_auditors_find_entries_by_the_words_of_the_house(audited: AuditedLedger) -> None:
    everything = [(SUBJECTS, index) for index in range(11, -1, -1)]
    assert found(audited) == everything
    for narrowed in (
        {"recipient": "groeifonds"},
        {"source": "brp"},
        {"stream": "brp/person"},
        {"purpose": "startbedrag"},
        {"activity": "urn:activity:1"},
        {"authorisation": "s3-groeifonds"},
        {"basis": "BE, Groeipakket, art. 1"},
        {"since": "2026-11-24T11:00:00Z", "until": "2026-11-24T12:00:00Z"},
        {"first_day": "2026-11-24", "last_day": "2026-11-24"},
    ):
        assert found(audited, **narrowed) == everything, narrowed
    for narrowed in (
        {"recipient": "svb"},
        {"source": "ciz"},
        {"stream": "brp/address"},
        {"purpose": "aow"},
        {"activity": "urn:activity:2"},
        {"authorisation": "s4"},
        {"basis": "NL, A coming law, art. 2"},
        {"since": "2026-11-24T12:00:00Z"},
        {"until": "2026-11-24T11:00:00Z"},
        {"first_day": "2026-11-25"},
        {"last_day": "2026-11-23"},
        {"recipient": "groeifonds", "purpose": "aow"},
    ):
        assert found(audited, **narrowed) == [], narrowed


@pytest.mark.parametrize(
    ("narrowed", "code"),
    [
        ({"since": "2026-11-24T12:00:00Z", "until": "2026-11-24T12:00:00Z"}, "hours-reversed"),
        ({"first_day": "2026-11-25", "last_day": "2026-11-24"}, "days-reversed"),
    ],
)
def test_a_time_that_ends_before_it_begins_is_no_answer_of_nothing(
    audited: AuditedLedger, narrowed: dict[str, str], code: str
) -> None:
    with pytest.raises(Invalid) as caught:
        found(audited, **narrowed)
    assert caught.value.code == code


def test_a_field_is_found_under_each_name_that_covers_it(audited: AuditedLedger) -> None:
    assert len(found(audited, field="birth.date")) == 4  # the child's entries; the parents' are about parents
    assert len(found(audited, field="birth")) == 4
    assert len(found(audited, field="parents.order")) == 8
    assert found(audited, field="birth.place") == []


def test_refusals_and_steps_are_found_in_the_institution_log(audited: AuditedLedger) -> None:
    assert len(found(audited, "refused")) == 2
    assert len(found(audited, "refused", recipient="svb", stream="brp/person", source="brp")) == 2
    assert found(audited, "refused", recipient="duo") == []
    assert found(audited, "refused", field="birth") == []
    assert len(found(audited, "decided", recipient="groeifonds", field="birth.date", activity="urn:activity:1")) == 1
    assert len(found(audited, "disclosed", "refused", "decided")) == 15
    assert found(audited, "refused", "asked", source="ciz") == []


def test_the_index_changes_no_answer(audited: AuditedLedger) -> None:
    before = found(audited, "disclosed", "refused", "decided")
    assert update_indexes(audited.files) == 0
    assert audited.files.search(SUBJECTS).is_file()
    assert found(audited, "disclosed", "refused", "decided") == before
    assert audited.files.logs() == [INSTITUTION, SUBJECTS]


@pytest.mark.parametrize("moment", ["2026-11-24T10:30:00Z", "2026-11-24T10:00:00", "yesterday", "2026-13-01T00:00:00Z"])
def test_times_are_whole_hours(audited: AuditedLedger, moment: str) -> None:
    with pytest.raises(Invalid, match="2026-11-24T10:00:00Z") as caught:
        audited.searches.find(Asked(since=moment), KNOWN)
    assert caught.value.code == "time"


def test_entries_that_are_withheld_are_not_found(audited: AuditedLedger) -> None:
    entry = audited.subjects.read(world.record(world.disclosure(99), 99)).make(KNOWN)[0]
    audited.ledgers[SUBJECTS].append([entry._replace(listed=False)], now_ms=world.AT_MS)
    assert len(found(audited)) == 12


async def test_a_question_is_an_entry_before_it_is_answered(audited: AuditedLedger) -> None:
    auditing = audited.auditing()
    page, receipt = await auditing.find(WHO, Asked(recipient="groeifonds", field="birth.date"), after=None, limit=3)
    assert len(page.found) == 3
    (reading,) = audited.readings
    assert reading.id == receipt.id
    assert reading.filter == ("outcome=disclosed", "recipient=groeifonds", "field=birth.date")
    assert (reading.reader, reading.results, reading.opened, reading.people) == ("rekenkamer", 3, 0, ())
    assert reading.digest == result_digest(receipt.salt, [[one.log, one.number] for one in page.found])
    asked = audited.searches.find(Asked(("asked",), recipient="rekenkamer"), KNOWN)
    assert [one.says["id"] for one in asked.found] == [receipt.id]


async def test_without_the_entry_there_is_no_answer(audited: AuditedLedger) -> None:
    audited.broken = True
    auditing = audited.auditing()
    for question in (
        auditing.find(WHO, Asked(), after=None, limit=1),
        auditing.count(WHO, Asked(), by=["recipient"], step="all"),
        auditing.open(WHO, [Wanted(SUBJECTS, 0)], parts="AS", purpose="lawfulness"),
    ):
        with pytest.raises(Unavailable):
            await question


async def test_pages_go_on_where_they_ended_while_the_ledger_grows(audited: AuditedLedger) -> None:
    auditing = audited.auditing()
    seen, after = [], None
    while True:
        page, _ = await auditing.find(WHO, Asked(), after=after, limit=5)
        seen += [one.number for one in page.found]
        audited.disclose(1)
        if page.after is None:
            break
        after = page.after
    assert seen == list(range(11, -1, -1))


async def test_counts_are_by_word_and_time(audited: AuditedLedger) -> None:
    auditing = audited.auditing()
    cells, _ = await auditing.count(WHO, Asked(), by=["recipient", "purpose"], step="day")
    assert [(cell.time, cell.values, cell.n) for cell in cells] == [
        ("2026-11-24", ('"groeifonds"', '"startbedrag"'), 12)
    ]
    refused, _ = await auditing.count(WHO, Asked(("refused",)), by=["reason"], step="all")
    assert [(cell.values, cell.n) for cell in refused] == [(('"not-authorised"',), 2)]
    assert audited.readings[0].filter == ("outcome=disclosed", "by=recipient|purpose", "step=day")


def about(opening: dict[str, Any]) -> str:
    said = read_part(base64.b64decode(opening["S"]["bytes"]))
    return str(said["subject"])


async def test_openings_prove_what_they_say_and_tell_the_people(audited: AuditedLedger) -> None:
    auditing = audited.auditing()
    wanted = [Wanted(SUBJECTS, index) for index in (5, 0, 1, 2)]
    openings, _ = await auditing.open(WHO, wanted, parts="AS", purpose="lawfulness-2026")
    key = Verifier.from_text(audited.files.vkey(SUBJECTS).read_text())
    assert [verify_opening(opening, key).index for opening in openings] == [5, 0, 1, 2]
    assert all("D" not in opening and "P" not in opening for opening in openings)
    people = {about(opening) for opening in openings}
    (reading,) = audited.readings
    assert (reading.opened, reading.results, len(reading.people)) == (4, 4, len(people))
    assert reading.purpose == "lawfulness-2026"
    told = found(audited, "read", recipient="rekenkamer", purpose="lawfulness-2026", source="integrator")
    assert len(told) == len(people)
    child = pseudonym(world.LEDGER_KEY, "ledger", world.CHILD)
    assert base64.urlsafe_b64encode(child).rstrip(b"=").decode() in people


async def test_part_a_alone_is_opened_without_a_purpose_and_tells_nobody(audited: AuditedLedger) -> None:
    wanted = [Wanted(SUBJECTS, 3), Wanted(INSTITUTION, 0)]
    openings, _ = await audited.auditing(in_a_day=0).open(WHO, wanted, parts="A", purpose=None)
    assert [set("ADSP") & set(opening) for opening in openings] == [{"A"}, {"A"}]
    assert audited.readings[0].people == ()
    assert found(audited, "read") == []


async def test_readings_of_readings_tell_nobody(audited: AuditedLedger) -> None:
    auditing = audited.auditing()
    await auditing.open(WHO, [Wanted(SUBJECTS, 0)], parts="AS", purpose="lawfulness-2026")
    ((log, index),) = found(audited, "read")
    await auditing.open(WHO, [Wanted(log, index)], parts="AS", purpose="lawfulness-of-audits")
    assert audited.readings[1].opened == 1
    assert audited.readings[1].people == ()
    assert len(found(audited, "read")) == 1


async def test_of_an_erased_entry_part_a_is_opened(audited: AuditedLedger) -> None:
    audited.erase(3)
    openings, _ = await audited.auditing().open(WHO, [Wanted(SUBJECTS, 3)], parts="AS", purpose="lawfulness")
    assert set("ADSP") & set(openings[0]) == {"A"}
    assert audited.readings[0].opened == 0


async def test_what_is_not_there_or_withheld_cannot_be_opened(audited: AuditedLedger) -> None:
    entry = audited.subjects.read(world.record(world.disclosure(99), 99)).make(KNOWN)[0]
    audited.ledgers[SUBJECTS].append([entry._replace(listed=False)], now_ms=world.AT_MS)
    for wanted in (Wanted(SUBJECTS, 12), Wanted(SUBJECTS, 13), Wanted("s7-2026h2", 0), Wanted("epochs", 0)):
        with pytest.raises(Invalid) as caught:
            await audited.auditing().open(WHO, [Wanted(SUBJECTS, 0), wanted], parts="A", purpose=None)
        assert (caught.value.code, caught.value.where) == ("no-such-entry", "entries.1")
    assert audited.readings == []


async def test_people_are_opened_for_a_purpose(audited: AuditedLedger) -> None:
    with pytest.raises(Invalid) as caught:
        await audited.auditing().open(WHO, [Wanted(SUBJECTS, 0)], parts="AS", purpose=None)
    assert caught.value.code == "purpose-missing"


async def test_the_quota_of_a_day_follows_from_the_log(audited: AuditedLedger) -> None:
    wanted = [Wanted(SUBJECTS, index) for index in range(5)]
    await audited.auditing(in_a_day=12).open(WHO, wanted, parts="AS", purpose="one")
    again = audited.auditing(in_a_day=12)  # as after a restart
    await again.open(WHO, wanted, parts="AS", purpose="two")
    with pytest.raises(Refused, match="2 are left") as caught:
        await again.open(WHO, wanted, parts="AS", purpose="three")
    assert caught.value.code == "quota-spent"
    assert len(audited.readings) == 2
    await again.open(WHO, wanted[:2], parts="AS", purpose="four")
    await again.open(WHO, wanted, parts="A", purpose=None)
    await again.open(WHO._replace(organisation="inspectie"), wanted, parts="AS", purpose="five")
    audited.now = audited.now.replace(day=25)
    await again.open(WHO, wanted, parts="AS", purpose="six")


def test_questions_on_their_way_count_too_and_a_question_has_a_limit(audited: AuditedLedger) -> None:
    quotas = Quotas(audited.searches, in_a_day=10)
    quotas.take("rekenkamer", 8, day="2026-11-24")
    with pytest.raises(Refused):
        quotas.take("rekenkamer", 3, day="2026-11-24")
    quotas.take("rekenkamer", 3, day="2026-11-25")
    quotas.entered("rekenkamer", 8, day="2026-11-24")
    quotas.take("rekenkamer", 10, day="2026-11-24")
    with pytest.raises(Invalid, match="At most 1000"):
        Quotas(audited.searches, in_a_day=9999).take("rekenkamer", 1001, day="2026-11-24")


async def test_nothing_that_leads_to_a_person_is_in_a_question_or_an_answer(audited: AuditedLedger) -> None:
    auditing = audited.auditing()
    page, _ = await auditing.find(WHO, Asked(), after=None, limit=100)
    await auditing.open(WHO, [Wanted(SUBJECTS, 0)], parts="AS", purpose="lawfulness")
    told = json.dumps([dict(one.says) for one in page.found])
    asked = json.dumps([dict(one.says) for one in audited.searches.find(Asked(("asked",)), KNOWN).found])
    for who in world.PEOPLE:
        secret = base64.urlsafe_b64encode(pseudonym(world.LEDGER_KEY, "ledger", who)).rstrip(b"=").decode()
        assert secret not in told
        assert secret not in asked
    assert "11:46" not in told
