"""The embedded store: one SQLite file for one log, one transaction for one batch.

- Write-ahead log, `synchronous=FULL`: when `commit` returns, the batch has reached the disk.
- The unfinished tiles at the right edge are replaced as they fill, lists of persons are made one when their block is
  full, a day's earlier checkpoints give way to its later ones; every other row is written once.
- What is erased is overwritten (`secure_delete`), and the write-ahead log is emptied before `erase` returns.
  LIMIT: a copying file system, a flash disk or a backup may still hold it; there the keys' destruction erases it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from hashlib import sha256
from pathlib import Path
from typing import Final, TypeVar

from integrator_audit.database import empty_wal, make_tables, opening, transaction, translated
from integrator_audit.errors import Busy, Invalid, Refused, Tampered
from integrator_audit.halfyear import DAY_MS
from integrator_audit.personlists import Record
from integrator_audit.sqlitereading import (
    APPLICATION_ID,
    FORMAT,
    SCHEMA,
    SqliteReading,
    check_format,
    marks_of,
    pack_list,
)
from integrator_audit.store import (
    BLOCK_BITS,
    CLOSED,
    KEYS_MOVED,
    Batch,
    EntryRow,
    Erasure,
    Head,
    Identity,
    block_of,
    entry_seal,
    seal_of,
)

MAX_STATEMENTS: Final = 20_000
PAGE_SIZE: Final = 16_384
"""Bytes of a page: a whole tile fits in, and a commit of many entries writes a fourth of the pages of 4 KiB."""
WAL_PAGES: Final = 2_500
"""Pages in the write-ahead log after which it is brought into the file: 40 MB."""
_BLOB: Final = bytearray
"""How many blobs are handed to the driver: for `bytes`, as for None, it asks three places for an adapter first, which
takes as long as writing them."""
Key = TypeVar("Key", bytes, str)
DRAWN: Final = 16
"""Bytes of a batch's first salt that are unique per log: a repeated one means that randomness came again."""


class SqliteStore(SqliteReading):
    """A `Store` in one file. Not safe to share between threads without a lock, which its owners hold."""

    # What follows holds committed rows only; each is bounded, and emptied when full.
    _statements: dict[bytes, int]
    _recipients: dict[str, int]

    @classmethod
    def open(cls, path: Path) -> SqliteStore:
        """Open the file for its one writer, or create it."""
        with opening(path, what="ledger", page_size=PAGE_SIZE) as connection:
            connection.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
            connection.execute("PRAGMA cache_size=-200000")
            connection.execute("PRAGMA secure_delete=ON")
            make_tables(connection, SCHEMA, version=FORMAT, application=APPLICATION_ID)
            check_format(connection)
        store = cls(connection)
        store._statements, store._recipients = {}, {}
        return store

    def create(self, identity: Identity, head: Head, positions: Mapping[tuple[str, int], int]) -> None:
        """Make a new log with its first, empty checkpoint and the positions where its sources begin."""
        with translated("ledger"), transaction(self.connection):
            row = (identity.origin, identity.vkey, identity.kind)
            self.connection.execute("INSERT INTO identity VALUES (?, ?, ?)", row)
            self._write_positions(positions)
            self._write_head(head)

    def commit(self, batch: Batch) -> None:
        """Make a batch durable, whole or not at all; raise `Refused` when somebody else has extended the log."""
        statements: dict[bytes, int] = {}
        recipients: dict[str, int] = {}
        with translated("ledger"), transaction(self.connection):
            self._check_extends(batch.previous_size)
            if not batch.still_valid():
                raise Busy(KEYS_MOVED, "a key was destroyed since the batch was sealed; seal it anew")
            if batch.entries:
                statements = self._statement_numbers({row.a for row in batch.entries})
                recipients = self._recipient_numbers({row.recipient for row in batch.entries if row.recipient})
                self._write_entries(batch.entries, statements, recipients)
                self._write_indexes(batch.entries, recipients)
                self._write_draw(batch.entries)
            self.connection.executemany("INSERT OR REPLACE INTO tile VALUES (?, ?, ?, ?, ?)", batch.tiles)
            self._write_positions(batch.positions)
            self.connection.executemany(
                "INSERT OR IGNORE INTO set_aside VALUES (?, ?, ?, ?, ?)",
                [(*row, seal_of(*row)) for row in map(astuple, batch.set_aside)],
            )
            self._write_head(batch.head)
        _remember(self._statements, statements)
        _remember(self._recipients, recipients)

    def publish(self, size: int, note: bytes) -> None:
        """Keep a published note with its cosignatures; a later call for the same size replaces it."""
        with translated("ledger"), transaction(self.connection):
            row = (size, note, seal_of(size, note))
            self.connection.execute("INSERT OR REPLACE INTO published VALUES (?, ?, ?)", row)

    def close_log(self) -> None:
        """Close the log for good."""
        with translated("ledger"), transaction(self.connection):
            self.connection.execute("INSERT OR IGNORE INTO closing SELECT max(size) FROM checkpoint")

    @contextmanager
    def exclusive(self) -> Generator[None]:
        """Join all calls until its end into one transaction, during which nobody commits to the log."""
        with translated("ledger"):
            with transaction(self.connection):
                yield
            empty_wal(self.connection)

    def reseal(self, rows: Sequence[EntryRow]) -> None:
        """Replace body, key version and seal of these entries, all of them or none."""
        changes = [(row.body, marks_of(row), row.seal, row.number) for row in rows]
        with translated("ledger"), transaction(self.connection):
            self.connection.executemany("UPDATE entry SET body = ?, marks = ?, seal = ? WHERE idx = ?", changes)

    def erase(self, erasures: Sequence[Erasure]) -> None:
        """Erase bodies, actors, moments and persons of entries in one transaction; hashes and grounds stay."""
        with translated("ledger"):
            with transaction(self.connection):
                self.persons.remove([record for erasure in erasures for record in self._erase(erasure)])
            empty_wal(self.connection)

    def _erase(self, erasure: Erasure) -> list[Record]:
        """Erase an entry in its own row, and return what the index by person has of it."""
        execute = self.connection.execute
        row = self.entry(erasure.number)
        if row is None:
            raise Invalid("no-such-entry", f"there is no entry {erasure.number} to erase")
        if row.is_erased:
            return []
        execute("INSERT INTO erased VALUES (?, ?)", erasure)
        bare = row._replace(subject=None, at=0, body=b"", p=b"", entry_key=None, key_version=1)
        execute(
            "UPDATE entry SET subject = NULL, at = 0, body = x'', own = NULL, marks = ?, seal = ? WHERE idx = ?",
            (marks_of(bare), entry_seal(bare), erasure.number),
        )
        return [] if row.subject is None else [(row.subject, erasure.number)]

    def _check_extends(self, previous_size: int) -> None:
        (size,) = self.connection.execute("SELECT max(size) FROM checkpoint").fetchone()
        if size != previous_size:
            message = f"another writer brought the log to size {size}; a log has one writer"
            raise Refused("ledger-other-writer", message)
        if self.is_closed():
            raise Refused(CLOSED, f"the log was closed at size {size}; append to the next half-year's")

    def _write_entries(
        self, rows: Sequence[EntryRow], statements: Mapping[bytes, int], recipients: Mapping[str, int]
    ) -> None:
        join = _BLOB().join
        columns = [
            (
                number,
                statements[a],
                at,
                # As `marks_of` does.
                kind | listed << 8 | years << 9 | version << 17,
                recipients.get(name),
                None if subject is None else _BLOB(subject),
                join((salt, h)),
                _BLOB(body),
                seal,
            )
            for number, subject, name, kind, at, years, listed, salt, a, body, _, h, _, version, _, seal in rows
        ]
        owned = [(row.entry_key + row.p, row.number) for row in rows if row.entry_key is not None]
        self.connection.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)", columns)
        self.connection.executemany("UPDATE entry SET own = ? WHERE idx = ?", owned)

    def _write_indexes(self, rows: Sequence[EntryRow], recipients: Mapping[str, int]) -> None:
        block = block_of(rows[0].number)
        after = (block + 1) << BLOCK_BITS
        if rows[-1].number >= after:
            split = after - rows[0].number
            self._write_indexes(rows[:split], recipients)
            self._write_indexes(rows[split:], recipients)
            return
        # Columns by their place, because unpacking a row takes as long as writing it into the index.
        unlisted = [(row[0],) for row in rows if not row[6]]
        if unlisted:
            self.connection.executemany("INSERT INTO unlisted VALUES (?)", unlisted)
        persons = [(person, row[0]) for row in rows if row[6] and (person := row[1]) is not None]
        self.persons.add(persons, last=rows[-1].number)
        lists: dict[str, list[int]] = {}
        for row in rows:
            lists.setdefault(row[2], []).append(row[0])
        lists.pop("", None)
        self.connection.executemany(
            "INSERT INTO by_recipient VALUES (?, ?, ?, ?)",
            [(block, recipients[name], numbers[0], pack_list(numbers)) for name, numbers in sorted(lists.items())],
        )

    def _write_draw(self, rows: Sequence[EntryRow]) -> None:
        draw = (rows[0].number, len(rows), rows[0].salt_a[:DRAWN])
        self.connection.execute("INSERT INTO draw VALUES (?, ?, ?)", draw)

    def _write_positions(self, positions: Mapping[tuple[str, int], int]) -> None:
        self.connection.executemany(
            "INSERT OR REPLACE INTO position VALUES (?, ?, ?)",
            [(topic, partition, position) for (topic, partition), position in positions.items()],
        )

    def _write_head(self, head: Head) -> None:
        """Write the newest checkpoint; the former newest gives way unless it is the last one of an earlier day."""
        former = self.head()
        if former is not None and former.size == head.size and (former.root, former.note) != (head.root, head.note):
            raise Tampered("ledger-repeated", f"there is another checkpoint of size {head.size} already")
        if former is not None and former.at // DAY_MS == head.at // DAY_MS:
            where = (former.size, former.at)
            self.connection.execute("DELETE FROM checkpoint WHERE size = ? AND at = ?", where)
        row = (head.size, head.at, head.root, head.note, head.consumed)
        self.connection.execute("INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?, ?)", (*row, seal_of(*row)))

    def _statement_numbers(self, statements: Iterable[bytes]) -> dict[bytes, int]:
        """Return the number of each part A, inside the running transaction making those that are new."""
        numbers: dict[bytes, int] = {}
        execute = self.connection.execute
        for statement in sorted(statements):
            number = self._statements.get(statement)
            if number is None:
                digest = sha256(statement).digest()
                row = execute("SELECT aid FROM statement WHERE digest = ?", (digest,)).fetchone()
                if row is None:
                    number = execute("INSERT INTO statement VALUES (NULL, ?, ?)", (digest, statement)).lastrowid
                else:
                    number = row[0]
            assert number is not None, "an insertion gives a number"  # noqa: S101
            numbers[statement] = number
        return numbers

    def _recipient_numbers(self, names: Iterable[str]) -> dict[str, int]:
        numbers: dict[str, int] = {}
        execute = self.connection.execute
        for name in sorted(names):
            number = self._recipients.get(name)
            if number is None:
                row = execute("SELECT rid FROM recipient WHERE name = ?", (name,)).fetchone()
                (number,) = row or execute("SELECT coalesce(max(rid), 0) + 1 FROM recipient").fetchone()
                if row is None:
                    execute("INSERT INTO recipient VALUES (?, ?, ?)", (number, name, seal_of(number, name)))
            numbers[name] = number
        return numbers


def _remember(cache: dict[Key, int], found: Mapping[Key, int]) -> None:
    if len(cache) + len(found) > MAX_STATEMENTS:
        cache.clear()
    cache.update(found)
