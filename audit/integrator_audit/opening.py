"""Openings: some parts of one entry with their salts, the hashes of the others, and the proof that the log holds it.

An opening is a JSON object, all bytes in base64:

    {"origin": …, "index": …, "type": …, "A": {"salt": …, "bytes": …}, …, "hD": …, "hP": …, "proof": …}

- For each letter of A, D, S, P there is either the part or its hash. `proof` is a `tlog-proof@v1` text without extra.
  `documents/opening.v1.json` is the schema; files are read by `openingfile`, never by `json.loads`, which lets a key
  stand twice; `audience` says who may be shown which parts.
- Verification recomputes the leaf from salts and bytes; what is believed is only what `verify_opening` returns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from integrator_audit.checkpoint import LogKeys
from integrator_audit.encoding import from_base64
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.merkle import HASH_SIZE, leaf_hash
from integrator_audit.parts import (
    INSTITUTION_ENTRY,
    LETTERS,
    SALT_SIZE,
    SUBJECT_ENTRY,
    commitment,
    leaf_entry,
    part_hash,
    read_part,
)
from integrator_audit.receipt import Receipt


@dataclass(frozen=True, slots=True)
class VerifiedOpening:
    """What an opening proves: the entry at `index` of the log of `size` entries says `parts`.

    `parts` maps the letters that were opened to what they say; an empty part says `{}`. `root` (32 bytes) is that of
    the log at `size`; `checkpoint` is the note that says so, as given, with whatever cosignatures it carries.
    """

    origin: str
    index: int
    size: int
    type: int
    parts: dict[str, dict[str, object]]
    root: bytes
    checkpoint: bytes


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What an opening says, not believed: that entry `index` is the 33 bytes `leaf`, made of what was opened.

    `parts` are what the opened letters say, `stored` their bytes. `receipt` has the proof and the checkpoint.
    """

    origin: str
    index: int
    type: int
    parts: dict[str, dict[str, object]]
    stored: dict[str, bytes]
    leaf: bytes
    receipt: Receipt


def verify_opening(opening: Mapping[str, object], keys: LogKeys) -> VerifiedOpening:
    """Check an opening against the log's keys (a `Verifier`, or what says which key signs when); return what it proves.

    Raises `Tampered` naming what failed: `opening-malformed` (not an opening at all), `opening-part` (a part that is
    not in its one form), `opening-origin`, `opening-checkpoint` (the signature), `opening-index`, `opening-commitment`
    (parts, hashes and proof do not belong together).
    """
    said = recompute(opening)
    if said.origin != keys.name:
        # The name that it gives itself is anybody's text: it is not repeated to people.
        raise Tampered("opening-origin", f"the opening says to be of another log than {keys.name}")
    try:
        checkpoint = said.receipt.verify(leaf_hash(said.leaf), keys)
    except Invalid as error:
        raise Tampered("opening-malformed", f"the opening cannot be believed: {error.message}") from error
    except Tampered as error:
        if error.code == "inclusion-proof":
            message = (
                f"entry {said.index} of {said.origin} is not what the opening says: its parts, hashes or proof were "
                f"changed ({error.message})"
            )
            raise Tampered("opening-commitment", message) from error
        raise Tampered("opening-checkpoint", f"the checkpoint in the opening does not hold: {error.message}") from error
    size, root, note = checkpoint.size, checkpoint.root, said.receipt.checkpoint
    return VerifiedOpening(said.origin, said.index, size, said.type, said.parts, root, note)


def recompute(opening: Mapping[str, object]) -> Recomputed:
    """Return what an opening says and the leaf that would have to stand in the log for it; believe nothing of it yet.

    Raises `Tampered`: `opening-malformed`, `opening-part`, `opening-index`.
    """
    try:
        return _recompute(opening)
    except Invalid as error:
        code = "opening-part" if error.code == "part" else "opening-malformed"
        raise Tampered(code, f"the opening cannot be believed: {error.message}") from error


def _recompute(opening: Mapping[str, object]) -> Recomputed:
    origin, index, entry_type = opening.get("origin"), opening.get("index"), opening.get("type")
    if type(origin) is not str or type(index) is not int or type(entry_type) is not int:
        raise Invalid("opening", "an opening says its origin, index and type")
    if entry_type not in (SUBJECT_ENTRY, INSTITUTION_ENTRY):
        raise Invalid("opening", "the entries that open are of type 1 (about a person) or 2 (of the institution)")
    expected = {"origin", "index", "type", "proof"}
    hashes: list[bytes] = []
    parts: dict[str, dict[str, object]] = {}
    stored: dict[str, bytes] = {}
    for letter in LETTERS:
        opened, closed = opening.get(letter), opening.get(f"h{letter}")
        if (opened is None) == (closed is None):
            raise Invalid("opening", f"an opening has either part {letter} or its hash")
        if opened is None:
            expected.add(f"h{letter}")
            hashes.append(_bytes(closed, f"h{letter}", size=HASH_SIZE))
            continue
        expected.add(letter)
        salt, data = _part(opened, letter)
        hashes.append(part_hash(letter, salt, data))
        parts[letter], stored[letter] = read_part(data), data
    if set(opening) != expected:
        raise Invalid("opening", "an opening has no other keys than those of its parts, hashes and proof")
    receipt = Receipt.parse(_bytes(opening.get("proof"), "proof"))
    if receipt.extra:
        raise Invalid("opening", "the proof of an opening has no extra line")
    if receipt.index != index:
        raise Tampered("opening-index", f"the opening is for entry {index}, its proof for entry {receipt.index}")
    leaf = leaf_entry(entry_type, commitment(origin, entry_type, b"".join(hashes)))
    return Recomputed(origin, index, entry_type, parts, stored, leaf, receipt)


def _part(value: object, letter: str) -> tuple[bytes, bytes]:
    if not isinstance(value, Mapping):
        raise Invalid("opening", f"part {letter} is an object with salt and bytes")
    members = cast(Mapping[str, object], value)
    if set(members) != {"salt", "bytes"}:
        raise Invalid("opening", f"part {letter} has exactly a salt and bytes")
    return _bytes(members["salt"], f"{letter}.salt", size=SALT_SIZE), _bytes(members["bytes"], f"{letter}.bytes")


def _bytes(value: object, where: str, *, size: int | None = None) -> bytes:
    if not isinstance(value, str):
        raise Invalid("opening", f"{where} is missing or not a text")
    data = from_base64(value, what=where)
    if size is not None and len(data) != size:
        raise Invalid("opening", f"{where} has {size} bytes")
    return data
