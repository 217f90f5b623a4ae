"""Search finds exactly what a look at every entry finds, in pages, whatever part of the log is indexed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrator_audit.errors import AuditError, Busy, Invalid, Refused, Tampered
from integrator_audit.searching import blocks, query
from integrator_audit.searching.blocks import IndexFile
from integrator_audit.searching.merged import Search
from integrator_audit.searching.query import LogSearch, Question
from integrator_audit.searching.terms import Overlapping, among, read_condition
from tests.unit.audit.searching_samples import NOW, MemoryLog, hours_of, naive, statement

HEIGHT = 4


def build(log: MemoryLog, path: Path, **way: object) -> int:
    index = IndexFile.open(path)
    try:
        return index.update(log, height=HEIGHT, **way)  # type: ignore[arg-type]
    finally:
        index.close()


def indices(search: LogSearch, question: Question, *, limit: int = 1000) -> list[int]:
    """Return what search finds, page by page."""
    found: list[int] = []
    before: int | None = None
    while page := search.find(question, before=before, limit=limit):
        found += [one.number for one in page]
        before = page[-1].number
    return found


STATEMENTS = st.builds(
    statement,
    st.sampled_from(["svb", "duo", "uwv"]),
    fields=st.sampled_from([["birth"], ["birth.date", "name"], ["name.first"], ["b"]]),
    purpose=st.sampled_from(["pension", "study"]),
    version=st.integers(1, 2),
    date=st.sampled_from(["2025-11-23", "2025-11-24", "2025-12-01"]),
)
ENTRIES = st.lists(
    st.tuples(STATEMENTS, st.sampled_from([0, NOW, NOW + 1, NOW + 30]), st.integers(0, 3), st.booleans()), max_size=90
)
CONDITIONS = st.one_of(
    st.builds(among, st.just("recipient"), st.sampled_from(["svb", "duo", "nobody"])),
    st.builds(among, st.just("purpose"), st.sampled_from(["pension", "study"])),
    st.builds(among, st.just("version"), st.sampled_from([1, "1", True])),
    st.builds(Overlapping, st.just("fields"), st.sampled_from(["birth", "birth.date", "birth.date.year", "name", "b"])),
)
HOURS = st.one_of(st.none(), st.sampled_from([NOW, NOW + 1, NOW + 2, NOW + 31]))
QUESTIONS = st.builds(
    Question,
    st.lists(st.lists(CONDITIONS, max_size=3), max_size=2),
    st.tuples(HOURS, HOURS).filter(lambda hours: None in hours or hours[0] < hours[1]),
    st.sampled_from([None, ("2025-11-23", "2025-11-23"), ("2025-11-24", "2025-12-01")]),
    st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(entries=ENTRIES, question=QUESTIONS, indexed=st.integers(0, 90), limit=st.integers(1, 40))
def test_search_finds_what_a_look_at_every_entry_finds(
    entries: list[tuple[bytes, int, int, bool]], question: Question, indexed: int, limit: int
) -> None:
    log = MemoryLog()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "search.sqlite"
        for number, (told, hour, person, listed) in enumerate(entries):
            if number == indexed:
                build(log, path)
            log.add(told, hour=hour, person=person, listed=listed)
        search = LogSearch(log, path)
        assert indices(search, question, limit=limit) == naive(log, question)
        build(log, path)
        found = search.find(question, limit=1000)
        assert [one.number for one in found] == naive(log, question)
        assert [one.hour for one in found] == [hours_of(log)[one.number] for one in found]
        assert [one.statement for one in found] == [log.statements[log.entries[one.number].statement] for one in found]
        search.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s0.search.sqlite"


def filled(count: int) -> MemoryLog:
    """A log in which every seventh entry is about a study, hour by hour."""
    log = MemoryLog()
    for number in range(count):
        log.add(statement(purpose="pension" if number % 7 else "study", version=number % 3), hour=NOW + number // 10)
    return log


def test_a_reader_follows_the_log_and_the_index_without_being_opened_anew(path: Path) -> None:
    log = filled(10)
    search, question = LogSearch(log, path), Question([[among("purpose", "study")]])
    assert indices(search, question) == [7, 0]
    for number in range(10, 70):
        log.add(statement(purpose="pension" if number % 7 else "study"))
        if number % 25 == 0:
            build(log, path)
        assert indices(search, question) == naive(log, question)
    assert indices(search, question) == [63, 56, 49, 42, 35, 28, 21, 14, 7, 0]


def test_only_what_no_block_holds_is_read_from_the_log(path: Path) -> None:
    log = filled(100)
    assert build(log, path) == 96
    log.read = 0
    search = LogSearch(log, path)
    assert len(indices(search, Question())) == 100
    assert log.read == 4
    indices(search, Question([[among("purpose", "study")]]))
    assert log.read == 4


def test_an_index_goes_on_where_it_stopped(path: Path) -> None:
    log = filled(50)
    build(log, path)
    for _ in range(20):
        log.add(statement())
    log.read = 0
    assert build(log, path) == 64
    assert log.read == 16


def test_what_is_erased_leaves_the_index_too_and_the_rest_is_found_as_before(path: Path) -> None:
    log = MemoryLog()
    for number in range(48):
        log.add(statement("duo" if number == 20 else "svb"), hour=NOW + 7 if number == 20 else NOW)
    build(log, path)
    search, alone = LogSearch(log, path), Question(hours=(NOW + 7, NOW + 8))
    assert indices(search, alone) == [20]
    log.erase(20)
    log.read = 0
    build(log, path)
    assert log.read == 16
    assert indices(search, alone) == []
    assert indices(search, Question([[among("recipient", "duo")]])) == [20]
    assert (NOW + 7).to_bytes(4, "little") not in path.read_bytes()
    assert len(indices(search, Question())) == 48


def test_an_index_of_another_history_is_not_used_and_built_anew(path: Path) -> None:
    log, other = filled(64), filled(63)
    build(log, path)
    other.add(statement("uwv"))
    search = LogSearch(other, path)
    question = Question([[among("recipient", "uwv")]])
    assert indices(search, question) == [63]
    assert build(other, path) == 64
    assert indices(search, question) == [63]
    shorter = filled(20)
    assert indices(LogSearch(shorter, path), Question()) == list(range(19, -1, -1))


def test_an_index_is_found_when_it_comes_after_the_reader(path: Path) -> None:
    log = filled(40)
    search = LogSearch(log, path)
    assert len(indices(search, Question())) == 40
    build(log, path)
    log.read = 0
    assert len(indices(search, Question())) == 40
    assert log.read == 8


def test_what_is_left_out_of_the_kinds_is_refused_and_not_answered_with_nothing(path: Path) -> None:
    log = MemoryLog()
    for number in range(40):
        log.add(statement(id=f"id-{number}"))
    build(log, path, left_out=frozenset({"id"}))
    search = LogSearch(log, path, left_out=frozenset({"id"}))
    assert len(indices(search, Question([[among("recipient", "svb")]]))) == 40
    for condition in (among("id", "id-7"), among("date", "2025-11-24"), Overlapping("date", "2025-11-24")):
        with pytest.raises(Invalid, match=r"left out|date") as caught:
            search.find(Question([[condition]]))
        assert caught.value.code == "not-searchable"


def test_an_index_that_leaves_out_other_members_than_the_reader_is_not_used(path: Path) -> None:
    log = MemoryLog()
    for number in range(40):
        log.add(statement(id=f"id-{number}"))
    build(log, path, left_out=frozenset({"id"}))
    assert indices(LogSearch(log, path), Question([[among("id", "id-7")]])) == [7]


def test_ever_new_values_stop_the_building_with_a_sentence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_KINDS", 20)
    log = MemoryLog()
    for number in range(48):
        log.add(statement(id=f"id-{number}"))
    with pytest.raises(Refused, match="leave out the members") as caught:
        build(log, path)
    assert caught.value.code == "search-kinds"
    assert indices(LogSearch(log, path), Question([[among("id", "id-40")]])) == [40]


def test_a_reader_far_ahead_of_the_index_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "MAX_TAIL", 30)
    with pytest.raises(Busy, match="not indexed yet"):
        LogSearch(filled(31), path).find(Question())


def test_a_log_that_lacks_a_row_is_not_indexed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = filled(40)
    every = log.rows
    monkeypatch.setattr(log, "rows", lambda start, stop: (row for row in every(start, stop) if row[0] != 20))
    with pytest.raises(Tampered, match="does not hold all entries"):
        build(log, path)
    with pytest.raises(Tampered, match="does not hold entry 20"):
        LogSearch(log, None).find(Question())


def test_somebody_elses_file_is_left_alone(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0 or so it says")
    with pytest.raises(AuditError):
        IndexFile.open(path)
    assert path.read_bytes().startswith(b"SQLite format 3\0 or so")


@pytest.mark.parametrize("limit", [0, 1001])
def test_a_page_has_one_to_a_thousand_entries(path: Path, limit: int) -> None:
    with pytest.raises(Invalid, match="1 to 1000"):
        LogSearch(filled(3), path).find(Question(), limit=limit)


def two_shards() -> list[MemoryLog]:
    logs = [MemoryLog(f"demo/s{number}-2025h2") for number in range(2)]
    for number in range(60):
        logs[number % 3 == 0].add(statement(), hour=NOW + number // 5)
    return logs


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_shards_and_half_years_are_one_list_newest_first(tmp_path: Path, limit: int) -> None:
    old, shards = MemoryLog("demo/s0-2025h1"), two_shards()
    for number in range(20):
        old.add(statement(), hour=NOW - 100 + number)
    for number, log in enumerate(shards):
        build(log, tmp_path / f"{number}.sqlite")
    newest = [LogSearch(log, tmp_path / f"{number}.sqlite") for number, log in enumerate(shards)]
    search = Search([newest, [LogSearch(old, None)]])
    found, place = [], None
    while True:
        page = search.find(Question(), place=place, limit=limit)
        found += page.found
        if page.next is None:
            break
        place = page.next
        shards[0].add(statement(), hour=NOW + 99)  # in front of the list, so not in it
    assert len(found) == 80
    assert len({(one.origin, one.number) for one in found}) == 80
    assert [one.hour for one in found] == sorted((one.hour for one in found), reverse=True)


def test_an_older_half_year_is_not_asked_while_the_newer_one_fills_the_page() -> None:
    old, new = filled(30), filled(30)
    old.origin = "demo/s0-2025h1"
    search = Search([[LogSearch(new, None)], [LogSearch(old, None)]])
    search.find(Question(), limit=10)
    assert old.read == 0


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("recipient=svb", True),
        ("recipient=duo", False),
        ("recipient=duo|svb", True),
        ("version=1", True),
        ("version=2", False),
        ("fields~birth", True),
        ("fields~birth.date.year", True),
        ("fields~birth.dat", False),
        ("fields=birth", False),
        ("nothing=svb", False),
    ],
)
def test_conditions_are_written_as_people_write_them(text: str, holds: bool) -> None:
    log = MemoryLog()
    log.add(statement())
    assert len(LogSearch(log, None).find(Question([[read_condition(text)]]))) == holds


@pytest.mark.parametrize("text", ["", "recipient", "=svb", "recipient=", "~x"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_condition(text)
    assert caught.value.code == "condition"
