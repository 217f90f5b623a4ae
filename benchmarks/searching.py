"""Measures search in a ledger of many entries beside plain SQLite indexes over the same rows.

    python -m benchmarks.searching [--entries N] [--runs R] [--json]

A synthetic log with the shape of a half-year: about 300 ways to disclose, used unequally, some only at its beginning,
one hour after the other, about 450 bytes in a row that search does not read. The rows are made, indexed in blocks, and
asked; then the same rows with a column and an index for each member, which is what one would do without blocks.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe
from integrator_audit import part
from integrator_audit.searching.blocks import IndexFile
from integrator_audit.searching.counts import count
from integrator_audit.searching.log import HOUR_MS
from integrator_audit.searching.query import LogSearch, Question
from integrator_audit.searching.terms import Overlapping, among

FIRST_HOUR: Final = 490_000
HOURS: Final = 180 * 24
WAYS: Final = 300
PAGE: Final = 25
MEMBERS: Final = ("recipient", "purpose", "stream", "authorisation")


@dataclass(frozen=True, slots=True)
class Way:
    """A way to disclose: what part A says beside the day, and in which part of the log it is used."""

    recipient: str
    purpose: str
    stream: str
    authorisation: str
    fields: tuple[str, ...]
    until: float

    def statement(self, day: int) -> bytes:
        return part(
            "dienstenintegrator/accountability/v1",
            {
                "recipient": self.recipient,
                "provider": self.stream.partition("/")[0],
                "stream": self.stream,
                "fields": list(self.fields),
                "purpose": self.purpose,
                "purposeVersion": 1,
                "basis": [f"NL, Act {self.purpose}, art. 1", f"NL, Act {self.recipient}, art. 7"],
                "authorisation": self.authorisation,
                "version": 1,
                "date": time.strftime("%Y-%m-%d", time.gmtime((FIRST_HOUR + day * 24) * 3600)),
            },
        )


def ways(rng: random.Random) -> list[Way]:
    """Return the ways to disclose, the most used first."""
    return [
        Way(
            recipient=f"agency-{number % 60}",
            purpose=f"purpose-{rng.randrange(120)}",
            stream=f"source-{number % 8}/stream-{number % 40}",
            authorisation=f"authorisation-{number}",
            fields=tuple(sorted(rng.sample([f"part{at % 6}.field{at}" for at in range(40)], rng.randint(1, 8)))),
            until=1.0 if number % 10 else 0.2,
        )
        for number in range(WAYS)
    ]


class StoredLog:
    """A log as search reads it, over one SQLite file with rows as wide as those of a ledger."""

    origin = "benchmark.example/ledger/benchmark/s0-2025h2"

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=OFF")
        self.connection.execute("PRAGMA cache_size=-200000")
        self._size = 0

    def fill(self, entries: int, told: Sequence[Way], rng: random.Random, *, padding: int) -> None:
        """Make the rows."""
        execute = self.connection.execute
        execute("CREATE TABLE entry (idx INTEGER PRIMARY KEY, aid INTEGER, at INTEGER, sid INTEGER, body BLOB)")
        execute("CREATE TABLE statement (aid INTEGER PRIMARY KEY, bytes BLOB)")
        weights = [1 / (rank + 1) ** 1.1 for rank in range(len(told))]
        statements: dict[tuple[int, int], int] = {}
        body = random.Random(1).randbytes(padding)
        for start in range(0, entries, 50_000):
            stop = min(start + 50_000, entries)
            chosen = rng.choices(range(len(told)), weights, k=stop - start)
            rows: list[tuple[int, int, int, int, bytes]] = []
            for index, way in enumerate(chosen, start):
                share = index / entries
                used = way if share < told[way].until else 1
                hour = max(int(share * HOURS) - (rng.random() < 0.05), 0)
                key = (used, hour // 24)
                number = statements.get(key)
                if number is None:
                    number = statements[key] = len(statements) + 1
                    execute("INSERT INTO statement VALUES (?, ?)", (number, told[used].statement(hour // 24)))
                at = (FIRST_HOUR + hour) * HOUR_MS + rng.randrange(HOUR_MS)
                rows.append((index, number, at, rng.randrange(1, 2_000_000), body))
            with self.connection:
                execute("BEGIN")
                self.connection.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?)", rows)
        self._size = entries

    @property
    def size(self) -> int:
        return self._size

    def rows(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        return self.connection.execute("SELECT idx, aid, at FROM entry WHERE idx >= ? AND idx < ?", (start, stop))

    def unlisted_between(self, start: int, stop: int) -> range:
        return range(start, stop)[:0]

    def erased_between(self, start: int, stop: int) -> int:
        return len(self.unlisted_between(start, stop))

    def persons_between(self, start: int, stop: int) -> Iterator[tuple[bytes, list[int]]]:
        found: dict[int, list[int]] = {}
        for number, sid in self.connection.execute(
            "SELECT idx, sid FROM entry WHERE idx >= ? AND idx < ?", (start, stop)
        ):
            found.setdefault(sid, []).append(number)
        return ((b"%d" % sid, numbers) for sid, numbers in found.items())

    def statement(self, number: int) -> bytes:
        return self.connection.execute("SELECT bytes FROM statement WHERE aid = ?", (number,)).fetchone()[0]

    def subtree(self, height: int, index: int) -> bytes:
        return sha256(b"%d %d" % (height, index)).digest()

    def persons(self, indices: Sequence[int]) -> set[bytes]:
        return {sha256(b"%d" % index).digest() for index in indices}


class Plain:
    """The reference: a column and an index for each member, asked with SQL."""

    def __init__(self, log: StoredLog) -> None:
        self._connection = log.connection

    def build(self) -> None:
        execute = self._connection.execute
        columns = ", ".join(f"json_extract(bytes, '$.{member}') AS {member}" for member in MEMBERS)
        columns += ", json_extract(bytes, '$.fields') AS fields"
        execute(f"CREATE TEMP TABLE said AS SELECT aid, {columns} FROM statement")
        execute("CREATE UNIQUE INDEX temp.said_aid ON said (aid)")
        names = ", ".join(MEMBERS)
        execute(f"CREATE TABLE plain (idx INTEGER PRIMARY KEY, hour INTEGER, fields TEXT, {', '.join(MEMBERS)})")
        execute(f"INSERT INTO plain SELECT idx, at / {HOUR_MS}, fields, {names} FROM entry JOIN said USING (aid)")
        for member in (*MEMBERS, "hour"):
            execute(f"CREATE INDEX plain_{member} ON plain ({member}, idx)")
        execute("ANALYZE plain")

    def find(self, where: str, values: Sequence[object], limit: int) -> int:
        query = f"SELECT idx FROM plain WHERE {where} ORDER BY idx DESC LIMIT {limit}"
        return len(self._connection.execute(query, tuple(values)).fetchall())


@dataclass(frozen=True, slots=True)
class Line:
    """One sort of question, and the same for the reference."""

    name: str
    question: Callable[[random.Random], tuple[Question, str, list[object]]]
    limit: int = PAGE


def lines(told: Sequence[Way]) -> list[Line]:
    """Return the sorts of questions."""

    def one(rng: random.Random) -> Way:
        return told[rng.randrange(len(told))]

    def everything(_: random.Random) -> tuple[Question, str, list[object]]:
        return Question(), "1", []

    def recipient(rng: random.Random) -> tuple[Question, str, list[object]]:
        name = one(rng).recipient
        return Question([[among("recipient", name)]]), "recipient = ?", [name]

    def rare(rng: random.Random) -> tuple[Question, str, list[object]]:
        way = told[rng.randrange(WAYS // 2, WAYS)]
        values = [way.recipient, way.purpose, way.authorisation]
        names = ("recipient", "purpose", "authorisation")
        conditions = [among(name, value) for name, value in zip(names, values, strict=True)]
        return Question([conditions]), " AND ".join(f"{name} = ?" for name in names), list(values)

    def nothing(rng: random.Random) -> tuple[Question, str, list[object]]:
        pairs = {(way.recipient, way.stream) for way in told}
        while True:
            way, other = one(rng), one(rng)
            if (way.recipient, other.stream) not in pairs:
                break
        conditions = [among("recipient", way.recipient), among("stream", other.stream)]
        return Question([conditions]), "recipient = ? AND stream = ?", [way.recipient, other.stream]

    def retired(rng: random.Random) -> tuple[Question, str, list[object]]:
        way = rng.choice([way for way in told if way.until < 1])
        return Question([[among("authorisation", way.authorisation)]]), "authorisation = ?", [way.authorisation]

    def an_hour(rng: random.Random) -> tuple[Question, str, list[object]]:
        way, hour = one(rng), FIRST_HOUR + rng.randrange(HOURS)
        question = Question([[among("recipient", way.recipient)]], hours=(hour, hour + 1))
        return question, "recipient = ? AND hour = ?", [way.recipient, hour]

    def a_field(rng: random.Random) -> tuple[Question, str, list[object]]:
        way = one(rng)
        field, purpose = rng.choice(way.fields), one(rng).purpose
        question = Question([[Overlapping("fields", field), among("purpose", purpose)]])
        return question, "purpose = ? AND instr(fields, ?)", [purpose, f'"{field}"']

    return [
        Line("everything", everything),
        Line("everything, a thousand", everything, 1000),
        Line("one recipient", recipient),
        Line("one recipient, a thousand", recipient, 1000),
        Line("a rare authorisation", rare),
        Line("a rare one, a thousand", rare, 1000),
        Line("ended months ago", retired),
        Line("never together: no answer", nothing),
        Line("one recipient, one hour", an_hour),
        Line("a field for a purpose", a_field),
    ]


def measure(entries: int, runs: int, folder: Path, *, padding: int, reference: bool) -> dict[str, Any]:
    """Return every figure."""
    rng = random.Random(7)
    told = ways(rng)
    log = StoredLog(folder / "log.sqlite")
    log.fill(entries, told, rng, padding=padding)
    begun = time.perf_counter()
    index = IndexFile.open(folder / "search.sqlite")
    indexed = index.update(log)
    index.close()
    building = time.perf_counter() - begun
    search, plain = LogSearch(log, folder / "search.sqlite"), Plain(log)
    begun = time.perf_counter()
    search.find(Question(), limit=1)
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    if reference:
        plain.build()
    found: dict[str, Any] = {
        "entries": entries,
        "indexed": indexed,
        "indexedPerSecond": round(indexed / building),
        "indexBytes": (folder / "search.sqlite").stat().st_size,
        "firstAnswerMs": round(first * 1000, 1),
        "referenceSeconds": round(time.perf_counter() - begun, 1) if reference else None,
        "lines": {line.name: _line(line, search, plain if reference else None, runs) for line in lines(told)},
    }
    for name, by, step in (
        ("counts by recipient and purpose, all", ["recipient", "purpose"], "all"),
        ("counts by recipient, by month", ["recipient"], "month"),
    ):
        begun = time.perf_counter()
        count([search], Question(), by=by, step=step)  # type: ignore[arg-type]
        found["lines"][name] = {"p50": round((time.perf_counter() - begun) * 1000, 2)}
    return found


def _line(line: Line, search: LogSearch, plain: Plain | None, runs: int) -> dict[str, Any]:
    rng = random.Random(line.name)
    ours: list[float] = []
    theirs: list[float] = []
    total = 0
    for _ in range(runs):
        question, where, values = line.question(rng)
        begun = time.perf_counter()
        found = len(search.find(question, limit=line.limit))
        ours.append(time.perf_counter() - begun)
        total += found
        if plain is not None:
            begun = time.perf_counter()
            expected = plain.find(where, values, line.limit)
            theirs.append(time.perf_counter() - begun)
            if found != expected:
                raise SystemExit(f"{line.name}: search found {found}, the reference {expected}: {values}")
    return {"found": round(total / runs, 1), **_shape(ours, ""), **(_shape(theirs, "reference") if theirs else {})}


def _shape(seconds: Sequence[float], prefix: str) -> dict[str, float]:
    cuts = quantiles(seconds, n=100)
    names = [f"{prefix}{name}" if not prefix else f"{prefix}{name.upper()}" for name in ("p50", "p95", "p99")]
    return {name: round(cuts[at - 1] * 1000, 2) for name, at in zip(names, (50, 95, 99), strict=True)}


def main(arguments: Sequence[str]) -> None:
    """Measure and tell."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.searching", description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--padding", type=int, default=450, help="bytes of a row that search does not read")
    parser.add_argument("--no-reference", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    machine = describe()
    with tempfile.TemporaryDirectory(prefix="searching-") as folder:
        found = measure(
            given.entries, given.runs, Path(folder), padding=given.padding, reference=not given.no_reference
        ) | {"machine": machine}
    if given.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    console = Console()
    table = Table(title=f"{found['entries']:,} entries; milliseconds", title_justify="left", box=None)
    for column in ("question", "found", "p50", "p95", "p99", "reference p50", "p95", "p99"):
        table.add_column(column, justify="left" if column == "question" else "right")
    for name, line in found["lines"].items():
        keys = ("found", "p50", "p95", "p99", "referenceP50", "referenceP95", "referenceP99")
        table.add_row(name, *(str(line.get(key, "")) for key in keys))
    console.print(table)
    console.print(
        f"{found['indexedPerSecond']:,} entries/s indexed in blocks, "
        f"{found['indexBytes'] / found['entries']:.1f} bytes an entry; "
        f"first answer of a new process {found['firstAnswerMs']} ms; reference built in {found['referenceSeconds']} s. "
        f"{machine['cpu']}, load before {machine['loadBefore']}.",
        highlight=False,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
