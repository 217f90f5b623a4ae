"""What press, parliament and everybody may be shown: totals, from which no single entry or person can be told.

- A document counts entries by dimensions of part A only, and by month, never by day. Nothing of parts D, S and P has a
  place in it: no partition, offset, event id, pseudonym, exact time.
- A cell about fewer than ten persons is merged with the other small ones; when these are still fewer than ten persons
  together, the smallest of the others joins them, so that a total minus the shown cells tells nothing either.
- Persons are counted to decide that and never written down.

LIMIT: two tables over the same entries with other dimensions can be subtracted from each other. Publish one table for a
period, not one for each question.
LIMIT: nothing here proves a total. Who doubts one asks the supervisor, who can count again from the entries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final, NamedTuple, cast

from integrator_audit.errors import Invalid, Refused

SCHEMA: Final = "dienstenintegrator/public/v1"
FEWEST_PERSONS: Final = 10
DIMENSIONS: Final = ("recipient", "provider", "stream", "purpose", "basis", "authorisation", "month")
_MONTH: Final = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])", re.ASCII)
_KEYS: Final = {"schema", "origins", "dimensions", "cells", "merged"}


class Crowd(NamedTuple):
    """How many entries a cell has, and the pseudonyms of their persons; None when it is known to be ten or more."""

    entries: int
    persons: Set[bytes] | None

    @property
    def small(self) -> bool:
        """Say whether the cell is about fewer than ten persons."""
        return self.persons is not None and len(self.persons) < FEWEST_PERSONS


@dataclass(slots=True)
class _Cell:
    entries: int = 0
    # Never more than it takes to know that there are enough.
    persons: set[bytes] = field(default_factory=set[bytes])

    @property
    def small(self) -> bool:
        return len(self.persons) < FEWEST_PERSONS


def summarise(
    entries: Iterable[tuple[tuple[str, ...], bytes]], *, origins: Sequence[str], dimensions: Sequence[str]
) -> dict[str, object]:
    """Return the public document over entries of the logs `origins`.

    `entries` yields for each entry its values along `dimensions` (some of `DIMENSIONS`, in order) and the pseudonym of
    its person. Memory is that of the cells. Raises `Invalid` (`public-dimension`).
    """
    _check_dimensions(dimensions)
    cells: dict[tuple[str, ...], _Cell] = {}
    for values, person in entries:
        cell = cells.get(values)
        if cell is None:
            _check_values(values, dimensions)
            cell = cells[values] = _Cell()
        cell.entries += 1
        if cell.small:
            cell.persons.add(person)
    crowds = {values: Crowd(cell.entries, cell.persons) for values, cell in cells.items()}
    return totals(crowds, origins=origins, dimensions=dimensions)


def totals(
    cells: Mapping[tuple[str, ...], Crowd], *, origins: Sequence[str], dimensions: Sequence[str]
) -> dict[str, object]:
    """Return the public document over cells that are counted already. Raises `Invalid` (`public-dimension`)."""
    _check_dimensions(dimensions)
    for values in cells:
        _check_values(values, dimensions)
    merged = [values for values, cell in cells.items() if cell.small]
    large = sorted((cell.entries, values) for values, cell in cells.items() if not cell.small)
    few = len(set[bytes]().union(*(cells[values].persons or () for values in merged))) < FEWEST_PERSONS
    if merged and few and large:
        merged.append(large.pop(0)[1])
        few = False
    document: dict[str, object] = {
        "schema": SCHEMA,
        "origins": sorted(origins),
        "dimensions": list(dimensions),
        "cells": [{"values": list(values), "entries": cells[values].entries} for values in sorted(v for _, v in large)],
    }
    if merged:
        # Where nobody else is in the table, even the number of entries would be about fewer than ten persons.
        total: dict[str, int] = {} if few else {"entries": sum(cells[values].entries for values in merged)}
        document["merged"] = {"cells": len(merged)} | total
    return document


def check_public(document: Mapping[str, object]) -> None:
    """Raise `Refused` (`public-entry`) when a document for everybody says anything but totals along known dimensions.

    That no cell is too small cannot be seen from the document: whoever makes it, makes it with `summarise`.
    """
    if document.get("schema") != SCHEMA or not set(document) <= _KEYS or not _texts(document.get("origins")):
        raise _single("it has other members than the totals")
    dimensions, cells = document.get("dimensions"), document.get("cells")
    if not _texts(dimensions) or not isinstance(cells, list):
        raise _single("it does not name its dimensions and cells")
    try:
        _check_dimensions(cast("list[str]", dimensions))
        for cell in cast("list[object]", cells):
            members = _members(cell, {"values", "entries"})
            values = members["values"]
            if not _texts(values) or not _count(members["entries"], FEWEST_PERSONS):
                raise _single("a cell is no number of entries, at least ten, along the dimensions")
            _check_values(cast("list[str]", values), cast("list[str]", dimensions))
    except Invalid as error:
        raise _single(error.message) from error
    if "merged" in document:
        counts = _members(document["merged"], {"cells"}, optional={"entries"})
        if not all(_count(item, 1) for item in counts.values()):
            raise _single("what was merged is a number of cells and of entries")


def _single(what: str) -> Refused:
    return Refused("public-entry", f"the document is not for everybody: {what}")


def _members(value: object, names: set[str], *, optional: Set[str] = frozenset()) -> dict[str, object]:
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        if names <= set(members) <= names | optional:
            return members
    raise _single(f"a part of it has other members than {', '.join(sorted(names | optional))}")


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in cast("list[object]", value))


def _count(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def _check_dimensions(dimensions: Sequence[str]) -> None:
    if not dimensions or len(set(dimensions)) != len(dimensions) or not set(dimensions) <= set(DIMENSIONS):
        raise Invalid("public-dimension", f"a public table counts along some of {', '.join(DIMENSIONS)}")


def _check_values(values: Sequence[str], dimensions: Sequence[str]) -> None:
    if len(values) != len(dimensions):
        raise Invalid("public-dimension", "an entry has one value for each dimension of a public table")
    for value, dimension in zip(values, dimensions, strict=True):
        if dimension == "month" and not _MONTH.fullmatch(value):
            raise Invalid("public-dimension", "a public table counts by month, written as 2026-11")
