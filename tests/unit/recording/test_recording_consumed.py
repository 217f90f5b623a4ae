"""Holds that no disclosure may be deleted from the event log before it is sealed and backed up."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import pytest

from integrator.domain.errors import Refused, Tampered, Unavailable
from integrator.domain.topics import DISCLOSURES
from integrator.recording import consumed, sealing
from integrator.recording.consumed import Note, note, releasable
from integrator.recording.logs import LedgerFiles
from integrator_audit.halfyear import start_of
from tests.unit.recording import recording_samples as world
from tests.unit.recording.test_recording_sealing import MINUTES, TODAY, ledger

DAY = world.DAY
TOMORROW = DAY + timedelta(days=1)
FAR = date(2099, 1, 1)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "LOOK", 0.02)


def until(files: LedgerFiles, day: date) -> tuple[date, int] | None:
    found = releasable(files, backed_up_until=day)
    return None if found is None else (found.day, found.positions[DISCLOSURES, 2])


async def test_what_was_read_is_released_when_the_day_of_reading_is_sealed_and_backed_up(tmp_path: Path) -> None:
    files = world.files_at(tmp_path)
    with pytest.raises(Unavailable):
        releasable(files, backed_up_until=FAR)
    async with ledger(tmp_path, count=3) as place:
        assert until(files, FAR) is None, "no day is sealed"
        place.clock.now = start_of(TODAY + 1) + MINUTES
        await place.sealed(TODAY)
        await world.until(files.consumed.is_file)
        assert until(files, FAR) is None, "of what was read today some may be of today, which is not sealed"
        await place.filled(world.disclosure(9))
        place.clock.now = start_of(TODAY + 2) + MINUTES
        await place.sealed(TODAY + 1)
        await world.until(lambda: len(json.loads(files.consumed.read_text())) == 2)
        assert until(files, FAR) == (TOMORROW, 3)
        assert until(files, TOMORROW) == (TOMORROW, 3)
        assert until(files, DAY) is None, "a backup that ends before has not all of it"
        place.clock.now = start_of(TODAY + 3) + MINUTES
        await place.sealed(TODAY + 2)
        await world.until(lambda: until(files, FAR) == (TOMORROW + timedelta(days=1), 4))
        assert until(files, TOMORROW) == (TOMORROW, 3)


async def test_a_ledger_that_has_read_less_than_was_noted_releases_nothing(tmp_path: Path) -> None:
    files = world.files_at(tmp_path)
    async with ledger(tmp_path, count=3) as place:
        place.clock.now = start_of(TODAY + 1) + MINUTES
        await place.sealed(TODAY)
    told = json.loads(files.consumed.read_text())
    assert told == [{"day": TOMORROW.isoformat(), "positions": [[DISCLOSURES, 2, 3]]}]
    told[0]["positions"][0][2] = 4
    files.consumed.write_text(json.dumps(told))
    with pytest.raises(Refused) as caught:
        releasable(files, backed_up_until=FAR)
    assert caught.value.code == "ledger-behind"
    for damaged in ("", "{", '[{"day": "today", "positions": []}]', '[{"day": "2026-11-24"}]'):
        files.consumed.write_text(damaged)
        with pytest.raises(Tampered) as broken:
            releasable(files, backed_up_until=FAR)
        assert broken.value.code == "ledger-consumed"


async def test_a_clock_that_is_behind_the_log_notes_the_logs_own_day_and_old_notes_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = world.files_at(tmp_path)
    async with ledger(tmp_path, count=3):
        pass
    monkeypatch.setattr(consumed, "KEPT", 2)
    for days in (-1, 1, 2):
        note(files, now=start_of(TODAY + days) + 1)
    notes = [Note(date.fromisoformat(one["day"]), {}) for one in json.loads(files.consumed.read_text())]
    assert [one.day for one in notes] == [TOMORROW, TOMORROW + timedelta(days=1)]
    note(files, now=start_of(TODAY - 1))
    assert json.loads(files.consumed.read_text())[-1]["day"] == DAY.isoformat()
