"""Makes people's label keys: the one component that knows numbers and the key of a half-year, and no entries.

- It signs a number only for who shows it sealed beside the pseudonym of that same number, or, at its other door, for
  the interface that a person has logged in to. So a ledger that is taken cannot go through all numbers.
- The key of a half-year is made when it is first needed, in that half-year or the one before; it never changes. An
  older half-year has the key that it had, or none any more.
- A key that was destroyed is let go: at the next question, and within a minute in any case.
- Nothing that is asked or answered is logged.

    secrets   label-identities              opens the sealed numbers
              pseudonym-ledger              gives the pseudonym of a number
              label-key-<yyyy>h<1|2>        the signing key of a half-year, PEM
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from integrator.domain.errors import Invalid, Refused
from integrator.domain.identifiers import SubjectRef
from integrator.domain.identities import Identities
from integrator.domain.pseudonyms import Pseudonyms
from integrator.recording.failures import translated
from integrator.recording.logs import Clock
from integrator_audit.completeness.labels import FileUniqueSigner, signed_input
from integrator_audit.halfyear import day_of, period_name, period_of


class Secrets(Protocol):
    """Where the keys of half-years are kept."""

    def get(self, name: str) -> bytes: ...

    def create(self, name: str, make: Callable[[], bytes]) -> bytes: ...


class LabelKeys:
    """Signs numbers. Safe to share between threads."""

    def __init__(self, secrets: Secrets, *, identities: Identities, ledger_key: bytes, clock: Clock) -> None:
        """`ledger_key` is the ledger's pseudonym key."""
        self._secrets = secrets
        self._identities = identities
        self._pseudonyms = Pseudonyms(ledger_key, "ledger")
        self._clock = clock
        self._lock = threading.Lock()
        self._signers: dict[int, FileUniqueSigner] = {}
        self._certificates: dict[int, tuple[bytes, ...]] = {}

    def spki(self, period: int) -> bytes:
        """Return the key of a half-year, SubjectPublicKeyInfo in DER. Raises `Refused` (`label-period`)."""
        return self._signer(period).spki

    def certificate(self, period: int) -> tuple[bytes, ...]:
        """Return the permutation certificate of that key. Raises as `spki` does."""
        signer = self._signer(period)
        with self._lock:
            found = self._certificates.get(period)
            if found is None:
                found = self._certificates[period] = signer.certificate()
            return found

    def label_keys(self, period: int, people: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """Return the signature for each (pseudonym, sealed number), in their order.

        Raises `Refused` (`label-identity`) when a number does not open, or is not the pseudonym's.
        """
        signer = self._signer(period)
        return [signer.sign(signed_input(period, self._number(*one).canonical)) for one in people]

    def person(self, period: int, number: SubjectRef) -> bytes:
        """Return the signature for a person who has logged in."""
        return self._signer(period).sign(signed_input(period, number.canonical))

    def let_go(self) -> None:
        """Forget the keys that were destroyed since they were read."""
        with self._lock:
            for period in list(self._signers):
                try:
                    self._secrets.get(_name(period))
                except Refused:
                    del self._signers[period]
                    self._certificates.pop(period, None)

    def _number(self, pseudonym: bytes, sealed: bytes) -> SubjectRef:
        try:
            number = self._identities.open(sealed, pseudonym)
        except Invalid as error:
            raise Refused("label-identity", error.message) from None
        if not hmac.compare_digest(self._pseudonyms.of(number), pseudonym):
            raise Refused("label-identity", "A sealed number is not that of the pseudonym beside it.")
        return number

    def _signer(self, period: int) -> FileUniqueSigner:
        self.let_go()
        with self._lock:
            found = self._signers.get(period)
            if found is None:
                found = self._signers[period] = self._find(period)
            return found

    def _find(self, period: int) -> FileUniqueSigner:
        now = period_of(day_of(self._clock()))
        if not 0 <= period <= now + 1:
            raise Refused("label-period", "There is no label key for a half-year that is far ahead.")
        with translated():
            if period < now:
                return FileUniqueSigner.read(self._secrets.get(_name(period)))
            return FileUniqueSigner.read(self._secrets.create(_name(period), lambda: FileUniqueSigner.generate().pem))


def _name(period: int) -> str:
    return f"label-key-{period_name(period)}"
