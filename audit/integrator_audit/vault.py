"""The vault keeps the keys that make entries erasable: one for each person, one for each entry with an actor.

- A key is random, made when it is first needed, and stored only wrapped by the key of its generation. To destroy it is
  to erase what it encrypted, wherever copies of that lie.
- The vault is an SQLite file of its own, committed *before* the entries that use its keys: a crash between the two
  leaves a key without an entry, never an entry without a key.
- What is encrypted: AES-256-GCM, random 12-byte nonce, additional data `origin ‖ u64 index ‖ u8 part ‖ u32 key
  version`, so that a body cannot be moved to another entry, part or log.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from integrator_audit.database import connect, is_new, translated
from integrator_audit.errors import Invalid, Refused, Tampered

GENERATION = 1
KEY_VERSION = 1
KEY_SIZE = 32
NONCE_SIZE = 12
TAG_SIZE = 16
KEY_ID_SIZE = 16
MAX_CACHED = 65_536

_FORMAT = 1
_PERSON, _ENTRY, _PROBE = b"person", b"entry", b"probe"
_SCHEMA = """
CREATE TABLE generation (number INTEGER PRIMARY KEY, probe BLOB NOT NULL);
CREATE TABLE person (pseudonym BLOB PRIMARY KEY, generation INTEGER NOT NULL, wrapped BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE entry_key (id BLOB PRIMARY KEY, generation INTEGER NOT NULL, wrapped BLOB NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class EntryKey:
    """The key of one entry and the 16 bytes by which the entry's row names it."""

    id: bytes
    cipher: AESGCM


def associated_data(origin: str, index: int, key_version: int) -> tuple[bytes, bytes, bytes]:
    """Return the additional data under which parts D, S and P of one entry are encrypted."""
    start, end = origin.encode() + index.to_bytes(8, "big"), key_version.to_bytes(4, "big")
    return start + b"D" + end, start + b"S" + end, start + b"P" + end


class Vault:
    """Keys by person and by entry. Safe to share between threads and between the ledgers of one process."""

    def __init__(self, connection: sqlite3.Connection, generation_key: bytes) -> None:
        """Use `open` or `read_only` instead."""
        if len(generation_key) != KEY_SIZE:
            raise Invalid("generation-key", f"a generation key has {KEY_SIZE} bytes")
        self._connection = connection
        self._wrapping = AESGCM(generation_key)
        self._lock = threading.Lock()
        # Owned by the lock. Holds only what is committed, so a failed transaction leaves nothing to undo.
        self._people: dict[bytes, AESGCM] = {}

    @classmethod
    def open(cls, path: Path | str, generation_key: bytes) -> Vault:
        """Open the vault at `path`, or create it.

        Raises `Refused` (`vault-other-key`) when the vault was made with another generation key.
        """
        with translated("vault"):
            connection = connect(Path(path))
            connection.execute("PRAGMA secure_delete=ON")
        vault = cls(connection, generation_key)
        with translated("vault"):
            vault._create_if_absent()
        vault._check_key()
        return vault

    @classmethod
    def read_only(cls, path: Path | str, generation_key: bytes) -> Vault:
        """Open the vault of another process for reading; raise as `open` does, and `Unavailable` when it is absent."""
        with translated("vault"):
            connection = connect(Path(path), mode="ro")
        vault = cls(connection, generation_key)
        vault._check_key()
        return vault

    def close(self) -> None:
        """Close the file. No other method may follow."""
        self._connection.close()

    def people(self, pseudonyms: Iterable[bytes]) -> dict[bytes, AESGCM]:
        """Return the key of each person, making those that are not there. When this returns, all are durable."""
        wanted = set(pseudonyms)
        with self._lock:
            found = {person: self._people[person] for person in wanted if person in self._people}
            missing = sorted(wanted - found.keys())
            if missing:
                found.update(self._load_or_make(missing))
        return found

    def person(self, pseudonym: bytes) -> AESGCM | None:
        """Return a person's key, or None when it was never made or is erased."""
        with self._lock, translated("vault"):
            rows = self._select([pseudonym])
        return self._unwrap(_PERSON, pseudonym, rows[pseudonym]) if rows else None

    def entry_keys(self, count: int) -> list[EntryKey]:
        """Make `count` keys for entries. When this returns, all are durable."""
        if count == 0:
            return []
        random = os.urandom(count * (KEY_ID_SIZE + KEY_SIZE))
        step = KEY_ID_SIZE + KEY_SIZE
        made = [
            (random[at : at + KEY_ID_SIZE], random[at + KEY_ID_SIZE : at + step]) for at in range(0, len(random), step)
        ]
        nonces = os.urandom(NONCE_SIZE * count)
        rows = [
            (key_id, GENERATION, self._wrap(_ENTRY, key_id, key, nonces[at * NONCE_SIZE : (at + 1) * NONCE_SIZE]))
            for at, (key_id, key) in enumerate(made)
        ]
        with self._lock, translated("vault"), self._transaction():
            self._connection.executemany("INSERT INTO entry_key VALUES (?, ?, ?)", rows)
        return [EntryKey(key_id, AESGCM(key)) for key_id, key in made]

    def entry_key(self, key_id: bytes) -> AESGCM | None:
        """Return an entry's key, or None when it is erased."""
        with self._lock, translated("vault"):
            row = self._connection.execute("SELECT wrapped FROM entry_key WHERE id = ?", (key_id,)).fetchone()
        return None if row is None else self._unwrap(_ENTRY, key_id, row[0])

    def _load_or_make(self, missing: Sequence[bytes]) -> dict[bytes, AESGCM]:
        with translated("vault"):
            rows = self._select(missing)
            new = [person for person in missing if person not in rows]
            if new:
                step = KEY_SIZE + NONCE_SIZE
                random = os.urandom(step * len(new))
                fresh = [
                    (random[at : at + KEY_SIZE], random[at + KEY_SIZE : at + step])
                    for at in range(0, len(random), step)
                ]
                wrapped = [
                    (person, GENERATION, self._wrap(_PERSON, person, key, nonce))
                    for person, (key, nonce) in zip(new, fresh, strict=True)
                ]
                with self._transaction():
                    # Another ledger may share the file: the first to commit makes the key, so read after writing.
                    self._connection.executemany("INSERT OR IGNORE INTO person VALUES (?, ?, ?)", wrapped)
                    rows.update(self._select(new))
        loaded = {person: self._unwrap(_PERSON, person, value) for person, value in rows.items()}
        if len(self._people) + len(loaded) > MAX_CACHED:
            self._people.clear()
        self._people.update(loaded)
        return loaded

    def _select(self, pseudonyms: Sequence[bytes]) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for start in range(0, len(pseudonyms), 500):
            chunk = pseudonyms[start : start + 500]
            marks = ",".join("?" * len(chunk))
            query = f"SELECT pseudonym, wrapped FROM person WHERE pseudonym IN ({marks})"  # noqa: S608  only marks
            found.update(self._connection.execute(query, chunk).fetchall())
        return found

    def _wrap(self, kind: bytes, name: bytes, key: bytes, nonce: bytes) -> bytes:
        return nonce + self._wrapping.encrypt(nonce, key, _wrapping_data(kind, name))

    def _unwrap(self, kind: bytes, name: bytes, wrapped: bytes) -> AESGCM:
        try:
            key = self._wrapping.decrypt(wrapped[:NONCE_SIZE], wrapped[NONCE_SIZE:], _wrapping_data(kind, name))
        except (InvalidTag, ValueError, TypeError) as error:
            raise Tampered("vault-key", "a wrapped key in the vault was changed; restore it from a backup") from error
        return AESGCM(key)

    def _create_if_absent(self) -> None:
        with self._transaction():
            if is_new(self._connection):
                for statement in _SCHEMA.split(";"):
                    self._connection.execute(statement)
                probe = self._wrap(_PROBE, b"", bytes(KEY_SIZE), os.urandom(NONCE_SIZE))
                self._connection.execute("INSERT INTO generation VALUES (?, ?)", (GENERATION, probe))
                self._connection.execute(f"PRAGMA user_version={_FORMAT}")

    def _check_key(self) -> None:
        with translated("vault"):
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version != _FORMAT:
                raise Refused("vault-format", "the file is not a vault that this version reads")
            row = self._connection.execute("SELECT probe FROM generation WHERE number = ?", (GENERATION,)).fetchone()
        try:
            self._unwrap(_PROBE, b"", row[0] if row else b"")
        except Tampered as error:
            message = "the vault was made with another generation key; give the key that belongs to it"
            raise Refused("vault-other-key", message) from error

    def _transaction(self) -> sqlite3.Connection:
        # Leaving the connection's context commits, or rolls back on an exception.
        self._connection.execute("BEGIN IMMEDIATE")
        return self._connection


def _wrapping_data(kind: bytes, name: bytes) -> bytes:
    return b"dienstenintegrator/vault/v1\0" + GENERATION.to_bytes(4, "big") + kind + b"\0" + name
