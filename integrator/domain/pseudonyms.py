"""Turns people into pseudonyms: HMAC-SHA256(key, label ‖ 0x00 ‖ "scheme:value"), 32 bytes.

Three kinds of key, never shared: the directory's, the ledger's, and one per agency and purpose (pairwise).
There is no rotation in place: another key is another version, or another generation of a topic.
"""

from __future__ import annotations

import base64
import hmac
from typing import Literal

from integrator.domain.identifiers import Pseudonym, SubjectRef

Label = Literal["directory", "ledger", "pairwise"]


def pseudonym(key: bytes, label: Label, person: SubjectRef) -> Pseudonym:
    """Return the 32-byte pseudonym of `person` under `key`."""
    message = b"%b\x00%b" % (label.encode(), person.canonical.encode())
    return Pseudonym(hmac.digest(key, message, "sha256"))


class Pseudonyms:
    """`pseudonym` under one key and label, which are prepared once: for those who need many."""

    __slots__ = ("_start",)

    def __init__(self, key: bytes, label: Label) -> None:
        self._start = hmac.new(key, label.encode() + b"\x00", "sha256")

    def of(self, person: SubjectRef) -> Pseudonym:
        """Return the 32-byte pseudonym of `person`."""
        mac = self._start.copy()
        mac.update(person.canonical.encode())
        return Pseudonym(mac.digest())

    def key_of(self, person: SubjectRef) -> bytes:
        """Return what `pairwise_key` does, if the label is `pairwise`."""
        return _key(self.of(person))


def pairwise_key(key: bytes, person: SubjectRef) -> bytes:
    """Return the key of a delivered record: the pairwise pseudonym as 43 characters of base64url, ASCII."""
    return _key(pseudonym(key, "pairwise", person))


def _key(pairwise: Pseudonym) -> bytes:
    return base64.urlsafe_b64encode(pairwise)[:43]


def pairwise_event_id(key: bytes, source: str, event_id: str) -> str:
    """Return the id under which one agency, for one purpose, knows the event: a UUIDv8 (RFC 9562 §5.8).

    Its bytes are the first 16 of HMAC-SHA256(key, "event" ‖ 0x00 ‖ source ‖ 0x00 ‖ id).
    """
    digest = hmac.digest(key, b"event\x00%b\x00%b" % (source.encode(), event_id.encode()), "sha256")
    text = digest[:16].hex()
    variant = "89ab"[digest[8] >> 4 & 3]
    return f"{text[:8]}-{text[8:12]}-8{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"
