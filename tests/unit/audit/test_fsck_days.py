"""What the log of days knows of a ledger's file, and the file does not know of itself."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from integrator_audit.cli.main import app
from integrator_audit.completeness.dayends import day_ends
from integrator_audit.fsck import Report, fsck
from integrator_audit.halfyear import last_day, period_name, period_of, shard_of_origin, start_of
from tests.unit.audit.audit_samples import institution_entry
from tests.unit.audit.sealing_samples import FIRST, HOST, Installation


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Return an installation whose half-year is closed and sealed: entries on three days, and on one none."""
    place = Installation(tmp_path_factory.mktemp("days"), shards=2)
    sealer = place.begun()
    period = place.period
    for day in (0, 1, 3):
        place.at(day)
        place.deliver(1, 2)
        place.writer("institution").append([institution_entry(day)], now_ms=place.now)
    place.writer("s1")
    place.close_period(period)
    place.now = start_of(last_day(period) + 1) + int(timedelta(hours=1) / timedelta(milliseconds=1))
    sealer.seal_due()
    yield place
    place.close()


PERIOD = period_name(period_of(FIRST))
LOGS = ("s0", "s1", "institution")


def copied(place: Installation, name: str, directory: Path, *statements: str) -> Path:
    """Return a copy of a log's file in which these statements were run."""
    file = directory / f"{name}-{PERIOD}.sqlite"
    with closing(sqlite3.connect(place.directory / file.name)) as source, closing(sqlite3.connect(file)) as target:
        source.backup(target)
    with closing(sqlite3.connect(file)) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount == 1
    return file


def check(place: Installation, file: Path) -> Report:
    days = place.leaves()
    return fsck(file, vault=place.vault, day_ends=lambda origin: day_ends(days, origin))


def test_a_whole_log_fits_its_days(place: Installation, tmp_path: Path) -> None:
    every = last_day(period_of(FIRST)) - FIRST + 1
    # A shard that never had an entry has an end on the last day only.
    for name, days in (("s0", every), ("s1", 1), ("institution", every)):
        report = check(place, copied(place, name, tmp_path))
        assert (report.findings, report.days) == ((), days)
    assert check(place, place.epoch_file).days == 0


@pytest.mark.parametrize("name", ["s0", "institution"])
@pytest.mark.parametrize("at", [0, 1])
def test_the_checkpoint_of_an_earlier_day_is_missed(place: Installation, tmp_path: Path, name: str, at: int) -> None:
    with closing(sqlite3.connect(place.directory / f"{name}-{PERIOD}.sqlite")) as connection:
        sizes = [size for (size,) in connection.execute("SELECT size FROM checkpoint WHERE size > 0 ORDER BY size")]
    assert len(sizes) == 3
    file = copied(place, name, tmp_path, f"DELETE FROM checkpoint WHERE size = {sizes[at]}")
    assert fsck(file, vault=place.vault).holds, "without the log of days nothing names it"
    (finding,) = check(place, file).findings
    assert (finding.code, finding.where) == ("checkpoint-missing", f"row of checkpoint {sizes[at]}")


@pytest.mark.parametrize("name", LOGS)
def test_the_closing_of_a_half_year_is_missed(place: Installation, tmp_path: Path, name: str) -> None:
    file = copied(place, name, tmp_path, "DELETE FROM closing")
    assert fsck(file, vault=place.vault).holds
    assert [finding.code for finding in check(place, file).findings] == ["closing-missing"]


def test_another_history_of_the_days_is_found(place: Installation, tmp_path: Path) -> None:
    other = Installation(tmp_path / "other", shards=2)
    other.directory.mkdir()
    other.begun()
    for day in (0, 1, 3):
        other.at(day)
        other.deliver(1, 2)
    other.close()
    days = place.leaves()
    report = fsck(tmp_path / "other" / f"s0-{PERIOD}.sqlite", day_ends=lambda origin: day_ends(days, origin))
    assert [(finding.code, finding.where) for finding in report.findings] == [
        *(("checkpoint-wrong", f"row of checkpoint {size}") for size in (2, 4, 6)),
        ("closing-missing", "row of closing 6"),
    ]


def test_a_published_note_beyond_the_log_is_found(place: Installation, tmp_path: Path) -> None:
    behind = Installation(tmp_path / "behind")
    behind.directory.mkdir()
    behind.deliver(1)
    behind.close()
    file = behind.file("s0", period_of(FIRST))
    shutil.copy(file, tmp_path / "backup.sqlite")
    later = Installation(behind.directory)
    later.deliver(2, 3)
    later.writer("s0").publish(later.writer("s0").checkpoint)
    with closing(sqlite3.connect(file)) as connection:
        row = connection.execute("SELECT size, note, seal FROM published").fetchone()
    with closing(sqlite3.connect(tmp_path / "backup.sqlite")) as connection, connection:
        connection.execute("INSERT INTO published VALUES (?, ?, ?)", row)
    later.close()
    (finding,) = fsck(tmp_path / "backup.sqlite").findings
    assert (finding.code, finding.where) == ("published-wrong", "row of published 3")


def test_the_command_compares_with_the_log_of_days(place: Installation, tmp_path: Path) -> None:
    def run(*more: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["fsck", *map(str, (*files, *more, "--epochs", place.epoch_file))])
        return result.exit_code, result.stdout

    files = [copied(place, name, tmp_path) for name in LOGS]
    code, told = run()
    assert code == 0
    assert "compared with the ends of" in told
    assert all(item["days"] > 0 for item in json.loads(run("--json")[1])["files"])
    with closing(sqlite3.connect(files[0])) as connection, connection:
        connection.execute("DELETE FROM closing")
    code, told = run()
    assert (code, "(closing-missing)" in told) == (1, True)


def test_a_shard_is_known_by_the_end_of_its_origin() -> None:
    for origin, shard in [
        (f"{HOST}/s0-2026h2", 0),
        (f"{HOST}/s17", 17),
        ("s3-2026h1", 3),
        (f"{HOST}/institution-2026h2", None),
        (f"{HOST}/epochs", None),
        (f"{HOST}/s01-2026h2", None),
        (f"{HOST}/as3-2026h2", None),
    ]:
        assert shard_of_origin(origin) == shard
