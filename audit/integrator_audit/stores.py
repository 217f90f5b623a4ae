"""Opens the store that a place names: the path of an SQLite file, or a `postgresql://` URL.

- The package of the other store is loaded only when a URL asks for it: an auditor needs no driver.
- A URL may hold a password. It is handed to the driver and repeated nowhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from integrator_audit.errors import Refused
from integrator_audit.rawrows import RawRows
from integrator_audit.sqlite import SqliteStore
from integrator_audit.sqliteraw import SqliteRows
from integrator_audit.sqlitereading import SqliteReading
from integrator_audit.sqlitevault import SqliteVaultTables
from integrator_audit.store import Reading, Store
from integrator_audit.vaulttables import VaultTables

_SCHEMES: Final = ("postgresql://", "postgres://")


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


def is_url(place: Path | str) -> bool:
    """Say whether a place names a database server and not a file."""
    return isinstance(place, str) and place.startswith(_SCHEMES)


def without_driver(error: ModuleNotFoundError) -> Refused:
    """Return what to say where the driver of PostgreSQL is missing; raise the error when something else is."""
    if error.name != "psycopg":
        raise error
    message = "a log in PostgreSQL needs the driver: install integrator-audit[postgresql]"
    return Refused("store-extra", message)
