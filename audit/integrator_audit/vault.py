"""The vault is a key store with tables of its own: an SQLite file, or a schema of PostgreSQL.

- A key that is new is committed *before* the entries that use it: a crash between the two leaves a key without an
  entry, never an entry without a key. Keys derived from a tree (`personkeys`) are new with the tree only.
- What is destroyed leaves the store's own files as far as they can bring that about; backups die with the generation
  under which they were wrapped.
- Several processes may write: each reads the newest generation in the transaction in which it wraps.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from integrator_audit.columns import damaged, typed
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
    EntryKey,
    PersonClass,
    PersonKey,
    Wrapping,
    label_name,
)
from integrator_audit.personkeys import PersonKeys
from integrator_audit.stores import open_vault_tables
from integrator_audit.vaulttables import TABLES, Key, VaultTables, outdated, rewrap_some

_MARKS: Final = 500
_AT_ONCE: Final = 10_000


class Vault:
    """A `KeyStore` in one store. Safe to share between threads and between the ledgers of one process."""

    def __init__(self, tables: VaultTables, keys: GenerationKeys | bytes) -> None:
        """Use `open` or `read_only` instead."""
        self._wrapping = Wrapping(SingleKey(keys) if isinstance(keys, bytes) else keys)
        self._tables = tables
        self._lock = threading.Lock()
        # Owned by the lock. Holds only what is committed, and forgets it when anybody destroyed a key.
        self._people = PersonKeys(tables, self._wrapping, self._generation)
        self._destructions = 0

    @classmethod
    def open(cls, place: Path | str, keys: GenerationKeys | bytes) -> Vault:
        """Open the vault at `place` (the path of a file, or a `postgresql://` URL), or create it.

        `keys` are those of its generations, or the one key of the first. Raises `Refused` (`vault-other-key`) when the
        vault was made with another generation key.
        """
        tables = open_vault_tables(place)
        try:
            vault = cls(tables, keys)
            vault._begin_if_new()
            vault._check_key()
        except BaseException:
            tables.close()
            raise
        return vault

    @classmethod
    def read_only(cls, place: Path | str, keys: GenerationKeys | bytes) -> Vault:
        """Open the vault of another process for reading; raise as `open` does, and `Unavailable` when it is absent."""
        tables = open_vault_tables(place, writing=False)
        try:
            vault = cls(tables, keys)
            vault._check_key()
        except BaseException:
            tables.close()
            raise
        return vault

    def close(self) -> None:
        """Release the store. No other method may follow."""
        self._tables.close()

    def people(self, wanted: Iterable[PersonClass]) -> dict[PersonClass, PersonKey]:
        """Return the newest key of each, making what is not there. When this returns, all of it is durable."""
        with self._lock:
            self._forget_destroyed()
            return self._people.newest(wanted)

    def person(self, pseudonym: bytes, key_class: int, version: int = KEY_VERSION) -> AESGCM | None:
        """Return a person's key, or None when it is destroyed or its class has no keys yet."""
        with self._lock:
            self._forget_destroyed()
            return self._people.of_version((pseudonym, key_class), version)

    def entry_keys(self, count: int) -> list[EntryKey]:
        """Make `count` keys for entries. When this returns, all are durable."""
        if count == 0:
            return []
        made = [
            (random[:KEY_ID_SIZE], random[KEY_ID_SIZE:-NONCE_SIZE], random[-NONCE_SIZE:])
            for random in _draws(count, KEY_ID_SIZE + KEY_SIZE + NONCE_SIZE)
        ]
        with self._lock, self._tables.transaction():
            generation = self._generation()
            rows = [
                (key_id, generation, self._wrapping.wrap(generation, ENTRY, key_id, key, nonce=nonce))
                for key_id, key, nonce in made
            ]
            self._tables.insert("entry_key", rows, present="refuse")
        return [EntryKey(key_id, key) for key_id, key, _ in made]

    def entry_key(self, key_id: bytes) -> AESGCM | None:
        """Return an entry's key, or None when it is destroyed."""
        with self._lock:
            query = "SELECT generation, wrapped FROM entry_key WHERE id = ?"
            rows = typed("vb", self._tables.rows(query, (key_id,)), what="vault")
            return self._unwrapped(rows, ENTRY, key_id)

    def labels(self, pseudonyms: Iterable[bytes], period: int) -> dict[bytes, bytes]:
        """Return the kept label key (y) of those of these persons for whom there is one in this period."""
        found: dict[bytes, bytes] = {}
        query = "SELECT pseudonym, generation, wrapped FROM label WHERE period = ? AND pseudonym IN ({})"
        with self._lock:
            for chunk in _chunks(sorted(set(pseudonyms))):
                rows = self._tables.rows(query.format(_marks(chunk)), (period, *chunk))
                for pseudonym, generation, wrapped in typed("bvb", rows, what="vault"):
                    name = label_name(pseudonym, period)
                    found[pseudonym] = self._wrapping.unwrap(generation, LABEL, name, wrapped)
        return found

    def has_labels(self, period: int) -> bool:
        """Say whether anybody has a label key in this period: then days were sealed that list somebody."""
        with self._lock:
            return bool(self._tables.rows("SELECT 1 FROM label WHERE period = ? LIMIT 1", (period,)))

    def keep_labels(self, labels: Mapping[bytes, bytes], period: int) -> None:
        """Keep label keys by pseudonym; what is kept already stays. When this returns, all are durable."""
        nonces = _draws(len(labels), NONCE_SIZE)
        with self._lock, self._tables.transaction():
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
            self._tables.insert("label", rows, present="keep")

    def destroy(
        self,
        *,
        people: Iterable[PersonClass] = (),
        entries: Iterable[bytes] = (),
        labels: Iterable[tuple[bytes, int]] = (),
    ) -> None:
        """Destroy keys in all versions, at once; labels by (pseudonym, period). What is not there is passed over."""
        many = self._tables.many
        with self._lock:
            with self._tables.transaction():
                for one in people:
                    self._people.destroy(one)
                many("DELETE FROM entry_key WHERE id = ?", [(key_id,) for key_id in entries])
                many("DELETE FROM label WHERE pseudonym = ? AND period = ?", list(labels))
                self._count_destruction()
            self._tables.cleanse()

    def renew(self, one: PersonClass) -> PersonKey:
        """Make a newer version of a person's key, durable when this returns; older ones still open what they sealed."""
        with self._lock, self._tables.transaction():
            self._count_destruction()
            return self._people.renew(one)

    def versions(self, one: PersonClass) -> list[int]:
        """Return which versions of a person's key there are, ascending; nothing is made."""
        with self._lock:
            self._forget_destroyed()
            return self._people.versions(one)

    def destroy_older(self, one: PersonClass, version: int) -> None:
        """Destroy the versions of a person's key before `version`."""
        with self._lock:
            with self._tables.transaction():
                self._people.destroy_older(one, version)
                self._count_destruction()
            self._tables.cleanse()

    def destructions(self) -> int:
        """Return how often keys were destroyed or renewed, by anybody."""
        with self._lock:
            return self._counted()

    def destroy_class(self, key_class: int) -> int:
        """Destroy the keys of everybody in a class; return how many rows went, 0 when there were none."""
        with self._lock:
            with self._tables.transaction():
                count = self._people.destroy_class(key_class)
                self._count_destruction()
            self._tables.cleanse()
        return count

    def destroy_labels(self, period: int, *, keeping: Iterable[bytes] = ()) -> int:
        """Destroy the label keys in a period of everybody but the persons to keep; return how many there were."""
        run, fill = self._tables.run, "INSERT INTO kept VALUES (?) ON CONFLICT DO NOTHING"
        left = "NOT EXISTS (SELECT 1 FROM kept WHERE kept.pseudonym = label.pseudonym)"
        people = iter(keeping)
        with self._lock:
            with self._tables.transaction():
                # They may be millions, in any order: the store sorts them, in a table of this connection alone.
                run("CREATE TEMPORARY TABLE kept (pseudonym bytea PRIMARY KEY)")
                while some := list(islice(people, _AT_ONCE)):
                    self._tables.many(fill, [(pseudonym,) for pseudonym in some])
                count = run(f"DELETE FROM label WHERE period = ? AND {left}", (period,))  # noqa: S608  constants
                run("DROP TABLE kept")
                self._count_destruction()
            self._tables.cleanse()
        return count

    def rewrap(self, progress: Progress = no_progress) -> int:
        """Bring every key to a new generation, and return its number; the former ones are not destroyed.

        After a crash in the middle, the next call goes on where it stopped. Raises `Refused` where generation keys
        cannot be made.
        """
        keys = self._wrapping.keys
        with self._lock:
            current, unfinished = self._generation(), outdated(self._tables)
        # A key that the vault does not name was made just before a crash; it serves as well.
        generation = current if unfinished else keys.newest() if keys.newest() > current else keys.make()
        probe = self._wrapping.probe(generation, nonce=os.urandom(NONCE_SIZE))
        with self._lock:
            with self._tables.transaction():
                self._tables.insert("generation", [(generation, probe)], present="keep")
            total = outdated(self._tables)
        done = 0
        for table in TABLES:
            start: Key | None = ()
            while start is not None:
                with self._lock, self._tables.transaction():
                    start, moved = rewrap_some(self._tables, self._wrapping, table, start)
                done += moved
                progress(min(done, total), total)
        return generation

    def retire(self) -> list[int]:
        """Destroy the generations before the newest, and return their numbers.

        Raises `Refused` (`vault-generation-used`) while something is still wrapped by one of them.
        """
        with self._lock:
            with self._tables.transaction():
                if outdated(self._tables):
                    message = "something is still wrapped by an older generation; rewrap first"
                    raise Refused("vault-generation-used", message)
                newest = self._generation()
                self._tables.run("DELETE FROM generation WHERE number < ?", (newest,))
                self._count_destruction()
            self._tables.cleanse()
        retired = [number for number in range(1, newest) if self._wrapping.keys.key(number) is not None]
        for number in retired:
            self._wrapping.keys.destroy(number)
            self._wrapping.forget(number)
        return retired

    def _unwrapped(self, rows: Sequence[Sequence[Any]], kind: bytes, name: bytes) -> AESGCM | None:
        if not rows:
            return None
        generation, wrapped = rows[0]
        return AESGCM(self._wrapping.unwrap(generation, kind, name, wrapped))

    def _count_destruction(self) -> None:
        """Make every process drop what it remembers, and refuse what it is just sealing; in the same transaction."""
        self._tables.run("UPDATE destruction SET count = count + 1")

    def _forget_destroyed(self) -> None:
        count = self._counted()
        if count != self._destructions:
            self._people.forget()
            rows = typed("v", self._tables.rows("SELECT number FROM generation"), what="vault")
            self._wrapping.keep({number for (number,) in rows})
            self._destructions = count

    def _counted(self) -> int:
        return self._one("i", "SELECT count FROM destruction")

    def _generation(self) -> int:
        return self._one("v", "SELECT max(number) FROM generation")

    def _one(self, kind: str, query: str) -> int:
        rows = typed(kind, self._tables.rows(query), what="vault")
        if len(rows) != 1:
            raise damaged("a row is missing, or there are too many", what="vault")
        return int(rows[0][0])

    def _begin_if_new(self) -> None:
        with self._tables.transaction():
            used = ("generation", *(table.name for table in TABLES))
            if not any(self._tables.rows(f"SELECT 1 FROM {name} LIMIT 1") for name in used):  # noqa: S608  constants
                newest = self._wrapping.keys.newest()
                probe = self._wrapping.probe(newest, nonce=os.urandom(NONCE_SIZE))
                self._tables.insert("generation", [(newest, probe)], present="keep")

    def _check_key(self) -> None:
        rows = typed("vb", self._tables.rows("SELECT number, probe FROM generation"), what="vault")
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
