"""Our receipts are tlog-proofs that torchwood verifies under a policy with witnesses."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from integrator_audit.encoding import from_base64
from integrator_audit.note import Note, join_note
from integrator_audit.receipt import Receipt
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
    lines = [f"witness w{number} {cosigner.key.vkey}" for number, cosigner in enumerate(COSIGNERS)]
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


def test_the_extra_line_is_read(programs: Programs, place: Place, policy: Path) -> None:
    extra = bytes(range(256)) * 180
    text, leaf = receipt(place, 5, cosigners=3, extra=extra)
    assert programs.conform("receipt", policy, leaf, stdin=text) == {"extra": extra.hex()}


def test_a_receipt_without_a_quorum_or_for_another_leaf_is_refused(
    programs: Programs, place: Place, policy: Path
) -> None:
    text, leaf = receipt(place, 5, cosigners=1)
    with pytest.raises(ForeignError):
        programs.conform("receipt", policy, leaf, stdin=text)
    text, _ = receipt(place, 5, cosigners=2)
    _, other = receipt(place, 6, cosigners=2)
    with pytest.raises(ForeignError):
        programs.conform("receipt", policy, other, stdin=text)
    with pytest.raises(ForeignError):
        programs.conform("receipt", policy, leaf, stdin=text.replace(b"index 5", b"index 7"))
