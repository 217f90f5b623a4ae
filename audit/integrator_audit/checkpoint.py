"""Checkpoints after C2SP tlog-checkpoint: the signed size and root of a log.

- Source: https://c2sp.org/tlog-checkpoint. The ledger writes and reads three lines and no extension lines, with an
  origin that equals the key's name, because verifiers written by others expect that.
"""

from __future__ import annotations

from dataclasses import dataclass

from integrator_audit.encoding import from_base64, to_base64, to_decimal
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.merkle import EMPTY_ROOT, HASH_SIZE
from integrator_audit.note import Note, Signer, Verifier, check_name, verify_note


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's origin, its number of entries and the 32-byte root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> bytes:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n".encode()

    @classmethod
    def parse(cls, text: bytes) -> Checkpoint:
        """Read a checkpoint's text; raise `Invalid` for any other form."""
        lines = text.decode().split("\n")
        if len(lines) != 4 or lines[3]:
            raise Invalid("checkpoint", "a checkpoint of this ledger has exactly three lines")
        # SPEC tlog-checkpoint: "The origin MUST be non-empty"
        origin = check_name(lines[0])
        # SPEC tlog-checkpoint: "the ASCII decimal representation of the number of leaves in the tree, with no leading
        # zeroes (unless the tree is empty, in which case the tree size is `0`)."
        size = to_decimal(lines[1], what="the checkpoint's size")
        root = from_base64(lines[2], what="the checkpoint's root")
        if len(root) != HASH_SIZE:
            raise Invalid("checkpoint", f"a checkpoint's root has {HASH_SIZE} bytes")
        if size == 0 and root != EMPTY_ROOT:
            raise Invalid("checkpoint", "the root of an empty log is the hash of nothing")
        return cls(origin, size, root)

    def sign(self, signer: Signer) -> bytes:
        """Return the signed note; the caller releases it only when what it says is durable."""
        if signer.name != self.origin:
            raise Invalid("checkpoint", "a checkpoint is signed by the key that has the log's name")
        return signer.sign(self.text)


def open_checkpoint(note: bytes, verifier: Verifier) -> Checkpoint:
    """Return the checkpoint that `verifier` signed.

    Raises `Invalid` for a malformed note, `Tampered` when the signature is wrong or the checkpoint is another log's.
    """
    checkpoint = Checkpoint.parse(verify_note(note, [verifier]))
    if checkpoint.origin != verifier.name:
        raise Tampered("checkpoint-origin", f"the checkpoint is of {checkpoint.origin}, the key of {verifier.name}")
    return checkpoint


def read_unverified(note: bytes) -> Checkpoint:
    """Return what a note says without checking who said it."""
    return Checkpoint.parse(Note.parse(note).unverified_text)
