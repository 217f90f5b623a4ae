from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrator_audit.completeness.epoch import (
    MAX_SHARDS,
    EpochLeaf,
    EpochRules,
    ShardRange,
    blank_leaf,
    check_log,
    check_sequence,
)
from integrator_audit.completeness.trie import EMPTY
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.halfyear import (
    LAST_DAY,
    first_day,
    last_day,
    period_of,
    start_of,
)
from integrator_audit.merkle import EMPTY_ROOT
from integrator_audit.tiles import MAX_ENTRY

ROOT = [sha256(b"root %d" % number).digest() for number in range(9)]
KEY = ROOT[8]
# A short history: the second half of 2000 has shards 0 and 3, the first of 2001 shard 1; before, nothing.
START = first_day(1)
LAST = last_day(1)


def leaf(epoch: int, *ranges: tuple[int, int, int], **changes: object) -> EpochLeaf:
    shards = tuple(
        ShardRange(shard, start, end, sha256(b"%d %d" % (shard, end)).digest() if end else EMPTY_ROOT)
        for shard, start, end in ranges
    )
    covered = sum(item.count for item in shards)
    made = EpochLeaf(
        epoch=epoch,
        period=period_of(epoch),
        sealed_at=start_of(epoch + 1) + 3_600_000,
        label_key=KEY,
        consumed=ROOT[0],
        inst_size=epoch,
        inst_root=ROOT[epoch % 7] if epoch else EMPTY_ROOT,
        shards=shards,
        listed=covered,
        unlisted=0,
        persons_root=ROOT[1] if covered else EMPTY,
        recipients_root=ROOT[2] if covered else EMPTY,
        period_root=EMPTY,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def history() -> list[EpochLeaf]:
    """Return a log that keeps every rule: blank days, a whole half-year, and the next one's first days."""
    days = [blank_leaf(epoch, sealed_at=start_of(LAST) + epoch) for epoch in range(START)]
    for epoch in range(START, LAST + 1):
        at = epoch - START
        # Shard 0 grows by three a day, shard 3 only on the first.
        start = (0, 3 * max(at - 1, 0), 3 * at), (3, 5 if at else 0, 5)
        days.append(leaf(epoch, *start, sealed_at=start_of(LAST) + 1_000 + epoch))
    days[-1] = replace(days[-1], period_root=ROOT[3])
    days.append(leaf(LAST + 1, (1, 0, 4), label_key=ROOT[4]))
    days.append(leaf(LAST + 2, (1, 4, 4), label_key=ROOT[4]))
    return days


HISTORY = history()


def test_a_leaf_is_to_the_letter() -> None:
    made = leaf(5, (0, 1, 3), (7, 0, 2), unlisted=1, listed=3)
    expected = (
        b"\x10\x01" + b"\0\0\0\x05" + b"\0\0" + made.sealed_at.to_bytes(8, "big") + KEY + ROOT[0]
        + b"\0\0\0\0\0\0\0\x05" + ROOT[5] + b"\0\x02"
        + b"\0\0" + b"\0\0\0\0\0\0\0\x01" + b"\0\0\0\0\0\0\0\x03" + sha256(b"0 3").digest()
        + b"\0\x07" + bytes(8) + b"\0\0\0\0\0\0\0\x02" + sha256(b"7 2").digest()
        + b"\0\0\0\0\0\0\0\x03" + b"\0\0\0\0\0\0\0\x01" + ROOT[1] + ROOT[2] + bytes(32)
    )  # fmt: skip
    assert made.encode() == expected
    assert EpochLeaf.parse(expected) == made


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 2**64 - 1)), max_size=5), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_encoding_and_parsing_are_each_others_inverse(shards: list[tuple[int, int]], epoch: int) -> None:
    made = replace(HISTORY[-1], epoch=epoch, shards=tuple(ShardRange(s, e // 2, e, ROOT[5]) for s, e in shards))
    assert EpochLeaf.parse(made.encode()) == made


def test_other_bytes_are_no_leaf() -> None:
    good = HISTORY[-1].encode()
    for data in (
        b"",
        good[:-1],
        good + b"\0",
        b"\x11" + good[1:],
        good[:1] + b"\x02" + good[2:],
        good[:-50],
        good[:120] + b"\xff\xff" + good[122:],
    ):
        with pytest.raises(Invalid):
            EpochLeaf.parse(data)
        with pytest.raises(Tampered) as caught:
            check_log([data])
        assert caught.value.code == "epoch-leaf"


def test_what_does_not_fit_a_leaf_is_not_encoded() -> None:
    good = HISTORY[-1]
    for changed in (
        replace(good, epoch=1 << 32),
        replace(good, listed=-1),
        replace(good, label_key=b"short"),
        replace(good, shards=(ShardRange(1 << 16, 0, 1, ROOT[0]),)),
        replace(good, shards=tuple(ShardRange(number, 0, 1, ROOT[0]) for number in range(MAX_SHARDS + 1))),
    ):
        with pytest.raises(Invalid):
            changed.encode()
    most = replace(good, shards=tuple(ShardRange(number, 0, 1, ROOT[0]) for number in range(MAX_SHARDS)))
    assert len(most.encode()) <= MAX_ENTRY


def test_a_log_that_keeps_every_rule_passes() -> None:
    assert check_log(item.encode() for item in HISTORY) == HISTORY
    assert check_log([]) == []


def test_a_half_year_without_entries_closes_with_nobody_in_it_also_after_one_with_some() -> None:
    silent = [leaf(epoch, (1, 0, 0), label_key=ROOT[4]) for epoch in range(LAST + 1, last_day(2) + 1)]
    days = [*HISTORY[: LAST + 1], *silent]
    assert check_log(item.encode() for item in days) == days
    days[-1] = replace(days[-1], period_root=ROOT[3])
    with pytest.raises(Tampered) as caught:
        check_log(item.encode() for item in days)
    assert caught.value.code == "epoch-period-root"


AT = START + 10  # some day of the half-year with shards 0 and 3
SILENT = {"label_key": EMPTY, "inst_size": 0, "inst_root": EMPTY_ROOT, "persons_root": EMPTY, "recipients_root": EMPTY}


def ranges(*given: tuple[int, int, int]) -> tuple[ShardRange, ...]:
    return leaf(AT, *given).shards


RULES: dict[str, tuple[str, int, dict[str, object]]] = {
    "a day left out": ("epoch-index", AT, {"epoch": AT + 1}),
    "a day twice": ("epoch-index", AT, {"epoch": AT - 1}),
    "another half-year": ("epoch-period", AT, {"period": 2}),
    "a gap in a shard": ("epoch-start", AT, {"shards": ranges((0, 28, 30), (3, 5, 5)), "listed": 2}),
    "an entry in two days": ("epoch-start", AT, {"shards": ranges((0, 26, 30), (3, 5, 5)), "listed": 4}),
    "an end before the start": ("epoch-end", AT, {"shards": ranges((0, 27, 26), (3, 5, 5)), "listed": 1}),
    "another root for the same end": (
        "epoch-end",
        AT,
        {"shards": (HISTORY[AT].shards[0], ShardRange(3, 5, 5, ROOT[0]))},
    ),
    "a root for an empty shard": (
        "epoch-end",
        START,
        {"shards": (ShardRange(0, 0, 0, ROOT[0]), HISTORY[START].shards[1])},
    ),
    "a shard more": ("epoch-shards", AT, {"shards": ranges((0, 27, 30), (3, 5, 5), (4, 0, 0))}),
    "a shard fewer": ("epoch-shards", AT, {"shards": ranges((0, 27, 30))}),
    "shards out of order": ("epoch-shards", AT, {"shards": HISTORY[AT].shards[::-1]}),
    "a shard twice": ("epoch-shards", AT, {"shards": ranges((0, 27, 30), (0, 27, 27))}),
    "a shard twice when a half-year opens": ("epoch-shards", LAST + 1, {"shards": ranges((1, 0, 4), (1, 0, 0))}),
    "no shards any more": ("epoch-blank", AT, {"shards": (), "listed": 0} | SILENT),
    "a count too low": ("epoch-count", AT, {"listed": 2}),
    "a count too high": ("epoch-count", AT, {"unlisted": 1}),
    "sealed with the day before": ("epoch-sealed", AT, {"sealed_at": HISTORY[AT - 1].sealed_at}),
    "sealed before the day before": ("epoch-sealed", AT, {"sealed_at": HISTORY[AT - 1].sealed_at - 1}),
    "a second label key": ("epoch-label-key", AT, {"label_key": ROOT[6]}),
    "no label key": ("epoch-label-key", START, {"label_key": EMPTY}),
    "a half-year closed early": ("epoch-period-root", AT, {"period_root": ROOT[3]}),
    "a half-year closed with nobody in it": ("epoch-period-root", LAST, {"period_root": EMPTY}),
    "entries under nobody": ("epoch-roots", AT, {"persons_root": EMPTY}),
    "somebody without entries": ("epoch-roots", LAST + 2, {"persons_root": ROOT[1]}),
    "recipients without entries": ("epoch-roots", LAST + 2, {"recipients_root": ROOT[1]}),
    "an institution log that shrank": ("epoch-institution", AT, {"inst_size": AT - 2}),
    "an institution log that changed": ("epoch-institution", AT, {"inst_size": AT - 1}),
    "a root for an empty institution log": ("epoch-institution", LAST + 1, {"inst_size": 0}),
    "a half-year that opens in the middle": ("epoch-start", LAST + 1, {"shards": ranges((1, 3, 7))}),
    "a half-year that goes on with old ends": ("epoch-start", LAST + 1, {"shards": ranges((0, 549, 553), (3, 5, 5))}),
    "a blank day that says something": ("epoch-blank", 3, {"label_key": KEY}),
    "a blank day with an institution log": ("epoch-blank", 3, {"inst_size": 3}),
    "a log begun inside a half-year": ("epoch-shards", START + 1, {}),
}


@pytest.mark.parametrize("lie", RULES)
def test_each_rule_of_the_sequence_is_checked_and_named(lie: str) -> None:
    code, at, changes = RULES[lie]
    days = list(HISTORY)
    days[at] = replace(days[at], **changes)  # type: ignore[arg-type]
    if lie == "a log begun inside a half-year":
        days[START] = blank_leaf(START, sealed_at=days[START].sealed_at)
    with pytest.raises(Tampered) as caught:
        check_log(item.encode() for item in days)
    assert caught.value.code == code
    assert str(at) in caught.value.message


def test_an_empty_day_cannot_be_skipped_by_moving_the_rest_up() -> None:
    days = [item for item in HISTORY if item.epoch != AT]
    with pytest.raises(Tampered) as caught:
        check_log(item.encode() for item in days)
    assert caught.value.code == "epoch-index"


def test_leaves_are_checked_one_by_one_as_they_come() -> None:
    rules = EpochRules()
    for index, item in enumerate(HISTORY):
        assert rules.previous == (HISTORY[index - 1] if index else None)
        check_sequence(rules.previous, item, index)
        assert rules.take(item.encode()) == item


def test_a_day_beyond_the_calendar_is_refused() -> None:
    index = LAST_DAY + 1
    with pytest.raises(Tampered) as caught:
        check_sequence(None, replace(HISTORY[0], epoch=index), index)
    assert caught.value.code == "epoch-period"
