"""The index of an epoch log in a schema of PostgreSQL, beside the epoch log's own.

- The schema is that of the URL, or named by the epoch log: of `…/ledger/demo/epochs` the index is in `index_epochs`.
- One process seals: it holds a lease as a log's writer does, and each of its transactions begins with that. Erasing
  needs no lease and goes on beside it.
- LIMIT: what was erased stays in free space of its page until that is written again, in WAL, stand-bys and backups.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, LiteralString

from integrator_audit.columns import Row, typed, typed_row
from integrator_audit.completeness.index import Altered, Cut, Page, Shape, Trie
from integrator_audit.errors import Refused
from integrator_audit.halfyear import first_day, last_day
from integrator_audit.postgresql.address import Address
from integrator_audit.postgresql.lease import Lease
from integrator_audit.postgresql.migrations import check_migrated, migrate
from integrator_audit.postgresql.session import Session
from integrator_audit.postgresql.vacuum import Vacuum
from integrator_audit.stores import INDEX_SCHEMA, schema_of

_DAYS: Final[tuple[LiteralString, ...]] = (
    "DELETE FROM page WHERE epoch >= %s",
    "DELETE FROM sealed WHERE epoch >= %s",
    "DELETE FROM cut WHERE epoch >= %s",
    "DELETE FROM trie WHERE epoch >= %s",
    "DELETE FROM place WHERE epoch >= %s",
)


class PostgresIndex:
    """An `IndexStore` in one schema. Not safe to share between threads without a lock, which its owners hold."""

    def __init__(self, session: Session, lease: Lease | None) -> None:
        """Use `open`, `open_erasing` or `read_only` instead."""
        self._session = session
        self._lease = lease
        self._vacuum = Vacuum(session, "page, place, altered")

    @classmethod
    def open(cls, url: str, *, origin: str | None = None) -> PostgresIndex:
        """Open the index of the epoch log `origin` for its one sealer, making its schema where it is absent.

        Raises `Busy` (`index-lease`) while another sealer is connected, and what `Session` and `migrate` raise.
        """
        session = _connect(url, origin, writing=True)
        try:
            Lease.hold(session)
            migrate(session, "index")
            return cls(session, Lease.begin(session))
        except BaseException:
            session.close()
            raise

    @classmethod
    def open_erasing(cls, url: str, *, origin: str | None = None) -> PostgresIndex:
        """Open an index that is there beside its sealer, to erase what is sealed; raise as `read_only` does."""
        session = _checked(_connect(url, origin, writing=True))
        return cls(session, Lease(session, None))

    @classmethod
    def read_only(cls, url: str, *, origin: str | None = None) -> PostgresIndex:
        """Open an index for reading; raise `Unavailable` (`index-absent`) when it was not made yet."""
        return cls(_checked(_connect(url, origin, writing=False)), None)

    def close(self) -> None:
        """Close the connection, which ends the lease."""
        self._vacuum.finish()
        self._session.close()

    def newest(self) -> int | None:
        """Return the newest day that was finished here, None when there is none."""
        row = self._row("I", "SELECT max(epoch) FROM sealed")
        return None if row is None else row[0]

    def leaf(self, epoch: int) -> bytes | None:
        """Return the leaf with which a day was finished here."""
        row = self._row("b", "SELECT leaf FROM sealed WHERE epoch = %s", epoch)
        return None if row is None else row[0]

    def cut(self, epoch: int, shard: int) -> Cut | None:
        """Return where a day ends in a shard."""
        query = "SELECT shard, origin, size, note FROM cut WHERE epoch = %s AND shard = %s"
        row = self._row("itib", query, epoch, shard)
        return None if row is None else Cut._make(row)

    def shape(self, epoch: int, trie: Trie) -> Shape | None:
        """Return how a day's trie lies in pages; None when the day has no such trie."""
        row = self._row("ii", "SELECT leaves, bits FROM trie WHERE epoch = %s AND trie = %s", epoch, int(trie))
        return None if row is None else Shape._make(row)

    def page(self, epoch: int, trie: Trie, level: int, number: int) -> bytes | None:
        """Return one page."""
        query = "SELECT data FROM page WHERE epoch = %s AND trie = %s AND level = %s AND number = %s"
        row = self._row("b", query, epoch, int(trie), level, number)
        return None if row is None else row[0]

    def pages(self, epoch: int, trie: Trie) -> Iterator[Page]:
        """Yield the pages of level 0 in the order of their labels."""
        query = "SELECT level, number, data FROM page WHERE epoch = %s AND trie = %s AND level = 0 ORDER BY number"
        return map(Page._make, self._streamed("iib", query, epoch, int(trie)))

    def places(self, epoch: int, trie: Trie, label: bytes) -> Iterator[bytes]:
        """Yield the list of a label that is too long for its page, in pieces of whole places, ascending."""
        query = "SELECT data FROM place WHERE epoch = %s AND trie = %s AND label = %s ORDER BY id"
        return (data for (data,) in self._streamed("b", query, epoch, int(trie), label))

    def altered(self, period: int) -> Iterator[Altered]:
        """Yield the lists of persons in a half-year's days that had lost entries when the half-year closed."""
        query = 'SELECT epoch, was, "left" FROM altered WHERE epoch BETWEEN %s AND %s ORDER BY epoch, id'
        return map(Altered._make, self._streamed("ibb", query, first_day(period), last_day(period)))

    def begin(self, epoch: int) -> None:
        """Forget all of this day and later ones: a sealing that did not come to its leaf."""
        with self._sealing():
            for statement in _DAYS:
                self._session.run(statement, (epoch,))

    def add_pages(self, epoch: int, trie: Trie, pages: Sequence[Page]) -> None:
        """Keep pages of a trie that is being built."""
        rows = ((epoch, int(trie), page.level, page.number, page.data) for page in pages)
        with self._sealing():
            self._session.copy(
                "COPY page (epoch, trie, level, number, data) FROM STDIN (FORMAT BINARY)",
                ("int8", "int2", "int2", "int8", "bytea"),
                rows,
            )

    def add_places(self, epoch: int, trie: Trie, pieces: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep (label, piece of its list): pieces of one label come in ascending order, in one call or several."""
        with self._sealing():
            self._session.copy(
                "COPY place (epoch, trie, label, data) FROM STDIN (FORMAT BINARY)",
                ("int8", "int2", "bytea", "bytea"),
                ((epoch, int(trie), label, data) for label, data in pieces),
            )

    def finish(
        self,
        epoch: int,
        leaf: bytes,
        *,
        shapes: Mapping[Trie, Shape],
        cuts: Sequence[Cut],
        altered: Sequence[Altered] = (),
    ) -> None:
        """Close a day with its leaf; the epoch log has to take exactly these bytes next."""
        with self._sealing(), self._session.pipeline():
            many = self._session.many
            many("INSERT INTO sealed (epoch, leaf) VALUES (%s, %s)", [(epoch, leaf)])
            many(
                "INSERT INTO trie (epoch, trie, leaves, bits) VALUES (%s, %s, %s, %s)",
                [(epoch, int(trie), *shape) for trie, shape in shapes.items()],
            )
            many(
                "INSERT INTO cut (epoch, shard, origin, size, note) VALUES (%s, %s, %s, %s, %s)",
                [(epoch, *cut) for cut in cuts],
            )
            self._add_altered(altered)

    def fill(self, first: int, leaves: Iterable[bytes]) -> None:
        """Close days that have nothing: those before the epoch log's first sealing."""
        with self._sealing():
            self._session.copy(
                "COPY sealed (epoch, leaf) FROM STDIN (FORMAT BINARY)", ("int8", "bytea"), enumerate(leaves, first)
            )

    def erase(
        self, epoch: int, trie: Trie, pages: Sequence[Page], *, labels: Sequence[bytes], altered: Sequence[Altered]
    ) -> None:
        """Replace pages by ones without the salts and lists of `labels`, whose long lists go too; keep `altered`.

        The tables are vacuumed, at most once a minute and when the index is closed.
        """
        with self._sealing():
            self._session.many(
                "UPDATE page SET data = %s WHERE epoch = %s AND trie = %s AND level = %s AND number = %s",
                [(page.data, epoch, int(trie), page.level, page.number) for page in pages],
            )
            query = "DELETE FROM place WHERE epoch = %s AND trie = %s AND label = ANY(%s::bytea[])"
            self._session.run(query, (epoch, int(trie), list(labels)))
            self._add_altered(altered)
        self._vacuum.want()

    def _add_altered(self, altered: Sequence[Altered]) -> None:
        self._session.many('INSERT INTO altered (epoch, was, "left") VALUES (%s, %s, %s)', altered)

    @contextmanager
    def _sealing(self) -> Generator[None]:
        if self._lease is None:
            raise Refused("index-read-only", "the index was opened for reading")
        with self._session.transaction():
            self._lease.confirm()
            yield

    def _row(self, types: str, query: LiteralString, *parameters: object) -> Row | None:
        return typed_row(types, self._session.row(query, parameters or None), what="index")

    def _streamed(self, types: str, query: LiteralString, *parameters: object) -> Iterator[Any]:
        for row in self._session.stream(query, parameters):
            yield typed(types, [row], what="index")[0]


def _connect(url: str, origin: str | None, *, writing: bool) -> Session:
    address = Address.parse(url)
    schema = address.schema or (None if origin is None else schema_of(origin, INDEX_SCHEMA))
    if schema is None:
        raise Refused("index-which", f"which index of {address.label}? Add ?schema=… to the URL")
    return Session(address, schema, what="index", writing=writing)


def _checked(session: Session) -> Session:
    try:
        check_migrated(session, "index")
    except BaseException:
        session.close()
        raise
    return session
