"""RvIG's own test set of person lists: everything in it is in an event, or rejected by row, category and code.

Figures are counted here from the file itself, without the adapter's reader.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest

from integrator.encoding import schemas_directory
from integrator.sdk.adapter import BlankRow, Converted, Item, Rejected, RowRead, Summary
from integrator_adapters.lo3 import ADAPTER

pytestmark = pytest.mark.shared

FILE = Path(__file__).resolve().parents[3] / "shared" / "data" / "brp" / "persoonslijsten.csv"
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
CONTRACT = frozenset(f"{category:02}" for category in range(1, 10))


@cache
def rows() -> tuple[list[str], list[list[str]]]:
    with FILE.open(encoding="utf-8-sig", newline="") as file:
        header, *lines = csv.reader(file, delimiter=";")
    return header, lines


@cache
def items() -> tuple[Item, ...]:
    return tuple(ADAPTER.convert(FILE, now=NOW))


@cache
def units() -> dict[tuple[int, str], dict[str, str]]:
    """Return the filled elements of every (row, category)."""
    header, lines = rows()
    found: dict[tuple[int, str], dict[str, str]] = {}
    for number, line in enumerate(lines, start=2):
        for name, cell in zip(header, line, strict=True):
            if name and cell.strip() and not name.endswith(".H"):
                found.setdefault((number, name[:2]), {})[name[3:]] = cell.strip()
    return found


@cache
def lists() -> list[list[int]]:
    """Return the numbers of the rows of each list."""
    found: list[list[int]] = []
    for number, line in enumerate(rows()[1], start=2):
        if line[0].strip():
            found.append([])
        if any(cell.strip() for cell in line):
            found[-1].append(number)
    return found


@cache
def records() -> dict[int, dict[str, Any]]:
    return {item.row: item.event.value for item in items() if isinstance(item, Converted)}


@cache
def refused() -> dict[tuple[int, str], str]:
    return {(item.row, item.category): item.code for item in items() if isinstance(item, Rejected)}


def test_rows_blank_rows_units_and_decisions_add_up_to_the_file() -> None:
    summary = Summary()
    for item in items():
        summary.count(item)
    lines = rows()[1]
    assert summary.adds_up
    assert summary.rows == len(lines) == 1143
    assert summary.blank == sum(not any(cell.strip() for cell in line) for line in lines) == 5
    assert summary.units == len(units())
    assert {item.row for item in items() if isinstance(item, RowRead | BlankRow)} == set(range(2, len(lines) + 2))


def test_every_person_becomes_one_event_and_a_second_list_none() -> None:
    numbers: dict[str, int] = {}
    for first, *_ in lists():
        numbers.setdefault(units()[first, "01"]["01.20"], first)
    assert {value["bsn"]: row for row, value in records().items()} == numbers
    again = [rows_of for rows_of in lists() if rows_of[0] not in records()]
    assert len(again) == 3
    for row, category in units():
        in_second = any(row in rows_of for rows_of in again)
        assert in_second == (refused().get((row, category)) == "duplicate-person")


def test_outside_the_contract_is_rejected_and_inside_it_only_what_is_wrong() -> None:
    codes = Counter(code for (_, category), code in refused().items() if category in CONTRACT)
    assert codes.keys() == {"duplicate-person", "date-invalid", "shape-invalid"}
    assert (codes["date-invalid"], codes["shape-invalid"]) == (4, 3)
    for (row, category), code in refused().items():
        assert (category not in CONTRACT) == (code == "not-in-contract") or code == "duplicate-person", row


def test_every_record_fits_the_contract() -> None:
    schema = fastavro.parse_schema(json.loads((schemas_directory() / "brp/person/v1.avsc").read_text("utf-8")))
    for value in records().values():
        out = BytesIO()
        fastavro.schemaless_writer(out, schema, value, strict=True)
        out.seek(0)
        assert fastavro.schemaless_reader(out, schema, None) == value


def test_every_former_residence_stands_in_its_place() -> None:
    for first, *rest in lists():
        if (value := records().get(first)) is None:
            continue
        said = [units()[row, "08"] for row in rest if (row, "08") in units()]
        assert [home["address"]["street"] for home in value["history"]["residences"]] == [
            elements.get("11.10") for elements in said
        ]
        assert value["municipality"] == units()[first, "08"].get("09.10")


def test_children_are_counted_as_the_marks_say() -> None:
    header, lines = rows()
    mark = header.index("09.H")
    for first, *rest in lists():
        if (value := records().get(first)) is None:
            continue
        announced = ["09"] + [lines[row - 2][mark].strip() for row in (first, *rest)]
        # The row that a mark announces is missing twice in the file; a child who is none after all has no names.
        said = [
            (kind, units()[row, "09"])
            for kind, row in zip(announced, (first, *rest), strict=False)
            if (row, "09") in units()
        ]
        kinds = [kind for kind, _ in said]
        assert len(value["children"]) == sum(kind == "09" and "02.40" in elements for kind, elements in said)
        assert len(value["history"]["children"]) == kinds.count("59")


def test_secrecy_death_emigration_and_what_was_marked_wrong_are_all_there() -> None:
    wrong = 0
    for first, value in records().items():
        registration = units()[first, "07"]
        if (first, "07") not in refused():
            assert value["restriction"] == int(registration["70.10"])
            assert (value["suspension"] or {}).get("reason") == registration.get("67.20")
        assert (value["death"] is not None) == ("08.10" in units().get((first, "06"), {}))
        assert (value["address"] or {}).get("country") == units()[first, "08"].get("13.10")
        wrong += json.dumps(value).count('"incorrect": "O"')
    marked = sum(
        elements.get("84.10") == "O"
        for unit, elements in units().items()
        if unit[1] in CONTRACT and unit not in refused()
    )
    assert wrong == marked > 50


def test_what_the_file_says_of_dates_is_said_with_what_is_unknown() -> None:
    for first, value in records().items():
        written = units()[first, "01"].get("03.10", "00000000")
        known = [written[:4], written[4:6], written[6:]]
        expected = "unknown" if known[0] == "0000" else "-".join(part for part in known if part != "00")
        assert value["birth"]["date"] == expected
    assert {"1968", "1995-02", "unknown"} <= {value["birth"]["date"] for value in records().values()}
