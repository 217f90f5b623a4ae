from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from integrator_audit.completeness import doubleentry
from integrator_audit.completeness.doubleentry import Comparison, Received
from integrator_audit.completeness.members import Delivery, DeliverySequence

START, STOP = 1_000, 9_000
SEQUENCES = [
    DeliverySequence("a", 0, 0),
    DeliverySequence("a", 0, 2**53 - 1),
    DeliverySequence("a", 255 << 40, 1),
    DeliverySequence("a\0", 0, 0),
    DeliverySequence("a\0\xff", 1, 0),
    DeliverySequence("ab", 3, 1),
    DeliverySequence("é", 3, 1),
]
NUMBERS = [*range(1, 12), 255, 256, 300]
Entries = list[tuple[Delivery, bool]]


def compared(
    listed: Entries, received: Iterable[Received], *, start: int | None = None, erased: int = 0
) -> tuple[list[tuple[str, str]], int, Comparison]:
    comparison = Comparison(start, STOP)
    for delivery, early in listed:
        comparison.add_listed(delivery, early=early)
    for item in received:
        comparison.add_received(item)
    findings, left_out = comparison.compare(erased)
    comparison.close()
    return [(finding.code, finding.where) for finding in findings], left_out, comparison


def where(sequence: DeliverySequence, number: int) -> str:
    return f"{sequence.topic}, partition {sequence.partition}, lane {sequence.lane}, number {number}"


def by_hand(listed: Entries, received: list[Received], start: int | None) -> tuple[set[tuple[str, str]], int]:
    """Return the differences and how many deliveries are outside, found by looking through both lists."""
    found: set[tuple[str, str]] = set()
    outside = 0
    for sequence in SEQUENCES:
        known: list[int] = []
        for number in NUMBERS:
            here = [(delivery.value, early) for delivery, early in listed if delivery[:2] == (sequence, number)]
            mine = [item for item in received if item.delivery[:2] == (sequence, number)]
            if not here and not mine:
                continue
            known.append(number)
            place = where(sequence, number)
            if len({value for value, _ in here}) > 1:
                found.add(("listed-twice", place))
            if len({item.delivery.value for item in mine}) > 1:
                found.add(("received-twice", place))
            if not mine:
                found |= set() if any(early for _, early in here) else {("invented", place)}
                continue
            first = mine[0]
            if here:
                found |= {("value-changed", place)} if here[0][0] != first.delivery.value else set()
                found |= {("persons-differ", place)} if first.persons not in (None, len(here)) else set()
            elif first.at is not None and (first.at >= STOP or (start is not None and first.at < start)):
                outside += 1
            elif first.persons != 0:
                found.add(("not-logged", place))
        expected = 1 if start is None or not known else known[0]
        for number in known:
            found |= {("gap", where(sequence, expected))} if number > expected else set()
            expected = number + 1
    return found, outside


@pytest.mark.parametrize("start", [None, START])
@pytest.mark.parametrize("held", [4, 1_000])
def test_the_differences_are_those_of_looking_through_both_lists(
    held: int, start: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubleentry, "HELD", held)
    monkeypatch.setattr(doubleentry, "MAX_FINDINGS", 10_000)
    monkeypatch.setattr("integrator_audit.findings.MAX_FINDINGS", 10_000)
    drawn = random.Random(held)

    def deliveries() -> list[Delivery]:
        chosen = [(sequence, number) for sequence in SEQUENCES for number in NUMBERS if drawn.random() < 0.6]
        chosen += drawn.choices(chosen, k=10)
        return [Delivery(*one, bytes([drawn.random() < 0.1] * 32)) for one in chosen]

    listed = [(delivery, drawn.random() < 0.1) for delivery in deliveries()]
    received = [
        Received(delivery, drawn.choice([None, START - 1, START, STOP - 1, STOP]), drawn.choice([None, 0, 1, 2]))
        for delivery in deliveries()
    ]
    found, left_out, comparison = compared(listed, received, start=start)
    expected, outside = by_hand(listed, received, start)
    assert (set(found), len(found), left_out) == (expected, len(expected), 0)
    assert {code for code, _ in found} == {
        *("listed-twice", "received-twice", "invented", "value-changed", "persons-differ", "not-logged", "gap")
    }
    assert (comparison.received, comparison.outside) == (len(received), outside)
    assert outside > 0


def test_differences_are_told_by_sequence_and_number_and_no_more_than_people_read() -> None:
    sequences = [DeliverySequence(topic, 0, lane) for topic in ("b", "a") for lane in (1, 0)]
    received = [Received(Delivery(one, number, bytes(32))) for number in (20, 3, 70_000) for one in sequences]
    found, left_out, _ = compared([], received, start=START)
    places = [where(one, number) for one in sorted(sequences) for number in (3, 4, 20, 21, 70_000)]
    assert [place for _, place in found] == places
    assert {code for code, place in found if place.endswith((" 4", " 21"))} == {"gap"}
    assert left_out == 0
    many = [Received(Delivery(sequences[0], number, bytes(32))) for number in range(1, 251)]
    found, left_out, _ = compared([], many)
    assert (len(found), left_out, found[0]) == (100, 150, ("not-logged", where(sequences[0], 1)))


def test_missed_deliveries_are_not_told_where_as_many_entries_were_erased() -> None:
    received = [Received(Delivery(SEQUENCES[0], number, bytes(32))) for number in range(1, 251)]
    assert compared([], received, erased=249)[1] == 150
    found, left_out, comparison = compared([], received, erased=250)
    assert (found, left_out, comparison.uncompared) == ([], 0, 250)
