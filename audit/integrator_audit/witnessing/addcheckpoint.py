"""The texts of C2SP tlog-witness: the request `add-checkpoint` and its answers, for the client and for the server.

- Source: https://c2sp.org/tlog-witness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from integrator_audit.checkpoint import TreeHead, read_head
from integrator_audit.encoding import from_base64, to_base64, to_decimal
from integrator_audit.errors import Invalid
from integrator_audit.merkle import HASH_SIZE
from integrator_audit.note import MAX_NOTE, Note, Signature

MAX_REQUEST = 10 * 1024
"""Bytes of a request that we send: what well-known witnesses take."""

MAX_PROOF = 63
# A post-quantum signature has nearly 5 kB (signed-note reminds of that), and a note has sixteen signatures.
MAX_TAKEN = MAX_NOTE + 64 * (MAX_PROOF + 1)
"""Bytes of a request that a witness here takes: any note that is read at all, and the longest proof before it."""

SIZE_TYPE = "text/x.tlog.size"
_OLD = "old "


@dataclass(frozen=True, slots=True)
class Answer:
    """What a witness answers: HTTP status, `Content-Type`, body."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request: the size that the witness is thought to know, a consistency proof from it, and the signed note."""

    old_size: int
    proof: tuple[bytes, ...]
    note: bytes

    @property
    def body(self) -> bytes:
        """Return the request's body; raise `Invalid` when a witness would not take it."""
        # SPEC tlog-witness: "The client MUST NOT send more than 63 consistency proof lines."
        if len(self.proof) > MAX_PROOF:
            raise Invalid("add-checkpoint", f"a consistency proof has at most {MAX_PROOF} hashes")
        # SPEC tlog-witness: "The request body MUST be a sequence of - an old size line, - zero or more consistency
        # proof lines, - and an empty line, - followed by a [checkpoint][]."
        # SPEC tlog-witness: "Each line MUST terminate in a newline character (U+000A)."
        lines = [f"{_OLD}{self.old_size}", *map(to_base64, self.proof), "", ""]
        body = "\n".join(lines).encode() + self.note
        if len(body) > MAX_REQUEST:
            raise Invalid("add-checkpoint", f"a request to a witness has at most {MAX_REQUEST} bytes")
        return body

    @classmethod
    def parse(cls, body: bytes) -> AddCheckpoint:
        """Read a request's body; raise `Invalid` when it is malformed. Nothing of the note is checked."""
        head, blank, note = body.partition(b"\n\n")
        try:
            old, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise Invalid("add-checkpoint", "the lines before the checkpoint are ASCII") from error
        # SPEC tlog-witness: "The old size line MUST consist of the string `old`, a single space (0x20), and the tree
        # size of the previous checkpoint encoded as an ASCII decimal with no leading zeroes (unless the size is zero,
        # in which case the encoding MUST be `0`)."
        if not blank or not old.startswith(_OLD):
            raise Invalid("add-checkpoint", "a request is a line with the old size, a proof, an empty line and a note")
        size = to_decimal(old.removeprefix(_OLD), what="the old size")
        # SPEC tlog-witness: "Each consistency proof line MUST encode a single hash in base64."
        proof = tuple(from_base64(line, what="a line of the consistency proof") for line in lines)
        if len(proof) > MAX_PROOF or any(len(item) != HASH_SIZE for item in proof):
            raise Invalid("add-checkpoint", f"a consistency proof has at most {MAX_PROOF} hashes of {HASH_SIZE} bytes")
        return cls(size, proof, note)

    def unverified(self) -> tuple[Note, TreeHead]:
        """Return what the note says without checking who said it; raise `Invalid` when it is malformed."""
        note = Note.parse(self.note)
        return note, read_head(note.unverified_text)


def own_signatures(note: bytes) -> bytes:
    """Return a note with the signatures of its own log only: cosignatures are not forwarded to other witnesses."""
    parsed = Note.parse(note)
    origin = read_head(parsed.unverified_text).origin
    lines = [signature.line for signature in parsed.signatures if signature.name == origin]
    return parsed.unverified_text + b"\n" + b"".join(lines)


def read_size(answer: bytes) -> int:
    """Return the size that a witness names with 409; raise `Invalid` when it names none."""
    # SPEC tlog-witness: "The response body MUST consist of the tree size of the latest cosigned checkpoint in decimal,
    # followed by a newline (U+000A)."
    try:
        text = answer.decode("ascii")
    except UnicodeDecodeError as error:
        raise Invalid("witness-size", "the witness names no size") from error
    if not text.endswith("\n"):
        raise Invalid("witness-size", "the witness names no size")
    return to_decimal(text[:-1], what="the size that the witness names")


def read_signatures(answer: bytes) -> list[Signature]:
    """Return the signature lines of an answer; whatever else it says is ignored."""
    found: list[Signature] = []
    for line in answer.decode(errors="replace").split("\n"):
        try:
            found.append(Signature.parse(line))
        except Invalid:
            continue
    return found


def format_signatures(signatures: Sequence[Signature]) -> bytes:
    """Return the answer with these cosignatures.

    SPEC tlog-witness: "The response body MUST be a sequence of one or more [note][] signature lines, each starting with
    the `—` character (U+2014) and ending with a newline character (U+000A)."
    """
    return b"".join(signature.line for signature in signatures)
