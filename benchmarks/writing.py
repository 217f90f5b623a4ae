"""Measures the ledger's write path: records in, durable, encrypted and checkpointed entries out, on one core.

- It is the ledger's own sequencer with its own recorder, vault and SQLite store. Only the event log is in memory: it
  makes records as they are asked for, and the time that this takes is counted out.
- Both indexes, by person and by recipient, are always on: there is no writer with one of them.
- The references run in between, every so many entries, on the entries that were written just before: plain `hashlib`
  over the same bytes in as many calls; plain insertion of the same rows into an SQLite table without an index, in
  transactions of the same size; an append of as many bytes as a commit writes to a plain file, with fsync.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sqlite3
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

from benchmarks.disclosures import Shape, knowledge, records
from integrator.domain.directory import DirectoryView, Knowledge, StandingInscription
from integrator.domain.identifiers import Position, Pseudonym
from integrator.recording.disclosures import DisclosureRecorder
from integrator.recording.sequencer import LogBatch, LogRecord, Sequencer
from integrator_audit import Entry, LedgerWriter, SetAside, Signer, Vault
from integrator_audit.checkpoint import Checkpoint
from integrator_audit.database import connect
from integrator_audit.frontier import Frontier
from integrator_audit.halfyear import period_of_origin
from integrator_audit.keystore import key_class
from integrator_audit.parts import PART_PREFIXES, check_entries
from integrator_audit.sequencer import RANDOM_SIZE, BatchKeys, sequence
from integrator_audit.sqlite import PAGE_SIZE, WAL_PAGES

ORIGIN: Final = "benchmark.example/ledger/benchmark/s0-2026h2"
LEDGER: Final = "s0.sqlite"
VAULT: Final = "persons.sqlite"
KEY: Final = bytes(32)
PLAIN_ROWS: Final = 20_000
"""Rows of each round of the references."""
SINGLE: Final = 300
"""Commits of one record each, whose latency is measured."""

Told = Callable[[float], None]
"""Hears of the share that is done."""


@dataclass(slots=True)
class Meter:
    """What was written so far, and the time that it took; times of the pauses are not in it."""

    entries: int = 0
    commits: list[float] = field(default_factory=list[float])
    """Seconds of each append."""
    paused: float = 0.0
    paused_cpu: float = 0.0
    marks: list[tuple[int, float, float]] = field(default_factory=list[tuple[int, float, float]])
    """At the end of each round: entries, seconds and CPU seconds of that round."""
    memory: dict[int, float] = field(default_factory=dict[int, float])
    """RSS in MiB at the end of a round, by entries so far."""
    last: Sequence[Entry] = ()

    @contextmanager
    def pause(self) -> Generator[None]:
        """Count out what happens inside."""
        begun, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.paused += time.perf_counter() - begun
            self.paused_cpu += time.process_time() - cpu


class _Ledger:
    """The ledger's writer, and a watch beside it."""

    def __init__(self, writer: LedgerWriter, meter: Meter) -> None:
        self._writer, self._meter = writer, meter

    def positions(self) -> Mapping[tuple[str, int], int]:
        return self._writer.positions()

    def append(
        self,
        entries: Sequence[Entry],
        *,
        positions: Mapping[tuple[str, int], int],
        set_aside: Sequence[SetAside],
        now_ms: int,
    ) -> object:
        begun = time.perf_counter()
        appended = self._writer.append(entries, positions=positions, set_aside=set_aside, now_ms=now_ms)
        self._meter.commits.append(time.perf_counter() - begun)
        self._meter.entries += len(entries)
        self._meter.last = entries
        return appended


class _Source:
    """An event log that makes its records as they are asked for, and holds a round's end in between."""

    def __init__(self, shape: Shape, meter: Meter, *, until: int, every: int, between: Callable[[], None]) -> None:
        self._records = records(shape)
        self._meter, self._until, self._every, self._between = meter, until, every, between
        self._due = every
        self.over = asyncio.Event()

    async def start(self, positions: Mapping[tuple[str, int], int]) -> None:
        """Begin: nothing was read before."""
        assert not positions

    async def fetch(self, *, wait: float, limit: int) -> LogBatch:
        """Return the next records."""
        del wait
        meter = self._meter
        with meter.pause():
            if meter.entries >= self._due:
                self._due += self._every
                self._between()
            if meter.entries >= self._until:
                self.over.set()
                return LogBatch((), {})
            found = list(islice(self._records, limit))
            return LogBatch(found, {(one.topic, one.partition): one.position + 1 for one in found})

    async def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class _View:
    """What a copy of the directory shows."""

    knowledge: Knowledge

    @property
    def position(self) -> Position:
        return Position(10)

    def inscriptions(self, people: Sequence[Pseudonym]) -> list[tuple[StandingInscription, ...]]:
        return [() for _ in people]


@dataclass(frozen=True, slots=True)
class _Directories:
    """A copy of the directory that is always far enough."""

    view: DirectoryView

    def read(self) -> AbstractContextManager[DirectoryView]:
        return nullcontext(self.view)

    async def wait_for(self, position: Position) -> None:
        del position


class References:
    """What is measured beside the ledger, on rows and entries that it just wrote."""

    def __init__(self, place: Path, *, batch: int) -> None:
        self._place, self._batch = place, batch
        self.hashing: list[float] = []
        self.inserting: list[float] = []
        self.syncing: list[float] = []
        self._plain = connect(place / "plain.sqlite", page_size=PAGE_SIZE)
        self._plain.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
        # The columns of the ledger's own table.
        self._plain.execute(
            "CREATE TABLE entry (idx INTEGER PRIMARY KEY, aid, at, marks, rid, subject, h, body, own, seal)"
        )

    def measure(self, entries: Sequence[Entry], size: int) -> None:
        """Take one round of each reference."""
        with sqlite3.connect(f"{(self._place / LEDGER).absolute().as_uri()}?mode=ro", uri=True) as ledger:
            rows = ledger.execute("SELECT * FROM entry WHERE idx >= ?", (max(0, size - PLAIN_ROWS),)).fetchall()
        ledger.close()
        self.hashing.append(_hash(entries))
        begun = time.perf_counter()
        for start in range(0, len(rows), self._batch):
            self._plain.execute("BEGIN IMMEDIATE")
            self._plain.executemany("INSERT INTO entry VALUES (?,?,?,?,?,?,?,?,?,?)", rows[start : start + self._batch])
            self._plain.execute("COMMIT")
        self.inserting.append(len(rows) / (time.perf_counter() - begun))
        self.syncing.append(_sync(self._place / "plain.bytes", os.urandom(1100 * self._batch)))

    def close(self) -> None:
        """Close the plain table and remove it."""
        self._plain.close()
        for file in self._place.glob("plain.*"):
            file.unlink()


def _hash(entries: Sequence[Entry]) -> float:
    """Return how many entries a second plain hashing takes: four parts, the commitment, a leaf and a node."""
    salt = bytes(32)
    messages = [
        data
        for entry in entries
        for data in (
            *(
                PART_PREFIXES[letter] + salt + part
                for letter, part in zip("ADSP", (entry.a, entry.d, entry.s, entry.p), strict=True)
            ),
            bytes(28 + 32 + 1 + 128),
            bytes(34),
            bytes(65),
        )
    ]
    begun = time.perf_counter()
    for message in messages:
        sha256(message).digest()
    return len(entries) / (time.perf_counter() - begun)


def _sync(path: Path, data: bytes) -> float:
    """Return how many milliseconds it takes to append bytes to a file and sync it, the middle of ten."""
    taken: list[float] = []
    with path.open("ab", buffering=0) as file:
        for _ in range(10):
            begun = time.perf_counter()
            file.write(data)
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - begun) * 1000)
    path.unlink()
    return median(taken)


def write(place: Path, entries: int, *, shape: Shape, rounds: int, told: Told) -> dict[str, Any]:
    """Fill a ledger in `place` with so many entries in `rounds` rounds, and return every figure.

    The ledger and its vault stay there. The process is pinned to one core by who calls.
    """
    # As `integrator.operation.processes` does in the ledger's process.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    meter = Meter()
    signer = Signer.generate(ORIGIN)
    vault = Vault.open(place / VAULT, KEY)
    writer = LedgerWriter.open(place / LEDGER, origin=ORIGIN, signer=signer, vault=vault)
    references = References(place, batch=1500)
    every = entries // rounds
    begun = [time.perf_counter(), time.process_time()]
    done = [0, 0.0, 0.0]

    def between() -> None:
        seconds = time.perf_counter() - begun[0] - meter.paused
        # The pause in which this runs is not counted yet, and as short as that.
        cpu = time.process_time() - begun[1] - meter.paused_cpu
        meter.marks.append((meter.entries - int(done[0]), seconds - done[1], cpu - done[2]))
        done[:] = [meter.entries, seconds, cpu]
        meter.memory[meter.entries] = resident()
        references.measure(meter.last, meter.entries)
        told(meter.entries / entries)

    source = _Source(shape, meter, until=entries, every=every, between=between)
    sequencer = Sequencer("s0", source, _Ledger(writer, meter), DisclosureRecorder(), _Directories(_View(knowledge())))
    asyncio.run(sequencer.run(source.over))
    found = _figures(meter, references)
    found["single"] = _single(writer, shape)
    found["fileBytes"] = (place / LEDGER).stat().st_size // writer.size
    found["vaultBytes"] = sum(path.stat().st_size for path in place.glob(f"{VAULT}*"))
    found["stages"] = stages(place, shape)
    writer.close()
    vault.close()
    references.close()
    return found


def _figures(meter: Meter, references: References) -> dict[str, Any]:
    rates = [count / seconds for count, seconds, _ in meter.marks]
    cpu = [count / seconds for count, _, seconds in meter.marks]
    commits = [seconds * 1000 for seconds in meter.commits]
    memory = list(meter.memory.items())
    million = min(memory, key=lambda item: abs(item[0] - 1_000_000))
    return {
        "entries": meter.entries,
        "entriesPerCommit": round(meter.entries / len(commits)),
        "perSecond": round(median(rates)),
        "least": round(min(rates)),
        "most": round(max(rates)),
        "first": round(rates[0]),
        "last": round(rates[-1]),
        "perCpuSecond": round(median(cpu)),
        "hashing": round(median(references.hashing)),
        "inserting": round(median(references.inserting)),
        "syncMs": round(median(references.syncing), 2),
        "commitMs": _percentiles(commits),
        "memoryAt": {"entries": million[0], "mib": round(million[1])},
        "memoryEnd": {"entries": memory[-1][0], "mib": round(memory[-1][1])},
        "memoryMost": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _single(writer: LedgerWriter, shape: Shape) -> dict[str, float]:
    """Return how many milliseconds a commit of one record takes: the least that a checkpoint waits for."""
    recorder, known = DisclosureRecorder(), knowledge()
    taken: list[float] = []
    for record in islice(records(Shape(shape.population, shape.seed + 1)), SINGLE):
        entries = recorder.read(record).make(known)
        begun = time.perf_counter()
        writer.append(entries)
        taken.append((time.perf_counter() - begun) * 1000)
    return _percentiles(taken)


def _percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    cuts = quantiles(milliseconds, n=100)
    return {name: round(cuts[at - 1], 2) for name, at in (("p50", 50), ("p95", 95), ("p99", 99))}


def resident() -> float:
    """Return the RSS of this process now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024 / 1024


def stages(place: Path, shape: Shape, *, count: int = 40_000) -> dict[str, float]:
    """Return microseconds of CPU for each entry in each step, taken one after the other as the writer takes them."""
    spent: dict[str, float] = {}

    @contextmanager
    def step(name: str) -> Generator[None]:
        begun = time.process_time()
        yield
        spent[name] = spent.get(name, 0.0) + time.process_time() - begun

    folder = place / "stages"
    folder.mkdir()
    signer, known, recorder = Signer.generate(ORIGIN), knowledge(), DisclosureRecorder()
    vault = Vault.open(folder / VAULT, KEY)
    writer = LedgerWriter.open(folder / LEDGER, origin=ORIGIN, signer=signer, vault=vault)
    # The same file, opened once more: it remembers as much of persons' keys as the writer's own, and no more.
    other, frontier = Vault.open(folder / VAULT, KEY), Frontier()
    classes = {years: key_class(period_of_origin(ORIGIN), years) for years in (2, 10, 20)}
    source, entries_in_all = records(Shape(shape.population, shape.seed + 2)), 0
    positions: dict[tuple[str, int], int] = {}
    for _ in range(0, count, 1_000):
        some: list[LogRecord] = list(islice(source, 1_000))
        positions |= {(one.topic, one.partition): one.position + 1 for one in some}
        with step("records read"):
            statements = [recorder.read(record) for record in some]
        with step("parts made"):
            entries = [entry for statement in statements for entry in statement.make(known)]
        with step("whole append"):
            writer.append(entries, positions=positions)
        entries_in_all += len(entries)
        # The same steps once more, without the store.
        with step("form checked"):
            check_entries(entries)
        with step("keys of persons"):
            people = other.people({(one.subject, classes[one.retention]) for one in entries if one.subject})
        random = os.urandom(RANDOM_SIZE * len(entries))
        with step("hashed, encrypted"):
            keys = BatchKeys(classes, people, ())
            rows = sequence(entries, origin=ORIGIN, first=frontier.size, keys=keys, random=random)
        with step("tiles, root, signature"):
            frontier, _ = frontier.extend(rows.leaves)
            Checkpoint(ORIGIN, frontier.size, frontier.root()).sign(signer)
    for opened in (writer, vault, other):
        opened.close()
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    parts = ("form checked", "keys of persons", "hashed, encrypted", "tiles, root, signature")
    spent["database, durable"] = spent["whole append"] - sum(spent[name] for name in parts)
    return {name: round(seconds / entries_in_all * 1e6, 1) for name, seconds in spent.items()}
