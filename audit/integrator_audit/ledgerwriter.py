"""The ledger's one writer: entries in, durable and checkpointed entries out.

A commit goes: new keys, if it needs any, durable in the vault → rows, tiles and root in memory → checkpoint signed →
ONE transaction with entries, indexes, tiles, positions and checkpoint → the signature is released.

| crash or failure                        | on disk                          | recovery                               |
|-----------------------------------------|----------------------------------|----------------------------------------|
| before the vault's commit               | nothing                          | the caller appends again               |
| between the vault's commit and ours     | keys without entries             | the same; a person's serve later ones  |
| a key is destroyed between the two      | nothing                          | the batch is sealed anew under new keys|
| our transaction failed, not persisted   | the former log                   | `open`: positions are the former       |
| our transaction failed, yet persisted   | the new log                      | `open`: positions are the new          |
| after our transaction                   | the new log                      | `open`                                 |

After a transaction of unknown outcome the ledger refuses all work until it is opened anew: start and recovery are the
same code (`writer`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

from integrator_audit.checkpoint import LogSigner
from integrator_audit.errors import Busy, Invalid
from integrator_audit.halfyear import period_of_origin
from integrator_audit.keystore import KeyStore, key_class
from integrator_audit.parts import Entry, check_entries
from integrator_audit.sequencer import RANDOM_SIZE, BatchKeys, Sequenced, needs_entry_key, sequence
from integrator_audit.store import KEYS_MOVED, Erasure, Head, Kind, SetAside, Store
from integrator_audit.stores import open_store
from integrator_audit.writer import MAX_BATCH, Appended, LogWriter, check_name

__all__ = ["MAX_BATCH", "Appended", "LedgerWriter"]

ATTEMPTS: Final = 10
"""How often a batch is sealed anew when keys are destroyed meanwhile."""


class LedgerWriter(LogWriter):
    """The writer of one log of entries. Calls from several threads are taken one after the other."""

    KIND: ClassVar[Kind] = "entries"

    def __init__(
        self,
        store: Store,
        *,
        signer: LogSigner,
        vault: KeyStore,
        positions: Mapping[tuple[str, int], int] | None = None,
    ) -> None:
        """Use `open` instead; this takes a store that is already open, and recovers from it.

        Raises as `open` does.
        """
        super().__init__(store, signer=signer, positions=positions)
        self._vault = vault
        self._period = period_of_origin(signer.name)

    @classmethod
    def open(
        cls,
        place: Path | str,
        *,
        origin: str,
        signer: LogSigner,
        vault: KeyStore,
        positions: Mapping[tuple[str, int], int] | None = None,
    ) -> LedgerWriter:
        """Open the log at `place` (the path of a file, or a `postgresql://` URL), or create it.

        A new log begins to read its sources at `positions`, those with which the log before it was closed; a log that
        is there already keeps its own.

        Raises `Refused` (`ledger-origin`: the key does not have the origin's name; `ledger-other-key`: the file is of
        another log or key), `Tampered` (the file does not agree with itself), `Unavailable` (it cannot be opened).
        """
        check_name(signer, origin)
        store = open_store(place, origin=origin)
        try:
            return cls(store, signer=signer, vault=vault, positions=positions)
        except BaseException:
            store.close()
            raise

    def append(
        self,
        entries: Sequence[Entry],
        *,
        positions: Mapping[tuple[str, int], int] | None = None,
        set_aside: Sequence[SetAside] = (),
        now_ms: int | None = None,
    ) -> Appended:
        """Append entries together with the positions up to which their sources are consumed.

        `now_ms` is the commit's time in milliseconds since 1970, by default the clock's.

        When this returns, all of it is durable. When it raises `Invalid`, `Refused` (`ledger-position-back`,
        `ledger-clock-back`) or an error whose code starts with `vault-`, nothing is, and the ledger goes on. After any
        other error the outcome is unknown: close the ledger, open it, look at `positions`. Without entries, positions
        move and the signed checkpoint stays.
        """
        if len(entries) > MAX_BATCH:
            raise Invalid("ledger-batch", f"a batch has at most {MAX_BATCH} entries")
        entries = list(entries)
        check_entries(entries)
        with self._working():
            at = self._time(now_ms)
            self._advanced(positions or {})
            sequenced, head = self._seal_and_extend(entries, positions or {}, set_aside, at)
        return Appended(sequenced.indices, head.size, head.root, head.note, head.at)

    def _seal_and_extend(
        self,
        entries: list[Entry],
        positions: Mapping[tuple[str, int], int],
        set_aside: Sequence[SetAside],
        at: int,
        attempts: int = ATTEMPTS,
    ) -> tuple[Sequenced, Head]:
        """Seal and commit; once more when somebody's key was destroyed in between, and so nothing was written."""
        destructions = self._vault.destructions()
        classes = {years: key_class(self._period, years) for years in {entry.retention for entry in entries}}
        keys = BatchKeys(
            classes,
            self._vault.people({(one.subject, classes[one.retention]) for one in entries if one.subject}),
            self._vault.entry_keys(sum(map(needs_entry_key, entries))),
        )
        sequenced = sequence(
            entries,
            origin=self._signer.name,
            first=self._head.size,
            keys=keys,
            random=os.urandom(RANDOM_SIZE * len(entries)),
        )
        try:
            head = self._extend(
                sequenced.leaves,
                sequenced.rows,
                positions=positions,
                set_aside=set_aside,
                still_valid=lambda: self._vault.destructions() == destructions,
                at=at,
            )
        except Busy as error:
            if error.code != KEYS_MOVED or attempts == 1:
                raise
            return self._seal_and_extend(entries, positions, set_aside, at, attempts - 1)
        return sequenced, head

    def erase(self, erasures: Sequence[Erasure]) -> None:
        """Erase bodies, actors, moments and persons of entries; their hashes and the grounds stay.

        Destroy the keys in the vault first: a crash between the two then leaves bodies that nobody can open, and the
        same erasures finish them. Raises `Invalid` (`no-such-entry`).
        """
        with self._working():
            self._store.erase(erasures)
