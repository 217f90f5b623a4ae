"""Answers for a day and a half-year, label keys, and leaves of the epoch log: the true ones and the false ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from functools import cache
from hashlib import sha256
from math import prod
from typing import Any, NamedTuple

from integrator_audit import Signer
from integrator_audit.checkpoint import Checkpoint
from integrator_audit.completeness.epoch import NOTHING_CONSUMED, EpochLeaf, ShardRange
from integrator_audit.completeness.labels import (
    DAY,
    PERIOD,
    label_of,
    label_secret,
    signed_input,
)
from integrator_audit.completeness.trie import EMPTY, Leaf, index_hash, prove, root_of
from integrator_audit.halfyear import first_day, last_day, number_of, period_of
from integrator_audit.merkle import EMPTY_ROOT, RightEdge, inclusion_proof, leaf_hash
from integrator_audit.note import join_note
from integrator_audit.receipt import Receipt
from tests.unit.audit.label_samples import spki_of, two_faced_key
from tests.vectors.accepted import ONE
from tests.vectors.fictional_key import P, Q, certificate, label_key
from tests.vectors.log import NOW, WITNESSES, encoded, fiction

NUMBER = "example:0001-fictional"
EPOCH = number_of(date(2026, 11, 25))
CLOSING = last_day(period_of(EPOCH))
TWO_YEARS_ON = 1_861_920_000
"""POSIX seconds: 2029-01-01, the first day on which a list of 2026h2 may be gone for its age."""

Answer = dict[str, Any]


class DayCase(NamedTuple):
    """A vector of another kind than an opening: what a verifier is given, and what must come of it."""

    kind: str
    name: str
    given: dict[str, Any]
    expected: dict[str, Any] | str


@cache
def signature() -> bytes:
    return label_key().sign(signed_input(period_of(EPOCH), NUMBER))


SALT = fiction("salt of a list")
SHARDS = (ShardRange(0, 100, 160, fiction("root of shard 0")), ShardRange(3, 40, 60, fiction("root of shard 3")))
LIST = [(0, 104), (0, 159), (3, 40)]
OTHERS = sorted(Leaf(fiction(f"label of another person, {number}"), fiction(f"list {number}")) for number in range(40))


def own(level: int, number: int) -> bytes:
    return label_of(label_secret(signature()), level, number)


def leaf(persons: Sequence[Leaf], *, epoch: int = EPOCH, period: Sequence[Leaf] = (), listed: int = 47) -> EpochLeaf:
    """Return the epoch leaf of a day whose trie, and whose half-year's, has these leaves."""
    return EpochLeaf(
        epoch=epoch,
        period=period_of(epoch),
        sealed_at=1_795_000_000_000,
        label_key=sha256(label_key().spki).digest(),
        consumed=NOTHING_CONSUMED,
        inst_size=0,
        inst_root=EMPTY_ROOT,
        shards=SHARDS,
        listed=listed if persons else 0,
        unlisted=80 - listed if persons else 80,
        persons_root=root_of(persons),
        recipients_root=fiction("root of recipients"),
        period_root=root_of(period),
    )


def answer(persons: Sequence[Leaf], *, level: int = DAY, epoch: int = EPOCH, **end: Any) -> Answer:
    """Return the answer for the person in a trie: the proof, and an end of this form."""
    proof = prove(persons, own(level, epoch if level == DAY else period_of(epoch)))
    if not end:
        end = {"other": other(proof.end)} if proof.end is not None else {"empty": True}
    return {"epoch": epoch, "level": level, "siblings": [encoded(item) for item in proof.siblings], "end": end}


def other(end: Leaf) -> dict[str, str]:
    return {"label": encoded(end.label), "hL": encoded(end.content)}


def listed(places: Sequence[Sequence[int]] = LIST, salt: bytes = SALT) -> dict[str, Any]:
    return {"salt": encoded(salt), "list": [list(place) for place in places]}


def day(name: str, said: Answer, of: EpochLeaf, expected: dict[str, Any] | str, *, now: int = NOW) -> DayCase:
    return DayCase(
        "day", name, {"day": said, "leaf": encoded(of.encode()), "y": encoded(signature()), "now": now}, expected
    )


def with_own(level: int = DAY, number: int = EPOCH, places: Sequence[tuple[int, int]] = LIST) -> list[Leaf]:
    return sorted([*OTHERS, Leaf(own(level, number), index_hash(SALT, places))])


def crowd(ends_empty: bool) -> list[Leaf]:
    """Return a trie without the person in which the way to their label ends at nothing, or at somebody else."""
    numbers = range(1000)
    tries = (sorted(Leaf(fiction(f"label {number} {at}"), bytes(32)) for at in range(3)) for number in numbers)
    return next(found for found in tries if (prove(found, own(DAY, EPOCH)).end is None) == ends_empty)


def answers() -> Iterator[DayCase]:
    """Yield answers that hold."""
    persons = with_own()
    yield day("listed among others", answer(persons, leaf=listed()), leaf(persons), {"listed": [list(p) for p in LIST]})
    alone = [Leaf(own(DAY, EPOCH), index_hash(SALT, LIST[:1]))]
    yield day("listed alone", answer(alone, leaf=listed(LIST[:1])), leaf(alone, listed=1), {"listed": [[0, 104]]})
    yield day("nothing, somebody else is there", answer(crowd(False)), leaf(crowd(False)), {"listed": []})
    yield day("nothing, nobody is there", answer(crowd(True)), leaf(crowd(True)), {"listed": []})
    yield day("nothing on a day of nothing", answer([]), leaf([]), {"listed": []})
    yield day("nothing where one other is", answer(OTHERS[:1]), leaf(OTHERS[:1]), {"listed": []})
    gone = {"hL": encoded(index_hash(SALT, LIST))}
    for ground, now in (("order", NOW), ("retention", TWO_YEARS_ON)):
        said = answer(persons, erased=gone | {"ground": ground})
        yield day(f"erased by {ground}", said, leaf(persons), {"erased": ground}, now=now)
    places = [(0, 3), *LIST]
    period = with_own(PERIOD, period_of(EPOCH), places)
    closing = leaf(OTHERS, epoch=CLOSING, period=period)
    said = answer(period, level=PERIOD, epoch=CLOSING, leaf=listed(places))
    yield day("a half-year", said, closing, {"listed": [list(place) for place in places]})
    closing = leaf(OTHERS, epoch=CLOSING, period=OTHERS)
    yield day("a half-year of nothing", answer(OTHERS, level=PERIOD, epoch=CLOSING), closing, {"listed": []})


def lies() -> Iterator[DayCase]:
    """Yield answers that do not hold."""
    persons, of = with_own(), leaf(with_own())
    true = answer(persons, leaf=listed())
    path, root = true["siblings"], "trie-proof-root"
    for name, places, code in (
        ("one left out", LIST[1:], root),
        ("one more", [*LIST, (3, 41)], root),
        ("one exchanged", [(0, 105), *LIST[1:]], root),
        ("an empty list", [], "list-order"),
        ("a list out of order", [LIST[1], LIST[0], LIST[2]], "list-order"),
        ("a list with shards out of order", [LIST[2], LIST[0]], "list-order"),
        ("a place twice", [LIST[0], *LIST], "list-order"),
        ("an entry of another day", [(0, 99), *LIST], "list-outside"),
        ("an entry of the next day", [*LIST, (3, 60)], "list-outside"),
        ("an unknown shard", [*LIST[:2], (1, 1)], "list-outside"),
        ("a place of three", [(0, 104, 1)], "document-malformed"),
        ("a place before the first", [(0, -1)], "document-malformed"),
    ):
        yield day(name, true | {"end": {"leaf": listed(places)}}, of, code)
    yield day("another salt", true | {"end": {"leaf": listed(salt=fiction("other"))}}, of, root)
    yield day("nothing, where something is listed", true | {"end": {"empty": True}}, of, root)
    foreign = next(item for item in OTHERS if prove(persons, own(DAY, EPOCH)).siblings)
    yield day("ends at a foreign leaf", true | {"end": {"other": other(foreign)}}, of, "trie-proof-foreign")
    itself = Leaf(own(DAY, EPOCH), index_hash(SALT, LIST))
    yield day("ends at the own leaf", true | {"end": {"other": other(itself)}}, of, "trie-proof-present")
    honest, without = answer(crowd(False)), leaf(crowd(False))
    changed = honest["end"]["other"] | {"hL": encoded(fiction("other"))}
    yield day("ends at a changed leaf", honest | {"end": {"other": changed}}, without, root)
    yield day("an end for nothing, where somebody is", honest | {"end": {"empty": True}}, without, root)
    yield day("a sibling less", true | {"siblings": path[:-1]}, of, root)
    yield day("a sibling more", true | {"siblings": [encoded(fiction("more")), *path]}, of, root)
    yield day("an empty sibling at the end", true | {"siblings": [encoded(EMPTY), *path]}, of, "trie-proof-sibling")
    deep = [encoded(fiction("deep"))] * 257
    yield day("257 siblings", true | {"siblings": deep}, of, "trie-proof-depth")
    yield day("257 siblings to a foreign leaf", honest | {"siblings": deep}, without, "trie-proof-foreign")
    yield day("a sibling of 31 bytes", true | {"siblings": [encoded(bytes(31)), *path]}, of, "document-malformed")
    yield day("the answer of another day", true, leaf(persons, epoch=EPOCH + 1), "day-unknown")
    yield day("a half-year before it is over", answer([], level=PERIOD), of, "day-unknown")
    yield day("a level of 3", true | {"level": 3}, of, "document-malformed")
    gone = {"hL": encoded(index_hash(SALT, LIST)), "ground": "retention"}
    young = true | {"end": {"erased": gone}}
    yield day("erased young", young, of, "erased-young")
    yield day("erased a second too young", young, of, "erased-young", now=TWO_YEARS_ON - 1)
    yield day(
        "erased, and another list",
        true | {"end": {"erased": gone | {"hL": encoded(SALT), "ground": "order"}}},
        of,
        root,
    )
    yield day(
        "erased without a ground", true | {"end": {"erased": gone | {"ground": "mislaid"}}}, of, "document-malformed"
    )
    for name, end in (
        ("no end", {}),
        ("two ends", {"empty": True, "other": other(foreign)}),
        ("a false end", {"empty": False}),
    ):
        yield day(name, true | {"end": end}, of, "document-malformed")
    for name, changed in (
        ("siblings that are a text", {"siblings": "AAAA"}),
        ("siblings that are numbers", {"siblings": [1, 2]}),
        ("an end that is a text", {"end": "leaf"}),
        ("an end that is a list", {"end": ["leaf"]}),
        ("an end that is null", {"end": None}),
        ("a list that is a text", {"end": {"leaf": listed() | {"list": "0,104"}}}),
        ("a list of numbers", {"end": {"leaf": listed() | {"list": [0, 104]}}}),
        ("a leaf that is true", {"end": {"leaf": True}}),
        ("a leaf without salt", {"end": {"leaf": {"list": [[0, 104]]}}}),
    ):
        yield day(name, true | changed, of, "document-malformed")
    yield day("more than an answer", true | {"note": "trust me"}, of, "document-malformed")
    yield day(
        "an answer without siblings", {name: true[name] for name in ("epoch", "level", "end")}, of, "document-malformed"
    )


def label_keys() -> Iterator[DayCase]:
    """Yield label keys with a person's signature: the true one, and ways to give a person another label."""
    signer, of = label_key(), leaf([])
    roots = [encoded(root) for root in certificate()]
    key = {"period": of.period, "spki": encoded(signer.spki), "certificate": roots, "y": encoded(signature())}

    def case(
        name: str, expected: dict[str, Any] | str, at: EpochLeaf = of, number: str = NUMBER, **changed: Any
    ) -> DayCase:
        return DayCase(
            "label-key", name, {"key": key | changed, "number": number, "leaf": encoded(at.encode())}, expected
        )

    yield case("the person's own label key", {"secret": encoded(label_secret(signature()))})
    yield case("another person's number", "label-signature", number="example:0002-fictional")
    neighbour = signer.sign(signed_input(of.period, "example:0002-fictional"))
    yield case("another person's signature", "label-signature", y=encoded(neighbour))
    earlier = signer.sign(signed_input(of.period - 1, NUMBER))
    yield case("the signature of another half-year", "label-signature", y=encoded(earlier))
    yield case("no number", "person-number", number="0001")
    yield case("a key that the epoch log does not name", "label-key-other", at=replace(of, label_key=fiction("other")))
    yield case("a root exchanged", "label-key-certificate", certificate=[roots[1], *roots[1:]])
    yield case("a root less", "label-key-certificate", certificate=roots[:-1])
    modulus = P * Q
    # One bit less, and no small factors: primes of Mersenne, and one to fill up.
    short = prod((1 << bits) - 1 for bits in (2203, 521, 127, 107, 89)) * ((1 << 24) - 3)
    above = next(root for root in certificate() if int.from_bytes(root, "big") + modulus < 1 << 3072)
    again = encoded((int.from_bytes(above, "big") + modulus).to_bytes(384, "big"))
    exchanged = [again if root == encoded(above) else root for root in roots]
    yield case("a root and the modulus added to it", "label-key-certificate", certificate=exchanged)
    for name, spki in (
        ("a short exponent", spki_of(modulus, 3)),
        ("another exponent", spki_of(modulus, 65539)),
        ("a small prime factor", spki_of((1 << 3071) + 1048573 - (1 << 3071) % 1048573)),
        ("a modulus of 3071 bits", spki_of(modulus >> 1 | 1)),
        ("a modulus of 3071 bits written in 3072", signer.spki[:33] + short.to_bytes(384, "big") + signer.spki[-5:]),
        ("another algorithm", signer.spki.replace(b"\x01\x01\x01\x05\0", b"\x01\x01\x0a\x05\0")),
        ("a byte inside", signer.spki[:-5] + b"\0" + signer.spki[-5:]),
        ("a byte after the key", signer.spki + b"\0"),
        ("no key", b"label key"),
    ):
        assert spki != signer.spki
        yield case(f"a label key with {name}", "label-key", spki=encoded(spki))
    two_faced = two_faced_key()
    yield case(
        "a key that gives a person many labels",
        "label-key-certificate",
        at=replace(of, label_key=sha256(two_faced.spki).digest()),
        spki=encoded(two_faced.spki),
        certificate=[encoded(root) for root in two_faced.best_certificate()],
    )


def epochs() -> Iterator[DayCase]:
    """Yield leaves of an epoch log with their proofs."""
    signer = Signer("vectors.example/epochs", fiction("key of the epoch log"))
    of = leaf(with_own())
    data = of.encode()
    leaves = [leaf_hash(fiction(f"day {number}")) for number in range(EPOCH)] + [
        leaf_hash(data),
        leaf_hash(fiction("next")),
    ]
    edge = RightEdge()
    edge.extend(leaves)

    def subtree(height: int, at: int) -> bytes:
        below = RightEdge()
        below.extend(leaves[at << height : (at + 1) << height])
        return below.root()

    text = Checkpoint(signer.name, len(leaves), edge.root()).text
    note = join_note(text, [signer.signature(text), WITNESSES["w1"].cosign(text, NOW)])
    proof = Receipt(EPOCH, tuple(inclusion_proof(EPOCH, len(leaves), subtree)), note)
    said = {
        "epoch": EPOCH,
        "period": of.period,
        "shards": [[item.shard, item.start, item.end, encoded(item.root_at_end)] for item in SHARDS],
        "counts": [of.listed, of.unlisted],
        "roots": [encoded(root) for root in (of.persons_root, of.recipients_root, of.period_root)],
    }

    def case(name: str, expected: dict[str, Any] | str, shown: bytes = data, **changed: Any) -> DayCase:
        given = {"leaf": encoded(shown), "proof": encoded(proof.text), "vkey": signer.vkey, "policy": ONE, "now": NOW}
        return DayCase("epoch", name, given | changed, expected)

    yield case("a day of the epoch log", said)
    lied = replace(of, persons_root=root_of(OTHERS)).encode()
    yield case("another trie for the day", "epoch-proof", lied)
    yield case("the day after", "epoch-proof", proof=encoded(replace(proof, index=EPOCH + 1).text))
    misplaced = leaf(with_own(), epoch=EPOCH + 1).encode()
    short = Checkpoint(signer.name, 1, leaf_hash(misplaced)).sign(signer)
    yield case(
        "a day in the place of another",
        "epoch-index",
        misplaced,
        proof=encoded(Receipt(0, (), short).text),
        policy="quorum none\n",
    )
    yield case("an epoch log under another key", "opening-checkpoint", vkey=replace(signer, seed=fiction("other")).vkey)
    alone = replace(proof, checkpoint=join_note(text, [signer.signature(text)]))
    yield case("a day that no witness cosigned", "receipt-quorum", proof=encoded(alone.text))
    yield case("a leaf cut off", "epoch-leaf", data[:-1])
    yield case("a leaf of two bytes", "epoch-leaf", data[:2])
    yield case("a leaf of another version", "epoch-leaf", data[:1] + b"\2" + data[2:])
    yield case("a leaf of another type", "epoch-leaf", b"\1" + data[1:])
    yield case("a leaf with a shard too few", "epoch-leaf", data[:121] + b"\1" + data[122:])
    yield case("a day of another half-year", "epoch-period", replace(of, epoch=first_day(of.period) - 1).encode())
    yield case("entries listed under nobody", "epoch-roots", replace(of, persons_root=EMPTY).encode())


def cases() -> list[DayCase]:
    """Return every case."""
    return [*answers(), *lies(), *label_keys(), *epochs()]
