"""Converts a file of LO3 person lists: one `created` event for each person, every unit applied or rejected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from integrator.sdk.adapter import Adapter, Converted, Item, Notice
from integrator.sdk.message import SourceMessage, message_id, utc_text
from integrator_adapters.lo3.lists import PersonList, group
from integrator_adapters.lo3.person import assemble
from integrator_adapters.lo3.reader import Header, read_rows


@dataclass(frozen=True, slots=True)
class PersonLists:
    """The adapter `lo3`."""

    name: str = "lo3"
    stream: str = "brp/person"

    def convert(self, source: Path, *, now: datetime) -> Iterator[Item]:
        """Yield the items of the person lists in `source`. Memory holds one list and the numbers met so far.

        Raises `Invalid`: `lo3-header`, `lo3-encoding`, `lo3-csv`, `lo3-list-too-long`.
        """
        known: set[str] = set()
        with source.open("rb") as file:
            header, rows = read_rows(file)
            yield from _notices(header)
            for item in group(rows):
                if isinstance(item, PersonList):
                    yield from self._convert(item, known, now)
                else:
                    yield item

    def _convert(self, person: PersonList, known: set[str], now: datetime) -> Iterator[Item]:
        """Yield what one list becomes. A number is known once an event was made of it."""
        made = assemble(person, now=now)
        if made.value is None:
            yield from made.rejected
            return
        number = str(made.value["bsn"])
        if number in known:
            yield from (unit.rejected("duplicate-person") for unit in person.units)
            return
        known.add(number)
        identifier = message_id(self.stream, number, _content(person))
        yield Converted(person.row, SourceMessage(self.stream, identifier, utc_text(now), made.value), made.applied)
        yield from made.rejected


def _content(person: PersonList) -> str:
    """Return what the list says, whatever its place in the file and the order of the columns."""
    said = [
        (unit.row - person.row, unit.category, unit.relation, unit.former, sorted(unit.elements.items()))
        for unit in person.units
    ]
    return json.dumps(said, ensure_ascii=True)


def _notices(header: Header) -> Iterator[Notice]:
    if header.unknown:
        yield Notice(f"{len(header.unknown)} columns are no LO3 elements and are not read.")
    for column in header.twice:
        yield Notice(f"Column {column} is there more than once: the first filled cell counts.")


ADAPTER: Adapter = PersonLists()
