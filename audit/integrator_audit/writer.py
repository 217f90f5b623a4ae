"""What the writers of all kinds of log share: one lock, one head, one commit, one recovery.

- A commit's time is the clock's, but never before the last commit's; a clock that is further behind than `MAX_BEHIND`
  is refused, because a day's end would come to lie in the wrong place.
- After a transaction of unknown outcome the writer refuses all work until it is opened anew: start and recovery are
  the same code.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Final

from integrator_audit.checkpoint import Checkpoint, LogSigner, open_checkpoint
from integrator_audit.errors import Busy, Invalid, Refused, Tampered, Unavailable
from integrator_audit.frontier import Frontier
from integrator_audit.merkle import EMPTY_ROOT
from integrator_audit.store import (
    CLOSED,
    KEYS_MOVED,
    Batch,
    EntryRow,
    Head,
    Identity,
    Kind,
    SetAside,
    Store,
    consumed_digest,
)
from integrator_audit.tiles import TILE_WIDTH, TileRow, hashes_at

MAX_BATCH: Final = 100_000
MAX_BEHIND: Final = 300_000
"""Milliseconds by which the clock may be behind the last commit."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What a commit made durable: each entry's index in the order given, and the log's head after it.

    `checkpoint` is the signed note over `size` and `root`; `at` is when it was committed (ms since 1970).
    """

    indices: tuple[int, ...]
    size: int
    root: bytes
    checkpoint: bytes
    at: int


class LogWriter:
    """The one writer of a log. Calls from several threads are taken one after the other."""

    KIND: ClassVar[Kind]

    def __init__(
        self, store: Store, *, signer: LogSigner, positions: Mapping[tuple[str, int], int] | None = None
    ) -> None:
        """Use `open` of the kind of log instead; this takes a store that is open already, and recovers from it."""
        self._store = store
        self._signer = signer
        # Owned by the lock: what follows is the log as it is durable.
        self._lock = threading.Lock()
        self._unknown_outcome = False
        self._head = self._recover_head(positions or {})
        self._frontier = Frontier.load(self._head.size, store.tile)
        if self._frontier.root() != self._head.root:
            message = "the tiles at the right edge do not give the root of the stored checkpoint; run fsck"
            raise Tampered("ledger-right-edge", message)
        self._positions = store.positions()
        if consumed_digest(self._positions) != self._head.consumed:
            raise Tampered("ledger-positions", "the stored positions are not those of the last commit; run fsck")

    @property
    def origin(self) -> str:
        """Return the log's origin."""
        return self._signer.name

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

    @property
    def head(self) -> Head:
        """Return the newest durable checkpoint with its time."""
        return self._head

    @property
    def is_closed(self) -> bool:
        """Say whether the log was closed for good."""
        with self._lock:
            return self._store.is_closed()

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the next position to read by (topic, partition), as committed with the entries."""
        with self._lock:
            return self._positions.copy()

    def set_asides(self) -> list[SetAside]:
        """Return the records that were set aside, by topic, partition and position."""
        with self._lock:
            return self._store.set_asides()

    def tile(self, level: int, index: int) -> TileRow | None:
        """Return a tile as wide as it is now, the bundles at level -1."""
        with self._lock:
            return self._store.tile(level, index)

    def published(self) -> tuple[int, bytes] | None:
        """Return the newest published size and its note with the cosignatures, or None."""
        with self._lock:
            return self._store.published()

    def publish(self, note: bytes) -> None:
        """Keep a checkpoint of this log with the cosignatures that it was published with.

        Raises `Tampered` when the note is not signed by this log (`checkpoint-…`) or says another root than the tree
        has (`publish-fork`), `Invalid` (`publish-size`) when its size is ahead of the log or behind what is published.
        """
        checkpoint = open_checkpoint(note, self._signer.verifier)
        with self._working():
            published = self._store.published()
            if checkpoint.size > self._head.size or (published is not None and checkpoint.size < published[0]):
                message = f"size {checkpoint.size} is ahead of the log or behind what is published already"
                raise Invalid("publish-size", message)
            if self._root_at(checkpoint.size) != checkpoint.root:
                message = f"the note of size {checkpoint.size} does not have the root of this log; call the operator"
                raise Tampered("publish-fork", message)
            self._store.publish(checkpoint.size, note)

    def freeze(self) -> Head:
        """Close the log for good and return its last checkpoint; appending is then `Refused` (`ledger-closed`)."""
        with self._working():
            self._store.close_log()
            return self._head

    def close(self) -> None:
        """Close the file; a vault is its owner's to close."""
        with self._lock:
            self._unknown_outcome = True
            self._store.close()

    @contextmanager
    def _working(self) -> Generator[None]:
        """Hold the lock; refuse when the outcome of an earlier commit is unknown."""
        with self._lock:
            if self._unknown_outcome:
                message = "the outcome of an earlier commit is unknown; close the ledger and open it again"
                raise Unavailable("ledger-outcome-unknown", message)
            yield

    def _extend(  # noqa: PLR0913  all that one commit makes durable
        self,
        leaves: Sequence[bytes],
        rows: Sequence[EntryRow] = (),
        *,
        positions: Mapping[tuple[str, int], int],
        set_aside: Sequence[SetAside] = (),
        still_valid: Callable[[], bool] = lambda: True,
        at: int,
    ) -> Head:
        """Commit leaves with their rows under a new checkpoint and return it; the lock is held."""
        consumed = self._advanced(positions)
        frontier, tiles = self._frontier.extend(leaves)
        head = self._next_head(frontier, consumed, at)
        batch = Batch(self._head.size, head, rows, tiles, positions, set_aside, still_valid)
        try:
            self._store.commit(batch)
        except BaseException as error:
            if isinstance(error, Busy | Refused) and error.code in (CLOSED, KEYS_MOVED):
                raise
            # Even an error at COMMIT may have persisted, and after another writer our memory is behind for good: only
            # the file knows.
            self._unknown_outcome = True
            raise
        self._frontier, self._head, self._positions = frontier, head, consumed
        return head

    def _time(self, now_ms: int | None) -> int:
        """Return the time of a commit; raise `Refused` (`ledger-clock-back`)."""
        now = int(time.time() * 1000) if now_ms is None else now_ms
        behind = self._head.at - now
        if behind > MAX_BEHIND:
            message = f"the clock is {behind / 1000:.0f} seconds behind the last commit of {self.origin}; set it right"
            raise Refused("ledger-clock-back", message)
        return max(now, self._head.at)

    def _next_head(self, frontier: Frontier, consumed: Mapping[tuple[str, int], int], at: int) -> Head:
        digest = consumed_digest(consumed)
        if frontier.size == self._head.size:
            return Head(self._head.size, self._head.root, self._head.note, digest, at)
        root = frontier.root()
        note = Checkpoint(self._signer.name, frontier.size, root).sign(self._signer)
        return Head(frontier.size, root, note, digest, at)

    def _advanced(self, positions: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        for source, position in positions.items():
            _check_position(source, position)
            if position < self._positions.get(source, 0):
                message = f"{source[0]}/{source[1]} was consumed to {self._positions[source]}, beyond {position}"
                raise Refused("ledger-position-back", message)
        return self._positions | dict(positions)

    def _recover_head(self, positions: Mapping[tuple[str, int], int]) -> Head:
        ours = Identity(self._signer.name, self._signer.vkey, self.KIND)
        identity = self._store.identity()
        if identity is None:
            for source, position in positions.items():
                _check_position(source, position)
            # SPEC tlog-checkpoint: "unless the tree is empty, in which case the tree size is `0`"
            note = Checkpoint(ours.origin, 0, EMPTY_ROOT).sign(self._signer)
            # The first commit may bring an earlier clock than this machine's, so the empty log begins before all time.
            head = Head(0, EMPTY_ROOT, note, consumed_digest(positions), 0)
            self._store.create(ours, head, positions)
            return head
        if identity != ours:
            message = (
                f"the file holds the log {identity.origin} of {identity.kind} under the key {identity.vkey}; "
                f"this is the key {ours.vkey}, for {ours.kind}. Give the key that belongs to the file, or another file"
            )
            raise Refused("ledger-other-key", message)
        head = self._store.head()
        if head is None:
            raise Tampered("ledger-checkpoint", "the file holds no checkpoint; run fsck")
        checkpoint = open_checkpoint(head.note, self._signer.verifier)
        if (checkpoint.size, checkpoint.root) != (head.size, head.root):
            raise Tampered("ledger-checkpoint", "the stored checkpoint does not say what its row says; run fsck")
        return head

    def _root_at(self, size: int) -> bytes:
        def earlier(level: int, index: int) -> TileRow:
            width = min(hashes_at(level, size) - index * TILE_WIDTH, TILE_WIDTH)
            row = self._store.tile(level, index)
            if row is None or row.width < width:
                raise Tampered("tile-missing", f"a tile of level {level} is missing from the store; run fsck")
            return row.cut(width)

        return Frontier.load(size, earlier).root()


def _check_position(source: tuple[str, int], position: int) -> None:
    if source[1] < 0 or not 0 <= position < 1 << 63:
        raise Invalid("ledger-position", f"{source[0]} has no partition {source[1]} or position {position}")


def check_name(signer: LogSigner, origin: str) -> None:
    """Raise `Refused` (`ledger-origin`) unless the key has the origin's name."""
    if signer.name != origin:
        message = f"the signing key has the name {signer.name}; the key of a log has its origin, {origin}, as name"
        raise Refused("ledger-origin", message)
