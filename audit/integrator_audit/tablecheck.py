"""Check the tables beside entries, tiles and notes: what entries name, the indexes, draws, erasures and positions."""

from __future__ import annotations

import sqlite3
from hashlib import sha256
from typing import Any

from integrator_audit.findings import Findings
from integrator_audit.merkle import HASH_SIZE
from integrator_audit.rowcheck import Named
from integrator_audit.sqlite import DRAWN
from integrator_audit.store import consumed_digest, seal_of

_NAMED = 20
# 15 is `BLOCK_BITS`.
_INDEXES = {
    "by_subject row ({}, {}) belongs to no entry": (
        "SELECT b.block, b.idx FROM by_subject b LEFT JOIN entry e ON e.idx = b.idx"
        " WHERE e.subject IS NOT b.subject OR NOT (e.marks >> 8 & 1) OR b.block IS NOT b.idx >> 15"
    ),
    "by_subject lacks ({}, {})": (
        "SELECT e.idx >> 15, e.idx FROM entry e WHERE e.subject IS NOT NULL AND e.marks >> 8 & 1 AND NOT EXISTS"
        " (SELECT 1 FROM by_subject b WHERE b.block = e.idx >> 15 AND b.subject = e.subject AND b.idx = e.idx)"
    ),
    "by_recipient row ({}, {}) belongs to no entry": (
        "SELECT b.block, b.idx FROM by_recipient b LEFT JOIN entry e ON e.idx = b.idx"
        " WHERE e.rid IS NOT b.rid OR b.block IS NOT b.idx >> 15"
    ),
    "by_recipient lacks ({}, {})": (
        "SELECT e.idx >> 15, e.idx FROM entry e WHERE e.rid IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM by_recipient b WHERE b.block = e.idx >> 15 AND b.rid = e.rid AND b.idx = e.idx)"
    ),
}


class TableCheck:
    """Check the smaller tables of one file."""

    def __init__(self, connection: sqlite3.Connection, findings: Findings) -> None:
        self._connection = connection
        self._findings = findings
        self.damaged = Named()

    def check_names(self) -> None:
        """Check the rows that entries name, and remember which are damaged."""
        statements: set[int] = set()
        for number, digest, data in self._connection.execute("SELECT aid, digest, bytes FROM statement"):
            if not isinstance(data, bytes) or sha256(data).digest() != digest:
                self._findings.add("statement-wrong", f"row of statement {number}", "its bytes and its digest differ")
                statements.add(number)
        recipients = self._check_seals("recipient", "rid, name")
        self.damaged = Named(frozenset(statements), frozenset(recipients))

    def check_indexes(self, size: int) -> None:
        """Check the indexes by person and recipient, and that no row stands outside the log of `size`."""
        for where, query in _INDEXES.items():
            for found in self._connection.execute(f"{query} LIMIT {_NAMED}"):
                self._findings.add("index-wrong", where.format(*found).strip(), "the index is not that of the entries")
        for table in ("entry", "unlisted", "erased"):
            query = f"SELECT idx FROM {table} WHERE idx < 0 OR idx >= ? LIMIT {_NAMED}"  # noqa: S608  constants
            for (index,) in self._connection.execute(query, (size,)):
                message = f"it lies outside the log of size {size}"
                self._findings.add(f"{table}-surplus", f"row of {table} {index}", message)

    def check_rest(self, size: int) -> None:
        """Check draws, positions, what was set aside and the end of the log of `size`."""
        self._check_seals("set_aside", "topic, part, position, reason")
        self._check_draws(size)
        self._check_positions()
        for (closed,) in self._connection.execute("SELECT size FROM closing"):
            if closed != size:
                message = f"the log was closed at another size than its own, {size}"
                self._findings.add("closing-wrong", f"row of closing {closed}", message)

    def _check_seals(self, table: str, columns: str) -> list[Any]:
        """Return the first columns of rows whose seal is not over what they say."""
        wrong: list[Any] = []
        for *row, seal in self._connection.execute(f"SELECT {columns}, seal FROM {table}"):  # noqa: S608  constants
            if seal_of(*row) != seal:
                wrong.append(row[0])
                named = " ".join(str(column) for column in row if not isinstance(column, bytes))
                self._findings.add(f"{table.replace('_', '-')}-wrong", f"row of {table} {named}", "it was changed")
        return wrong

    def _check_draws(self, size: int) -> None:
        """Check that the draws cover the log without a gap, each beginning with the salt of its first entry."""
        query = "SELECT first, count, draw.salt, substr(entry.h, 1, ?) FROM draw LEFT JOIN entry ON idx = first"
        due = 0
        for first, count, salt, drawn in self._connection.execute(f"{query} ORDER BY first", (DRAWN,)):
            if first != due or count < 1 or salt != drawn:
                message = "the draw does not follow on the one before, or its salt is not that of its first entry"
                self._findings.add("draw-wrong", f"row of draw {first}", message)
            due = first + count
        (rows,) = self._connection.execute("SELECT count(*) FROM entry").fetchone()
        if due != size and rows:
            self._findings.add("draw-wrong", "rows of draw", f"the draws end at {due}, the log at {size}")

    def _check_positions(self) -> None:
        rows = self._connection.execute("SELECT topic, part, next FROM position").fetchall()
        query = "SELECT consumed FROM checkpoint ORDER BY size DESC, at DESC LIMIT 1"
        newest = self._connection.execute(query).fetchone()
        try:
            digest = consumed_digest({(topic, partition): position for topic, partition, position in rows})
        except (OverflowError, AttributeError, TypeError):
            digest = bytes(HASH_SIZE)
        if newest is not None and digest != newest[0]:
            message = "the positions are not those that were committed with the newest checkpoint"
            self._findings.add("positions-wrong", "rows of position", message)
