"""Reading a log: its head, a person's indices, openings with proofs, and the resources that a tlog-tiles server serves.

A reader never writes and works beside the writer, also in another process; each call sees one moment of the log.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag

from integrator_audit.bodies import Erased, open_actor, open_body, open_identity
from integrator_audit.checkpoint import LogKeys, read_unverified
from integrator_audit.encoding import to_base64
from integrator_audit.errors import Invalid, Refused, Tampered, Unavailable
from integrator_audit.export import export_log
from integrator_audit.halfyear import period_of_origin
from integrator_audit.keystore import KeyStore
from integrator_audit.merkle import HASH_SIZE, inclusion_proof
from integrator_audit.note import Verifier
from integrator_audit.parts import LETTERS, SALT_SIZE, part_hash
from integrator_audit.rawlog import read_leaf, read_leaves
from integrator_audit.receipt import Receipt
from integrator_audit.store import EntryRow, Ground, Head, Identity, Reading, SetAside
from integrator_audit.stores import open_reading
from integrator_audit.tiles import TileName, is_implied, subtree_reader

# SPEC tlog-tiles: "The Signed Tree Head MUST be served as a [checkpoint][] at <prefix>/checkpoint with `Content-Type:
# text/plain; charset=utf-8`."
# SPEC tlog-tiles: "This endpoint is mutable, so its headers SHOULD prevent caching beyond a few seconds."
CHECKPOINT_TYPE: Final = "text/plain; charset=utf-8"
CHECKPOINT_CACHE: Final = "no-cache"
# SPEC tlog-tiles: "This endpoint is immutable, so its caching headers SHOULD be long-lived."
TILE_TYPE: Final = "application/octet-stream"
TILE_CACHE: Final = "public, max-age=31536000, immutable"
MAX_LISTED: Final = 1000


@dataclass(frozen=True, slots=True)
class Resource:
    """A file of the log as HTTP serves it: bytes, `Content-Type`, `Cache-Control`."""

    content: bytes
    content_type: str
    cache_control: str


class LedgerReader:
    """A read-only view of one log. Calls from several threads are taken one after the other."""

    def __init__(self, store: Reading, vault: KeyStore | None, keys: LogKeys | None = None) -> None:
        """Use `open` instead."""
        self._store = store
        self._vault = vault
        self._keys = keys
        self._lock = threading.Lock()
        self._identity = store.identity()
        # Owned by the lock.
        self._subtree = subtree_reader(store.tile)

    @classmethod
    def open(
        cls,
        place: Path | str,
        *,
        vault: KeyStore | None = None,
        keys: LogKeys | None = None,
        origin: str | None = None,
    ) -> LedgerReader:
        """Open the log at `place` (a path, or a `postgresql://` URL); `vault` is needed to open parts D, S and P.

        `keys` are those of a log that has changed its key; by default the one that the log's own store names. In a
        database with several logs, `origin` or the URL's `schema` says which.

        Raises `Unavailable` when there is no such file or server, `Refused` when it is no ledger.
        """
        store = open_reading(place, origin=origin)
        try:
            return cls(store, vault, keys)
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Close the file; the vault is its owner's to close."""
        self._store.close()

    @property
    def origin(self) -> str:
        """Return the log's origin."""
        return self._known_identity().origin

    @property
    def vkey(self) -> str:
        """Return the text of the log's verifier key, as its own file says: a verifier needs it from elsewhere."""
        return self._known_identity().vkey

    @property
    def size(self) -> int:
        """Return the number of entries."""
        with self._moment() as head:
            return head.size

    @property
    def root(self) -> bytes:
        """Return the root over all entries."""
        with self._moment() as head:
            return head.root

    def checkpoint(self) -> bytes:
        """Return the newest signed note."""
        with self._moment() as head:
            return head.note

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the next position to read by (topic, partition), as committed with the entries."""
        with self._lock:
            return self._store.positions()

    def set_asides(self) -> list[SetAside]:
        """Return the records that were set aside, by topic, partition and position."""
        with self._lock:
            return self._store.set_asides()

    def indices(self, *, before: int | None = None, limit: int = 100) -> list[int]:
        """Return at most `limit` (1 … 1,000) indices below `before`, newest first, over the whole log."""
        with self._moment() as head:
            end = head.size if before is None else min(before, head.size)
        return list(range(end - 1, max(end - 1 - _checked(limit), -1), -1))

    def indices_of(self, subject: bytes, *, before: int | None = None, limit: int = 100) -> list[int]:
        """Return at most `limit` (1 … 1,000) indices of a person's entries below `before`, newest first.

        `subject` is the 32-byte pseudonym; somebody without entries has none. The last index given is the next
        `before`.
        """
        with self._moment() as head:
            return self._store.indices_of(subject, head.size if before is None else before, _checked(limit))

    def indices_to(self, recipient: str, *, before: int | None = None, limit: int = 100) -> list[int]:
        """Return at most `limit` (1 … 1,000) indices of a recipient's entries below `before`, newest first."""
        with self._moment() as head:
            return self._store.indices_to(recipient, head.size if before is None else before, _checked(limit))

    def identity(self, index: int) -> bytes:
        """Return the opaque identity of an entry's person, as it was given; empty when it was not, or is erased.

        Raises `Invalid` (`no-such-entry`), `Refused` (`opening-needs-vault`), `Tampered` (`entry-changed`).
        """
        with self._moment() as head:
            row = self._store.entry(index) if 0 <= index < head.size else None
        if row is None:
            raise Invalid("no-such-entry", f"there is no entry {index}")
        if self._vault is None:
            raise Refused("opening-needs-vault", "bodies are encrypted; open the reader with the vault")
        try:
            return open_identity(row, self._vault, origin=self.origin, period=period_of_origin(self.origin))
        except Erased:
            return b""
        except InvalidTag as error:
            raise _changed(self.origin, index, "S") from error

    def leaf(self, index: int) -> bytes:
        """Return what stands in the log as leaf `index`: 33 bytes of an entry, or the public bytes of a `RawLog`."""
        with self._moment() as head:
            return read_leaf(self._store, index, head.size)

    def leaves(self, start: int, stop: int) -> list[bytes]:
        """Return what stands in the log as the leaves of [start, stop)."""
        with self._moment() as head:
            return list(read_leaves(self._store, range(start, stop), head.size))

    def last_before(self, at: int) -> Head | None:
        """Return the newest checkpoint that was committed before the moment `at` (ms); the end of every day is kept."""
        with self._lock:
            return self._store.last_before(at)

    def published(self) -> tuple[int, bytes] | None:
        """Return the newest published size and its note with the cosignatures, or None."""
        with self._lock:
            return self._store.published()

    def opening(self, index: int, parts: str = "AS", *, note: bytes | None = None) -> dict[str, object]:
        """Return the opening of one entry (format: `integrator_audit.opening`), with the parts named by letters.

        The proof is to the checkpoint `note`, one of this log's, such as a published one with its cosignatures or the
        last one of a day; by default to the newest.

        Raises `Invalid` (`no-such-entry`, `opening-parts`), `Refused` (`opening-needs-vault`, `opening-erased`) and
        `Tampered` naming entry and part when what is stored is not what was committed.
        """
        if not set(parts) <= set(LETTERS):
            raise Invalid("opening-parts", f"parts are named by letters of {LETTERS}")
        with self._moment() as head:
            size = head.size if note is None else min(read_unverified(note).size, head.size)
            note = head.note if note is None else note
            row = self._store.entry(index) if 0 <= index < size else None
            if row is None and 0 <= index < size:
                raise Tampered("entry-missing", f"entry {index} of {self.origin} is missing from the file; run fsck")
            proof = [] if row is None else inclusion_proof(index, size, self._subtree)
        if row is None:
            raise Invalid("no-such-entry", f"the log has {size} entries, there is no entry {index}")
        opening: dict[str, object] = {"origin": self.origin, "index": index, "type": row.type}
        opened = self._salted(row, parts)
        for at, letter in enumerate(LETTERS):
            stored = row.hashes[at * HASH_SIZE : (at + 1) * HASH_SIZE]
            if letter not in parts:
                opening[f"h{letter}"] = to_base64(stored)
                continue
            salt, data = opened[letter][:SALT_SIZE], opened[letter][SALT_SIZE:]
            if part_hash(letter, salt, data) != stored:
                raise _changed(self.origin, index, letter)
            opening[letter] = {"salt": to_base64(salt), "bytes": to_base64(data)}
        return opening | {"proof": to_base64(Receipt(index, tuple(proof), note).text)}

    def says(self, index: int) -> bytes:
        """Return the bytes of part A of one entry, unproved. Raises `Invalid` (`no-such-entry`)."""
        with self._moment() as head:
            row = self._store.entry(index) if 0 <= index < head.size else None
        if row is None:
            raise Invalid("no-such-entry", f"the log has {head.size} entries, there is no entry {index}")
        return row.a

    def is_closed(self) -> bool:
        """Say whether the log was closed for good."""
        with self._lock:
            return self._store.is_closed()

    def is_listed(self, index: int) -> bool:
        """Say whether an entry is neither withheld nor padding; False also where there is none."""
        with self._moment():
            row = self._store.entry(index) if index >= 0 else None
        return row is not None and row.listed

    def erased(self, index: int) -> Ground | None:
        """Return why an entry was erased, or None when it was not."""
        with self._lock:
            return self._store.erased(index)

    def resource(self, path: str, *, published: bool = False) -> Resource | None:
        """Return the file at a path under the log's prefix, or None for whatever a server must answer with 404.

        With `published` the log ends at the last checkpoint that was published: nothing newer is shown.
        """
        if path == "checkpoint":
            with self._moment() as head:
                shown = self._shown(head, published=published)
            return None if shown is None else Resource(shown[1], CHECKPOINT_TYPE, CHECKPOINT_CACHE)
        try:
            name = TileName.parse(path)
        except Invalid:
            return None
        with self._moment() as head:
            shown = self._shown(head, published=published)
            if shown is None or not is_implied(name, shown[0]):
                return None
            row = self._store.tile(name.level, name.index)
        # SPEC tlog-tiles: "Logs MUST serve partial tiles corresponding to tree sizes for which a checkpoint was
        # produced"
        if row is None or row.width < name.width:
            raise Tampered("tile-missing", f"{name.path} of {self.origin} is missing from the file; run fsck")
        return Resource(row.cut(name.width).data, TILE_TYPE, TILE_CACHE)

    def export(self, directory: Path, *, published: bool = False) -> None:
        """Bring a directory of static files up to this moment of the log, the checkpoint last.

        With `published` up to the last checkpoint that was published, with its cosignatures; without one to nothing.

        Raises `Tampered` (`export-ahead`, `export-fork`) when the directory holds a later or another history.
        """
        keys = Verifier.from_text(self.vkey) if self._keys is None else self._keys
        with self._moment() as head:
            shown = self._shown(head, published=published)
            if shown is not None:
                export_log(directory, size=shown[0], note=shown[1], keys=keys, tile=self._store.tile)

    def _shown(self, head: Head, *, published: bool) -> tuple[int, bytes] | None:
        """Return size and note of the checkpoint to show in this moment."""
        return self._store.published() if published else (head.size, head.note)

    def _salted(self, row: EntryRow, letters: str) -> dict[str, bytes]:
        """Return salt ‖ bytes of the parts that are asked for."""
        found = {"A": row.salt_a + row.a}
        if not set(letters) - {"A"}:
            return found
        if self._vault is None:
            raise Refused("opening-needs-vault", "parts D, S and P are encrypted; open the reader with the vault")
        sealed = "P" if row.p else ""
        try:
            if row.p and "P" in letters:
                found["P"] = open_actor(row, self._vault, origin=self.origin)
            sealed = "DS" if row.p else "DSP"
            if set(letters) & set(sealed):
                found |= open_body(row, self._vault, origin=self.origin, period=period_of_origin(self.origin))
        except InvalidTag as error:
            raise _changed(self.origin, row.number, "".join(sorted(set(sealed) & set(letters)))) from error
        return found

    @contextmanager
    def _moment(self) -> Generator[Head]:
        with self._lock, self._store.snapshot():
            head = self._store.head()
            if head is None:
                raise Unavailable("ledger-empty", "the ledger was not created yet; start its writer")
            yield head

    def _known_identity(self) -> Identity:
        if self._identity is None:
            with self._lock:
                self._identity = self._store.identity()
        if self._identity is None:
            raise Unavailable("ledger-empty", "the ledger was not created yet; start its writer")
        return self._identity


def _changed(origin: str, index: int, letter: str) -> Tampered:
    return Tampered("entry-changed", f"part {letter} of entry {index} of {origin} is not what was committed; run fsck")


def _checked(limit: int) -> int:
    if not 1 <= limit <= MAX_LISTED:
        raise Invalid("limit", f"a list has 1 to {MAX_LISTED} items")
    return limit
