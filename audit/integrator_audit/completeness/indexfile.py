"""The embedded index: one SQLite file beside the epoch log's.

- Write-ahead log, `synchronous=FULL`: what a method wrote has reached the disk when it returns.
- `secure_delete`, and the write-ahead log is emptied after an erasure: erased salts and lists leave no copy here.
- One process writes: it holds a lock on a file beside it, so that nobody forgets a day that another one is sealing.
- A page's number in the file is its place (day, trie, level, number), so a day's pages are appended in their order.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from integrator_audit.columns import typed
from integrator_audit.completeness.index import Altered, Cut, Page, Shape, Trie
from integrator_audit.database import check_plain, empty_wal, make_tables, opening, transaction, translated
from integrator_audit.errors import Busy, Invalid, Refused, Tampered, Unavailable
from integrator_audit.halfyear import first_day, last_day

FORMAT = 1
APPLICATION_ID = 0x64696978  # "diix"
PAGE_SIZE = 16_384
"""Bytes of the file's own pages: several pages of a trie fit in one."""

SCHEMA = """
CREATE TABLE sealed (epoch INTEGER PRIMARY KEY, leaf BLOB NOT NULL);
CREATE TABLE cut (epoch INTEGER NOT NULL, shard INTEGER NOT NULL, origin TEXT NOT NULL, size INTEGER NOT NULL,
  note BLOB NOT NULL, PRIMARY KEY (epoch, shard)) WITHOUT ROWID;
CREATE TABLE trie (epoch INTEGER NOT NULL, trie INTEGER NOT NULL, leaves INTEGER NOT NULL, bits INTEGER NOT NULL,
  PRIMARY KEY (epoch, trie)) WITHOUT ROWID;
CREATE TABLE page (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE place (id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, trie INTEGER NOT NULL, label BLOB NOT NULL,
  data BLOB NOT NULL);
CREATE INDEX place_of ON place (epoch, trie, label);
CREATE TABLE altered (id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, was BLOB NOT NULL, left BLOB NOT NULL)
"""

_NUMBER_BITS, _LEVEL_BITS, _TRIE_BITS = 32, 4, 2
_DAY_BITS = _NUMBER_BITS + _LEVEL_BITS + _TRIE_BITS
_LAST_DAY = (1 << 63 - _DAY_BITS) - 1


class SqliteIndex:
    """An `IndexStore` in one file. Not safe to share between threads without a lock, which its owners hold."""

    def __init__(self, connection: sqlite3.Connection, lock: IO[bytes] | None = None) -> None:
        """Use `open` or `read_only` instead."""
        self.connection = connection
        self._lock = lock

    @classmethod
    def open(cls, path: Path) -> SqliteIndex:
        """Open the file for its one writer, or create it; raise `Busy` (`index-busy`) while another process has it."""
        lock = _lock(path)
        try:
            with opening(path, what="index", page_size=PAGE_SIZE) as connection:
                connection.execute("PRAGMA secure_delete=ON")
                make_tables(connection, SCHEMA, version=FORMAT, application=APPLICATION_ID)
                _check_format(connection)
        except BaseException:
            lock.close()
            raise
        return cls(connection, lock)

    @classmethod
    def open_erasing(cls, path: Path) -> SqliteIndex:
        """Open the file beside its writer, to erase what is sealed there; raise `Unavailable` when it is absent."""
        if not path.is_file():
            raise Unavailable("no-such-file", f"there is no index {path}")
        with opening(path, what="index") as connection:
            connection.execute("PRAGMA secure_delete=ON")
            _check_format(connection)
        return cls(connection)

    @classmethod
    def read_only(cls, path: Path) -> SqliteIndex:
        """Open another process's file for reading; raise `Unavailable` when it is absent."""
        with opening(path, what="index", mode="ro") as connection:
            _check_format(connection)
        return cls(connection)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()
        if self._lock is not None:
            self._lock.close()

    def newest(self) -> int | None:
        """Return the newest day that was finished here, None when there is none."""
        with translated("index"):
            row = self.connection.execute("SELECT max(epoch) FROM sealed").fetchone()
        return typed("I", [row], what="index")[0][0]

    def leaf(self, epoch: int) -> bytes | None:
        """Return the leaf with which a day was finished here."""
        with translated("index"):
            row = self.connection.execute("SELECT leaf FROM sealed WHERE epoch = ?", (epoch,)).fetchone()
        return None if row is None else typed("b", [row], what="index")[0][0]

    def cut(self, epoch: int, shard: int) -> Cut | None:
        """Return where a day ends in a shard."""
        with translated("index"):
            row = self.connection.execute(
                "SELECT shard, origin, size, note FROM cut WHERE epoch = ? AND shard = ?", (epoch, shard)
            ).fetchone()
        return None if row is None else Cut(*typed("itib", [row], what="index")[0])

    def shape(self, epoch: int, trie: Trie) -> Shape | None:
        """Return how a day's trie lies in pages; None when the day has no such trie."""
        with translated("index"):
            row = self.connection.execute(
                "SELECT leaves, bits FROM trie WHERE epoch = ? AND trie = ?", (epoch, trie)
            ).fetchone()
        return None if row is None else Shape(*typed("ii", [row], what="index")[0])

    def page(self, epoch: int, trie: Trie, level: int, number: int) -> bytes | None:
        """Return one page."""
        with translated("index"):
            row = self.connection.execute(
                "SELECT data FROM page WHERE id = ?", (_first_id(epoch, trie, level) + number,)
            ).fetchone()
        return None if row is None else typed("b", [row], what="index")[0][0]

    def pages(self, epoch: int, trie: Trie) -> Iterator[Page]:
        """Yield the pages of level 0 in the order of their labels."""
        first = _first_id(epoch, trie, 0)
        with translated("index"):
            for number, data in self.connection.execute(
                "SELECT id - ?, data FROM page WHERE id >= ? AND id < ? ORDER BY id",
                (first, first, _first_id(epoch, trie, 1)),
            ):
                yield Page(0, *typed("ib", [(number, data)], what="index")[0])

    def places(self, epoch: int, trie: Trie, label: bytes) -> Iterator[bytes]:
        """Yield the list of a label that is too long for its page, in pieces of whole places, ascending."""
        with translated("index"):
            for (data,) in self.connection.execute(
                "SELECT data FROM place WHERE epoch = ? AND trie = ? AND label = ? ORDER BY id", (epoch, trie, label)
            ):
                yield typed("b", [(data,)], what="index")[0][0]

    def altered(self, period: int) -> Iterator[Altered]:
        """Yield the lists of persons in a half-year's days that had lost entries when the half-year closed."""
        with translated("index"):
            for row in self.connection.execute(
                "SELECT epoch, was, left FROM altered WHERE epoch BETWEEN ? AND ? ORDER BY epoch, id",
                (first_day(period), last_day(period)),
            ):
                yield Altered(*typed("ibb", [row], what="index")[0])

    def begin(self, epoch: int) -> None:
        """Forget all of this day and later ones: a sealing that did not come to its leaf."""
        with translated("index"), transaction(self.connection):
            self.connection.execute("DELETE FROM page WHERE id >= ?", (epoch << _DAY_BITS,))
            for table in ("sealed", "cut", "trie", "place"):
                self.connection.execute(f"DELETE FROM {table} WHERE epoch >= ?", (epoch,))  # noqa: S608  names above

    def add_pages(self, epoch: int, trie: Trie, pages: Sequence[Page]) -> None:
        """Keep pages of a trie that is being built."""
        levels = {level: _first_id(epoch, trie, level) for level in {page.level for page in pages}}
        rows = [(levels[level] + number, data) for level, number, data in pages]
        with translated("index"), transaction(self.connection):
            self.connection.executemany("INSERT INTO page VALUES (?, ?)", rows)

    def add_places(self, epoch: int, trie: Trie, pieces: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep (label, piece of its list): pieces of one label come in ascending order, in one call or several."""
        with translated("index"), transaction(self.connection):
            self.connection.executemany(
                "INSERT INTO place (epoch, trie, label, data) VALUES (?, ?, ?, ?)",
                [(epoch, trie, label, data) for label, data in pieces],
            )

    def finish(
        self,
        epoch: int,
        leaf: bytes,
        *,
        shapes: Mapping[Trie, Shape],
        cuts: Sequence[Cut],
        altered: Sequence[Altered] = (),
    ) -> None:
        """Close a day with its leaf; the epoch log has to take exactly these bytes next."""
        with translated("index"), transaction(self.connection):
            self.connection.execute("INSERT INTO sealed VALUES (?, ?)", (epoch, leaf))
            self.connection.executemany(
                "INSERT INTO trie VALUES (?, ?, ?, ?)", [(epoch, trie, *shape) for trie, shape in shapes.items()]
            )
            self.connection.executemany("INSERT INTO cut VALUES (?, ?, ?, ?, ?)", [(epoch, *cut) for cut in cuts])
            self._add_altered(altered)

    def fill(self, first: int, leaves: Iterable[bytes]) -> None:
        """Close days that have nothing: those before the epoch log's first sealing."""
        with translated("index"), transaction(self.connection):
            self.connection.executemany("INSERT INTO sealed VALUES (?, ?)", enumerate(leaves, first))

    def erase(
        self, epoch: int, trie: Trie, pages: Sequence[Page], *, labels: Sequence[bytes], altered: Sequence[Altered]
    ) -> None:
        """Replace pages by ones without the salts and lists of `labels`, whose long lists go too; keep `altered`.

        LIMIT: the write-ahead log is emptied only when no other process reads at that moment; then `Busy` is raised,
        what was erased is gone for readers, and calling again empties it.
        """
        with translated("index"):
            with transaction(self.connection):
                self.connection.executemany(
                    "UPDATE page SET data = ? WHERE id = ?",
                    [(page.data, _first_id(epoch, trie, page.level) + page.number) for page in pages],
                )
                self.connection.executemany(
                    "DELETE FROM place WHERE epoch = ? AND trie = ? AND label = ?",
                    [(epoch, trie, label) for label in labels],
                )
                self._add_altered(altered)
            empty_wal(self.connection)

    def _add_altered(self, altered: Sequence[Altered]) -> None:
        self.connection.executemany("INSERT INTO altered (epoch, was, left) VALUES (?, ?, ?)", altered)


def _check_format(connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID or version != FORMAT:
        message = "the file is not an index of an epoch log that this version reads"
        raise (Tampered if application == APPLICATION_ID else Refused)("index-format", message)
    check_plain(connection, "index")


def _lock(path: Path) -> IO[bytes]:
    """Hold the writer's lock of an index; closing the file, also by a crash, lets it go."""
    try:
        file = path.with_name(f"{path.name}.lock").open("wb")
    except OSError as error:
        raise Unavailable("index-store", f"the index cannot be locked in {path.parent}: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise Busy("index-busy", f"another process is sealing into {path}") from error
    return file


def _first_id(epoch: int, trie: Trie, level: int) -> int:
    """Return the file's number of page 0 of a level."""
    if not 0 <= epoch <= _LAST_DAY:
        raise Invalid("index-day", f"the index has days 0 to {_LAST_DAY}")
    return ((epoch << _TRIE_BITS | trie) << _LEVEL_BITS | level) << _NUMBER_BITS
