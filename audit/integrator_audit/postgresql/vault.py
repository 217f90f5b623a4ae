"""The tables of a vault in a schema of PostgreSQL, `vault` where the URL names no other.

- A transaction first takes an advisory lock of the schema: writers of one vault follow each other, as in a file.
  There is no lease, because there may be many.
- LIMIT: what was deleted stays in free space of its page until that is written again, in WAL, stand-bys and backups.
  All of it is wrapped by a key of its generation, and unreadable once that is destroyed.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final, LiteralString, NamedTuple, cast

from integrator_audit.postgresql.address import Address
from integrator_audit.postgresql.lease import lock_key
from integrator_audit.postgresql.migrations import check_migrated, migrate
from integrator_audit.postgresql.session import Session
from integrator_audit.postgresql.vacuum import Vacuum
from integrator_audit.vaulttables import Name, Present

SCHEMA: Final = "vault"


class _Columns(NamedTuple):
    names: LiteralString
    types: Sequence[LiteralString]
    key: LiteralString


_COLUMNS: Final[dict[Name, _Columns]] = {
    "generation": _Columns("number, probe", ("bigint", "bytea"), "number"),
    "node": _Columns("class, path, generation, wrapped", ("bigint", "bytea", "bigint", "bytea"), "class, path"),
    "person": _Columns(
        "class, pseudonym, version, generation, wrapped",
        ("bigint", "bytea", "bigint", "bigint", "bytea"),
        "class, pseudonym, version",
    ),
    "entry_key": _Columns("id, generation, wrapped", ("bytea", "bigint", "bytea"), "id"),
    "label": _Columns(
        "period, pseudonym, generation, wrapped", ("bigint", "bytea", "bigint", "bytea"), "period, pseudonym"
    ),
}
_REPLACE: Final = "DO UPDATE SET generation = excluded.generation, wrapped = excluded.wrapped"


class PostgresVaultTables:
    """The `VaultTables` of one schema."""

    def __init__(self, session: Session) -> None:
        """Use `open` instead."""
        self._session = session
        self._vacuum = Vacuum(session, "node, person, entry_key, label, generation")

    @classmethod
    def open(cls, url: str, *, writing: bool) -> PostgresVaultTables:
        """Open a vault, for writing with tables of the newest migration. Raises as `Session` and `migrate` do."""
        address = Address.parse(url)
        session = Session(address, address.schema or SCHEMA, what="vault", writing=writing, lasting=False)
        tables = cls(session)
        try:
            if writing:
                with tables._alone():
                    migrate(session, "vault")
            else:
                check_migrated(session, "vault")
        except BaseException:
            session.close()
            raise
        return tables

    def close(self) -> None:
        """Close the connection."""
        self._vacuum.finish()
        self._session.close()

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Commit what is written until its end; on an exception undo it."""
        with self._session.transaction():
            self._session.row("SELECT pg_advisory_xact_lock(%s)", (lock_key(self._session.schema),))
            yield

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self._session.rows(_marked(query), parameters or None)

    def run(self, statement: str, parameters: Sequence[object] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        return self._session.run(_marked(statement), parameters or None)

    def many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """Run a statement once for each row of parameters."""
        self._session.many(_marked(statement), rows)

    def insert(self, table: Name, rows: Sequence[Sequence[object]], *, present: Present) -> None:
        """Insert rows."""
        if not rows:
            return
        names, types, key = _COLUMNS[table]
        arrays = ", ".join(f"%s::{column}[]" for column in types)
        conflict: dict[Present, LiteralString] = {
            "refuse": "",
            "keep": f" ON CONFLICT ({key}) DO NOTHING",
            "replace": f" ON CONFLICT ({key}) {_REPLACE}",
        }
        statement = f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays}){conflict[present]}"  # noqa: S608  constants
        self._session.run(statement, [list(column) for column in zip(*rows, strict=True)])

    def cleanse(self) -> None:
        """Vacuum the tables, at most once a minute and when the vault is closed.

        What was deleted leaves tables and indexes then, but not the free space of pages.
        """
        self._vacuum.want()

    @contextmanager
    def _alone(self) -> Generator[None]:
        key = (lock_key(self._session.schema),)
        self._session.row("SELECT pg_advisory_lock(%s)", key)
        try:
            yield
        finally:
            self._session.row("SELECT pg_advisory_unlock(%s)", key)


def _marked(statement: str) -> LiteralString:
    return cast(LiteralString, statement.replace("?", "%s"))
