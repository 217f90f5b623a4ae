"""Lies about deliveries, which their recipients find by double entry."""

from __future__ import annotations

from hashlib import sha256

import pytest

from integrator_audit.completeness.labels import DAY, PERIOD, label_of
from integrator_audit.completeness.trie import prove
from integrator_audit.encoding import to_base64
from integrator_audit.errors import Tampered
from integrator_audit.halfyear import last_day
from integrator_audit.openingfile import opening_json
from integrator_audit.parts import part, read_part
from integrator_audit.receiptcheck import Received, check_receipt
from tests.unit.audit.lying.catching import ANN, BOB, by_cosigner, by_person, by_recipient, deliver_some, ordinary
from tests.unit.audit.lying.operator import Document, Kept, Operator
from tests.unit.audit.lying.verifiers import account_of


def test_a_delivery_that_was_never_logged_is_found_by_the_recipient_and_not_by_the_citizen() -> None:
    operator = Operator()
    deliver_some(operator)
    unlogged = next(kept for kept in operator.kept(0) if kept.number == ANN and kept.recipient == "svb")
    received = operator.received("svb")
    for kept in operator.kept(0):
        if kept.place[0] == unlogged.place[0] and kept.place[1] > unlogged.place[1]:
            kept.place = (kept.place[0], kept.place[1] - 1)
    operator.entries[0][unlogged.place[0]].remove(unlogged)
    operator.end_day()
    assert by_recipient(operator, received) == {"not-logged"}
    assert [by_person(operator), by_cosigner(operator)] == [None, None]


def test_an_unlogged_delivery_for_which_an_erased_entry_stands_is_doubted_by_the_recipient() -> None:
    operator = Operator()
    deliver_some(operator)
    received = operator.received("svb")
    # Something that nobody received stands in the list and is said to be erased; what was received is not there.
    dummy = operator.deliver(ANN, "svb", topic="nothing")
    dummy.erased = "order"
    operator.end_day()
    received.append(received[0] | {"topic": "unlogged", "sequence": 1})
    assert by_recipient(operator, received) == set()
    account = account_of(operator, "svb", received)
    assert (account.erased, account.uncompared) == (1, 1)
    # It hides no more than itself.
    received.append(received[0] | {"topic": "unlogged", "sequence": 2})
    assert by_recipient(operator, received) == {"not-logged"}


def test_an_invented_delivery_that_says_to_be_from_before_the_asked_days_is_found_by_the_recipient() -> None:
    operator = ordinary(count=2)
    received = operator.received("svb")
    for at, found in (
        ("2000-01-02T23:54:59.999Z", {"invented"}),
        ("2000-01-02T23:55:00.000Z", set[str]()),
        ("2000-01-02T23:59:59.999Z", set[str]()),
        ("2000-01-03T00:00:00.000Z", {"invented"}),
    ):
        forged = ordinary(count=2)
        restated(forged.deliver(ANN, "svb", topic="invented"), at=at)
        forged.end_day()
        given = {"document": forged.account("svb", first=2), "first": 2}
        timed = [item | {"at": "2000-01-01T12:00:00.000Z"} for item in received]
        assert by_recipient(forged, timed, **given) == found


def test_an_invented_delivery_is_found_by_the_recipient_and_not_by_the_citizen() -> None:
    operator = ordinary(count=1)
    received = operator.received("svb")
    operator.deliver(ANN, "svb")
    operator.end_day()
    assert by_recipient(operator, received) == {"invented"}
    assert [by_person(operator), by_cosigner(operator)] == [None, None]


def test_an_entry_about_another_value_is_found_by_the_recipient() -> None:
    operator = ordinary()
    received = operator.received("svb")
    received[0] = received[0] | {"valueSha256": sha256(b"what really came").hexdigest()}
    assert by_recipient(operator, received) == {"value-changed"}


def restated(entry: Kept, **changes: object) -> None:
    """Change what part D of an entry says, before it is sealed."""
    members = read_part(entry.parts["D"]) | changes
    schema = str(members.pop("schema"))
    entry.parts = entry.parts | {"D": part(schema, members)}


def test_a_number_that_is_given_twice_and_one_that_is_left_out_are_found_by_the_recipient() -> None:
    operator = Operator()
    one, other = operator.deliver(ANN, "svb", topic="t"), operator.deliver(ANN, "svb", topic="t")
    received = [one.delivery(), other.delivery()]
    restated(other, sequence=1)
    operator.end_day()
    assert by_recipient(operator, received) == {"listed-twice", "not-logged"}
    gap = Operator()
    first, third = gap.deliver(ANN, "svb", topic="t"), gap.deliver(ANN, "svb", topic="t")
    restated(third, sequence=3)
    gap.end_day()
    assert by_recipient(gap, [first.delivery(), third.delivery()]) == {"gap"}


def test_entries_for_persons_whom_a_delivery_was_not_about_are_found_by_a_recipient_who_counts_them() -> None:
    operator = Operator()
    real = operator.deliver(ANN, "svb")
    forged = operator.deliver(BOB, "svb", topic="elsewhere")
    forged.parts = forged.parts | {"D": real.parts["D"]}
    operator.end_day()
    assert by_recipient(operator, [real.delivery() | {"persons": 1}]) == {"persons-differ"}
    # LIMIT: who does not count persons sees one delivery about two.
    assert by_recipient(operator, [real.delivery()]) == set()
    assert by_person(operator, BOB) is None


def test_a_day_without_a_recipients_list_and_an_entry_left_out_of_it_are_found_by_the_recipient() -> None:
    operator = ordinary()

    def found(document: list[Document]) -> set[str]:
        return by_recipient(operator, operator.received("svb"), document=document)

    document = operator.account("svb")
    assert found(document) == set()
    (first, second, third) = [at for at, line in enumerate(document) if "day" in line]
    assert found(document[:second] + document[third:]) == {"day-missing"}
    left_out = document[: first + 1] + document[first + 2 :]
    assert found(left_out) == {"entry-not-opened"}
    # The number itself is part of what is hashed.
    listed = document[first]["end"]["leaf"]
    left_out[first] = document[first] | {"end": {"leaf": listed | {"m": listed["m"] - 1}}}
    assert found(left_out) == {"trie-proof-root"}
    twice = document[: first + 2] + document[first + 1 :]
    assert found(twice) == {"list-order"}
    more = document[:second] + document[third + 1 : third + 2] + document[second:]
    assert found(more) == {"entry-not-listed"}
    foreign = prove(operator.sealed[1].recipients.leaves, label_of(operator.secret_of("uwv"), DAY, 1))
    assert foreign.end is not None
    end = {"other": {"label": to_base64(foreign.end.label), "hL": to_base64(foreign.end.content)}}
    document = operator.account("svb")
    assert found([*document[:second], document[second] | {"end": end}, *document[third:]]) == {"trie-proof-foreign"}


def test_somebody_elses_entry_in_a_recipients_list_is_found_by_the_recipient() -> None:
    operator = Operator()
    operator.lie = lambda plan: plan.recipients["svb"].extend(plan.recipients.pop("uwv"))
    ordinary(operator)
    assert by_recipient(operator, operator.received("svb")) == {"recipient-other"}
    assert by_cosigner(operator) is None


def test_the_receipt_of_one_delivery_shown_for_another_is_found_by_its_holder() -> None:
    operator = ordinary()
    mine, other = [kept for kept in operator.kept(0) if kept.recipient == "svb"][:2]
    size = len(operator.entries[0][other.place[0]])
    shown = opening_json(operator.opening(other, "AD", size=size))
    keys = operator.signer(other.origin).verifier
    wanted = mine.delivery()
    check_receipt(shown, keys, now=0, received=Received(other.delivery()["valueSha256"]))
    for received, code in [
        (Received(wanted["valueSha256"]), "receipt-value"),
        (Received(None, wanted["topic"], 0, 9, wanted["sequence"]), "receipt-position"),
    ]:
        with pytest.raises(Tampered) as caught:
            check_receipt(shown, keys, now=0, received=received)
        assert caught.value.code == code


def test_one_answer_for_a_half_year_is_found_by_the_recipient() -> None:
    operator = Operator(shards=(0,), unlisted=1)
    for day in range(last_day(0) + 1):
        if day % 60 == 0:
            operator.deliver(ANN, "svb")
        operator.end_day()
    document, received = operator.account("svb"), operator.received("svb")
    assert by_recipient(operator, received) == set()
    # Under this label nobody is listed in any trie of recipients: each proves that rightly.
    label = label_of(operator.secret_of("svb"), PERIOD, 0)
    proof = prove(operator.sealed[last_day(0)].recipients.leaves, label)
    assert (proof.siblings, proof.end) == ((), None)
    answer = {"day": last_day(0), "siblings": [], "end": {"empty": True}}
    assert by_recipient(operator, [], document=[document[0], answer]) == {"day-missing"}
    assert by_recipient(operator, [], document=[document[0], answer | {"level": PERIOD}]) == {"document-malformed"}
