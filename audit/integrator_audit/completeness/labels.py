"""Label keys: under which label a person is listed, verifiable by the person and by nobody who lacks the number.

    y     = RSASSA-PKCS1-v1_5-SHA256(sk_period, "dienstenintegrator/label-key/v1" 0x00 ‖ u16 period ‖ u16 len ‖ number)
    k     = SHA-256("dienstenintegrator/label-out/v1" 0x00 ‖ y)
    label = HMAC-SHA256(k, "dienstenintegrator/label/v1" 0x00 ‖ u8 level (1 day, 2 period) ‖ u32 number of it)

- The number is the canonical text "scheme:value" in UTF-8. `y` is a *unique signature*: there is no second one for the
  same number, so nobody can be listed under a second label. That needs a key whose e-th power is a permutation, and
  therefore the rules of `LabelKey`.
- label_key = SHA-256(SubjectPublicKeyInfo in DER): the epoch log names one for each period.
- A recipient's labels are the same function of a random secret `k` of 32 bytes that it shares with the operator.
- y and k are secrets of the person: they are not handed to anybody else and stand in no message.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from math import gcd, prod
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from integrator_audit.errors import Invalid, Tampered, Unavailable

MODULUS_BITS: Final = 3072
SIGNATURE_SIZE: Final = MODULUS_BITS // 8
EXPONENT: Final = 65537
CERTIFICATE_ROOTS: Final = 9
SECRET_SIZE: Final = 32
DAY, PERIOD = 1, 2

_SMALL_PRIMES: Final = 1 << 20
# MGF1 gives 256 bits more than the modulus has, so that what is left modulo N is as good as uniform (ADR 12).
_MASK_SIZE: Final = SIGNATURE_SIZE + 32
_KEY_PREFIX: Final = b"dienstenintegrator/label-key/v1\0"
_OUT_PREFIX: Final = b"dienstenintegrator/label-out/v1\0"
_LABEL_PREFIX: Final = b"dienstenintegrator/label/v1\0"
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_PERMUTATION_PREFIX: Final = b"dienstenintegrator/perm/v1\0"


@dataclass(frozen=True, slots=True)
class LabelKey:
    """The public label key of a period, its shape checked. `fingerprint` is what the epoch log names."""

    spki: bytes
    modulus: int

    @property
    def fingerprint(self) -> bytes:
        """Return SHA-256(SubjectPublicKeyInfo)."""
        return sha256(self.spki).digest()

    @classmethod
    def read(cls, spki: bytes) -> LabelKey:
        """Read a public key; raise `Tampered` (`label-key`) unless it is RSA with a modulus and exponent as required.

        LIMIT: a modulus that passes can still be a product that is not a permutation: `check_certificate` tells.
        """
        try:
            key = load_der_public_key(spki)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise Tampered("label-key", "the label key is not a public key in DER") from error
        if not isinstance(key, RSAPublicKey) or _spki(key) != spki:
            raise Tampered("label-key", "the label key is not an RSA key in its one form")
        numbers = key.public_numbers()
        # SPEC ledger §5: "Modulus exactly 3072 bits, e = 65537, no prime factor below 2^20"
        if numbers.n.bit_length() != MODULUS_BITS or numbers.e != EXPONENT:
            raise Tampered("label-key", f"a label key has exactly {MODULUS_BITS} bits and the exponent {EXPONENT}")
        if any(gcd(numbers.n, product) != 1 for product in _small_primes()):
            raise Tampered("label-key", "the label key's modulus has a small prime factor")
        return cls(spki, numbers.n)

    def check_certificate(self, roots: Sequence[bytes]) -> None:
        """Check the permutation certificate; raise `Tampered` (`label-key-certificate`) when it does not hold.

        `roots` are nine numbers of 384 bytes whose e-th powers are what MGF1 gives for the modulus: were the power no
        permutation (65537 divides p − 1), only one number in 65,537 would have a root.
        """
        if len(roots) != CERTIFICATE_ROOTS:
            raise Tampered("label-key-certificate", f"a permutation certificate has {CERTIFICATE_ROOTS} roots")
        for at, root in enumerate(roots):
            number = int.from_bytes(root, "big")
            if len(root) != SIGNATURE_SIZE or number >= self.modulus:
                raise Tampered("label-key-certificate", "a root of the permutation certificate is out of range")
            if pow(number, EXPONENT, self.modulus) != challenge(self.modulus, at):
                message = "the permutation certificate does not hold: this key may give one person two labels"
                raise Tampered("label-key-certificate", message)

    def check_signature(self, signature: bytes, message: bytes) -> None:
        """Check y over the input that `signed_input` gives; raise `Tampered` (`label-signature`) when it is another's.

        LIMIT: unique only together with `check_certificate`.
        """
        wrong = Tampered("label-signature", "the label's signature is not the label key's over this number")
        if len(signature) != SIGNATURE_SIZE or int.from_bytes(signature, "big") >= self.modulus:
            raise wrong
        key = load_der_public_key(self.spki)
        assert isinstance(key, RSAPublicKey)  # noqa: S101  read() saw to it
        try:
            key.verify(signature, message, PKCS1v15(), SHA256())
        except InvalidSignature as error:
            raise wrong from error


class FileUniqueSigner:
    """A label key in a file of the signing service. Its `repr` shows nothing."""

    def __init__(self, key: RSAPrivateKey) -> None:
        """Take a key; raise `Tampered` (`label-key`) when its shape is wrong."""
        self._key = key
        self._spki = _spki(key.public_key())
        LabelKey.read(self._spki)

    @classmethod
    def generate(cls) -> FileUniqueSigner:
        """Make a fresh key."""
        return cls(generate_private_key(public_exponent=EXPONENT, key_size=MODULUS_BITS))

    @classmethod
    def open(cls, path: Path) -> FileUniqueSigner:
        """Read a key in PEM (PKCS #8, not encrypted).

        Raises `Unavailable` (`label-key-unreadable`), `Invalid` (`label-key-file`: it holds no RSA key) and `Tampered`
        (`label-key`).
        """
        try:
            pem = path.read_bytes()
        except OSError as error:
            raise Unavailable("label-key-unreadable", f"{path} cannot be read: {error.strerror}") from error
        return cls.read(pem, what=str(path))

    @classmethod
    def read(cls, pem: bytes, *, what: str = "the label key") -> FileUniqueSigner:
        """Read a key's text in PEM; raise as `open` does, and call it `what`."""
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise Invalid("label-key-file", f"{what} is not a private key in PEM without a password") from error
        if not isinstance(key, RSAPrivateKey):
            raise Invalid("label-key-file", f"{what} is not an RSA key")
        return cls(key)

    @property
    def spki(self) -> bytes:
        """Return the public key, SubjectPublicKeyInfo in DER."""
        return self._spki

    @property
    def pem(self) -> bytes:
        """Return the secret text of the key."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def sign(self, message: bytes) -> bytes:
        """Return y over exactly `message`."""
        return self._key.sign(message, PKCS1v15(), SHA256())

    def certificate(self) -> tuple[bytes, ...]:
        """Return the permutation certificate of this key: nine roots of 384 bytes."""
        numbers = self._key.private_numbers()
        modulus = numbers.public_numbers.n
        roots = [pow(challenge(modulus, at), numbers.d, modulus) for at in range(CERTIFICATE_ROOTS)]
        return tuple(root.to_bytes(SIGNATURE_SIZE, "big") for root in roots)


def signed_input(period: int, number: str) -> bytes:
    """Return what is signed for a person's canonical number "scheme:value" in a period.

    Raises `Invalid` (`person-number`) when it is not of that form; the message does not repeat it.
    """
    scheme, colon, value = number.partition(":")
    if not (scheme and colon and value) or not number.isprintable() or number != number.strip():
        raise Invalid("person-number", "a person's number is given as scheme:value, for instance bsn:…")
    try:
        data = number.encode()
    except UnicodeEncodeError as error:
        raise Invalid("person-number", "a person's number is valid Unicode") from error
    if len(data) > 0xFFFF:
        raise Invalid("person-number", "a person's number is too long")
    return _KEY_PREFIX + period.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


def label_secret(signature: bytes) -> bytes:
    """Return k of a person from y."""
    return sha256(_OUT_PREFIX + signature).digest()


def label_of(secret: bytes, level: int, number: int) -> bytes:
    """Return the label under `secret` (32 bytes) for a day (`level` DAY) or a half-year (`level` PERIOD)."""
    return hmac.digest(secret, _LABEL_PREFIX + bytes([level]) + number.to_bytes(4, "big"), "sha256")


def labels_of(secrets: Sequence[bytes], level: int, number: int) -> list[bytes]:
    """Return the label of each secret, as `label_of` does, for millions of them: HMAC written out is twice as fast."""
    message = _LABEL_PREFIX + bytes([level]) + number.to_bytes(4, "big")
    inner_end, outer_middle = b"\x36" * 32 + message, b"\x5c" * 32
    return [
        sha256(secret.translate(_OUTER) + outer_middle + sha256(secret.translate(_INNER) + inner_end).digest()).digest()
        for secret in secrets
    ]


def challenge(modulus: int, at: int) -> int:
    """Return the number whose e-th root number `at` (0 … 8) of a permutation certificate is."""
    seed = _PERMUTATION_PREFIX + modulus.to_bytes(SIGNATURE_SIZE, "big") + bytes([at])
    blocks = range((_MASK_SIZE + 31) // 32)
    mask = b"".join(sha256(seed + block.to_bytes(4, "big")).digest() for block in blocks)
    return int.from_bytes(mask[:_MASK_SIZE], "big") % modulus


@cache
def _small_primes() -> tuple[int, ...]:
    """Return products of the primes below 2^20, some hundreds of primes each: one gcd tries them all."""
    sieve = bytearray([1]) * _SMALL_PRIMES
    sieve[:2] = b"\0\0"
    for number in range(2, 1 << 10):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, _SMALL_PRIMES, number)))
    primes = [number for number, prime in enumerate(sieve) if prime]
    return tuple(prod(primes[at : at + 512]) for at in range(0, len(primes), 512))


def _spki(key: RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
