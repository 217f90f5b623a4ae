"""Counts are those of a look at every entry, and what is published of them hides whoever is among few."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrator_audit import read_part
from integrator_audit.errors import Invalid
from integrator_audit.public import check_public, summarise
from integrator_audit.searching import counts
from integrator_audit.searching.blocks import IndexFile
from integrator_audit.searching.counts import Cell, Step, count, public
from integrator_audit.searching.query import LogSearch, Question
from integrator_audit.searching.terms import day_named, read_terms
from tests.unit.audit.searching_samples import NOW, MemoryLog, hours_of, naive, pseudonym, statement
from tests.unit.audit.test_searching import ENTRIES, QUESTIONS


def search_of(log: MemoryLog, directory: Path, *, name: str = "search", height: int = 4) -> LogSearch:
    index = IndexFile.open(directory / f"{name}.sqlite")
    index.update(log, height=height)
    index.close()
    return LogSearch(log, directory / f"{name}.sqlite")


def naive_counts(log: MemoryLog, question: Question, by: tuple[str, ...], step: Step) -> list[Cell]:
    found: Counter[tuple[str, tuple[str, ...]]] = Counter()
    hours = hours_of(log)
    for number in naive(log, question):
        terms = read_terms(log.statements[log.entries[number].statement])
        day = day_named(terms) or ""
        time = {"hour": str(hours[number]), "day": day, "month": day[:7], "all": "all"}[step]
        combinations: list[tuple[str, ...]] = [()]
        for member in by:
            values = [term.value for term in terms if term.member == member] or [""]
            combinations = [(*before, value) for before in combinations for value in values]
        found.update((time, combination) for combination in combinations)
    return [Cell(time, values, n) for (time, values), n in sorted(found.items())]


@settings(max_examples=30, deadline=None)
@given(
    entries=ENTRIES,
    question=QUESTIONS,
    by=st.sampled_from([(), ("recipient",), ("recipient", "purpose"), ("fields",), ("nothing",)]),
    step=st.sampled_from(["hour", "day", "month", "all"]),
)
def test_counts_are_those_of_a_look_at_every_entry(
    entries: list[tuple[bytes, int, int, bool]], question: Question, by: tuple[str, ...], step: Step
) -> None:
    log = MemoryLog()
    for told, hour, person, listed in entries:
        log.add(told, hour=hour, person=person, listed=listed)
    with tempfile.TemporaryDirectory() as directory:
        search = search_of(log, Path(directory))
        assert count([search], question, by=by, step=step) == naive_counts(log, question, by, step)
        search.close()


def test_several_logs_count_as_one(tmp_path: Path) -> None:
    logs = [MemoryLog("demo/s0"), MemoryLog("demo/s1")]
    for number in range(50):
        logs[number % 2].add(statement("svb" if number < 40 else "duo"))
    searches = [search_of(log, tmp_path, name=str(number)) for number, log in enumerate(logs)]
    assert count(searches, Question(), by=["recipient"]) == [Cell("all", ('"duo"',), 10), Cell("all", ('"svb"',), 40)]


def test_too_many_figures_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "MAX_CELLS", 3)
    log = MemoryLog()
    for number in range(4):
        log.add(statement(), hour=NOW + number)
    with pytest.raises(Invalid, match="shorter time"):
        count([LogSearch(log, None)], Question(), by=[], step="hour")


def crowd(log: MemoryLog, recipient: str, people: range, *, times: int = 1, **members: object) -> None:
    """Add entries to a recipient about some people."""
    for person in people:
        for _ in range(times):
            log.add(statement(recipient, **members), person=person)


def published(log: MemoryLog, directory: Path, question: Question | None = None) -> dict[str, object]:
    return public([search_of(log, directory)], question or Question(), dimensions=["recipient", "month"])


def cells(document: dict[str, object]) -> dict[str, int]:
    """Return what is shown: entries by recipient and month, `…` for what was merged."""
    shown: dict[str, int] = {" ".join(cell["values"]): cell["entries"] for cell in document["cells"]}  # type: ignore[attr-defined]
    merged: Any = document.get("merged", {})
    return shown | ({"…": merged["entries"]} if "entries" in merged else {})


def test_a_cell_about_ten_persons_is_shown_and_one_about_nine_is_merged(tmp_path: Path) -> None:
    log = MemoryLog()
    crowd(log, "large", range(1, 31), times=2)
    crowd(log, "ten", range(31, 41))
    crowd(log, "nine", range(41, 50), times=3)
    crowd(log, "seven", range(51, 58))
    document = published(log, tmp_path)
    assert cells(document) == {"large 2025-11": 60, "ten 2025-11": 10, "…": 34}
    check_public(document)


def test_persons_are_counted_over_blocks_and_logs_and_each_once(tmp_path: Path) -> None:
    log, other = MemoryLog("demo/s0"), MemoryLog("demo/s1")
    for person in range(1, 7):  # each block is about one person
        crowd(log, "svb", range(person, person + 1), times=16)
        crowd(other, "svb", range(person, person + 1), times=16)
    searches = [search_of(log, tmp_path, name="0"), search_of(other, tmp_path, name="1")]
    assert cells(public(searches, Question(), dimensions=["recipient", "month"])) == {}
    crowd(other, "svb", range(11, 15), times=16)
    assert cells(public(searches, Question(), dimensions=["recipient", "month"])) == {"svb 2025-11": 256}


def test_months_are_those_of_the_statements(tmp_path: Path) -> None:
    log = MemoryLog()
    crowd(log, "svb", range(1, 13), date="2025-11-30")
    crowd(log, "svb", range(1, 16), date="2025-12-01")
    assert cells(published(log, tmp_path)) == {"svb 2025-11": 12, "svb 2025-12": 15}


def test_what_is_withheld_moves_no_public_figure(tmp_path: Path) -> None:
    log = MemoryLog()
    crowd(log, "svb", range(1, 40))
    before = published(log, tmp_path)
    for person in range(1, 40):
        log.add(statement("police"), person=person, listed=False)
        log.add(statement("svb"), person=person, listed=False)
    assert published(log, tmp_path, Question(unlisted=True)) == before


def test_erased_persons_make_no_cell_large(tmp_path: Path) -> None:
    log = MemoryLog()
    crowd(log, "svb", range(1, 10))
    for _ in range(40):
        log.add(statement("svb"), person=0)
    assert published(log, tmp_path)["merged"] == {"cells": 1}


@settings(max_examples=25, deadline=None)
@given(entries=ENTRIES, crowds=st.lists(st.integers(1, 25), max_size=6))
def test_the_public_form_is_that_of_a_look_at_every_person(
    entries: list[tuple[bytes, int, int, bool]], crowds: list[int]
) -> None:
    log = MemoryLog()
    for told, hour, person, listed in entries:
        log.add(told, hour=hour, person=person + 1, listed=listed)
    for number, size in enumerate(crowds):
        crowd(log, f"r{number}", range(10, 10 + size))
    rows = [
        ((str(members["recipient"]), str(members["date"])[:7]), pseudonym(row.person))
        for row in log.entries
        if row.listed
        for members in [read_part(log.statements[row.statement])]
    ]
    with tempfile.TemporaryDirectory() as directory:
        found = published(log, Path(directory))
    assert found == summarise(rows, origins=[log.origin], dimensions=["recipient", "month"])
