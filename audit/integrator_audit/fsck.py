"""Re-derive a ledger's file from its own rows and name every row, tile, bundle and checkpoint that does not fit.

- Each entry stands in the file three times: its row (bodies, hashes), the entry bundle, the tile of level 0. Where
  they differ, the tree above and the signed root say which is wrong.
- With the vault the encrypted parts are opened and compared with their hashes; without it only their seals are.
- Nothing is repaired, nothing is written.

- What the file does not tell of itself, that it was closed and the checkpoints of earlier days, the log of days does.

LIMIT: that a whole row is gone of those that nothing else names (a published note, what was set aside; without the log
of days the closing and earlier checkpoints) or that a ground of erasure became the other one cannot be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from integrator_audit.checkpoint import LogKeys
from integrator_audit.daycheck import DayEnd, check_day_ends
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.findings import Finding, Findings, Progress, no_progress
from integrator_audit.keystore import KeyStore
from integrator_audit.note import Verifier
from integrator_audit.notecheck import NoteCheck, newest_plausible
from integrator_audit.rawrows import RawRows, Wrong
from integrator_audit.rowcheck import Named, RowCheck
from integrator_audit.stores import open_rows
from integrator_audit.tablecheck import TableCheck
from integrator_audit.tilecheck import TileCheck, entry_hashes
from integrator_audit.tiles import ENTRIES, MAX_LEVEL, TILE_WIDTH, TileName, hashes_at, nodes_of
from integrator_audit.uniqueness import Repeated


@dataclass(frozen=True, slots=True)
class Report:
    """What a check of one file found. `opened` says whether the vault was given; `left_out` counts unlisted findings.

    `vkey` is the key that the file names as its own, or the one that was given. `days` counts the ends of sealed days
    that were compared.
    """

    origin: str
    vkey: str
    size: int
    opened: bool
    findings: tuple[Finding, ...]
    left_out: int
    days: int = 0

    @property
    def holds(self) -> bool:
        """Say whether nothing was found."""
        return not self.findings


def fsck(  # noqa: PLR0913  a file, and what it is compared with
    place: Path | str,
    *,
    vault: KeyStore | None = None,
    verifier: LogKeys | None = None,
    origin: str | None = None,
    day_ends: Callable[[str], Sequence[DayEnd]] = lambda _origin: (),
    progress: Progress = no_progress,
) -> Report:
    """Check the ledger at `place`: the path of a file, or a `postgresql://` URL.

    `verifier` is the log's key from elsewhere; without it the log's own is used. In a database with several logs,
    `origin` or the URL's `schema` says which. `day_ends` gives the ends of the sealed days of a log by its origin
    (`completeness.dayends.day_ends`), from a log of days that was checked itself.

    Raises `Unavailable` when there is no such file or server, or it is lost meanwhile, `Refused` when it is no ledger.
    """
    rows = open_rows(place, origin=origin)
    try:
        with rows.snapshot():
            return _Check(rows, vault=vault, keys=verifier, day_ends=day_ends, progress=progress).run()
    finally:
        rows.close()


class _Check:
    """One run over one file."""

    def __init__(
        self,
        rows: RawRows,
        *,
        vault: KeyStore | None,
        keys: LogKeys | None,
        day_ends: Callable[[str], Sequence[DayEnd]],
        progress: Progress,
    ) -> None:
        self._rows = rows
        self._vault = vault
        self._keys = keys
        self._day_ends = day_ends
        self._progress = progress
        self._findings = Findings()
        self._kind = "entries"

    def run(self) -> Report:
        origin, size, days = "", 0, 0
        try:
            self._report(self._rows.structure())
            keys = self._identify()
            if keys is not None:
                self._keys, origin = keys, keys.name
                tables = TableCheck(self._rows, self._findings)
                tables.check_names()
                size = self._check_tree(keys, tables.damaged)
                self._report(self._rows.indexes())
                tables.check_entries(size if self._kind == "entries" else 0)
                tables.check_rest(size)
                ends = self._day_ends(origin)
                check_day_ends(self._rows, ends, self._findings)
                days = len(ends)
        except Tampered as error:
            self._findings.add("database-damaged", "store", error.message)
        vkey = "" if self._keys is None else self._keys.for_size(0)[0].vkey
        opened = self._vault is not None
        return Report(origin, vkey, size, opened, self._findings.items, self._findings.left_out, days)

    def _report(self, found: Iterator[Wrong]) -> None:
        for wrong in found:
            self._findings.add(*wrong)

    def _identify(self) -> LogKeys | None:
        rows = list(self._rows.query("SELECT origin, vkey, kind FROM identity"))
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
        newest = newest_plausible(self._rows)
        if newest is None:
            self._findings.add("checkpoint-missing", "rows of checkpoint", "the file holds no checkpoint that holds")
            return 0
        size, root = newest
        check = TileCheck(size, self._tile, self._findings)
        rows = RowCheck(self._rows, origin=keys.name, vault=self._vault, findings=self._findings, damaged=damaged)
        notes = NoteCheck(self._rows, keys, self._findings)
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
        notes.finish()
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
        if len(trusted) == TILE_WIDTH:
            self._check_nodes(tile, b"".join(trusted))
        return trusted

    def _check_nodes(self, name: TileName, hashes: bytes) -> None:
        row = self._rows.first("SELECT nodes FROM tile WHERE level = 0 AND n = ?", (name.index,))
        if row is not None and row[0] != nodes_of(hashes):
            self._findings.add("tile-wrong", name.path, "the nodes beside it are not those of its hashes")

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
        row = self._rows.first("SELECT data FROM tile WHERE level = ? AND n = ?", (name.level, name.index))
        if row is None:
            return None
        return row[0] if isinstance(row[0], bytes) else b""

    def _check_tile_rows(self, size: int) -> None:
        for level, number, width, nodes in self._rows.query("SELECT level, n, width, nodes FROM tile"):
            named = type(level) is int and ENTRIES <= level <= MAX_LEVEL and type(number) is int and number >= 0
            count = hashes_at(level, size) - number * TILE_WIDTH if named else 0
            if count <= 0:
                self._findings.add("tile-surplus", f"row of tile level {level} n {number}", "the log has no such tile")
                continue
            name = TileName(level, number, min(count, TILE_WIDTH))
            if width != name.width:
                self._findings.add("tile-wrong", name.path, f"its row says that it is {width} wide")
            # Those of full tiles of level 0 were compared with the hashes.
            if nodes != b"" and (level, name.width) != (0, TILE_WIDTH):
                self._findings.add("tile-wrong", name.path, "there are nodes beside it, which only full tiles have")
