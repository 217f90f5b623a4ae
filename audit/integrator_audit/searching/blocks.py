"""The index of a log by what part A says: a file beside the log, built in blocks off the write path.

- It holds nothing that the log does not hold and can be deleted and built anew at any time. It is the operator's own
  aid and proves nothing: what an auditor believes are openings and whole lists.
- It covers a prefix of the log in whole blocks of 2^h entries (16 by default); each block is one transaction, so it
  goes on where it stopped. A block keeps the root over its entries: an index of another history is recognised and begun
  anew.
- A *kind* is what a statement says without its dates and instants and without the members that are left out (ids,
  digests): there are as many as ways to disclose, not as many as days or entries. `listed` belongs to the kind.
- Of each block and kind it keeps a posting (`searching.postings`): no person, and no time more exact than the hour.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from integrator_audit.columns import damaged, typed, typed_row
from integrator_audit.database import check_plain, is_new, make_tables, opening, transaction, translated
from integrator_audit.errors import Refused, Tampered, Unavailable
from integrator_audit.findings import Progress, no_progress
from integrator_audit.searching.log import SearchedLog
from integrator_audit.searching.postings import Posting, group, posting_id
from integrator_audit.searching.terms import Term, day_named, is_moment, read_terms

HEIGHT: Final = 16
"""A block has 2^16 entries, and no more than that: offsets are u16."""
MAX_KINDS: Final = 1 << 17
"""Every reader holds the kinds in memory: so many are a sign that a member with ever new values was not left out."""

_APPLICATION_ID: Final = 0x64697331  # "dis1"
_FORMAT: Final = 1
_SCHEMA = """
CREATE TABLE index_of (origin TEXT NOT NULL, left_out TEXT NOT NULL, height INTEGER NOT NULL,
  written BLOB NOT NULL);
CREATE TABLE kind (kid INTEGER PRIMARY KEY, listed INTEGER NOT NULL, terms TEXT NOT NULL, blocks BLOB NOT NULL,
  UNIQUE (terms, listed));
CREATE TABLE statement (aid INTEGER NOT NULL, listed INTEGER NOT NULL, kid INTEGER NOT NULL, day TEXT NOT NULL,
  PRIMARY KEY (aid, listed)) WITHOUT ROWID;
CREATE TABLE block (number INTEGER PRIMARY KEY, root BLOB NOT NULL, first_hour INTEGER NOT NULL,
  last_hour INTEGER NOT NULL, first_day TEXT NOT NULL, last_day TEXT NOT NULL, hour INTEGER NOT NULL,
  erased INTEGER NOT NULL);
CREATE TABLE posting (id INTEGER PRIMARY KEY, n INTEGER NOT NULL, persons INTEGER NOT NULL,
  first_hour INTEGER NOT NULL, last_hour INTEGER NOT NULL, first_day TEXT NOT NULL, last_day TEXT NOT NULL,
  groups BLOB NOT NULL, offsets BLOB NOT NULL)
"""


def kind_terms(terms: Iterable[Term], left_out: frozenset[str]) -> list[Term]:
    """Return what of a statement makes its kind."""
    return [term for term in terms if term.member not in left_out and not is_moment(term.value)]


class IndexFile:
    """The file of one log's index. One process builds it, others read it; not to be shared between threads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Use `open` or `read_only` instead."""
        self.connection = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the file for building, or create it. Raises `Refused` (`search-format`) for somebody else's file."""
        with opening(path, what="search") as connection:
            # What a crash of the machine takes away is built again.
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA secure_delete=ON")
            if is_new(connection):
                make_tables(connection, _SCHEMA, version=_FORMAT, application=_APPLICATION_ID)
            _check_format(connection)
        return cls(connection)

    @classmethod
    def read_only(cls, path: Path) -> Self | None:
        """Open the file for reading; None when there is none yet."""
        try:
            with opening(path, what="search", mode="ro") as connection:
                _check_format(connection)
        except Unavailable as error:
            if error.code == "no-such-file":
                return None
            raise
        return cls(connection)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def height(self) -> int:
        """Return h, where a block has 2^h entries."""
        with translated("search"):
            row = typed_row("i", self.connection.execute("SELECT height FROM index_of").fetchone(), what="search")
        if row is not None and row[0] > HEIGHT:
            raise damaged("its blocks are larger than any", what="search")
        return row[0] if row else HEIGHT

    def blocks(self) -> int:
        """Return how many blocks are indexed: the index covers the entries below `blocks << height`."""
        with translated("search"):
            row = self.connection.execute("SELECT count(*), coalesce(max(number) + 1, 0) FROM block").fetchone()
        (count, end), *_ = typed("vv", [row], what="search")
        if count != end:
            raise damaged("it lacks a block", what="search")
        return end

    def version(self) -> tuple[int, bytes]:
        """Return what is another whenever the index is: how many blocks it has, and a mark of the last writing."""
        with translated("search"):
            row = typed_row("b", self.connection.execute("SELECT written FROM index_of").fetchone(), what="search")
        return self.blocks(), row[0] if row else b""

    def hour(self) -> int:
        """Return the hour of the last indexed entry, 0 before there is one."""
        with translated("search"):
            return self._hour_before(self.blocks())

    def left_out(self) -> frozenset[str]:
        """Return the members that no term is made of."""
        with translated("search"):
            row = typed_row("t", self.connection.execute("SELECT left_out FROM index_of").fetchone(), what="search")
        try:
            return frozenset(json.loads(row[0])) if row else frozenset()
        except (ValueError, TypeError) as error:
            raise damaged("what it leaves out cannot be read", what="search") from error

    def is_of(self, log: SearchedLog) -> bool:
        """Tell whether this is an index of the log, by its origin and by the root over the last block."""
        with translated("search"):
            origin = self.connection.execute("SELECT origin FROM index_of").fetchone()
            query = "SELECT number, root FROM block ORDER BY number DESC LIMIT 1"
            last = typed_row("vb", self.connection.execute(query).fetchone(), what="search")
        if origin is None or origin[0] != log.origin:
            return False
        height = self.height()
        return last is None or ((last[0] + 1) << height <= log.size and log.subtree(height, last[0]) == last[1])

    def update(
        self,
        log: SearchedLog,
        *,
        left_out: frozenset[str] = frozenset(),
        height: int = HEIGHT,
        progress: Progress = no_progress,
    ) -> int:
        """Index every whole block of the log that is not indexed yet; return how many entries are indexed then.

        Blocks in which entries were erased since are written again, without their hours and persons. An index of
        another log or history, or made in another way, is begun anew.
        """
        if (self.left_out(), self.height()) != (left_out, height) or not self.is_of(log):
            self._begin(log.origin, left_out, height)
        whole = log.size >> height
        for number in range(whole):
            first, end = number << height, (number + 1) << height
            kept = self._kept_erased(number)
            if kept is None or kept != log.erased_between(first, end):
                self._write(log, number, left_out, height)
                progress(number + 1, whole)
        with translated("search"):
            # What was erased shall not live on in the write-ahead log. A reader may keep this from being done; the
            # next call does it.
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return whole << height

    def _begin(self, origin: str, left_out: frozenset[str], height: int) -> None:
        with translated("search"), transaction(self.connection):
            for table in ("index_of", "kind", "statement", "block", "posting"):
                self.connection.execute(f"DELETE FROM {table}")  # noqa: S608  names from the line above
            begun = (origin, json.dumps(sorted(left_out)), height, os.urandom(8))
            self.connection.execute("INSERT INTO index_of VALUES (?, ?, ?, ?)", begun)

    def _write(self, log: SearchedLog, number: int, left_out: frozenset[str], height: int) -> None:
        """Write one block, in the place of the one that was written before some of its entries were erased."""
        first, end = number << height, (number + 1) << height
        with translated("search"), transaction(self.connection):
            kinds = _Kinds(self.connection, log, left_out)
            # In this order: what is erased meanwhile makes the block be written once more.
            erased = log.erased_between(first, end)
            postings, hours = group(log, first, end, hour=self._hour_before(number), kinds=kinds)
            if len(hours) != end - first:
                message = f"{log.origin} does not hold all entries of its block {number}; run fsck"
                raise Tampered("search-entries", message)
            ends = (posting_id(number, 0), posting_id(number + 1, 0))
            self.connection.execute("DELETE FROM posting WHERE id >= ? AND id < ?", ends)
            self.connection.executemany("INSERT INTO posting VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", postings)
            days = min(one.first_day for one in postings), max(one.last_day for one in postings)
            block = (number, log.subtree(height, number), min(hours), max(hours), *days, hours[-1], erased)
            self.connection.execute("INSERT OR REPLACE INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?)", block)
            self.connection.execute("UPDATE index_of SET written = ?", (os.urandom(8),))
            kinds.found_in(number, postings)

    def _kept_erased(self, number: int) -> int | None:
        with translated("search"):
            query = "SELECT erased FROM block WHERE number = ?"
            row = typed_row("i", self.connection.execute(query, (number,)).fetchone(), what="search")
        return row[0] if row else None

    def _hour_before(self, number: int) -> int:
        query = "SELECT hour FROM block WHERE number = ?"
        row = typed_row("v", self.connection.execute(query, (number - 1,)).fetchone(), what="search")
        return row[0] if row else 0


class _Kinds:
    """The kinds of statements while one block is added, inside its transaction."""

    def __init__(self, connection: sqlite3.Connection, log: SearchedLog, left_out: frozenset[str]) -> None:
        self._connection = connection
        self._log = log
        self._left_out = left_out
        self._known: dict[tuple[int, bool], int] = {}
        self._days: dict[int, str] = {}

    def of(self, statement: int, *, listed: bool) -> int:
        """Return the kind of a statement, making it when it is new."""
        kind = self._known.get((statement, listed))
        if kind is None:
            kind = self._known[statement, listed] = self._find(statement, listed=listed)
        return kind

    def _find(self, statement: int, *, listed: bool) -> int:
        row = self._connection.execute(
            "SELECT kid, day FROM statement WHERE aid = ? AND listed = ?", (statement, listed)
        ).fetchone()
        if row is not None:
            self._days[statement] = row[1]
            return row[0]
        terms = read_terms(self._log.statement(statement))
        told = json.dumps(kind_terms(terms, self._left_out), ensure_ascii=False, separators=(",", ":"))
        self._days[statement] = day_named(terms) or ""
        known = self._connection.execute(
            "SELECT kid FROM kind WHERE terms = ? AND listed = ?", (told, listed)
        ).fetchone()
        kind = self._new(told, listed=listed) if known is None else known[0]
        row = (statement, listed, kind, self._days[statement])
        self._connection.execute("INSERT INTO statement VALUES (?, ?, ?, ?)", row)
        return kind

    def day(self, statement: int) -> str:
        """Return the day that a statement names, of those that `of` was asked about; empty when it names none."""
        return self._days[statement]

    def found_in(self, block: int, postings: Iterable[Posting]) -> None:
        """Note which kinds are in a block."""
        for posting in postings:
            kind = posting.kind
            (blocks,) = self._connection.execute("SELECT blocks FROM kind WHERE kid = ?", (kind,)).fetchone()
            wider = int.from_bytes(blocks, "little") | 1 << block
            told = wider.to_bytes(wider.bit_length() // 8 + 1, "little")
            self._connection.execute("UPDATE kind SET blocks = ? WHERE kid = ?", (told, kind))

    def _new(self, terms: str, *, listed: bool) -> int:
        (kind,) = self._connection.execute("SELECT coalesce(max(kid) + 1, 0) FROM kind").fetchone()
        if kind >= MAX_KINDS:
            message = (
                f"the statements of {self._log.origin} are of more than {MAX_KINDS} kinds: leave out the members that "
                "are different in each, such as ids and digests"
            )
            raise Refused("search-kinds", message)
        self._connection.execute("INSERT INTO kind VALUES (?, ?, ?, x'')", (kind, listed, terms))
        return kind


def _check_format(connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if (application, version) != (_APPLICATION_ID, _FORMAT):
        raise Refused("search-format", "the file is not an index that this version reads: remove it, or name another")
    check_plain(connection, "search")
