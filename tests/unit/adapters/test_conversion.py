"""Converting a file: both outcomes are whole or absent, private, repeatable, and read back strictly."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from integrator.domain.errors import Invalid
from integrator.sdk.adapter import Summary, convert_file, installed_adapter, installed_adapters
from integrator.sdk.message import SourceMessage, read_events
from integrator_adapters.lo3 import ADAPTER
from tests.unit.adapters.lists import FIRST, SECOND, person, row, text

ID = "00000000-0000-5000-8000-000000000000"
LINE = {"stream": "brp/person", "id": ID, "time": "2026-01-31T12:00:00.000Z", "value": {"bsn": FIRST}}


def write(folder: Path) -> Path:
    source = folder / "lists.csv"
    source.write_text(text([person(), row(p12_35_10="PN"), person(SECOND)]))
    return source


def test_events_and_rejects_are_json_lines_that_only_their_owner_reads(tmp_path: Path) -> None:
    out, rejects = tmp_path / "events.jsonl", tmp_path / "rejects.jsonl"
    calls: list[Summary] = []
    summary = convert_file(ADAPTER, write(tmp_path), out, rejects, progress=calls.append)
    with out.open("rb") as lines:
        assert [event.value["bsn"] for event in read_events(lines)] == [FIRST, SECOND]
    assert json.loads(rejects.read_text()) == {"row": 3, "category": "12", "code": "not-in-contract"}
    assert (summary.events, summary.rejected, summary.adds_up) == (2, 1, True)
    assert calls[-1] is summary
    assert {stat.S_IMODE(path.stat().st_mode) for path in (out, rejects)} == {0o600}


def test_a_repeated_conversion_gives_the_same_ids_and_another_list_gives_others(tmp_path: Path) -> None:
    def ids(source: Path) -> list[str]:
        convert_file(ADAPTER, source, tmp_path / "e", tmp_path / "r")
        return [json.loads(line)["id"] for line in (tmp_path / "e").read_text().splitlines()]

    first = ids(write(tmp_path))
    assert ids(write(tmp_path)) == first
    other = tmp_path / "other.csv"
    other.write_text(text([person(p09_02_10="Arend"), person(SECOND)]))
    changed, same = ids(other)
    assert changed not in first
    assert same == first[1]


def test_a_conversion_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    out, rejects = tmp_path / "events.jsonl", tmp_path / "rejects.jsonl"
    out.write_text("before")
    source = tmp_path / "bad.csv"
    source.write_bytes(text([person()]).encode() + b"\xff\n")
    with pytest.raises(Invalid) as refusal:
        convert_file(ADAPTER, source, out, rejects)
    assert refusal.value.code == "lo3-encoding"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "events.jsonl"]
    assert out.read_text() == "before"


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    source = write(tmp_path)
    for out, code in (
        (tmp_path / "none" / "e", "file-unusable"),
        (source, "file-same"),
        (source / "e", "file-unusable"),
    ):
        with pytest.raises(Invalid) as refusal:
            convert_file(ADAPTER, source, out, tmp_path / "r")
        assert refusal.value.code == code
    with pytest.raises(Invalid) as refusal:
        convert_file(ADAPTER, tmp_path / "absent", tmp_path / "e", tmp_path / "r")
    assert refusal.value.code == "file-missing"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "{",
        json.dumps(LINE)[:-1] + ', "extra": 1}',
        json.dumps(LINE)[:-1] + f', "id": "{ID}"}}',
        json.dumps({**LINE, "stream": "person"}),
        json.dumps({**LINE, "id": "1"}),
        json.dumps({**LINE, "id": ID.upper().replace("8", "A")}),
        json.dumps({**LINE, "time": "2026-01-31T12:00:00"}),
        json.dumps({**LINE, "time": "2026-13-31T12:00:00Z"}),
        json.dumps({**LINE, "value": []}),
        json.dumps({**LINE, "value": {"bsn": float("nan")}}),
    ],
)
def test_a_line_that_is_no_event_is_refused_by_its_number_and_without_its_values(line: str) -> None:
    with pytest.raises(Invalid) as refusal:
        SourceMessage.from_json(line, number=3)
    assert "Line 3" in refusal.value.message
    assert FIRST not in refusal.value.message


def test_lines_are_utf_8_and_empty_ones_are_passed_over() -> None:
    good = json.dumps(LINE).encode()
    assert len(list(read_events([b"\xef\xbb\xbf" + good + b"\r\n", b"\n", good]))) == 2
    with pytest.raises(Invalid, match="Line 2"):
        list(read_events([good, b"\xff"]))


def test_an_event_does_not_print_what_it_says_of_people() -> None:
    assert FIRST not in repr(SourceMessage.from_json(json.dumps(LINE), number=1))


def test_adapters_are_found_by_name_and_an_unknown_name_lists_them() -> None:
    assert {"lo3", "population"} <= installed_adapters().keys()
    assert installed_adapter("lo3").stream == "brp/person"
    with pytest.raises(Invalid, match="lo3"):
        installed_adapter("none")
