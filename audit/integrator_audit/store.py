"""The port of a ledger's store: what is written in one transaction, and what can be read of it.

- `Store.commit` MUST make everything of a batch durable or nothing, and MUST refuse a batch whose `previous_size` is
  not the stored size: two writers cannot both extend one log.
- After an exception of `commit` the outcome is unknown: the ledger stops and is opened anew, which reads the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct
from typing import NamedTuple, Protocol

from integrator_audit.frontier import TileRow

SEAL_SIZE = 16
_SEALED = Struct(">IIII")


class EntryRow(NamedTuple):
    """One stored entry, `number` being its index in the log. A tuple, because a commit makes thousands.

    `a` is salt ‖ bytes in the clear; `d`, `s`, `p` are nonce ‖ AES-256-GCM(salt ‖ bytes). `hashes` is hA ‖ hD ‖ hS ‖
    hP. `entry_key` names the key of `p` (and of the empty `d`, `s` of an entry without a person) in the vault, None
    when the person's key serves. `seal` finds damage without the vault; it proves nothing against the operator.
    """

    number: int
    subject: bytes | None
    type: int
    a: bytes
    d: bytes
    s: bytes
    p: bytes
    hashes: bytes
    commitment: bytes
    key_version: int
    entry_key: bytes | None
    seal: bytes


@dataclass(frozen=True, slots=True)
class Identity:
    """Which log this is: its origin and the text of its verifier key."""

    origin: str
    vkey: str


@dataclass(frozen=True, slots=True)
class Head:
    """The newest checkpoint: size, 32-byte root, the signed note, and the digest of the consumed positions."""

    size: int
    root: bytes
    note: bytes
    consumed: bytes


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record that could not become an entry: where it stands and a kebab-case reason, never its content."""

    topic: str
    partition: int
    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """All that one commit makes durable. `positions` are the next ones to read, for what this batch consumed."""

    previous_size: int
    head: Head
    entries: Sequence[EntryRow]
    tiles: Sequence[TileRow]
    positions: Mapping[tuple[str, int], int]
    set_aside: Sequence[SetAside]


class Reading(Protocol):
    """What can be read of a log. Methods between `snapshot`'s begin and end see one moment of it."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Hold one moment of the log; one thread at a time."""
        ...

    def identity(self) -> Identity | None:
        """Return which log this is, or None when the store is new."""
        ...

    def head(self) -> Head | None:
        """Return the newest checkpoint, or None when the store is new."""
        ...

    def tile(self, level: int, index: int) -> TileRow | None:
        """Return a tile as wide as it is now."""
        ...

    def entry(self, index: int) -> EntryRow | None:
        """Return one entry."""
        ...

    def indices_of(self, subject: bytes, before: int, limit: int) -> list[int]:
        """Return at most `limit` indices of a person's entries below `before`, newest first."""
        ...

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the next position to read by (topic, partition)."""
        ...

    def set_asides(self) -> list[SetAside]:
        """Return the records that were set aside, by topic, partition and position."""
        ...

    def close(self) -> None:
        """Release the store."""
        ...


class Store(Reading, Protocol):
    """A store that the one writer of a log appends to."""

    def create(self, identity: Identity, head: Head) -> None:
        """Make a new log with its first, empty checkpoint."""
        ...

    def commit(self, batch: Batch) -> None:
        """Make a batch durable, whole or not at all; raise `Refused` when somebody else has extended the log."""
        ...


def consumed_digest(positions: Mapping[tuple[str, int], int]) -> bytes:
    """Return SHA-256 over the sorted list of u16 length ‖ topic ‖ u32 partition ‖ u64 next position."""
    digest = sha256()
    for (topic, partition), position in sorted(positions.items()):
        name = topic.encode()
        digest.update(len(name).to_bytes(2, "big") + name + partition.to_bytes(4, "big") + position.to_bytes(8, "big"))
    return digest.digest()


def entry_seal(encrypted: tuple[bytes, bytes, bytes], subject: bytes | None, key: tuple[int, bytes | None]) -> bytes:
    """Return the seal over what the commitment does not cover without the vault: d, s, p, the person and the key."""
    version, entry_key = key
    lengths = _SEALED.pack(version, *map(len, encrypted))
    return sha256(b"".join((lengths, *encrypted, subject or b"", b"\0", entry_key or b""))).digest()[:SEAL_SIZE]


def subject_seal(number: int, pseudonym: bytes) -> bytes:
    """Return the seal that binds a person's number in the store to the pseudonym."""
    return sha256(number.to_bytes(8, "big") + pseudonym).digest()[:SEAL_SIZE]
