"""Check every signed note of a ledger's file against the tree: kept checkpoints, and published ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from integrator_audit.checkpoint import Checkpoint, LogKeys, open_checkpoint
from integrator_audit.errors import AuditError
from integrator_audit.findings import Findings
from integrator_audit.halfyear import DAY_MS
from integrator_audit.merkle import RightEdge
from integrator_audit.rawrows import RawRows
from integrator_audit.store import seal_of
from integrator_audit.tiles import TILE_WIDTH


def newest_plausible(rows: RawRows) -> tuple[int, bytes] | None:
    """Return size and root of the newest checkpoint that the stored tiles or bundles reach.

    Everything is checked up to that size, and a size that was changed could be astronomic.
    """
    # Their number and not the last one's: that could be astronomic too. One of each pair may be missing.
    counted = rows.first("SELECT count(*) FROM tile WHERE level IN (-1, 0)")
    reached = (counted[0] if counted else 0) * TILE_WIDTH
    query = "SELECT size, root FROM checkpoint WHERE size BETWEEN 0 AND ? ORDER BY size DESC, at DESC LIMIT 1"
    found = rows.first(query, (reached,))
    return None if found is None else (int(found[0]), found[1])


class _Due(NamedTuple):
    code: str
    where: str
    size: int
    root: bytes


class NoteCheck:
    """Compare the notes with the tree as it grows: `compare` when it has reached the size `due`."""

    def __init__(self, rows: RawRows, keys: LogKeys, findings: Findings) -> None:
        self._rows = rows
        self._keys = keys
        self._findings = findings
        self._notes = self._in_order()
        self._next = next(self._notes, None)

    @property
    def due(self) -> int | None:
        """Return the size at which the next note is due, None when there are no more."""
        return None if self._next is None else self._next.size

    def compare(self, edge: RightEdge) -> None:
        """Compare all notes that are due at the tree's present size."""
        while self._next is not None and self._next.size == edge.size:
            if self._next.root != edge.root():
                message = "the entries up to that size do not give the root that was signed"
                self._findings.add(self._next.code, self._next.where, message)
            self._next = next(self._notes, None)

    def finish(self) -> None:
        """Name the notes of more entries than the tree has, which nothing was compared with."""
        while self._next is not None:
            message = "it is of more entries than the log has: this is an older backup, or rows are gone"
            self._findings.add(self._next.code, self._next.where, message)
            self._next = next(self._notes, None)

    def _in_order(self) -> Iterator[_Due]:
        """Check each note's own row and yield what it says, by size."""
        query = (
            "SELECT size, 0, root, note, consumed, at, seal FROM checkpoint"
            " UNION ALL SELECT size, 1, NULL, note, NULL, NULL, seal FROM published ORDER BY 1, 2, 6"
        )
        former_at, former_size = -1, -1
        for size, is_published, root, note, consumed, at, seal in self._rows.query(query):
            code = "published-wrong" if is_published else "checkpoint-wrong"
            where = f"row of {'published' if is_published else 'checkpoint'} {size}"
            if seal_of(*((size, note) if is_published else (size, at, root, note, consumed))) != seal:
                self._findings.add(code, where, "a column or the seal of the row was changed")
                continue
            if not is_published:
                if at < former_at or (at // DAY_MS == former_at // DAY_MS and former_size >= 0):
                    self._findings.add(code, where, "it is not later than the one before, or not the last of its day")
                former_at, former_size = at, size
            checkpoint = self._opened(note, code, where)
            if checkpoint is None:
                continue
            if checkpoint.size != size or (not is_published and checkpoint.root != root):
                self._findings.add(code, where, "the note does not say what its row says")
                continue
            yield _Due(code, where, checkpoint.size, checkpoint.root)

    def _opened(self, note: object, code: str, where: str) -> Checkpoint | None:
        if not isinstance(note, bytes):
            self._findings.add(code, where, "the note is not bytes")
            return None
        try:
            return open_checkpoint(note, self._keys)
        except AuditError as error:
            self._findings.add(code, where, f"the signed note does not hold: {error}")
            return None
