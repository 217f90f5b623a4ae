"""Measures the ledger in PostgreSQL: rows into the store, and entries through the whole ledger, beside plain COPY.

`python -m benchmarks.postgresql [--entries N] [--batch B] [--rounds R] [--database URL] [--json]`

- *plain copy*: COPY in binary of the same rows into a table without any index, in transactions of the same size, with
  psycopg. It is what driver and server cost, and nothing of a ledger.
- *store*: commits of prepared batches: lease, rows with their three indexes, statements, tiles, positions, checkpoint.
- *ledger*: `LedgerWriter.append` of prepared entries: keys from the vault, salts, hashes, encryption, tree, signature,
  commit. The vault is in PostgreSQL too; its persons have their keys.

Every line is measured once in every round, in turn, into empty tables. Without `--database` the server that the tests
use is started, with `synchronous_commit` and `fsync` on.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, Literal

import psycopg
from psycopg import sql
from rich.console import Console
from rich.table import Table

from benchmarks.machine import cpu_seconds, describe
from integrator_audit import Entry, LedgerWriter, Signer, Vault, part
from integrator_audit.checkpoint import Checkpoint
from integrator_audit.frontier import Frontier
from integrator_audit.keystore import key_class
from integrator_audit.merkle import EMPTY_ROOT
from integrator_audit.postgresql.store import ENTRY_COLUMNS, ENTRY_TYPES, PostgresStore, columns
from integrator_audit.sequencer import RANDOM_SIZE, BatchKeys, sequence
from integrator_audit.store import Batch, EntryRow, Head, Identity, consumed_digest
from tests.postgresql.server import Server

Line = Literal["copy", "store", "ledger"]
LINES: Final[tuple[Line, ...]] = ("copy", "store", "ledger")
_NAMES: Final = {"copy": "plain copy", "store": "store", "ledger": "ledger"}
PERIOD: Final = 53
PERSONS: Final = 200_000
RECIPIENTS: Final = 40
_AT: Final = 1_795_520_805_123
_PLAIN: Final = f"COPY plain ({ENTRY_COLUMNS}) FROM STDIN (FORMAT BINARY)"
_SETTINGS: Final = ("shared_buffers=1GB", "max_wal_size=8GB", "checkpoint_timeout=30min")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line, measured once. Times in seconds; CPU of this process and of the server's."""

    line: Line
    seconds: float
    cpu: float
    server_cpu: float


@dataclass(frozen=True, slots=True)
class Prepared:
    """The same entries as the ledger takes them and as the store does."""

    signer: Signer
    entries: Sequence[Sequence[Entry]]
    batches: Sequence[Batch]

    @property
    def row_bytes(self) -> float:
        """Return how many bytes of values a row has on average, its statement not counted."""
        rows = [row for batch in self.batches for row in batch.entries]
        return sum(32 + 32 + 128 + 40 + len(row.body) + len(row.p) for row in rows) / len(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table or one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--entries", type=int, default=60_000, help="in each round [60000]")
    parser.add_argument("--batch", type=int, default=2_000, help="entries in a commit [2000]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--database", default="", help="URL of an empty database; it is cleared after each round")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)

    def told(step: str) -> None:
        print(step, file=sys.stderr)

    found = measure(given.entries, batch=given.batch, rounds=given.rounds, told=told, database=given.database)
    if given.json:
        print(json.dumps(found))
    else:
        _show(found)
    return 0


def measure(
    entries: int, *, batch: int, rounds: int, told: Callable[[str], None], database: str = ""
) -> dict[str, Any]:
    """Return every figure, and on what they were measured; `main` says what the arguments mean.

    `told` hears of each step before it is taken.
    """
    machine = describe()
    with _server(database) as (url, pids):
        prepared = _prepare(url, entries, batch)
        figures: list[Figure] = []
        for number in range(rounds + 1):
            for at in range(len(LINES)):
                line = LINES[(at + number) % len(LINES)]
                told(f"round {number}: {_NAMES[line]}")
                figure = _measure(line, url, prepared, pids)
                # The first round warms up: files grow, pages are cached, the vault makes its keys.
                if number:
                    figures.append(figure)
        machine |= _versions(url)
    found = {"machine": machine, "entries": entries, "batch": batch, "rowBytes": round(prepared.row_bytes)}
    return found | {"lines": _lines(figures, entries)}


def _prepare(url: str, count: int, size: int) -> Prepared:
    signer = Signer.generate("benchmark.example/ledger/s0-2026h2")
    draw = random.Random(20_261_125)
    people = [draw.randbytes(32) for _ in range(PERSONS)]
    statements = [part("benchmark.a/v1", _statement(number)) for number in range(RECIPIENTS)]
    made = [_entry(number, draw.choice(people), statements) for number in range(count)]
    entries = [made[start : start + size] for start in range(0, count, size)]
    vault = Vault.open(url, bytes(32))
    classes = {20: key_class(PERIOD, 20)}
    frontier = Frontier()
    batches: list[Batch] = []
    for number, batch in enumerate(entries):
        keys = BatchKeys(classes, vault.people({(one.subject, classes[20]) for one in batch if one.subject}), ())
        random_bytes = os.urandom(RANDOM_SIZE * len(batch))
        sequenced = sequence(batch, origin=signer.name, first=frontier.size, keys=keys, random=random_bytes)
        previous = frontier.size
        frontier, tiles = frontier.extend(sequenced.leaves)
        positions = {("integrator.disclosures", partition): number for partition in range(8)}
        note = Checkpoint(signer.name, frontier.size, frontier.root()).sign(signer)
        head = Head(frontier.size, frontier.root(), note, consumed_digest(positions), _AT + number)
        batches.append(Batch(previous, head, sequenced.rows, tiles, positions, ()))
    vault.close()
    return Prepared(signer, entries, batches)


def _statement(number: int) -> dict[str, object]:
    fields = ["number", "birthDate", "address.street", "address.postalCode", "parents.number", "since"]
    return {
        "recipient": f"oin:agency-{number:02}",
        "provider": "oin:provider",
        "dataset": "urn:nld:oin:9:systeem:benchmark/person",
        "fields": fields,
        "purpose": {"name": "measuring", "version": 3, "legalGround": "6(1)(e)"},
        "citations": ["https://wetten.example/invented-act/article/1/2020-01-01"],
        "authorisation": {"id": f"measuring-agency-{number:02}", "version": 2},
        "date": "2026-11-24",
        "retention": 20,
    }


def _entry(number: int, subject: bytes, statements: Sequence[bytes]) -> Entry:
    d: dict[str, object] = {
        "at": "2026-11-24T11:46:45.123Z",
        "topic": f"agency.agency-{number % RECIPIENTS:02}.measuring.benchmark.person",
        "partition": number % 8,
        "lane": number % 4,
        "sequence": number,
        "source": {"topic": "source.benchmark.person", "partition": number % 8, "position": number * 3},
        "eventId": f"0b3f0a6e-5f3c-8a5e-9d0a-{number:012x}",
        "kind": "changed",
        "directoryPosition": 4711,
        "engine": "python-1",
        "valueSha256": subject.hex(),
    }
    s: dict[str, object] = {"pseudonym": subject.hex(), "keyVersion": 1, "role": "subject", "at": d["at"]}
    recipient = number % RECIPIENTS
    return Entry(
        0x01,
        statements[recipient],
        part("benchmark.d/v1", d),
        part("benchmark.s/v1", s),
        b"",
        subject,
        recipient=f"agency-{recipient:02}",
        at=_AT + number,
    )


def _measure(line: Line, url: str, prepared: Prepared, pids: Server | None) -> Figure:
    if line == "ledger":
        vault = Vault.open(url, bytes(32))
        ledger = LedgerWriter.open(url, origin=prepared.signer.name, signer=prepared.signer, vault=vault)
        with _watch(line, pids) as figures:
            for number, entries in enumerate(prepared.entries):
                ledger.append(entries, positions={("integrator.disclosures", 0): number})
        ledger.close()
        vault.close()
    else:
        store = PostgresStore.open(url, origin=prepared.signer.name)
        head = Head(0, EMPTY_ROOT, b"", consumed_digest({}), 0)
        store.create(Identity(prepared.signer.name, prepared.signer.vkey), head, {})
        if line == "store":
            with _watch(line, pids) as figures:
                for batch in prepared.batches:
                    store.commit(batch)
        else:
            store.session.run("CREATE TABLE plain (LIKE entry)")
            rows = [_plain(batch.entries) for batch in prepared.batches]
            with _watch(line, pids) as figures:
                for chunk in rows:
                    with store.session.transaction():
                        store.session.copy(_PLAIN, ENTRY_TYPES, chunk)
        store.close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier("ledger_s0_2026h2")))
        connection.execute("CHECKPOINT")
    return figures[0]


def _plain(rows: Sequence[EntryRow]) -> list[tuple[object, ...]]:
    statements = {row.a: number for number, row in enumerate(rows)}
    recipients = {row.recipient: number for number, row in enumerate(rows)}
    return list(columns(rows, statements, recipients))


@contextmanager
def _watch(line: Line, server: Server | None) -> Generator[list[Figure]]:
    figures: list[Figure] = []
    own = [os.getpid()]
    others = [] if server is None else server.processes()
    cpu, server_cpu, begun = cpu_seconds(own), cpu_seconds(others), time.perf_counter()
    yield figures
    seconds = time.perf_counter() - begun
    figures.append(Figure(line, seconds, cpu_seconds(own) - cpu, cpu_seconds(others) - server_cpu))


@contextmanager
def _server(url: str) -> Generator[tuple[str, Server | None]]:
    if url:
        yield url, None
        return
    server = Server(*_SETTINGS)
    try:
        server.start()
        yield server.url(), server
    finally:
        server.remove()


def _versions(url: str) -> dict[str, str | int]:
    with psycopg.connect(url) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    return {"postgresql": str(row[0]) if row else "unknown", "psycopg": psycopg.__version__}


def _lines(figures: Sequence[Figure], count: int) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for line in LINES:
        mine = [figure for figure in figures if figure.line == line]
        rates = [count / figure.seconds for figure in mine]
        found[line] = {
            "rowsPerSecond": round(median(rates)),
            "least": round(min(rates)),
            "most": round(max(rates)),
            "cpuMicros": round(median(figure.cpu for figure in mine) / count * 1e6, 1),
            "serverCpuMicros": round(median(figure.server_cpu for figure in mine) / count * 1e6, 1),
        }
    return found


def _show(found: dict[str, Any]) -> None:
    lines = found["lines"]
    table = Table("line", "rows/s", "least - most", "CPU µs/row", "server CPU µs/row", "of plain copy")
    for line in LINES:
        one = lines[line]
        share = one["rowsPerSecond"] / lines["copy"]["rowsPerSecond"]
        between = f"{one['least']:,} - {one['most']:,}"
        micros = (str(one["cpuMicros"]), str(one["serverCpuMicros"]))
        table.add_row(_NAMES[line], f"{one['rowsPerSecond']:,}", between, *micros, f"{share:.0%}")
    console = Console()
    size = f"{found['entries']:,} entries in commits of {found['batch']:,}"
    console.print(f"{size}, {found['rowBytes']} bytes of values a row")
    console.print(table)
    console.print(" · ".join(f"{name} {value}" for name, value in found["machine"].items()))


if __name__ == "__main__":
    sys.exit(main())
