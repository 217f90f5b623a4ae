"""The vault is a key store with tables of its own: an SQLite file, or a schema of PostgreSQL.

- It is committed *before* the entries that use its keys: a crash between the two leaves a key without an entry, never
  an entry without a key.
- What is destroyed leaves the store's own files as far as they can bring that about; backups die with the generation
  under which they were wrapped.
- Several processes may write: each reads the newest generation in the transaction in which it wraps.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from integrator_audit.errors import Refused
from integrator_audit.findings import Progress, no_progress
from integrator_audit.generationkeys import GenerationKeys, SingleKey
from integrator_audit.keystore import (
    ENTRY,
    KEY_ID_SIZE,
    KEY_SIZE,
    KEY_VERSION,
    LABEL,
    NO_IDENTITIES,
    NONCE_SIZE,
    PERSON,
    EntryKey,
    PersonClass,
    PersonKey,
    Wrapping,
    classes_of,
    label_name,
    person_name,
)
from integrator_audit.stores import open_vault_tables
from integrator_audit.vaulttables import TABLES, Key, Present, VaultTables, outdated, rewrap_some

MAX_CACHED: Final = 65_536
_MARKS: Final = 500


class Vault:
    """A `KeyStore` in one store. Safe to share between threads and between the ledgers of one process."""

    def __init__(self, tables: VaultTables, keys: GenerationKeys | bytes) -> None:
        """Use `open` or `read_only` instead."""
        self._wrapping = Wrapping(SingleKey(keys) if isinstance(keys, bytes) else keys)
        self._tables = tables
        self._lock = threading.Lock()
        # Owned by the lock. Holds only what is committed, and is dropped when anybody destroyed a key.
        self._people: dict[PersonClass, PersonKey] = {}
        self._destructions = 0

    @classmethod
    def open(cls, place: Path | str, keys: GenerationKeys | bytes) -> Vault:
        """Open the vault at `place` (the path of a file, or a `postgresql://` URL), or create it.

        `keys` are those of its generations, or the one key of the first. Raises `Refused` (`vault-other-key`) when the
        vault was made with another generation key.
        """
        vault = cls(open_vault_tables(place), keys)
        try:
            vault._begin_if_new()
            vault._check_key()
        except BaseException:
            vault.close()
            raise
        return vault

    @classmethod
    def read_only(cls, place: Path | str, keys: GenerationKeys | bytes) -> Vault:
        """Open the vault of another process for reading; raise as `open` does, and `Unavailable` when it is absent."""
        vault = cls(open_vault_tables(place, writing=False), keys)
        try:
            vault._check_key()
        except BaseException:
            vault.close()
            raise
        return vault

    def close(self) -> None:
        """Release the store. No other method may follow."""
        self._tables.close()

    def people(
        self, wanted: Iterable[PersonClass], identities: Mapping[bytes, bytes] = NO_IDENTITIES
    ) -> dict[PersonClass, PersonKey]:
        """Return the newest key of each, making those that are not there. When this returns, all are durable."""
        wanted = set(wanted)
        with self._lock:
            self._forget_destroyed()
            known = self._people
            found = {one: known[one] for one in wanted if one in known}
            missing = sorted(wanted - found.keys())
            if missing:
                found.update(self._load_or_make(missing, identities))
            unnamed = [one for one, key in found.items() if not key.identified and one[0] in identities]
            if unnamed:
                found.update(self._identify(unnamed, identities))
        return found

    def identities(self, pseudonyms: Iterable[bytes], period: int) -> dict[bytes, bytes]:
        """Return the opaque identity of those of these persons for whom one is kept with a key of this period."""
        found: dict[bytes, bytes] = {}
        wanted = sorted(set(pseudonyms))
        with self._lock:
            for key_class in classes_of(period):
                for (pseudonym, _), (_, content) in self._contents([(one, key_class) for one in wanted]).items():
                    if len(content) > KEY_SIZE:
                        found[pseudonym] = content[KEY_SIZE:]
        return found

    def person(self, pseudonym: bytes, key_class: int, version: int = KEY_VERSION) -> AESGCM | None:
        """Return a person's key, or None when it was never made or is destroyed."""
        query = "SELECT generation, wrapped FROM person WHERE class = ? AND pseudonym = ? AND version = ?"
        with self._lock:
            rows = self._tables.rows(query, (key_class, pseudonym, version))
            return self._unwrapped(rows, PERSON, person_name(pseudonym, key_class, version))

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
        return [EntryKey(key_id, AESGCM(key)) for key_id, key, _ in made]

    def entry_key(self, key_id: bytes) -> AESGCM | None:
        """Return an entry's key, or None when it is destroyed."""
        with self._lock:
            query = "SELECT generation, wrapped FROM entry_key WHERE id = ?"
            rows = self._tables.rows(query, (key_id,))
            return self._unwrapped(rows, ENTRY, key_id)

    def labels(self, pseudonyms: Iterable[bytes], period: int) -> dict[bytes, bytes]:
        """Return the kept label key (y) of those of these persons for whom there is one in this period."""
        found: dict[bytes, bytes] = {}
        query = "SELECT pseudonym, generation, wrapped FROM label WHERE period = ? AND pseudonym IN ({})"
        with self._lock:
            for chunk in _chunks(sorted(set(pseudonyms))):
                rows = self._tables.rows(query.format(_marks(chunk)), (period, *chunk))
                for pseudonym, generation, wrapped in rows:
                    name = label_name(pseudonym, period)
                    found[pseudonym] = self._wrapping.unwrap(generation, LABEL, name, wrapped)
        return found

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
                many("DELETE FROM person WHERE pseudonym = ? AND class = ?", list(people))
                many("DELETE FROM entry_key WHERE id = ?", [(key_id,) for key_id in entries])
                many("DELETE FROM label WHERE pseudonym = ? AND period = ?", list(labels))
                self._count_destruction()
            self._tables.cleanse()

    def renew(self, one: PersonClass) -> PersonKey:
        """Make a newer version of a person's key, durable when this returns; older ones still open what they sealed."""
        with self._lock, self._tables.transaction():
            version, content = self._contents([one]).get(one, (0, b""))
            renewed = {one: (version + 1, os.urandom(KEY_SIZE) + content[KEY_SIZE:])}
            self._write(renewed, present="refuse")
            self._count_destruction()
            return _keys(renewed)[one]

    def destroy_older(self, one: PersonClass, version: int) -> None:
        """Destroy the versions of a person's key before `version`."""
        statement = "DELETE FROM person WHERE pseudonym = ? AND class = ? AND version < ?"
        with self._lock:
            with self._tables.transaction():
                self._tables.run(statement, (*one, version))
                self._count_destruction()
            self._tables.cleanse()

    def destructions(self) -> int:
        """Return how often keys were destroyed or renewed, by anybody."""
        with self._lock:
            return self._counted()

    def destroy_class(self, key_class: int) -> int:
        """Destroy the keys of everybody in a class; return how many there were."""
        return self._destroy_all("DELETE FROM person WHERE class = ?", (key_class,))

    def destroy_labels(self, period: int) -> int:
        """Destroy the label keys in a period of those who have no other key left in it; return how many there were."""
        classes = classes_of(period)
        left = f"SELECT 1 FROM person WHERE class IN ({_marks(classes)}) AND person.pseudonym = label.pseudonym"  # noqa: S608  marks
        return self._destroy_all(f"DELETE FROM label WHERE period = ? AND NOT EXISTS ({left})", (period, *classes))  # noqa: S608

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

    def _load_or_make(
        self, missing: Sequence[PersonClass], identities: Mapping[bytes, bytes]
    ) -> dict[PersonClass, PersonKey]:
        contents = self._contents(missing)
        new = [one for one in missing if one not in contents]
        if new:
            keys = _draws(len(new), KEY_SIZE)
            with self._tables.transaction():
                made = {
                    one: (KEY_VERSION, key + identities.get(one[0], b"")) for one, key in zip(new, keys, strict=True)
                }
                # Another ledger may share the vault: the first to commit makes the key, so read after writing.
                self._write(made, present="keep")
                contents.update(self._contents(new))
        return self._remember(contents)

    def _identify(
        self, unnamed: Sequence[PersonClass], identities: Mapping[bytes, bytes]
    ) -> dict[PersonClass, PersonKey]:
        """Keep the identities of persons whose keys were made without."""
        with self._tables.transaction():
            contents = {
                one: (version, content if len(content) > KEY_SIZE else content + identities[one[0]])
                for one, (version, content) in self._contents(unnamed).items()
            }
            self._write(contents, present="replace")
        return self._remember(contents)

    def _write(self, contents: Mapping[PersonClass, tuple[int, bytes]], *, present: Present) -> None:
        generation, nonces = self._generation(), _draws(len(contents), NONCE_SIZE)
        rows: list[tuple[int, bytes, int, int, bytes]] = []
        for (one, (version, content)), nonce in zip(contents.items(), nonces, strict=True):
            name = person_name(*one, version)
            wrapped = self._wrapping.wrap(generation, PERSON, name, content, nonce=nonce)
            rows.append((one[1], one[0], version, generation, wrapped))
        self._tables.insert("person", rows, present=present)

    def _contents(self, wanted: Sequence[PersonClass]) -> dict[PersonClass, tuple[int, bytes]]:
        """Return the newest version of each key that is there: key ‖ identity, where one is kept."""
        by_class: dict[int, list[bytes]] = {}
        for pseudonym, wanted_class in wanted:
            by_class.setdefault(wanted_class, []).append(pseudonym)
        found: dict[PersonClass, tuple[int, bytes]] = {}
        query = (
            "SELECT pseudonym, version, generation, wrapped FROM person WHERE class = ? AND pseudonym IN ({})"
            " ORDER BY version"
        )
        for wanted_class, pseudonyms in by_class.items():
            for chunk in _chunks(pseudonyms):
                rows = self._tables.rows(query.format(_marks(chunk)), (wanted_class, *chunk))
                for pseudonym, version, generation, wrapped in rows:
                    name = person_name(pseudonym, wanted_class, version)
                    content = self._wrapping.unwrap(generation, PERSON, name, wrapped)
                    found[pseudonym, wanted_class] = (version, content)
        return found

    def _remember(self, contents: Mapping[PersonClass, tuple[int, bytes]]) -> dict[PersonClass, PersonKey]:
        found = _keys(contents)
        if len(self._people) + len(found) > MAX_CACHED:
            self._people.clear()
        self._people.update(found)
        return found

    def _unwrapped(self, rows: Sequence[Sequence[Any]], kind: bytes, name: bytes) -> AESGCM | None:
        if not rows:
            return None
        generation, wrapped = rows[0]
        return AESGCM(self._wrapping.unwrap(generation, kind, name, wrapped)[:KEY_SIZE])

    def _destroy_all(self, statement: str, parameters: Sequence[int]) -> int:
        with self._lock:
            with self._tables.transaction():
                count = self._tables.run(statement, parameters)
                self._count_destruction()
            self._tables.cleanse()
        return count

    def _count_destruction(self) -> None:
        """Make every process drop what it remembers, and refuse what it is just sealing; in the same transaction."""
        self._tables.run("UPDATE destruction SET count = count + 1")

    def _forget_destroyed(self) -> None:
        count = self._counted()
        if count != self._destructions:
            self._people.clear()
            self._wrapping.keep({number for (number,) in self._tables.rows("SELECT number FROM generation")})
            self._destructions = count

    def _counted(self) -> int:
        ((count,),) = self._tables.rows("SELECT count FROM destruction")
        return int(count)

    def _generation(self) -> int:
        ((newest,),) = self._tables.rows("SELECT max(number) FROM generation")
        return int(newest)

    def _begin_if_new(self) -> None:
        with self._tables.transaction():
            used = ("generation", *(table.name for table in TABLES))
            if not any(self._tables.rows(f"SELECT 1 FROM {name} LIMIT 1") for name in used):  # noqa: S608  constants
                newest = self._wrapping.keys.newest()
                probe = self._wrapping.probe(newest, nonce=os.urandom(NONCE_SIZE))
                self._tables.insert("generation", [(newest, probe)], present="keep")

    def _check_key(self) -> None:
        rows = self._tables.rows("SELECT number, probe FROM generation")
        for number, probe in rows:
            self._wrapping.check_probe(number, probe)
        if not rows:
            raise Refused("vault-format", "the vault names no generation")


def _keys(contents: Mapping[PersonClass, tuple[int, bytes]]) -> dict[PersonClass, PersonKey]:
    return {
        one: PersonKey(version, AESGCM(content[:KEY_SIZE]), len(content) > KEY_SIZE)
        for one, (version, content) in contents.items()
    }


def _draws(count: int, size: int) -> list[bytes]:
    random = os.urandom(count * size)
    return [random[at : at + size] for at in range(0, count * size, size)]


def _chunks(items: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(items), _MARKS):
        yield items[start : start + _MARKS]


def _marks(items: Sequence[object]) -> str:
    return ",".join("?" * len(items))
