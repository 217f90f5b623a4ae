"""Search works over a ledger as its writer makes it, also while entries come and after some were erased."""

from __future__ import annotations

from pathlib import Path

import pytest

from integrator_audit import Entry, LedgerWriter, Unavailable, part
from integrator_audit.public import summarise
from integrator_audit.searching.blocks import IndexFile
from integrator_audit.searching.counts import count, public
from integrator_audit.searching.log import StoredLog
from integrator_audit.searching.query import LogSearch, Question
from integrator_audit.searching.terms import among, read_terms
from integrator_audit.sqlite import SqliteStore
from integrator_audit.store import Erasure
from tests.unit.audit.audit_samples import AT, PEOPLE, RECIPIENTS, Place

HOUR = AT // 3_600_000


def disclosed(number: int, *, listed: bool = True) -> Entry:
    """Return an entry that names its recipient; four purposes, an hour to each hundred entries."""
    recipient = RECIPIENTS[number % len(RECIPIENTS)]
    members = {"recipient": recipient, "purpose": f"purpose-{number % 4}", "date": "2026-11-24"}
    return Entry(
        type=0x01,
        a=part("sample.a/v1", members),
        d=part("sample.d/v1", {"position": number}),
        s=part("sample.s/v1", {"number": number}),
        p=b"",
        subject=PEOPLE[number % len(PEOPLE)],
        recipient=recipient,
        at=AT + number // 100 * 3_600_000,
        listed=listed,
    )


def append(ledger: LedgerWriter, start: int, stop: int) -> None:
    for first in range(start, stop, 60):
        ledger.append([disclosed(number, listed=number % 10 > 0) for number in range(first, min(first + 60, stop))])


def build(place: Place, path: Path) -> int:
    index, log = IndexFile.open(path), StoredLog.open(place.ledger_file)
    try:
        return index.update(log, height=6)
    finally:
        index.close()
        log.close()


def expected(log: StoredLog, wanted: str) -> list[int]:
    """Return the listed entries to a recipient, newest first, by reading every statement."""
    unlisted = set(log.unlisted_between(0, log.size))
    return [
        number
        for number, statement, _ in reversed(log.rows(0, log.size))
        if number not in unlisted and ("recipient", f'"{wanted}"') in read_terms(log.statement(statement))
    ]


def test_search_follows_a_ledger_that_grows_and_forgets(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "s0.search.sqlite"
    ledger = place.ledger()
    append(ledger, 0, 250)
    assert build(place, path) == 192
    log = StoredLog.open(place.ledger_file)
    search, question = LogSearch(log, path), Question([[among("recipient", "svb")]])
    found = search.find(question)
    assert [one.number for one in found] == expected(log, "svb")
    assert len(found) == 75
    append(ledger, 250, 400)
    assert [one.number for one in search.find(question, limit=1000)] == expected(log, "svb")
    ledger.close()
    store = SqliteStore.open(place.ledger_file)
    store.erase([Erasure(one.number, "order") for one in found[:20]])
    store.close()
    assert build(place, path) == 384
    assert [one.number for one in search.find(question, limit=1000)] == expected(log, "svb")
    assert sum(cell.n for cell in count([search], Question(unlisted=True), by=["purpose"])) == 400
    by_hour = count([search], Question(), by=[], step="hour")
    assert {HOUR, HOUR + 3} <= {int(cell.time) for cell in by_hour}
    search.close()
    log.close()


def test_public_figures_count_the_persons_of_the_ledger(place: Place, tmp_path: Path) -> None:
    ledger = place.ledger()
    append(ledger, 0, 200)
    ledger.close()
    build(place, tmp_path / "index")
    log = StoredLog.open(place.ledger_file)
    rows = [
        ((RECIPIENTS[number % 3], "2026-11"), PEOPLE[number % len(PEOPLE)]) for number in range(200) if number % 10 > 0
    ]
    document = public([LogSearch(log, tmp_path / "index")], Question(), dimensions=["recipient", "month"])
    assert document == summarise(rows, origins=[log.origin], dimensions=["recipient", "month"])
    assert document["merged"] == {"cells": 3, "entries": 180}
    log.close()


def test_a_log_that_was_not_made_yet_is_said_to_be_so(tmp_path: Path) -> None:
    SqliteStore.open(tmp_path / "new.sqlite").close()
    with pytest.raises(Unavailable, match="start its writer"):
        StoredLog.open(tmp_path / "new.sqlite")
