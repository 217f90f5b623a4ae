"""Seals a person's number for the one who makes their label key, beside the pseudonym that the ledger has of them.

- The ledger's process carries what is sealed and cannot open it: it holds pseudonyms, never numbers.
- What is sealed belongs to one pseudonym: beside another one it does not open.

    sealed = nonce[12] ‖ AES-256-GCM(key, "scheme:value" filled with zero bytes to 24, additional data: the pseudonym)

LIMIT: nonces are random, so one key seals fewer than 2^32 times (NIST SP 800-38D, 8.3); a worker seals a person once
and remembers them, which at a million people a day is eleven years. Then the key needs a successor.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from integrator.domain.errors import Invalid
from integrator.domain.identifiers import SubjectRef

NONCE_SIZE = 12
_FILLED = 24
"""Bytes of a number before it is sealed, so that its length does not tell the scheme."""


class Identities:
    """Seals and opens numbers under one key of 32 bytes: the secret `label-identities`.

    `random` returns so many random bytes.
    """

    __slots__ = ("_cipher", "_random")

    def __init__(self, key: bytes, *, random: Callable[[int], bytes]) -> None:
        self._cipher = AESGCM(key)
        self._random = random

    def seal(self, person: SubjectRef, pseudonym: bytes) -> bytes:
        """Return the number of `person`, sealed for whoever also knows `pseudonym`."""
        nonce = self._random(NONCE_SIZE)
        return nonce + self._cipher.encrypt(nonce, person.canonical.encode().ljust(_FILLED, b"\0"), pseudonym)

    def open(self, sealed: bytes, pseudonym: bytes) -> SubjectRef:
        """Return whom `sealed` names. Raises `Invalid` (`identity`) when it is not of this key and pseudonym."""
        try:
            number = self._cipher.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], pseudonym)
            return SubjectRef.parse(number.rstrip(b"\0").decode())
        except (InvalidTag, ValueError, Invalid):
            raise Invalid("identity", "The sealed number does not open beside this pseudonym.") from None
