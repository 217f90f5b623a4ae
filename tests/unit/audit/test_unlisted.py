from __future__ import annotations

import base64
from datetime import date
from typing import Any

import pytest

from integrator_audit.completeness.members import (
    Delivery,
    DeliverySequence,
    Pseudonym,
    delivery_of,
    recipient_of,
    retention_of,
    subject_of,
)
from integrator_audit.completeness.unlisted import (
    NOBODY,
    Order,
    are_unlisted_counts,
    check_padding,
    check_release,
    check_withheld,
    is_overdue,
    is_padding,
    is_unlisted_count,
    open_order,
    padding,
    read_release,
    release,
    share_of,
    unlisted_count,
    withheld_part,
)
from integrator_audit.errors import Invalid, Refused, Tampered
from integrator_audit.note import Signer
from integrator_audit.parts import commitment, leaf_entry, part, part_hash, read_part

SUPERVISOR = Signer.generate("supervisor.example/orders")
ORDER = Order("2026-0017", "recherche", date(2026, 8, 1), date(2027, 8, 1))
PERSON = base64.urlsafe_b64encode(b"p" * 32).rstrip(b"=").decode()
A = part("dienstenintegrator/accountability/v1", {"recipient": "recherche", "date": "2026-08-03", "retention": 10})
D = part(
    "dienstenintegrator/delivery/v1", {"topic": "t", "partition": 0, "lane": 3, "sequence": 1, "valueSha256": "ab" * 32}
)
S = part("dienstenintegrator/subject/v1", {"subject": PERSON, "keyVersion": 1, "role": "subject"})
ORIGIN = "demo.integrator.example/ledger/demo/s0-2026h2"


def test_padding_is_of_nobody_and_says_nothing() -> None:
    made = padding(10)
    parts = dict(zip("ADSP", made, strict=True))
    check_padding(parts)
    assert is_padding(read_part(made.a))
    assert read_part(made.a) == {"schema": "dienstenintegrator/padding/v1", "retention": 10}
    assert len(NOBODY) == 32
    for letter, data in [("S", S), ("D", D), ("P", part("x/v1", {})), ("A", A), ("A", padding(10).d), ("S", b"")]:
        with pytest.raises(Tampered) as caught:
            check_padding(parts | {letter: data})
        assert caught.value.code == "padding-somebody"


def test_an_order_is_signed_by_the_supervisor_and_has_one_form() -> None:
    note = ORDER.sign(SUPERVISOR)
    assert note.startswith(b"dienstenintegrator/order/v1\n2026-0017\nrecherche\n2026-08-01\n2027-08-01\n\n")
    assert open_order(note, SUPERVISOR.verifier) == ORDER
    with pytest.raises(Tampered) as caught:
        open_order(note, Signer.generate(SUPERVISOR.name).verifier)
    assert caught.value.code == "order-signature"
    for text in (
        ORDER.text.replace(b"2026-08-01", b"20260801"),
        ORDER.text.replace(b"order/v1", b"order/v2"),
        ORDER.text + b"bsn:999990019\n",
        ORDER.text.replace(b"2027-08-01", b"2027-08-02"),
        ORDER.text.replace(b"2027-08-01", b"2026-07-31"),
        ORDER.text.replace(b"2026-0017", b""),
    ):
        with pytest.raises(Tampered) as caught:
            open_order(SUPERVISOR.sign(text), SUPERVISOR.verifier)
        assert caught.value.code == "order-malformed"


def test_an_order_lasts_at_most_twelve_months() -> None:
    Order("1", "r", date(2028, 2, 29), date(2029, 2, 28))
    for first, last in [(date(2028, 2, 29), date(2029, 3, 1)), (date(2026, 1, 2), date(2027, 1, 3))]:
        with pytest.raises(Invalid):
            Order("1", "r", first, last)
    assert not is_overdue(ORDER, date(2027, 8, 1))
    assert is_overdue(ORDER, date(2027, 8, 2))


def test_an_entry_is_withheld_by_its_order_from_the_moment_of_appending() -> None:
    withheld = withheld_part(A, D, ORDER.sign(SUPERVISOR), supervisor=SUPERVISOR.verifier, day=date(2026, 8, 3))
    members = read_part(withheld)
    assert list(members) == ["schema", "recipient", "date", "retention", "order"]
    assert check_withheld(members, read_part(D), supervisor=SUPERVISOR.verifier, day=date(2026, 8, 3)) == ORDER
    for day in (date(2026, 7, 31), date(2027, 8, 2)):
        with pytest.raises(Refused):
            withheld_part(A, D, ORDER.sign(SUPERVISOR), supervisor=SUPERVISOR.verifier, day=day)
    other = Order("2", "uwv", ORDER.first, ORDER.last).sign(SUPERVISOR)
    with pytest.raises(Refused):
        withheld_part(A, D, other, supervisor=SUPERVISOR.verifier, day=date(2026, 8, 3))


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("withheld-no-order", {"order": None}),
        ("order-malformed", {"order": "%%"}),
        ("order-malformed", {"order": base64.b64encode(b"an order").decode()}),
        ("order-signature", {"order": base64.b64encode(ORDER.sign(Signer.generate("other"))).decode()}),
        ("order-other", {"recipient": "uwv"}),
    ],
)
def test_an_entry_that_is_hidden_without_a_fitting_order_is_found(code: str, change: dict[str, Any]) -> None:
    withheld = withheld_part(A, D, ORDER.sign(SUPERVISOR), supervisor=SUPERVISOR.verifier, day=date(2026, 8, 3))
    with pytest.raises(Tampered) as caught:
        check_withheld(read_part(withheld) | change, read_part(D), supervisor=SUPERVISOR.verifier, day=date(2026, 8, 3))
    assert caught.value.code == code


def test_an_order_that_was_not_in_force_on_the_day_hides_nothing() -> None:
    withheld = withheld_part(A, D, ORDER.sign(SUPERVISOR), supervisor=SUPERVISOR.verifier, day=date(2026, 8, 3))
    with pytest.raises(Tampered) as caught:
        check_withheld(read_part(withheld), read_part(D), supervisor=SUPERVISOR.verifier, day=date(2026, 7, 30))
    assert caught.value.code == "order-other"


def old_opening() -> tuple[dict[str, Any], bytes]:
    """Return the opening of a withheld entry, and its leaf."""
    withheld = withheld_part(A, D, ORDER.sign(SUPERVISOR), supervisor=SUPERVISOR.verifier, day=date(2026, 8, 3))
    opening: dict[str, Any] = {"origin": ORIGIN, "index": 7, "type": 1}
    hashes = b""
    for at, (letter, data) in enumerate(zip("ADSP", (withheld, D, S, b""), strict=True)):
        salt = bytes([at]) * 32
        hashes += part_hash(letter, salt, data)
        opening[letter] = {"salt": base64.b64encode(salt).decode(), "bytes": base64.b64encode(data).decode()}
    return opening | {"proof": "not carried"}, leaf_entry(1, commitment(ORIGIN, 1, hashes))


def test_a_release_says_what_the_old_entry_said_and_carries_it_unchanged() -> None:
    opening, leaf = old_opening()
    made = release(opening)
    assert (made.a, made.s, made.p) == (A, S, b"")
    said = read_part(made.d)
    assert {key: value for key, value in said.items() if key != "releases"} == read_part(D)
    released = read_release(said)
    assert released is not None
    assert (released.origin, released.index, released.leaf) == (ORIGIN, 7, leaf)
    check_release(made, leaf=leaf)
    assert read_release(read_part(D)) is None
    with pytest.raises(Tampered):
        release({key: value for key, value in opening.items() if key != "S"})
    other = S.replace(PERSON.encode(), PERSON.swapcase().encode())
    for code, parts, committed in [
        ("release-changed", made, leaf[:-1] + bytes([leaf[-1] ^ 1])),
        ("release-other", made._replace(s=other), leaf),
        ("release-other", made._replace(a=withheld_of(opening)), leaf),
        ("release-other", made._replace(d=made.d.replace(b'"lane":3', b'"lane":4', 1)), leaf),
    ]:
        with pytest.raises(Tampered) as caught:
            check_release(parts, leaf=committed)
        assert caught.value.code == code


def withheld_of(opening: dict[str, Any]) -> bytes:
    return base64.b64decode(opening["A"]["bytes"])


def test_a_release_with_another_salt_or_part_is_of_another_commitment() -> None:
    opening, leaf = old_opening()
    for letter, member, value in [
        ("A", "bytes", base64.b64encode(A).decode()),
        ("S", "salt", base64.b64encode(b"x" * 32).decode()),
    ]:
        changed = opening | {letter: opening[letter] | {member: value}}
        with pytest.raises(Tampered) as caught:
            check_release(release(changed), leaf=leaf)
        assert caught.value.code == "release-changed"


@pytest.mark.parametrize(
    "carried",
    [
        "text",
        {},
        old_opening()[0],
        {key: value for key, value in old_opening()[0].items() if key not in ("proof", "P")},
        {key: value for key, value in old_opening()[0].items() if key != "proof"} | {"type": 2},
        {key: value for key, value in old_opening()[0].items() if key != "proof"} | {"index": "7"},
        {key: value for key, value in old_opening()[0].items() if key != "proof"} | {"P": "none"},
        {key: value for key, value in old_opening()[0].items() if key != "proof"}
        | {"P": {"salt": "AAAA", "bytes": ""}},
        {key: value for key, value in old_opening()[0].items() if key != "proof"} | {"P": {"salt": "AAAA"}},
        {key: value for key, value in old_opening()[0].items() if key != "proof"} | {"S": old_opening()[0]["P"]},
    ],
)
def test_a_release_that_cannot_be_read_is_found(carried: object) -> None:
    with pytest.raises(Tampered) as caught:
        read_release({"schema": "x/v1", "releases": carried})
    assert caught.value.code == "release-malformed"


def test_the_number_of_unlisted_is_a_constant_or_a_power_of_two_above_it() -> None:
    assert [unlisted_count(used, 100) for used in (0, 99, 100, 101, 128, 129)] == [100, 100, 100, 128, 128, 256]
    assert [count for count in range(300) if is_unlisted_count(count, 100)] == [100, 128, 256]
    assert is_unlisted_count(unlisted_count(7, 0), 0)
    assert is_unlisted_count(0, 0)


def test_shards_share_the_constant_and_each_may_go_to_a_power_of_two_above_its_share() -> None:
    assert [share_of(10, position, 4) for position in range(4)] == [3, 3, 2, 2]
    assert sum(share_of(7, position, 3) for position in range(3)) == 7
    for counts in ([5, 5], [4, 3], [8, 5], [8, 16], [0, 10], [16, 0]):
        assert are_unlisted_counts(counts, 10), counts
    for counts in ([6, 5], [7, 7], [12, 5], [9, 9]):
        assert not are_unlisted_counts(counts, 10), counts
    assert [count for count in range(40) if are_unlisted_counts([count], 10)] == [*range(11), 16, 32]


def test_the_members_that_completeness_reads() -> None:
    assert subject_of(read_part(S)) == Pseudonym(1, b"p" * 32)
    assert (recipient_of(read_part(A), read_part(D)), retention_of(read_part(A))) == ("recherche", 10)
    assert recipient_of({"recipient": "municipality"}, {"recipient": "gemeente-x"}) == "gemeente-x"
    assert delivery_of(read_part(D)) == Delivery(DeliverySequence("t", 0, 3), 1, b"\xab" * 32)


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (subject_of, {}),
        (subject_of, {"subject": PERSON, "keyVersion": "1"}),
        (subject_of, {"subject": PERSON + "=", "keyVersion": 1}),
        (subject_of, {"subject": PERSON[:-2], "keyVersion": 1}),
        (subject_of, {"subject": PERSON[:-1] + "B", "keyVersion": 1}),
        (subject_of, {"subject": "é" * 43, "keyVersion": 1}),
        (lambda a: recipient_of(a, {}), {"recipient": ""}),
        (lambda a: recipient_of(a, {}), {"recipient": 1}),
        (lambda a: recipient_of(a, {"recipient": "x"}), {}),
        (lambda d: recipient_of({"recipient": "x"}, d), {"recipient": 1}),
        (retention_of, {"retention": 3}),
        (retention_of, {"retention": True}),
        (delivery_of, {}),
        (delivery_of, read_part(D) | {"sequence": 0}),
        (delivery_of, read_part(D) | {"lane": -1}),
        (delivery_of, read_part(D) | {"partition": True}),
        (delivery_of, read_part(D) | {"valueSha256": "AB" * 32}),
    ],
)
def test_a_part_that_says_it_otherwise_is_not_believed(read: Any, said: dict[str, object]) -> None:
    with pytest.raises(Tampered) as caught:
        read(said)
    assert caught.value.code == "part-members"
