"""Lies in what a day says: under whom entries are listed, which entries a day covers, which days there are."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest

from integrator_audit.completeness.attribution import check_attribution, draw
from integrator_audit.completeness.labels import DAY, PERIOD, LabelKey, label_of, label_secret, signed_input
from integrator_audit.completeness.trie import prove
from integrator_audit.errors import Invalid
from integrator_audit.halfyear import last_day
from integrator_audit.opening import verify_opening
from integrator_audit.openingfile import opening_json, read_opening
from integrator_audit.parts import part, read_part
from tests.unit.audit.label_samples import label_signer
from tests.unit.audit.lying.catching import (
    ANN,
    BOB,
    by_anyone,
    by_cosigner,
    by_person,
    by_recipient,
    caught,
    deliver_some,
    ordinary,
)
from tests.unit.audit.lying.operator import Operator, Plan, Trie
from tests.unit.audit.lying.verifiers import history_of


def to_phantom(plan: Plan) -> None:
    """List all that is Ann's under a label that is nobody's."""
    if ANN in plan.persons:
        plan.phantoms[sha256(b"phantom %d" % plan.epoch).digest()] = plan.persons.pop(ANN)


def to_bob(plan: Plan) -> None:
    """List all that is Ann's under Bob."""
    if ANN in plan.persons:
        plan.persons[BOB] = sorted(plan.persons.get(BOB, []) + plan.persons.pop(ANN))


def lying(lie: object, *, count: int = 3) -> Operator:
    operator = Operator()
    operator.lie = lie  # type: ignore[assignment]
    return ordinary(operator, count=count)


def test_a_phantom_label_is_not_seen_by_the_victim_alone_nor_by_the_cosigner() -> None:
    operator = lying(to_phantom)
    assert [by_person(operator), by_cosigner(operator), by_anyone(operator)] == [None, None, None]
    assert by_recipient(operator, operator.received("svb")) == set()


def test_a_phantom_label_is_found_by_who_holds_the_recipients_receipt() -> None:
    operator = lying(to_phantom)
    entry = next(kept for kept in operator.kept(0) if kept.number == ANN)
    size = operator.leaves[0].range_of(entry.place[0]).end  # type: ignore[union-attr]
    opening = read_opening(opening_json(operator.opening(entry, "AD", size=size)))
    receipt = verify_opening(opening, operator.signer(entry.origin).verifier)
    assert by_person(operator, receipts=[receipt]) == "receipt-not-listed"
    assert by_person(ordinary(), receipts=[receipt]) is None
    # It may have been entered on the day after its date: only a history that has that day too can lack it.
    for asked in ({"first": 1}, {"last": 0}):
        with pytest.raises(Invalid) as outside:
            by_person(operator, document=operator.history(ANN, **asked), receipts=[receipt], **asked)
        assert outside.value.code == "receipt-outside"


def attributed(
    operator: Operator, place: tuple[int, int], epoch: int, *, y: bytes | None = None, spki: bytes | None = None
) -> str | None:
    """Return what the supervisor finds: the recipient says who it is, the label service gives y, the operator the list.

    The operator shows the list of that label, or of anybody else's: no proof of another one holds.
    """
    number = operator.at(place).number
    assert number is not None
    y = y or operator.y(number, 0)
    trie, label = operator.sealed[epoch].persons, label_of(label_secret(y), DAY, epoch)
    listed = trie.lists.get(label) or next(item for item in trie.lists.values() if item is not None)
    siblings = prove(trie.leaves, label).siblings
    key, leaf = LabelKey.read(spki or label_signer().spki), operator.leaves[epoch]
    return caught(lambda: check_attribution(place, leaf, number=number, key=key, y=y, listed=listed, siblings=siblings))


def test_a_phantom_label_is_found_by_the_supervisors_sample_at_its_rate() -> None:
    operator = lying(to_phantom, count=1)
    leaf = operator.leaves[0]
    listed = [place for place in draw(leaf, 1_000, random.Random(1).randrange) if operator.at(place).listed]
    found = {place for place in listed if attributed(operator, place, 0) is not None}
    assert found == {kept.place for kept in operator.kept(0) if kept.number == ANN}
    # One draw of eleven entries, two of them Ann's, likely misses: that is what a sample is.
    draws = [draw(leaf, 1, random.Random(seed).randrange)[0] for seed in range(200)]
    assert 0.08 < sum(place in found for place in draws) / 200 < 0.32


def test_a_phantom_with_a_signature_of_its_own_is_found_by_the_supervisors_sample() -> None:
    other = label_signer(1)
    y = other.sign(signed_input(0, ANN))

    def signed(plan: Plan) -> None:
        plan.phantoms[label_of(label_secret(y), DAY, plan.epoch)] = plan.persons.pop(ANN)

    operator = lying(signed, count=1)
    place = next(kept.place for kept in operator.kept(0) if kept.number == ANN)
    assert attributed(operator, place, 0, y=y) == "label-signature"
    assert attributed(operator, place, 0, y=y, spki=other.spki) == "label-key-other"


def test_an_entry_under_another_person_is_found_by_that_person_and_by_the_sample() -> None:
    operator = lying(to_bob)
    assert by_person(operator) is None
    assert by_cosigner(operator) is None
    assert by_person(operator, BOB) == "pseudonym-other"
    place = next(kept.place for kept in operator.kept(0) if kept.number == ANN)
    assert attributed(operator, place, 0) == "trie-proof-root"
    # Under a list that holds other entries of hers it is named.
    mixed = lying(lambda plan: plan.persons.__setitem__(ANN, plan.persons[ANN][:1]), count=1)
    hidden = [kept.place for kept in mixed.kept(0) if kept.number == ANN][1]
    assert attributed(mixed, hidden, 0) == "attribution-other"


def test_an_entry_under_another_person_and_another_version_of_the_key_is_seen_only_by_who_reads_it() -> None:
    operator = Operator()
    deliver_some(operator)
    strangers = next(kept for kept in operator.kept(0) if kept.number == ANN)
    members = read_part(strangers.parts["S"]) | {"keyVersion": 2}
    strangers.parts = strangers.parts | {"S": part(str(members.pop("schema")), members)}

    def moved(plan: Plan) -> None:
        plan.persons[ANN].remove(strangers.place)
        plan.persons[BOB] = sorted([*plan.persons[BOB], strangers.place])

    operator.lie = moved
    operator.end_day()
    assert [by_person(operator), by_person(operator, BOB), by_cosigner(operator)] == [None, None, None]
    assert history_of(operator, operator.history(ANN), ANN).versions == (1,)
    assert history_of(operator, operator.history(BOB), BOB).versions == (1, 2)
    assert attributed(operator, strangers.place, 0) == "attribution-other"


def test_an_index_that_is_listed_twice_is_found_by_the_cosigner_and_not_by_those_listed() -> None:
    def twice(plan: Plan) -> None:
        plan.persons[BOB] = sorted([*plan.persons[BOB], plan.persons["bsn:1"][0]])

    operator = lying(twice)
    assert by_cosigner(operator) == "index-twice"
    assert by_person(operator, "bsn:1") is None
    assert by_person(operator, BOB) == "pseudonym-other"


def test_an_entry_that_is_listed_on_a_day_that_it_is_not_of_is_found_by_the_cosigner_and_those_listed() -> None:
    def adding(index: int) -> Callable[[Plan], None]:
        def lie(plan: Plan) -> None:
            if plan.epoch == 1:
                (shard, _), *_ = plan.persons[ANN]
                plan.persons[ANN] = sorted([*plan.persons[ANN], (shard, index)])

        return lie

    again, beyond = lying(adding(0), count=2), lying(adding(10_000), count=2)
    assert [by_cosigner(again), by_cosigner(beyond), by_person(again)] == ["list-outside"] * 3


def test_an_entry_that_is_left_out_is_found_by_the_cosigner_and_not_by_the_victim() -> None:
    operator = lying(lambda plan: plan.persons.pop(ANN))
    # The counts still say that all is listed; nobody but who rebuilds the trie can know.
    assert by_person(operator) is None
    assert by_anyone(operator) is None
    assert by_cosigner(operator) == "withheld-no-order"
    # It need not be shown to the cosigner: then the entry is missing there.
    lines = [line for line in operator.dossier() if not _is_anns(operator, line)]
    assert by_cosigner(operator, lines=lines) == "index-left-out"
    # Counted as unlisted, the day says so to everybody, and there are too many.
    counted = Operator()
    counted.lie = lambda plan: plan.unlisted.extend(plan.persons.pop(ANN))
    assert by_cosigner(ordinary(counted)) == "withheld-no-order"
    # Not counted at all, the sum is wrong for anyone.
    uncounted = Operator()
    uncounted.lie = lambda plan: setattr(plan, "counts", (5, 4))
    assert by_anyone(ordinary(uncounted)) == "epoch-count"


def _is_anns(operator: Operator, line: dict[str, object]) -> bool:
    unlisted = line.get("unlisted")
    if not isinstance(unlisted, dict):
        return False
    return any(kept.number == ANN and kept.origin == unlisted["origin"] and kept.place[1] == unlisted["index"]
               for kept in operator.kept(0))  # fmt: skip


def test_an_entry_that_no_recipient_has_is_found_by_the_cosigner_and_by_the_recipient() -> None:
    operator = lying(lambda plan: plan.recipients.pop("svb"))
    assert by_cosigner(operator) == "recipient-left-out"
    assert by_recipient(operator, operator.received("svb")) == {"not-logged"}
    assert by_person(operator) is None


def test_a_split_epoch_is_found_by_anyone_who_reads_the_epoch_log() -> None:
    def cut(plan: Plan) -> None:
        shard = min(plan.ranges)
        start, end = plan.ranges[shard]
        plan.ranges[shard] = (start + 1, end) if plan.epoch == 1 else (start, end)

    operator = lying(cut)
    assert by_anyone(operator) == "epoch-start"


def test_a_missing_day_a_second_leaf_for_a_day_and_a_skipped_empty_day_are_found_by_anyone() -> None:
    honest = ordinary(count=4)
    for leaves in (
        [*honest.leaves[:1], *honest.leaves[2:]],
        [*honest.leaves[:2], replace(honest.leaves[1], sealed_at=honest.leaves[1].sealed_at + 1), *honest.leaves[2:]],
    ):
        operator = ordinary(count=4)
        operator.leaves = leaves
        assert by_anyone(operator) == "epoch-index"
    silent = ordinary(count=1)
    silent.end_day(silent=True)
    ordinary(silent, count=1)
    del silent.leaves[1]
    assert by_anyone(silent) == "epoch-index"


def test_a_label_key_that_changes_within_a_half_year_is_found_by_anyone() -> None:
    operator = ordinary()
    operator.leaves[2] = replace(operator.leaves[2], label_key=sha256(label_signer(1).spki).digest())
    assert by_anyone(operator) == "epoch-label-key"


def test_a_shard_that_is_not_the_public_one_is_found_by_the_cosigner() -> None:
    operator = ordinary()
    shard = operator.shards[0]
    operator.leaves[1] = replace(
        operator.leaves[1],
        shards=tuple(
            replace(item, root_at_end=sha256(b"other").digest()) if item.shard == shard else item
            for item in operator.leaves[1].shards
        ),
    )
    assert by_cosigner(operator) == "shard-root"
    assert by_person(operator, document=operator.history(ANN)) == "entry-root"


def half_year() -> Operator:
    """Return an operator after the last day of a half-year and the first of the next."""
    operator = Operator(shards=(0,), unlisted=0)
    while operator.epoch <= last_day(0) + 1:
        if operator.epoch % 30 == 0:
            deliver_some(operator)
        operator.end_day()
    return operator


def with_period(operator: Operator, lists: dict[bytes, list[tuple[int, int]]] | None) -> None:
    """Close the half-year with other lists, or with none."""
    sealed = operator.sealed[last_day(0)]
    sealed.period = None if lists is None else Trie.of(lists)
    operator.leaves[last_day(0)] = operator.resealed(last_day(0))


def test_a_half_year_that_differs_from_its_days_is_found_by_the_cosigner_or_by_who_compares() -> None:
    operator = half_year()
    assert by_person(operator, document=operator.history(ANN, closed=(0,))) is None
    assert by_cosigner(operator) is None
    trie = operator.sealed[last_day(0)].period
    assert trie is not None
    lists = {label: list(item[1]) for label, item in trie.lists.items() if item}
    ann, bob = (operator.label(number, PERIOD, 0) for number in (ANN, BOB))
    # One of two entries of a day goes to Bob: that is no list of any day.
    moved = lists | {ann: lists[ann][1:], bob: sorted([*lists[bob], lists[ann][0]])}
    with_period(operator, moved)
    assert by_cosigner(operator) == "period-other"
    assert by_person(operator, document=operator.history(ANN, closed=(0,))) is None
    assert by_person(operator, BOB, operator.history(BOB, closed=(0,))) == "pseudonym-other"
    assert by_person(operator, document=operator.history(ANN)) is None


def test_a_day_that_a_half_year_gives_to_a_phantom_is_found_by_who_compares_it_with_the_days_only() -> None:
    operator = half_year()
    trie = operator.sealed[last_day(0)].period
    assert trie is not None
    lists = {label: list(item[1]) for label, item in trie.lists.items() if item}
    ann, day = operator.label(ANN, PERIOD, 0), operator.sealed[0].plan.persons[ANN]
    phantom = {sha256(b"phantom").digest(): list(day)}
    with_period(operator, lists | {ann: [place for place in lists[ann] if place not in day]} | phantom)
    # The cosigner cannot know whose a label is, and each part of the half-year is the list of some label of that day.
    assert by_cosigner(operator) is None
    closed, daily = (history_of(operator, operator.history(ANN, closed=given), ANN) for given in ((0,), ()))
    assert len(daily.entries) == len(closed.entries) + 2


def test_a_half_years_answer_over_days_that_were_answered_already_is_found_by_the_person() -> None:
    operator = half_year()
    daily, closed = operator.history(ANN), operator.history(ANN, closed=(0,))
    # What was listed on those days would be shown, and counted, twice.
    twice = closed | {"days": [daily["days"][0], *closed["days"]]}
    assert by_person(operator, document=twice) == "day-twice"
    # As the first answer it may begin before what is asked.
    late = operator.history(ANN, first=100, closed=(0,))
    assert history_of(operator, late, ANN, first=100).days[0].first == 0


def test_a_half_year_that_lists_what_is_not_its_own_is_found_by_the_cosigner() -> None:
    operator = half_year()
    trie = operator.sealed[last_day(0)].period
    assert trie is not None
    lists = {label: list(item[1]) for label, item in trie.lists.items() if item}
    ann = operator.label(ANN, PERIOD, 0)
    for place in ((0, 10_000), (9, 0)):
        with_period(operator, lists | {ann: [*lists[ann], place]})
        assert by_cosigner(operator) == "list-outside"


def test_a_half_years_list_that_is_said_to_be_erased_is_found_by_the_cosigner() -> None:
    operator = half_year()
    trie = operator.sealed[last_day(0)].period
    assert trie is not None
    trie.lists[operator.label(ANN, PERIOD, 0)] = None
    assert by_cosigner(operator) == "erased-young"


def test_a_half_year_that_is_closed_with_nobody_in_it_is_found_by_anyone() -> None:
    operator = half_year()
    with_period(operator, None)
    assert by_anyone(operator) == "epoch-period-root"
