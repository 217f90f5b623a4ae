"""Holds that people can be erased beside the running ledger, and that its own log tells it, month by month."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from integrator.domain.pseudonyms import pseudonym
from integrator.recording import institution, sealing
from integrator.recording.erasures import GENERATIONS, MONTHS, Erasures, number
from integrator.recording.logs import LedgerFiles, end_of
from integrator.recording.process import Keys
from integrator.recording.readers import Readers
from integrator_audit import Busy, Entry, LedgerReader, Vault, read_part
from integrator_audit.completeness.indexes import open_index
from integrator_audit.forgetting.erasure import Eraser, Log
from integrator_audit.forgetting.orders import SCHEMA, ErasureOrder
from integrator_audit.forgetting.register import Register
from integrator_audit.generationkeys import FileGenerationKeys
from integrator_audit.halfyear import start_of
from integrator_audit.stores import open_erasing
from tests.unit.recording import recording_samples as world
from tests.unit.recording.test_recording_sealing import MINUTES, TODAY, ledger

CHILD = pseudonym(world.LEDGER_KEY, "ledger", world.CHILD)


def at(year: int, month: int, day: int, hour: int = 12) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp()) * 1000


def said(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    parts = [read_part(entry.a) | ({"counts": read_part(entry.p)} if entry.p else {}) for entry in entries]
    return [{name: value for name, value in part.items() if name not in ("schema", "at")} for part in parts]


def test_a_month_is_told_once_when_it_is_over_and_a_generation_at_once(tmp_path: Path) -> None:
    register = Register(tmp_path / "register")
    told = Erasures(tmp_path / "register", recorded={})
    assert not told.due(at(2026, 11, 3), ()).entries, "there is no register yet"
    register.erased("s0", {"order": 3}, at=at(2026, 11, 3))
    register.erased("s0", {"retention": 40}, at=at(2026, 11, 4))
    assert not told.due(at(2026, 11, 5), ()).entries, "older backups still open it"
    register.complete(2, at=at(2026, 11, 6))
    due = told.due(at(2026, 11, 6), ())
    assert said(due.entries) == [{"event": "generation-changed", "key": "generation", "name": "2"}]
    told.committed(at(2026, 11, 6), due.entries, due.marks)
    register.erased("s0", {"order": 4}, at=at(2026, 11, 20))
    register.complete(3, at=at(2026, 11, 30))
    assert [one["name"] for one in said(told.due(at(2026, 11, 30), ()).entries)] == ["3"]
    assert [one["name"] for one in said(told.due(at(2026, 12, 1, 0), ()).entries)] == ["3"], "a moment for midnight"
    due = told.due(at(2026, 12, 1, 2), ())
    counts = {"schema": institution.ERASURE_COUNTS, "retention": 40, "order": 4}
    assert said(due.entries) == [
        {"month": "2026-11", "generation": 2, "counts": counts},
        {"event": "generation-changed", "key": "generation", "name": "3"},
    ]
    assert due.marks == {MONTHS: number("2026-11"), GENERATIONS: 3}
    told.committed(at(2026, 12, 1, 2), due.entries, due.marks)
    assert not told.due(at(2026, 12, 9), ()).entries
    again = Erasures(tmp_path / "register", recorded=due.marks)
    assert not again.due(at(2027, 3, 1), ()).entries
    assert number("2027-01") == number("2026-12") + 1


def test_a_register_that_is_damaged_keeps_nothing_from_being_entered(tmp_path: Path) -> None:
    (tmp_path / "register").write_text("{}\n")
    told = Erasures(tmp_path / "register", recorded={})
    assert not told.due(at(2026, 11, 3), ()).entries
    (tmp_path / "register").unlink()
    Register(tmp_path / "register").complete(2, at=at(2026, 11, 6))
    assert len(told.due(at(2026, 11, 6), ()).entries) == 1


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "LOOK", 0.02)


def keys(root: Path) -> tuple[Keys, FileGenerationKeys]:
    root.mkdir()
    generations = FileGenerationKeys(root)
    generations.make()
    return Keys(signing=b"s" * 32, generation=generations), generations


def erasing(root: Path, generations: FileGenerationKeys, now: int, work: Callable[[Eraser], object]) -> object:
    """Erase from the files below `root` as another process does."""
    files = world.files_at(root)
    vault = Vault.open(files.persons, generations)
    index = open_index(files.index)
    store = open_erasing(files.store("s0-2026h2"))
    identity = store.identity()
    assert identity is not None
    try:
        return work(
            Eraser(
                [Log(identity.origin, 0, store)],
                keys=vault,
                index=index,
                register=Register(files.erasures),
                clock=lambda: now,
            )
        )
    finally:
        store.close()
        index.close()
        vault.close()


def order() -> ErasureOrder:
    subject = base64.b64encode(CHILD).decode()
    return ErasureOrder.parse(json.dumps({"schema": SCHEMA, "order": "O-1", "subject": subject}).encode())


async def test_a_person_is_erased_beside_the_running_ledger_which_goes_on_and_tells_it(tmp_path: Path) -> None:
    root, (theirs, generations) = tmp_path / "ledger", keys(tmp_path / "keys")
    files = world.files_at(root)
    async with ledger(root, keys=theirs) as place:
        place.clock.now = start_of(TODAY + 1) + MINUTES
        await place.sealed(TODAY)
        await freed(files)
        now = place.clock.now
        await asyncio.to_thread(erasing, root, generations, now, lambda eraser: eraser.by_order(order()))
        await asyncio.to_thread(erasing, root, generations, now, lambda eraser: eraser.finish())
        readers = Readers(files, generation_key=generations)
        assert readers.reader("s0-2026h2").indices_of(CHILD) == []
        assert [path.name for path in (tmp_path / "keys").iterdir()] == ["vault-generation-2"]
        await place.filled(world.disclosure(9))
        (index,) = readers.reader("s0-2026h2").indices_of(CHILD)
        assert readers.reader("s0-2026h2").opening(index, "ADS"), "what comes later is sealed under the new generation"
        place.clock.now = at(2026, 12, 1, 2)
        await world.until(
            lambda: "generation-changed" in {one["event"] for one in events(files, generations, institution.KEY_EVENT)}
        )
        await world.until(lambda: len(events(files, generations, institution.ERASURE)) == 1)
        place.clock.now = end_of("2026h2") + MINUTES
        await world.until(lambda: "institution-2027h1" in files.logs() and files.vkey("institution-2027h1").is_file())
        await place.filled(world.disclosure(10))
        readers.close()
    for log, told in (("institution-2026h2", 1), ("institution-2027h1", 0)):
        assert len(events(files, generations, institution.ERASURE, log)) == told
    (month,) = events(files, generations, institution.ERASURE)
    assert (month["month"], month["generation"]) == ("2026-11", 1)
    assert month["counts"] == {"schema": institution.ERASURE_COUNTS, "retention": 0, "order": 3}


async def freed(files: LedgerFiles) -> None:
    """Wait until the ledger's process has sealed and lets others erase from the index."""

    def is_free() -> bool:
        try:
            open_index(files.index).close()
        except Busy:
            return False
        return True

    await world.until(is_free)


def events(
    files: LedgerFiles, generations: FileGenerationKeys, schema: str, log: str = "institution-2026h2"
) -> list[dict[str, Any]]:
    """Return what the entries of a schema say, in the order of the log."""
    vault = Vault.read_only(files.persons, generations)
    reader = LedgerReader.open(files.store(log), vault=vault)
    found: list[dict[str, Any]] = []
    for index in sorted(reader.indices(limit=1000)):
        opening = reader.opening(index, "AP")
        a, p = (base64.b64decode(opening[letter]["bytes"]) for letter in "AP")  # type: ignore[index]
        if read_part(a)["schema"] == schema:
            found.append(read_part(a) | ({"counts": read_part(p)} if p else {}))
    reader.close()
    vault.close()
    return found
