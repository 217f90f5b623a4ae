"""The port of a ledger's store: what is written in one transaction, and what can be read of it.

- `Store.commit` MUST make everything of a batch durable or nothing, and MUST refuse a batch whose `previous_size` is
  not the stored size: two writers cannot both extend one log.
- After an exception of `commit` the outcome is unknown: the ledger stops and is opened anew, which reads the truth.
- What was erased MUST be gone from the store's own files too (free pages, its write-ahead log) once `erase` returns,
  as far as the store can bring that about; its implementations say what they cannot.
- One contract, one suite of tests for every implementation (`tests/unit/audit/store_contract.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from struct import Struct
from typing import Final, Literal, NamedTuple, Protocol
from zlib import crc32

from integrator_audit.tiles import TileRow

Ground = Literal["retention", "order"]
"""Why an entry was erased: its time had come, or somebody ordered it."""
GROUNDS: Final[tuple[Ground, ...]] = ("retention", "order")
Kind = Literal["entries", "leaves"]
"""What the log's leaves are: commitments to entries with rows of their own, or public bytes (`RawLog`)."""

KEYS_MOVED: Final = "ledger-keys-moved"
"""Code of the `Busy` with which a commit says that a key was destroyed since its rows were sealed."""

CLOSED: Final = "ledger-closed"
"""Code of the `Refused` with which a commit to a closed log is answered; nothing was written."""

BLOCK_BITS: Final = 15
"""Indexes by person and recipient are kept by blocks of 2^15 entries, so that a commit touches the newest only."""

SEALED: Final = Struct(">QQBBBIIII")
"""Index, moment, type, years, listed, key version, lengths of body, P and recipient: what a seal begins with."""


class EntryRow(NamedTuple):
    """One stored entry, `number` being its index in the log. A tuple, because a commit makes thousands.

    `a` is the bytes of part A in the clear, `salt_a` its salt. `body` is nonce ‖ AES-256-GCM(salt_D ‖ salt_S ‖ salt_P
    ‖ u32 len(D) ‖ u32 len(S) ‖ D ‖ S ‖ identity) under the person's key, or without a person under the entry's. `p` is
    empty without an actor, else nonce ‖ AES-256-GCM(salt_P ‖ P) under the entry's key; then the body has zeroes for
    salt_P. `hashes` is hA ‖ hD ‖ hS ‖ hP.
    `entry_key` names the entry's key in the vault, None when it has none. `key_version` is the version of the person's
    key, 1 without one.
    `seal` is a CRC-32 that finds damage without the vault; it proves nothing against the operator.

    Of an erased entry `body` and `p` are empty, `subject` and `entry_key` None, `at` is 0.
    """

    number: int
    subject: bytes | None
    recipient: str
    type: int
    at: int
    retention: int
    listed: bool
    salt_a: bytes
    a: bytes
    body: bytes
    p: bytes
    hashes: bytes
    commitment: bytes
    key_version: int
    entry_key: bytes | None
    seal: int

    @property
    def is_erased(self) -> bool:
        """Say whether the body is gone; every entry that was not erased has one."""
        return not self.body


@dataclass(frozen=True, slots=True)
class Identity:
    """Which log this is: its origin, the text of its verifier key, and what its leaves are."""

    origin: str
    vkey: str
    kind: Kind = "entries"


@dataclass(frozen=True, slots=True)
class Head:
    """A checkpoint of the log: size, 32-byte root, the signed note, digest of the consumed positions, commit time.

    `at` is in milliseconds since 1970 and never goes back from one commit to the next.
    """

    size: int
    root: bytes
    note: bytes
    consumed: bytes
    at: int


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record that could not become an entry: where it stands and a kebab-case reason, never its content."""

    topic: str
    partition: int
    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """All that one commit makes durable. `positions` are the next ones to read, for what this batch consumed.

    `still_valid` is asked once no other commit or erasure can come between: false when a key that sealed these rows was
    destroyed meanwhile.
    """

    previous_size: int
    head: Head
    entries: Sequence[EntryRow]
    tiles: Sequence[TileRow]
    positions: Mapping[tuple[str, int], int]
    set_aside: Sequence[SetAside]
    still_valid: Callable[[], bool] = lambda: True


class Erasure(NamedTuple):
    """One entry to erase by its index, and why."""

    number: int
    ground: Ground


class Reading(Protocol):
    """What can be read of a log. Methods between `snapshot`'s begin and end see one moment of it.

    One thread at a time. What is returned as an iterator streams in bounded memory, and is used up before `snapshot`
    ends or the store is closed.
    """

    def snapshot(self) -> AbstractContextManager[None]:
        """Hold one moment of the log; one thread at a time."""
        ...

    def identity(self) -> Identity | None:
        """Return which log this is, or None when the store is new."""
        ...

    def head(self) -> Head | None:
        """Return the newest checkpoint, or None when the store is new."""
        ...

    def last_before(self, at: int) -> Head | None:
        """Return the newest kept checkpoint that was committed before the moment `at` (ms), None when there is none.

        Kept are the newest checkpoint and the last one of each day (UTC), so that the end of every day is exact.
        """
        ...

    def published(self) -> tuple[int, bytes] | None:
        """Return the newest published size and its note with the cosignatures, or None."""
        ...

    def is_closed(self) -> bool:
        """Say whether the log was closed for good: its half-year is over."""
        ...

    def tile(self, level: int, index: int) -> TileRow | None:
        """Return a tile as wide as it is now."""
        ...

    def entry(self, index: int) -> EntryRow | None:
        """Return one entry; its `commitment` is computed by who checks it and is empty here."""
        ...

    def entries(self, start: int, stop: int) -> Iterator[EntryRow]:
        """Yield the entries from `start` to before `stop` in the order of their indices."""
        ...

    def rows(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield (index, number of its statement, moment in ms or 0 when erased) of entries, by index."""
        ...

    def statements(self) -> Iterator[tuple[int, bytes]]:
        """Yield each distinct part A with its number, by number."""
        ...

    def statement(self, number: int) -> bytes | None:
        """Return the part A with this number."""
        ...

    def indices_of(self, subject: bytes, before: int, limit: int) -> list[int]:
        """Return at most `limit` indices of a person's listed entries below `before`, newest first."""
        ...

    def indices_to(self, recipient: str, before: int, limit: int) -> list[int]:
        """Return at most `limit` indices of a recipient's entries below `before`, newest first."""
        ...

    def persons_between(self, start: int, stop: int) -> Iterator[tuple[bytes, list[int]]]:
        """Yield each person with listed entries in [start, stop) once, with their indices ascending.

        The order of persons is not specified. Erased entries belong to nobody.
        """
        ...

    def recipients_between(self, start: int, stop: int) -> Iterator[tuple[str, list[int]]]:
        """Yield each recipient with entries in [start, stop) once, with their indices ascending, erased ones too."""
        ...

    def unlisted_between(self, start: int, stop: int) -> list[int]:
        """Return the indices of the entries in [start, stop) that are not listed under persons, ascending."""
        ...

    def with_retention(self, years: int, start: int, stop: int) -> Iterator[int]:
        """Yield the indices in [start, stop) of entries that are kept so long and are not erased, ascending."""
        ...

    def erased(self, index: int) -> Ground | None:
        """Return why an entry was erased, or None when it was not."""
        ...

    def erasures(self, start: int, stop: int) -> Iterator[Erasure]:
        """Yield what was erased in [start, stop), by index."""
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

    def create(self, identity: Identity, head: Head, positions: Mapping[tuple[str, int], int]) -> None:
        """Make a new log with its first, empty checkpoint and the positions where its sources begin."""
        ...

    def commit(self, batch: Batch) -> None:
        """Make a batch durable, whole or not at all.

        Raises `Refused` when somebody else has extended the log (`ledger-other-writer`) or it was closed
        (`ledger-closed`), `Tampered` (`ledger-repeated`) when the batch's randomness was used before, and `Busy`
        (`ledger-keys-moved`) when the batch is not valid any more: then nothing was written, and the store goes on.
        """
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Join all calls until its end into one transaction, during which nobody commits to the log.

        What is read inside is the newest; an exception undoes all of it.
        """
        ...

    def publish(self, size: int, note: bytes) -> None:
        """Keep a published note with its cosignatures; a later call for the same size replaces it."""
        ...

    def close_log(self) -> None:
        """Close the log for good: commits are then refused, erasures and publishing are not."""
        ...

    def erase(self, erasures: Sequence[Erasure]) -> None:
        """Erase bodies, actors, moments and persons of entries in one transaction; hashes and grounds stay.

        The index by person loses them; that by recipient keeps them, as the recipient's own count does.
        What is erased already is passed over and keeps its first ground. Raises `Invalid` (`no-such-entry`).
        """
        ...

    def reseal(self, rows: Sequence[EntryRow]) -> None:
        """Replace body, key version and seal of these entries, all of them or none."""
        ...


def block_of(index: int) -> int:
    """Return the block of the indexes in which an entry stands."""
    return index >> BLOCK_BITS


def consumed_digest(positions: Mapping[tuple[str, int], int]) -> bytes:
    """Return SHA-256 over the sorted list of u16 length ‖ topic ‖ u32 partition ‖ u64 next position."""
    digest = sha256()
    for (topic, partition), position in sorted(positions.items()):
        name = topic.encode()
        digest.update(len(name).to_bytes(2, "big") + name + partition.to_bytes(4, "big") + position.to_bytes(8, "big"))
    return digest.digest()


def seal_of(*columns: bytes | str | int) -> int:
    """Return the CRC-32 over the columns of a small row."""
    return crc32(repr(columns).encode())


def entry_seal(row: EntryRow) -> int:
    """Return the CRC-32 over what the commitment does not cover without the vault; `row.seal` is not looked at."""
    body, p, name = row.body, row.p, row.recipient.encode()
    small = SEALED.pack(
        row.number, row.at, row.type, row.retention, row.listed, row.key_version, len(body), len(p), len(name)
    )
    return crc32(b"".join((small, body, p, row.subject or b"", name, row.entry_key or b"")))
