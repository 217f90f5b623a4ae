"""Cosignatures after C2SP tlog-cosignature: a witness states when it saw a checkpoint that extends all it saw before.

- Source: https://c2sp.org/tlog-cosignature. Made with Ed25519 (type 0x04); also verified with ML-DSA-44 (type 0x06).
- A cosignature says its own time. Time 0 says nothing about freshness and is refused; so is a time more than five
  minutes ahead of ours. How old one may be is for the policy's user to say (`witnessing.policy`).
- An Ed25519 key of a witness has a type of its own: it cannot be taken for the key of a log. A log may sign its own
  checkpoints with an ML-DSA-44 key; such a signature says who made it, so that a witness's is not the log's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from integrator_audit.checkpoint import read_head
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.keytext import (
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
from integrator_audit.note import ED25519, Note, Signature, Verifier

ED25519_COSIGNATURE = 0x04
MLDSA44_COSIGNATURE = 0x06
MAX_AHEAD = 300
"""Seconds that a witness's clock may be ahead of ours."""

_MLDSA44_KEY_SIZE = 1312
_KEY_SIZES = {ED25519_COSIGNATURE: KEY_SIZE, MLDSA44_COSIGNATURE: _MLDSA44_KEY_SIZE}
_LOG_KEY_SIZES = {ED25519: KEY_SIZE, MLDSA44_COSIGNATURE: _MLDSA44_KEY_SIZE}
_SIGNATURE_SIZES = {ED25519_COSIGNATURE: 64, MLDSA44_COSIGNATURE: 2420}
_TIME_SIZE = 8
_MAX_TIME = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class CosignerKey:
    """The public half of a witness's key: its name, signature type (0x04 or 0x06) and 32 or 1,312 bytes.

    With type 0x06 it may be the key of a log as well; then it is a `checkpoint.LogKeys`.
    """

    name: str
    type: int
    public_key: bytes

    @property
    def key_id(self) -> bytes:
        """Return the key's four-byte identifier.

        SPEC tlog-cosignature: "The key ID for Ed25519 cosignatures MUST be computed as SHA-256(<name> || "\\n" || 0x04
        || 32-byte Ed25519 cosigner public key)[:4]"
        SPEC tlog-cosignature: "The key ID for ML-DSA-44 cosignatures MUST be computed as SHA-256(<name> || "\\n" ||
        0x06 || 1312-byte ML-DSA-44 cosigner public key)[:4]"
        """
        return key_id(self.name, self.type, self.public_key)

    @property
    def vkey(self) -> str:
        """Return the text `name+hex(key id)+base64(type ‖ public key)`."""
        return public_text(self.name, self.type, self.public_key)

    @classmethod
    def from_text(cls, vkey: str) -> CosignerKey:
        """Read a witness's vkey; raise `Invalid` when it is not consistent or the key of something else."""
        return cls(*read_public(vkey, _KEY_SIZES, what="the witness's key"))

    def for_size(self, size: int) -> tuple[CosignerKey, ...]:
        """Return the keys that sign a log's checkpoints of this size: this one, for ever."""
        del size
        return (self,)

    def accepts(self, text: bytes, signature: bytes) -> bool:
        """Say whether `signature`, without the key's identifier, is this key's over a checkpoint's text."""
        return self.time_of(text, signature) is not None

    def time_of(self, text: bytes, value: bytes) -> int | None:
        """Return the POSIX seconds that this key's cosignature over a checkpoint's text states, None if it is wrong.

        `value` is u64 big-endian seconds ‖ signature, without the key's identifier.
        """
        # SPEC tlog-cosignature: "The signature MUST be a `timestamped_signature` structure."
        if len(value) != _TIME_SIZE + _SIGNATURE_SIZES[self.type]:
            return None
        time, signature = int.from_bytes(value[:_TIME_SIZE], "big"), value[_TIME_SIZE:]
        # SPEC tlog-cosignature: "It MUST NOT exceed 2^63 - 1, and verifiers MAY reject cosignatures with timestamps in
        # the future."
        if time > _MAX_TIME:
            return None
        try:
            if self.type == ED25519_COSIGNATURE:
                Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, signed_message(text, time))
            else:
                message = _subtree_message(self.name, text, time)
                MLDSA44PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except (InvalidSignature, Invalid):
            return None
        return time


LogKey = Verifier | CosignerKey
"""The one key of a log: Ed25519 (type 0x01), or ML-DSA-44 (type 0x06)."""


def read_log_key(vkey: str) -> LogKey:
    """Read the vkey of a log; raise `Invalid` (`vkey`) when it is not consistent or the key of something else.

    SPEC tlog-checkpoint: "Logs SHOULD use ML-DSA-44 cosignatures to sign the checkpoint, but MAY use any note signature
    algorithm based on the ecosystem they operate in."
    """
    name, key_type, public_key = read_public(vkey, _LOG_KEY_SIZES, what="the verifier key")
    return Verifier(name, public_key) if key_type == ED25519 else CosignerKey(name, key_type, public_key)


@dataclass(frozen=True, slots=True)
class Cosigner:
    """The private half of an Ed25519 witness key. Its `text` is a secret; its `repr` is not.

    SPEC tlog-cosignature: "A cosigner operator that operates multiple Ed25519 cosigners (e.g. with distinct additional
    statements, see below) MUST use distinct public keys for each cosigner."
    """

    name: str
    seed: bytes = field(repr=False)

    @classmethod
    def generate(cls, name: str) -> Cosigner:
        """Make a fresh key for a witness of this name."""
        return cls(check_name(name), new_seed())

    @classmethod
    def from_text(cls, text: str) -> Cosigner:
        """Read `PRIVATE+KEY+name+hex(key id)+base64(0x04 ‖ seed)`; raise `Invalid` when it is anything else."""
        return cls(*read_secret(text, ED25519_COSIGNATURE, what="the witness's secret key"))

    @property
    def text(self) -> str:
        """Return the secret text of the key."""
        return secret_text(self.name, ED25519_COSIGNATURE, self.seed)

    @property
    def key(self) -> CosignerKey:
        """Return the public half."""
        return CosignerKey(self.name, ED25519_COSIGNATURE, public_half(self.seed))

    def cosign(self, text: bytes, time: int) -> Signature:
        """Return the cosignature over a checkpoint's text as of `time` (POSIX seconds, not 0).

        The caller has checked that the checkpoint extends all that this key cosigned before, and that is durable.
        """
        if not 0 < time <= _MAX_TIME:
            raise Invalid("cosignature-time", "a cosignature states a time after 1970")
        signature = Ed25519PrivateKey.from_private_bytes(self.seed).sign(signed_message(text, time))
        return Signature(self.name, self.key.key_id, time.to_bytes(_TIME_SIZE, "big") + signature)


@dataclass(frozen=True, slots=True)
class Cosignature:
    """One verified cosignature: whose, as of when (POSIX seconds), and the line that says so."""

    key: CosignerKey
    time: int
    signature: Signature


def verified_cosignatures(note: Note, keys: Iterable[CosignerKey], *, now: int) -> list[Cosignature]:
    """Return the cosignatures of known keys on a note, the newest of each key; `now` is in POSIX seconds.

    Those without a time or with one more than five minutes ahead are left out. Raises `Tampered` when the signature of
    a known key is wrong.
    """
    known = {(key.name, key.key_id): key for key in keys}
    found: dict[CosignerKey, Cosignature] = {}
    for signature in note.signatures:
        # SPEC tlog-witness: "The client MUST ignore any cosignatures from unknown keys."
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue
        time = key.time_of(note.unverified_text, signature.value)
        if time is None:
            raise Tampered("cosignature", f"the cosignature of {key.name} does not belong to this checkpoint")
        earlier = found.get(key)
        if is_acceptable(time, now) and (earlier is None or earlier.time < time):
            found[key] = Cosignature(key, time, signature)
    return list(found.values())


def is_acceptable(time: int, now: int) -> bool:
    """Say whether a cosignature states a time at all, and none that is too far ahead."""
    return 0 < time <= now + MAX_AHEAD


def signed_message(text: bytes, time: int) -> bytes:
    """Return what an Ed25519 cosignature signs: two lines and the whole text of the checkpoint.

    Raises `Invalid` when the text is not that of a checkpoint.
    """
    # SPEC tlog-cosignature: "The signed message MUST be two newline (U+000A) terminated lines (one header line and one
    # timestamp line) followed by the whole note body of the cosigned checkpoint (including the final newline, but not
    # including any signature lines)."
    # SPEC tlog-cosignature: "Extension lines MAY be included in the checkpoint by the log, and if present MUST be
    # included in the cosigned message."
    read_head(text)
    # SPEC tlog-cosignature: "The header line MUST be the fixed string `cosignature/v1`, and provides domain
    # separation."
    # SPEC tlog-cosignature: "The timestamp line MUST consist of the string `time`, a single space (0x20), and
    # `timestamped_signature.timestamp` encoded as an ASCII decimal with no leading zeroes."
    return f"cosignature/v1\ntime {time}\n".encode() + text


def _subtree_message(name: str, text: bytes, time: int) -> bytes:
    """Return what an ML-DSA-44 cosignature signs.

    SPEC tlog-cosignature: "The signed message MUST be a `cosigned_message` structure."
    """
    head = read_head(text)
    if head.extensions:
        # The structure does not cover them: somebody could add what nobody signed.
        raise Invalid("cosignature", "an ML-DSA-44 cosignature does not cover extension lines")
    names = b""
    for value, following in ((name, time), (head.origin, 0)):
        encoded = value.encode()
        if len(encoded) > 255:
            raise Invalid("cosignature", "the names in an ML-DSA-44 cosignature have at most 255 bytes")
        # SPEC tlog-cosignature: "If signing a [checkpoint][], it MUST be zero."
        names += bytes([len(encoded)]) + encoded + following.to_bytes(_TIME_SIZE, "big")
    return b"subtree/v1\n\0" + names + head.size.to_bytes(8, "big") + head.root
