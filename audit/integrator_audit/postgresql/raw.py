"""The rows of a log in PostgreSQL as they lie there, for who checks them; what the catalogue and the indexes say.

- The catalogue is compared with `sql/ledger_shape.txt`, which a test compares with what the migrations make.
- An index could only disagree with its table through damage. Each is read once by itself and once past it, and the two
  are compared by a sum of hashes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from importlib import resources
from typing import Any, Final, LiteralString, cast

from integrator_audit.errors import Tampered
from integrator_audit.postgresql.reading import ENTRY_COLUMNS, log_session
from integrator_audit.postgresql.session import Session
from integrator_audit.rawrows import RawEntry, Wrong
from integrator_audit.store import EntryRow

_ENTRIES: Final = ENTRY_COLUMNS.replace(
    " FROM entry", ", aid, rid, erased.ground FROM entry LEFT JOIN erased USING (idx)"
).replace("SELECT idx", "SELECT entry.idx")

SHAPE: Final = """
SELECT line FROM (
  SELECT relname || '.' || attname || ' ' || format_type(atttypid, atttypmod) || ' '
    || CASE WHEN attnotnull THEN 'not null' ELSE 'null' END || ' ' || attstorage::text
    || CASE WHEN attgenerated = '' THEN '' ELSE ' generated' END
    || CASE WHEN attcollation IN (0, '"default"'::regcollation, '"C"'::regcollation) THEN '' ELSE ' collated' END
  FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
  WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
  UNION ALL
  SELECT relname || ' is ' || relkind::text FROM pg_class
  WHERE relnamespace = current_schema()::regnamespace AND relkind NOT IN ('r', 'i', 't')
  UNION ALL
  SELECT c.relname || ' ' || pg_get_constraintdef(o.oid) FROM pg_constraint o JOIN pg_class c ON c.oid = conrelid
  WHERE relnamespace = current_schema()::regnamespace AND contype <> 'n'
  UNION ALL
  SELECT replace(pg_get_indexdef(indexrelid), current_schema() || '.', '')
    || CASE WHEN indisvalid AND indisready AND indislive THEN '' ELSE ' invalid' END
  FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE relnamespace = current_schema()::regnamespace
  UNION ALL
  SELECT 'trigger ' || tgname || ' on ' || relname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
  WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal
  UNION ALL
  SELECT 'rule ' || rulename || ' on ' || tablename FROM pg_rules WHERE schemaname = current_schema()
  UNION ALL
  SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
  UNION ALL
  SELECT 'operator ' || oprname FROM pg_operator WHERE oprnamespace = current_schema()::regnamespace
  UNION ALL
  SELECT relname || ' is not logged' FROM pg_class
  WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND relpersistence <> 'p'
  UNION ALL
  SELECT 'policies on ' || relname FROM pg_class
  WHERE relnamespace = current_schema()::regnamespace AND (relrowsecurity OR relforcerowsecurity)
) AS lines (line) ORDER BY line COLLATE "C"
"""
"""One line for each thing in the schema: columns, constraints, indexes, and what must not be there."""

# The order in which an index gives its rows for nothing; with sorts and scans of the table forbidden, it is read.
_INDEXES: Final = {
    "by_subject": (
        "SELECT encode(subject, 'hex') AS key, idx FROM entry WHERE subject IS NOT NULL AND listed",
        "ORDER BY (idx >> 15), subject, idx",
    ),
    "by_recipient": (
        "SELECT rid::text AS key, idx FROM entry WHERE rid IS NOT NULL",
        "ORDER BY (idx >> 15), rid, idx",
    ),
    "unlisted": ("SELECT '' AS key, idx FROM entry WHERE NOT listed", "ORDER BY idx"),
}
_PLAIN: Final = frozenset((int, bool, str, bytes, type(None)))
_BY_INDEX: Final = ("seqscan", "bitmapscan", "sort", "incremental_sort")
_BY_TABLE: Final = ("indexscan", "indexonlyscan", "bitmapscan")


class PostgresRows:
    """The `RawRows` of one schema."""

    def __init__(self, session: Session) -> None:
        """Use `open` instead."""
        self._session = session

    @classmethod
    def open(cls, url: str, *, origin: str | None = None) -> PostgresRows:
        """Open a log; raise as `PostgresReading.read_only` does."""
        return cls(log_session(url, origin, writing=False))

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def snapshot(self) -> AbstractContextManager[None]:
        """Hold one moment."""
        return self._session.snapshot()

    def query(self, statement: str, parameters: Sequence[int] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query in bounded memory."""
        return map(_plain, self._session.stream(_marked(statement), parameters or None))

    def first(self, statement: str, parameters: Sequence[int] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None."""
        row = self._session.row(_marked(statement), parameters or None)
        return None if row is None else _plain(row)

    def entries(self, start: int, stop: int) -> list[RawEntry]:
        """Return the rows of entries in [start, stop)."""
        # What cannot be read is a finding, after which the check goes on: an error must not end its transaction.
        self._session.run("SAVEPOINT entries")
        try:
            rows = self._session.rows(f"{_ENTRIES} WHERE entry.idx >= %s AND entry.idx < %s", (start, stop))
        except Tampered:
            self._session.run("ROLLBACK TO SAVEPOINT entries")
            raise
        self._session.run("RELEASE SAVEPOINT entries")
        return [_raw(_plain(columns)) for columns in rows]

    def draws(self) -> Iterator[tuple[Any, ...]]:
        """Yield (first index, count, start of the first salt, start of the first entry's salt or None), by index."""
        # 16 is `DRAWN`.
        return self.query(
            "SELECT first, count, draw.salt, substr(entry.salt, 1, 16) FROM draw LEFT JOIN entry ON idx = first"
            " ORDER BY first"
        )

    def structure(self) -> Iterator[Wrong]:
        """Yield what is wrong with the catalogue of the schema, and with the lease."""
        where = f"schema {self._session.schema}"
        folder = resources.files("integrator_audit.postgresql") / "sql"
        expected = set((folder / "ledger_shape.txt").read_text(encoding="utf-8").splitlines())
        found = {line for (line,) in self._session.rows(SHAPE)}
        for line in sorted(expected - found):
            yield Wrong("schema-wrong", f"{where}: {line}", "it is not as the migrations make it")
        for line in sorted(found - expected):
            yield Wrong("schema-wrong", f"{where}: {line}", "the migrations make no such thing")
        rows = self._session.rows("SELECT lease.size, (SELECT max(size) FROM checkpoint) FROM lease")
        if len(rows) != 1 or rows[0][0] != rows[0][1]:
            yield Wrong(
                "lease-wrong", "row of lease", "its size is not that of the newest checkpoint, or it is missing"
            )

    def indexes(self) -> Iterator[Wrong]:
        """Yield the indexes that do not hold what the entries say."""
        for name, (select, order) in _INDEXES.items():
            ordered = cast(LiteralString, f"{select} {order}")
            alone = self._sum(ordered, without=_BY_INDEX, through=name)
            if alone is None:
                yield Wrong("index-wrong", f"index {name}", "PostgreSQL cannot use it: make it as the migrations do")
            elif alone != self._sum(ordered, without=_BY_TABLE):
                yield Wrong("index-wrong", f"index {name}", "the index is not that of the entries: REINDEX it")

    def _sum(
        self, select: LiteralString, *, without: Sequence[str], through: str = "Seq Scan"
    ) -> tuple[Any, ...] | None:
        """Return how many rows a query has and the sum of their hashes, without some kinds of plan.

        None when the plan does not go through what is named.
        """
        hashes = "SELECT count(*), sum(hashtextextended(key, idx)::numeric)"
        query: LiteralString = f"{hashes} FROM ({select} OFFSET 0) AS ordered"
        self._session.run("SAVEPOINT plans")
        try:
            for kind in without:
                self._session.run(cast(LiteralString, f"SET LOCAL enable_{kind} = off"))
            plan = " ".join(line for (line,) in self._session.rows(f"EXPLAIN {query}"))
            return self._session.row(query) if through in plan else None
        finally:
            self._session.run("ROLLBACK TO SAVEPOINT plans")


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a row in which what no column of ours can hold, such as a list, is a text that fits nowhere."""
    if _PLAIN.issuperset(map(type, row)):
        return row
    return tuple(value if type(value) in _PLAIN else "of another type" for value in row)


def _marked(statement: str) -> LiteralString:
    return cast(LiteralString, statement.replace("?", "%s::bigint"))


def _raw(columns: tuple[Any, ...]) -> RawEntry:
    *row, statement, recipient, ground = columns
    entry = EntryRow._make(row)
    return RawEntry(entry, statement, recipient, ground, not entry.listed)
