"""A log whose leaves are public bytes, as the epoch log is: the same tree, checkpoints and commit, without entries.

- Leaves stand in the entry bundles and nowhere else. They are never erased.
- Crash and recovery are those of every log (`writer`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Final

from integrator_audit.checkpoint import LogSigner
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.store import Kind, Reading
from integrator_audit.stores import open_store
from integrator_audit.tiles import ENTRIES, TILE_WIDTH, split_bundle
from integrator_audit.writer import MAX_BATCH, Appended, LogWriter, check_name

MAX_LEAF: Final = 0xFFFF


class RawLog(LogWriter):
    """The writer of one log of public leaves. Calls from several threads are taken one after the other."""

    KIND: ClassVar[Kind] = "leaves"

    @classmethod
    def open(cls, place: Path | str, *, origin: str, signer: LogSigner) -> RawLog:
        """Open the log at `place`, or create it; raise as `LedgerWriter.open` does."""
        check_name(signer, origin)
        store = open_store(place, origin=origin)
        try:
            return cls(store, signer=signer)
        except BaseException:
            store.close()
            raise

    def append_leaves(self, leaves: Sequence[bytes], *, now_ms: int | None = None) -> Appended:
        """Append leaves of 1 to 65,535 bytes in the order given; when this returns, they are durable.

        Raises `Invalid` and `Refused` (`ledger-clock-back`) before anything is written; after any other error the
        outcome is unknown: close the log and open it.
        """
        if len(leaves) > MAX_BATCH:
            raise Invalid("ledger-batch", f"a batch has at most {MAX_BATCH} leaves")
        # SPEC tlog-tiles: bundle entries have a uint16 length. Facts §11: no empty entries.
        if not all(0 < len(leaf) <= MAX_LEAF for leaf in leaves):
            raise Invalid("leaf", f"a leaf has 1 to {MAX_LEAF} bytes")
        with self._working():
            first = self._head.size
            head = self._extend(leaves, positions={}, at=self._time(now_ms))
        return Appended(tuple(range(first, head.size)), head.size, head.root, head.note, head.at)

    def leaf(self, index: int) -> bytes:
        """Return one durable leaf. Raises `Invalid` (`no-such-entry`)."""
        with self._lock:
            return read_leaf(self._store, index, self._head.size)

    def leaves(self, start: int, stop: int) -> list[bytes]:
        """Return the durable leaves of [start, stop). Raises `Invalid` (`no-such-entry`)."""
        with self._lock:
            return list(read_leaves(self._store, range(start, stop), self._head.size))


def read_leaf(store: Reading, index: int, size: int) -> bytes:
    """Return leaf `index` of a log of `size`. Raises `Invalid` (`no-such-entry`), `Tampered` (`tile-missing`)."""
    return next(read_leaves(store, range(index, index + 1), size))


def read_leaves(store: Reading, wanted: range, size: int) -> Iterator[bytes]:
    """Yield the leaves of a range; raise as `read_leaf` does."""
    if wanted and not 0 <= wanted.start <= wanted.stop <= size:
        raise Invalid("no-such-entry", f"the log has {size} leaves, not all of {wanted.start} to {wanted.stop - 1}")
    for number in range(wanted.start // TILE_WIDTH, -(-wanted.stop // TILE_WIDTH) if wanted else 0):
        row = store.tile(ENTRIES, number)
        first = number * TILE_WIDTH
        if row is None or row.width < min(size - first, TILE_WIDTH):
            raise Tampered("tile-missing", f"bundle {number} is missing from the store; run fsck")
        yield from split_bundle(row.data, row.width)[max(wanted.start - first, 0) : wanted.stop - first]
