"""Check the rows of entries: each body against its stored hash, its seal, its form, and what is said of erasures.

What a row's hashes give as leaf is returned, so that the caller compares it with bundle, tile and root.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag

from integrator_audit.bodies import Erased, open_actor, open_body
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.findings import Findings
from integrator_audit.halfyear import period_of_origin
from integrator_audit.keystore import KEY_ID_SIZE, KeyStore
from integrator_audit.merkle import HASH_SIZE
from integrator_audit.parts import (
    LETTERS,
    PSEUDONYM_SIZE,
    SALT_SIZE,
    SUBJECT_ENTRY,
    Entry,
    check_entry,
    commitment,
    leaf_entry,
    part_hash,
    read_part,
)
from integrator_audit.rawrows import RawRows
from integrator_audit.store import GROUNDS, EntryRow, entry_seal

_UNUSABLE = b""


@dataclass(frozen=True, slots=True)
class Named:
    """Numbers of the statements and recipients whose own rows are damaged: their entries are not blamed for that."""

    statements: frozenset[int] = field(default_factory=frozenset[int])
    recipients: frozenset[int] = field(default_factory=frozenset[int])


class RowCheck:
    """Check rows of one file; findings name `row of entry N`."""

    def __init__(
        self,
        rows: RawRows,
        *,
        origin: str,
        vault: KeyStore | None,
        findings: Findings,
        damaged: Named,
    ) -> None:
        self._rows = rows
        self._origin = origin
        self._period = period_of_origin(origin)
        self._vault = vault
        self._findings = findings
        self._damaged = damaged

    def leaves(self, start: int, width: int) -> list[bytes]:
        """Check the rows from `start` on and return the leaf entry of each, empty where there is no usable row."""
        leaves = [_UNUSABLE] * width
        try:
            rows = self._rows.entries(start, start + width)
        except Tampered as error:
            where = f"rows of entries {start} to {start + width - 1}"
            self._findings.add("database-damaged", where, f"they cannot be read: {error.message}")
            return leaves
        for row, statement, recipient, ground, is_unlisted in rows:
            if not 0 <= row.number - start < width:
                # The order of a damaged file's rows is not that of their numbers.
                where = f"row of entry {row.number}"
                self._findings.add("database-damaged", where, "it stands where another entry is looked for")
                continue
            if not _has_types(row, statement):
                self._wrong(row.number, "", "a column has a wrong type or length, or there is no such statement")
                continue
            leaves[row.number - start] = leaf_entry(row.type, commitment(self._origin, row.type, row.hashes))
            self._check_erasure(row, ground)
            if bool(row.listed) == is_unlisted:
                self._findings.add("unlisted-wrong", f"unlisted {row.number}", "the entry and the list do not agree")
            self._check_row(row, statement=statement, recipient=recipient)
        for offset, leaf in enumerate(leaves):
            if not leaf:
                self._wrong(start + offset, "", "the row is missing or unusable")
        return leaves

    def _check_erasure(self, row: EntryRow, ground: object) -> None:
        where = f"row of entry {row.number}"
        if row.is_erased and ground not in GROUNDS:
            self._findings.add("erasure-wrong", where, "its body is gone, and no known ground for that is kept")
        elif ground is not None and not row.is_erased:
            self._findings.add("erasure-wrong", where, "it is said to be erased, and has a body")

    def _check_row(self, row: EntryRow, *, statement: int, recipient: int | None) -> None:
        if recipient is not None and not row.recipient:
            self._wrong(row.number, "", f"there is no recipient {recipient}")
        if row.subject is None and row.type == SUBJECT_ENTRY and not row.is_erased:
            self._wrong(row.number, "", "a subject entry that was not erased has a person")
        bodies = {"A": row.salt_a + row.a}
        opened = self._vault is not None and not row.is_erased
        if opened:
            bodies |= self._open(row)
        wrong = [letter for letter, body in bodies.items() if not self._hash_holds(row, letter, body, statement)]
        sealed = recipient in self._damaged.recipients or entry_seal(row) == row.seal
        if not sealed and not wrong and len(bodies) == (4 if opened else 1):
            message = "the seal itself or a column that only the seal covers changed" if opened else "it was changed"
            self._wrong(row.number, "", message)
        if len(bodies) == len(LETTERS) and not wrong:
            self._check_form(row, [bodies[letter][SALT_SIZE:] for letter in LETTERS])

    def _open(self, row: EntryRow) -> dict[str, bytes]:
        """Return salt ‖ bytes of D, S and P, of those that open."""
        opened: dict[str, bytes] = {}
        vault = self._vault
        if vault is None:
            return opened
        for part in ("body", "actor") if row.p else ("body",):
            letters = "P" if part == "actor" else "D and S"
            try:
                if part == "actor":
                    opened["P"] = open_actor(row, vault, origin=self._origin)
                else:
                    opened |= open_body(row, vault, origin=self._origin, period=self._period)
            except InvalidTag:
                self._wrong(row.number, letters, "it does not open with its key: the row was changed")
            except Erased:
                self._wrong(row.number, letters, "the vault has no key for it: is this the log's vault?")
            except Tampered as error:
                self._wrong(row.number, letters, error.message)
        return opened

    def _hash_holds(self, row: EntryRow, letter: str, body: bytes, statement: int) -> bool:
        at = LETTERS.index(letter) * HASH_SIZE
        if part_hash(letter, body[:SALT_SIZE], body[SALT_SIZE:]) == row.hashes[at : at + HASH_SIZE]:
            return True
        if letter != "A" or statement not in self._damaged.statements:
            self._wrong(row.number, letter, "its bytes and its stored hash do not belong together")
        return False

    def _check_form(self, row: EntryRow, parts: Sequence[bytes]) -> None:
        try:
            entry = Entry(
                row.type,
                *parts,
                subject=row.subject,
                recipient=row.recipient,
                at=row.at,
                retention=row.retention,
                listed=bool(row.listed),
            )
            check_entry(entry)
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


def _has_types(row: EntryRow, statement: object) -> bool:
    """Say whether the columns are what the schema says; SQLite itself does not insist."""
    blobs: list[object] = [row.a, row.salt_a, row.body, row.p, row.hashes]
    numbers: list[object] = [row.type, row.retention, row.listed]
    large: list[object] = [row.at, row.seal, statement]
    versions: list[object] = [row.key_version]
    return (
        all(isinstance(value, bytes) for value in blobs)
        and all(isinstance(value, int) and 0 <= value < 256 for value in numbers)
        and all(isinstance(value, int) and 0 <= value < 1 << 63 for value in large)
        and all(isinstance(value, int) and 0 <= value < 1 << 32 for value in versions)
        and len(row.hashes) == len(LETTERS) * HASH_SIZE
        and len(row.salt_a) == SALT_SIZE
        and _is_absent_or_sized(row.subject, PSEUDONYM_SIZE)
        and _is_absent_or_sized(row.entry_key, KEY_ID_SIZE)
    )


def _is_absent_or_sized(value: object, size: int) -> bool:
    return value is None or (isinstance(value, bytes) and len(value) == size)
