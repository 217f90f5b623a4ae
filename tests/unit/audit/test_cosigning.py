from __future__ import annotations

import copy
import gzip
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from integrator_audit.completeness.cosigning import CheckedDay
from integrator_audit.completeness.dossier import Dossier
from integrator_audit.completeness.labels import PERIOD
from integrator_audit.completeness.lines import MAX_LINE, open_lines
from integrator_audit.completeness.memory import Memory, Withheld
from integrator_audit.completeness.unlisted import Order, release
from integrator_audit.errors import Invalid, Refused, Tampered, Unavailable
from integrator_audit.halfyear import date_of, last_day
from tests.unit.audit.lying.operator import EPOCHS, SUPERVISOR, Document, Kept, Operator, Trie
from tests.unit.audit.lying.verifiers import cosigned
from tests.unit.audit.schema_check import breaches, schema


def order_for(recipient: str, *, last: int, first: int = 0) -> bytes:
    """Return an order of the supervisor for some days."""
    return Order("2000-1", recipient, date_of(first), date_of(last)).sign(SUPERVISOR)


def released(operator: Operator, entry: Kept) -> Kept:
    """Enter the release of a withheld entry."""
    size = len(operator.entries[entry.period][entry.place[0]])
    parts = dict(zip("ADSP", release(operator.opening(entry, "ADSP", size=size)), strict=True))
    return operator.enter(parts, number=entry.number, recipient=entry.recipient, listed=True)


def week(operator: Operator | None = None, *, count: int = 4) -> Operator:
    """Return an operator after some days; on the third there is nothing but padding."""
    operator = operator or Operator()
    for day in range(count):
        for at in range(0 if day == 2 else 5):
            operator.deliver(f"bsn:{at % 4}", "svb" if at % 3 else "uwv")
        operator.end_day()
    return operator


def test_every_entry_of_every_day_is_accounted_for() -> None:
    assert cosigned(week()) == [CheckedDay(day, 0 if day == 2 else 5, 4, 0, 0) for day in range(4)]


def test_days_are_checked_as_they_come_and_the_memory_goes_on(tmp_path: Path) -> None:
    operator, memory = week(count=2), Memory(EPOCHS)
    assert [day.epoch for day in cosigned(operator, memory)] == [0, 1]
    memory.save(tmp_path / "memory")
    again = Memory.load(tmp_path / "memory", EPOCHS)
    assert again == Memory(**{name: getattr(memory, name) for name in Memory.__slots__} | {"random": again.random})
    week(operator, count=3)
    assert [day.epoch for day in cosigned(operator, again)] == [2, 3, 4]
    assert (tmp_path / "memory").stat().st_mode & 0o077 == 0


def test_a_dossier_has_to_begin_where_the_memory_ends() -> None:
    operator, memory = week(), Memory(EPOCHS)
    for lines in (
        operator.dossier(first=1),
        [{**operator.dossier()[0], "epochs": {"origin": "x", "first": 0, "last": 3}}],
    ):
        with pytest.raises(Invalid):
            cosigned(operator, memory, lines)
    header, *rest = operator.dossier()
    cosigned(operator, memory)
    ended = [{**header, "epochs": {"origin": EPOCHS, "first": 4, "last": 3}}]
    ahead = [{**header, "epochs": {"origin": EPOCHS, "first": 0, "last": 4}}, *rest]
    for remembered, lines in ((memory, operator.dossier()), (memory, ended), (Memory(EPOCHS), ahead)):
        with pytest.raises(Invalid) as caught:
            cosigned(operator, remembered, lines)
        assert caught.value.code == "dossier-days"


def test_a_long_list_goes_in_pieces() -> None:
    operator = Operator(shards=(0,))
    for at in range(40):
        operator.deliver(f"bsn:{at % 3}", "svb")
    operator.end_day()
    lines = operator.dossier(piece=7)
    assert sum("list" in line and "trie" not in line for line in lines) > 5
    assert cosigned(operator, lines=lines)[0].listed == 40


def test_a_withheld_entry_is_opened_and_later_released() -> None:
    operator, memory = Operator(), Memory(EPOCHS)
    operator.deliver("bsn:1", "svb")
    entry = operator.deliver("bsn:2", "recherche", order=order_for("recherche", last=2), listed=False)
    operator.end_day()
    assert cosigned(operator, memory) == [CheckedDay(0, 1, 3, 1, 0)]
    assert list(memory.withheld) == [(entry.origin, entry.place[1])]
    operator.end_day()
    operator.end_day()
    released(operator, entry)
    operator.end_day()
    assert cosigned(operator, memory)[-1] == CheckedDay(3, 1, 4, 0, 1)
    assert memory.withheld == {}


def test_a_half_year_is_the_union_of_its_days() -> None:
    operator = Operator(shards=(0,), unlisted=1)
    for day in range(last_day(0) + 3):
        operator.deliver(f"bsn:{day % 3}", "svb")
        operator.deliver("bsn:1", "svb")
        operator.end_day()
    assert operator.leaves[last_day(0)].period_root != bytes(32)
    assert len(cosigned(operator)) == last_day(0) + 3
    # One of the two entries that somebody has on one day goes to somebody else in the half-year.
    last = operator.sealed[last_day(0)]
    assert last.period is not None
    mine = last.period.lists[operator.label("bsn:1", PERIOD, 0)]
    other = last.period.lists[operator.label("bsn:2", PERIOD, 0)]
    assert mine is not None
    assert other is not None
    other[1].append(mine[1].pop())
    last.period = Trie.of({label: item[1] for label, item in last.period.lists.items() if item})
    operator.leaves[last_day(0)] = operator.resealed(last_day(0))
    with pytest.raises(Tampered) as caught:
        cosigned(operator)
    assert caught.value.code == "period-other"


MALFORMED: dict[str, tuple[str, Any]] = {
    "no header": ("document-malformed", lambda lines: lines[1:]),
    "cut off": ("trie-root", lambda lines: lines[:2]),
    "the last day missing": ("dossier-order", lambda lines: lines[: lines.index({"day": 3})]),
    "a row twice": ("index-twice", lambda lines: [*lines[:3], lines[2], *lines[3:]]),
    "a row left out": ("trie-root", lambda lines: [*lines[:2], *lines[3:]]),
    "rows out of order": ("trie-order", lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]]),
    "something at the end": ("dossier-order", lambda lines: [*lines, {"day": 4}]),
    "a row with another list": (
        "trie-root",
        lambda lines: [*lines[:2], lines[2] | {"salt": lines[2]["label"]}, *lines[3:]],
    ),
    "a list shorter than it says": ("document-malformed", lambda lines: [*lines[:2], lines[2] | {"m": 9}, *lines[3:]]),
    "a list longer than it says": ("document-malformed", lambda lines: [*lines[:2], lines[2] | {"m": 0}, *lines[3:]]),
    "a list of more than a list can have": (
        "document-malformed",
        lambda lines: [*lines[:2], lines[2] | {"m": 1 << 32}, *lines[3:]],
    ),
    "a list that goes on with nothing": (
        "document-malformed",
        lambda lines: [*lines[:2], lines[2] | {"m": 9}, {"list": []}, *lines[3:]],
    ),
    "a member that the header does not have": (
        "document-malformed",
        lambda lines: [lines[0] | {"epochs": lines[0]["epochs"] | {"more": 1}}, *lines[1:]],
    ),
    "an unlisted entry not opened": (
        "index-left-out",
        lambda lines: [line for at, line in enumerate(lines) if at != first_unlisted(lines)],
    ),
    "an unlisted entry opened twice": (
        "index-twice",
        lambda lines: [*lines[: first_unlisted(lines)], lines[first_unlisted(lines)], *lines[first_unlisted(lines) :]],
    ),
    "an unlisted entry opened on the day after": (
        "entry-not-listed",
        lambda lines: moved(lines, first_unlisted(lines), to=lines.index({"day": 2})),
    ),
    "an unlisted entry opened on the day before": (
        "entry-not-listed",
        lambda lines: moved(lines, lines.index({"day": 2}) - 1, to=lines.index({"day": 1})),
    ),
    "two shards of one origin": (
        "shard-twice",
        lambda lines: [
            lines[0] | {"shards": [lines[0]["shards"][0], {**lines[0]["shards"][0], "shard": 3}]},
            *lines[1:],
        ],
    ),
}


def first_unlisted(lines: list[Document]) -> int:
    return next(at for at, line in enumerate(lines) if "unlisted" in line)


def moved(lines: list[Document], at: int, *, to: int) -> list[Document]:
    """Return the lines with one of them once more, before another."""
    return [*lines[:to], lines[at], *lines[to:]]


@pytest.mark.parametrize("change", MALFORMED)
def test_a_dossier_that_is_not_whole_is_refused(change: str) -> None:
    code, make = MALFORMED[change]
    operator = week()
    with pytest.raises(Tampered) as caught:
        cosigned(operator, lines=make(copy.deepcopy(operator.dossier())))
    assert caught.value.code == code


def test_a_dossier_that_was_not_followed_by_its_logs_cannot_be_checked() -> None:
    operator = week()
    lines = operator.dossier()
    lines[0] = lines[0] | {"shards": lines[0]["shards"][:1]}
    with pytest.raises(Invalid) as caught:
        cosigned(operator, lines=lines)
    assert caught.value.code == "log-missing"


@pytest.mark.parametrize("trie", ["persons", "recipients"])
def test_a_list_that_was_erased_before_it_was_checked_is_past_checking(trie: str) -> None:
    operator = week()
    lists = getattr(operator.sealed[1], trie).lists
    lists[min(lists)] = None
    lines = operator.dossier()
    with pytest.raises(Tampered) as caught:
        cosigned(operator, lines=lines)
    assert caught.value.code == "erased-young"
    by_order = [line | {"ground": "order"} if "ground" in line else line for line in lines]
    with pytest.raises(Unavailable) as past:
        cosigned(operator, lines=by_order)
    assert past.value.code == "dossier-erased"


def test_every_line_of_a_dossier_is_of_the_published_schema() -> None:
    operator = Operator(shards=(0,))
    for at in range(9):
        operator.deliver(f"bsn:{at % 2}", "svb")
    entry = operator.deliver("bsn:2", "recherche", order=order_for("recherche", last=2), listed=False)
    operator.end_day()
    released(operator, entry)
    operator.end_day()
    operator.sealed[0].persons.lists[min(operator.sealed[0].persons.lists)] = None
    rules = schema("dossier.v1")
    lines = operator.dossier(piece=3)
    assert {key for line in lines for key in line} >= {"schema", "day", "ground", "unlisted", "release"}
    for line in lines:
        assert list(breaches(line, rules, rules)) == []
    for line in ({}, {"day": -1}, {"trie": "x"}, lines[2] | {"m": 0}, {"list": []}):
        assert list(breaches(line, rules, rules)) != []


def test_dossiers_are_read_from_files_packed_or_not(tmp_path: Path) -> None:
    lines = [json.dumps(line).encode() for line in week().dossier()]
    plain, packed = tmp_path / "dossier.jsonl", tmp_path / "dossier.jsonl.gz"
    plain.write_bytes(b"\n".join(lines))
    packed.write_bytes(gzip.compress(b"\n".join(lines) + b"\n"))
    for path in (plain, packed):
        assert [line.strip() for line in open_lines(path)] == lines
        assert Dossier(open_lines(path)).header.last == 3
    packed.write_bytes(packed.read_bytes()[:-20])
    for path in (packed, tmp_path / "none"):
        with pytest.raises(Unavailable):
            list(open_lines(path))
    plain.write_bytes(b"x" * (MAX_LINE + 1))
    with pytest.raises(Tampered):
        list(open_lines(plain))


def test_a_memory_of_another_log_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "memory"
    memory = Memory(EPOCHS)
    memory.begin_period(0)
    memory.withhold(Withheld("o", 3, b"x" * 33, "1", date_of(9)))
    memory.edges["o"] = 3, (b"a" * 32, b"b" * 32)
    memory.save(path)
    assert Memory.load(path, EPOCHS).withheld == memory.withheld
    assert Memory.load(tmp_path / "none", EPOCHS).next_epoch == 0
    with pytest.raises(Refused):
        Memory.load(path, "other")
    for content in (b"", path.read_bytes()[:-9], path.read_bytes().replace(b"2000-01-10", b"2000-13-10")):
        path.write_bytes(content)
        with pytest.raises(Refused) as caught:
            Memory.load(path, EPOCHS)
        assert caught.value.code == "memory-damaged"


def test_an_order_that_ends_is_not_over_before_the_end_of_the_next_day() -> None:
    memory = Memory(EPOCHS)
    entry = Withheld("o", 3, b"", "1", date_of(9))
    memory.withhold(entry)
    assert memory.overdue(date_of(9)) is None
    assert memory.overdue(date_of(9) + timedelta(days=1)) == entry
