"""Signed notes after C2SP signed-note: text, a blank line, signature lines; Ed25519 keys and their texts.

- Source: https://c2sp.org/signed-note. The texts of keys (`vkey`, `PRIVATE+KEY+…`) are those of
  `golang.org/x/mod/sumdb/note`.
- The text of a note is not to be believed before `verify_note` returned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from integrator_audit.encoding import from_base64, to_base64
from integrator_audit.errors import Invalid, Tampered

ED25519 = 0x01
KEY_SIZE = 32
KEY_ID_SIZE = 4
# SPEC signed-note: "Verifiers SHOULD apply a maximum limit to the number of signatures in a note […], but MUST accept
# at least up to 16 signatures."
MAX_SIGNATURES = 16
MAX_NOTE = 128 * 1024

_FIELD = (1 << 255) - 19
_OF_SMALL_ORDER = frozenset(
    {
        *(0, 1, _FIELD - 1),
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)
"""The y coordinates of the eight points of Ed25519 under which everybody can sign."""
_SIGNATURE_PREFIX = "\u2014 "
PRIVATE_PREFIX = "PRIVATE+KEY+"


def check_name(name: str) -> str:
    """Return a key's name, or raise `Invalid`.

    SPEC signed-note: "Key names MUST be non-empty and MUST NOT contain any Unicode spaces or plus (U+002B) characters."
    """
    if not name or "+" in name or any(character.isspace() or character < " " for character in name):
        raise Invalid("key-name", "a key's name is not empty and has no spaces, control characters or plus signs")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise Invalid("key-name", "a key's name is valid Unicode") from error
    return name


def check_point(public_key: bytes) -> None:
    """Raise `Invalid` (`vkey`) for an Ed25519 key of small order, in any encoding.

    RFC 8032 lets such keys verify: a signature under one is everybody's, so two signed histories would prove nothing
    against their signer. Go and OpenSSL take them as well; signatures that are not reduced both refuse.
    """
    y = (int.from_bytes(public_key, "little") & (1 << 255) - 1) % _FIELD
    if y in _OF_SMALL_ORDER:
        raise Invalid("vkey", "the key is of small order: everybody can sign for it")


def key_id(name: str, signature_type: int, public_key: bytes) -> bytes:
    """Return the four bytes that name a key beside its name: SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4]."""
    return sha256(name.encode() + b"\n" + bytes([signature_type]) + public_key).digest()[:KEY_ID_SIZE]


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
        return f"{self.name}+{self.key_id.hex()}+{to_base64(bytes([ED25519]) + self.public_key)}"

    @classmethod
    def from_text(cls, vkey: str) -> Verifier:
        """Read a verifier key; raise `Invalid` when it is not a consistent Ed25519 vkey."""
        name, identifier, _, key = read_key(vkey, {ED25519: KEY_SIZE}, what="the verifier key")
        verifier = cls(name, key)
        if identifier != verifier.key_id.hex():
            raise Invalid("vkey", "the verifier key's identifier does not belong to its name and key")
        check_point(key)
        return verifier

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
        key = Ed25519PrivateKey.generate()
        return cls(check_name(name), key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))

    @classmethod
    def from_text(cls, text: str) -> Signer:
        """Read `PRIVATE+KEY+name+hex(key id)+base64(0x01 ‖ seed)`; raise `Invalid` when it is anything else."""
        if not text.startswith(PRIVATE_PREFIX):
            raise Invalid("signing-key", f"the signing key does not start with {PRIVATE_PREFIX}")
        name, identifier, _, seed = read_key(
            text.removeprefix(PRIVATE_PREFIX), {ED25519: KEY_SIZE}, what="the signing key"
        )
        signer = cls(name, seed)
        if identifier != signer.verifier.key_id.hex():
            raise Invalid("signing-key", "the signing key's identifier does not belong to its name and key")
        return signer

    @property
    def text(self) -> str:
        """Return the secret text of the key."""
        return f"{PRIVATE_PREFIX}{self.name}+{self.verifier.key_id.hex()}+{to_base64(bytes([ED25519]) + self.seed)}"

    @property
    def verifier(self) -> Verifier:
        """Return the public half."""
        public_key = Ed25519PrivateKey.from_private_bytes(self.seed).public_key()
        return Verifier(self.name, public_key.public_bytes(Encoding.Raw, PublicFormat.Raw))

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


def verify_note(data: bytes, verifiers: Iterable[Verifier]) -> bytes:
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


def read_key(text: str, sizes: Mapping[int, int], *, what: str) -> tuple[str, str, int, bytes]:
    """Split `name+identifier+base64(type ‖ key)`; `sizes` maps the allowed types to the bytes of their keys.

    Raises `Invalid`; the caller compares the identifier.
    """
    fields = text.split("+", 2)
    if len(fields) != 3:
        raise Invalid("vkey", f"{what} is not of the form name+identifier+base64")
    name, identifier, encoded = fields
    key = from_base64(encoded, what=what)
    if not key or sizes.get(key[0]) != len(key) - 1:
        types = " or ".join(f"0x{known:02x}" for known in sizes)
        raise Invalid("vkey", f"{what} is not a key of type {types} with the length of such keys")
    return check_name(name), identifier, key[0], key[1:]
