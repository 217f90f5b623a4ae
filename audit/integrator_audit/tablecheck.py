"""Check the tables beside entries, tiles and notes: what entries name, the indexes, draws, erasures and positions."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

from integrator_audit.findings import Findings
from integrator_audit.merkle import HASH_SIZE
from integrator_audit.rawrows import NAMED, RawRows
from integrator_audit.rowcheck import Named
from integrator_audit.store import consumed_digest, seal_of

_OUTSIDE: Final = {
    "entry": "SELECT idx FROM entry WHERE (idx < 0 OR idx >= ?)",
    "erased": "SELECT idx FROM erased WHERE (idx < 0 OR idx >= ?)",
}


class TableCheck:
    """Check the smaller tables of one file."""

    def __init__(self, rows: RawRows, findings: Findings) -> None:
        self._rows = rows
        self._findings = findings
        self.damaged = Named()

    def check_names(self) -> None:
        """Check the rows that entries name, and remember which are damaged."""
        statements: set[int] = set()
        for number, digest, data in self._rows.query("SELECT aid, digest, bytes FROM statement"):
            if not isinstance(data, bytes) or sha256(data).digest() != digest:
                self._findings.add("statement-wrong", f"row of statement {number}", "its bytes and its digest differ")
                statements.add(number)
        recipients = self._check_seals("recipient", "SELECT rid, name, seal FROM recipient")
        self.damaged = Named(frozenset(statements), frozenset(recipients))

    def check_entries(self, size: int) -> None:
        """Check the draws, and that no row stands outside the `size` entries."""
        for table, query in _OUTSIDE.items():
            for (index,) in self._rows.query(f"{query} LIMIT {NAMED}", (size,)):
                message = f"it lies outside the log's {size} entries"
                self._findings.add(f"{table}-surplus", f"row of {table} {index}", message)
        self._check_draws(size)

    def check_rest(self, size: int) -> None:
        """Check positions, what was set aside and the end of the log of `size`."""
        self._check_seals("set_aside", "SELECT topic, part, position, reason, seal FROM set_aside")
        self._check_positions()
        for (closed,) in self._rows.query("SELECT size FROM closing"):
            if closed != size:
                message = f"the log was closed at another size than its own, {size}"
                self._findings.add("closing-wrong", f"row of closing {closed}", message)

    def _check_seals(self, table: str, query: str) -> list[Any]:
        """Return the first columns of rows whose seal is not over what they say."""
        wrong: list[Any] = []
        for *row, seal in self._rows.query(query):
            if seal_of(*row) != seal:
                wrong.append(row[0])
                named = " ".join(str(column) for column in row if not isinstance(column, bytes))
                self._findings.add(f"{table.replace('_', '-')}-wrong", f"row of {table} {named}", "it was changed")
        return wrong

    def _check_draws(self, size: int) -> None:
        """Check that the draws cover the log without a gap, each beginning with the salt of its first entry."""
        due = 0
        for first, count, salt, drawn in self._rows.draws():
            if type(first) is not int or type(count) is not int:
                self._findings.add("draw-wrong", f"row of draw {first}", "it does not say which entries it is of")
                return
            if first != due or count < 1 or salt != drawn:
                message = "the draw does not follow on the one before, or its salt is not that of its first entry"
                self._findings.add("draw-wrong", f"row of draw {first}", message)
            due = first + count
        if due != size:
            self._findings.add("draw-wrong", "rows of draw", f"the draws end at {due}, the entries at {size}")

    def _check_positions(self) -> None:
        rows = list(self._rows.query("SELECT topic, part, next FROM position"))
        query = "SELECT consumed FROM checkpoint ORDER BY size DESC, at DESC LIMIT 1"
        newest = self._rows.first(query)
        try:
            digest = consumed_digest({(topic, partition): position for topic, partition, position in rows})
        except (OverflowError, AttributeError, TypeError):
            digest = bytes(HASH_SIZE)
        if newest is not None and digest != newest[0]:
            message = "the positions are not those that were committed with the newest checkpoint"
            self._findings.add("positions-wrong", "rows of position", message)
