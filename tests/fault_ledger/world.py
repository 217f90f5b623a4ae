"""A small log with its vault and its exported files, the work that a writer does on it, and the judge of what is left.

- The work is the same every time: batch *n* takes the positions after those that are durable, so that a writer that
  was killed goes on where its predecessor's commit ended, and each position becomes exactly one entry.
- The judge believes nothing but what is on disk and what the writer had acknowledged before it died.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, cast

from integrator_audit import Entry, LedgerReader, LedgerWriter, Signer, Vault, part
from integrator_audit.fsck import fsck
from integrator_audit.generationkeys import FileGenerationKeys
from integrator_audit.merkle import RightEdge, leaf_hash
from integrator_audit.sources import DirectorySource
from integrator_audit.tiles import ENTRIES, TILE_WIDTH, TileName, split_bundle
from integrator_audit.verify import fetch_tile, verify_log

HOST = "fault.integrator.example/ledger/fault"
ORIGIN, NEXT_ORIGIN, EPOCHS = f"{HOST}/s0-2026h2", f"{HOST}/s0-2027h1", f"{HOST}/epochs"
GENERATION_KEY = sha256(b"the generation key of the fault tier").digest()
SOURCE = ("integrator.disclosures", 0)


def signer(origin: str = ORIGIN) -> Signer:
    """Return a log's key: fixed, so that every process of a test signs with the same."""
    return Signer(origin, sha256(b"the signing key of the fault tier for " + origin.encode()).digest())


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What an append had returned before the writer died."""

    size: int
    root: bytes
    position: int


@dataclass(frozen=True, slots=True)
class World:
    """The files of one test below one directory."""

    directory: Path

    @property
    def file(self) -> Path:
        return self.directory / "s0-2026h2.sqlite"

    @property
    def next_file(self) -> Path:
        return self.directory / "s0-2027h1.sqlite"

    @property
    def public(self) -> Path:
        return self.directory / "public"

    def prepare(self) -> None:
        """Make the directory and the first generation key."""
        self.directory.mkdir(exist_ok=True)
        key = self.directory / "vault-generation-1"
        if not key.exists():
            key.write_bytes(GENERATION_KEY)

    def vault(self) -> Vault:
        return Vault.open(self.directory / "persons.sqlite", FileGenerationKeys(self.directory))

    def ledger(self, vault: Vault) -> LedgerWriter:
        return LedgerWriter.open(self.file, origin=ORIGIN, signer=signer(), vault=vault)

    def export(self) -> None:
        reader = LedgerReader.open(self.file)
        try:
            reader.export(self.public)
        finally:
            reader.close()


def entries(first: int, count: int) -> list[Entry]:
    """Return the entries of the positions from `first` on; every fifth has an actor, every third a new person."""
    made: list[Entry] = []
    for position in range(first, first + count):
        person = position if position % 3 == 0 else position % 7
        made.append(
            Entry(
                type=0x01,
                a=part("sample.a/v1", {"recipient": f"agency-{position % 4}", "batch": first}),
                d=part("sample.d/v1", {"position": position}),
                s=part("sample.s/v1", {"role": "subject", "position": position}),
                p=part("sample.p/v1", {"actor": "official 7"}) if position % 5 == 0 else b"",
                subject=sha256(b"person %d" % person).digest(),
                recipient=f"agency-{position % 4}",
                at=1_790_000_000_000 + position,
                identity=b"sealed %d" % person,
            )
        )
    return made


def append(ledger: LedgerWriter, random: Random, *, most: int, now_ms: int | None = None) -> Acknowledged:
    """Append the next batch, of 1 to `most` entries, and return what became durable."""
    first = ledger.positions().get(SOURCE, 0)
    count = random.randint(1, most)
    done = ledger.append(entries(first, count), positions={SOURCE: first + count}, now_ms=now_ms)
    return Acknowledged(done.size, done.root, first + count)


def violations(world: World, acknowledged: list[Acknowledged], *, thorough: bool) -> list[str]:
    """Open the log as the next writer would and return everything that is not as it must be.

    `thorough` reads every row, file and part; without it only what the writer's own start checks, the acknowledged
    sizes and the count of positions.
    """
    found: list[str] = []
    vault = world.vault()
    try:
        ledger = world.ledger(vault)
        size, position = ledger.size, ledger.positions().get(SOURCE, 0)
        ledger.close()
        if size != position:
            found.append(f"{size} entries for {position} positions")
        for done in acknowledged:
            if done.size > size:
                found.append(f"size {done.size} was acknowledged and the log has {size}")
        if thorough:
            found += _thorough(world, vault, acknowledged, size)
    finally:
        vault.close()
    return found


def fsck_findings(file: Path, origin: str, vault: Vault | None) -> list[str]:
    """Return what fsck finds in one file."""
    report = fsck(file, vault=vault, verifier=signer(origin).verifier)
    return [f"fsck {file.name}: {finding.where}: {finding.message}" for finding in report.findings]


def _thorough(world: World, vault: Vault, acknowledged: list[Acknowledged], size: int) -> list[str]:
    found = fsck_findings(world.file, ORIGIN, vault)
    # What the next writer publishes extends what its predecessor published, and holds.
    world.export()
    result = verify_log(DirectorySource(world.public), signer().verifier)
    found += [f"verify: {finding.where}: {finding.message}" for finding in result.findings]
    if result.checkpoint.size != size:
        found.append(f"the export has size {result.checkpoint.size}, the log {size}")
    found += _history(world, acknowledged, size)
    reader = LedgerReader.open(world.file, vault=vault)
    try:
        stated = [_position(reader.opening(index, "D")) for index in range(size)]
    finally:
        reader.close()
    if sorted(stated) != list(range(size)):
        found.append("the entries are not each position exactly once")
    return found


def _history(world: World, acknowledged: list[Acknowledged], size: int) -> list[str]:
    """Every acknowledged root is the root of a prefix of the log."""
    source, edge = DirectorySource(world.public), RightEdge()
    roots = {done.size: done.root for done in acknowledged}
    found: list[str] = []
    for start in range(0, size, TILE_WIDTH):
        width = min(TILE_WIDTH, size - start)
        data = fetch_tile(source, TileName(ENTRIES, start // TILE_WIDTH, width))
        assert data is not None, "verify_log had found every bundle"
        for leaf in split_bundle(data, width):
            edge.extend([leaf_hash(leaf)])
            if edge.size in roots and roots[edge.size] != edge.root():
                found.append(f"the acknowledged root of size {edge.size} is not in the log's history")
    return found


def _position(opening: dict[str, object]) -> int:
    opened = cast("dict[str, str]", opening["D"])
    return cast("dict[str, Any]", json.loads(base64.b64decode(opened["bytes"])))["position"]
