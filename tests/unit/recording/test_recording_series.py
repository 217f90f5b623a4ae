"""Holds that a half-year's logs are closed for good and followed by new ones, whatever a crash leaves in between."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from integrator.domain.errors import Refused, Tampered
from integrator.recording.institution import TEXTS
from integrator.recording.logs import end_of
from integrator.recording.sequencer import Share
from integrator_audit import LedgerReader, LedgerWriter, Signer, Vault, read_part
from integrator_audit.stores import open_reading
from tests.unit.recording import recording_samples as world
from tests.unit.recording.test_recording_process import KEYS, NAMING, Sources, disclosures, ledger, run, signing_seed

END = end_of("2026h2")


@dataclass
class Moving:
    """A clock that stands still until it is moved."""

    now: int = world.AT_MS

    def __call__(self) -> int:
        return self.now


def sequences(root: Path, log: str) -> Counter[int]:
    """The sequence numbers in part D of every entry of a shard, with how often each stands there."""
    vault = Vault.read_only(world.files_at(root).persons, world.GENERATION)
    reader = LedgerReader.open(world.files_at(root).store(log), vault=vault)
    try:
        opened = [reader.opening(index, "D")["D"] for index in range(reader.size)]
        return Counter(int(str(read_part(base64.b64decode(one["bytes"]))["sequence"])) for one in opened)  # type: ignore[index]
    finally:
        reader.close()
        vault.close()


def closed(root: Path, log: str) -> bool:
    reading = open_reading(world.files_at(root).store(log))
    try:
        return reading.is_closed()
    finally:
        reading.close()


def published(root: Path, log: str) -> int:
    return int((root / "public" / log / "checkpoint").read_text().splitlines()[1])


async def test_at_the_end_of_a_half_year_each_log_is_closed_and_the_next_goes_on_where_it_ended(tmp_path: Path) -> None:
    clock, sources = Moving(END - 1), Sources(disclosures(6))
    sources.disclosures.largest = 2
    stop = asyncio.Event()
    running = asyncio.create_task(ledger(tmp_path, sources, clock=clock).run(stop))
    await sources.disclosures.drained.wait()
    await sources.institution.drained.wait()
    # Nothing comes, and yet it is over: the half-year ends for all logs.
    clock.now = END
    await world.until(lambda: all((tmp_path / f"{log}.vkey").is_file() for log in ("s0-2027h1", "institution-2027h1")))
    more = world.record(world.disclosure(7), 6)
    sources.disclosures.records.append(more)
    sources.disclosures.drained.clear()
    await sources.disclosures.drained.wait()
    stop.set()
    await running
    assert sequences(tmp_path, "s0-2026h2") == dict.fromkeys(range(1, 7), 3)
    assert sequences(tmp_path, "s0-2027h1") == {7: 3}
    for series in ("s0", "institution"):
        assert closed(tmp_path, f"{series}-2026h2")
        assert not closed(tmp_path, f"{series}-2027h1")
    assert published(tmp_path, "s0-2026h2") == 18
    assert published(tmp_path, "s0-2027h1") == 3


async def test_a_batch_that_was_read_before_the_end_and_not_committed_goes_into_the_next_log(tmp_path: Path) -> None:
    clock = Moving(END - 1)
    directory = world.StillDirectory(world.knowledge(), at=9)
    sources = Sources(disclosures(2))
    # Behind at first: the batch waits while the half-year ends.
    process = ledger(tmp_path, sources, clock=clock, directory=directory)
    process._directories = directory
    stop = asyncio.Event()
    running = asyncio.create_task(process.run(stop))
    await world.until(lambda: directory.waiting)
    clock.now = END
    directory.move(100)
    await world.until((tmp_path / "s0-2027h1.vkey").is_file)
    sources.disclosures.drained.clear()
    await sources.disclosures.drained.wait()
    stop.set()
    await running
    assert sequences(tmp_path, "s0-2026h2") == {}
    assert sequences(tmp_path, "s0-2027h1") == {1: 3, 2: 3}


def writer(root: Path, log: str, vault: Vault, positions: dict[tuple[str, int], int]) -> LedgerWriter:
    origin = NAMING.origin(log)
    signer = Signer(origin, signing_seed(KEYS.signing, origin))
    place = world.files_at(root).store(log)
    return LedgerWriter.open(place, origin=origin, signer=signer, vault=vault, positions=positions)


@pytest.mark.parametrize("step", ["before", "closed", "empty file", "made"])
async def test_a_crash_while_a_half_year_is_closed_loses_and_doubles_nothing(tmp_path: Path, step: str) -> None:
    sources = Sources(disclosures(4))
    await run(tmp_path, sources)
    shutil.rmtree(tmp_path / "public")
    # What each step leaves on disk when nothing after it happened.
    if step != "before":
        vault = Vault.open(world.files_at(tmp_path).persons, world.GENERATION)
        old = writer(tmp_path, "s0-2026h2", vault, {})
        old.freeze()
        positions = old.positions()
        old.close()
        if step == "empty file":
            (tmp_path / "s0-2027h1.sqlite").touch()
        if step == "made":
            writer(tmp_path, "s0-2027h1", vault, positions).close()
        vault.close()
    sources.disclosures.records += disclosures(6).records[4:]
    await run(tmp_path, sources, clock=Moving(END))
    assert sequences(tmp_path, "s0-2026h2") == dict.fromkeys(range(1, 5), 3)
    assert sequences(tmp_path, "s0-2027h1") == {5: 3, 6: 3}
    assert closed(tmp_path, "s0-2026h2")
    assert (published(tmp_path, "s0-2026h2"), published(tmp_path, "s0-2027h1")) == (12, 6)


async def test_a_half_year_in_which_the_ledger_did_not_run_has_no_log(tmp_path: Path) -> None:
    sources = Sources(disclosures(1))
    await run(tmp_path, sources)
    await run(tmp_path, sources, clock=Moving(end_of("2027h1") + 1))
    assert world.files_at(tmp_path).series("s0") == ["s0-2026h2", "s0-2027h2"]


async def test_a_log_that_was_put_back_open_before_a_later_one_is_refused(tmp_path: Path) -> None:
    sources = Sources(disclosures(1))
    await run(tmp_path, sources)
    shutil.copy(tmp_path / "s0-2026h2.sqlite", tmp_path / "older")
    await run(tmp_path, sources, clock=Moving(END))
    for journal in ("s0-2026h2.sqlite-wal", "s0-2026h2.sqlite-shm"):
        (tmp_path / journal).unlink(missing_ok=True)
    shutil.copy(tmp_path / "older", tmp_path / "s0-2026h2.sqlite")
    with pytest.raises(Tampered) as caught:
        await run(tmp_path, sources, clock=Moving(END))
    assert caught.value.code == "ledger-not-closed"


async def test_each_new_institution_log_can_be_read_by_itself(tmp_path: Path) -> None:
    sources = Sources(disclosures(1))
    sources.institution.records.append(world.refusal(1))
    await run(tmp_path, sources)
    # Written again by an API that did not hear of the first time, just after the end of the half-year.
    again = world.record(world.refusal(1).value, 2, topic="integrator.requests", partition=4)
    sources.institution.records.append(again)
    await run(tmp_path, sources, clock=Moving(END))
    reader = LedgerReader.open(world.files_at(tmp_path).store("institution-2027h1"))
    said = Counter(
        str(read_part(base64.b64decode(reader.opening(index, "A")["A"]["bytes"]))["schema"])  # type: ignore[index]
        for index in range(reader.size)
    )
    reader.close()
    assert said == {"dienstenintegrator/schema-text/v1": len(TEXTS), "dienstenintegrator/key-event/v1": 2}


async def test_each_shard_reads_its_share_of_the_lanes(tmp_path: Path) -> None:
    sources = Sources(disclosures(0))
    stop = asyncio.Event()
    running = asyncio.create_task(ledger(tmp_path, sources, shards=3).run(stop))
    await world.until(lambda: len(sources.shares) == 3)
    stop.set()
    await running
    assert sorted(sources.shares, key=lambda share: share.number) == [Share(number, 3) for number in range(3)]
    assert [lane for lane in range(8) if Share(2, 3).has(lane)] == [2, 5]
    assert {log.partition("-")[0] for log in world.files_at(tmp_path).logs()} == {"s0", "s1", "s2", "institution"}


async def test_another_number_of_shards_than_the_ledger_has_is_refused(tmp_path: Path) -> None:
    await run(tmp_path, Sources(disclosures(1)))
    with pytest.raises(Refused) as caught:
        await ledger(tmp_path, Sources(disclosures(1)), shards=2).run(asyncio.Event())
    assert caught.value.code == "ledger-shards"


@pytest.mark.parametrize("made", [["s0"], ["s0", "s1"], ["institution"]])
async def test_a_first_start_that_was_killed_between_two_logs_goes_on(tmp_path: Path, made: list[str]) -> None:
    (tmp_path / "shards").write_text("2\n")
    vault = Vault.open(world.files_at(tmp_path).persons, world.GENERATION)
    for series in made:
        writer(tmp_path, f"{series}-2026h2", vault, {}).close()
    vault.close()
    sources = Sources(disclosures(0))
    stop = asyncio.Event()
    running = asyncio.create_task(ledger(tmp_path, sources, shards=2).run(stop))
    await world.until((tmp_path / "state.json").is_file)
    stop.set()
    await running
    assert world.files_at(tmp_path).logs() == ["institution-2026h2", "s0-2026h2", "s1-2026h2"]


async def test_a_number_of_shards_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "shards").write_text("two\n")
    with pytest.raises(Tampered) as caught:
        await run(tmp_path, Sources(disclosures(0)))
    assert caught.value.code == "ledger-shards"


async def test_a_log_whose_store_is_gone_is_not_begun_anew(tmp_path: Path) -> None:
    await run(tmp_path, Sources(disclosures(1)))
    (tmp_path / "s0-2026h2.sqlite").unlink()
    shutil.rmtree(tmp_path / "public")
    with pytest.raises(Refused) as caught:
        await run(tmp_path, Sources(disclosures(1)))
    assert caught.value.code == "ledger-log-missing"
    assert not (tmp_path / "s0-2026h2.sqlite").exists()
    (tmp_path / "s0-2026h2.vkey").unlink()
    (tmp_path / "s0-2025h2.vkey").write_text("a log of another time\n")
    with pytest.raises(Refused, match="s0-2025h2"):
        await run(tmp_path, Sources(disclosures(1)))
