"""The few members of opened parts that completeness depends on; whatever else an entry says is its installation's.

    A   recipient, retention (years, counted from the end of the log's half-year), order (withheld entries only)
    D   topic, partition, lane, sequence (from 1), valueSha256 (hexadecimal), releases (release entries only), recipient
        (where A is mediated: there A names a class of recipients)
    S   subject (the pseudonym: 32 bytes in base64url without padding), keyVersion

- Somebody about whom a part says these things in another form is not believed: `Tampered`, code `part-members`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from integrator_audit.errors import Tampered
from integrator_audit.parts import PSEUDONYM_SIZE

Members = Mapping[str, object]
"""What `read_part` or `verify_opening` says about one part."""

RETENTIONS: Final = frozenset({2, 10, 20})
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Pseudonym(NamedTuple):
    """Whom an entry is about; 32 bytes, under the version of the ledger's key that made them."""

    key_version: int
    value: bytes


class DeliverySequence(NamedTuple):
    """Where deliveries are counted: each of these has numbers from 1 on without a gap."""

    topic: str
    partition: int
    lane: int


class Delivery(NamedTuple):
    """One delivery: its number in its sequence, and SHA-256 of what was delivered."""

    sequence: DeliverySequence
    number: int
    value: bytes


def subject_of(s: Members) -> Pseudonym:
    """Return whom part S is about."""
    text, version = s.get("subject"), s.get("keyVersion")
    if type(text) is not str or type(version) is not int:
        raise _malformed("S", "names a subject and the version of its key")
    try:
        value = base64.b64decode(text.encode("ascii") + b"=", altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise _malformed("S", "names the subject in base64url") from error
    if len(value) != PSEUDONYM_SIZE or base64.urlsafe_b64encode(value).rstrip(b"=").decode() != text:
        raise _malformed("S", f"names the subject by {PSEUDONYM_SIZE} bytes in base64url without padding")
    return Pseudonym(version, value)


def recipient_of(a: Members, d: Members) -> str:
    """Return who received: as part D says where A names a class only, else as A says."""
    for letter, said in (("D", d.get("recipient", a.get("recipient"))), ("A", a.get("recipient"))):
        if type(said) is not str or not said:
            raise _malformed(letter, "names a recipient")
    return str(d.get("recipient", a.get("recipient")))


def retention_of(a: Members) -> int:
    """Return for how many years after the end of the log's half-year the entry can be opened."""
    years = a.get("retention")
    if type(years) is not int or years not in RETENTIONS:
        raise _malformed("A", f"states a retention of {', '.join(map(str, sorted(RETENTIONS)))} years")
    return years


def delivery_of(d: Members) -> Delivery:
    """Return which delivery part D is about."""
    topic, value = d.get("topic"), d.get("valueSha256")
    if type(topic) is not str or type(value) is not str or not _HEX.fullmatch(value):
        raise _malformed("D", "names a topic and the SHA-256 of a value in hexadecimal")
    partition, lane, number = (_number(d, name) for name in ("partition", "lane", "sequence"))
    if number < 1:
        raise _malformed("D", "counts deliveries from 1")
    return Delivery(DeliverySequence(topic, partition, lane), number, bytes.fromhex(value))


def _number(part: Members, name: str) -> int:
    value = part.get(name)
    if type(value) is not int or value < 0:
        raise _malformed("D", f"states {name} as a number")
    return value


def _malformed(letter: str, what: str) -> Tampered:
    return Tampered("part-members", f"part {letter} of an entry about a person {what}; this one does not")
