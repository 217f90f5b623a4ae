"""Lies hidden in what no person finds: withheld entries, padding, releases, and how many they are."""

from __future__ import annotations

from typing import Any

from integrator_audit.completeness.labels import DAY
from integrator_audit.completeness.unlisted import Order, padding, release
from integrator_audit.halfyear import date_of
from integrator_audit.note import Signer
from integrator_audit.opening import verify_opening
from integrator_audit.openingfile import opening_json, read_opening
from integrator_audit.parts import part, read_part
from tests.unit.audit.lying.catching import ANN, BOB, by_cosigner, by_person, by_recipient, deliver_some
from tests.unit.audit.lying.operator import SUPERVISOR, Kept, Operator
from tests.unit.audit.lying.verifiers import history_of


def order(*, recipient: str = "recherche", first: int = 0, last: int = 2, signer: Signer = SUPERVISOR) -> bytes:
    return Order("2000-1", recipient, date_of(first), date_of(last)).sign(signer)


def withholding(note: bytes | None, *, day: int = 0) -> tuple[Operator, Kept]:
    """Return an operator who withholds an entry about Ann on a day, under this order or none."""
    operator = Operator()
    for _ in range(day):
        operator.end_day()
    deliver_some(operator)
    more: dict[str, Any] = {} if note is None else {"order": note}
    entry = operator.deliver(ANN, "recherche", listed=False, **more)
    operator.end_day()
    return operator, entry


def releasing(operator: Operator, entry: Kept, **changes: bytes) -> Kept:
    """Enter a release of an entry, with some of its parts changed."""
    size = len(operator.entries[0][entry.place[0]])
    made = dict(zip("ADSP", release(operator.opening(entry, "ADSP", size=size)), strict=True))
    return operator.enter(made | changes, number=entry.number, recipient=entry.recipient, listed=True)


def test_an_entry_withheld_under_an_order_is_not_seen_by_the_citizen_who_is_told_how_many_there_may_be() -> None:
    operator, _ = withholding(order())
    assert [by_person(operator), by_cosigner(operator)] == [None, None]
    result = history_of(operator, operator.history(ANN), ANN)
    assert (len(result.entries), result.unlisted) == (2, 4)
    # The recipient who got it sees it: withheld entries are listed under recipients.
    assert by_recipient(operator, operator.received("recherche"), "recherche") == set()


def test_the_receipt_of_a_withheld_entry_accuses_nobody_of_having_left_it_out() -> None:
    operator, entry = withholding(order())
    size = operator.leaves[0].range_of(entry.place[0]).end  # type: ignore[union-attr]
    opening = read_opening(opening_json(operator.opening(entry, "AD", size=size)))
    receipt = verify_opening(opening, operator.signer(entry.origin).verifier)
    assert by_person(operator, receipts=[receipt]) is None


def test_what_was_withheld_and_released_is_one_delivery_to_its_recipient() -> None:
    operator, entry = withholding(order())
    received = [item | {"persons": 1} for item in operator.received("recherche")]
    releasing(operator, entry)
    operator.end_day()
    assert by_recipient(operator, received, "recherche") == set()


def test_an_entry_that_is_withheld_without_a_fitting_order_is_found_by_the_cosigner_and_not_by_the_citizen() -> None:
    for note, day, code in [
        (None, 0, "withheld-no-order"),
        (order(signer=Signer.generate(SUPERVISOR.name)), 0, "order-signature"),
        (order(recipient="uwv"), 0, "order-other"),
        (order(first=1), 0, "order-other"),
        (order(last=0), 1, "order-other"),
        (SUPERVISOR.sign(b"dienstenintegrator/order/v1\n1\nrecherche\n2000-01-01\n2001-01-02\n"), 0, "order-malformed"),
    ]:
        operator, _ = withholding(note, day=day)
        assert by_cosigner(operator) == code
        assert by_person(operator) is None


def test_an_overdue_release_is_found_by_the_cosigner_and_not_by_the_citizen() -> None:
    operator, entry = withholding(order(last=1))
    operator.end_day()
    assert by_cosigner(operator) is None
    operator.end_day()
    assert by_cosigner(operator) == "withheld-overdue"
    assert by_person(operator) is None
    # Released on the day after, it is on time; a day later it is not.
    operator, entry = withholding(order(last=1))
    operator.end_day()
    releasing(operator, entry)
    operator.end_day()
    assert by_cosigner(operator) is None
    assert len(history_of(operator, operator.history(ANN), ANN).entries) == 3


def test_a_released_entry_that_was_changed_is_found_by_the_cosigner() -> None:
    operator, entry = withholding(order())
    others = read_part(operator.deliver(BOB, "svb").parts["S"])
    changes: list[dict[str, bytes]] = [
        {"S": part(str(others.pop("schema")), others)},
        {"A": entry.parts["A"].replace(b"benefits", b"holidays")},
        {"A": entry.parts["A"]},
    ]
    for change in changes:
        operator, entry = withholding(order())
        releasing(operator, entry, **change)
        operator.end_day()
        assert by_cosigner(operator) == "release-other"
    operator, entry = withholding(order())
    forged = Kept(**{name: getattr(entry, name) for name in entry.__dataclass_fields__})
    forged.parts = entry.parts | {"D": entry.parts["D"].replace(b'"partition":0', b'"partition":1')}
    releasing(operator, forged)
    operator.end_day()
    assert by_cosigner(operator) == "release-changed"


def test_a_release_of_what_is_not_withheld_or_that_nobody_finds_is_found_by_the_cosigner() -> None:
    operator, entry = withholding(order())
    releasing(operator, entry)
    releasing(operator, entry)
    operator.end_day()
    assert by_cosigner(operator) == "release-unknown"
    operator, entry = withholding(order())
    releasing(operator, entry).listed = False
    operator.end_day()
    assert by_cosigner(operator) == "withheld-no-order"
    operator, entry = withholding(order())
    releasing(operator, entry)
    operator.end_day()
    lines = [{"release": line["unlisted"]} if "unlisted" in line else line for line in operator.dossier()]
    assert by_cosigner(operator, lines=lines) == "release-malformed"


def test_padding_that_opens_to_a_person_is_found_by_the_cosigner_and_not_by_the_citizen() -> None:
    operator = Operator()
    deliver_some(operator)
    hidden = next(kept for kept in operator.kept(0) if kept.number == ANN)
    nothing = padding(10)
    for letter, data in (("S", hidden.parts["S"]), ("D", hidden.parts["D"]), ("P", hidden.parts["A"])):
        operator = Operator()
        parts = dict(zip("ADSP", nothing, strict=True)) | {letter: data}
        operator.enter(parts, number=None, recipient="", listed=False)
        operator.end_day()
        assert by_cosigner(operator) == "padding-somebody"
        assert by_person(operator) is None


def test_padding_under_a_recipient_is_found_by_the_cosigner_and_by_the_recipient() -> None:
    operator = Operator()
    operator.pad().recipient = "svb"
    operator.end_day()
    assert by_cosigner(operator) == "padding-listed"
    assert by_recipient(operator, []) == {"part-members"}


def test_more_unlisted_entries_than_the_constant_are_found_by_the_cosigner_unless_a_power_of_two() -> None:
    for count, code in ((3, None), (4, None), (5, "unlisted-count"), (8, None), (12, "unlisted-count")):
        operator = Operator(unlisted=0)
        for _ in range(count):
            operator.pad()
        operator.end_day()
        operator.unlisted = 4
        assert by_cosigner(operator) == code
        # The citizen is told the number, whatever it is.
        assert history_of(operator, operator.history(ANN), ANN).unlisted == count


def test_fewer_unlisted_entries_in_the_leaf_than_there_are_are_found_by_the_cosigner() -> None:
    operator = Operator(unlisted=0)
    operator.deliver(ANN, "svb")
    for _ in range(8):
        operator.pad()
    operator.lie = lambda plan: setattr(plan, "counts", (5, 4))
    operator.end_day()
    operator.unlisted = 4
    assert history_of(operator, operator.history(ANN), ANN).unlisted == 4
    assert by_cosigner(operator) == "count-wrong"


def test_an_entry_that_is_hidden_as_erased_is_found_by_the_cosigner_and_by_the_person() -> None:
    operator = Operator()
    deliver_some(operator)
    operator.end_day()
    label = operator.label(ANN, DAY, 0)
    operator.sealed[0].persons.lists[label] = None
    assert by_cosigner(operator) == "erased-young"
    assert by_person(operator) == "erased-young"


def test_an_unlisted_entry_that_is_not_opened_is_found_by_the_cosigner() -> None:
    operator, entry = withholding(order())
    lines = [
        line
        for line in operator.dossier()
        if (line.get("unlisted", {}).get("origin"), line.get("unlisted", {}).get("index"))
        != (entry.origin, entry.place[1])
    ]
    assert by_cosigner(operator, lines=lines) == "index-left-out"
    closed = [
        {"unlisted": {key: value for key, value in line["unlisted"].items() if key != "S"} | {"hS": line["label"]}}
        if "unlisted" in line
        else line
        for line in [item | ({"label": item["unlisted"]["S"]["salt"]} if "unlisted" in item else {}) for item in lines]
    ]
    assert by_cosigner(operator, lines=closed) == "entry-parts"


def test_an_unlisted_entry_that_is_opened_as_something_else_is_found_by_the_cosigner() -> None:
    operator = Operator()
    hidden = operator.deliver(ANN, "recherche", listed=False)
    hidden.recipient = ""
    operator.end_day()
    assert by_cosigner(operator) == "withheld-no-order"
    lines = operator.dossier()
    opened = [line["unlisted"] for line in lines if "unlisted" in line]
    (theirs,) = (one for one in opened if (one["origin"], one["index"]) == (hidden.origin, hidden.place[1]))
    nothing = next(one for one in opened if one is not theirs)
    theirs |= {letter: nothing[letter] for letter in "ADSP"}
    assert by_cosigner(operator, lines=lines) == "entry-root"
    assert by_person(operator) is None
