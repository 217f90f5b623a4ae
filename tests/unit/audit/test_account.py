from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from integrator_audit.completeness.account import (
    Account,
    AccountDocument,
    read_received,
)
from integrator_audit.errors import Invalid, Tampered
from tests.unit.audit.lying.operator import Document, Operator
from tests.unit.audit.lying.verifiers import account_of
from tests.unit.audit.schema_check import breaches, schema


def check(operator: Operator, document: Iterable[Document], received: list[Document], **asked: Any) -> Account:
    return account_of(operator, "svb", received, document=document, **asked)


def codes(account: Account) -> list[tuple[str, str]]:
    return [(finding.code, finding.where.rsplit(" ", 1)[1]) for finding in account.findings]


@pytest.fixture(scope="module")
def days_of_two() -> Operator:
    """Return an operator after three days with deliveries to two agencies; on the second day there are none."""
    operator = Operator()
    for day in range(3):
        for at in range(0 if day == 1 else 6):
            operator.deliver(f"bsn:{at}", "svb" if at % 3 else "uwv")
        operator.end_day()
    return operator


def test_what_was_received_is_what_is_listed(days_of_two: Operator) -> None:
    account = check(days_of_two, days_of_two.account("svb"), days_of_two.received("svb"))
    assert account.findings == ()
    assert account.listed == {0: 4, 1: 0, 2: 4}
    assert (account.recipient, account.received, account.outside, account.erased) == ("svb", 8, 0, 0)


def test_the_document_is_of_its_published_schema(days_of_two: Operator) -> None:
    document = days_of_two.account("svb")
    rules = schema("account.v1")
    assert [breach for line in document for breach in breaches(line, rules, rules)] == []
    noted = days_of_two.received("svb")[0]
    for line in (noted, noted | {"persons": 2, "at": "2000-01-01T12:00:00.000Z"}):
        assert list(breaches(line, schema("received.v1"), schema("received.v1"))) == []
    assert list(breaches(document[0] | {"recipient": ""}, rules, rules)) != []


def test_a_delivery_about_three_persons_has_three_entries_and_is_one_delivery(days_of_two: Operator) -> None:
    operator = Operator()
    first = operator.deliver("bsn:1", "svb")
    for number in ("bsn:2", "bsn:3"):
        parts = operator.deliver(number, "svb", topic="elsewhere").parts | {"D": first.parts["D"]}
        operator.kept(0)[-1].parts = parts
        next(kept for kept in operator.kept(0) if kept.number == number).parts = parts
    operator.end_day()
    account = check(operator, operator.account("svb"), [first.delivery() | {"persons": 3}])
    assert account.findings == ()
    account = check(operator, operator.account("svb"), [first.delivery() | {"persons": 2}])
    assert [finding.code for finding in account.findings] == ["persons-differ"]
    assert "3 entries" in account.findings[0].message


def lanes(received: list[Document]) -> list[Document]:
    """Return deliveries by lane and number."""
    return sorted(received, key=lambda item: (item["lane"], item["sequence"]))


def test_every_difference_is_named_with_its_place(days_of_two: Operator) -> None:
    document, received = days_of_two.account("svb"), lanes(days_of_two.received("svb"))
    lane = max((0, 1), key=lambda lane: sum(item["lane"] == lane for item in received))
    mine = [item for item in received if item["lane"] == lane]
    others = [item for item in received if item["lane"] != lane]
    assert len(mine) >= 3

    account = check(days_of_two, document, [*others, *mine[1:]])
    assert codes(account) == [("invented", "1")]
    assert account.findings[0].where == f"svb.events, partition 0, lane {lane}, number 1"

    more = mine[-1] | {"sequence": mine[-1]["sequence"] + 1}
    assert codes(check(days_of_two, document, [*received, more])) == [("not-logged", str(more["sequence"]))]

    changed = mine[1] | {"valueSha256": "00" * 32}
    assert codes(check(days_of_two, document, [*others, mine[0], changed, *mine[2:]])) == [("value-changed", "2")]

    assert codes(check(days_of_two, document, [*received, changed])) == [("received-twice", "2")]
    assert codes(check(days_of_two, document, [*received, mine[1]])) == []

    later = mine[-1] | {"sequence": mine[-1]["sequence"] + 3}
    gap = mine[-1]["sequence"] + 1
    assert codes(check(days_of_two, document, [*received, later])) == [("gap", str(gap)), ("not-logged", str(gap + 2))]
    assert check(days_of_two, document, []).findings[0].code == "invented"


def test_a_delivery_without_persons_is_not_missed(days_of_two: Operator) -> None:
    received = days_of_two.received("svb")
    more = {"topic": "other", "partition": 0, "lane": 0, "sequence": 1, "valueSha256": "00" * 32}
    assert codes(check(days_of_two, days_of_two.account("svb"), [*received, more])) == [("not-logged", "1")]
    assert codes(check(days_of_two, days_of_two.account("svb"), [*received, more | {"persons": 0}])) == []


def test_deliveries_around_the_asked_days_are_not_missed_where_their_time_is_known(days_of_two: Operator) -> None:
    def told(entry: Any) -> Document:
        return entry.delivery() | {"at": json.loads(entry.parts["D"])["at"]}

    received = [told(kept) for kept in days_of_two.kept(0) if kept.recipient == "svb"]
    document = days_of_two.account("svb", first=1, last=2)
    account = check(days_of_two, document, received, first=1, last=2)
    assert (account.findings, account.outside) == ((), 4)
    for at, missed in [
        ("2000-01-01T23:59:59.999Z", False),
        ("2000-01-02T00:00:00.000Z", True),
        ("2000-01-03T23:54:59.999Z", True),
        ("2000-01-03T23:55:00.000Z", False),
    ]:
        more = received[0] | {"topic": "x", "sequence": 1, "at": at}
        account = check(days_of_two, document, [*received, more], first=1, last=2)
        assert codes(account) == ([("not-logged", "1")] if missed else [])
        assert account.outside == (4 if missed else 5)


def test_an_erased_entry_can_no_longer_be_compared_and_hides_no_more_than_itself(days_of_two: Operator) -> None:
    operator = Operator()
    for at in range(4):
        operator.deliver(f"bsn:{at}", "svb")
    operator.end_day()
    received = operator.received("svb")
    operator.kept(0)[0].erased = "order"
    account = check(operator, operator.account("svb"), received)
    assert (account.erased, account.uncompared, account.findings) == (1, 1, ())
    more = received[0] | {"topic": "other", "sequence": 1}
    assert [code for code, _ in codes(check(operator, operator.account("svb"), [*received, more]))] == [
        "not-logged"
    ] * 2


def test_an_erased_list_hides_one_delivery_and_no_more() -> None:
    for count, found in ((1, []), (2, ["not-logged"] * 2)):
        operator = Operator()
        for at in range(count):
            operator.deliver(f"bsn:{at}", "svb")
        operator.end_day()
        lists = operator.sealed[0].recipients.lists
        lists[min(lists)] = None
        account = check(operator, operator.account("svb"), operator.received("svb"), today=9_999)
        assert [finding.code for finding in account.findings] == found


def test_who_asks_for_the_whole_log_misses_the_first_numbers_too_and_who_asks_for_later_days_does_not() -> None:
    operator = Operator()
    for _ in range(2):
        operator.deliver("bsn:1", "svb", topic="t")
        operator.end_day()
    first, second = operator.received("svb")
    assert (first["sequence"], second["sequence"]) == (1, 2)
    later = operator.account("svb", first=1)
    assert codes(check(operator, later, [second], first=1)) == []
    # A log that begins with its second number has lost the first one, and so has who received it.
    operator = Operator()
    operator.deliver("bsn:1", "svb", topic="t")
    operator.entries[0] = {shard: [] for shard in operator.shards}
    operator.deliver("bsn:1", "svb", topic="t")
    operator.end_day()
    assert codes(check(operator, operator.account("svb"), operator.received("svb"))) == [("gap", "1")]


@pytest.mark.parametrize(("first", "last"), [(2, 1), (9, None), (9, 9)])
def test_no_days_are_no_days_on_which_nothing_differs(days_of_two: Operator, first: int, last: int | None) -> None:
    with pytest.raises(Invalid) as caught:
        check(days_of_two, days_of_two.account("svb"), [], first=first, last=last)
    assert caught.value.code == "no-days"


def test_an_account_of_another_log_is_refused(days_of_two: Operator) -> None:
    document = days_of_two.account("svb")
    document[0]["epochs"]["origin"] = "elsewhere.example/epochs"
    with pytest.raises(Tampered) as caught:
        check(days_of_two, document, [])
    assert caught.value.code == "account-other-log"


def test_a_list_of_others_is_not_ones_own(days_of_two: Operator) -> None:
    with pytest.raises(Tampered) as caught:
        check(days_of_two, days_of_two.account("uwv"), [])
    assert caught.value.code.startswith("trie-proof")
    head, *lines = days_of_two.account("svb")
    with pytest.raises(Tampered) as caught:
        check(days_of_two, [head | {"recipient": "uwv"}, *lines], [])
    assert caught.value.code == "recipient-other"


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b'{"topic": "t"}',
        b'{"topic":"t","partition":0,"lane":0,"sequence":0,"valueSha256":"' + b"0" * 64 + b'"}',
        b'{"topic":"t","partition":0,"lane":0,"sequence":1,"sequence":2,"valueSha256":"' + b"0" * 64 + b'"}',
        b'{"topic":"t","partition":0,"lane":0,"sequence":1,"valueSha256":"' + b"0" * 64 + b'","who":"x"}',
        b'{"topic":"t","partition":0,"lane":0,"sequence":1,"valueSha256":"' + b"0" * 64 + b'","at":"today"}',
        b'{"topic":"t","partition":0,"lane":0,"sequence":1,"valueSha256":"' + b"0" * 64 + b'","persons":-1}',
    ],
)
def test_a_line_of_what_was_received_that_cannot_be_read_is_named(line: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        list(read_received([b"\n", line]))
    assert caught.value.code == "received-line"
    assert "line 2" in caught.value.message


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda lines: lines[:1] + lines[2:], "entry-not-listed"),
        (lambda lines: lines[:-1], "entry-not-opened"),
        (lambda lines: [*lines, {"what": 1}], "document-malformed"),
        (lambda lines: [*lines, {"entry": {}}], "entry-not-listed"),
        (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], "list-order"),
        (lambda lines: [lines[0] | {"schema": "dienstenintegrator/history/v1"}, *lines[1:]], "document-malformed"),
        (lambda lines: [], "account-order"),
    ],
)
def test_an_account_whose_lines_are_not_in_their_places_does_not_hold(
    days_of_two: Operator, change: Callable[[list[Document]], list[Document]], code: str
) -> None:
    lines = days_of_two.account("svb")
    assert len(lines) == 1 + 3 + 8
    document = AccountDocument(json.dumps(line).encode() for line in lines)
    assert (document.recipient, document.first, document.last) == ("svb", 0, 2)
    with pytest.raises(Tampered) as caught:
        account_of(days_of_two, "svb", days_of_two.received("svb"), document=iter(change(lines)))
    assert caught.value.code == code


def test_a_list_of_no_entries_is_no_list(days_of_two: Operator) -> None:
    lines = days_of_two.account("svb")
    day = next(at for at, line in enumerate(lines) if line.get("end", {}).get("leaf"))
    for count in (0, 1 << 32):
        leaf = lines[day]["end"]["leaf"] | {"m": count}
        with pytest.raises(Tampered) as caught:
            check(days_of_two, [*lines[:day], lines[day] | {"end": {"leaf": leaf}}, *lines[day + 1 :]], [])
        assert caught.value.code == "document-malformed"


def test_an_entry_that_is_copied_is_found_though_it_stands_far_from_the_first() -> None:
    operator = Operator()
    first = operator.deliver("bsn:1", "svb")
    for at in range(4):
        operator.deliver(f"bsn:{at}", "svb")
    copy = operator.deliver("bsn:1", "svb")
    assert copy.place[0] == first.place[0]
    copy.parts, copy.salts = first.parts, first.salts
    operator.end_day()
    with pytest.raises(Tampered) as caught:
        check(operator, operator.account("svb"), [])
    assert (caught.value.code, f"entry {copy.place[1]} of {copy.origin}" in caught.value.message) == (
        "entry-repeated",
        True,
    )


def test_a_lie_in_the_first_entry_is_found_before_the_rest_is_read(days_of_two: Operator) -> None:
    lines = days_of_two.account("svb")
    at = next(at for at, line in enumerate(lines) if "entry" in line)
    lines[at]["entry"]["hS"] = lines[at]["entry"]["hP"]
    taken: list[Document] = []

    def given() -> Iterator[Document]:
        for line in lines:
            taken.append(line)
            yield line

    with pytest.raises(Tampered) as caught:
        check(days_of_two, given(), [])
    assert caught.value.code == "entry-root"
    assert len(taken) == at + 1
