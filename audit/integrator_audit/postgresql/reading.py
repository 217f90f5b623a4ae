"""Reading a log in PostgreSQL: every question of the port `Reading`.

- A snapshot is one transaction, REPEATABLE READ and READ ONLY; streams are server-side cursors in it or in their own.
- The indexes by person and recipient begin with the block of the entry. A read of the newest entries looks into some
  blocks at a time, newest first, twice as many each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, Final, LiteralString

from integrator_audit.columns import typed, typed_row
from integrator_audit.errors import Refused
from integrator_audit.postgresql.address import Address
from integrator_audit.postgresql.migrations import check_migrated
from integrator_audit.postgresql.session import STREAMED, Row, Session
from integrator_audit.store import BLOCK_BITS, EntryRow, Erasure, Ground, Head, Identity, SetAside, block_of
from integrator_audit.stores import LOG_SCHEMA, schema_of
from integrator_audit.tiles import TileRow

_FIRST_BLOCKS: Final = 8

ENTRY_COLUMNS: Final = (
    "SELECT idx, subject, coalesce(recipient.name, ''), t, at, years, listed, salt, statement.bytes, body, p, h,"
    " ''::bytea, kv, pk, entry.seal FROM entry LEFT JOIN recipient USING (rid) LEFT JOIN statement USING (aid)"
)
"""Columns in the order of `EntryRow`; the commitment is computed by who checks it."""

_ENTRY_TYPES: Final = "iBtimiobbbbbbvBi"
"""Their types, as `columns` names them, like those of all queries here."""

_BY_SUBJECT: Final = (
    "SELECT idx FROM entry WHERE (idx >> 15) = ANY(%s::bigint[]) AND subject = %s AND subject IS NOT NULL AND listed"
    " AND idx < %s ORDER BY idx DESC LIMIT %s"
)
_BY_RECIPIENT: Final = (
    "SELECT idx FROM entry WHERE (idx >> 15) = ANY(%s::bigint[]) AND rid = %s AND rid IS NOT NULL"
    " AND idx < %s ORDER BY idx DESC LIMIT %s"
)


class PostgresReading:
    """A `Reading` of one schema. Not safe to share between threads without a lock, which its owners hold."""

    def __init__(self, session: Session) -> None:
        """Use `read_only` instead."""
        self.session = session

    @classmethod
    def read_only(cls, url: str, *, origin: str | None = None) -> PostgresReading:
        """Open a log for reading. Which one is said by the `schema` of the URL, by the origin, or there is only one.

        Raises `Invalid` (`database-url`), `Refused` (`ledger-which` when there are several, `ledger-older`,
        `ledger-newer`, `ledger-format`, `ledger-login`), `Unavailable` (`ledger-absent`, `ledger-store`, …).
        """
        return cls(log_session(url, origin, writing=False))

    def close(self) -> None:
        """Close the connection."""
        self.session.close()

    def snapshot(self) -> AbstractContextManager[None]:
        """Hold one moment of the log; inside another snapshot it is that one's moment."""
        return self.session.snapshot()

    def identity(self) -> Identity | None:
        """Return which log this is, or None when the schema is new."""
        row = self._row("ttt", "SELECT origin, vkey, kind FROM identity")
        return None if row is None else Identity(*row)

    def head(self) -> Head | None:
        """Return the newest checkpoint, or None when the schema is new."""
        return self._head("ORDER BY size DESC, at DESC LIMIT 1")

    def last_before(self, at: int) -> Head | None:
        """Return the newest kept checkpoint that was committed before the moment `at` (ms), None when there is none."""
        return self._head("WHERE at < %s ORDER BY size DESC, at DESC LIMIT 1", at)

    def published(self) -> tuple[int, bytes] | None:
        """Return the newest published size and its note with the cosignatures, or None."""
        row = self._row("ib", "SELECT size, note FROM published ORDER BY size DESC LIMIT 1")
        return None if row is None else (row[0], row[1])

    def is_closed(self) -> bool:
        """Say whether the log was closed for good."""
        return self.session.row("SELECT size FROM closing") is not None

    def tile(self, level: int, index: int) -> TileRow | None:
        """Return a tile as wide as it is now."""
        row = self._row("ibb", "SELECT width, data, nodes FROM tile WHERE level = %s AND n = %s", level, index)
        return None if row is None else TileRow(level, index, *row)

    def entry(self, index: int) -> EntryRow | None:
        """Return one entry; its commitment is computed by who checks it and is empty here."""
        row = self._row(_ENTRY_TYPES, f"{ENTRY_COLUMNS} WHERE idx = %s", index)
        return None if row is None else EntryRow._make(row)

    def entries(self, start: int, stop: int) -> Iterator[EntryRow]:
        """Yield the entries from `start` to before `stop` in the order of their indices."""
        return map(EntryRow._make, self._ranged(_ENTRY_TYPES, ENTRY_COLUMNS, start, stop))

    def rows(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield (index, number of its statement, moment in ms or 0 when erased) of entries, by index."""
        return self._ranged("iim", "SELECT idx, aid, at FROM entry", start, stop)

    def statements(self) -> Iterator[tuple[int, bytes]]:
        """Yield each distinct part A with its number, by number."""
        return self._streamed("ib", "SELECT aid, bytes FROM statement ORDER BY aid")

    def statement(self, number: int) -> bytes | None:
        """Return the part A with this number."""
        row = self._row("b", "SELECT bytes FROM statement WHERE aid = %s", number)
        return None if row is None else row[0]

    def indices_of(self, subject: bytes, before: int, limit: int) -> list[int]:
        """Return at most `limit` indices of a person's listed entries below `before`, newest first."""
        return self._newest(_BY_SUBJECT, subject, before, limit)

    def indices_to(self, recipient: str, before: int, limit: int) -> list[int]:
        """Return at most `limit` indices of a recipient's entries below `before`, newest first."""
        row = self._row("i", "SELECT rid FROM recipient WHERE name = %s", recipient)
        return [] if row is None else self._newest(_BY_RECIPIENT, row[0], before, limit)

    def persons_between(self, start: int, stop: int) -> Iterator[tuple[bytes, list[int]]]:
        """Yield each person with listed entries in [start, stop) once, with their indices ascending."""
        query = (
            "SELECT subject, array_agg(idx ORDER BY idx) FROM entry WHERE (idx >> 15) BETWEEN %s AND %s"
            " AND idx >= %s AND idx < %s AND subject IS NOT NULL AND listed GROUP BY subject"
        )
        return self._grouped("ba", query, start, stop)

    def recipients_between(self, start: int, stop: int) -> Iterator[tuple[str, list[int]]]:
        """Yield each recipient with entries in [start, stop) once, with their indices ascending, erased ones too."""
        query = (
            "SELECT name, indices FROM (SELECT rid, array_agg(idx ORDER BY idx) AS indices FROM entry"
            " WHERE (idx >> 15) BETWEEN %s AND %s AND idx >= %s AND idx < %s AND rid IS NOT NULL GROUP BY rid) AS found"
            " JOIN recipient USING (rid)"
        )
        return self._grouped("ta", query, start, stop)

    def unlisted_between(self, start: int, stop: int) -> list[int]:
        """Return the indices of the entries in [start, stop) that are not listed under persons, ascending."""
        query = "SELECT idx FROM entry WHERE NOT listed AND idx >= %s AND idx < %s ORDER BY idx"
        return [index for (index,) in typed("i", self.session.rows(query, (start, stop)))]

    def with_retention(self, years: int, start: int, stop: int) -> Iterator[int]:
        """Yield the indices in [start, stop) of entries that are kept so long and are not erased, ascending."""
        query: LiteralString = "SELECT idx, years, length(body) = 0 FROM entry"
        for index, kept, gone in self._ranged("iio", query, start, stop):
            if kept == years and not gone:
                yield index

    def erased(self, index: int) -> Ground | None:
        """Return why an entry was erased, or None when it was not."""
        row = self._row("t", "SELECT ground FROM erased WHERE idx = %s", index)
        return None if row is None else row[0]

    def erasures(self, start: int, stop: int) -> Iterator[Erasure]:
        """Yield what was erased in [start, stop), by index."""
        return map(Erasure._make, self._ranged("it", "SELECT idx, ground FROM erased", start, stop))

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the next position to read by (topic, partition)."""
        rows = typed("tii", self.session.rows("SELECT topic, part, next FROM position"))
        return {(topic, partition): position for topic, partition, position in rows}

    def set_asides(self) -> list[SetAside]:
        """Return the records that were set aside, by topic, partition and position."""
        query = "SELECT topic, part, position, reason FROM set_aside ORDER BY topic, part, position"
        return [SetAside(*row) for row in typed("tiit", self.session.rows(query))]

    def _head(self, where: LiteralString, *parameters: object) -> Head | None:
        query = f"SELECT size, root, note, consumed, at FROM checkpoint {where}"  # noqa: S608  constants
        row = self._row("ibbbm", query, *parameters)
        return None if row is None else Head(*row)

    def _row(self, types: str, query: LiteralString, *parameters: object) -> Row | None:
        return typed_row(types, self.session.row(query, parameters or None))

    def _ranged(self, types: str, query: LiteralString, start: int, stop: int) -> Iterator[Any]:
        return self._streamed(types, f"{query} WHERE idx >= %s AND idx < %s ORDER BY idx", start, stop)

    def _grouped(self, types: str, query: LiteralString, start: int, stop: int) -> Iterator[Any]:
        if start >= stop:
            return iter(())
        return self._streamed(types, query, block_of(start), block_of(stop - 1), start, stop)

    def _streamed(self, types: str, query: LiteralString, *parameters: object) -> Iterator[Any]:
        rows = self.session.stream(query, parameters or None)
        while some := list(islice(rows, STREAMED)):
            yield from typed(types, some)

    def _newest(self, query: LiteralString, key: object, before: int, limit: int) -> list[int]:
        found: list[int] = []
        (newest,) = self._row("I", "SELECT max(idx) FROM entry") or (None,)
        last = -1 if newest is None else newest
        for blocks in _blocks(block_of(min(before - 1, last))):
            rows = self.session.rows(query, (blocks, key, before, limit - len(found)))
            found += [index for (index,) in typed("i", rows)]
            if len(found) >= limit:
                break
        return found


def log_session(url: str, origin: str | None, *, writing: bool) -> Session:
    """Connect to a log that is there; raise as `PostgresReading.read_only` does."""
    address = Address.parse(url)
    schema = named_schema(address, origin) or _only_schema(address)
    session = Session(address, schema, what="ledger", writing=writing)
    try:
        check_migrated(session, "ledger")
    except BaseException:
        session.close()
        raise
    return session


def named_schema(address: Address, origin: str | None) -> str | None:
    """Return the schema that URL or origin name; raise `Refused` (`ledger-origin`) when they name different ones."""
    derived = None if origin is None else schema_of(origin)
    if address.schema is not None and derived is not None and address.schema != derived:
        message = f"the URL names the schema {address.schema}; the log {origin} is kept in {derived}"
        raise Refused("ledger-origin", message)
    return address.schema or derived


def log_schemas(url: str) -> list[str]:
    """Return the schemas that hold a log and may be read, by name. Raises as `Session` does."""
    return [name for name in _leased(Address.parse(url)) if name.startswith(LOG_SCHEMA)]


def _leased(address: Address) -> list[str]:
    session = Session(address, "public", what="ledger", writing=False)
    try:
        # A log is where its lease is; a schema that we may not look into is none of ours.
        found = session.rows(
            "SELECT nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE relname = 'lease'"
            " AND relkind = 'r' AND has_schema_privilege(n.oid, 'USAGE') ORDER BY 1"
        )
    finally:
        session.close()
    return [name for (name,) in found]


def _only_schema(address: Address) -> str:
    found = _leased(address)
    if len(found) == 1:
        return found[0]
    names = ", ".join(found) or "none"
    message = f"which log of {address.label}? There are: {names}. Add ?schema=… to the URL"
    raise Refused("ledger-which", message)


def _blocks(last: int) -> Iterator[list[int]]:
    """Yield the blocks from `last` down to 0 in lists, each twice as long as the one before."""
    count = _FIRST_BLOCKS
    while last >= 0:
        yield list(range(last, max(last - count, -1), -1))
        last -= count
        count *= 2


assert BLOCK_BITS == 15, "the indexes of the schema are by blocks of 2^15"  # noqa: S101  a change needs a migration
