"""A witness after C2SP tlog-witness: it cosigns what extends all that it cosigned before, and remembers that first.

- Source: https://c2sp.org/tlog-witness. `Witness.add_checkpoint` decides; `witnessing.server` moves the bytes.
- The check against the last size and the new record are one transaction, and it is on disk before the answer goes out.
- A file that is damaged, or is no longer the one at its path, cosigns nothing: whose state is unknown says so (500).
- Two signed checkpoints of one size that differ are kept as evidence: no witness needs to be believed about them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from integrator_audit.checkpoint import TreeHead, read_head
from integrator_audit.columns import damaged
from integrator_audit.database import check_plain, make_tables, opening, translated
from integrator_audit.errors import AuditError, Invalid, Refused, Tampered, Unavailable
from integrator_audit.merkle import EMPTY_ROOT, verify_consistency
from integrator_audit.note import Note, NoteKey, join_note, verify_note
from integrator_audit.witnessing.addcheckpoint import (
    MAX_TAKEN,
    SIZE_TYPE,
    AddCheckpoint,
    Answer,
    format_signatures,
)
from integrator_audit.witnessing.cosignature import Cosigner

APPLICATION_ID = 0x64696C77  # "dilw"
FORMAT = 1
MAX_EVIDENCE = 100

TEXT_TYPE = "text/plain; charset=utf-8"
_SCHEMA = """
CREATE TABLE log (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL);
CREATE TABLE evidence (origin TEXT NOT NULL, size INTEGER NOT NULL, cosigned BLOB NOT NULL, contradicting BLOB NOT NULL)
"""


class Witness:
    """Cosign the checkpoints of some logs. Requests may come from several threads."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        cosigner: Cosigner,
        logs: Mapping[str, Sequence[NoteKey]],
        clock: Callable[[], float],
    ) -> None:
        """Use `open` instead."""
        self._connection = connection
        self._path = path
        self._file = _identity(path)
        self._cosigner = cosigner
        self._clock = clock
        self._keys = logs
        self._by_hash = {sha256(origin.encode()).hexdigest(): origin for origin in self._keys}
        # Whoever holds it is the only one to use the connection.
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls, path: Path, *, cosigner: Cosigner, logs: Mapping[str, Sequence[NoteKey]], clock: Callable[[], float]
    ) -> Witness:
        """Open the witness's file at `path`, or create it; `logs` says which keys it trusts for which origin.

        Raises `Refused` when the file is something else, `Unavailable` when it cannot be opened, `Tampered`
        (`witness-damaged`) when what it remembers of a log is not what it cosigned.
        """
        size, log = path.stat().st_size if path.is_file() else None, Path(f"{path}-wal")
        if size == 0 or (size is None and log.exists()):
            message = (
                f"{path.name} is empty, or gone beside its {log.name}: what this witness cosigned is lost. Restore the "
                "newest state, or go on under a new key; if it never cosigned anything, remove the file"
            )
            raise Tampered("witness-damaged", message)
        with opening(path, what="witness") as connection:
            make_tables(connection, _SCHEMA, version=FORMAT, application=APPLICATION_ID)
            marks = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]
            if marks != [APPLICATION_ID, FORMAT]:
                raise Refused("witness-file", f"{path} is not the file of a witness of this version")
            check_plain(connection, "witness")
            for row in connection.execute("SELECT origin, size, root, note FROM log"):
                _check_remembered(*row)
            return cls(connection, path, cosigner, logs, clock)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @property
    def vkey(self) -> str:
        """Return the text of the witness's public key."""
        return self._cosigner.key.vkey

    def sizes(self) -> Mapping[str, int]:
        """Return the last cosigned size of each log that was ever cosigned."""
        with self._lock, translated("witness"):
            return dict(self._connection.execute("SELECT origin, size FROM log"))

    def checkpoint(self, origin_hash: str) -> bytes | None:
        """Return the latest cosigned note of the log whose origin has this SHA-256 in lower-case hex."""
        origin = self._by_hash.get(origin_hash)
        if origin is None:
            return None
        with self._lock, translated("witness"):
            row = self._remembered(origin)
        return None if row is None else row[2]

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer a request; what it cosigned is on disk when this returns. Raises what the file's errors are."""
        if len(body) > MAX_TAKEN:
            return _answer(413, f"a request has at most {MAX_TAKEN} bytes")
        try:
            request = AddCheckpoint.parse(body)
            _, head = request.unverified()
        except Invalid as error:
            return _answer(400, error.message)
        # SPEC tlog-witness: "If the checkpoint origin is unknown, the witness MUST respond with a "404 Not Found" HTTP
        # status code."
        if head.origin not in self._keys:
            return _answer(404, "this witness does not know the log")
        # SPEC tlog-witness: "The witness MUST verify the checkpoint signature against the public key(s) it trusts for
        # the checkpoint origin, and it MUST ignore signatures from unknown keys."
        # SPEC tlog-witness: "If none of the signatures verify against a trusted public key, the witness MUST respond
        # with a "403 Forbidden" HTTP status code."
        try:
            text = verify_note(request.note, self._keys[head.origin])
        except AuditError as error:
            return _answer(403, error.message)
        # SPEC tlog-witness: "The old size MUST be equal to or lower than the checkpoint size. Otherwise, the witness
        # MUST respond with a "400 Bad Request" HTTP status code."
        if request.old_size > head.size:
            return _answer(400, "the old size is larger than that of the checkpoint")
        with self._lock, translated("witness"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                return self._extend(request, head, text)
            finally:
                # What was to be kept is committed by now.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _extend(self, request: AddCheckpoint, head: TreeHead, text: bytes) -> Answer:
        row = self._remembered(head.origin)
        size, root, cosigned = row or (0, EMPTY_ROOT, b"")
        conflict = Answer(409, SIZE_TYPE, f"{size}\n".encode())
        # SPEC tlog-witness: "The witness MUST check that the old size matches the size of the latest checkpoint it
        # cosigned for the checkpoint's origin (or zero if it never cosigned a checkpoint for that origin). If it
        # doesn't match, the witness MUST respond with a "409 Conflict" HTTP status code."
        if request.old_size != size:
            return conflict
        # SPEC tlog-witness: "If the old size matches the checkpoint size, the witness MUST check that the root hashes
        # are also identical. If they don't match, the witness MUST respond with a "409 Conflict" HTTP status code."
        if head.size == size and head.root != root and row is not None:
            self._keep_evidence(head, cosigned, self._verified(request.note))
            return conflict
        # SPEC tlog-witness: "If the Merkle Consistency Proof doesn't verify, the witness MUST respond with a "422
        # Unprocessable Entity" HTTP status code."
        try:
            verify_consistency((size, root), (head.size, head.root), proof=request.proof)
            if head.size == 0 and head.root != EMPTY_ROOT:
                raise Tampered("empty-root", "the root of an empty log is the hash of nothing")
        except Tampered as error:
            return _answer(422, error.message)
        # SPEC tlog-witness: "The signatures MUST be [cosignatures][] from the witness key(s) on the checkpoint."
        signature = self._cosigner.cosign(text, int(self._clock()))
        note = self._verified(request.note) + signature.line
        # SPEC tlog-witness: "If all the checks above pass, the witness MUST update its record of the latest cosigned
        # checkpoint and respond with a "200 Success" HTTP status code."
        # SPEC tlog-witness: "The witness MUST persist the new checkpoint before responding."
        statement = "INSERT OR REPLACE INTO log VALUES (?, ?, ?, ?)"
        self._connection.execute(statement, (head.origin, head.size, head.root, note))
        self._connection.execute("COMMIT")
        # A file that was deleted or replaced takes every write, and none of them is there at the next start.
        if _identity(self._path) != self._file:
            message = f"{self._path.name} is not the file that this witness opened: start it again with the right one"
            raise Unavailable("witness-moved", message)
        return Answer(200, TEXT_TYPE, format_signatures([signature]))

    def _remembered(self, origin: str) -> tuple[int, bytes, bytes] | None:
        """Return size, root and note of the last cosigned checkpoint of a log; raise `Tampered` when they differ."""
        row = self._connection.execute("SELECT size, root, note FROM log WHERE origin = ?", (origin,)).fetchone()
        if row is not None:
            _check_remembered(origin, *row)
        return row

    def _verified(self, data: bytes) -> bytes:
        """Return a note, whose signatures of known keys were verified, without the others."""
        note = Note.parse(data)
        known = {(key.name, key.key_id) for keys in self._keys.values() for key in keys}
        return join_note(note.unverified_text, [item for item in note.signatures if (item.name, item.key_id) in known])

    def _keep_evidence(self, head: TreeHead, cosigned: bytes, contradicting: bytes) -> None:
        # SPEC tlog-witness: "If the origin is known, and the signature is valid, the witness MAY log the request even
        # if the consistency proof doesn't verify (but MUST NOT cosign the checkpoint) as it might be proof of log
        # misbehavior."
        count = self._connection.execute("SELECT count(*) FROM evidence WHERE origin = ?", (head.origin,)).fetchone()[0]
        if count < MAX_EVIDENCE:
            statement = "INSERT INTO evidence VALUES (?, ?, ?, ?)"
            self._connection.execute(statement, (head.origin, head.size, cosigned, contradicting))
            self._connection.execute("COMMIT")


def _check_remembered(origin: object, size: object, root: object, note: object) -> None:
    """Compare what is remembered with the note that was cosigned: half of a damaged row must not answer for the log."""
    try:
        said = None if not isinstance(note, bytes) else read_head(Note.parse(note).unverified_text)
    except Invalid:
        said = None
    if said is None or (said.origin, said.size, said.root) != (origin, size, root):
        raise damaged("what it remembers of a log is not what it cosigned", what="witness")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and number of the file at a path, None when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _answer(status: int, message: str) -> Answer:
    return Answer(status, TEXT_TYPE, f"{message}\n".encode())
