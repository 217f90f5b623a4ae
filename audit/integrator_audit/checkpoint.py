"""Checkpoints after C2SP tlog-checkpoint: the signed size and root of a log.

- Source: https://c2sp.org/tlog-checkpoint. The ledger writes and reads three lines and no extension lines, with an
  origin that equals the key's name, because verifiers written by others expect that.
- A witness reads checkpoints of other logs too: `read_head` takes every form that the specification allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from integrator_audit.encoding import from_base64, to_base64, to_decimal
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.keytext import check_name
from integrator_audit.merkle import EMPTY_ROOT, HASH_SIZE
from integrator_audit.note import Note, NoteKey, verify_note


@dataclass(frozen=True, slots=True)
class TreeHead:
    """What any log's checkpoint says: origin, size, 32-byte root, and the extension lines, which mean nothing here."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()


def read_head(text: bytes) -> TreeHead:
    """Read a checkpoint's text of any log; raise `Invalid` when it is malformed."""
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError as error:
        raise Invalid("checkpoint", "a checkpoint is valid UTF-8") from error
    # SPEC tlog-checkpoint: "The note text is a sequence of at least three non-empty lines, separated by newlines"
    # SPEC tlog-checkpoint: "Extension lines, if any, MUST be non-empty."
    if len(lines) < 4 or lines.pop() or not all(lines):
        raise Invalid("checkpoint", "a checkpoint has at least three lines, each with something in it")
    # SPEC tlog-checkpoint: "The origin MUST be non-empty"
    # SPEC tlog-checkpoint: "clients MUST NOT assume that the origin is following this format or that the URL
    # corresponds to a reachable endpoint."
    # SPEC tlog-checkpoint: "the ASCII decimal representation of the number of leaves in the tree, with no leading
    # zeroes (unless the tree is empty, in which case the tree size is `0`)."
    size = to_decimal(lines[1], what="the checkpoint's size")
    root = from_base64(lines[2], what="the checkpoint's root")
    if len(root) != HASH_SIZE:
        raise Invalid("checkpoint", f"a checkpoint's root has {HASH_SIZE} bytes")
    return TreeHead(lines[0], size, root, tuple(lines[3:]))


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
        head = read_head(text)
        if head.extensions:
            raise Invalid("checkpoint", "a checkpoint of this ledger has exactly three lines")
        if head.size == 0 and head.root != EMPTY_ROOT:
            raise Invalid("checkpoint", "the root of an empty log is the hash of nothing")
        return cls(check_name(head.origin), head.size, head.root)

    def sign(self, signer: LogSigner) -> bytes:
        """Return the signed note; the caller releases it only when what it says is durable."""
        if signer.name != self.origin:
            raise Invalid("checkpoint", "a checkpoint is signed by the key that has the log's name")
        return signer.sign_for(self.text, self.size)


class LogKeys(Protocol):
    """The keys of one log. A `Verifier` is one; `witnessing.keys.KeyPolicy` says which key signs from which size on.

    A log that others keep may have an ML-DSA-44 key: `witnessing.cosignature.read_log_key` reads either.
    """

    @property
    def name(self) -> str:
        """Return the log's origin."""
        ...

    def for_size(self, size: int) -> Sequence[NoteKey]:
        """Return the keys that may sign a checkpoint of this size; raise `Tampered` when the log had ended before."""
        ...


class LogSigner(Protocol):
    """The secret keys of one log. A `Signer` is one; `witnessing.keys.LogSigners` changes keys at agreed sizes."""

    @property
    def name(self) -> str:
        """Return the log's origin."""
        ...

    @property
    def vkey(self) -> str:
        """Return the text of the public key that names the log for as long as it lives."""
        ...

    @property
    def verifier(self) -> LogKeys:
        """Return the public keys that open what is signed here."""
        ...

    def sign_for(self, text: bytes, size: int) -> bytes:
        """Return the signed note over the text of a checkpoint of this size."""
        ...


def open_checkpoint(note: bytes, keys: LogKeys) -> Checkpoint:
    """Return the checkpoint that a key of the log signed.

    Raises `Invalid` for a malformed note, `Tampered` when the signature is wrong or the checkpoint is another log's.
    """
    # The size that is read before the signature is checked only says which keys to try.
    # SPEC tlog-checkpoint: "According to the note specification, clients MUST ignore unknown signatures."
    checkpoint = Checkpoint.parse(verify_note(note, keys.for_size(read_unverified(note).size)))
    if checkpoint.origin != keys.name:
        raise Tampered("checkpoint-origin", f"the checkpoint is of {checkpoint.origin}, the key of {keys.name}")
    return checkpoint


def read_unverified(note: bytes) -> Checkpoint:
    """Return what a note says without checking who said it."""
    return Checkpoint.parse(Note.parse(note).unverified_text)
