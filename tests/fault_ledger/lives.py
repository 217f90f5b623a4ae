"""The lives of a writer, each in a fixed order of write steps, for tests that make a step fail or the writer die in it.

    python -m tests.fault_ledger.lives LIFE DIRECTORY

- `append`: opens vault and log, appends, exports, again and again.
- `turn`: closes a half-year's log and goes on in the next one, from the positions of the closed one.
- `seal`: seals two days of an epoch log that has begun.
- `forget`: carries out an order to erase, and changes the generation of keys.

What a life promised is told on stdout, a line each, by `writev`, which is not among the calls that the tests count.
Every life can be begun anew after a crash and then comes to its end: that is what the tests do.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Final

from integrator_audit import LedgerWriter
from integrator_audit.completeness.indexfile import SqliteIndex
from integrator_audit.completeness.labels import SIGNATURE_SIZE
from integrator_audit.completeness.recipients import SecretFiles
from integrator_audit.completeness.sealing import PeriodLogs, Sealer, Secrets
from integrator_audit.errors import AuditError
from integrator_audit.forgetting.erasure import Eraser, Log
from integrator_audit.forgetting.orders import SCHEMA, ErasureOrder
from integrator_audit.forgetting.register import Register
from integrator_audit.generationkeys import FileGenerationKeys
from integrator_audit.halfyear import first_day, start_of
from integrator_audit.rawlog import RawLog
from integrator_audit.sqlite import SqliteStore
from integrator_audit.stores import open_reading
from integrator_audit.vault import Vault
from tests.fault_ledger.world import EPOCHS, NEXT_ORIGIN, ORIGIN, SOURCE, World, append, entries, signer

STOPPED = 4
"""Exit code of a writer that met an error of the ledger."""
DAY: Final = first_day(53) + 140
"""The first day of the epoch log: in the second half of 2026, number 53."""
CANARY: Final = sha256(b"person 0").digest()
"""A person who has entries, and whom the order means."""
_KEPT: list[object] = []
"""What is open: a writer that stops must not close it on its way out, because closing tidies files up."""


class FixedLabels:
    """A label service with a key made beforehand, that signs nothing: the lives are about steps, not signatures."""

    def __init__(self, spki: bytes) -> None:
        self._spki = spki

    def spki(self, period: int) -> bytes:
        return self._spki

    def certificate(self, period: int) -> Sequence[bytes]:
        return ()

    def label_keys(self, period: int, people: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        return [sha256(b"label" + pseudonym).digest() * (SIGNATURE_SIZE // 32) for pseudonym, _ in people]


def promise(*words: object) -> None:
    """Tell what is durable now."""
    os.writev(1, [(" ".join(map(str, words)) + "\n").encode()])


def live_append(world: World) -> None:
    """Append and export."""
    random, (vault, ledger) = Random(7), _opened(world)
    for most in (40, 300, 3):
        done = append(ledger, random, most=most)
        promise(done.size, done.root.hex(), done.position)
        world.export()
    ledger.close()
    vault.close()


def live_turn(world: World) -> None:
    """Close the log, open the next half-year's where it ended, append there."""
    vault, ledger = _opened(world)
    if not ledger.is_closed:
        append(ledger, Random(3), most=30)
    head, positions = ledger.freeze(), ledger.positions()
    promise("closed", head.size, head.root.hex())
    following = LedgerWriter.open(
        world.next_file, origin=NEXT_ORIGIN, signer=signer(NEXT_ORIGIN), vault=vault, positions=positions
    )
    _KEPT.append(following)
    first = following.positions()[SOURCE]
    following.append(entries(first, 5), positions={SOURCE: first + 5})
    promise("next", following.size, following.root.hex())
    following.close()
    ledger.close()
    vault.close()


def live_seal(world: World) -> None:
    """Seal the days that are over."""
    sealer, close = open_sealer(world, now=start_of(DAY + 2) + 120_000)
    for leaf in sealer.seal_due():
        promise(leaf.epoch, sha256(leaf.encode()).hexdigest())
    close()


def live_forget(world: World) -> None:
    """Erase all that there is about one person, and let older backups forget it too."""
    vault = _vault(world)
    store = SqliteStore.open(world.file)
    _KEPT.append(store)
    register = Register(world.directory / "erasures.jsonl")
    eraser = Eraser([Log(ORIGIN, 0, store)], keys=vault, index=None, register=register, clock=lambda: 1_800_000_000_000)
    document = {"schema": SCHEMA, "order": "ORDER-7", "subject": base64.b64encode(CANARY).decode()}
    eraser.by_order(ErasureOrder.parse(json.dumps(document).encode()))
    promise("erased")
    eraser.finish()
    promise("finished")
    store.close()
    vault.close()


def open_sealer(world: World, *, now: int) -> tuple[Sealer, Callable[[], None]]:
    """Return a sealer of the world's epoch log at a moment, and what closes it."""
    vault = _vault(world)
    index = SqliteIndex.open(world.directory / "epochs.index.sqlite")
    epochs = RawLog.open(world.directory / "epochs.sqlite", origin=EPOCHS, signer=signer(EPOCHS))
    shard = open_reading(world.file)
    _KEPT.extend((index, epochs, shard))
    secrets = Secrets(
        vault,
        FixedLabels((world.directory / "label.spki").read_bytes()),
        SecretFiles(world.directory / "recipients"),
        spill=world.directory,
    )
    sealer = Sealer(epochs, index, logs=lambda _: PeriodLogs({0: shard}, None), secrets=secrets, clock=lambda: now)

    def close() -> None:
        for opened in (index, epochs, shard, vault):
            opened.close()

    return sealer, close


def _vault(world: World) -> Vault:
    vault = Vault.open(world.directory / "persons.sqlite", FileGenerationKeys(world.directory))
    _KEPT.append(vault)
    return vault


def _opened(world: World) -> tuple[Vault, LedgerWriter]:
    vault = _vault(world)
    ledger = world.ledger(vault)
    _KEPT.append(ledger)
    return vault, ledger


LIVES: Final[dict[str, Callable[[World], None]]] = {
    "append": live_append,
    "turn": live_turn,
    "seal": live_seal,
    "forget": live_forget,
}

if __name__ == "__main__":
    try:
        LIVES[sys.argv[1]](World(Path(sys.argv[2])))
    except AuditError as error:
        os.writev(2, [f"{error.code}\n".encode()])
        # As a crash would: nothing is closed. Closing is tried by the unit tests.
        os._exit(STOPPED)
