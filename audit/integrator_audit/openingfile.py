"""Openings as files: what is read from one, and the two forms in which one is written.

- `.json`: the opening itself (`documents/opening.v1.json`).
- `.tlog-proof` (https://c2sp.org/tlog-proof): the proof, whose `extra` line holds the opening without its proof, as the
  one compact form of it. Not every opening fits: that line stays under 64 KiB, because some readers scan by line.
- Reading believes nothing: what comes back is for `verify_opening`, which recomputes the entry from it.
- A receipt is an opening whose checkpoint carries the cosignatures of a quorum.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from integrator_audit.encoding import from_base64, to_base64
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.parts import LETTERS
from integrator_audit.receipt import HEADER, Receipt
from integrator_audit.strictjson import read_object

MAX_OPENING: Final = 1 << 20
"""Bytes: four parts of 64 KiB and a note of 128 KiB in base64 stay below."""

_HEADER_LINE: Final = HEADER.encode() + b"\n"
_ORDER: Final = ("origin", "index", "type", *(name for letter in LETTERS for name in (letter, f"h{letter}")))


def read_opening(data: bytes) -> dict[str, object]:
    """Return the opening in a file of either form, unverified.

    Raises `Tampered` (`opening-malformed`) for what is no opening in its form; its members are looked at by
    `verify_opening`.
    """
    try:
        if data.startswith(_HEADER_LINE):
            return _read_proof(data)
        return read_object(data, what="the opening", limit=MAX_OPENING)
    except Invalid as error:
        raise Tampered("opening-malformed", f"the opening cannot be believed: {error.message}") from error


def opening_json(opening: Mapping[str, object]) -> bytes:
    """Return the file of an opening as JSON: one line, its keys in the order of the format."""
    return _compact({**_without_proof(opening), "proof": opening["proof"]}) + b"\n"


def opening_proof(opening: Mapping[str, object]) -> bytes:
    """Return the file of an opening as `tlog-proof`; raise `Invalid` (`opening-too-large`) when it does not fit."""
    receipt = Receipt.parse(from_base64(str(opening["proof"]), what="the proof"))
    extra = _compact(_without_proof(opening))
    try:
        return Receipt(receipt.index, receipt.hashes, receipt.checkpoint, extra).text
    except Invalid as error:
        message = "the opening is too large for the extra line of a tlog-proof: write it as JSON"
        raise Invalid("opening-too-large", message) from error


def _read_proof(data: bytes) -> dict[str, object]:
    if len(data) > MAX_OPENING:
        raise Invalid("opening", f"the opening has at most {MAX_OPENING} bytes")
    receipt = Receipt.parse(data)
    if not receipt.extra:
        raise Invalid("opening", "the tlog-proof has no extra line with the opening: alone it proves nothing")
    members = read_object(receipt.extra, what="the extra line", limit=MAX_OPENING)
    # The line is not authenticated. One form for one opening leaves no room to say something beside it.
    if "proof" in members or _compact(_without_proof(members)) != receipt.extra:
        raise Invalid("opening", "the extra line of the tlog-proof is not the opening in its one form")
    alone = Receipt(receipt.index, receipt.hashes, receipt.checkpoint).text
    return members | {"proof": to_base64(alone)}


def _without_proof(opening: Mapping[str, object]) -> dict[str, object]:
    return {name: opening[name] for name in _ORDER if name in opening}


def _compact(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode()
