"""What the Python library says of a vector, in the form in which the JavaScript modules say it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from integrator_audit import AuditError, Invalid, Tampered, Verifier
from integrator_audit.completeness.epoch import EpochLeaf, check_sequence
from integrator_audit.completeness.evidence import Question, check_days, read_evidence
from integrator_audit.completeness.fields import Fields
from integrator_audit.completeness.labels import PERIOD, LabelKey, label_secret, signed_input
from integrator_audit.halfyear import date_of, day_of, first_day
from integrator_audit.merkle import leaf_hash
from integrator_audit.receipt import Receipt
from integrator_audit.receiptcheck import check_receipt
from integrator_audit.witnessing.policy import Policy

Vector = dict[str, Any]


def file_of(vector: Vector) -> bytes:
    """Return the bytes of an opening's file."""
    return base64.b64decode(vector["base64"]) if "base64" in vector else vector["file"].encode()


def judge(vector: Vector) -> dict[str, Any]:
    """Return `{"proves": …}` or `{"code": …}`."""
    try:
        return {"proves": _JUDGES[vector["kind"]](vector)}
    except AuditError as error:
        return {"code": error.code}


def _opening(vector: Vector) -> dict[str, Any]:
    try:
        verifier = Verifier.from_text(vector["vkey"])
    except Invalid as error:
        raise Invalid("vkey", "what is wrong with a key has one code in JavaScript") from error
    policy = Policy.parse(vector["policy"].encode()) if "policy" in vector else None
    found = check_receipt(file_of(vector), verifier, policy=policy, now=vector["now"]).opening
    names = ("origin", "index", "size", "type", "parts")
    return {name: getattr(found, name) for name in names} | {"root": _text(found.root)}


class _OneLeaf(Sequence[EpochLeaf]):
    """An epoch log of which one leaf is known and the others are not asked for."""

    def __init__(self, leaf: EpochLeaf) -> None:
        self._leaf = leaf

    def __len__(self) -> int:
        return self._leaf.epoch + 1

    def __getitem__(self, index: Any) -> Any:
        return self._leaf


def _day(vector: Vector) -> dict[str, Any]:
    leaf = EpochLeaf.parse(_bytes(vector["leaf"]))
    first = first_day(leaf.period) if vector["day"].get("level") == PERIOD else leaf.epoch
    document = {
        "epochs": {"origin": "vectors.example/epochs", "first": first, "last": leaf.epoch},
        "shards": [],
        "entries": [],
        "erased": [],
        "days": [vector["day"]],
    }
    evidence = read_evidence(Fields(document, "the document"))
    if evidence.proofs[0].epoch != leaf.epoch:
        # A history has the whole epoch log: there it is a day without answer.
        raise Tampered("day-unknown", "the vector's leaf is of another day")
    today = date_of(day_of(vector["now"] * 1000))
    secret = label_secret(_bytes(vector["y"]))
    (answer,) = check_days(evidence, _OneLeaf(leaf), Question(lambda _: secret, first, leaf.epoch, today))
    if answer.erased is not None:
        return {"erased": answer.erased}
    return {"listed": [[place.shard, place.number] for place in answer.places]}


def _label_key(vector: Vector) -> dict[str, Any]:
    given, leaf = vector["key"], EpochLeaf.parse(_bytes(vector["leaf"]))
    message = signed_input(given["period"], vector["number"])
    key = LabelKey.read(_bytes(given["spki"]))
    if key.fingerprint != leaf.label_key:
        raise Tampered("label-key-other", "as `history` says it")
    key.check_certificate([_bytes(root) for root in given["certificate"]])
    key.check_signature(_bytes(given["y"]), message)
    return {"secret": _text(label_secret(_bytes(given["y"])))}


def _epoch(vector: Vector) -> dict[str, Any]:
    data, policy = _bytes(vector["leaf"]), Policy.parse(vector["policy"].encode())
    receipt = Receipt.parse(_bytes(vector["proof"]))
    try:
        leaf = EpochLeaf.parse(data)
        _check_alone(leaf)
        receipt.verify(leaf_hash(data), Verifier.from_text(vector["vkey"]))
    except Tampered as error:
        codes = {"inclusion-proof": "epoch-proof", "note-signature": "opening-checkpoint"}
        raise Tampered(codes.get(error.code, error.code), error.message) from error
    if not policy.judge(receipt.checkpoint, now=vector["now"]).reached:
        raise Tampered("receipt-quorum", "as `verify-receipt` says it")
    if receipt.index != leaf.epoch:
        raise Tampered("epoch-index", "as `check_sequence` says it")
    return {
        "epoch": leaf.epoch,
        "period": leaf.period,
        "shards": [[item.shard, item.start, item.end, _text(item.root_at_end)] for item in leaf.shards],
        "counts": [leaf.listed, leaf.unlisted],
        "roots": [_text(root) for root in (leaf.persons_root, leaf.recipients_root, leaf.period_root)],
    }


def _check_alone(leaf: EpochLeaf) -> None:
    """Check a leaf after one that it follows without fault, so that only what it says itself can be wrong."""
    shards = tuple(replace(item, end=item.start) for item in leaf.shards)
    before = replace(leaf, epoch=leaf.epoch - 1, sealed_at=leaf.sealed_at - 1, shards=shards)
    check_sequence(before, leaf, leaf.epoch)


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


_JUDGES = {"opening": _opening, "day": _day, "label-key": _label_key, "epoch": _epoch}
