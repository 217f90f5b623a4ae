"""Keeps this machine's copy of the directory in LMDB; a feed batch changes all of it in one transaction, or nothing.

    meta        format, cluster, topic, applied (position), knowledge (version)
    knowledge   offset (8 bytes, big-endian) → length of key (2 bytes, big-endian), key, value
    now         pseudonym (32 bytes) → packed lines (`people`)

The copy holds nothing that the topic does not: whatever is wrong with it, throwing it away is safe.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import lmdb

from integrator.directory import people
from integrator.directory.people import Line
from integrator.directory.ports import FedRecord, Incarnation
from integrator.directory.records import PERSON_KINDS, RecordKey
from integrator.domain.errors import Refused, Unavailable
from integrator.domain.identifiers import Position, Pseudonym
from integrator.encoding import record_type

FORMAT = b"1"
_MAP_BYTES = 64 * 1024**3
"""Room for some hundred million lines. It is address space, not disk: the file grows with what is in it."""
_OFFSET = struct.Struct(">Q")
_KEY_LENGTH = struct.Struct(">H")


class Store:
    """One LMDB environment. A process opens it once; the feeder alone opens it for writing."""

    def __init__(self, environment: lmdb.Environment) -> None:
        self._environment: Any = environment
        writes = not environment.flags()["readonly"]
        self._meta = environment.open_db(b"meta", create=writes)
        self._knowledge = environment.open_db(b"knowledge", create=writes)
        self._now = environment.open_db(b"now", create=writes)

    @classmethod
    def create(cls, path: Path) -> Store:
        """Open the copy in the folder `path` for writing, making it when there is none."""
        # It tells which agencies know how many people, and under pseudonyms which: not for others on the machine.
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Without metasync a crash of the machine may lose the last transactions, never tear one: they are fed again.
        environment = lmdb.open(str(path), map_size=_MAP_BYTES, max_dbs=3, metasync=False, max_spare_txns=4)
        # Readers that were killed would keep their pages for ever.
        environment.reader_check()
        return cls(environment)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the copy in the folder `path` for reading. Raises `Unavailable` (`no-directory`) when there is none."""
        environment: lmdb.Environment | None = None
        try:
            environment = lmdb.open(str(path), map_size=_MAP_BYTES, max_dbs=3, readonly=True, max_spare_txns=4)
            return cls(environment)
        except lmdb.Error as error:
            if environment is not None:
                environment.close()
            raise Unavailable(
                "no-directory",
                f"There is no copy of the directory in {path}: start the feeder, or `integrator run`.",
            ) from error

    def close(self) -> None:
        """Close the environment; no snapshot may be open."""
        self._environment.close()

    def snapshot(self) -> Snapshot:
        """Begin one consistent reading; it keeps pages from being used again until it is closed."""
        transaction = self._environment.begin(buffers=False)
        return Snapshot(transaction, self._meta, self._knowledge, self._now)

    def begin_anew(self, incarnation: Incarnation) -> None:
        """Throw everything away and belong to `incarnation` at position 0."""
        with self._environment.begin(write=True) as transaction:
            for database in (self._meta, self._knowledge, self._now):
                transaction.drop(database, delete=False)
            for name, value in (
                (b"format", FORMAT),
                (b"cluster", incarnation.cluster.encode()),
                (b"topic", incarnation.topic.encode()),
                (b"applied", _OFFSET.pack(0)),
                (b"knowledge", _OFFSET.pack(0)),
            ):
                transaction.put(name, value, db=self._meta)

    def apply(self, records: Sequence[FedRecord], position: Position) -> None:
        """Apply consecutive records; afterwards, and not before, `applied` is `position`.

        Raises `Invalid` for a record that this release cannot read: then nothing of the batch is applied.
        """
        with self._environment.begin(write=True) as transaction:
            for record in records:
                key = RecordKey.decode(record.key)
                if key.kind in PERSON_KINDS:
                    self._apply_line(transaction, record, key)
                else:
                    self._apply_knowledge(transaction, record)
                    transaction.put(b"knowledge", _OFFSET.pack(record.offset + 1), db=self._meta)
            transaction.put(b"applied", _OFFSET.pack(position), db=self._meta)

    def _apply_line(self, transaction: Any, record: FedRecord, key: RecordKey) -> None:
        change = line_change(key, record)
        before = people.unpack(transaction.get(change.person, b"", db=self._now))
        if after := change.apply(before):
            transaction.put(change.person, people.pack(after), db=self._now)
        else:
            transaction.delete(change.person, db=self._now)

    def _apply_knowledge(self, transaction: Any, record: FedRecord) -> None:
        if record.value is not None:
            value = _KEY_LENGTH.pack(len(record.key)) + record.key + record.value
            transaction.put(_OFFSET.pack(record.offset), value, db=self._knowledge)
            return
        # Knowledge is hardly ever erased, so its keys have no index.
        prefix = _KEY_LENGTH.pack(len(record.key)) + record.key
        with transaction.cursor(db=self._knowledge) as cursor:
            erased = [at for at, value in cursor if value.startswith(prefix)]
        for at in erased:
            transaction.delete(at, db=self._knowledge)


class LineChange:
    """What one record does to the lines of one person."""

    __slots__ = ("_about", "_line", "_version", "person")

    def __init__(self, person: Pseudonym, about: tuple[str, str], version: int, line: Line | None) -> None:
        self.person = person
        self._about = about
        self._version = version
        self._line = line

    def apply(self, lines: tuple[Line, ...]) -> tuple[Line, ...]:
        """Return the person's lines after the record."""
        if self._line is None:
            return people.without_line(lines, *self._about, self._version)
        return people.with_line(lines, self._line)


def line_change(key: RecordKey, record: FedRecord) -> LineChange:
    """Read a record of the persons part. Raises `Refused` (`directory-kind`) for a kind of a newer release."""
    if key.kind != "inscription":
        raise Refused(
            "directory-kind",
            f"The directory holds a record of the kind {key.kind}, which this release does not know: use a newer one.",
        )
    agency, capacity, person = key.id.split("/")
    line = None
    if record.value is not None:
        members = record_type("directory/inscription").decode(record.value)
        line = Line.of(members, version=key.version, offset=record.offset)
    return LineChange(Pseudonym(bytes.fromhex(person)), (agency, capacity), key.version, line)


class Snapshot:
    """One reading of the copy, consistent in itself. Leave its context before the first await."""

    def __init__(self, transaction: Any, meta: Any, knowledge: Any, now: Any) -> None:
        self._transaction = transaction
        self._meta = meta
        self._knowledge = knowledge
        self._now = now

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A reading changes nothing: this gives its slot and its pages back.
        self._transaction.abort()

    def _number(self, name: bytes) -> int:
        found: bytes | None = self._transaction.get(name, db=self._meta)
        return int.from_bytes(found, "big") if found else 0

    @property
    def incarnation(self) -> Incarnation | None:
        """Which topic this is a copy of; `None` while there is none, or one of another format."""
        if self._transaction.get(b"format", db=self._meta) != FORMAT:
            return None
        cluster, topic = (self._transaction.get(name, db=self._meta).decode() for name in (b"cluster", b"topic"))
        return Incarnation(cluster, topic)

    @property
    def applied(self) -> Position:
        """The offset of the next record to apply."""
        return Position(self._number(b"applied"))

    @property
    def knowledge_version(self) -> int:
        """The offset after the last record that changed the knowledge part."""
        return self._number(b"knowledge")

    def knowledge_offsets(self) -> list[int]:
        """Return where the records of the knowledge part are, in order."""
        with self._transaction.cursor(db=self._knowledge) as cursor:
            return [int.from_bytes(key, "big") for key in cursor.iternext(values=False)]

    def knowledge_record(self, offset: int) -> tuple[bytes, bytes]:
        """Return key and value of the knowledge record at `offset`."""
        data: bytes = self._transaction.get(_OFFSET.pack(offset), db=self._knowledge)
        (length,) = _KEY_LENGTH.unpack_from(data)
        start = _KEY_LENGTH.size
        return data[start : start + length], data[start + length :]

    def lines(self, people_asked: Sequence[Pseudonym]) -> Iterator[tuple[Line, ...]]:
        """Yield the lines of each person, in the order asked."""
        get = self._transaction.get
        now = self._now
        for person in people_asked:
            data: bytes | None = get(person, db=now)
            yield people.unpack(data) if data else ()
