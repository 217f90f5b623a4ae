"""The port of the store of keys that make entries erasable, and what every such store does with bytes.

- A person's first key in a class is derived from the class's tree (`keytree`), of which the person can be cut out; a
  newer one, and an entry's, is random. Trees and random keys are stored only wrapped by the key of a generation. To
  destroy a key is to erase what it encrypted, wherever copies of that lie, once that generation's key is gone too.
- A key class is one log's half-year and one length of retention, u32 `period × 256 + years`: all keys of a class come
  to their end together, and a person's key of one class says nothing about another.
- What is encrypted: AES-256-GCM, random 12-byte nonce, additional data `origin ‖ u64 index ‖ u8 part ‖ u32 key
  version` (1 for an entry's key), so that a body cannot be moved to another entry, part or log.
- What is wrapped: the same, additional data `"dienstenintegrator/vault/v2" 0x00 ‖ u32 generation ‖ kind 0x00 ‖ name`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from integrator_audit.errors import Refused, Tampered
from integrator_audit.findings import Progress, no_progress
from integrator_audit.generationkeys import GenerationKeys

KEY_VERSION: Final = 1
"""Version of a person's first key in a class, and what stands for an entry without a person."""
KEY_SIZE: Final = 32
NONCE_SIZE: Final = 12
TAG_SIZE: Final = 16
KEY_ID_SIZE: Final = 16

NODE, PERSON, ENTRY, LABEL, PROBE = b"node", b"person", b"entry", b"label", b"probe"
"""Kinds of what is wrapped; a probe tells whether a generation key is the right one."""

PersonClass = tuple[bytes, int]
"""A 32-byte pseudonym and a key class."""


class PersonKey(NamedTuple):
    """A person's key of one class (32 bytes), and its version. What prints it does not print the key."""

    version: int
    key: bytes

    @property
    def cipher(self) -> AESGCM:
        """Return what encrypts under it."""
        return AESGCM(self.key)

    def __repr__(self) -> str:
        return f"PersonKey(version={self.version})"


class EntryKey(NamedTuple):
    """The key of one entry (32 bytes) and the 16 bytes by which the entry's row names it; the key is not printed."""

    id: bytes
    key: bytes

    @property
    def cipher(self) -> AESGCM:
        """Return what encrypts under it."""
        return AESGCM(self.key)

    def __repr__(self) -> str:
        return f"EntryKey({self.id.hex()})"


class KeyStore(Protocol):
    """Keys by person and class, by entry, and label keys by person and period. Safe to share between threads.

    What was destroyed is not found any more, also by another process that had read it before.
    """

    def people(self, wanted: Iterable[PersonClass]) -> dict[PersonClass, PersonKey]:
        """Return the newest key of each, making what is not there. When this returns, all of it is durable."""
        ...

    def person(self, pseudonym: bytes, key_class: int, version: int = KEY_VERSION) -> AESGCM | None:
        """Return a person's key, or None when it is destroyed or its class has no keys yet."""
        ...

    def entry_keys(self, count: int) -> list[EntryKey]:
        """Make `count` keys for entries. When this returns, all are durable."""
        ...

    def entry_key(self, key_id: bytes) -> AESGCM | None:
        """Return an entry's key, or None when it is destroyed."""
        ...

    def labels(self, pseudonyms: Iterable[bytes], period: int) -> dict[bytes, bytes]:
        """Return the kept label key (y) of those of these persons for whom there is one in this period."""
        ...

    def has_labels(self, period: int) -> bool:
        """Say whether anybody has a label key in this period: then days were sealed that list somebody."""
        ...

    def keep_labels(self, labels: Mapping[bytes, bytes], period: int) -> None:
        """Keep label keys by pseudonym; what is kept already stays. When this returns, all are durable."""
        ...

    def destroy(
        self,
        *,
        people: Iterable[PersonClass] = (),
        entries: Iterable[bytes] = (),
        labels: Iterable[tuple[bytes, int]] = (),
    ) -> None:
        """Destroy keys in all versions, at once; labels by (pseudonym, period). What is not there is passed over."""
        ...

    def renew(self, one: PersonClass) -> PersonKey:
        """Make a newer version of a person's key, durable when this returns; older ones still open what they sealed.

        Counts as a destruction (`destructions`), because from now on nobody may seal with an older version.
        """
        ...

    def versions(self, one: PersonClass) -> list[int]:
        """Return which versions of a person's key there are, ascending; nothing is made."""
        ...

    def destroy_older(self, one: PersonClass, version: int) -> None:
        """Destroy the versions of a person's key before `version`."""
        ...

    def destructions(self) -> int:
        """Return how often keys were destroyed or renewed, by anybody: when it grows, keys in hand may be gone."""
        ...

    def destroy_class(self, key_class: int) -> int:
        """Destroy the keys of everybody in a class; return how many rows of the store went, 0 when there were none."""
        ...

    def destroy_labels(self, period: int, *, keeping: Iterable[bytes] = ()) -> int:
        """Destroy the label keys in a period of everybody but the persons to keep; return how many there were."""
        ...

    def rewrap(self, progress: Progress = no_progress) -> int:
        """Bring every key to a new generation, and return its number; the former ones are not destroyed.

        After a crash in the middle, the next call goes on where it stopped. Raises `Refused` where generation keys
        cannot be made.
        """
        ...

    def retire(self) -> list[int]:
        """Destroy the generations before the newest, and return their numbers.

        Raises `Refused` (`vault-generation-used`) while something is still wrapped by one of them.
        """
        ...


def key_class(period: int, retention: int) -> int:
    """Return the class of keys of a log's `period` whose entries are kept `retention` years (1 to 255)."""
    return period * 256 + retention


def associated_data(origin: bytes, index: int, part: bytes, key_version: int) -> bytes:
    """Return the additional data under which body (`B`) or actor (`P`) of one entry is encrypted.

    `key_version` is that of the key that encrypts it: the person's for a body, 1 for an entry's own key.
    """
    return b"".join((origin, index.to_bytes(8, "big"), part, key_version.to_bytes(4, "big")))


def person_name(pseudonym: bytes, wanted_class: int, version: int) -> bytes:
    """Return the name under which a person's key is wrapped: pseudonym ‖ u32 class ‖ u32 version."""
    return pseudonym + wanted_class.to_bytes(4, "big") + version.to_bytes(4, "big")


def node_name(wanted_class: int, path: bytes) -> bytes:
    """Return the name under which a node of a class's tree is wrapped: u32 class ‖ path."""
    return wanted_class.to_bytes(4, "big") + path


def label_name(pseudonym: bytes, period: int) -> bytes:
    """Return the name under which a label key is wrapped: pseudonym ‖ u32 period."""
    return pseudonym + period.to_bytes(4, "big")


class Wrapping:
    """Wraps and unwraps under generation keys, which it fetches when they are first needed."""

    def __init__(self, keys: GenerationKeys) -> None:
        self.keys = keys
        self._ciphers: dict[int, AESGCM] = {}

    def wrap(self, generation: int, kind: bytes, name: bytes, content: bytes, *, nonce: bytes) -> bytes:
        """Return nonce ‖ ciphertext."""
        return nonce + self._cipher(generation).encrypt(nonce, content, _wrapping_data(generation, kind, name))

    def unwrap(self, generation: int, kind: bytes, name: bytes, wrapped: bytes) -> bytes:
        """Return what was wrapped; raise `Tampered` (`vault-key`) when it is not what was wrapped under this name."""
        data = _wrapping_data(generation, kind, name)
        try:
            return self._cipher(generation).decrypt(wrapped[:NONCE_SIZE], wrapped[NONCE_SIZE:], data)
        except (InvalidTag, ValueError, TypeError) as error:
            raise Tampered("vault-key", "a wrapped key in the vault was changed; restore it from a backup") from error

    def probe(self, generation: int, *, nonce: bytes) -> bytes:
        """Return what `check_probe` later recognises the generation's key by."""
        return self.wrap(generation, PROBE, b"", bytes(KEY_SIZE), nonce=nonce)

    def check_probe(self, generation: int, probe: bytes) -> None:
        """Raise `Refused` (`vault-other-key`) unless the key of this generation made the probe."""
        try:
            self.unwrap(generation, PROBE, b"", probe)
        except Tampered as error:
            message = "the vault was made with another generation key; give the key that belongs to it"
            raise Refused("vault-other-key", message) from error

    def forget(self, generation: int) -> None:
        """Drop a generation's key from memory."""
        self._ciphers.pop(generation, None)

    def keep(self, generations: Set[int]) -> None:
        """Drop every other generation's key from memory."""
        for generation in self._ciphers.keys() - generations:
            self.forget(generation)

    def _cipher(self, generation: int) -> AESGCM:
        cipher = self._ciphers.get(generation)
        if cipher is None:
            key = self.keys.key(generation)
            if key is None:
                message = f"the vault names generation {generation}, whose key is not here; give this vault's keys"
                raise Refused("vault-other-key", message)
            cipher = self._ciphers[generation] = AESGCM(key)
        return cipher


def _wrapping_data(generation: int, kind: bytes, name: bytes) -> bytes:
    return b"dienstenintegrator/vault/v2\0" + generation.to_bytes(4, "big") + kind + b"\0" + name
