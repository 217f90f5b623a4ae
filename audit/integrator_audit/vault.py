"""The vault is the key store of one machine: an SQLite file of its own.

- It is committed *before* the entries that use its keys: a crash between the two leaves a key without an entry, never
  an entry without a key.
- What is destroyed is overwritten (`secure_delete`) and leaves the write-ahead log at once; backups die with the
  generation under which they were wrapped.
- Several processes may write: each reads the newest generation in the transaction in which it wraps.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, cast

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from integrator_audit.database import connect, empty_wal, is_new, transaction, translated
from integrator_audit.errors import Refused
from integrator_audit.findings import Progress, no_progress
from integrator_audit.generationkeys import GenerationKeys, SingleKey
from integrator_audit.keystore import (
    ENTRY,
    KEY_ID_SIZE,
    KEY_SIZE,
    KEY_VERSION,
    LABEL,
    NONCE_SIZE,
    PERSON,
    EntryKey,
    PersonClass,
    PersonKey,
    Wrapping,
    label_name,
    person_name,
)

MAX_CACHED: Final = 65_536
_FORMAT: Final = 2
_MARKS: Final = 500
_REWRAPPED: Final = 2_000
SCHEMA: Final = """
CREATE TABLE generation (number INTEGER PRIMARY KEY, probe BLOB NOT NULL);
CREATE TABLE destruction (count INTEGER NOT NULL);
CREATE TABLE person (class INTEGER NOT NULL, pseudonym BLOB NOT NULL, version INTEGER NOT NULL,
  generation INTEGER NOT NULL, wrapped BLOB NOT NULL, PRIMARY KEY (class, pseudonym, version)) WITHOUT ROWID;
CREATE TABLE entry_key (id BLOB PRIMARY KEY, generation INTEGER NOT NULL, wrapped BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE label (period INTEGER NOT NULL, pseudonym BLOB NOT NULL, generation INTEGER NOT NULL,
  wrapped BLOB NOT NULL, PRIMARY KEY (period, pseudonym)) WITHOUT ROWID
"""


class _Table(NamedTuple):
    """A table of wrapped things: the columns of its key, and the kind and name under which a row is wrapped."""

    name: str
    key: tuple[str, ...]
    kind: bytes

    def named(self, key: Sequence[object]) -> bytes:
        match key:
            case [int(wanted_class), bytes(pseudonym), int(version)]:
                return person_name(pseudonym, wanted_class, version)
            case [int(period), bytes(pseudonym)]:
                return label_name(pseudonym, period)
            case [bytes(key_id)]:
                return key_id
            case _:
                return b""


_TABLES: Final = (
    _Table("person", ("class", "pseudonym", "version"), PERSON),
    _Table("entry_key", ("id",), ENTRY),
    _Table("label", ("period", "pseudonym"), LABEL),
)


class Vault:
    """A `KeyStore` in one file. Safe to share between threads and between the ledgers of one process."""

    def __init__(self, connection: sqlite3.Connection, keys: GenerationKeys | bytes) -> None:
        """Use `open` or `read_only` instead."""
        self._wrapping = Wrapping(SingleKey(keys) if isinstance(keys, bytes) else keys)
        self._connection = connection
        self._lock = threading.Lock()
        # Owned by the lock. Holds only what is committed, and is dropped when anybody destroyed a key.
        self._people: dict[PersonClass, PersonKey] = {}
        self._destructions = 0

    @classmethod
    def open(cls, path: Path | str, keys: GenerationKeys | bytes) -> Vault:
        """Open the vault at `path`, or create it. `keys` are those of its generations, or the one key of the first.

        Raises `Refused` (`vault-other-key`) when the vault was made with another generation key.
        """
        with translated("vault"):
            connection = connect(Path(path))
            connection.execute("PRAGMA secure_delete=ON")
        vault = cls(connection, keys)
        with translated("vault"):
            vault._create_if_absent()
        vault._check_key()
        return vault

    @classmethod
    def read_only(cls, path: Path | str, keys: GenerationKeys | bytes) -> Vault:
        """Open the vault of another process for reading; raise as `open` does, and `Unavailable` when it is absent."""
        with translated("vault"):
            connection = connect(Path(path), mode="ro")
        vault = cls(connection, keys)
        vault._check_key()
        return vault

    def close(self) -> None:
        """Close the file. No other method may follow."""
        self._connection.close()

    def people(self, wanted: Iterable[PersonClass]) -> dict[PersonClass, PersonKey]:
        """Return the newest key of each, making those that are not there. When this returns, all are durable."""
        wanted = set(wanted)
        with self._lock:
            self._forget_destroyed()
            known = self._people
            found = {one: known[one] for one in wanted if one in known}
            missing = sorted(wanted - found.keys())
            if missing:
                found.update(self._load_or_make(missing))
        return found

    def person(self, pseudonym: bytes, key_class: int, version: int = KEY_VERSION) -> AESGCM | None:
        """Return a person's key, or None when it was never made or is destroyed."""
        query = "SELECT generation, wrapped FROM person WHERE class = ? AND pseudonym = ? AND version = ?"
        with self._lock, translated("vault"):
            row = self._connection.execute(query, (key_class, pseudonym, version)).fetchone()
        return self._unwrapped(row, PERSON, person_name(pseudonym, key_class, version))

    def entry_keys(self, count: int) -> list[EntryKey]:
        """Make `count` keys for entries. When this returns, all are durable."""
        if count == 0:
            return []
        made = [
            (random[:KEY_ID_SIZE], random[KEY_ID_SIZE:-NONCE_SIZE], random[-NONCE_SIZE:])
            for random in _draws(count, KEY_ID_SIZE + KEY_SIZE + NONCE_SIZE)
        ]
        with self._lock, translated("vault"), transaction(self._connection):
            generation = self._generation()
            rows = [
                (key_id, generation, self._wrapping.wrap(generation, ENTRY, key_id, key, nonce=nonce))
                for key_id, key, nonce in made
            ]
            self._connection.executemany("INSERT INTO entry_key VALUES (?, ?, ?)", rows)
        return [EntryKey(key_id, AESGCM(key)) for key_id, key, _ in made]

    def entry_key(self, key_id: bytes) -> AESGCM | None:
        """Return an entry's key, or None when it is destroyed."""
        with self._lock, translated("vault"):
            query = "SELECT generation, wrapped FROM entry_key WHERE id = ?"
            row = self._connection.execute(query, (key_id,)).fetchone()
        return self._unwrapped(row, ENTRY, key_id)

    def labels(self, pseudonyms: Iterable[bytes], period: int) -> dict[bytes, bytes]:
        """Return the kept label key (y) of those of these persons for whom there is one in this period."""
        found: dict[bytes, bytes] = {}
        query = "SELECT pseudonym, generation, wrapped FROM label WHERE period = ? AND pseudonym IN ({})"
        with self._lock, translated("vault"):
            for chunk in _chunks(sorted(set(pseudonyms))):
                rows = self._connection.execute(query.format(_marks(chunk)), (period, *chunk))
                for pseudonym, generation, wrapped in rows:
                    name = label_name(pseudonym, period)
                    found[pseudonym] = self._wrapping.unwrap(generation, LABEL, name, wrapped)
        return found

    def keep_labels(self, labels: Mapping[bytes, bytes], period: int) -> None:
        """Keep label keys by pseudonym; what is kept already stays. When this returns, all are durable."""
        nonces = _draws(len(labels), NONCE_SIZE)
        with self._lock, translated("vault"), transaction(self._connection):
            generation = self._generation()
            rows = [
                (
                    period,
                    pseudonym,
                    generation,
                    self._wrapping.wrap(generation, LABEL, label_name(pseudonym, period), label, nonce=nonce),
                )
                for (pseudonym, label), nonce in zip(sorted(labels.items()), nonces, strict=True)
            ]
            self._connection.executemany("INSERT OR IGNORE INTO label VALUES (?, ?, ?, ?)", rows)

    def destroy(
        self,
        *,
        people: Iterable[PersonClass] = (),
        entries: Iterable[bytes] = (),
        labels: Iterable[tuple[bytes, int]] = (),
    ) -> None:
        """Destroy keys in all versions, at once; labels by (pseudonym, period). What is not there is passed over."""
        executemany = self._connection.executemany
        with self._lock, translated("vault"):
            with transaction(self._connection):
                executemany("DELETE FROM person WHERE pseudonym = ? AND class = ?", list(people))
                executemany("DELETE FROM entry_key WHERE id = ?", [(key_id,) for key_id in entries])
                executemany("DELETE FROM label WHERE pseudonym = ? AND period = ?", list(labels))
                self._count_destruction()
            empty_wal(self._connection)

    def renew(self, one: PersonClass) -> PersonKey:
        """Make a newer version of a person's key, durable when this returns; older ones still open what they sealed."""
        pseudonym, wanted_class = one
        key, nonce = os.urandom(KEY_SIZE), os.urandom(NONCE_SIZE)
        with self._lock, translated("vault"), transaction(self._connection):
            query = "SELECT coalesce(max(version), 0) FROM person WHERE class = ? AND pseudonym = ?"
            version = self._connection.execute(query, (wanted_class, pseudonym)).fetchone()[0] + 1
            generation = self._generation()
            name = person_name(pseudonym, wanted_class, version)
            wrapped = self._wrapping.wrap(generation, PERSON, name, key, nonce=nonce)
            row = (wanted_class, pseudonym, version, generation, wrapped)
            self._connection.execute("INSERT INTO person VALUES (?, ?, ?, ?, ?)", row)
            self._count_destruction()
        return PersonKey(version, AESGCM(key))

    def destroy_older(self, one: PersonClass, version: int) -> None:
        """Destroy the versions of a person's key before `version`."""
        statement = "DELETE FROM person WHERE pseudonym = ? AND class = ? AND version < ?"
        with self._lock, translated("vault"):
            with transaction(self._connection):
                self._connection.execute(statement, (*one, version))
                self._count_destruction()
            empty_wal(self._connection)

    def destructions(self) -> int:
        """Return how often keys were destroyed or renewed, by anybody."""
        with self._lock, translated("vault"):
            return int(self._connection.execute("SELECT count FROM destruction").fetchone()[0])

    def destroy_class(self, key_class: int) -> int:
        """Destroy the keys of everybody in a class; return how many there were."""
        return self._destroy_all("DELETE FROM person WHERE class = ?", key_class)

    def destroy_labels(self, period: int) -> int:
        """Destroy the label keys of everybody in a period; return how many there were."""
        return self._destroy_all("DELETE FROM label WHERE period = ?", period)

    def rewrap(self, progress: Progress = no_progress) -> int:
        """Bring every key to a new generation, and return its number; the former ones are not destroyed.

        After a crash in the middle, the next call goes on where it stopped. Raises `Refused` where generation keys
        cannot be made.
        """
        keys = self._wrapping.keys
        with self._lock, translated("vault"):
            current, unfinished = self._generation(), self._outdated()
        # A key that the vault does not name was made just before a crash; it serves as well.
        generation = current if unfinished else keys.newest() if keys.newest() > current else keys.make()
        probe = self._wrapping.probe(generation, nonce=os.urandom(NONCE_SIZE))
        with self._lock, translated("vault"):
            with transaction(self._connection):
                self._connection.execute("INSERT OR IGNORE INTO generation VALUES (?, ?)", (generation, probe))
            total = self._outdated()
        done = 0
        for table in _TABLES:
            for moved in self._rewrap_table(table, generation):
                done += moved
                progress(min(done, total), total)
        return generation

    def retire(self) -> list[int]:
        """Destroy the generations before the newest, and return their numbers.

        Raises `Refused` (`vault-generation-used`) while something is still wrapped by one of them.
        """
        with self._lock, translated("vault"):
            with transaction(self._connection):
                if self._outdated():
                    message = "something is still wrapped by an older generation; rewrap first"
                    raise Refused("vault-generation-used", message)
                newest = self._generation()
                self._connection.execute("DELETE FROM generation WHERE number < ?", (newest,))
            empty_wal(self._connection)
        retired = [number for number in range(1, newest) if self._wrapping.keys.key(number) is not None]
        for number in retired:
            self._wrapping.keys.destroy(number)
            self._wrapping.forget(number)
        return retired

    def _load_or_make(self, missing: Sequence[PersonClass]) -> dict[PersonClass, PersonKey]:
        with translated("vault"):
            found = self._select(missing)
            new = [one for one in missing if one not in found]
            if new:
                draws = list(_draws(len(new), KEY_SIZE + NONCE_SIZE))
                with transaction(self._connection):
                    generation = self._generation()
                    # Another ledger may share the file: the first to commit makes the key, so read after writing.
                    self._connection.executemany(
                        "INSERT OR IGNORE INTO person VALUES (?, ?, ?, ?, ?)",
                        [self._new_person(generation, one, draw) for one, draw in zip(new, draws, strict=True)],
                    )
                    found.update(self._select(new))
        if len(self._people) + len(found) > MAX_CACHED:
            self._people.clear()
        self._people.update(found)
        return found

    def _new_person(self, generation: int, one: PersonClass, draw: bytes) -> tuple[int, bytes, int, int, bytes]:
        pseudonym, wanted_class = one
        name = person_name(pseudonym, wanted_class, KEY_VERSION)
        wrapped = self._wrapping.wrap(generation, PERSON, name, draw[:KEY_SIZE], nonce=draw[KEY_SIZE:])
        return wanted_class, pseudonym, KEY_VERSION, generation, wrapped

    def _select(self, wanted: Sequence[PersonClass]) -> dict[PersonClass, PersonKey]:
        by_class: dict[int, list[bytes]] = {}
        for pseudonym, wanted_class in wanted:
            by_class.setdefault(wanted_class, []).append(pseudonym)
        found: dict[PersonClass, PersonKey] = {}
        query = (
            "SELECT pseudonym, version, generation, wrapped FROM person WHERE class = ? AND pseudonym IN ({})"
            " ORDER BY version"
        )
        for wanted_class, pseudonyms in by_class.items():
            for chunk in _chunks(pseudonyms):
                rows = self._connection.execute(query.format(_marks(chunk)), (wanted_class, *chunk)).fetchall()
                for pseudonym, version, generation, wrapped in rows:
                    name = person_name(pseudonym, wanted_class, version)
                    key = self._wrapping.unwrap(generation, PERSON, name, wrapped)
                    found[pseudonym, wanted_class] = PersonKey(version, AESGCM(key))
        return found

    def _unwrapped(self, row: tuple[int, bytes] | None, kind: bytes, name: bytes) -> AESGCM | None:
        return None if row is None else AESGCM(self._wrapping.unwrap(row[0], kind, name, row[1]))

    def _destroy_all(self, statement: str, number: int) -> int:
        with self._lock, translated("vault"):
            with transaction(self._connection):
                count = self._connection.execute(statement, (number,)).rowcount
                self._count_destruction()
            empty_wal(self._connection)
        return count

    def _count_destruction(self) -> None:
        """Make every process drop what it remembers, and refuse what it is just sealing; in the same transaction."""
        self._connection.execute("UPDATE destruction SET count = count + 1")

    def _forget_destroyed(self) -> None:
        with translated("vault"):
            (count,) = self._connection.execute("SELECT count FROM destruction").fetchone()
        if count != self._destructions:
            self._people.clear()
            self._destructions = count

    def _generation(self) -> int:
        return int(self._connection.execute("SELECT max(number) FROM generation").fetchone()[0])

    def _outdated(self) -> int:
        counts = [
            self._connection.execute(
                f"SELECT count(*) FROM {table.name} WHERE generation < (SELECT max(number) FROM generation)"  # noqa: S608  a constant
            ).fetchone()[0]
            for table in _TABLES
        ]
        return sum(counts)

    def _rewrap_table(self, table: _Table, generation: int) -> Iterator[int]:
        """Rewrap a table chunk by chunk, each in a transaction; yield how many were moved."""
        columns, marks = ", ".join(table.key), ", ".join("?" * len(table.key))
        start: tuple[object, ...] = ()
        while True:
            where = f"WHERE ({columns}) > ({marks})" if start else ""
            query = f"SELECT {columns}, generation, wrapped FROM {table.name} {where} ORDER BY {columns} LIMIT ?"  # noqa: S608  constants
            with self._lock, translated("vault"), transaction(self._connection):
                rows = self._connection.execute(query, (*start, _REWRAPPED)).fetchall()
                old = [row for row in rows if row[-2] < generation]
                nonces = _draws(len(old), NONCE_SIZE)
                self._connection.executemany(
                    f"UPDATE {table.name} SET generation = ?, wrapped = ? WHERE ({columns}) = ({marks})",  # noqa: S608  constants
                    [self._rewrapped(table, generation, row, nonce) for row, nonce in zip(old, nonces, strict=True)],
                )
            if not rows:
                return
            yield len(old)
            start = rows[-1][:-2]

    def _rewrapped(self, table: _Table, generation: int, row: tuple[object, ...], nonce: bytes) -> tuple[object, ...]:
        *key, former, wrapped = row
        name = table.named(key)
        content = self._wrapping.unwrap(cast(int, former), table.kind, name, cast(bytes, wrapped))
        return generation, self._wrapping.wrap(generation, table.kind, name, content, nonce=nonce), *key

    def _create_if_absent(self) -> None:
        with transaction(self._connection):
            if is_new(self._connection):
                for statement in SCHEMA.split(";"):
                    self._connection.execute(statement)
                newest = self._wrapping.keys.newest()
                probe = self._wrapping.probe(newest, nonce=os.urandom(NONCE_SIZE))
                self._connection.execute("INSERT INTO generation VALUES (?, ?)", (newest, probe))
                self._connection.execute("INSERT INTO destruction VALUES (0)")
                self._connection.execute(f"PRAGMA user_version={_FORMAT}")

    def _check_key(self) -> None:
        with translated("vault"):
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version != _FORMAT:
                message = f"the file is a vault of format {version} or none; this version reads format {_FORMAT}"
                raise Refused("vault-format", message)
            rows = self._connection.execute("SELECT number, probe FROM generation").fetchall()
        for number, probe in rows:
            self._wrapping.check_probe(number, probe)
        if not rows:
            raise Refused("vault-format", "the vault names no generation")


def _draws(count: int, size: int) -> list[bytes]:
    random = os.urandom(count * size)
    return [random[at : at + size] for at in range(0, count * size, size)]


def _chunks(items: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(items), _MARKS):
        yield items[start : start + _MARKS]


def _marks(items: Sequence[object]) -> str:
    return ",".join("?" * len(items))
