"""One connection to one schema: how it is made and checked, its transactions, snapshots and streams.

- A session that holds a lease is made once. When it is lost it stays lost; who owns it opens anew.
- Any other connects again by itself, outside of a transaction: whether what it had was lost shows only when it is used,
  so what reads or begins there is asked once more.
- Statements name tables without their schema: the session's search path is that schema, and PostgreSQL's own names go
  before it. Whoever may change the schema cannot put a table, function or operator in the place of one of the server's.
- Not safe to share between threads; its owners hold a lock.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, LiteralString, TypeVar

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from integrator_audit.errors import AuditError, Refused, Unavailable
from integrator_audit.postgresql.address import Address
from integrator_audit.postgresql.failures import translate, translate_connecting, translated

MIN_VERSION: Final = 15
STREAMED: Final = 1000
"""Rows that a stream holds in memory."""

Row = tuple[Any, ...]
_Answer = TypeVar("_Answer")
Query = LiteralString | sql.SQL | sql.Composed

# A writer that hangs inside a transaction must not hold its locks for ever; one that has nothing to write keeps its
# lease. The server finds a vanished client by its own probes: then the lease is free.
_WRITING: Final = (
    "SET idle_in_transaction_session_timeout = '120s'",
    "SET lock_timeout = '60s'",
    "SET statement_timeout = 0",
    "SET idle_session_timeout = 0",
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
)
# Compiling a query takes longer than any of ours runs. A policy that would hide rows from us is an error instead.
_ALWAYS: Final = ("SET jit = off", "SET row_security = off")
DURABLE: Final = {"synchronous_commit": ("on", "remote_apply"), "fsync": ("on",), "full_page_writes": ("on",)}


class Session:
    """A connection whose errors are ours. Rows come as tuples, bytes as `bytes`."""

    def __init__(self, address: Address, schema: str, *, what: str, writing: bool, lasting: bool = True) -> None:
        """Connect, and check the server; `what` (ledger, vault) names the store for people.

        `lasting` says of a writing session that no other can take its place, because something goes with it.

        Raises `Refused` (`…-login`, `…-server` for a server that is too old, `…-not-durable` for a writing session on
        a server that would lose commits), `Unavailable` (`…-store`, `…-no-database`).
        """
        self.where = address.label
        self.schema = schema
        self._address = address
        self.what = what
        self._writing = writing
        self._again = not (writing and lasting)
        self._names = itertools.count()
        self.connection = self._connect()

    def close(self) -> None:
        """Close the connection; its transaction, if any, is rolled back by the server."""
        self.connection.close()

    def translated(self) -> AbstractContextManager[None]:
        """Return a context in which errors of the driver become ours."""
        return translated(self.what, self.where)

    def rows(self, query: Query, parameters: Sequence[object] | None = None) -> list[Row]:
        """Return all rows of a query, or none of a statement without rows."""

        def ask(connection: psycopg.Connection[Row]) -> list[Row]:
            cursor = connection.cursor(binary=True).execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

        with self.translated():
            return ask(self._usable()) if self._writing else self._asked(ask)

    def row(self, query: Query, parameters: Sequence[object] | None = None) -> Row | None:
        """Return the first row, or None."""
        found = self.rows(query, parameters)
        return found[0] if found else None

    def run(self, query: Query, parameters: Sequence[object] | None = None) -> int:
        """Run a statement and return how many rows it changed."""
        with self.translated():
            return self._usable().execute(query, parameters).rowcount

    def script(self, text: str) -> None:
        """Run statements of the package's own, one after the other."""
        with self.translated():
            self._usable().execute(text.encode())

    def many(self, query: Query, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement once for every row, without waiting in between."""
        if rows:
            with self.translated():
                self._usable().cursor().executemany(query, rows)

    def copy(self, query: Query, types: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Write rows with COPY in binary; `types` are the columns' types."""
        with self.translated(), self._usable().cursor().copy(query) as copy:
            copy.set_types(types)
            write = copy.write_row
            for row in rows:
                write(row)

    @contextmanager
    def pipeline(self) -> Generator[None]:
        """Send statements without waiting for their answers; the first error is raised at the end."""
        with self.translated(), self._usable().pipeline():
            yield

    def stream(self, query: Query, parameters: Sequence[object] | None = None) -> Iterator[Row]:
        """Yield the rows of a query with a server-side cursor: bounded memory, one moment."""
        with self.snapshot():
            yield from self._fetched(query, parameters)

    @property
    def in_transaction(self) -> bool:
        """Say whether a transaction or snapshot is open."""
        return self.connection.info.transaction_status not in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)

    @contextmanager
    def snapshot(self) -> Generator[None]:
        """Hold one moment, read only; inside another snapshot or a transaction, that one's."""
        if self.in_transaction:
            yield
            return
        self._begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield
        finally:
            self._rollback()

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Commit at the end, whole; on an exception roll back. Inside another transaction it is a part of that.

        Raises `Unavailable` (`…-commit-unknown`) when the connection is lost while the server commits.
        """
        if self.in_transaction:
            yield
            return
        self._begin("BEGIN")
        try:
            yield
        except BaseException:
            self._rollback()
            raise
        self._commit()

    def _commit(self) -> None:
        failure: AuditError | None = None
        try:
            self.connection.execute("COMMIT")
        except psycopg.Error as error:
            failure = translate(error, self.what, self.where)
            if self.connection.closed or error.sqlstate is None or error.sqlstate.startswith(("08", "57")):
                message = (
                    f"the connection to {self.where} was lost while it committed: nobody can tell from here whether "
                    f"what was written stands. Open the {self.what} again, which reads the truth"
                )
                failure = Unavailable(f"{self.what}-commit-unknown", message)
        if failure is not None:
            self._rollback()
            raise failure

    def _rollback(self) -> None:
        # Whatever made us roll back is what the caller hears of. A lost connection needs no rollback: the server does.
        try:
            if self.in_transaction:
                self.connection.execute("ROLLBACK")
        except psycopg.Error:
            self.connection.close()

    def _fetched(self, query: Query, parameters: Sequence[object] | None) -> Iterator[Row]:
        with self.translated():
            cursor = self._usable().cursor(f"stream_{next(self._names)}", binary=True)
            with cursor:
                cursor.itersize = STREAMED
                yield from cursor.execute(query, parameters)

    def _begin(self, statement: LiteralString) -> None:
        with self.translated():
            self._asked(lambda connection: connection.execute(statement))

    def _asked(self, ask: Callable[[psycopg.Connection[Row]], _Answer]) -> _Answer:
        connection, is_idle = self._usable(), not self.in_transaction
        try:
            return ask(connection)
        except psycopg.OperationalError:
            if not (is_idle and self._again and connection.closed):
                raise
            return ask(self._usable())

    def _usable(self) -> psycopg.Connection[Row]:
        if self.connection.closed and self._again:
            self.connection = self._connect()
        return self.connection

    def _connect(self) -> psycopg.Connection[Row]:
        connection = _connected(self._address, self.what)
        try:
            with self.translated():
                if connection.info.server_version < MIN_VERSION * 10_000:
                    found = connection.info.server_version // 10_000
                    message = f"{self.where} runs PostgreSQL {found}; the {self.what} needs {MIN_VERSION} or later"
                    raise Refused(f"{self.what}-server", message)
                # Not named, pg_catalog is searched first; named, pg_temp is searched last.
                connection.execute(sql.SQL("SET search_path TO {}, pg_temp").format(sql.Identifier(self.schema)))
                if self._writing:
                    self._check_durable(connection)
                for statement in (*_ALWAYS, *(_WRITING if self._writing else ())):
                    connection.execute(statement)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_durable(self, connection: psycopg.Connection[Row]) -> None:
        for setting, allowed in DURABLE.items():
            row = connection.execute("SELECT current_setting(%s)", (setting,)).fetchone()
            if row is None or row[0] not in allowed:
                message = (
                    f"{setting} is {row[0] if row else 'unknown'} in {self.where}: a commit could be lost after it was "
                    f"confirmed. Set it to {allowed[0]} for the database and the user of the {self.what}"
                )
                raise Refused(f"{self.what}-not-durable", message)
        # What was found holds for this session, whatever the server's settings become later.
        connection.execute("SELECT set_config('synchronous_commit', current_setting('synchronous_commit'), false)")


def _connected(address: Address, what: str) -> psycopg.Connection[Row]:
    try:
        return psycopg.connect(address.conninfo, autocommit=True)
    except psycopg.Error as error:
        failure = translate_connecting(error, what, address.label)
    # Outside of the handler: the driver's error holds the password, and nothing may lead to it from ours.
    raise failure
