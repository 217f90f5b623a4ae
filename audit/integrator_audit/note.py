"""Signed notes after C2SP signed-note: text, a blank line, signature lines; Ed25519 keys that sign and verify them.

- Source: https://c2sp.org/signed-note.
- The text of a note is not to be believed before `verify_note` returned.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from integrator_audit.encoding import from_base64, to_base64
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.keytext import (
    KEY_ID_SIZE,
    KEY_SIZE,
    check_name,
    key_id,
    new_seed,
    public_half,
    public_text,
    read_public,
    read_secret,
    secret_text,
)

ED25519 = 0x01
# SPEC signed-note: "Verifiers SHOULD apply a maximum limit to the number of signatures in a note […], but MUST accept
# at least up to 16 signatures."
MAX_SIGNATURES = 16
MAX_NOTE = 128 * 1024

_SIGNATURE_PREFIX = "\u2014 "


class NoteKey(Protocol):
    """A public key under which notes are believed: a `Verifier`, or `witnessing.cosignature.CosignerKey`."""

    @property
    def name(self) -> str:
        """Return the key's name."""
        ...

    @property
    def key_id(self) -> bytes:
        """Return the key's four-byte identifier."""
        ...

    @property
    def vkey(self) -> str:
        """Return the text of the key."""
        ...

    def accepts(self, text: bytes, signature: bytes) -> bool:
        """Say whether `signature`, without the key's identifier, is this key's over `text`."""
        ...


@dataclass(frozen=True, slots=True)
class Verifier:
    """The public half of an Ed25519 note key."""

    name: str
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """Return the key's four-byte identifier."""
        return key_id(self.name, ED25519, self.public_key)

    @property
    def vkey(self) -> str:
        """Return the text `name+hex(key id)+base64(0x01 ‖ public key)`."""
        return public_text(self.name, ED25519, self.public_key)

    @classmethod
    def from_text(cls, vkey: str) -> Verifier:
        """Read a verifier key; raise `Invalid` when it is not a consistent Ed25519 vkey."""
        name, _, public_key = read_public(vkey, {ED25519: KEY_SIZE}, what="the verifier key")
        return cls(name, public_key)

    def for_size(self, size: int) -> tuple[Verifier, ...]:
        """Return the keys that sign checkpoints of this size: this one, for ever (see `checkpoint.LogKeys`)."""
        del size
        return (self,)

    def accepts(self, text: bytes, signature: bytes) -> bool:
        """Say whether `signature` (64 bytes) is this key's over `text`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, text)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signer:
    """The private half of an Ed25519 note key. Its `text` is a secret; its `repr` is not."""

    name: str
    seed: bytes = field(repr=False)

    @classmethod
    def generate(cls, name: str) -> Signer:
        """Make a fresh key for a log of this name."""
        return cls(check_name(name), new_seed())

    @classmethod
    def from_text(cls, text: str) -> Signer:
        """Read `PRIVATE+KEY+name+hex(key id)+base64(0x01 ‖ seed)`; raise `Invalid` when it is anything else."""
        return cls(*read_secret(text, ED25519, what="the signing key"))

    @property
    def text(self) -> str:
        """Return the secret text of the key."""
        return secret_text(self.name, ED25519, self.seed)

    @property
    def verifier(self) -> Verifier:
        """Return the public half."""
        return Verifier(self.name, public_half(self.seed))

    @property
    def vkey(self) -> str:
        """Return the text of the public half."""
        return self.verifier.vkey

    def sign(self, text: bytes) -> bytes:
        """Return the whole note over `text`, which must end in a newline."""
        return join_note(text, [self.signature(text)])

    def sign_for(self, text: bytes, size: int) -> bytes:
        """Return the note over the text of a checkpoint of this size (see `checkpoint.LogSigner`)."""
        del size
        return self.sign(text)

    def signature(self, text: bytes) -> Signature:
        """Return this key's signature over a note's text."""
        value = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text)
        return Signature(self.name, self.verifier.key_id, value)


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line: who says to have signed, and the bytes."""

    name: str
    key_id: bytes
    value: bytes

    @property
    def line(self) -> bytes:
        """Return the line with its newline, as a note carries it."""
        return f"{_SIGNATURE_PREFIX}{self.name} {to_base64(self.key_id + self.value)}\n".encode()

    @classmethod
    def parse(cls, line: str) -> Signature:
        """Read a line without its newline; raise `Invalid` when it is malformed."""
        if not line.startswith(_SIGNATURE_PREFIX):
            raise Invalid("note", "a signature line starts with an em dash and a space")
        name, space, blob = line.removeprefix(_SIGNATURE_PREFIX).partition(" ")
        if not space:
            raise Invalid("note", "a signature line is an em dash, a key name and base64")
        value = from_base64(blob, what="a signature")
        if len(value) <= KEY_ID_SIZE:
            raise Invalid("note", "a signature has a key identifier and at least one byte")
        return cls(check_name(name), value[:KEY_ID_SIZE], value[KEY_ID_SIZE:])


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note whose signatures nobody has checked yet."""

    unverified_text: bytes
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Split a note; raise `Invalid` when it is malformed."""
        if len(data) > MAX_NOTE:
            raise Invalid("note", f"a note has at most {MAX_NOTE} bytes")
        # SPEC signed-note: "Signed notes MUST be valid UTF-8 and MUST NOT contain any ASCII control characters (those
        # below U+0020) other than newline."
        try:
            decoded = data.decode()
        except UnicodeDecodeError as error:
            raise Invalid("note", "a note is valid UTF-8") from error
        if any(character < " " and character != "\n" for character in decoded):
            raise Invalid("note", "a note has no control characters other than newline")
        # SPEC signed-note: "the text is separated from the signatures by the last empty line in the note."
        text, blank, lines = decoded.rpartition("\n\n")
        if not blank or not lines.endswith("\n"):
            raise Invalid("note", "a note is a text, an empty line and signature lines, each ending in a newline")
        signatures = tuple(Signature.parse(line) for line in lines[:-1].split("\n"))
        if len(signatures) > MAX_SIGNATURES:
            raise Invalid("note", f"a note has at most {MAX_SIGNATURES} signatures")
        return cls((text + "\n").encode(), signatures)


def verify_note(data: bytes, verifiers: Iterable[NoteKey]) -> bytes:
    """Return the text of a note that at least one of `verifiers` signed.

    Raises `Invalid` for a malformed note, `Tampered` when a known key's signature is wrong or none is there.
    """
    note = Note.parse(data)
    known = {(verifier.name, verifier.key_id): verifier for verifier in verifiers}
    verified = 0
    for signature in note.signatures:
        # SPEC signed-note: "Verifiers MUST ignore signatures from unknown keys, even if they share a name or ID (but
        # not both) with a known key."
        verifier = known.get((signature.name, signature.key_id))
        if verifier is None:
            continue
        # SPEC signed-note: "If the key name and ID match a known key, verifiers MUST verify the signature."
        if not verifier.accepts(note.unverified_text, signature.value):
            raise Tampered("note-signature", f"the signature of {signature.name} does not belong to this text")
        verified += 1
    # SPEC signed-note: "If no signature from a known key verifies successfully, clients MUST reject the note."
    if not verified:
        raise Tampered("note-signature", "the note carries no signature of a key that is trusted here")
    # SPEC signed-note: "The text MUST be ignored unless the note is signed by a trusted key and the signature has been
    # verified."
    return note.unverified_text


def join_note(text: bytes, signatures: Iterable[Signature]) -> bytes:
    """Return the note of a text and signatures; raise `Invalid` when that is none."""
    if not text.endswith(b"\n"):
        raise Invalid("note", "a note's text ends in a newline")
    note = text + b"\n" + b"".join(signature.line for signature in signatures)
    if Note.parse(note).unverified_text != text:
        raise Invalid("note", "the text would be read back as another one")
    return note
