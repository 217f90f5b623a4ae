"""The embedded store: one SQLite file for one log, one transaction for one batch.

- Write-ahead log, `synchronous=FULL`: when `commit` returns, the batch has reached the disk.
- The unfinished tiles at the right edge are replaced as they fill; every other row is written once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from integrator_audit.database import connect, is_new, translated
from integrator_audit.errors import Refused, Tampered
from integrator_audit.frontier import TileRow
from integrator_audit.store import Batch, EntryRow, Head, Identity, SetAside, subject_seal

FORMAT = 1
APPLICATION_ID = 0x64696C31  # "dil1"
MAX_CACHED = 65_536
INDEXED = 16
"""Bytes of a commitment that are unique per log: enough that only a repeated one collides, and half the index."""

SCHEMA = """
CREATE TABLE identity (origin TEXT NOT NULL, vkey TEXT NOT NULL);
CREATE TABLE entry (
  idx INTEGER PRIMARY KEY, sid INTEGER, t INTEGER NOT NULL, a BLOB NOT NULL, d BLOB NOT NULL, s BLOB NOT NULL,
  p BLOB NOT NULL, h BLOB NOT NULL, kv INTEGER NOT NULL, pk BLOB, seal BLOB NOT NULL);
CREATE TABLE commitment (c BLOB PRIMARY KEY, idx INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE subject (sid INTEGER PRIMARY KEY, pseudonym BLOB NOT NULL UNIQUE, seal BLOB NOT NULL);
CREATE TABLE by_subject (sid INTEGER NOT NULL, idx INTEGER NOT NULL, PRIMARY KEY (sid, idx)) WITHOUT ROWID;
CREATE TABLE tile (level INTEGER NOT NULL, n INTEGER NOT NULL, width INTEGER NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY (level, n));
CREATE TABLE checkpoint (size INTEGER PRIMARY KEY, root BLOB NOT NULL, note BLOB NOT NULL, consumed BLOB NOT NULL);
CREATE TABLE position (topic TEXT NOT NULL, part INTEGER NOT NULL, next INTEGER NOT NULL,
  PRIMARY KEY (topic, part)) WITHOUT ROWID;
CREATE TABLE set_aside (topic TEXT NOT NULL, part INTEGER NOT NULL, position INTEGER NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY (topic, part, position)) WITHOUT ROWID
"""


class SqliteStore:
    """A `Store` in one file. Not safe to share between threads without a lock, which its owners hold."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Use `open` or `read_only` instead."""
        self.connection = connection
        # pseudonym → number of persons seen lately; holds only committed rows.
        self._numbers: dict[bytes, int] = {}

    @classmethod
    def open(cls, path: Path) -> SqliteStore:
        """Open the file for its one writer, or create it."""
        with translated("ledger"):
            connection = connect(path)
            connection.execute("PRAGMA wal_autocheckpoint=10000")
            connection.execute("PRAGMA cache_size=-200000")
            store = cls(connection)
            connection.execute("BEGIN IMMEDIATE")
            with store._ending_transaction():
                if is_new(connection):
                    for statement in SCHEMA.split(";"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                    connection.execute(f"PRAGMA user_version={FORMAT}")
        store._check_format()
        return store

    @classmethod
    def read_only(cls, path: Path) -> SqliteStore:
        """Open another process's file for reading; raise `Unavailable` when it is absent."""
        with translated("ledger"):
            store = cls(connect(path, mode="ro"))
        store._check_format()
        return store

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def create(self, identity: Identity, head: Head) -> None:
        """Make a new log with its first, empty checkpoint."""
        with translated("ledger"):
            self.connection.execute("BEGIN IMMEDIATE")
            with self._ending_transaction():
                self.connection.execute("INSERT INTO identity VALUES (?, ?)", (identity.origin, identity.vkey))
                self._write_head(head)

    def commit(self, batch: Batch) -> None:
        """Make a batch durable, whole or not at all; raise `Refused` when somebody else has extended the log."""
        execute, executemany = self.connection.execute, self.connection.executemany
        with translated("ledger"):
            execute("BEGIN IMMEDIATE")
            with self._ending_transaction():
                (size,) = execute("SELECT max(size) FROM checkpoint").fetchone()
                if size != batch.previous_size:
                    message = f"another writer brought the log to size {size}; a log has one writer"
                    raise Refused("ledger-other-writer", message)
                numbers = self._subject_numbers(sorted({row.subject for row in batch.entries if row.subject}))
                executemany(
                    "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        (
                            row.number,
                            None if row.subject is None else numbers[row.subject],
                            *row[2:8],
                            row.key_version,
                            row.entry_key,
                            row.seal,
                        )
                        for row in batch.entries
                    ],
                )
                # Rows of the two indexes in key order: neighbouring pages are touched once.
                executemany(
                    "INSERT INTO commitment VALUES (?, ?)",
                    sorted((row.commitment[:INDEXED], row.number) for row in batch.entries),
                )
                executemany(
                    "INSERT INTO by_subject VALUES (?, ?)",
                    sorted((numbers[row.subject], row.number) for row in batch.entries if row.subject),
                )
                executemany("INSERT OR REPLACE INTO tile VALUES (?, ?, ?, ?)", batch.tiles)
                executemany(
                    "INSERT OR REPLACE INTO position VALUES (?, ?, ?)",
                    [(topic, partition, position) for (topic, partition), position in batch.positions.items()],
                )
                executemany(
                    "INSERT OR IGNORE INTO set_aside VALUES (?, ?, ?, ?)",
                    [(item.topic, item.partition, item.position, item.reason) for item in batch.set_aside],
                )
                self._write_head(batch.head)
        if len(self._numbers) + len(numbers) > MAX_CACHED:
            self._numbers.clear()
        self._numbers.update(numbers)

    def identity(self) -> Identity | None:
        """Return which log this is, or None when the file is new."""
        with translated("ledger"):
            row = self.connection.execute("SELECT origin, vkey FROM identity").fetchone()
        return None if row is None else Identity(*row)

    def head(self) -> Head | None:
        """Return the newest checkpoint, or None when the file is new."""
        with translated("ledger"):
            row = self.connection.execute(
                "SELECT size, root, note, consumed FROM checkpoint ORDER BY size DESC LIMIT 1"
            ).fetchone()
        return None if row is None else Head(*row)

    def tile(self, level: int, index: int) -> TileRow | None:
        """Return a tile as wide as it is now."""
        with translated("ledger"):
            row = self.connection.execute(
                "SELECT level, n, width, data FROM tile WHERE level = ? AND n = ?", (level, index)
            ).fetchone()
        return None if row is None else TileRow(*row)

    def entry(self, index: int) -> EntryRow | None:
        """Return one entry; its commitment is computed by who checks it and is empty here."""
        with translated("ledger"):
            row = self.connection.execute(
                "SELECT idx, pseudonym, t, a, d, s, p, h, x'', kv, pk, entry.seal"
                " FROM entry LEFT JOIN subject USING (sid) WHERE idx = ?",
                (index,),
            ).fetchone()
        return None if row is None else EntryRow(*row)

    def indices_of(self, subject: bytes, before: int, limit: int) -> list[int]:
        """Return at most `limit` indices of a person's entries below `before`, newest first."""
        with translated("ledger"):
            rows = self.connection.execute(
                "SELECT idx FROM by_subject WHERE sid = (SELECT sid FROM subject WHERE pseudonym = ?) AND idx < ?"
                " ORDER BY idx DESC LIMIT ?",
                (subject, before, limit),
            ).fetchall()
        return [row[0] for row in rows]

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the next position to read by (topic, partition)."""
        with translated("ledger"):
            rows = self.connection.execute("SELECT topic, part, next FROM position").fetchall()
        return {(topic, partition): position for topic, partition, position in rows}

    def set_asides(self) -> list[SetAside]:
        """Return the records that were set aside."""
        with translated("ledger"):
            rows = self.connection.execute("SELECT topic, part, position, reason FROM set_aside").fetchall()
        return [SetAside(*row) for row in rows]

    @contextmanager
    def snapshot(self) -> Generator[None]:
        """Hold one moment of the log."""
        with translated("ledger"):
            self.connection.execute("BEGIN")
        try:
            yield
        finally:
            self.connection.rollback()

    @contextmanager
    def _ending_transaction(self) -> Generator[None]:
        """Commit at the end; on an exception roll back, where there still is something to roll back."""
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.rollback()
            raise

    def _write_head(self, head: Head) -> None:
        # Size is the key: there are never two roots for one size. The same size comes again only when a batch moved
        # positions and had no entries; then root and note stay as they are.
        self.connection.execute(
            "INSERT INTO checkpoint VALUES (?, ?, ?, ?)"
            " ON CONFLICT (size) DO UPDATE SET consumed = excluded.consumed WHERE root = excluded.root",
            (head.size, head.root, head.note, head.consumed),
        )

    def _subject_numbers(self, subjects: Sequence[bytes]) -> dict[bytes, int]:
        """Return the number of each person, inside the running transaction making those that are new."""
        known = self._numbers
        numbers = {subject: known[subject] for subject in subjects if subject in known}
        unknown = [subject for subject in subjects if subject not in numbers]
        for start in range(0, len(unknown), 500):
            chunk = unknown[start : start + 500]
            marks = ",".join("?" * len(chunk))
            query = f"SELECT pseudonym, sid FROM subject WHERE pseudonym IN ({marks})"  # noqa: S608  only marks
            numbers.update(self.connection.execute(query, chunk).fetchall())
        new = [subject for subject in unknown if subject not in numbers]
        if new:
            (last,) = self.connection.execute("SELECT coalesce(max(sid), 0) FROM subject").fetchone()
            rows = [(number, subject, subject_seal(number, subject)) for number, subject in enumerate(new, last + 1)]
            self.connection.executemany("INSERT INTO subject VALUES (?, ?, ?)", rows)
            numbers.update({subject: number for number, subject, _ in rows})
        return numbers

    def _check_format(self) -> None:
        with translated("ledger"):
            (application,) = self.connection.execute("PRAGMA application_id").fetchone()
            (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID or version != FORMAT:
            message = "the file is not a ledger that this version reads"
            raise (Tampered if application == APPLICATION_ID else Refused)("ledger-format", message)
