"""Measures reading from a ledger that `benchmarks.writing` filled: proofs, openings, a person's disclosures.

- What is measured is the library: bodies are decrypted, parts are compared with their hashes, proofs are made from the
  tiles. HTTP and the network are not in it.
- Every answer is verified afterwards as its receiver would, outside the measured time.
- The reference is plain SQLite: the same tiles and rows selected by their primary key, and a person's by a plain index
  over all of them, with nothing decrypted and nothing proved.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, quantiles
from typing import Any, Final

from benchmarks.disclosures import pseudonym_of
from benchmarks.writing import KEY, LEDGER, VAULT, Told
from integrator_audit import LedgerReader, Vault, Verifier, verify_opening
from integrator_audit.sqlitereading import SqliteReading

WARM: Final = 50
"""Answers before those that count."""


def read(place: Path, *, population: int, runs: int, told: Told) -> dict[str, Any]:
    """Ask the ledger in `place` and return every figure, in milliseconds."""
    drawn = random.Random(11)
    with sqlite3.connect(place / "plain-index.sqlite") as plain:
        _index(plain, place / LEDGER)
        told(0.4)
        found = _openings(place, drawn, runs, plain)
        told(0.6)
        found |= _persons(place, drawn, population, runs, plain)
    plain.close()
    (place / "plain-index.sqlite").unlink()
    told(1)
    return found


def _index(plain: sqlite3.Connection, ledger: Path) -> None:
    """Make a plain index by person over the whole log, in the order of its key."""
    plain.execute("PRAGMA journal_mode=OFF")
    plain.execute("PRAGMA synchronous=OFF")
    plain.execute("CREATE TABLE by_person (subject BLOB, idx INTEGER, PRIMARY KEY (subject, idx)) WITHOUT ROWID")
    reading = SqliteReading.read_only(ledger)
    (size,) = reading.connection.execute("SELECT max(size) FROM checkpoint").fetchone()
    persons = reading.persons_between(0, size)
    plain.executemany(
        "INSERT INTO by_person VALUES (?, ?)", ((person, index) for person, indices in persons for index in indices)
    )
    reading.close()
    plain.commit()
    plain.execute("ATTACH ? AS log", (str(ledger),))


def _openings(place: Path, drawn: random.Random, runs: int, plain: sqlite3.Connection) -> dict[str, Any]:
    """Time openings of no part, which are proofs, and of A and S."""
    vault = Vault.read_only(place / VAULT, KEY)
    reader = LedgerReader.open(place / LEDGER, vault=vault)
    verifier, size = Verifier.from_text(reader.vkey), reader.size
    found: dict[str, Any] = {}
    for name, parts in (("proof", ""), ("opening", "AS")):
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(WARM + runs):
            index = drawn.randrange(size)
            seconds, opening = _timed(partial(reader.opening, index, parts))
            verify_opening(opening, verifier)
            plainly, rows = _timed(partial(_rows, plain, [index]))
            tiles, _ = _timed(partial(_tiles, plain, index, size))
            assert len(rows) == 1
            if number >= WARM:
                ours.append(seconds)
                theirs.append(plainly + tiles)
        found |= {name: _shape(ours), f"{name}Reference": _shape(theirs)}
    reader.close()
    vault.close()
    return found


def _persons(
    place: Path, drawn: random.Random, population: int, runs: int, plain: sqlite3.Connection
) -> dict[str, Any]:
    vault = Vault.read_only(place / VAULT, KEY)
    reader = LedgerReader.open(place / LEDGER, vault=vault)
    verifier = Verifier.from_text(reader.vkey)
    ours: list[float] = []
    theirs: list[float] = []
    counts: list[int] = []
    while len(ours) < runs:
        person = pseudonym_of(drawn.randrange(population))
        seconds, openings = _timed(partial(_disclosures, reader, person))
        if not openings:
            continue
        plainly, rows = _timed(partial(_selected, plain, person))
        assert len(rows) == len(openings)
        verify_opening(openings[0], verifier)
        ours.append(seconds)
        theirs.append(plainly)
        counts.append(len(openings))
    reader.close()
    vault.close()
    return {
        "person": _shape(ours),
        "personReference": _shape(theirs),
        "personEntries": {"mean": round(mean(counts), 1), "most": max(counts)},
    }


def _disclosures(reader: LedgerReader, person: bytes) -> list[dict[str, object]]:
    return [reader.opening(index, "AS") for index in reader.indices_of(person, limit=1000)]


def _selected(plain: sqlite3.Connection, person: bytes) -> list[tuple[Any, ...]]:
    query = "SELECT idx FROM by_person WHERE subject = ? ORDER BY idx DESC LIMIT 1000"
    return _rows(plain, [index for (index,) in plain.execute(query, (person,))])


def _rows(plain: sqlite3.Connection, indices: Sequence[int]) -> list[tuple[Any, ...]]:
    query = "SELECT * FROM log.entry JOIN log.statement USING (aid) WHERE idx = ?"
    return [row for index in indices for row in plain.execute(query, (index,))]


def _tiles(plain: sqlite3.Connection, index: int, size: int) -> list[Any]:
    """Select the tiles over an entry, of each level the one that a proof needs hashes of."""
    query = "SELECT data FROM log.tile WHERE level = ? AND n = ?"
    levels = range((size.bit_length() + 7) // 8)
    return [plain.execute(query, (level, index >> 8 * (level + 1))).fetchone() for level in levels]


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    found = call()
    return time.perf_counter() - begun, found


def _shape(seconds: Sequence[float]) -> dict[str, float]:
    cuts = quantiles(seconds, n=100)
    return {name: round(cuts[at - 1] * 1000, 3) for name, at in (("p50", 50), ("p95", 95), ("p99", 99))}
