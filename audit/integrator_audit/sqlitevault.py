"""The tables of a vault in an SQLite file of its own.

- Write-ahead log, `synchronous=FULL`: when a transaction has ended, it has reached the disk.
- What is deleted is overwritten (`secure_delete`) and leaves the write-ahead log with `cleanse`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from integrator_audit.database import check_plain, empty_wal, make_tables, opening, transaction, translated
from integrator_audit.errors import Refused
from integrator_audit.vaulttables import Name, Present

FORMAT: Final = 2
SCHEMA: Final = """
CREATE TABLE generation (number INTEGER PRIMARY KEY, probe BLOB NOT NULL);
CREATE TABLE destruction (count INTEGER NOT NULL);
CREATE TABLE node (class INTEGER NOT NULL, path BLOB NOT NULL, generation INTEGER NOT NULL, wrapped BLOB NOT NULL,
  PRIMARY KEY (class, path));
CREATE TABLE person (class INTEGER NOT NULL, pseudonym BLOB NOT NULL, version INTEGER NOT NULL,
  generation INTEGER NOT NULL, wrapped BLOB NOT NULL, PRIMARY KEY (class, pseudonym, version)) WITHOUT ROWID;
CREATE TABLE entry_key (id BLOB PRIMARY KEY, generation INTEGER NOT NULL, wrapped BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE label (period INTEGER NOT NULL, pseudonym BLOB NOT NULL, generation INTEGER NOT NULL,
  wrapped BLOB NOT NULL, PRIMARY KEY (period, pseudonym)) WITHOUT ROWID
"""
_INSERT: Final = {"refuse": "INSERT INTO", "keep": "INSERT OR IGNORE INTO", "replace": "INSERT OR REPLACE INTO"}
_FIRST_ROW: Final = "; INSERT INTO destruction VALUES (0)"


class SqliteVaultTables:
    """The `VaultTables` of one file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Use `open` or `read_only` instead."""
        self.connection = connection

    @classmethod
    def open(cls, path: Path) -> SqliteVaultTables:
        """Open the file, or create it with empty tables. Raises `Refused` (`vault-format`)."""
        with opening(path, what="vault") as connection:
            connection.execute("PRAGMA secure_delete=ON")
            make_tables(connection, SCHEMA + _FIRST_ROW, version=FORMAT)
            _check_format(connection)
        return cls(connection)

    @classmethod
    def read_only(cls, path: Path) -> SqliteVaultTables:
        """Open another process's file for reading; raise as `open` does, and `Unavailable` when it is absent."""
        with opening(path, what="vault", mode="ro") as connection:
            _check_format(connection)
        return cls(connection)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Commit what is written until its end; on an exception undo it."""
        with translated("vault"), transaction(self.connection):
            yield

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with translated("vault"):
            return self.connection.execute(query, parameters).fetchall()

    def run(self, statement: str, parameters: Sequence[object] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        with translated("vault"):
            return self.connection.execute(statement, parameters).rowcount

    def many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement once for each row of parameters."""
        with translated("vault"):
            self.connection.executemany(statement, rows)

    def insert(self, table: Name, rows: Sequence[Sequence[object]], *, present: Present) -> None:
        """Insert rows."""
        if rows:
            self.many(f"{_INSERT[present]} {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)

    def cleanse(self) -> None:
        """Empty the write-ahead log; what was deleted is overwritten already."""
        with translated("vault"):
            empty_wal(self.connection)


def _check_format(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != FORMAT:
        message = f"the file is a vault of format {version} or none; this version reads format {FORMAT}"
        raise Refused("vault-format", message)
    check_plain(connection, "vault")
