"""Measures the sealing of one day: so many entries, about so many persons, in one shard with SQLite, on one core.

- The day is made beforehand, row by row, in the tables that a sealing reads; entries themselves are not there. Label
  keys of all persons are in the vault already: making them is the signing service's time, once a half-year.
- Two references run beside it: plain `hashlib` over as many bytes in as many calls as the day's leaves, nodes, labels
  and lists need, and plain insertion of the same rows (label, salt, list) in label order into an empty SQLite table.
"""

from __future__ import annotations

import os
import random
import resource
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice, repeat
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

from integrator_audit import Signer, Vault
from integrator_audit.checkpoint import Checkpoint
from integrator_audit.completeness.index import Trie
from integrator_audit.completeness.indexfile import SqliteIndex
from integrator_audit.completeness.labels import FileUniqueSigner
from integrator_audit.completeness.pages import find, leaves_of
from integrator_audit.completeness.recipients import SecretFiles
from integrator_audit.completeness.sealing import SETTLING_MS, PeriodLogs, Sealer, Secrets
from integrator_audit.halfyear import DAY_MS, first_day, start_of
from integrator_audit.merkle import EMPTY_ROOT
from integrator_audit.rawlog import RawLog
from integrator_audit.sqlite import SqliteStore
from integrator_audit.sqlitereading import pack_list
from integrator_audit.store import BLOCK_BITS, Batch, Head, Identity, consumed_digest
from integrator_audit.stores import open_reading

ORIGIN: Final = "demo.integrator.example/ledger/benchmark"
PERIOD: Final = 53
_DAY: Final = first_day(PERIOD)
_Y_SIZE: Final = 384
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Sealing:
    """What sealing one day took. Times in seconds; `cpu` is of this process; `memory` is its largest RSS in MiB.

    `memory_before` is the RSS with the day made and nothing sealed. `hashing` and `inserting` are the references.
    `proof_p50` and `proof_p95` are milliseconds for the day's answer at a label; half of those asked for are listed.
    """

    entries: int
    persons: int
    recipients: int
    seconds: float
    cpu: float
    memory_before: float
    memory: float
    index_bytes: int
    hashing: float
    inserting: float
    proof_p50: float
    proof_p95: float


class _Service:
    """A label service that has nothing left to sign."""

    def __init__(self) -> None:
        self._signer = FileUniqueSigner.generate()

    def spki(self, _period: int) -> bytes:
        return self._signer.spki

    def certificate(self, _period: int) -> Sequence[bytes]:
        return ()

    def label_keys(self, period: int, people: Sequence[tuple[bytes, bytes]]) -> Sequence[bytes]:
        raise AssertionError(f"{len(people)} persons have no label key, period {period}")


def run(entries: int, *, persons: int, recipients: int = 300, directory: Path | None = None) -> Sealing:
    """Make a day in `directory` (default: a temporary one), seal it, and return what that took.

    Making and sealing are processes of their own, so that the memory of one is not taken for that of the other.
    """
    context = get_context("spawn")
    with TemporaryDirectory(dir=directory) as name:
        with ProcessPoolExecutor(1, mp_context=context) as making:
            making.submit(_make_day, Path(name), entries, persons=persons, recipients=recipients).result()
        with ProcessPoolExecutor(1, mp_context=context) as sealing:
            return sealing.submit(_seal, Path(name), entries, persons=persons, recipients=recipients).result()


def _seal(place: Path, entries: int, *, persons: int, recipients: int) -> Sealing:
    vault = Vault.open(place / "persons.sqlite", bytes(32))
    index = SqliteIndex.open(place / "epochs.index.sqlite")
    origin = f"{ORIGIN}/epochs"
    epochs = RawLog.open(place / "epochs.sqlite", origin=origin, signer=Signer.generate(origin))
    shard = open_reading(place / "s0.sqlite")
    moment = start_of(_DAY)
    sealer = Sealer(
        epochs,
        index,
        logs=lambda _: PeriodLogs({0: shard}, None),
        secrets=Secrets(vault, _Service(), SecretFiles(place / "recipients"), spill=place),
        clock=lambda: moment,
    )
    sealer.begin()
    moment += DAY_MS + SETTLING_MS
    before = _memory()
    started, cpu = time.perf_counter(), time.process_time()
    leaf = sealer.seal(_DAY)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    memory = _memory()
    assert (leaf.listed, leaf.unlisted) == (entries, 0)
    size = sum(path.stat().st_size for path in place.glob("epochs.index.sqlite*"))
    proofs = sorted(_prove(index))
    inserting = _insert(place, index)
    for opened in (index, epochs, vault, shard):
        opened.close()
    hashing = _hash(entries, persons)
    p50, p95 = proofs[len(proofs) // 2], proofs[len(proofs) * 95 // 100]
    return Sealing(entries, persons, recipients, seconds, cpu, before, memory, size, hashing, inserting, p50, p95)


def _memory() -> float:
    """Return the largest RSS of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _make_day(place: Path, entries: int, *, persons: int, recipients: int) -> None:
    """Write the tables of a shard and of the vault that sealing reads."""
    signer = Signer.generate(f"{ORIGIN}/s0-2026h2")
    store = SqliteStore.open(place / "s0.sqlite")
    consumed = consumed_digest({})
    note = Checkpoint(signer.name, 0, EMPTY_ROOT).sign(signer)
    store.create(Identity(signer.name, signer.vkey, "entries"), Head(0, EMPTY_ROOT, note, consumed, 0), {})
    connection = store.connection
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO recipient VALUES (?, ?, 0)", [(number, f"agency-{number}") for number in range(recipients)]
    )
    drawn = random.Random(entries)
    known = [drawn.randbytes(32) for _ in range(persons)]
    for start in range(0, entries, 1 << BLOCK_BITS):
        block = start >> BLOCK_BITS
        indices = range(start, min(start + (1 << BLOCK_BITS), entries))
        subjects = [known[index % persons if index < persons else drawn.randrange(persons)] for index in indices]
        store.persons.add(list(zip(subjects, indices, strict=True)), last=indices[-1])
        lists: dict[int, list[int]] = {}
        for index in indices:
            lists.setdefault(drawn.randrange(recipients), []).append(index)
        connection.executemany(
            "INSERT INTO by_recipient VALUES (?, ?, ?, ?)",
            ((block, number, to[0], pack_list(to)) for number, to in sorted(lists.items())),
        )
    connection.execute("COMMIT")
    note = Checkpoint(signer.name, entries, bytes(32)).sign(signer)
    store.commit(Batch(0, Head(entries, bytes(32), note, consumed, start_of(_DAY) + 1), (), (), {}, ()))
    store.close()
    vault = Vault.open(place / "persons.sqlite", bytes(32))
    known.sort()
    for chunk in _chunks(known):
        vault.keep_labels({person: person * (_Y_SIZE // 32) for person in chunk}, PERIOD)
    vault.close()


def _hash(entries: int, persons: int) -> float:
    """Return how long plain hashing takes: of lists, leaves and nodes of the trie, of labels and of their keys."""
    # A list has 10 bytes for each entry; a trie of n random labels has 1.44 n nodes; a label is two hashes.
    lists, leaves, nodes = (64 + 10 * entries // persons, persons), (65, persons), (65, int(1.44 * persons))
    sizes = (lists, leaves, nodes, (96, 2 * persons), (32 + _Y_SIZE, persons))
    started = time.perf_counter()
    for size, count in sizes:
        data = os.urandom(size)
        for _ in repeat(None, count):
            sha256(data).digest()
    return time.perf_counter() - started


def _prove(index: SqliteIndex) -> Iterator[float]:
    """Yield how many milliseconds each of a thousand answers took."""
    drawn = random.Random(1)
    for number in range(1_000):
        label = drawn.randbytes(32)
        if number % 2:
            # The leaf at which another label's way ends is somebody's.
            end = find(index, _DAY, Trie.PERSONS, label).end
            label = label if end is None else end.label
        started = time.perf_counter()
        find(index, _DAY, Trie.PERSONS, label)
        yield (time.perf_counter() - started) * 1000


def _insert(place: Path, index: SqliteIndex) -> float:
    """Return how long it takes to insert the day's rows into a plain table, one row for each leaf."""
    rows = ((leaf.label, leaf.salt, leaf.places) for leaf in leaves_of(index, _DAY, Trie.PERSONS))
    connection = sqlite3.connect(place / "plain.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE leaf (label BLOB PRIMARY KEY, salt BLOB, list BLOB) WITHOUT ROWID")
    spent = 0.0
    for chunk in _chunks(rows):
        started = time.perf_counter()
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO leaf VALUES (?, ?, ?)", chunk)
        connection.execute("COMMIT")
        spent += time.perf_counter() - started
    connection.close()
    return spent


def _chunks(items: Iterator[_Item] | Sequence[_Item]) -> Iterator[list[_Item]]:
    source = iter(items)
    while chunk := list(islice(source, 50_000)):
        yield chunk
