"""Re-derive a ledger's file from its own rows and name every row, tile, bundle and checkpoint that does not fit.

- Each entry stands in the file three times: its row (bodies, hashes), the entry bundle, the tile of level 0. Where
  they differ, the tree above and the signed root say which is wrong.
- With the vault the encrypted parts are opened and compared with their hashes; without it only their seals are.
- Nothing is repaired, nothing is written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from integrator_audit.checkpoint import open_checkpoint
from integrator_audit.database import connect, translated
from integrator_audit.errors import AuditError, Invalid, Refused
from integrator_audit.findings import Finding, Findings, Progress, no_progress
from integrator_audit.merkle import HASH_SIZE
from integrator_audit.note import Verifier
from integrator_audit.rowcheck import RowCheck
from integrator_audit.sqlite import APPLICATION_ID, FORMAT, SCHEMA
from integrator_audit.store import consumed_digest, subject_seal
from integrator_audit.tilecheck import TileCheck, entry_hashes
from integrator_audit.tiles import ENTRIES, TILE_WIDTH, TileName, hashes_at
from integrator_audit.vault import Vault

_NAMED = 20


@dataclass(frozen=True, slots=True)
class Report:
    """What a check of one file found. `opened` says whether the vault was given; `left_out` counts unlisted findings.

    `vkey` is the key that the file names as its own, or the one that was given.
    """

    origin: str
    vkey: str
    size: int
    opened: bool
    findings: tuple[Finding, ...]
    left_out: int

    @property
    def holds(self) -> bool:
        """Say whether nothing was found."""
        return not self.findings


def fsck(
    path: Path, *, vault: Vault | None = None, verifier: Verifier | None = None, progress: Progress = no_progress
) -> Report:
    """Check the ledger in one file. `verifier` is the log's key from elsewhere; without it the file's own is used.

    Raises `Unavailable` when there is no such file, `Refused` when it is not a ledger.
    """
    with translated("ledger"):
        connection = connect(path, mode="ro")
    try:
        return _Check(connection, vault=vault, verifier=verifier, progress=progress).run()
    finally:
        connection.close()


class _Check:
    """One run over one file."""

    def __init__(
        self, connection: sqlite3.Connection, *, vault: Vault | None, verifier: Verifier | None, progress: Progress
    ) -> None:
        # Text that is damaged must come out as text to be reported, not as an exception of the driver.
        connection.text_factory = _lenient_text
        self._connection = connection
        self._vault = vault
        self._verifier = verifier
        self._progress = progress
        self._findings = Findings()

    def run(self) -> Report:
        self._check_format()
        origin, size = "", 0
        try:
            self._connection.execute("BEGIN")
            self._check_pages()
            verifier = self._identify()
            if verifier is not None:
                self._verifier, origin = verifier, verifier.name
                size = self._check_tree(verifier)
                self._check_subjects()
                self._check_indexes()
                self._check_positions()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            self._findings.add("database-damaged", "file", f"the file cannot be read to its end: {error}")
        vkey = "" if self._verifier is None else self._verifier.vkey
        opened = self._vault is not None
        return Report(origin, vkey, size, opened, self._findings.items, self._findings.left_out)

    def _check_format(self) -> None:
        with translated("ledger"):
            (application,) = self._connection.execute("PRAGMA application_id").fetchone()
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if (application, version) != (APPLICATION_ID, FORMAT):
            raise Refused("ledger-format", "the file is not a ledger that this version reads")

    def _check_pages(self) -> None:
        for (text,) in self._connection.execute(f"PRAGMA integrity_check({_NAMED})"):
            if text != "ok":
                self._findings.add("database-damaged", f"file: {text}", "the database says that it is damaged")
        tables = [
            str(row[0]).strip()
            for row in self._connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
        ]
        if tables != [statement.strip() for statement in SCHEMA.split(";")]:
            self._findings.add("schema-wrong", "file", "its tables are not those of a ledger")

    def _identify(self) -> Verifier | None:
        rows = self._connection.execute("SELECT origin, vkey FROM identity").fetchall()
        if len(rows) != 1:
            self._findings.add("identity", "row of identity", f"there are {len(rows)} rows and not one")
            return self._verifier
        origin, vkey = rows[0]
        try:
            own = Verifier.from_text(str(vkey))
        except Invalid as error:
            self._findings.add("identity", "row of identity", f"the file's verifier key is damaged: {error.message}")
            return self._verifier
        if origin != own.name or (self._verifier is not None and own != self._verifier):
            message = f"the file says to be {origin} under {vkey}, which is not the key expected"
            self._findings.add("identity", "row of identity", message)
        return self._verifier or own

    def _check_tree(self, verifier: Verifier) -> int:
        """Check entries, bundles, tiles and every checkpoint; return the size of the newest checkpoint."""
        newest = self._connection.execute("SELECT size, root FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
        if newest is None:
            self._findings.add("checkpoint-missing", "rows of checkpoint", "the file holds no checkpoint")
            return 0
        size, root = int(newest[0]), newest[1]
        check = TileCheck(size, self._tile, self._findings)
        rows = RowCheck(self._connection, origin=verifier.name, vault=self._vault, findings=self._findings)
        checkpoints = self._checkpoints(verifier)
        due = next(checkpoints, None)
        while due is not None and due[0] == 0:
            self._compare_root(due, check.edge.root())
            due = next(checkpoints, None)
        for start in range(0, size, TILE_WIDTH):
            width = min(TILE_WIDTH, size - start)
            from_rows = rows.leaves(start, width)
            bundle, tile = TileName(ENTRIES, start // TILE_WIDTH, width), TileName(0, start // TILE_WIDTH, width)
            given = {
                "tile": check.hashes(tile, self._tile(tile)),
                "bundle": entry_hashes(check.entries(bundle, self._tile(bundle))),
                "row": entry_hashes(from_rows),
            }
            trusted = check.judge(tile, given, root)
            self._blame(given, trusted, start=start)
            sound = zip(from_rows, entry_hashes(from_rows) or (), trusted, strict=False)
            rows.check_commitments(start, [leaf if left == right else b"" for leaf, left, right in sound])
            at = start
            while due is not None and due[0] <= start + len(trusted):
                check.feed(trusted[at - start : due[0] - start])
                at = due[0]
                self._compare_root(due, check.edge.root())
                due = next(checkpoints, None)
            check.feed(trusted[at - start :])
            self._progress(check.edge.size, size)
        check.finish()
        surplus = self._connection.execute("SELECT count(*) FROM entry WHERE idx < 0 OR idx >= ?", (size,)).fetchone()[
            0
        ]
        if surplus:
            self._findings.add(
                "entry-surplus", "rows of entry", f"{surplus} entries lie outside the log of size {size}"
            )
        self._check_tile_rows(size)
        return size

    def _blame(self, given: dict[str, list[bytes] | None], trusted: list[bytes], *, start: int) -> None:
        for who, hashes in given.items():
            if hashes is None or hashes == trusted:
                continue
            number = start // TILE_WIDTH
            for offset, (left, right) in enumerate(zip(hashes, trusted, strict=False)):
                if left == right:
                    continue
                if who == "row":
                    message = "the stored hashes of the entry are not what the tree holds"
                    self._findings.add("entry-wrong", f"row of entry {start + offset}", message)
                elif who == "tile":
                    message = f"hash {offset} is not that of entry {start + offset}"
                    self._findings.add("tile-wrong", TileName(0, number, len(hashes)).path, message)
                else:
                    message = f"entry {offset} of the bundle is not entry {start + offset} of the log"
                    self._findings.add("bundle-wrong", TileName(ENTRIES, number, len(hashes)).path, message)

    def _checkpoints(self, verifier: Verifier) -> Iterator[tuple[int, bytes]]:
        """Check each stored checkpoint's own row and yield (size, root) as the note says, in order."""
        rows = self._connection.execute("SELECT size, root, note FROM checkpoint ORDER BY size")
        for size, root, note in rows:
            where = f"row of checkpoint {size}"
            try:
                checkpoint = open_checkpoint(bytes(note), verifier)
            except (AuditError, TypeError) as error:
                self._findings.add("checkpoint-wrong", where, f"the signed note does not hold: {error}")
                continue
            if (checkpoint.size, checkpoint.root) != (size, root):
                self._findings.add("checkpoint-wrong", where, "the note does not say what its row says")
                continue
            yield checkpoint.size, checkpoint.root

    def _compare_root(self, due: tuple[int, bytes], root: bytes) -> None:
        if due[1] != root:
            message = "the entries up to that size do not give the root that was signed"
            self._findings.add("checkpoint-wrong", f"row of checkpoint {due[0]}", message)

    def _tile(self, name: TileName) -> bytes | None:
        row = self._connection.execute(
            "SELECT data FROM tile WHERE level = ? AND n = ?", (name.level, name.index)
        ).fetchone()
        if row is None:
            return None
        return row[0] if isinstance(row[0], bytes) else b""

    def _check_tile_rows(self, size: int) -> None:
        for level, number, width in self._connection.execute("SELECT level, n, width FROM tile"):
            count = hashes_at(level, size) - number * TILE_WIDTH if ENTRIES <= level < 64 and number >= 0 else 0
            if count <= 0:
                self._findings.add("tile-surplus", f"row of tile level {level} n {number}", "the log has no such tile")
            elif width != min(count, TILE_WIDTH):
                path = TileName(level, number, min(count, TILE_WIDTH)).path
                self._findings.add("tile-wrong", path, f"its row says that it is {width} wide")

    def _check_subjects(self) -> None:
        for number, pseudonym, seal in self._connection.execute("SELECT sid, pseudonym, seal FROM subject"):
            if not isinstance(pseudonym, bytes) or subject_seal(number, pseudonym) != seal:
                message = "the pseudonym does not belong to the number"
                self._findings.add("subject-wrong", f"row of subject {number}", message)

    def _check_indexes(self) -> None:
        queries = {
            "by_subject row ({}, {}) belongs to no entry": (
                "SELECT b.sid, b.idx FROM by_subject b LEFT JOIN entry e ON e.idx = b.idx"
                " WHERE e.sid IS NOT b.sid LIMIT ?"
            ),
            "by_subject lacks ({}, {})": (
                "SELECT sid, idx FROM entry e WHERE sid IS NOT NULL"
                " AND NOT EXISTS (SELECT 1 FROM by_subject b WHERE b.sid = e.sid AND b.idx = e.idx) LIMIT ?"
            ),
        }
        for where, query in queries.items():
            for number, index in self._connection.execute(query, (_NAMED,)):
                message = "the index of entries by person is not that of the entries"
                self._findings.add("index-wrong", where.format(number, index), message)
        (commitments,) = self._connection.execute("SELECT count(*) FROM commitment").fetchone()
        (entries,) = self._connection.execute("SELECT count(*) FROM entry").fetchone()
        if commitments != entries:
            message = f"there are {commitments} commitments for {entries} entries"
            self._findings.add("index-wrong", "rows of commitment", message)

    def _check_positions(self) -> None:
        rows = self._connection.execute("SELECT topic, part, next FROM position").fetchall()
        newest = self._connection.execute("SELECT consumed FROM checkpoint ORDER BY size DESC LIMIT 1").fetchone()
        try:
            digest = consumed_digest({(topic, partition): position for topic, partition, position in rows})
        except (OverflowError, AttributeError, TypeError):
            digest = bytes(HASH_SIZE)
        if newest is not None and digest != newest[0]:
            message = "the positions are not those that were committed with the newest checkpoint"
            self._findings.add("positions-wrong", "rows of position", message)


def _lenient_text(data: bytes) -> str:
    return data.decode(errors="replace")
