"""The ledger's one writer: entries in, durable and checkpointed entries out.

A commit goes: keys durable in the vault → rows, tiles and root in memory → checkpoint signed → ONE transaction with
entries, indexes, tiles, positions and checkpoint → the signature is released.

| crash or failure                        | on disk                          | recovery                               |
|-----------------------------------------|----------------------------------|----------------------------------------|
| before the vault's commit               | nothing                          | the caller appends again               |
| between the vault's commit and ours     | keys without entries             | the same; the keys serve later entries |
| our transaction failed, not persisted   | the former log                   | `Ledger.open`: positions are the former|
| our transaction failed, yet persisted   | the new log                      | `Ledger.open`: positions are the new   |
| after our transaction                   | the new log                      | `Ledger.open`                          |

After a transaction of unknown outcome the ledger refuses all work until it is opened anew: start and recovery are the
same code.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from integrator_audit.checkpoint import Checkpoint, open_checkpoint
from integrator_audit.errors import Invalid, Refused, Tampered, Unavailable
from integrator_audit.frontier import Frontier
from integrator_audit.merkle import EMPTY_ROOT
from integrator_audit.note import Signer
from integrator_audit.parts import Entry, check_entry
from integrator_audit.sequencer import RANDOM_SIZE, BatchKeys, needs_entry_key, sequence
from integrator_audit.sqlite import SqliteStore
from integrator_audit.store import Batch, Head, Identity, SetAside, Store, consumed_digest
from integrator_audit.vault import Vault

MAX_BATCH = 100_000


@dataclass(frozen=True, slots=True)
class Appended:
    """What a commit made durable: each entry's index in the order given, and the log's head after it.

    `checkpoint` is the signed note over `size` and `root`.
    """

    indices: tuple[int, ...]
    size: int
    root: bytes
    checkpoint: bytes


class Ledger:
    """The writer of one log. Calls from several threads are taken one after the other."""

    def __init__(self, store: Store, *, signer: Signer, vault: Vault) -> None:
        """Use `open` instead; this takes a store that is already open, and recovers from it.

        Raises as `open` does.
        """
        self._store = store
        self._signer = signer
        self._vault = vault
        # Owned by the lock: what follows is the log as it is durable.
        self._lock = threading.Lock()
        self._unknown_outcome = False
        self._head = self._recover_head()
        self._frontier = Frontier.load(self._head.size, self._tile_data)
        if self._frontier.root() != self._head.root:
            message = "the tiles at the right edge do not give the root of the stored checkpoint; run fsck"
            raise Tampered("ledger-right-edge", message)
        self._positions = store.positions()
        if consumed_digest(self._positions) != self._head.consumed:
            raise Tampered("ledger-positions", "the stored positions are not those of the last commit; run fsck")

    @classmethod
    def open(cls, path: Path | str, *, origin: str, signer: Signer, vault: Vault) -> Ledger:
        """Open the log in the file at `path`, or create it.

        Raises `Refused` (`ledger-origin`: the key does not have the origin's name; `ledger-other-key`: the file is of
        another log or key), `Tampered` (the file does not agree with itself), `Unavailable` (it cannot be opened).
        """
        if signer.name != origin:
            message = f"the signing key has the name {signer.name}; the key of a log has its origin, {origin}, as name"
            raise Refused("ledger-origin", message)
        store = SqliteStore.open(Path(path))
        try:
            return cls(store, signer=signer, vault=vault)
        except BaseException:
            store.close()
            raise

    @property
    def size(self) -> int:
        """Return the number of durable entries."""
        return self._head.size

    @property
    def root(self) -> bytes:
        """Return the root over the durable entries."""
        return self._head.root

    @property
    def checkpoint(self) -> bytes:
        """Return the signed note over the durable entries."""
        return self._head.note

    def append(
        self,
        entries: Sequence[Entry],
        *,
        positions: Mapping[tuple[str, int], int] | None = None,
        set_aside: Sequence[SetAside] = (),
    ) -> Appended:
        """Append entries together with the positions up to which their sources are consumed.

        When this returns, all of it is durable. When it raises `Invalid`, `Refused` (`ledger-position-back`) or an
        error whose code starts with `vault-`, nothing is, and the ledger goes on. After any other error the outcome is
        unknown: close the ledger, open it, look at `positions`. Without entries, positions move and the checkpoint
        stays.
        """
        if len(entries) > MAX_BATCH:
            raise Invalid("ledger-batch", f"a batch has at most {MAX_BATCH} entries")
        for entry in entries:
            check_entry(entry)
        with self._lock:
            if self._unknown_outcome:
                message = "the outcome of an earlier commit is unknown; close the ledger and open it again"
                raise Unavailable("ledger-outcome-unknown", message)
            consumed = self._advanced(positions or {})
            keys = BatchKeys(
                self._vault.people({entry.subject for entry in entries if entry.subject is not None}),
                self._vault.entry_keys(sum(map(needs_entry_key, entries))),
            )
            sequenced = sequence(
                entries,
                origin=self._signer.name,
                first=self._head.size,
                keys=keys,
                random=os.urandom(RANDOM_SIZE * len(entries)),
            )
            frontier, tiles = self._frontier.extend(sequenced.leaves)
            head = self._next_head(frontier, consumed)
            self._commit(Batch(self._head.size, head, sequenced.rows, tiles, positions or {}, set_aside))
            self._frontier, self._head, self._positions = frontier, head, consumed
        return Appended(sequenced.indices, head.size, head.root, head.note)

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the next position to read by (topic, partition), as committed with the entries."""
        with self._lock:
            return self._positions.copy()

    def set_asides(self) -> list[SetAside]:
        """Return the records that were set aside, by topic, partition and position."""
        with self._lock:
            return self._store.set_asides()

    def close(self) -> None:
        """Close the file; the vault is its owner's to close."""
        with self._lock:
            self._unknown_outcome = True
            self._store.close()

    def _commit(self, batch: Batch) -> None:
        try:
            self._store.commit(batch)
        except BaseException:
            # Even an error at COMMIT may have persisted, and after another writer our memory is behind for good: only
            # the file knows.
            self._unknown_outcome = True
            raise

    def _next_head(self, frontier: Frontier, consumed: Mapping[tuple[str, int], int]) -> Head:
        digest = consumed_digest(consumed)
        if frontier.size == self._head.size:
            return Head(self._head.size, self._head.root, self._head.note, digest)
        root = frontier.root()
        note = Checkpoint(self._signer.name, frontier.size, root).sign(self._signer)
        return Head(frontier.size, root, note, digest)

    def _advanced(self, positions: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        for source, position in positions.items():
            if source[1] < 0 or not 0 <= position < 1 << 63:
                raise Invalid("ledger-position", f"{source[0]} has no partition {source[1]} or position {position}")
            if position < self._positions.get(source, 0):
                message = f"{source[0]}/{source[1]} was consumed to {self._positions[source]}, beyond {position}"
                raise Refused("ledger-position-back", message)
        return self._positions | dict(positions)

    def _recover_head(self) -> Head:
        ours = Identity(self._signer.name, self._signer.vkey)
        identity = self._store.identity()
        if identity is None:
            # SPEC tlog-checkpoint: "unless the tree is empty, in which case the tree size is `0`"
            checkpoint = Checkpoint(ours.origin, 0, EMPTY_ROOT)
            head = Head(0, EMPTY_ROOT, checkpoint.sign(self._signer), consumed_digest({}))
            self._store.create(ours, head)
            return head
        if identity != ours:
            message = (
                f"the file holds the log {identity.origin} under the key {identity.vkey}; "
                f"this is the key {ours.vkey}. Give the key that belongs to the file, or another file"
            )
            raise Refused("ledger-other-key", message)
        head = self._store.head()
        if head is None:
            raise Tampered("ledger-checkpoint", "the file holds no checkpoint; run fsck")
        checkpoint = open_checkpoint(head.note, self._signer.verifier)
        if (checkpoint.size, checkpoint.root) != (head.size, head.root):
            raise Tampered("ledger-checkpoint", "the stored checkpoint does not say what its row says; run fsck")
        return head

    def _tile_data(self, level: int, index: int) -> bytes:
        row = self._store.tile(level, index)
        return b"" if row is None else row.data
