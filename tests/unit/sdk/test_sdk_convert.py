"""`integrator convert` counts every part of a file, for people and for programs, and fails when the count does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from integrator.cli import convert
from integrator.domain.errors import Invalid
from integrator.sdk.adapter import BlankRow, Converted, Item, Rejected, RowRead
from integrator.sdk.message import SourceMessage, utc_text

app = typer.Typer()
app.command()(convert.convert)


class Adapter:
    """One person in two rows, a reject and a blank row; `loses` makes it drop a unit."""

    name = "demo"
    stream = "demo/grant"

    def __init__(self, *, loses: bool = False) -> None:
        self.loses = loses

    def convert(self, source: Path, *, now: datetime) -> Iterator[Item]:
        yield RowRead(2, 2)
        yield RowRead(3, 2)
        yield BlankRow(4)
        identifier = "6f2a1d0e-4c55-5d0b-9a53-0d1f3a7c2b11"
        yield Converted(2, SourceMessage(self.stream, identifier, utc_text(now), {"bsn": "1"}), 3)
        if not self.loses:
            yield Rejected(3, "08", "no-address")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "list.csv"
    file.write_text("x\n", "utf-8")
    return file


def run(source: Path, monkeypatch: pytest.MonkeyPatch, adapter: Adapter, *options: str) -> str:
    def installed(name: str) -> Adapter:
        assert name == "demo"
        return adapter

    monkeypatch.setattr(convert, "installed_adapter", installed)
    out, rejects = source.with_name("events.jsonl"), source.with_name("rejects.jsonl")
    result = CliRunner().invoke(app, ["demo", str(source), "--out", str(out), "--rejects", str(rejects), *options])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_the_summary_for_programs_has_every_count(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = json.loads(run(source, monkeypatch, Adapter(), "--json"))
    assert summary == {
        "rows": 3,
        "blank": 1,
        "events": 1,
        "units": 4,
        "applied": 3,
        "rejected": 1,
        "codes": {"no-address": 1},
        "notices": [],
    }
    assert len(source.with_name("events.jsonl").read_text("utf-8").splitlines()) == 1
    reject = json.loads(source.with_name("rejects.jsonl").read_text("utf-8"))
    assert reject == {"row": 3, "category": "08", "code": "no-address"}


def test_the_summary_for_people_says_the_same(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = run(source, monkeypatch, Adapter())
    assert "3 rows (1 blank), 1 events." in text
    assert "4 categories: 3 in events, 1 rejected." in text
    assert "no-address: 1" in text


def test_a_count_that_does_not_add_up_is_an_error(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Invalid, match="neither in an event nor rejected"):
        run(source, monkeypatch, Adapter(loses=True))


def test_an_adapter_that_is_not_installed_is_named(source: Path) -> None:
    result = CliRunner().invoke(app, ["nothing", str(source), "--out", "o", "--rejects", "r"])
    assert isinstance(result.exception, Invalid)
    assert "Installed:" in result.exception.message
