"""Holds that every record is in the ledger once: redelivered, before and after a crash, beside bad records."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from integrator.domain import topics
from integrator.domain.errors import Refused, Unavailable
from integrator.recording.disclosures import DisclosureRecorder
from integrator.recording.sequencer import Due, Sequencer
from integrator_audit import Entry, LedgerReader, LedgerWriter, SetAside, Vault, read_part
from integrator_audit import errors as audit
from integrator_audit.halfyear import day_of, start_of
from tests.unit.recording import recording_samples as world

PLACE = (topics.DISCLOSURES, 2)
AUNT = [world.person(world.MOTHER, "aunt")]


def records(count: int, *, start: int = 0) -> list[world.LogRecord]:
    return [world.record(world.disclosure(number + 1), number) for number in range(start, start + count)]


async def fill(source: world.JudgingSource, ledger: object, *, directory: world.StillDirectory | None = None) -> None:
    """Run a sequencer until its source has nothing more."""
    stop = asyncio.Event()
    known = directory or world.StillDirectory(world.knowledge())
    sequencer = Sequencer("s0-2026h2", source, ledger, DisclosureRecorder(), known)  # type: ignore[arg-type]
    running = asyncio.create_task(sequencer.run(stop))
    drained = asyncio.create_task(source.drained.wait())
    try:
        await asyncio.wait({running, drained}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
    except asyncio.CancelledError:
        running.cancel()
    stop.set()
    drained.cancel()
    await running


class Torn:
    """What goes beside the records, when a log that it is looked for in cannot be read."""

    def due(self, now: int, entries: Sequence[Entry]) -> Due:
        raise audit.Unavailable("ledger-store", "the store of the ledger failed")

    def committed(self, now: int, entries: Sequence[Entry], marks: Mapping[tuple[str, int], int]) -> None:
        raise AssertionError("nothing was committed")


@pytest.mark.parametrize("count", [0, 3])
async def test_what_cannot_be_looked_for_beside_the_records_opens_the_log_anew(tmp_path: Path, count: int) -> None:
    known = world.StillDirectory(world.knowledge())
    with world.ledger_at(tmp_path) as ledger:
        source = world.JudgingSource(records(count))
        sequencer = Sequencer("s0-2026h2", source, ledger, DisclosureRecorder(), known, Torn())
        with pytest.raises(Unavailable) as caught:
            await sequencer.run(asyncio.Event())
        assert caught.value.code == "ledger-store"
        assert ledger.size == 0
    assert source.closed == 1


class Days:
    """Withholds nothing, and notes the moment by which that would be decided."""

    def __init__(self) -> None:
        self.moments: list[int] = []

    def apply(self, entries: list[Entry], knowledge: object, now: int) -> list[Entry]:
        self.moments.append(now)
        return entries


async def test_what_is_decided_by_the_day_is_decided_by_that_of_the_commit_although_the_clock_goes_back(
    tmp_path: Path,
) -> None:
    """An order that ended at midnight must not withhold what its log enters after midnight."""
    midnight = start_of(day_of(world.AT_MS) + 1)
    known, days = world.StillDirectory(world.knowledge()), Days()
    with world.ledger_at(tmp_path) as ledger:
        for count, moment in ((1, midnight + 1_000), (2, midnight - 2_000), (3, midnight - 1_000)):
            source = world.JudgingSource(records(count))
            source.given = dict(ledger.positions())
            sequencer = Sequencer(
                "s0-2026h2", source, ledger, DisclosureRecorder(), known,
                withholding=days, clock=lambda moment=moment: moment, since=ledger.head.at,
            )  # fmt: skip
            stop = asyncio.Event()
            running = asyncio.create_task(sequencer.run(stop))
            await source.drained.wait()
            stop.set()
            await running
            assert days.moments[-1] == ledger.head.at == midnight + 1_000
        assert ledger.size == 9
        # A clock that is far behind is not believed at all.
        source = world.JudgingSource(records(4))
        source.given = dict(ledger.positions())
        sequencer = Sequencer(
            "s0-2026h2", source, ledger, DisclosureRecorder(), known,
            clock=lambda: midnight - 400_000, since=ledger.head.at,
        )  # fmt: skip
        with pytest.raises(Refused) as caught:
            await sequencer.run(asyncio.Event())
        assert caught.value.code == "ledger-clock-back"


class Failing:
    """A ledger whose `at`th commit fails, before or after it became durable."""

    def __init__(self, ledger: LedgerWriter, *, at: int, persisted: bool) -> None:
        self._ledger, self._at, self._persisted = ledger, at, persisted

    def positions(self) -> dict[tuple[str, int], int]:
        return self._ledger.positions()

    def append(
        self,
        entries: Sequence[Entry],
        *,
        positions: Mapping[tuple[str, int], int],
        set_aside: Sequence[SetAside],
        now_ms: int,
    ) -> object:
        self._at -= 1
        if self._at == 0:
            if self._persisted:
                self._ledger.append(entries, positions=positions, set_aside=set_aside, now_ms=now_ms)
            raise audit.Unavailable("ledger-store", "the disk went away")
        return self._ledger.append(entries, positions=positions, set_aside=set_aside, now_ms=now_ms)


async def test_each_person_of_each_delivery_is_one_entry(tmp_path: Path) -> None:
    source = world.JudgingSource(records(7), largest=3)
    with world.ledger_at(tmp_path) as ledger:
        await fill(source, ledger)
        assert ledger.size == 7 * 3
        assert ledger.positions() == {PLACE: 7}
    assert source.closed == 1


@pytest.mark.parametrize("again", [0, 1, 5, 100])
async def test_records_that_come_again_after_a_restart_are_no_second_entries(tmp_path: Path, again: int) -> None:
    source = world.JudgingSource(records(5), again=again, largest=2)
    with world.ledger_at(tmp_path) as ledger:
        await fill(source, ledger)
    source.records += records(4, start=5)
    source.drained.clear()
    with world.ledger_at(tmp_path) as ledger:
        await fill(source, ledger)
        assert ledger.size == 9 * 3
        assert ledger.positions() == {PLACE: 9}
    assert source.started == [{}, {PLACE: 5}]


@pytest.mark.parametrize("persisted", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3])
async def test_a_crash_at_a_commit_neither_loses_nor_doubles_whether_it_was_durable_or_not(
    tmp_path: Path, at: int, persisted: bool
) -> None:
    source = world.JudgingSource(records(6), largest=2)
    with world.ledger_at(tmp_path) as ledger:
        with pytest.raises(Unavailable, match="the disk went away"):
            await fill(source, Failing(ledger, at=at, persisted=persisted))
        assert ledger.size == 3 * 2 * (at - 1 + persisted)
    with world.ledger_at(tmp_path) as ledger:
        await fill(source, ledger)
        assert ledger.size == 6 * 3
    seen = sequences(tmp_path)
    assert sorted(seen) == sorted([number + 1 for number in range(6)] * 3)


async def test_a_cancelled_sequencer_leaves_whole_batches(tmp_path: Path) -> None:
    source = world.JudgingSource(records(40), largest=1)
    with world.ledger_at(tmp_path) as ledger:
        known = world.StillDirectory(world.knowledge())
        sequencer = Sequencer("s0-2026h2", source, ledger, DisclosureRecorder(), known)
        running = asyncio.create_task(sequencer.run(asyncio.Event()))
        await world.until(lambda: ledger.size >= 3 * 5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert ledger.size == 3 * ledger.positions()[PLACE]
    with world.ledger_at(tmp_path) as ledger:
        await fill(source, ledger)
        assert ledger.size == 40 * 3


async def test_a_bad_record_is_set_aside_with_its_reason_and_the_others_go_on(tmp_path: Path) -> None:
    bad = [
        world.record(b"nothing", 1),
        world.record(None, 2),
        world.record(world.disclosure(4, authorisation="unknown"), 3),
        # One of its people has a role that the contract does not know: nobody of it is entered.
        world.record(world.disclosure(5, subjects=[world.person(world.CHILD, "subject"), *AUNT]), 4),
    ]
    source = world.JudgingSource([*records(1), *bad, *records(1, start=5)])
    with world.ledger_at(tmp_path) as ledger:
        await fill(source, ledger)
        assert ledger.size == 2 * 3
        assert ledger.positions() == {PLACE: 6}
        assert [(one.position, one.reason) for one in ledger.set_asides()] == [
            (1, "record-type"),
            (2, "record-type"),
            (3, "unknown-authorisation"),
            (4, "unknown-role"),
        ]


async def test_a_record_set_aside_is_not_set_aside_again_when_it_comes_again(tmp_path: Path) -> None:
    source = world.JudgingSource([world.record(b"nothing", 0)], again=1)
    for _ in range(2):
        source.drained.clear()
        with world.ledger_at(tmp_path) as ledger:
            await fill(source, ledger)
            assert len(ledger.set_asides()) == 1


async def test_nothing_is_stated_before_the_directory_is_as_far_as_the_decision(tmp_path: Path) -> None:
    directory = world.StillDirectory(world.knowledge(), at=9)
    source = world.JudgingSource(records(2))
    with world.ledger_at(tmp_path) as ledger:
        running = asyncio.create_task(fill(source, ledger, directory=directory))
        await world.until(lambda: bool(source.given))
        await world.until(lambda: directory.waiting)
        assert ledger.size == 0
        directory.move(10)
        await running
        assert ledger.size == 2 * 3


async def test_a_stop_while_the_directory_is_behind_leaves_the_batch_for_the_next_start(tmp_path: Path) -> None:
    stop, source = asyncio.Event(), world.JudgingSource(records(2))
    with world.ledger_at(tmp_path) as ledger:
        directory = world.StillDirectory(world.knowledge(), at=9)
        sequencer = Sequencer("s0-2026h2", source, ledger, DisclosureRecorder(), directory)
        running = asyncio.create_task(sequencer.run(stop))
        await world.until(lambda: bool(source.given))
        stop.set()
        await asyncio.wait_for(running, 20)
        assert (ledger.size, ledger.positions()) == (0, {})


async def test_progress_tells_how_far_the_log_is_behind(tmp_path: Path) -> None:
    source = world.JudgingSource(records(3), largest=2)
    with world.ledger_at(tmp_path) as ledger:
        stop = asyncio.Event()
        sequencer = Sequencer(
            "s0-2026h2", source, ledger, DisclosureRecorder(), world.StillDirectory(world.knowledge())
        )
        assert sequencer.progress.seconds(2e9) == 0
        running = asyncio.create_task(sequencer.run(stop))
        await source.drained.wait()
        stop.set()
        await running
    assert (sequencer.progress.behind, sequencer.progress.last) == (0, 1_795_520_805_123)
    # It held everything there was when it last looked, although the last record is from another day.
    assert sequencer.progress.seconds(time.time()) < 60
    sequencer.progress.whole = 0
    assert sequencer.progress.seconds(1_795_520_865.123) == pytest.approx(60)


def sequences(root: Path) -> list[int]:
    """The sequence number in part D of every entry."""
    vault = Vault.read_only(world.files_at(root).persons, world.GENERATION)
    reader = LedgerReader.open(world.files_at(root).store("s0-2026h2"), vault=vault)
    try:
        openings = [reader.opening(index, "D") for index in reader.indices(limit=1000)]
        return [int(str(read_part(base64.b64decode(one["D"]["bytes"]))["sequence"])) for one in openings]  # type: ignore[index]
    finally:
        reader.close()
        vault.close()
