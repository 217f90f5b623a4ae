"""Reads a semicolon-separated file of person lists row by row, whatever the order of its columns.

- The first row names the columns: `CC.GG.EE` an element (category, group, element), `CC.H` what the next row of that
  category holds. The name of a list stands in the column without a name; on its first row only.
- Columns may be missing, unknown, or there twice: the first filled cell counts, and two that differ are a conflict.
- UTF-8, with or without a byte order mark; LF or CRLF; quoted cells. Memory holds one row.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from integrator.domain.errors import Invalid

_COLUMN = re.compile(r"([0-9]{2})\.(H|[0-9]{2}\.[0-9]{2})")
_NUMBER = "01.01.20"


@dataclass(frozen=True, slots=True)
class Row:
    """One row that is not blank. `number` counts records from 1, the header included."""

    number: int
    begins: bool
    """Whether a new list begins here."""
    cells: dict[str, dict[str, str]]
    """The filled elements, by category and `GG.EE`."""
    marks: dict[str, str]
    """What the next row of a category holds, by category."""
    conflicts: frozenset[str]
    """Categories in which two columns of one element differ."""
    extra: bool
    """Whether the row goes on after the header's last column."""


@dataclass(frozen=True, slots=True)
class Header:
    """Where everything stands."""

    width: int
    name: int
    columns: tuple[tuple[int, str, str], ...]
    """(index, category, `GG.EE` or `H`), in the order of the file."""
    unknown: tuple[str, ...]
    twice: tuple[str, ...]

    @classmethod
    def of(cls, cells: list[str]) -> Header:
        """Read the first row. Raises `Invalid` (`lo3-header`)."""
        names = [cell.strip() for cell in cells]
        columns: list[tuple[int, str, str]] = []
        for index, name in enumerate(names):
            if match := _COLUMN.fullmatch(name):
                columns.append((index, match[1], match[2]))
        known = [names[index] for index, _, _ in columns]
        if _NUMBER not in known:
            raise Invalid(
                "lo3-header",
                f"Row 1 names no column {_NUMBER}. The first row of a person list file names its columns by LO3 element"
                " (category.group.element), separated by semicolons.",
            )
        others = [index for index, name in enumerate(names) if not _COLUMN.fullmatch(name)]
        unnamed = [index for index in others if not names[index]]
        if not others:
            raise Invalid("lo3-header", "Row 1 has no column without an element: the one that names each person list.")
        name = (unnamed or others)[0]
        return cls(
            len(names),
            name,
            tuple(columns),
            tuple(names[index] for index in others if names[index] and index != name),
            tuple(sorted({column for column in known if known.count(column) > 1})),
        )

    def row(self, number: int, cells: list[str]) -> Row | None:
        """Read row `number`; `None` when it is blank."""
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            return None
        found: dict[str, dict[str, str]] = {}
        marks: dict[str, str] = {}
        conflicts: set[str] = set()
        for index, category, element in self.columns:
            if index >= len(cells) or not (value := cells[index]):
                continue
            if element == "H":
                marks.setdefault(category, value)
            elif found.setdefault(category, {}).setdefault(element, value) != value:
                conflicts.add(category)
        begins = self.name < len(cells) and bool(cells[self.name])
        return Row(number, begins, found, marks, frozenset(conflicts), any(cells[self.width :]))


def read_rows(lines: Iterable[bytes]) -> tuple[Header, Iterator[tuple[int, Row | None]]]:
    """Return the header, and (number, row) for every row after it, to be read once; `None` is a blank row.

    `lines` are those of an open file. Raises `Invalid`: `lo3-header`, and `lo3-encoding` and `lo3-csv` with the row at
    which it happens, also while the rows are read.
    """
    records = _records(lines)
    first = next(records, None)
    if first is None:
        raise Invalid("lo3-header", "The file is empty: its first row must name the columns.")
    header = Header.of(first[1])
    return header, ((number, header.row(number, cells)) for number, cells in records)


def _records(lines: Iterable[bytes]) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(_decode(lines), delimiter=";", strict=True)
    number = 0
    while True:
        number += 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            raise Invalid(
                "lo3-csv", f"Row {number} is not well-formed: look for a quotation mark that is not closed."
            ) from None
        except UnicodeDecodeError:
            raise Invalid(
                "lo3-encoding", f"Row {number} is not UTF-8. Save the file as UTF-8 and convert it again."
            ) from None
        yield number, cells


def _decode(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield line.decode("utf-8-sig" if number == 0 else "utf-8")
