"""Parts of an entry: their canonical bytes, and the commitment under which each can be opened on its own.

    hX   = SHA-256("dienstenintegrator/part/v1" 0x00 ‖ u8 letter ‖ salt[32] ‖ bytes)
    C    = SHA-256("dienstenintegrator/entry/v1" 0x00 ‖ SHA-256(origin) ‖ u8 type ‖ hA ‖ hD ‖ hS ‖ hP)
    leaf = u8 type ‖ C                                                        33 bytes, what the tree holds

- A says who received what and why, D how it was delivered, S about whom, P who acted.
- A part is a UTF-8 JSON object whose first key is `schema`; a part with nothing to say is zero bytes, where its
  entry's type allows that. What is committed are the stored bytes, and they have exactly one form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, NamedTuple, NoReturn, cast

from integrator_audit.engine import KERNEL
from integrator_audit.errors import Invalid

LETTERS: Final = "ADSP"
SALT_SIZE: Final = 32
PSEUDONYM_SIZE: Final = 32
LEAF_SIZE: Final = 33
MAX_PART: Final = 0xFFFF
SUBJECT_ENTRY: Final = 0x01
INSTITUTION_ENTRY: Final = 0x02
RETENTIONS: Final = frozenset({2, 10, 20})
MAX_RECIPIENT: Final = 255
MAX_IDENTITY: Final = 1024

PART_PREFIXES: Final = {letter: b"dienstenintegrator/part/v1\0" + letter.encode() for letter in LETTERS}
_ENTRY_PREFIX: Final = b"dienstenintegrator/entry/v1\0"
_SCHEMA = re.compile(r"[a-z][a-z0-9.-]*(?:/[a-z0-9.-]+)*/v[1-9][0-9]{0,4}", re.ASCII)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_INTEGER_LIMIT = 1 << 53
_MAX_DEPTH = 32
_PART_START = b'{"schema":"'

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, check_circular=False).encode


class Entry(NamedTuple):
    """One entry to append: four parts as canonical bytes, whom it is about, and how it is kept. A tuple for speed.

    `type` 0x01 (subject shard): `subject` has 32 bytes; `p` is empty when nobody acted. `type` 0x02 (institution log):
    `subject` is None, `d` and `s` are empty.
    """

    type: int
    a: bytes
    d: bytes
    s: bytes
    p: bytes
    subject: bytes | None
    """The 32-byte pseudonym, under which the entry is found and by whose key it is encrypted."""
    recipient: str = ""
    """Under which name the recipient finds it; empty for an entry that no recipient is to find."""
    at: int = 0
    """The exact moment, in milliseconds since 1970; erased with the body."""
    retention: int = 20
    """Years after the log's half-year until it is erased, one of `RETENTIONS`."""
    listed: bool = True
    """False for withheld entries and padding, which the person does not find."""
    identity: bytes = b""
    """What the label service needs to make this person's label key, opaque here; sealed with D and S."""


def part(schema: str, members: Mapping[str, object]) -> bytes:
    """Return the canonical bytes of a part: `schema` first, then `members` in their order.

    Raises `Invalid` for what has no single form in every language: floats, None, integers of 2^53 and more, lone
    surrogates, keys made of digits, and for a schema that is not `<name>/v<N>`.
    """
    if "schema" in members:
        raise Invalid("part", "the key schema is given apart from the members")
    document = {"schema": schema, **members}
    _check(document, depth=0)
    try:
        data = _encode(document).encode()
    except UnicodeEncodeError as error:
        raise Invalid("part", "a text in a part has a surrogate without its pair") from error
    if len(data) > MAX_PART:
        raise Invalid("part", f"a part has at most {MAX_PART} bytes")
    return data


def read_part(data: bytes) -> dict[str, object]:
    """Return what a part says; raise `Invalid` unless its bytes are the one form of that.

    That refuses duplicate keys, whitespace, needless escapes, `-0`, floats and everything `part` refuses. Zero bytes
    are an empty part and say nothing.
    """
    if not data:
        return {}
    if len(data) > MAX_PART:
        raise Invalid("part", f"a part has at most {MAX_PART} bytes")
    try:
        document: object = json.loads(data.decode(), parse_float=_refuse_number, parse_constant=_refuse_number)
    except (ValueError, RecursionError) as error:
        raise Invalid("part", "a part is not a JSON object in UTF-8") from error
    if not isinstance(document, dict):
        raise Invalid("part", "a part is a JSON object")
    members = cast(dict[str, object], document)
    schema = members.pop("schema", None)
    if not isinstance(schema, str) or part(schema, members) != data:
        raise Invalid("part", "a part is not in its one form")
    return {"schema": schema, **members}


def check_entries(entries: list[Entry]) -> None:
    """Raise `Invalid` when one of the entries does not have the shape of its type; see `check_entry`."""
    if KERNEL is not None and KERNEL.are_ordinary(entries, start=_PART_START, retentions=RETENTIONS):
        return
    checked = b""
    for entry in entries:
        kind, a, d, s, p, subject, recipient, at, retention, _, identity = entry
        # The shape that nearly all have, in one expression; part A is mostly the one of an entry before.
        if not (
            kind == SUBJECT_ENTRY
            and subject is not None
            and len(subject) == PSEUDONYM_SIZE
            and not p
            and (a is checked or _is_part(a))
            and _is_part(d)
            and _is_part(s)
            and retention in RETENTIONS
            and 0 <= at < _INTEGER_LIMIT
            and len(recipient) <= MAX_RECIPIENT
            and len(identity) <= MAX_IDENTITY
        ):
            check_entry(entry)
        checked = a


def _is_part(data: bytes) -> bool:
    return data[:11] == _PART_START and data[-1] == 0x7D and len(data) <= MAX_PART


def check_entry(entry: Entry) -> None:
    """Raise `Invalid` when an entry does not have the shape of its type.

    LIMIT: the parts' JSON is looked at only at its ends: they come from `part`, parsing them again would halve the
    rate of the ledger, and `fsck` and every verifier read them in full.
    """
    if entry.type == SUBJECT_ENTRY:
        if entry.subject is None or len(entry.subject) != PSEUDONYM_SIZE:
            raise Invalid("entry-subject", f"a subject entry has a pseudonym of {PSEUDONYM_SIZE} bytes")
        if not (entry.a and entry.d and entry.s):
            raise Invalid("entry-part", "parts A, D and S of a subject entry are not empty")
    elif entry.type == INSTITUTION_ENTRY:
        if entry.subject is not None:
            raise Invalid("entry-subject", "an institution entry has no subject")
        if not entry.a or entry.d or entry.s:
            raise Invalid("entry-part", "part A of an institution entry is not empty, D and S are zero bytes")
    else:
        raise Invalid("entry-type", "entries are of type 0x01 (subject) or 0x02 (institution)")
    _check_keeping(entry)
    for data in (entry.a, entry.d, entry.s, entry.p):
        if data and not _is_part(data):
            raise Invalid("entry-part", "a part is not the canonical bytes that `part` returns")


def part_hash(letter: str, salt: bytes, data: bytes) -> bytes:
    """Return hX, the salted hash of one part."""
    return sha256(PART_PREFIXES[letter] + salt + data).digest()


def entry_prefix(origin: str, entry_type: int) -> bytes:
    """Return what precedes the four part hashes in a commitment, the same for all entries of a type in a log."""
    return _ENTRY_PREFIX + sha256(origin.encode()).digest() + bytes([entry_type])


def commitment(origin: str, entry_type: int, hashes: bytes) -> bytes:
    """Return C over hA ‖ hD ‖ hS ‖ hP (128 bytes)."""
    return sha256(entry_prefix(origin, entry_type) + hashes).digest()


def leaf_entry(entry_type: int, committed: bytes) -> bytes:
    """Return the 33 bytes that stand in the entry bundle."""
    return bytes([entry_type]) + committed


def _check_keeping(entry: Entry) -> None:
    if entry.retention not in RETENTIONS:
        raise Invalid("entry-retention", f"an entry is kept {sorted(RETENTIONS)} years")
    if not 0 <= entry.at < _INTEGER_LIMIT:
        raise Invalid("entry-time", "an entry's moment is in milliseconds since 1970")
    if len(entry.recipient) > MAX_RECIPIENT or len(entry.identity) > MAX_IDENTITY:
        message = f"a recipient's name has at most {MAX_RECIPIENT} characters, an identity {MAX_IDENTITY} bytes"
        raise Invalid("entry-names", message)
    if entry.subject is None and (entry.identity or not entry.listed):
        raise Invalid("entry-subject", "an entry without a subject has no identity and is listed")


def _check(value: object, *, depth: int) -> None:
    kind = type(value)
    if depth >= _MAX_DEPTH and kind in (list, tuple, dict):
        raise Invalid("part", f"a part is nested at most {_MAX_DEPTH} deep")
    if kind is str or kind is bool:
        pass
    elif kind is int:
        if not -_INTEGER_LIMIT < cast(int, value) < _INTEGER_LIMIT:
            raise Invalid("part", "an integer in a part is smaller than 2^53; write larger ones as text")
    elif kind is list or kind is tuple:
        for item in cast(list[object], value):
            _check(item, depth=depth + 1)
    elif kind is dict:
        members = cast(dict[object, object], value)
        for key, item in members.items():
            # JavaScript moves keys that are integers to the front, so their order would not survive a browser.
            if type(key) is not str or _DIGITS.fullmatch(key):
                raise Invalid("part", "a key in a part is a text, and not made of digits only")
            _check(item, depth=depth + 1)
    else:
        raise Invalid("part", "a part holds texts, integers, booleans, lists and objects; no floats and no null")
    if depth == 0:
        schema = cast(dict[str, object], value)["schema"]
        if type(schema) is not str or not _SCHEMA.fullmatch(schema):
            raise Invalid("part", "a part's schema is of the form name/v1")


def _refuse_number(_text: str) -> NoReturn:
    raise ValueError("a number that is not an integer")
