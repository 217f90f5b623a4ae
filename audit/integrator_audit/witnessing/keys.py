"""Which key of a log signs checkpoints of which size: a key policy, signed by offline keys.

A key policy is a signed note. Its text, with sizes in decimal and `-` for no end yet:

    dienstenintegrator/keys/v1
    <origin>
    <version>
    key <vkey> <first size> <last size or ->
    closed <size>

- Every size from 0 on has a key. Where the ranges of two keys overlap, a checkpoint carries a signature of either or
  both: so a new key comes into use before the old one goes.
- `closed` ends the log at the last size that a quorum had cosigned, after its key was stolen: what stands up to there
  stays provable, what is beyond is not believed, whoever signed it. The log goes on under another origin. A thief can
  sign smaller sizes too: of a closed log only what carries a quorum's cosignatures counts.
- The root says which offline keys there are and how many must sign. It is the one thing to be had from elsewhere.
- A later version only adds: who remembers one does not take an older one, nor one with another past.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from integrator_audit.encoding import to_decimal
from integrator_audit.errors import Invalid, Refused, Tampered
from integrator_audit.keytext import check_name
from integrator_audit.note import Note, Signer, Verifier, join_note, verify_note
from integrator_audit.state import State

KEYS_HEADER = "dienstenintegrator/keys/v1"
ROOT_HEADER = "dienstenintegrator/keys-root/v1"
STATE_KIND = "keys"
MAX_KEYS = 64
OPEN = "-"


@dataclass(frozen=True, slots=True)
class KeyRange:
    """One key and the sizes of the checkpoints that it signs, both inclusive; `last` is None while it has no end."""

    key: Verifier
    first: int
    last: int | None

    def covers(self, size: int) -> bool:
        """Say whether the key signs checkpoints of this size."""
        return self.first <= size and (self.last is None or size <= self.last)

    @property
    def line(self) -> str:
        """Return the line of the key policy."""
        return f"key {self.key.vkey} {self.first} {OPEN if self.last is None else self.last}"


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """The keys of one log, in the order of their first sizes. It is a `checkpoint.LogKeys`."""

    name: str
    version: int
    ranges: tuple[KeyRange, ...]
    closed: int | None = None

    @property
    def text(self) -> bytes:
        """Return the text that the offline keys sign."""
        lines = [KEYS_HEADER, self.name, str(self.version), *(item.line for item in self.ranges)]
        if self.closed is not None:
            lines.append(f"closed {self.closed}")
        return "\n".join([*lines, ""]).encode()

    @classmethod
    def parse(cls, text: bytes) -> KeyPolicy:
        """Read a key policy whose signatures are checked elsewhere; raise `Invalid` when it is malformed."""
        lines = _lines(text, KEYS_HEADER, "a key policy")
        if len(lines) < 3:
            raise Invalid("keys", "a key policy names an origin, a version and at least one key")
        closed: int | None = None
        if lines[-1].startswith("closed "):
            closed = to_decimal(lines.pop().removeprefix("closed "), what="the size at which the log is closed")
        ranges = tuple(_key_range(line) for line in lines[2:])
        return cls(check_name(lines[0]), to_decimal(lines[1], what="the version"), ranges, closed).checked()

    def checked(self) -> KeyPolicy:
        """Return the policy if its ranges are in order and leave no size without a key, or raise `Invalid`."""
        if not 0 < len(self.ranges) <= MAX_KEYS or self.version < 1:
            raise Invalid("keys", f"a key policy has a version from 1 on and 1 to {MAX_KEYS} keys")
        if len({item.key.public_key for item in self.ranges}) != len(self.ranges):
            raise Invalid("keys", "a key stands in a key policy once")
        end: int | None = -1
        for item in self.ranges:
            if item.key.name != self.name:
                raise Invalid("keys", f"the key {item.key.name} does not have the name of the log, {self.name}")
            if end is not None and item.first > end + 1:
                raise Invalid("keys", f"no key signs checkpoints of size {end + 1}")
            if item.last is not None and item.last < item.first:
                raise Invalid("keys", f"the key from size {item.first} ends before it begins")
            end = None if end is None or item.last is None else max(end, item.last)
        if list(self.ranges) != sorted(self.ranges, key=lambda item: item.first):
            raise Invalid("keys", "the keys stand in the order of their first sizes")
        if end is not None and (self.closed is None or end < self.closed):
            raise Invalid("keys", f"no key signs checkpoints of size {end + 1}")
        return self

    def for_size(self, size: int) -> tuple[Verifier, ...]:
        """Return the keys that may sign a checkpoint of this size.

        Raises `Tampered` (`log-closed`) when the log was closed at a smaller one: somebody else has the key.
        """
        if self.closed is not None and size > self.closed:
            message = (
                f"{self.name} was closed at size {self.closed}, because its key is not its own any more: "
                f"a checkpoint of size {size} is not to be believed. Ask the operator for the log that goes on"
            )
            raise Tampered("log-closed", message)
        return tuple(item.key for item in self.ranges if item.covers(size))

    def check_follows(self, earlier: KeyPolicy) -> None:
        """Raise `Tampered` unless this is the policy `earlier`, or a later version that only adds to it."""
        if self == earlier:
            return
        if (self.name, self.version > earlier.version) != (earlier.name, True):
            message = (
                f"version {self.version} of the key policy of {self.name} is shown after version {earlier.version} "
                f"of {earlier.name}: somebody takes it back, or it is another log's"
            )
            raise Tampered("keys-back", message)
        ours = {item.key: item for item in self.ranges}
        for item in earlier.ranges:
            now = ours.get(item.key)
            if now is None or now.first != item.first or item.last not in (None, now.last):
                message = f"version {self.version} says another thing of the key from size {item.first} than before"
                raise Tampered("keys-changed", message)
        if earlier.closed not in (None, self.closed):
            raise Tampered("keys-changed", f"version {self.version} opens a log that was closed")


@dataclass(frozen=True, slots=True)
class KeyRoot:
    """The offline keys, and how many of them must sign a key policy."""

    threshold: int
    keys: tuple[Verifier, ...]

    @property
    def text(self) -> bytes:
        """Return the root file."""
        lines = [ROOT_HEADER, f"threshold {self.threshold}", *(f"root {key.vkey}" for key in self.keys), ""]
        return "\n".join(lines).encode()

    @classmethod
    def parse(cls, text: bytes) -> KeyRoot:
        """Read a root file; raise `Invalid` when it is malformed."""
        lines = _lines(text, ROOT_HEADER, "a root file")
        if (
            not lines
            or not lines[0].startswith("threshold ")
            or not all(line.startswith("root ") for line in lines[1:])
        ):
            raise Invalid("keys-root", "a root file is a line with the threshold and a line for each offline key")
        threshold = to_decimal(lines[0].removeprefix("threshold "), what="the threshold")
        return cls(threshold, tuple(Verifier.from_text(line.removeprefix("root ")) for line in lines[1:])).checked()

    def checked(self) -> KeyRoot:
        """Return the root if its threshold can be met by different keys, or raise `Invalid`."""
        if len({key.public_key for key in self.keys}) != len(self.keys) or len(self.keys) > MAX_KEYS:
            raise Invalid("keys-root", f"an offline key stands in a root file once, and at most {MAX_KEYS} do")
        if not 1 <= self.threshold <= len(self.keys):
            raise Invalid("keys-root", f"{len(self.keys)} offline keys cannot give {self.threshold} signatures")
        return self

    def open(self, note: bytes) -> KeyPolicy:
        """Return the key policy that enough offline keys signed.

        Raises `Invalid` for a malformed note, `Tampered` when a signature is wrong or too few are there.
        """
        signed = self.signed_by(note)
        if len(signed) < self.threshold:
            message = f"the key policy carries {len(signed)} signatures of offline keys and needs {self.threshold}"
            raise Tampered("keys-unsigned", message)
        return KeyPolicy.parse(Note.parse(note).unverified_text)

    def signed_by(self, note: bytes) -> set[Verifier]:
        """Return the offline keys that signed; raise as `open`, except that nobody need have."""
        parsed = Note.parse(note)
        known = {(key.name, key.key_id): key for key in self.keys}
        signed = {known[item.name, item.key_id] for item in parsed.signatures if (item.name, item.key_id) in known}
        if signed:
            verify_note(note, signed)
        return signed


@dataclass(frozen=True, slots=True)
class LogSigners:
    """The secret keys of a log under its key policy: each head is signed by those of them that are in force.

    It is a `checkpoint.LogSigner`. Its `vkey` is the first key's: it names the log for as long as it lives.
    """

    policy: KeyPolicy
    signers: tuple[Signer, ...]

    @property
    def name(self) -> str:
        """Return the log's origin."""
        return self.policy.name

    @property
    def vkey(self) -> str:
        """Return the text of the log's first key."""
        return self.policy.ranges[0].key.vkey

    @property
    def verifier(self) -> KeyPolicy:
        """Return the keys that open what is signed here."""
        return self.policy

    def for_size(self, size: int) -> tuple[Signer, ...]:
        """Return the secret keys that sign a head of this size.

        Raises `Refused` (`ledger-closed`, `ledger-no-key`) when nothing may be signed, or not with these keys.
        """
        try:
            in_force = set(self.policy.for_size(size))
        except Tampered as error:
            raise Refused("ledger-closed", error.message) from error
        # SPEC tlog-tiles: "If the log is public, or is interacting in any way with the public witness network, the
        # checkpoint MUST carry at least one Ed25519 signature by the log."
        chosen = tuple(signer for signer in self.signers if signer.verifier in in_force)
        if not chosen:
            message = f"none of the secret keys that were given signs {self.name} at size {size}; give the new one too"
            raise Refused("ledger-no-key", message)
        return chosen

    def sign_for(self, text: bytes, size: int) -> bytes:
        """Return the note over a checkpoint's text, signed by all keys that are in force at its size."""
        return join_note(text, [signer.signature(text) for signer in self.for_size(size)])


def accept_keys(note: bytes, root: KeyRoot, state: State | None) -> KeyPolicy:
    """Return the key policy of a note and remember it; an older or contradicting one is not taken.

    Raises as `KeyRoot.open` and `KeyPolicy.check_follows`; `Refused` when what is remembered has another root.
    """
    policy = root.open(note)
    remembered = None if state is None else state.load(policy.name, STATE_KIND)
    if remembered is not None:
        try:
            earlier = root.open(remembered)
        except (Tampered, Invalid) as error:
            message = f"the remembered key policy of {policy.name} is not signed by this root: find out which is right"
            raise Refused("state-other-root", message) from error
        policy.check_follows(earlier)
    if state is not None:
        state.advance(policy.name, remembered, note, STATE_KIND)
    return policy


def sign_offline(text: bytes, signers: Sequence[Signer]) -> bytes:
    """Return the note of a key policy's text with signatures of offline keys; raise `Invalid` when it is no policy."""
    KeyPolicy.parse(text)
    return join_note(text, [signer.signature(text) for signer in signers])


def _lines(text: bytes, header: str, what: str) -> list[str]:
    try:
        first, *lines = text.decode().split("\n")
    except UnicodeDecodeError as error:
        raise Invalid("keys", f"{what} is valid UTF-8") from error
    if first != header or not lines or lines.pop():
        raise Invalid("keys", f"{what} starts with the line {header} and ends in a newline")
    return lines


def _key_range(line: str) -> KeyRange:
    match line.split(" "):
        case ["key", vkey, first, last]:
            start = to_decimal(first, what="the first size of a key")
            end = None if last == OPEN else to_decimal(last, what="the last size of a key")
            return KeyRange(Verifier.from_text(vkey), start, end)
        case _:
            raise Invalid("keys", "a line of a key policy is: key VKEY FIRST LAST, or at the end: closed SIZE")
