"""Opens the store that a place names: the path of an SQLite file, or a `postgresql://` URL.

- The package of the other store is loaded only when a URL asks for it: an auditor needs no driver.
- A URL may hold a password. It is handed to the driver and repeated nowhere.
- One schema of a database holds one log. Its name is the last element of the origin's path: `…/ledger/demo/s0-2026h2`
  is in `ledger_s0_2026h2`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from integrator_audit.errors import Invalid, Refused
from integrator_audit.rawrows import RawRows
from integrator_audit.sqlite import SqliteStore
from integrator_audit.sqliteraw import SqliteRows
from integrator_audit.sqlitereading import SqliteReading
from integrator_audit.sqlitevault import SqliteVaultTables
from integrator_audit.store import Reading, Store
from integrator_audit.vaulttables import VaultTables

LOG_SCHEMA: Final = "ledger_"
"""What the schema of a log begins with."""
INDEX_SCHEMA: Final = "index_"
"""What the schema of an epoch log's index begins with: of `…/ledger/demo/epochs` it is in `index_epochs`."""
_SCHEMES: Final = ("postgresql://", "postgres://")
_PASSWORD: Final = re.compile(r"://[^/?@]*:[^/?]*@|[?&](?:password|sslpassword)=")
# SPEC libpq: identifiers are cut at 63 bytes; a name that is cut would silently be another log's.
_SCHEMA: Final = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")


def open_store(place: Path | str, *, origin: str) -> Store:
    """Open the store at `place` for the one writer of the log `origin`, or create it.

    A file holds one log, a database many: there the origin says which.

    Raises `Unavailable` (it cannot be opened), `Refused` or `Tampered` (it holds something else), `Refused`
    (`store-extra`) when the driver of PostgreSQL is not installed.
    """
    if not is_url(place):
        return SqliteStore.open(Path(place))
    try:
        from integrator_audit.postgresql.store import PostgresStore  # noqa: PLC0415  the driver is an extra
    except ModuleNotFoundError as error:
        raise without_driver(error) from None
    return PostgresStore.open(str(place), origin=origin)


def open_erasing(place: Path | str, *, origin: str | None = None) -> Store:
    """Open the store at `place` beside its writer, to erase what is there. Raises as `open_store` does.

    In a database with several logs the origin or the URL's `schema` says which.
    """
    if not is_url(place):
        return SqliteStore.open(Path(place))
    try:
        from integrator_audit.postgresql.store import PostgresStore  # noqa: PLC0415  the driver is an extra
    except ModuleNotFoundError as error:
        raise without_driver(error) from None
    return PostgresStore.open_erasing(str(place), origin=origin)


def open_reading(place: Path | str, *, origin: str | None = None) -> Reading:
    """Open the store at `place` for reading beside its writer. Raises as `open_store` does.

    In a database with several logs the origin or the URL's `schema` says which.
    """
    if not is_url(place):
        return SqliteReading.read_only(Path(place))
    try:
        from integrator_audit.postgresql.reading import PostgresReading  # noqa: PLC0415  the driver is an extra
    except ModuleNotFoundError as error:
        raise without_driver(error) from None
    return PostgresReading.read_only(str(place), origin=origin)


def open_rows(place: Path | str, *, origin: str | None = None) -> RawRows:
    """Open the store at `place` to check its rows as they lie there. Raises as `open_reading` does."""
    if not is_url(place):
        return SqliteRows.open(Path(place))
    try:
        from integrator_audit.postgresql.raw import PostgresRows  # noqa: PLC0415  the driver is an extra
    except ModuleNotFoundError as error:
        raise without_driver(error) from None
    return PostgresRows.open(str(place), origin=origin)


def open_vault_tables(place: Path | str, *, writing: bool = True) -> VaultTables:
    """Open the tables of the vault at `place`, for writing made where they are absent; else raise `Unavailable`."""
    if not is_url(place):
        return SqliteVaultTables.open(Path(place)) if writing else SqliteVaultTables.read_only(Path(place))
    try:
        from integrator_audit.postgresql.vault import PostgresVaultTables  # noqa: PLC0415  the driver is an extra
    except ModuleNotFoundError as error:
        raise without_driver(error) from None
    return PostgresVaultTables.open(str(place), writing=writing)


def log_schemas(url: str) -> list[str]:
    """Return the schemas of a database that hold a log and may be read, by name. Raises as `open_reading` does."""
    try:
        from integrator_audit.postgresql.reading import log_schemas as found  # noqa: PLC0415  the driver is an extra
    except ModuleNotFoundError as error:
        raise without_driver(error) from None
    return found(url)


def is_url(place: Path | str) -> bool:
    """Say whether a place names a database server and not a file."""
    return isinstance(place, str) and place.startswith(_SCHEMES)


def holds_password(url: str) -> bool:
    """Say whether a URL holds a password, which then must not stand where others can read it."""
    return _PASSWORD.search(url) is not None


def in_schema(url: str, schema: str) -> str:
    """Return the place of one schema of the database at `url`, which names none itself."""
    return f"{url}{'&' if '?' in url else '?'}schema={schema}"


def schema_of(origin: str, prefix: str = LOG_SCHEMA) -> str:
    """Return the schema of a log by its origin; raise `Invalid` when the last element of its path makes none."""
    return check_schema(prefix + origin.rsplit("/", 1)[-1].replace("-", "_").replace(".", "_"))


def check_schema(name: str) -> str:
    """Return the name of a schema, or raise `Invalid` (`database-schema`)."""
    if not _SCHEMA.match(name) or name.startswith("pg_"):
        message = f"{name[:80]!r} cannot be a schema: it begins with a letter, at most 63 of a-z, 0-9 and _ in all"
        raise Invalid("database-schema", message)
    return name


def without_driver(error: ModuleNotFoundError) -> Refused:
    """Return what to say where the driver of PostgreSQL is missing; raise the error when something else is."""
    if error.name != "psycopg":
        raise error
    message = "a log in PostgreSQL needs the driver: install integrator-audit[postgresql]"
    return Refused("store-extra", message)
