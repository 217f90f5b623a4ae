from __future__ import annotations

import hmac
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from integrator_audit.completeness.labels import (
    DAY,
    EXPONENT,
    PERIOD,
    SIGNATURE_SIZE,
    FileUniqueSigner,
    LabelKey,
    challenge,
    label_of,
    label_secret,
    signed_input,
)
from integrator_audit.errors import Invalid, Tampered, Unavailable
from tests.unit.audit.label_samples import certificate, label_signer, spki_of, two_faced_key

NUMBER = "bsn:999990019"
PERIOD_NUMBER = 53


def test_a_label_is_to_the_letter() -> None:
    message = b"dienstenintegrator/label-key/v1\x00" + b"\x00\x35" + b"\x00\x0d" + b"bsn:999990019"
    assert signed_input(PERIOD_NUMBER, NUMBER) == message
    signature = label_signer().sign(message)
    numbers = RSAPublicNumbers(EXPONENT, LabelKey.read(label_signer().spki).modulus)
    numbers.public_key().verify(signature, message, PKCS1v15(), SHA256())
    secret = sha256(b"dienstenintegrator/label-out/v1\x00" + signature).digest()
    assert label_secret(signature) == secret
    for level, number in ((DAY, 9_674), (PERIOD, 53)):
        text = b"dienstenintegrator/label/v1\x00" + bytes([level]) + number.to_bytes(4, "big")
        assert label_of(secret, level, number) == hmac.new(secret, text, sha256).digest()
    assert label_of(secret, DAY, 53) != label_of(secret, PERIOD, 53)


def test_a_person_has_the_same_signature_each_time_and_checks_it_against_the_key() -> None:
    key = LabelKey.read(label_signer().spki)
    message = signed_input(PERIOD_NUMBER, NUMBER)
    signature = label_signer().sign(message)
    assert signature == label_signer().sign(message)
    key.check_certificate(certificate())
    key.check_signature(signature, message)
    assert key.fingerprint == sha256(label_signer().spki).digest()


def test_another_persons_or_periods_signature_is_refused() -> None:
    key = LabelKey.read(label_signer().spki)
    signature = label_signer().sign(signed_input(PERIOD_NUMBER, NUMBER))
    raised = (int.from_bytes(signature, "big") + key.modulus).to_bytes(SIGNATURE_SIZE + 1, "big")
    for given, message in [
        (signature, signed_input(PERIOD_NUMBER + 1, NUMBER)),
        (signature, signed_input(PERIOD_NUMBER, "bsn:999990020")),
        (bytes([signature[0] ^ 1]) + signature[1:], signed_input(PERIOD_NUMBER, NUMBER)),
        (raised, signed_input(PERIOD_NUMBER, NUMBER)),
        (b"\x00" + signature, signed_input(PERIOD_NUMBER, NUMBER)),
        (b"", signed_input(PERIOD_NUMBER, NUMBER)),
    ]:
        with pytest.raises(Tampered) as caught:
            key.check_signature(given, message)
        assert caught.value.code == "label-signature"


def test_a_key_with_65537_dividing_p_minus_1_has_two_signatures_of_a_message_and_no_certificate() -> None:
    evil = two_faced_key()
    assert (evil.p - 1) % EXPONENT == 0
    one = 2**3000 + 12345
    other = evil.other_root(one)
    assert one != other
    assert pow(one, EXPONENT, evil.modulus) == pow(other, EXPONENT, evil.modulus)
    # Nothing in the key's form shows it …
    key = LabelKey.read(evil.spki)
    # … the certificate does: its owner finds no roots.
    with pytest.raises(Tampered) as caught:
        key.check_certificate(evil.best_certificate())
    assert caught.value.code == "label-key-certificate"


def test_a_certificate_that_is_anothers_short_or_out_of_range_is_refused() -> None:
    key = LabelKey.read(label_signer().spki)
    good = certificate()
    beyond = (int.from_bytes(good[0], "big") + key.modulus).to_bytes(SIGNATURE_SIZE + 1, "big")
    for roots in (
        good[:8],
        (*good, good[0]),
        (good[1], good[0], *good[2:]),
        (good[0][1:], *good[1:]),
        (beyond, *good[1:]),
        certificate(1),
        (),
    ):
        with pytest.raises(Tampered) as caught:
            key.check_certificate(roots)
        assert caught.value.code == "label-key-certificate"


def test_the_challenge_is_mgf1_to_the_letter() -> None:
    modulus = LabelKey.read(label_signer().spki).modulus
    seed = b"dienstenintegrator/perm/v1\x00" + modulus.to_bytes(384, "big") + b"\x08"
    mask = b"".join(sha256(seed + counter.to_bytes(4, "big")).digest() for counter in range(13))
    assert challenge(modulus, 8) == int.from_bytes(mask, "big") % modulus


def test_a_key_of_another_shape_is_refused() -> None:
    modulus = LabelKey.read(label_signer().spki).modulus
    padded = label_signer().spki + b"\x00"
    elliptic = ec.generate_private_key(ec.SECP256R1()).public_key()
    for spki in (
        spki_of(modulus, exponent=3),
        spki_of(modulus >> 1 | 1),
        spki_of(modulus << 1 | 1),
        elliptic.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        padded,
        b"",
    ):
        with pytest.raises(Tampered) as caught:
            LabelKey.read(spki)
        assert caught.value.code == "label-key"


def test_a_modulus_with_a_small_factor_is_named() -> None:
    small = 1_048_573  # the largest prime below 2^20
    modulus = ((1 << 3071) // small + 2 | 1) * small
    assert modulus.bit_length() == 3072
    with pytest.raises(Tampered, match="small prime"):
        LabelKey.read(spki_of(modulus))


def test_a_key_file_is_read_and_another_is_not(tmp_path: Path) -> None:
    path = tmp_path / "label.pem"
    path.write_bytes(label_signer().pem)
    assert FileUniqueSigner.open(path).spki == label_signer().spki
    assert "PRIVATE" not in repr(FileUniqueSigner.open(path))
    short = generate_private_key(public_exponent=EXPONENT, key_size=2048)
    path.write_bytes(short.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(Tampered):
        FileUniqueSigner.open(path)
    for content in (b"", Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())):
        path.write_bytes(content)
        with pytest.raises(Invalid):
            FileUniqueSigner.open(path)
    with pytest.raises(Unavailable):
        FileUniqueSigner.open(tmp_path / "none.pem")


@pytest.mark.parametrize(
    "number", ["", "999990019", "bsn:", ":999990019", "bsn:9\n", " bsn:9", "bsn:\ud800", "b:" + "9" * 65536]
)
def test_a_number_that_is_not_scheme_and_value_is_refused_and_not_repeated(number: str) -> None:
    with pytest.raises(Invalid) as caught:
        signed_input(PERIOD_NUMBER, number)
    assert caught.value.code == "person-number"
    assert "999990019" not in caught.value.message
