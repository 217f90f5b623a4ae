"""Label keys for the tests, made once in a run: RSA keys of 3,072 bits take a second each."""

from __future__ import annotations

from functools import cache
from hashlib import shake_256
from math import gcd, prod

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from integrator_audit.completeness.labels import EXPONENT, SIGNATURE_SIZE, FileUniqueSigner, challenge


@cache
def _made(number: int) -> tuple[FileUniqueSigner, tuple[bytes, ...]]:
    assert number >= 0
    signer = FileUniqueSigner.generate()
    return signer, signer.certificate()


def label_signer(number: int = 0) -> FileUniqueSigner:
    """Return the label key number `number`, the same in one run of the tests."""
    return _made(number)[0]


def certificate(number: int = 0) -> tuple[bytes, ...]:
    """Return the permutation certificate of label key number `number`."""
    return _made(number)[1]


def spki_of(modulus: int, exponent: int = EXPONENT) -> bytes:
    """Return a public key in DER, whatever its numbers."""
    return (
        RSAPublicNumbers(exponent, modulus).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )


def prime_above(start: int, *, step: int) -> int:
    """Return the first (probable) prime among start + 1, start + 1 + step, … where step divides start."""
    assert start % step == 0
    small = prod(number for number in range(2, 4096) if all(number % low for low in range(2, 64) if low < number))
    candidate = start + 1
    while gcd(candidate, small) != 1 or not _probably_prime(candidate):
        candidate += step
    return candidate


def _probably_prime(number: int) -> bool:
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7):
        value = pow(base, odd, number)
        if value in (1, number - 1):
            continue
        if not any((value := value * value % number) == number - 1 for _ in range(twos - 1)):
            return False
    return True


class TwoFacedKey:
    """A label key with 65537 | p − 1: where a number has a root at all, it has 65,537 of them."""

    def __init__(self) -> None:
        first = int.from_bytes(shake_256(b"p").digest(192), "big") | 3 << 1534
        step = 2 * EXPONENT
        self.p = prime_above(first - first % step, step=step)
        second = int.from_bytes(shake_256(b"q").digest(192), "big") | 3 << 1534
        self.q = prime_above(second - second % 2, step=2)
        while (self.q - 1) % EXPONENT == 0:
            self.q = prime_above(self.q - 1 + 2, step=2)
        self.modulus = self.p * self.q
        self.spki = spki_of(self.modulus)

    def other_root(self, root: int) -> int:
        """Return another number with the same e-th power."""
        base = 2
        while (unity := pow(base, (self.p - 1) // EXPONENT, self.p)) == 1:
            base += 1
        # Chinese remainder: a root of unity modulo p, and 1 modulo q.
        factor = (unity - 1) * pow(self.q, -1, self.p) % self.p * self.q + 1
        return root * factor % self.modulus

    def best_certificate(self) -> tuple[bytes, ...]:
        """Return what its owner can do at best: roots modulo q, and modulo p as if e were invertible."""
        roots: list[bytes] = []
        for at in range(9):
            value = challenge(self.modulus, at)
            cofactor = (self.p - 1) // EXPONENT
            modulo_p = pow(value, pow(EXPONENT, -1, cofactor), self.p)
            modulo_q = pow(value, pow(EXPONENT, -1, self.q - 1), self.q)
            root = ((modulo_p - modulo_q) * pow(self.q, -1, self.p) % self.p) * self.q + modulo_q
            roots.append(root.to_bytes(SIGNATURE_SIZE, "big"))
        return tuple(roots)


@cache
def two_faced_key() -> TwoFacedKey:
    """Return the same such key in one run of the tests."""
    return TwoFacedKey()
