"""Check the rows of entries: each body against its stored hash, its seal, its form, and the index of commitments.

What a row's hashes give as leaf is returned, so that the caller compares it with bundle, tile and root.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from integrator_audit.errors import Invalid, Tampered
from integrator_audit.findings import Findings
from integrator_audit.merkle import HASH_SIZE
from integrator_audit.parts import (
    LETTERS,
    PSEUDONYM_SIZE,
    SALT_SIZE,
    Entry,
    check_entry,
    commitment,
    leaf_entry,
    part_hash,
    read_part,
)
from integrator_audit.reader import decrypt, entry_cipher
from integrator_audit.sqlite import INDEXED
from integrator_audit.store import EntryRow, entry_seal, subject_seal
from integrator_audit.vault import Vault

_QUERY = (
    "SELECT idx, pseudonym, t, a, d, s, p, h, x'', kv, pk, entry.seal, sid, subject.seal"
    " FROM entry LEFT JOIN subject USING (sid) WHERE idx >= ? AND idx < ?"
)
_UNUSABLE = b""


class RowCheck:
    """Check rows of one file; findings name `row of entry N`."""

    def __init__(self, connection: sqlite3.Connection, *, origin: str, vault: Vault | None, findings: Findings) -> None:
        self._connection = connection
        self._origin = origin
        self._vault = vault
        self._findings = findings

    def leaves(self, start: int, width: int) -> list[bytes]:
        """Check the rows from `start` on and return the leaf entry of each, empty where there is no usable row."""
        leaves = [_UNUSABLE] * width
        try:
            rows = self._connection.execute(_QUERY, (start, start + width)).fetchall()
        except sqlite3.DatabaseError as error:
            where = f"rows of entries {start} to {start + width - 1}"
            self._findings.add("database-damaged", where, f"they cannot be read: {error}")
            return leaves
        for *columns, number, seal in rows:
            row = EntryRow(*columns)
            if not _has_types(row):
                self._wrong(row.number, "", "a column has a wrong type or length")
                continue
            leaves[row.number - start] = leaf_entry(row.type, commitment(self._origin, row.type, row.hashes))
            self._check_row(row, number, seal)
        for offset, leaf in enumerate(leaves):
            if not leaf:
                self._wrong(start + offset, "", "the row is missing or unusable")
        return leaves

    def check_commitments(self, start: int, leaves: Sequence[bytes]) -> None:
        """Check that the index of commitments leads to each of these entries; empty leaves are passed over."""
        committed = [leaf[1 : 1 + INDEXED] for leaf in leaves if leaf]
        marks = ",".join("?" * len(committed))
        query = f"SELECT c, idx FROM commitment WHERE c IN ({marks})"  # noqa: S608  only marks
        found = dict(self._connection.execute(query, committed).fetchall())
        for index, leaf in enumerate(leaves, start):
            key = leaf[1 : 1 + INDEXED]
            if leaf and key not in found:
                self._findings.add("index-wrong", f"commitment of entry {index}", "the index of commitments lacks it")
            elif leaf and found[key] != index:
                message = f"it is indexed as entry {found[key]}: two entries commit to the same, or a row is wrong"
                self._findings.add("index-wrong", f"commitment of entry {index}", message)

    def _check_row(self, row: EntryRow, number: int | None, person_seal: object) -> None:
        if (number is None) != (row.type == 0x02):
            self._wrong(row.number, "", "an entry has a person exactly when it is a subject entry")
        bodies = {"A": row.a}
        sealed = True
        person_holds = number is None or (row.subject is not None and subject_seal(number, row.subject) == person_seal)
        if number is not None and row.subject is None:
            self._wrong(row.number, "", f"there is no person {number}")
        elif person_holds:
            sealed = entry_seal((row.d, row.s, row.p), row.subject, (row.key_version, row.entry_key)) == row.seal
            if self._vault is not None:
                bodies |= self._open(row, self._vault)
        wrong = [letter for letter, body in bodies.items() if not self._hash_holds(row, letter, body)]
        if not sealed and not wrong and len(bodies) == (4 if self._vault else 1):
            message = "d, s, p, person, key or seal changed" if self._vault is None else "the seal itself changed"
            self._wrong(row.number, "", message)
        if len(bodies) == len(LETTERS) and not wrong:
            self._check_form(row, [bodies[letter][SALT_SIZE:] for letter in LETTERS])

    def _open(self, row: EntryRow, vault: Vault) -> dict[str, bytes]:
        """Return salt ‖ bytes of D, S and P, of those that open."""
        opened: dict[str, bytes] = {}
        ciphers: dict[bytes | None, AESGCM | None] = {}
        for letter in "DSP":
            name = row.entry_key if letter == "P" or row.subject is None else None
            try:
                if name not in ciphers:
                    ciphers[name] = entry_cipher(row, letter, vault)
                cipher = ciphers[name]
                if cipher is None:
                    message = "the vault has no key for it: it was erased, or this is not the log's vault"
                    self._wrong(row.number, letter, message)
                    continue
                opened[letter] = decrypt(row, letter, cipher=cipher, origin=self._origin)
            except InvalidTag:
                self._wrong(row.number, letter, "it does not open with its key: the row was changed")
            except Tampered as error:
                self._wrong(row.number, letter, error.message)
        return opened

    def _hash_holds(self, row: EntryRow, letter: str, body: bytes) -> bool:
        at = LETTERS.index(letter) * HASH_SIZE
        if part_hash(letter, body[:SALT_SIZE], body[SALT_SIZE:]) == row.hashes[at : at + HASH_SIZE]:
            return True
        self._wrong(row.number, letter, "its bytes and its stored hash do not belong together")
        return False

    def _check_form(self, row: EntryRow, parts: Sequence[bytes]) -> None:
        try:
            check_entry(Entry(row.type, *parts, subject=row.subject))
        except Invalid as error:
            self._findings.add("entry-malformed", f"row of entry {row.number}", error.message)
        for letter, data in zip(LETTERS, parts, strict=True):
            try:
                read_part(data)
            except Invalid as error:
                where = f"row of entry {row.number}, part {letter}"
                self._findings.add("entry-malformed", where, error.message)

    def _wrong(self, index: int, letter: str, message: str) -> None:
        where = f"row of entry {index}, part {letter}" if letter else f"row of entry {index}"
        self._findings.add("entry-wrong", where, message)


def _has_types(row: EntryRow) -> bool:
    """Say whether the columns are what the schema says; SQLite itself does not insist."""
    blobs: list[object] = [row.a, row.d, row.s, row.p, row.hashes, row.seal]
    numbers: list[object] = [row.type, row.key_version]
    names: list[object] = [row.subject, row.entry_key]
    return (
        all(isinstance(value, bytes) for value in blobs)
        and all(isinstance(value, int) and 0 <= value < 1 << 31 for value in numbers)
        and all(value is None or isinstance(value, bytes) for value in names)
        and row.type <= 0xFF
        and len(row.hashes) == len(LETTERS) * HASH_SIZE
        and len(row.a) >= SALT_SIZE
        and (row.subject is None or len(row.subject) == PSEUDONYM_SIZE)
    )
