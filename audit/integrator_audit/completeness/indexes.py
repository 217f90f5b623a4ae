"""Opens the index of an epoch log at the place that is named: the path of a file, or a `postgresql://` URL.

In a database the URL's `schema` or the epoch log's origin says which index.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from integrator_audit.completeness.index import IndexReading, IndexStore
from integrator_audit.completeness.indexfile import SqliteIndex
from integrator_audit.stores import is_url, without_driver

if TYPE_CHECKING:
    from integrator_audit.postgresql.index import PostgresIndex


def open_index(place: Path | str, *, origin: str | None = None) -> IndexStore:
    """Open an index for its one sealer, or create it; raise `Busy` while another one has it."""
    if not is_url(place):
        return SqliteIndex.open(Path(place))
    return _postgres().open(str(place), origin=origin)


def open_index_erasing(place: Path | str, *, origin: str | None = None) -> IndexStore:
    """Open an index beside its sealer, to erase what is sealed; raise `Unavailable` when it is absent."""
    if not is_url(place):
        return SqliteIndex.open_erasing(Path(place))
    return _postgres().open_erasing(str(place), origin=origin)


def read_index(place: Path | str, *, origin: str | None = None) -> IndexReading:
    """Open an index for reading; raise `Unavailable` when it is absent."""
    if not is_url(place):
        return SqliteIndex.read_only(Path(place))
    return _postgres().read_only(str(place), origin=origin)


def _postgres() -> type[PostgresIndex]:
    try:
        from integrator_audit.postgresql.index import PostgresIndex  # noqa: PLC0415  the driver is an extra
    except ModuleNotFoundError as error:
        raise without_driver(error) from None
    return PostgresIndex
