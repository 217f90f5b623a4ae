"""A label key that everybody knows: it signs fictional numbers in the vectors, and nothing else ever.

Its primes were searched once, upwards from a name; to search them again takes seconds in each run.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateNumbers, RSAPublicNumbers

from integrator_audit.completeness.labels import (
    CERTIFICATE_ROOTS,
    EXPONENT,
    SIGNATURE_SIZE,
    FileUniqueSigner,
    challenge,
)

P: Final = int(
    "cd24df9bdb8dd18668481e1eaa143acd19f455c1ef7531b49aa76c26ba7c1ae3f8554700766a793acd6026ea1aa71976"
    "b60ef4363b18cc6e853cf40c3a84df12a6ad22729b27fe80a1ba3209e78e84a408fcd63b5fa183bd92677cf957a24dfd"
    "055fec77adc04053bed797aede8f4a52a27ab65acd75b25c6cef9bec27f0611427906d00f996f7b901cddc77ae7444dd"
    "fc2d47d5eacbdc9a7ce37efb84f5fe5fbe82a5d3d44b3dcd2b0481971cfe576e1dc3f485e9cd78a64bef1ec3e1449383",
    16,
)

Q: Final = int(
    "ee84c481d210e6df731793c9bdcfb37381bc2922d5115df3686eaaa728493235ef683a4e33641ea2205977dd9250c4dd"
    "3ddc8aa3d06cc86904e27e24a8c14f3e43f4920de50db56a7d0208f1ba1fd339be0fb77c4bb58a6e78f0dbc56847a1c7"
    "eb72935e145d11050128978cafaa35dfabcb5b281aad1a3e876263dd6cc204c26c73d0b6f9fb4459e0c08d4fc73fb034"
    "58be190c0eaded1d0f2141e6b2e41ce1ba979d08917556a3a3045d37f3b93175211b781177a9da772628115121a68ca9",
    16,
)
_D_P: Final = pow(EXPONENT, -1, P - 1)
_D_Q: Final = pow(EXPONENT, -1, Q - 1)
_Q_INVERSE: Final = pow(Q, -1, P)


@cache
def label_key() -> FileUniqueSigner:
    """Return the key as the signing service would hold it."""
    d = pow(EXPONENT, -1, (P - 1) * (Q - 1))
    return FileUniqueSigner(
        RSAPrivateNumbers(P, Q, d, _D_P, _D_Q, _Q_INVERSE, RSAPublicNumbers(EXPONENT, P * Q)).private_key()
    )


@cache
def certificate() -> tuple[bytes, ...]:
    """Return the permutation certificate, each root made of its remainders: four times as fast as `certificate` is."""
    return tuple(_root(challenge(P * Q, at)).to_bytes(SIGNATURE_SIZE, "big") for at in range(CERTIFICATE_ROOTS))


def _root(value: int) -> int:
    modulo_p, modulo_q = pow(value, _D_P, P), pow(value, _D_Q, Q)
    return (modulo_p - modulo_q) * _Q_INVERSE % P * Q + modulo_q
