"""Our receipts are tlog-proofs that others verify under a policy with witnesses, and their proofs are read by us."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from integrator_audit import Signer, Tampered
from integrator_audit.encoding import from_base64
from integrator_audit.merkle import leaf_hash
from integrator_audit.note import Note, join_note
from integrator_audit.receipt import Receipt
from integrator_audit.witnessing.cosignature import read_log_key
from tests.conformance.programs import ForeignError, Programs
from tests.unit.audit.audit_samples import Place, fill, signer
from tests.unit.audit.witness_samples import COSIGNERS


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("receipts") / "log")
    place.directory.mkdir()
    fill(place, 785)
    return place


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    # Some programs want a URL for each witness.
    lines = [
        f"witness w{number} {cosigner.key.vkey} https://{cosigner.name}/" for number, cosigner in enumerate(COSIGNERS)
    ]
    path = tmp_path / "policy"
    path.write_text("\n".join([f"log {signer().vkey}", *lines, "group g 2 w0 w1 w2", "quorum g", ""]))
    return path


def receipt(place: Place, index: int, *, cosigners: int, extra: bytes = b"") -> tuple[bytes, str]:
    """Return the text of a receipt and its leaf in hexadecimal."""
    reader = place.reader()
    proof = reader.opening(index)["proof"]
    assert isinstance(proof, str)
    plain = Receipt.parse(from_base64(proof, what="the proof"))
    note = Note.parse(plain.checkpoint)
    text = note.unverified_text
    lines = [cosigner.cosign(text, int(time.time())) for cosigner in COSIGNERS[:cosigners]]
    made = Receipt(index, plain.hashes, join_note(text, [*note.signatures, *lines]), extra)
    return made.text, reader.leaf(index).hex()


@pytest.mark.parametrize("index", [0, 1, 255, 256, 700, 784])
def test_a_receipt_with_a_quorum_is_verified(programs: Programs, place: Place, policy: Path, index: int) -> None:
    text, leaf = receipt(place, index, cosigners=2)
    assert programs.conform("receipt", policy, leaf, stdin=text) == {"extra": None}
    assert programs.conform("proof", signer().vkey, policy, leaf, stdin=text) == {"extra": ""}


def test_the_extra_line_is_read(programs: Programs, place: Place, policy: Path) -> None:
    extra = bytes(range(256)) * 180
    text, leaf = receipt(place, 5, cosigners=3, extra=extra)
    assert programs.conform("receipt", policy, leaf, stdin=text) == {"extra": extra.hex()}
    assert programs.conform("proof", signer().vkey, policy, leaf, stdin=text) == {"extra": extra.hex()}


def test_a_receipt_without_a_quorum_or_for_another_leaf_is_refused(
    programs: Programs, place: Place, policy: Path
) -> None:
    alone, leaf = receipt(place, 5, cosigners=1)
    text, _ = receipt(place, 5, cosigners=2)
    _, other = receipt(place, 6, cosigners=2)
    for arguments in (("receipt",), ("proof", signer().vkey)):
        programs.conform(*arguments, policy, leaf, stdin=text)
        with pytest.raises(ForeignError):
            programs.conform(*arguments, policy, leaf, stdin=alone)
        with pytest.raises(ForeignError):
            programs.conform(*arguments, policy, other, stdin=text)
        with pytest.raises(ForeignError):
            programs.conform(*arguments, policy, leaf, stdin=text.replace(b"index 5", b"index 7"))


@pytest.mark.parametrize(("size", "index"), [(1, 0), (7, 3), (256, 255), (257, 256), (785, 511)])
def test_proofs_that_others_make_are_read_and_written_alike_and_verified(
    programs: Programs, size: int, index: int
) -> None:
    log = Signer("foreign.example/log", bytes([7]) * 32)
    check_proofs(programs.conform("make", log.text, size, index), log.vkey, size=size, index=index)


def test_proofs_of_a_log_that_signs_with_a_post_quantum_key_are_verified(programs: Programs) -> None:
    log = programs.conform("keygen", "modern.example/log")
    check_proofs(programs.conform("make", log["secret"], 300, 256), log["vkey"], size=300, index=256)


def check_proofs(made: Mapping[str, Any], vkey: str, *, size: int, index: int) -> None:
    leaf, key = leaf_hash(bytes.fromhex(made["leaf"])), read_log_key(vkey)
    for kind, extra in (("plain", b""), ("withExtra", bytes.fromhex(made["extra"]))):
        for text in made[kind]:
            read = Receipt.parse(text.encode())
            assert read.verify(leaf, key).size == size
            assert (read.index, read.extra, read.text) == (index, extra, text.encode())
            with pytest.raises(Tampered):
                read.verify(leaf_hash(b"another"), key)
