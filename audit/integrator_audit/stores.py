"""Opens the store that a place names: the path of an SQLite file, or a `postgresql://` URL."""

from __future__ import annotations

from pathlib import Path

from integrator_audit.errors import Unavailable
from integrator_audit.sqlite import SqliteStore
from integrator_audit.sqlitereading import SqliteReading
from integrator_audit.store import Reading, Store

_POSTGRESQL = ("postgresql://", "postgres://")


def open_store(place: Path | str) -> Store:
    """Open the store at `place` for its one writer, or create it.

    Raises `Unavailable` (it cannot be opened), `Refused` or `Tampered` (it holds something else).
    """
    if is_url(place):
        raise Unavailable("store-postgresql", "this installation has no PostgreSQL store; give the path of a file")
    return SqliteStore.open(Path(place))


def open_reading(place: Path | str) -> Reading:
    """Open the store at `place` for reading beside its writer. Raises as `open_store` does."""
    if is_url(place):
        raise Unavailable("store-postgresql", "this installation has no PostgreSQL store; give the path of a file")
    return SqliteReading.read_only(Path(place))


def is_url(place: Path | str) -> bool:
    """Say whether a place names a database server and not a file."""
    return isinstance(place, str) and place.startswith(_POSTGRESQL)
