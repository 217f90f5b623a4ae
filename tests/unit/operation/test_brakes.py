"""Holds that lanes stop when the ledger is behind, silent or without room, and go on by themselves, not by turns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from integrator.operation.brakes import FULL, ROOM, LedgerBrakes

START = 1_790_000_000_000
"""Milliseconds since 1970."""


class Ledger:
    """The ledger's state file, and a clock that only this test moves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.at = START
        self.reaches: dict[str, int | None] = {"s0-2026h2": START, "institution-2026h2": START}
        self.free = 2 * ROOM
        self.brakes = LedgerBrakes(path)

    def write(self) -> None:
        logs = {log: {"reaches": reaches} for log, reaches in self.reaches.items()}
        self.path.write_text(json.dumps({"at": self.at, "free": self.free, "logs": logs}))

    def after(self, seconds: float, *, whole: bool = True) -> str | None:
        """Let time pass and ask; `whole` logs have everything there is."""
        self.at += round(seconds * 1000)
        if whole:
            self.reaches = dict.fromkeys(self.reaches, self.at)
        self.write()
        return self.ask()

    def ask(self) -> str | None:
        found = self.brakes.reason(at=self.at)
        return found and found.code


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state.json")


def test_a_ledger_that_keeps_up_stops_nothing(ledger: Ledger) -> None:
    assert [ledger.after(seconds) for seconds in (0, 1, 3600, 1)] == [None] * 4


def test_a_log_more_than_a_minute_behind_stops_and_half_a_minute_lets_go(ledger: Ledger) -> None:
    assert ledger.after(1) is None
    whole = ledger.at
    assert [ledger.after(20, whole=False) for _ in range(3)] == [None] * 3
    assert ledger.after(1, whole=False) == "ledger-behind"
    # Catching up: within a minute is not enough to go on.
    ledger.reaches["s0-2026h2"] = ledger.reaches["institution-2026h2"] = whole + 20_000
    assert ledger.after(1, whole=False) == "ledger-behind"
    ledger.reaches = dict.fromkeys(ledger.reaches, whole + 35_000)
    assert ledger.after(1, whole=False) is None
    assert ledger.after(20, whole=False) is None


def test_one_log_that_stands_still_stops_although_the_other_goes_on(ledger: Ledger) -> None:
    assert ledger.after(1) is None
    ledger.at += 61_000
    ledger.reaches["s0-2026h2"] = ledger.at
    assert ledger.after(0, whole=False) == "ledger-behind"
    reason = ledger.brakes.reason(at=ledger.at)
    assert reason is not None
    assert "institution-2026h2" in reason.message


def test_a_ledger_that_says_nothing_for_a_minute_stops_and_goes_on_when_it_speaks(ledger: Ledger) -> None:
    assert ledger.after(1) is None
    ledger.at += 60_000
    assert ledger.ask() is None
    ledger.at += 1_000
    assert ledger.ask() == "ledger-silent"
    assert ledger.after(1) is None


def test_what_was_written_before_a_long_pause_is_silence_at_once(ledger: Ledger) -> None:
    ledger.write()
    ledger.at += 24 * 60 * 60 * 1000
    assert ledger.ask() == "ledger-silent"


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"at": 1}', b'{"at": null, "free": 1, "logs": {}}'])
def test_a_file_that_is_not_there_or_says_nothing_stops_after_a_minute(ledger: Ledger, content: bytes | None) -> None:
    if content is not None:
        ledger.path.write_bytes(content)
    assert ledger.ask() is None
    ledger.at += 59_000
    assert ledger.ask() is None
    ledger.at += 2_000
    assert ledger.ask() == "ledger-silent"


def test_a_ledger_that_starts_anew_and_does_not_know_yet_counts_from_what_was_known(ledger: Ledger) -> None:
    assert ledger.after(1) is None
    ledger.reaches = dict.fromkeys(ledger.reaches)
    assert ledger.after(50, whole=False) is None
    assert ledger.after(20, whole=False) == "ledger-behind"


def test_a_disk_that_is_nearly_full_stops_until_there_is_room(ledger: Ledger) -> None:
    ledger.free = FULL
    assert ledger.after(1) is None
    ledger.free = FULL - 1
    assert ledger.after(1) == "disk-full"
    ledger.free = ROOM - 1
    assert ledger.after(1) == "disk-full"
    ledger.free = ROOM
    assert ledger.after(1) is None


def test_a_clock_that_goes_back_is_asked_about_at_once(ledger: Ledger) -> None:
    assert ledger.after(1) is None
    ledger.free = 0
    assert ledger.after(-10) == "disk-full"
