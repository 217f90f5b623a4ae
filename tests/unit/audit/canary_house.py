"""An installation in which one person can be looked for, with all that leads to them, and which can forget them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from integrator_audit import Vault, part
from integrator_audit.bodies import Erased as Gone
from integrator_audit.completeness.index import Trie
from integrator_audit.completeness.labels import DAY, PERIOD, label_of
from integrator_audit.completeness.pages import Stored, find, record_of
from integrator_audit.completeness.unlisted import Order, release, withheld_part
from integrator_audit.encoding import from_base64
from integrator_audit.forgetting.erasure import Erased, Eraser, Finished, Log
from integrator_audit.forgetting.orders import SCHEMA, ErasureOrder
from integrator_audit.forgetting.register import Register
from integrator_audit.generationkeys import FileGenerationKeys
from integrator_audit.halfyear import date_of, day_of, last_day, period_name, period_of, start_of
from integrator_audit.searching.blocks import IndexFile
from integrator_audit.searching.log import StoredLog
from integrator_audit.store import EntryRow
from integrator_audit.stores import open_erasing, open_reading
from tests.unit.audit.canary_samples import Needles, files_below
from tests.unit.audit.judging_samples import SUPERVISOR, Judges
from tests.unit.audit.sealing_samples import FIRST, HOST, Installation, entry, number_text, pseudonym, secret, signature

CANARY = 77_123_457
"""The number is bsn:977123457, which no other sample has."""
SUBJECT = pseudonym(CANARY)
AT = 1_795_000_777_771
"""An exact time of theirs: its six bytes in the file stand nowhere by chance."""
PERIOD_NUMBER = period_of(FIRST)
SHARDS = (0, 1)


@dataclass
class House(Installation):
    """An installation of two shards whose vault has generation keys. Its owner closes it."""

    def __post_init__(self) -> None:
        self.shards = len(SHARDS)
        (self.directory / "keys").mkdir(parents=True)
        self.generations = FileGenerationKeys(self.directory / "keys")
        self.generations.make()
        self.register = Register(self.directory / "erasures.jsonl")

    @property
    def vault(self) -> Vault:
        if self._vault is None:
            self._vault = Vault.open(self.directory / "persons.sqlite", self.generations)
            self._vault._tables.connection.execute("PRAGMA synchronous=OFF")
        return self._vault

    def fill(self) -> Judges:
        """Seal two days with one entry about the canary each, in one shard each, among others; they are cosigned."""
        sealer = self.begun()
        self.writer("institution")
        for day in (0, 1):
            self.at(day)
            actor = part("sample.p/v1", {"actor": f"official {day}"})
            theirs = entry(CANARY, 10 * day, at=AT + day)._replace(p=actor)
            self.append([theirs, *(entry(other, 10 * day + other, at=AT - 9) for other in (2, 3))], shard=day)
            self.pad(4)
        self.at(2)
        sealer.seal_due()
        judges = Judges(self)
        judges.cosign()
        return judges

    def filled(self) -> None:
        """Be as after `fill`, which is done once in a run."""
        for name, content in _filled().items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.at(2)
        self.sealer()

    def close_half_year(self) -> None:
        """Close the half-year and seal its last day: the third trie that lists the canary."""
        sealer = self.sealer()
        self.close_period(PERIOD_NUMBER)
        self.now = start_of(last_day(PERIOD_NUMBER) + 1) + 3_600_000
        sealer.seal_due()

    def search(self) -> IndexFile:
        """Bring the index of search of shard 0 up to date, in blocks of two entries, and open it for reading."""
        log = StoredLog(open_reading(self.file("s0", PERIOD_NUMBER)))
        path = self.file("s0", PERIOD_NUMBER).with_suffix(".search.sqlite")
        file = IndexFile.open(path)
        file.update(log, height=1)
        file.close()
        log.close()
        built = IndexFile.read_only(path)
        assert built is not None
        return built

    def withhold(self) -> int:
        """Append an entry about the canary to shard 0 that a supervisor's order withholds; return where it is."""
        today = date_of(day_of(self.now))
        note = Order("order 7", "svb", today, today).sign(SUPERVISOR)
        hidden = entry(CANARY, 77, listed=False, at=AT + 7)
        hidden = hidden._replace(a=withheld_part(hidden.a, hidden.d, note, supervisor=SUPERVISOR.verifier, day=today))
        (index,) = self.append([hidden])
        return index

    def release(self, index: int) -> int:
        """Append the entry that releases a withheld one of shard 0; return where it is."""
        reader = self.reader(0, PERIOD_NUMBER)
        parts = release(reader.opening(index, "ADSP"))
        reader.close()
        (at,) = self.append([entry(CANARY, 77, at=AT + 7)._replace(a=parts.a, d=parts.d, s=parts.s, p=parts.p)])
        return at

    def opens(self, shard: int, index: int) -> bool:
        """Tell whether the supervisor can be shown an entry whole."""
        reader = self.reader(shard, PERIOD_NUMBER)
        try:
            return bool(reader.opening(index, "ADSP"))
        except Gone:
            return False
        finally:
            reader.close()

    def erasing(self, work: Callable[[Eraser], Erased | Finished], shards: Sequence[int] = SHARDS) -> Erased | Finished:
        """Lend an eraser over some shards."""
        logs = [
            Log(self.origin(f"s{shard}", PERIOD_NUMBER), shard, open_erasing(self.file(f"s{shard}", PERIOD_NUMBER)))
            for shard in shards
        ]
        try:
            return work(Eraser(logs, keys=self.vault, index=self.index, register=self.register, clock=lambda: self.now))
        finally:
            for log in logs:
                log.store.close()

    def forget(self) -> None:
        """Carry out an order about the canary, and complete it."""
        self.erasing(lambda eraser: eraser.by_order(order()))
        self.erasing(lambda eraser: eraser.finish())

    def files(self) -> dict[str, bytes]:
        """Return what is on the disk, a write-ahead log as a part of its database."""
        merged: dict[str, bytes] = {}
        for name, data in files_below(self.directory).items():
            database = name.removesuffix("-wal")
            merged[database] = merged.get(database, b"") + data
        return merged

    def rows(self) -> list[EntryRow]:
        """Return the rows of the entries about the canary, one in each shard."""
        found: list[EntryRow] = []
        for shard in SHARDS:
            store = open_reading(self.file(f"s{shard}", PERIOD_NUMBER))
            found += [row for index in store.indices_of(SUBJECT, 1 << 40, 10) if (row := store.entry(index))]
            store.close()
        return found

    def opening(self, shard: int, letters: str) -> dict[str, Any]:
        """Return an opening of the entry about the canary in a shard."""
        reader = self.reader(shard, PERIOD_NUMBER)
        (index,) = reader.indices_of(SUBJECT, limit=10)
        opening = reader.opening(index, letters)
        reader.close()
        return opening


def order(**entries: Sequence[int]) -> ErasureOrder:
    """Return an order about everything of the canary, or about entries by shard."""
    told: dict[str, Any] = {"schema": SCHEMA, "order": "O-1", "subject": base64.b64encode(SUBJECT).decode()}
    if entries:
        half = period_name(PERIOD_NUMBER)
        told["entries"] = [
            {"origin": f"{HOST}/{log}-{half}", "indices": list(indices)} for log, indices in entries.items()
        ]
    return ErasureOrder.parse(json.dumps(told).encode())


@cache
def _filled() -> dict[str, bytes]:
    with TemporaryDirectory() as name:
        house = House(Path(name) / "house")
        house.fill()
        house.close()
        return files_below(house.directory)


def canary_leaves(house: House) -> list[Stored]:
    """Return the leaves under the canary's labels: one for each day with entries, and the half-year's once it is."""
    places = [(FIRST + day, Trie.PERSONS, label_of(secret(PERIOD_NUMBER, CANARY), DAY, FIRST + day)) for day in (0, 1)]
    whole = label_of(secret(PERIOD_NUMBER, CANARY), PERIOD, PERIOD_NUMBER)
    places.append((last_day(PERIOD_NUMBER), Trie.PERIOD, whole))
    ends = [find(house.index, epoch, trie, label).end for epoch, trie, label in places]
    return [leaf for leaf, (_, _, label) in zip(ends, places, strict=True) if leaf and leaf.label == label]


def goes(house: House) -> Needles:
    """Return all that leads to the canary, or says something about them, and has to go."""
    rows, openings = house.rows(), [house.opening(shard, "ADSP") for shard in SHARDS]
    query = house.vault._tables.rows
    # The tree out of which the canary will be cut, and newer keys of theirs.
    wrapped = query("SELECT wrapped FROM node")
    wrapped += query("SELECT wrapped FROM person WHERE pseudonym = ?", (SUBJECT,))
    wrapped += query("SELECT wrapped FROM label WHERE pseudonym = ?", (SUBJECT,))
    for row in rows:
        wrapped += query("SELECT wrapped FROM entry_key WHERE id = ?", (row.entry_key,))
    return {
        "number": [number_text(CANARY)[4:].encode()],
        "label key": [signature(PERIOD_NUMBER, CANARY), secret(PERIOD_NUMBER, CANARY)],
        "parts": [from_base64(one[letter]["bytes"], what="a part") for one in openings for letter in "DSP"],
        "salts": [from_base64(one[letter]["salt"], what="a salt") for one in openings for letter in "DSP"],
        "pseudonym": [SUBJECT],
        "moment": [(AT + day).to_bytes(6, "big") for day in (0, 1)],
        "body": [row.body for row in rows],
        "actor": [row.p for row in rows],
        "wrapped key": [content for (content,) in wrapped],
        "list": [record_of(leaf)[33:] for leaf in canary_leaves(house)],
    }


def stays(house: House) -> Needles:
    """Return what must stay, so that all other proofs hold; nothing of it leads to the canary without their key."""
    leaves = canary_leaves(house)
    return {
        "label": [leaf.label for leaf in leaves],
        "list's hash": [leaf.content for leaf in leaves],
        "part A": [row.a for row in house.rows()],
        "four hashes": [row.hashes for row in house.rows()],
    }
