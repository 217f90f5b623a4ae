from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from integrator_audit import Invalid, Signer, Tampered, Verifier
from integrator_audit.checkpoint import Checkpoint, open_checkpoint
from integrator_audit.note import Note, Signature, join_note, verify_note
from integrator_audit.witnessing.cosignature import (
    MAX_AHEAD,
    MLDSA44_COSIGNATURE,
    Cosigner,
    CosignerKey,
    read_log_key,
    signed_message,
    verified_cosignatures,
)
from tests.unit.audit.witness_samples import mldsa_note

# Made with filippo.io/torchwood v0.10.0: seed 00 01 … 1f for both types.
VECTORS = Path(__file__).parent / "vectors"
NOTE = Note.parse((VECTORS / "cosigned.note").read_bytes())
ED25519, MLDSA = (CosignerKey.from_text(line) for line in (VECTORS / "cosigned.vkeys").read_text().splitlines())
TEXT = b"example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
TIME = 1795600161


def test_cosignatures_that_another_program_made_hold() -> None:
    found = verified_cosignatures(NOTE, [ED25519, MLDSA], now=TIME)
    assert [(item.key, item.time) for item in found] == [(ED25519, TIME), (MLDSA, TIME)]
    assert NOTE.unverified_text == TEXT


def test_the_same_key_and_time_give_the_same_cosignature_as_in_the_other_program() -> None:
    cosigner = Cosigner("witness.example/w1", bytes(range(32)))
    assert cosigner.key == ED25519
    assert cosigner.key.vkey == ED25519.vkey
    assert cosigner.cosign(TEXT, TIME) == NOTE.signatures[0]


def test_the_signed_message_is_that_of_the_specification() -> None:
    assert signed_message(TEXT, 1679315147) == b"cosignature/v1\ntime 1679315147\n" + TEXT


def test_a_secret_key_comes_back_from_its_text_and_does_not_stand_in_the_repr() -> None:
    cosigner = Cosigner.generate("witness.example/w1")
    assert Cosigner.from_text(cosigner.text) == cosigner
    assert repr(cosigner) == "Cosigner(name='witness.example/w1')"
    for wrong in (cosigner.text.removeprefix("PRIVATE+KEY+"), cosigner.text.replace("/w1", "/w2"), cosigner.text[:-4]):
        with pytest.raises(Invalid):
            Cosigner.from_text(wrong)


def test_keys_of_logs_and_witnesses_cannot_be_taken_for_each_other() -> None:
    name = "example.com/both"
    log, witness = Signer(name, bytes(32)), Cosigner(name, bytes(32))
    for vkey in (log.vkey, Signer.generate(name).text):
        with pytest.raises(Invalid):
            CosignerKey.from_text(vkey)
    with pytest.raises(Invalid):
        Cosigner.from_text(log.text)
    for text in (witness.key.vkey, MLDSA.vkey):
        with pytest.raises(Invalid):
            Verifier.from_text(text)
    with pytest.raises(Invalid):
        Signer.from_text(witness.text)


def test_a_log_may_sign_with_a_post_quantum_key_that_has_its_name() -> None:
    secret = MLDSA44PrivateKey.generate()
    public = secret.public_key().public_bytes_raw()
    key = read_log_key(CosignerKey("example.com/log", MLDSA44_COSIGNATURE, public).vkey)
    checkpoint = Checkpoint("example.com/log", 7, bytes(32))
    for time in (0, TIME):
        note = mldsa_note(secret, key.name, checkpoint, time)
        assert open_checkpoint(note, key) == checkpoint
        with pytest.raises(Tampered):
            verify_note(note.replace(b"\n7\n", b"\n8\n"), [key])
    # The same bytes as a witness of another name: the signature is not the log's.
    witness = CosignerKey("witness.example/w1", MLDSA44_COSIGNATURE, public)
    with pytest.raises(Tampered):
        open_checkpoint(mldsa_note(secret, witness.name, checkpoint, TIME), key)
    with pytest.raises(Tampered, match=r"the checkpoint is of example\.com/log"):
        open_checkpoint(mldsa_note(secret, witness.name, checkpoint, TIME), witness)


def test_the_key_of_a_log_is_ed25519_or_mldsa() -> None:
    log = Signer("example.com/log", bytes(32))
    assert read_log_key(log.vkey) == log.verifier
    assert read_log_key(MLDSA.vkey) == MLDSA
    for vkey in (ED25519.vkey, log.text, MLDSA.vkey[:-4], MLDSA.vkey.replace("pq+", "q+"), ""):
        with pytest.raises(Invalid):
            read_log_key(vkey)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        ED25519.vkey.replace("w1", "w2"),
        ED25519.vkey[:-4],
        ED25519.vkey.replace("+BAOh", "+BQOh"),
        MLDSA.vkey[:-4],
        MLDSA.vkey.replace("pq+", "p q+"),
    ],
)
def test_a_malformed_witness_key_is_invalid(vkey: str) -> None:
    with pytest.raises(Invalid):
        CosignerKey.from_text(vkey)


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("change", [(0, 1), (7, 1), (8, 1), (-1, 1)])
def test_a_changed_time_or_signature_is_a_wrong_cosignature(at: int, change: tuple[int, int]) -> None:
    value = bytearray(NOTE.signatures[at].value)
    value[change[0]] ^= change[1]
    changed = Signature(NOTE.signatures[at].name, NOTE.signatures[at].key_id, bytes(value))
    with pytest.raises(Tampered):
        verified_cosignatures(Note(TEXT, (changed,)), [ED25519, MLDSA], now=TIME)


@pytest.mark.parametrize("at", [0, 1])
def test_a_cosignature_has_exactly_its_length(at: int) -> None:
    good = NOTE.signatures[at]
    for value in (good.value[:-1], good.value + b"\0", good.value[:8], good.value[8:], b""):
        with pytest.raises(Tampered):
            verified_cosignatures(Note(TEXT, (Signature(good.name, good.key_id, value),)), [ED25519, MLDSA], now=TIME)


@pytest.mark.parametrize("change", [b"x" + TEXT, TEXT.replace(b"20852163", b"20852164"), TEXT + b"extension\n"])
def test_a_cosignature_is_for_one_text(change: bytes) -> None:
    for signature in NOTE.signatures:
        with pytest.raises(Tampered):
            verified_cosignatures(Note(change, (signature,)), [ED25519, MLDSA], now=TIME)


def test_extension_lines_are_covered_by_ed25519_and_refused_with_mldsa() -> None:
    text = TEXT + b"extension\n"
    cosigner = Cosigner.generate("witness.example/w1")
    good = Note(text, (cosigner.cosign(text, TIME),))
    assert len(verified_cosignatures(good, [cosigner.key], now=TIME)) == 1
    # Signed by the right key over the right structure, which leaves the extension line open to anybody.
    with pytest.raises(Tampered):
        verified_cosignatures(Note(text, NOTE.signatures[1:]), [MLDSA], now=TIME)


def test_a_time_beyond_2_to_the_63_is_a_wrong_cosignature() -> None:
    cosigner = Cosigner.generate("witness.example/w1")
    # Signed by the right key over the right message, whose time is one second too late.
    made = Ed25519PrivateKey.from_private_bytes(cosigner.seed).sign(signed_message(TEXT, 1 << 63))
    too_late = Signature(cosigner.name, cosigner.key.key_id, (1 << 63).to_bytes(8, "big") + made)
    with pytest.raises(Tampered):
        verified_cosignatures(Note(TEXT, (too_late,)), [cosigner.key], now=TIME)
    for time in (0, -1, 1 << 63):
        with pytest.raises(Invalid):
            cosigner.cosign(TEXT, time)


def test_no_time_and_a_time_far_ahead_do_not_count() -> None:
    secret = MLDSA44PrivateKey.generate()
    key = CosignerKey("w", MLDSA44_COSIGNATURE, secret.public_key().public_bytes_raw())
    head = Checkpoint.parse(TEXT)
    message = b"subtree/v1\n\0\x01w" + bytes(8) + b"\x1bexample.com/behind-the-sofa" + bytes(8)
    message += head.size.to_bytes(8, "big") + head.root
    timeless = Signature("w", key.key_id, bytes(8) + secret.sign(message))
    assert key.time_of(TEXT, timeless.value) == 0
    assert verified_cosignatures(Note(TEXT, (timeless,)), [key], now=TIME) == []
    for now, count in ((TIME - MAX_AHEAD, 2), (TIME - MAX_AHEAD - 1, 0)):
        assert len(verified_cosignatures(NOTE, [ED25519, MLDSA], now=now)) == count


def test_unknown_keys_are_ignored_and_of_several_cosignatures_the_newest_counts() -> None:
    cosigner = Cosigner.generate("witness.example/w1")
    times = (TIME - 5, TIME, TIME - 9)
    note = Note.parse(join_note(TEXT, [*NOTE.signatures, *(cosigner.cosign(TEXT, time) for time in times)]))
    found = verified_cosignatures(note, [cosigner.key], now=TIME)
    assert [(item.key, item.time) for item in found] == [(cosigner.key, TIME)]


def test_what_is_no_checkpoint_is_not_cosigned() -> None:
    for text in (b"", b"a\n1\n", TEXT[:-1], TEXT.replace(b"20852163", b"020852163"), TEXT + b"\n", TEXT[:-5] + b"\n"):
        with pytest.raises(Invalid):
            Cosigner.generate("witness.example/w1").cosign(text, TIME)
