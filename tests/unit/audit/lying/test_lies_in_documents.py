"""Lies in what a person is shown, over an honest epoch log."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from integrator_audit.checkpoint import read_unverified
from integrator_audit.completeness.history import read_history
from integrator_audit.completeness.labels import DAY, signed_input
from integrator_audit.completeness.trie import prove
from integrator_audit.encoding import to_base64
from integrator_audit.halfyear import number_of
from integrator_audit.receipt import Receipt
from tests.unit.audit.label_samples import certificate, label_signer, two_faced_key
from tests.unit.audit.lying.catching import ANN, BOB, CARL, by_cosigner, by_person, caught, ordinary
from tests.unit.audit.lying.operator import Document, Kept, Operator


@pytest.fixture(scope="module")
def honest() -> Operator:
    return ordinary()


def test_an_honest_operator_is_believed_by_all(honest: Operator) -> None:
    assert [by_person(honest), by_person(honest, CARL), by_cosigner(honest)] == [None, None, None]


def test_a_day_that_is_not_answered_for_is_found_by_the_person(honest: Operator) -> None:
    for at in range(3):
        document = honest.history(ANN)
        del document["days"][at]
        assert by_person(honest, document=document) == "day-missing"
    document = honest.history(ANN)
    document["days"].insert(1, document["days"][1])
    assert by_person(honest, document=document) == "day-twice"


def test_an_empty_day_that_is_skipped_is_found_by_the_person() -> None:
    operator = ordinary(count=1)
    operator.end_day(silent=True)
    ordinary(operator, count=1)
    document = operator.history(ANN)
    assert document["days"][1]["end"] == {"empty": True}
    del document["days"][1]
    assert by_person(operator, document=document) == "day-missing"


def hide(operator: Operator, document: Document, epoch: int, **answer: Any) -> Document:
    """Return the document with another answer for a day, and without the openings of that day."""
    day = document["days"][epoch]
    gone = {tuple(place) for place in day["end"]["leaf"]["list"]}
    shards = {item["origin"]: item["shard"] for item in document["shards"]}
    kept = [entry for entry in document["entries"] if (shards[entry["origin"]], entry["index"]) not in gone]
    answers = [item | answer if item is day else item for item in document["days"]]
    return document | {"days": answers, "entries": kept}


def test_a_foreign_leaf_as_the_end_of_a_proof_of_nothing_is_found_by_the_person(honest: Operator) -> None:
    foreign = prove(honest.sealed[1].persons.leaves, honest.label(BOB, DAY, 1))
    assert foreign.end is not None
    end = {"other": {"label": to_base64(foreign.end.label), "hL": to_base64(foreign.end.content)}}
    siblings = [to_base64(sibling) for sibling in foreign.siblings]
    lie = hide(honest, honest.history(ANN), 1, siblings=siblings, end=end)
    assert by_person(honest, document=lie) == "trie-proof-foreign"


def test_a_hash_that_is_not_empty_shown_as_empty_is_found_by_the_person(honest: Operator) -> None:
    document = honest.history(ANN)
    for siblings in (document["days"][1]["siblings"], []):
        lie = hide(honest, document, 1, siblings=siblings, end={"empty": True})
        assert by_person(honest, document=lie) == "trie-proof-root"


def test_the_own_leaf_shown_as_anothers_is_found_by_the_person(honest: Operator) -> None:
    leaf = prove(honest.sealed[1].persons.leaves, honest.label(ANN, DAY, 1)).end
    assert leaf is not None
    end = {"other": {"label": to_base64(leaf.label), "hL": to_base64(leaf.content)}}
    assert by_person(honest, document=hide(honest, honest.history(ANN), 1, end=end)) == "trie-proof-present"


def test_a_list_that_is_shortened_or_not_ascending_is_found_by_the_person(honest: Operator) -> None:
    document = honest.history(ANN)
    leaf = document["days"][1]["end"]["leaf"]
    assert len(leaf["list"]) == 2
    for listed, code in [
        (leaf["list"][:1], "trie-proof-root"),
        (leaf["list"][::-1], "list-order"),
        ([leaf["list"][0], *leaf["list"]], "list-order"),
        ([], "list-order"),
        ([*leaf["list"], [9, 0]], "list-outside"),
    ]:
        lie = hide(honest, document, 1, end={"leaf": leaf | {"list": listed}})
        assert by_person(honest, document=lie) == code


def test_a_listed_entry_that_is_not_opened_or_one_too_many_is_found_by_the_person(honest: Operator) -> None:
    document = honest.history(ANN)
    entries = document["entries"]
    bobs = honest.history(BOB)["entries"][0]
    assert by_person(honest, document=document | {"entries": entries[1:]}) == "entry-not-opened"
    assert by_person(honest, document=document | {"entries": [*entries, entries[0]]}) == "entry-opened-twice"
    assert by_person(honest, document=document | {"entries": [*entries, bobs]}) == "entry-not-listed"
    assert by_person(honest, document=document | {"entries": [bobs, *entries[1:]]}) == "entry-not-listed"


def changed(opening: Document, letter: str, old: bytes, new: bytes) -> Document:
    data = base64.b64decode(opening[letter]["bytes"])
    assert old in data
    return opening | {letter: opening[letter] | {"bytes": to_base64(data.replace(old, new))}}


def test_an_entry_that_says_something_else_is_found_by_the_person(honest: Operator) -> None:
    document = honest.history(ANN)
    first, *others = document["entries"]
    assert by_person(honest, document=document | {"entries": [changed(first, "A", b"svb", b"uwv"), *others]}) == (
        "entry-root"
    )
    without = {key: value for key, value in first.items() if key != "S"} | {"hS": first["hD"]}
    assert by_person(honest, document=document | {"entries": [without, *others]}) == "entry-parts"


def test_a_key_that_stands_twice_in_a_document_is_found_by_whoever_reads_it(honest: Operator) -> None:
    text = json.dumps(honest.history(ANN))
    twice = text.replace('"entries":', '"entries": [], "entries":', 1)
    assert caught(lambda: read_history(twice.encode())) == "document-malformed"
    document = honest.history(ANN)
    first = changed(document["entries"][0], "A", b'"recipient":"svb"', b'"recipient":"uwv","recipient":"svb"')
    assert by_person(honest, document=document | {"entries": [first, *document["entries"][1:]]}) == "opening-part"


def test_a_type_that_is_flipped_is_found_by_the_person_and_the_cosigner(honest: Operator) -> None:
    document = honest.history(ANN)
    first = document["entries"][0] | {"type": 2}
    assert by_person(honest, document=document | {"entries": [first, *document["entries"][1:]]}) == "entry-type"
    # The operator may have appended it so: then the proof holds, and it is found all the same.
    operator = Operator()
    operator.deliver(ANN, "svb").type = 2
    operator.end_day()
    assert by_person(operator) == "entry-type"
    assert by_cosigner(operator) == "entry-type"


def copied(operator: Operator, entry: Kept, shard: int) -> Kept:
    """Put the very leaf of an entry into another shard, or into its own once more."""
    own = operator.entries[0][shard]
    copy = Kept(0, (shard, len(own)), entry.origin, entry.parts, entry.salts, entry.number, entry.recipient, True)
    own.append(copy)
    return copy


def test_an_entry_that_is_replayed_in_another_shard_is_found_by_the_person() -> None:
    operator = Operator()
    entry = operator.deliver(ANN, "svb")
    other = next(shard for shard in operator.shards if shard != entry.place[0])
    copy = copied(operator, entry, other)
    assert copy.leaf == entry.leaf
    operator.end_day()
    document = operator.history(ANN)
    # Opened under the origin that it was made for, it is that entry once more, and the copy stays unopened.
    assert by_person(operator, document=document) == "entry-opened-twice"
    assert by_person(operator, document=document | {"entries": document["entries"][:1]}) == "entry-not-opened"
    # Under the other shard's origin its commitment is another one.
    first, second = document["entries"]
    renamed = [first, second | {"origin": operator.origin(other)}]
    assert by_person(operator, document=document | {"entries": renamed}) == "entry-root"
    # And no origin is that of two shards.
    shards = [item | {"origin": operator.origin(entry.place[0])} for item in document["shards"]]
    assert by_person(operator, document=document | {"shards": shards}) == "shard-twice"


def test_an_entry_that_is_copied_within_its_shard_is_found_by_the_person() -> None:
    operator = Operator()
    entry = operator.deliver(ANN, "svb")
    copied(operator, entry, entry.place[0])
    operator.end_day()
    assert by_person(operator) == "entry-repeated"


def test_a_label_under_a_second_key_is_found_by_the_person(honest: Operator) -> None:
    document = honest.history(ANN)
    other = label_signer(1)
    key = {
        "period": 0,
        "spki": to_base64(other.spki),
        "certificate": [to_base64(root) for root in certificate(1)],
        "y": to_base64(other.sign(signed_input(0, ANN))),
    }
    assert by_person(honest, document=document | {"keys": [key]}) == "label-key-other"
    assert by_person(honest, document=document | {"keys": []}) == "label-key-missing"
    assert by_person(honest, document=document | {"keys": document["keys"] * 2}) == "document-malformed"


def test_another_persons_list_shown_as_ones_own_is_found_by_the_person(honest: Operator) -> None:
    assert by_person(honest, ANN, honest.history(BOB)) == "label-signature"
    assert by_person(honest, ANN, honest.history(BOB) | {"keys": honest.history(ANN)["keys"]}) == "trie-proof-root"


def test_a_key_with_65537_dividing_p_minus_1_is_found_by_the_person() -> None:
    evil = two_faced_key()
    operator = Operator()
    operator.spkis[0] = evil.spki
    operator.certificates[0] = evil.best_certificate()
    operator.deliver(ANN, "svb")
    operator.end_day()
    assert by_person(operator) == "label-key-certificate"


def test_a_young_entry_said_to_be_erased_is_found_by_the_person() -> None:
    operator = ordinary()
    mine = next(kept for kept in operator.kept(0) if kept.number == ANN)
    mine.erased = "retention"
    assert by_person(operator) == "erased-young"
    # Ten years after the end of the half-year it may be gone. Until then only an order erases it, and that is shown.
    assert by_person(operator, today=number_of(date.fromisoformat("2010-06-30"))) == "erased-young"
    assert by_person(operator, today=number_of(date.fromisoformat("2010-07-01"))) is None
    mine.erased = "order"
    assert by_person(operator) is None


def test_a_young_list_said_to_be_erased_is_found_by_the_person() -> None:
    operator = ordinary()
    operator.sealed[1].persons.lists[operator.label(ANN, DAY, 1)] = None
    assert by_person(operator) == "erased-young"
    # LIMIT: which retention the entries had is gone with the list; only the shortest one is demanded.
    assert by_person(operator, today=number_of(date.fromisoformat("2002-07-01"))) is None


def test_a_document_about_another_log_or_of_no_form_is_refused_by_the_person(honest: Operator) -> None:
    document = honest.history(ANN)
    other = document["epochs"] | {"origin": "elsewhere.example/epochs"}
    assert by_person(honest, document=document | {"epochs": other}) == "history-other-log"
    shards = [item | {"origin": item["origin"].replace("2000h1", "2000h2")} for item in document["shards"]]
    assert by_person(honest, document=document | {"shards": shards}) == "shard-other"
    for said in ({"last": 9}, {"last": 1}, {"first": 1}):
        assert by_person(honest, document=document | {"epochs": document["epochs"] | said}) == "day-unknown"
    for change in ({"schema": "x/v1"}, {"more": 1}, {"days": {}}, {"keys": [1]}, {"days": [{}]}, {"erased": [{}]}):
        assert by_person(honest, document=document | change) in ("document-malformed", "opening-malformed")
    for end in ({}, {"empty": False}, {"empty": True, "other": {}}, {"erased": {"hL": "AAAA", "ground": "age"}}):
        lie = hide(honest, document, 1, end=end)
        assert by_person(honest, document=lie) == "document-malformed"


def test_an_entry_that_is_proven_with_another_checkpoint_than_its_days_end_is_found_without_the_shards_key(
    honest: Operator,
) -> None:
    document = honest.history(ANN)
    first, *others = document["entries"]
    receipt = Receipt.parse(base64.b64decode(first["proof"]))
    end = read_unverified(receipt.checkpoint)
    other = next(honest.origin(shard) for shard in honest.shards if honest.origin(shard) != first["origin"])
    for said in (
        replace(end, size=end.size + 1),
        replace(end, root=bytes(32)),
        replace(end, origin=other),
    ):
        proof = replace(receipt, checkpoint=said.sign(honest.signer(said.origin))).text
        lie = document | {"entries": [first | {"proof": to_base64(proof)}, *others]}
        assert by_person(honest, document=lie) == "opening-checkpoint"
    torn = replace(receipt, checkpoint=receipt.checkpoint[:-1]).text
    lie = document | {"entries": [first | {"proof": to_base64(torn)}, *others]}
    assert by_person(honest, document=lie) == "opening-checkpoint"


def test_a_checkpoint_of_a_shard_that_its_key_did_not_sign_is_found_by_who_has_the_key(honest: Operator) -> None:
    keys = {honest.origin(shard): honest.signer(honest.origin(shard)).verifier for shard in honest.shards}
    assert by_person(honest, keys=keys) is None
    forged = Operator()
    entry_keys = {origin: forged.signer(origin).verifier for origin in keys}
    assert by_person(honest, keys=entry_keys) == "note-signature"
