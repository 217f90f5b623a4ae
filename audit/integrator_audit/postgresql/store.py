"""The store beyond one machine: one schema of PostgreSQL for one log, one transaction for one batch.

- When `commit` returns, the server has flushed the batch (`synchronous_commit`, checked at the start).
- Every writing transaction begins with the row of the lease: it finds the writer's generation and the size that this
  writer left, or ends there. When the connection is lost inside a COMMIT, the outcome is unknown and `Unavailable`.
- Rows go in with COPY in binary. The unfinished tiles at the right edge are replaced as they fill, a day's earlier
  checkpoints give way to its later ones; every other row is written once.
- Who erases needs no lease: the row of the lease keeps writer and eraser apart, a transaction each.
- After erasures the table is vacuumed, at most once a minute and when the store is closed.
  LIMIT: what an erased row held stays in free space of its page until that is written again, in WAL, stand-bys and
  backups. Bodies are ciphertext whose keys are destroyed; `docs/ledger-postgresql.md` says what to do about the rest.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from hashlib import sha256
from typing import Final, TypeVar

from integrator_audit.errors import Busy, Invalid, Refused, Tampered
from integrator_audit.halfyear import DAY_MS
from integrator_audit.postgresql.address import Address
from integrator_audit.postgresql.lease import Lease
from integrator_audit.postgresql.migrations import migrate
from integrator_audit.postgresql.reading import PostgresReading, log_session, named_schema
from integrator_audit.postgresql.session import Session
from integrator_audit.postgresql.vacuum import Vacuum
from integrator_audit.store import KEYS_MOVED, Batch, EntryRow, Erasure, Head, Identity, entry_seal, seal_of

MAX_CACHED: Final = 20_000
DRAWN: Final = 16
"""Bytes of a batch's first salt that are unique per log: a repeated one means that randomness came again."""

_Key = TypeVar("_Key", bytes, str)

ENTRY_COLUMNS: Final = "idx, aid, at, seal, rid, kv, t, years, listed, subject, salt, h, pk, body, p"
ENTRY_TYPES: Final = (
    *("int8", "int8", "int8", "int8", "int4", "int4", "int2", "int2", "bool"),
    *("bytea", "bytea", "bytea", "bytea", "bytea", "bytea"),
)
_COPY: Final = f"COPY entry ({ENTRY_COLUMNS}) FROM STDIN (FORMAT BINARY)"


class PostgresStore(PostgresReading):
    """A `Store` in one schema. Not safe to share between threads without a lock, which its owners hold."""

    def __init__(self, session: Session, lease: Lease) -> None:
        """Use `open` instead."""
        super().__init__(session)
        self._lease = lease
        self._vacuum = Vacuum(session, "entry")
        # What follows holds committed rows only; each is bounded, and emptied when full.
        self._statements: dict[bytes, int] = {}
        self._recipients: dict[str, int] = {}

    @classmethod
    def open(cls, url: str, *, origin: str) -> PostgresStore:
        """Open the log of `origin` for its one writer, making its schema where it is absent.

        Raises `Busy` (`ledger-lease`) while another writer is connected, and what `Session` and `migrate` raise.
        """
        address = Address.parse(url)
        schema = named_schema(address, origin)
        assert schema is not None, "an origin names a schema"  # noqa: S101
        session = Session(address, schema, what="ledger", writing=True)
        try:
            Lease.hold(session)
            migrate(session, "ledger")
            return cls(session, Lease.begin(session))
        except BaseException:
            session.close()
            raise

    @classmethod
    def open_erasing(cls, url: str, *, origin: str | None = None) -> PostgresStore:
        """Open a log beside its writer, to erase and reseal; appending is then `Refused` (`ledger-other-writer`).

        Raises as `PostgresReading.read_only` does.
        """
        session = log_session(url, origin, writing=True)
        return cls(session, Lease(session, None))

    def close(self) -> None:
        """Close the connection, which ends the lease."""
        self._vacuum.finish()
        super().close()

    def create(self, identity: Identity, head: Head, positions: Mapping[tuple[str, int], int]) -> None:
        """Make a new log with its first, empty checkpoint and the positions where its sources begin."""
        with self.session.transaction():
            self._lease.advance(0, head.size)
            row = (identity.origin, identity.vkey, identity.kind)
            self.session.run("INSERT INTO identity (origin, vkey, kind) VALUES (%s, %s, %s)", row)
            self._write_positions(positions)
            self._write_head(head)

    def commit(self, batch: Batch) -> None:
        """Make a batch durable, whole or not at all; raise `Refused` when somebody else has extended the log."""
        with self.session.transaction():
            self._lease.advance(batch.previous_size, batch.head.size)
            if self.is_closed():
                message = f"the log was closed at size {batch.previous_size}; append to the next half-year's"
                raise Refused("ledger-closed", message)
            if not batch.still_valid():
                raise Busy(KEYS_MOVED, "a key was destroyed since the batch was sealed; seal it anew")
            if batch.head.size == batch.previous_size:
                self._check_same(batch.head)
            statements = self._statement_numbers({row.a for row in batch.entries})
            recipients = self._recipient_numbers({row.recipient for row in batch.entries if row.recipient})
            if batch.entries:
                self.session.copy(_COPY, ENTRY_TYPES, columns(batch.entries, statements, recipients))
            with self.session.pipeline():
                self._write_rest(batch)
        _remember(self._statements, statements)
        _remember(self._recipients, recipients)

    def publish(self, size: int, note: bytes) -> None:
        """Keep a published note with its cosignatures; a later call for the same size replaces it."""
        with self.session.transaction():
            self._lease.confirm()
            self.session.run(
                "INSERT INTO published (size, note, seal) VALUES (%s, %s, %s)"
                " ON CONFLICT (size) DO UPDATE SET note = excluded.note, seal = excluded.seal",
                (size, note, seal_of(size, note)),
            )

    def close_log(self) -> None:
        """Close the log for good."""
        with self.session.transaction():
            self._lease.confirm()
            self.session.run("INSERT INTO closing (size) SELECT size FROM lease ON CONFLICT DO NOTHING")

    @contextmanager
    def exclusive(self) -> Generator[None]:
        """Join all calls until its end into one transaction, during which nobody commits to the log."""
        with self.session.transaction():
            self._lease.confirm()
            yield
        self._vacuum.want()

    def reseal(self, rows: Sequence[EntryRow]) -> None:
        """Replace body, key version and seal of these entries, all of them or none."""
        with self.session.transaction():
            self._lease.confirm()
            self.session.many(
                "UPDATE entry SET body = %s, kv = %s, seal = %s WHERE idx = %s",
                [(row.body, row.key_version, row.seal, row.number) for row in rows],
            )
        self._vacuum.want()

    def erase(self, erasures: Sequence[Erasure]) -> None:
        """Erase bodies, actors, moments and persons of entries in one transaction; hashes and grounds stay.

        What is erased already is passed over and keeps its first ground. Raises `Invalid` (`no-such-entry`).
        """
        grounds = dict(reversed(erasures))
        with self.session.transaction():
            self._lease.confirm()
            seals = self._to_erase(sorted(grounds))
            self.session.run(
                "UPDATE entry SET subject = NULL, at = 0, body = '', p = '', pk = NULL, kv = 1, seal = bare.seal"
                " FROM unnest(%s::bigint[], %s::bigint[]) AS bare (idx, seal) WHERE entry.idx = bare.idx",
                (list(seals), list(seals.values())),
            )
            self.session.many(
                "INSERT INTO erased (idx, ground) VALUES (%s, %s)", [(index, grounds[index]) for index in seals]
            )
        self._vacuum.want()

    def _to_erase(self, indices: Sequence[int]) -> dict[int, int]:
        """Return the coming seal of those entries that are not erased yet."""
        query = (
            "SELECT idx, coalesce(name, ''), t, years, listed, length(body) = 0"
            " FROM entry LEFT JOIN recipient USING (rid) WHERE idx = ANY(%s::bigint[])"
        )
        found = {row[0]: row[1:] for row in self.session.rows(query, (list(indices),))}
        seals: dict[int, int] = {}
        for index in indices:
            if index not in found:
                raise Invalid("no-such-entry", f"there is no entry {index} to erase")
            recipient, entry_type, years, listed, gone = found[index]
            if gone:
                continue
            bare = EntryRow(
                *(index, None, recipient, entry_type, 0, years, listed, b"", b"", b"", b"", b"", b"", 1, None, 0)
            )
            seals[index] = entry_seal(bare)
        return seals

    def _write_rest(self, batch: Batch) -> None:
        """Write all that is not a row of an entry, without waiting for answers in between."""
        many = self.session.many
        if batch.entries:
            first = batch.entries[0]
            draw = (first.number, len(batch.entries), first.salt_a[:DRAWN])
            many("INSERT INTO draw (first, count, salt) VALUES (%s, %s, %s)", [draw])
        many(
            "INSERT INTO tile (level, n, width, data, nodes) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (level, n)"
            " DO UPDATE SET width = excluded.width, data = excluded.data, nodes = excluded.nodes",
            batch.tiles,
        )
        self._write_positions(batch.positions)
        many(
            "INSERT INTO set_aside (topic, part, position, reason, seal) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING",
            [(*row, seal_of(*row)) for row in map(astuple, batch.set_aside)],
        )
        self._write_head(batch.head)

    def _write_positions(self, positions: Mapping[tuple[str, int], int]) -> None:
        self.session.many(
            "INSERT INTO position (topic, part, next) VALUES (%s, %s, %s)"
            " ON CONFLICT (topic, part) DO UPDATE SET next = excluded.next",
            [(topic, partition, position) for (topic, partition), position in positions.items()],
        )

    def _write_head(self, head: Head) -> None:
        """Write the newest checkpoint; the former newest gives way unless it is the last one of an earlier day."""
        self.session.many(
            "DELETE FROM checkpoint WHERE (size, at) ="
            " (SELECT size, at FROM checkpoint ORDER BY size DESC, at DESC LIMIT 1) AND at / %s = %s",
            [(DAY_MS, head.at // DAY_MS)],
        )
        row = (head.size, head.at, head.root, head.note, head.consumed)
        self.session.many(
            "INSERT INTO checkpoint (size, at, root, note, consumed, seal) VALUES (%s, %s, %s, %s, %s, %s)",
            [(*row, seal_of(*row))],
        )

    def _check_same(self, head: Head) -> None:
        """Raise `Tampered` when a checkpoint of this size says something else: no size has two roots."""
        former = self.head()
        if former is not None and former.size == head.size and (former.root, former.note) != (head.root, head.note):
            raise Tampered("ledger-repeated", f"there is another checkpoint of size {head.size} already")

    def _statement_numbers(self, statements: Iterable[bytes]) -> dict[bytes, int]:
        """Return the number of each part A, inside the running transaction making those that are new."""
        numbers, unknown = _known(self._statements, statements)
        digests = {sha256(statement).digest(): statement for statement in unknown}
        if digests:
            query = "SELECT digest, aid FROM statement WHERE digest = ANY(%s::bytea[])"
            for digest, number in self.session.rows(query, (list(digests),)):
                numbers[digests.pop(digest)] = number
        if digests:
            (last,) = self.session.row("SELECT coalesce(max(aid), 0) FROM statement") or (0,)
            rows = [(number, digest, digests[digest]) for number, digest in enumerate(sorted(digests), last + 1)]
            self.session.many("INSERT INTO statement (aid, digest, bytes) VALUES (%s, %s, %s)", rows)
            numbers |= {statement: number for number, _, statement in rows}
        return numbers

    def _recipient_numbers(self, names: Iterable[str]) -> dict[str, int]:
        """Return the number of each recipient, inside the running transaction making those that are new."""
        numbers, unknown = _known(self._recipients, names)
        if unknown:
            query = "SELECT name, rid FROM recipient WHERE name = ANY(%s::text[])"
            numbers |= dict(self.session.rows(query, (list(unknown),)))
        new = sorted(unknown - numbers.keys())
        if new:
            (last,) = self.session.row("SELECT coalesce(max(rid), 0) FROM recipient") or (0,)
            rows = [(number, name, seal_of(number, name)) for number, name in enumerate(new, last + 1)]
            self.session.many("INSERT INTO recipient (rid, name, seal) VALUES (%s, %s, %s)", rows)
            numbers |= {name: number for number, name, _ in rows}
        return numbers


def columns(
    rows: Sequence[EntryRow], statements: Mapping[bytes, int], recipients: Mapping[str, int]
) -> Iterator[tuple[object, ...]]:
    """Yield the values of `ENTRY_COLUMNS`."""
    for number, subject, name, kind, at, years, listed, salt, a, body, p, hashes, _, version, key, seal in rows:
        aid, rid = statements[a], recipients.get(name)
        yield number, aid, at, seal, rid, version, kind, years, listed, subject, salt, hashes, key, body, p


def _known(cache: Mapping[_Key, int], wanted: Iterable[_Key]) -> tuple[dict[_Key, int], set[_Key]]:
    """Return the numbers of those that the cache has, and the others."""
    known: dict[_Key, int] = {}
    unknown: set[_Key] = set()
    for one in wanted:
        number = cache.get(one)
        if number is None:
            unknown.add(one)
        else:
            known[one] = number
    return known, unknown


def _remember(cache: dict[_Key, int], found: Mapping[_Key, int]) -> None:
    if len(cache) + len(found) > MAX_CACHED:
        cache.clear()
    cache.update(found)
