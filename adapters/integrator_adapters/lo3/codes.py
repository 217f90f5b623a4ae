"""Reads single elements of a person list: every value is in its table and of its shape, or its unit is rejected.

- A table that the Logisch Ontwerp BRP itself fixes is written out here. Tables that RvIG publishes apart, and extends
  (32 nationalities, 33 municipalities, 34 countries, 37 reasons), are held to their shape: their codes stay codes.
- Every reader returns `None` for an absent element.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, get_args

from integrator.domain.identifiers import is_valid
from integrator_adapters.lo3.dates import date_of

RejectCode = Literal[
    "bsn-missing",
    "bsn-invalid",
    "code-unknown",
    "column-conflict",
    "date-invalid",
    "duplicate-person",
    "extra-cells",
    "list-missing",
    "not-announced",
    "not-in-contract",
    "person-unusable",
    "second-partner",
    "shape-invalid",
]
"""Why a unit is in no event.

`bsn-missing`, `bsn-invalid`, `code-unknown`, `date-invalid`, `shape-invalid`: the element is absent, or breaks the
elfproef, its table, the calendar, its form. `column-conflict`: two columns of one element differ. `duplicate-person`:
an earlier list was about the same person. `extra-cells`: the row is longer than the header. `list-missing`: the row
stands before the first list. `not-announced`: the row before did not say that more of this category follows, and it
could be several things. `not-in-contract`: the contract has no such category. `person-unusable`: category 01 of the
list was rejected, and without it the others are about nobody. `second-partner`: the contract has one at a time.
"""
REJECT_CODES: tuple[RejectCode, ...] = get_args(RejectCode)

Elements = Mapping[str, str]
"""The filled elements of one category on one row, by `GG.EE`."""

TABLES: dict[str, frozenset[str]] = {
    "02.20": frozenset({"B", "BS", "G", "GI", "H", "HI", "JH", "JV", "M", "MI", "P", "PS", "R"}),
    "04.10": frozenset("MVO"),
    "07.40": frozenset(".ANORSVZ"),
    "10.10": frozenset("WB"),
    "11.50": frozenset({"by", "to"}),
    "15.10": frozenset(".HP"),
    "61.10": frozenset("EPVN"),
    "65.10": frozenset("BV"),
    "67.20": frozenset(".EFMORW"),
    "70.10": frozenset("01234567"),
    "72.10": frozenset(".ABGHIKMOPTW"),
    "84.10": frozenset("OS"),
}
"""The tables with a fixed content: noble titles, sex, end of a marriage, function of an address, beside a number,
form of a partnership, use of names, special nationality, suspension, restriction, declaration, incorrectness."""

SHAPES: dict[str, re.Pattern[str]] = {
    "01.10": re.compile(r"[0-9]{10}"),
    "03.30": re.compile(r"[0-9]{4}"),
    "05.10": re.compile(r"[0-9]{4}"),
    "06.30": re.compile(r"[0-9]{4}"),
    "07.30": re.compile(r"[0-9]{4}"),
    "08.30": re.compile(r"[0-9]{4}"),
    "09.10": re.compile(r"[0-9]{4}"),
    "11.20": re.compile(r"[0-9]{1,5}"),
    "11.30": re.compile(r"[A-Za-z]"),
    "11.60": re.compile(r"[1-9][0-9]{3}[A-Z]{2}"),
    # Spreadsheets eat leading zeros of these identifiers; what is left is passed on as the source has it.
    "11.80": re.compile(r"[0-9]{1,16}"),
    "11.90": re.compile(r"[0-9]{1,16}"),
    "13.10": re.compile(r"[0-9]{4}"),
    "14.10": re.compile(r"[0-9]{4}"),
    "63.10": re.compile(r"[0-9]{3}"),
    "64.10": re.compile(r"[0-9]{3}"),
    "69.10": re.compile(r"[0-9]{4}"),
    "83.10": re.compile(r"[0-9]{6}"),
}
"""The form of codes whose table is published apart, and of numbers."""

DATES = frozenset(
    {
        "03.10", "06.10", "07.10", "08.10", "09.20", "10.30", "13.20", "14.20",
        "62.10", "67.10", "83.20", "83.30", "85.10", "86.10",
    }
)  # fmt: skip
"""The elements that are dates."""
TEXTS = frozenset(
    {
        "02.10", "02.30", "02.40", "03.20", "06.20", "07.20", "08.20", "10.20",
        "11.10", "11.15", "11.40", "11.70", "12.10", "13.30", "13.40", "13.50",
    }
)  # fmt: skip
"""The elements that are free text."""
MOST_TEXT = 200
"""The longest text that is taken: the name of the bearer of many given names; more is a row that ran together."""


class RejectedUnit(Exception):  # an answer inside this package, not one of the errors that callers see
    """Carry why a unit cannot be used."""

    def __init__(self, code: RejectCode) -> None:
        super().__init__(code)
        self.code: RejectCode = code


def read(elements: Elements, element: str) -> str | None:
    """Return the value of `element`, checked as the module says; a date in the form of the contract."""
    value = elements.get(element)
    if not value:
        return None
    if element in DATES:
        if (found := date_of(value)) is None:
            raise RejectedUnit("date-invalid")
        return found
    if (table := TABLES.get(element)) is not None:
        if value not in table:
            raise RejectedUnit("code-unknown")
    elif (shape := SHAPES.get(element)) is not None:
        if not shape.fullmatch(value):
            raise RejectedUnit("shape-invalid")
    elif element not in TEXTS:
        raise KeyError(element)
    elif len(value) > MOST_TEXT or not value.isprintable():
        raise RejectedUnit("shape-invalid")
    return value


def read_number(elements: Elements, element: str) -> int | None:
    """Return the value of `element` as a whole number."""
    value = read(elements, element)
    return None if value is None else int(value)


def read_bsn(elements: Elements) -> str | None:
    """Return the citizen service number (01.20). One that breaks the elfproef is rejected, unless the source itself
    marks the row as wrong (84.10): then it is what was written, and stays."""
    value = elements.get("01.20")
    if not value:
        return None
    if is_valid("bsn", value) or (elements.get("84.10") and re.fullmatch(r"[0-9]{9}", value)):
        return value
    raise RejectedUnit("bsn-invalid")
