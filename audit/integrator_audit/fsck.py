"""Re-derive a ledger's file from its own rows and name every row, tile, bundle and checkpoint that does not fit.

- Each entry stands in the file three times: its row (bodies, hashes), the entry bundle, the tile of level 0. Where
  they differ, the tree above and the signed root say which is wrong.
- With the vault the encrypted parts are opened and compared with their hashes; without it only their seals are.
- Nothing is repaired, nothing is written.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from integrator_audit.checkpoint import LogKeys
from integrator_audit.database import connect, translated
from integrator_audit.errors import Invalid
from integrator_audit.findings import Finding, Findings, Progress, no_progress
from integrator_audit.keystore import KeyStore
from integrator_audit.note import Verifier
from integrator_audit.notecheck import NoteCheck
from integrator_audit.rowcheck import Named, RowCheck
from integrator_audit.sqlitereading import SCHEMA, check_format
from integrator_audit.tablecheck import TableCheck
from integrator_audit.tilecheck import TileCheck, entry_hashes
from integrator_audit.tiles import ENTRIES, TILE_WIDTH, TileName, hashes_at
from integrator_audit.uniqueness import Repeated

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
    path: Path, *, vault: KeyStore | None = None, verifier: LogKeys | None = None, progress: Progress = no_progress
) -> Report:
    """Check the ledger in one file. `verifier` is the log's key from elsewhere; without it the file's own is used.

    Raises `Unavailable` when there is no such file, `Refused` when it is not a ledger.
    """
    with translated("ledger"):
        connection = connect(path, mode="ro")
    try:
        return _Check(connection, vault=vault, keys=verifier, progress=progress).run()
    finally:
        connection.close()


class _Check:
    """One run over one file."""

    def __init__(
        self, connection: sqlite3.Connection, *, vault: KeyStore | None, keys: LogKeys | None, progress: Progress
    ) -> None:
        # Text that is damaged must come out as text to be reported, not as an exception of the driver.
        connection.text_factory = _lenient_text
        self._connection = connection
        self._vault = vault
        self._keys = keys
        self._progress = progress
        self._findings = Findings()
        self._kind = "entries"

    def run(self) -> Report:
        check_format(self._connection)
        origin, size = "", 0
        try:
            self._connection.execute("BEGIN")
            self._check_pages()
            keys = self._identify()
            if keys is not None:
                self._keys, origin = keys, keys.name
                tables = TableCheck(self._connection, self._findings)
                tables.check_names()
                size = self._check_tree(keys, tables.damaged)
                tables.check_indexes(size)
                tables.check_rest(size)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            self._findings.add("database-damaged", "file", f"the file cannot be read to its end: {error}")
        vkey = "" if self._keys is None else self._keys.for_size(0)[0].vkey
        opened = self._vault is not None
        return Report(origin, vkey, size, opened, self._findings.items, self._findings.left_out)

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

    def _identify(self) -> LogKeys | None:
        rows = self._connection.execute("SELECT origin, vkey, kind FROM identity").fetchall()
        if len(rows) != 1:
            self._findings.add("identity", "row of identity", f"there are {len(rows)} rows and not one")
            return self._keys
        origin, vkey, self._kind = rows[0]
        if self._kind not in ("entries", "leaves"):
            self._findings.add("identity", "row of identity", "the file does not say what the leaves of its log are")
        try:
            own = Verifier.from_text(str(vkey))
        except Invalid as error:
            self._findings.add("identity", "row of identity", f"the file's verifier key is damaged: {error.message}")
            return self._keys
        if origin != own.name or (self._keys is not None and own not in self._keys.for_size(0)):
            message = f"the file says to be {origin} under {vkey}, which is not the key expected"
            self._findings.add("identity", "row of identity", message)
        return self._keys or own

    def _check_tree(self, keys: LogKeys, damaged: Named) -> int:
        """Check entries, bundles, tiles and every signed note; return the size of the newest checkpoint."""
        query = "SELECT size, root FROM checkpoint ORDER BY size DESC, at DESC LIMIT 1"
        newest = self._connection.execute(query).fetchone()
        if newest is None:
            self._findings.add("checkpoint-missing", "rows of checkpoint", "the file holds no checkpoint")
            return 0
        size, root = int(newest[0]), newest[1]
        check = TileCheck(size, self._tile, self._findings)
        rows = RowCheck(self._connection, origin=keys.name, vault=self._vault, findings=self._findings, damaged=damaged)
        notes = NoteCheck(self._connection, keys, self._findings)
        notes.compare(check.edge)
        with Repeated() as repeated:
            for start in range(0, size, TILE_WIDTH):
                width = min(TILE_WIDTH, size - start)
                trusted = self._check_tile(check, rows, start, width=width, root=root)
                for offset, leaf in enumerate(trusted):
                    repeated.add(leaf, start + offset)
                at = start
                while notes.due is not None and notes.due <= start + len(trusted):
                    due = notes.due
                    check.feed(trusted[at - start : due - start])
                    at = due
                    notes.compare(check.edge)
                check.feed(trusted[at - start :])
                self._progress(check.edge.size, size)
            if self._kind == "entries":
                for first, other in repeated.pairs():
                    message = f"it commits to the same as entry {first}: randomness was used twice, or a row was copied"
                    self._findings.add("entry-repeated", f"row of entry {other}", message)
        check.finish()
        self._check_tile_rows(size)
        return size

    def _check_tile(self, check: TileCheck, rows: RowCheck, start: int, *, width: int, root: bytes) -> list[bytes]:
        """Return the leaf hashes of one tile of level 0 that the rest of the log confirms."""
        number = start // TILE_WIDTH
        bundle, tile = TileName(ENTRIES, number, width), TileName(0, number, width)
        given = {
            "tile": check.hashes(tile, self._tile(tile)),
            "bundle": entry_hashes(check.entries(bundle, self._tile(bundle))),
        }
        if self._kind == "entries":
            given["row"] = entry_hashes(rows.leaves(start, width))
        trusted = check.judge(tile, given, root)
        self._blame(given, trusted, start=start)
        return trusted

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


def _lenient_text(data: bytes) -> str:
    return data.decode(errors="replace")
