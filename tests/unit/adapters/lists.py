"""Writes small files of person lists, as RvIG's are shaped, for the tests of the adapter."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from integrator.sdk.adapter import Converted, Item, Rejected, Summary
from integrator_adapters.lo3 import ADAPTER

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
FIRST, SECOND, THIRD, FOURTH = "999990639", "999993872", "999994542", "999995078"
"""Four numbers of RvIG's test range."""

Cells = Mapping[str, str]


def person(number: str = FIRST, **more: str) -> dict[str, str]:
    """Return the first row of a list: `p08_09_10="0599"` is element 08.09.10."""
    return {
        "": "list",
        "01.01.20": number,
        "01.02.10": "Zwaantje",
        "01.02.40": "Kwartelhof",
        "01.03.10": "19800102",
        "01.04.10": "V",
        "07.70.10": "0",
        "07.80.20": "20200630101112131",
        "08.09.10": "0599",
        **row(**more),
    }


def row(**cells: str) -> dict[str, str]:
    """Return the cells of a row: `p09_H="59"` is mark 09.H."""
    return {name[1:].replace("_", "."): value for name, value in cells.items()}


def text(rows: Sequence[Cells], *, columns: Sequence[str] | None = None, end: str = "\n") -> str:
    """Return the file as text; `columns` is the header, else every element in order between two unnamed columns."""
    header = list(columns) if columns is not None else ["", *sorted({name for cells in rows for name in cells} - {""})]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";", lineterminator=end)
    writer.writerow([*header, ""] if columns is None else header)
    for cells in rows:
        line = [cells.get(name, "") for name in header]
        writer.writerow([*line, ""] if columns is None else line)
    return out.getvalue()


def convert(folder: Path, content: str | bytes) -> tuple[list[Item], Summary]:
    """Return what the adapter makes of a file, and the count, which must add up."""
    source = folder / "lists.csv"
    source.write_bytes(content.encode() if isinstance(content, str) else content)
    items = list(ADAPTER.convert(source, now=NOW))
    summary = Summary()
    for item in items:
        summary.count(item)
    assert summary.adds_up
    return items, summary


def values(items: Sequence[Item]) -> list[dict[str, object]]:
    """Return the records."""
    return [item.event.value for item in items if isinstance(item, Converted)]


def rejects(items: Sequence[Item]) -> list[tuple[int, str, str]]:
    """Return (row, category, code) of the rejected units."""
    return [(item.row, item.category, item.code) for item in items if isinstance(item, Rejected)]
