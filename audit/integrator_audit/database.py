"""SQLite connections as the ledger needs them, and the one table that turns their errors into ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from integrator_audit.errors import Busy, Refused, Tampered, Unavailable

BUSY_SECONDS = 10.0


def connect(path: Path, *, mode: Literal["rwc", "ro"] = "rwc", page_size: int | None = None) -> sqlite3.Connection:
    """Open a database file: write-ahead log, every commit synced, transactions begun by hand.

    `page_size` is that of a file that is new. The connection may move between threads; its owner makes sure that only
    one uses it at a time.
    """
    if mode == "ro" and not path.is_file():
        raise Unavailable("no-such-file", f"there is no file {path.name} in {path.parent}")
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)
    try:
        if mode == "rwc":
            if page_size is not None:
                connection.execute(f"PRAGMA page_size={page_size}")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def opening(
    path: Path, *, what: str, mode: Literal["rwc", "ro"] = "rwc", page_size: int | None = None
) -> Generator[sqlite3.Connection]:
    """Give a connection, as `connect` does, to a block that looks whether the file is what it should be.

    When the block raises, the file is closed; errors are translated as `translated` does.
    """
    with translated(what):
        connection = connect(path, mode=mode, page_size=page_size)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise


@contextmanager
def translated(what: str) -> Generator[None]:
    """Translate errors of SQLite; `what` (ledger, vault) starts the code and names the file for people."""
    try:
        yield
    except sqlite3.ProgrammingError:
        # A mistake in the caller's code, such as using what is closed: it says nothing about the file.
        raise
    except sqlite3.IntegrityError as error:
        message = f"what was to be written is already in the {what}, which must never happen: {error}"
        raise Tampered(f"{what}-repeated", message) from error
    except sqlite3.OperationalError as error:
        # Errors that the driver itself raises carry no code; then only the message tells. This one repeats the text.
        if str(error).startswith("Could not decode to UTF-8"):
            raise Tampered(f"{what}-damaged", f"the file of the {what} is damaged: a text in it is not UTF-8") from None
        match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR) & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                raise Busy(f"{what}-busy", f"another process is writing to the {what}") from error
            case sqlite3.SQLITE_CANTOPEN:
                message = f"the file of the {what} cannot be opened; does its directory exist and may we write there?"
                raise Unavailable(f"{what}-store", message) from error
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
                raise Refused(f"{what}-read-only", f"the file of the {what} may not be written") from error
            case sqlite3.SQLITE_ERROR:
                message = f"the file is not a {what} that this version reads: {error}"
                raise Tampered(f"{what}-damaged", message) from error
            case _:
                raise Unavailable(f"{what}-store", f"the store of the {what} failed: {error}") from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise Tampered(f"{what}-damaged", f"the file of the {what} is damaged: {error}") from error


def check_plain(connection: sqlite3.Connection, what: str) -> None:
    """Raise `Tampered` (`ledger-damaged` and so on) when a file has anything but tables and their indexes.

    A view in the place of a table may have rows without end: whoever reads from such a file could be held for ever.
    """
    with translated(what):
        query = "SELECT count(*) FROM sqlite_schema WHERE type NOT IN ('table', 'index') OR sql LIKE 'create virtual%'"
        (count,) = connection.execute(query).fetchone()
    if count:
        message = f"the file of the {what} has views, triggers or virtual tables, which no {what} has: it is not read"
        raise Tampered(f"{what}-damaged", message)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """Hold a writing transaction; commit at the end, roll back on an exception where there still is something to.

    Inside another one of the same connection it is a part of that.
    """
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.rollback()
        raise


def empty_wal(connection: sqlite3.Connection) -> None:
    """Bring the write-ahead log into the file and cut it to nothing, so that it holds no older pages.

    Raises `Busy` when a reader of another process holds an older moment for too long. Inside a transaction nothing is
    done: whoever holds it empties the log after it.
    """
    if connection.in_transaction:
        return
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        message = "a reader holds an older moment of the file, so what was erased is still in its write-ahead log"
        raise Busy("erasure-busy", message, retry_after=BUSY_SECONDS)


def make_tables(connection: sqlite3.Connection, schema: str, *, version: int, application: int = 0) -> None:
    """Give a file that is new its tables and marks, in one transaction; leave any other as it is.

    `schema` is of statements parted by semicolons; `version` and `application` are what SQLite keeps in a file's head.
    """
    with transaction(connection):
        if is_new(connection):
            for statement in schema.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={application}")
            connection.execute(f"PRAGMA user_version={version}")


def is_new(connection: sqlite3.Connection) -> bool:
    """Say whether a database holds nothing yet: somebody else's file must not get our tables."""
    return connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
