"""Holds that a person's list goes through all logs, each entry once, and that a place in it stands still."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrator.domain.errors import Invalid
from integrator.http.disclosures import Cursors
from integrator.recording.disclosures import DisclosureRecorder
from integrator.recording.openings import Openings, Place, ShownDisclosure
from integrator_audit import errors as audit
from tests.unit.recording import recording_samples as world

STATEMENT = DisclosureRecorder().read(world.record(world.disclosure(), 0)).make(world.knowledge())[0].a


@dataclass
class Shard:
    """A shard of one person's entries, which were disclosed at these minutes; some are erased."""

    minutes: list[int]
    erased: set[int] = field(default_factory=set[int])

    def indices_of(self, subject: bytes, *, before: int | None = None, limit: int = 100) -> list[int]:
        end = len(self.minutes) if before is None else before
        return list(range(end - 1, -1, -1))[:limit]

    def opening(self, index: int, parts: str) -> Mapping[str, object]:
        if index in self.erased and parts != "A":
            raise audit.Refused("opening-erased", "the entry was erased")
        person = {"at": f"2026-11-24T10:{self.minutes[index]:02}:00.000Z", "role": "subject"}
        said = {"A": STATEMENT, "S": json.dumps(person).encode()}
        return {"index": index} | {one: {"bytes": base64.b64encode(said[one]).decode()} for one in parts}


def pages(halves: list[tuple[str, list[Shard]]], limit: int) -> list[ShownDisclosure]:
    openings = Openings(lambda: halves, world.StillDirectory(world.knowledge()), key=world.LEDGER_KEY)
    cursors, after, found = Cursors(b"k" * 32), None, list[ShownDisclosure]()
    while True:
        page = openings.page(world.CHILD, after=after, limit=limit)
        assert len(page.disclosures) == limit or page.after is None
        found += page.disclosures
        if page.after is None:
            return found
        after = cursors.read(world.CHILD, cursors.make(world.CHILD, page.after))


MINUTES = st.lists(st.integers(0, 59), max_size=6).map(sorted)


@given(st.lists(st.lists(MINUTES, min_size=1, max_size=3), max_size=3), st.integers(1, 5))
def test_every_entry_of_every_log_is_shown_once_newest_first(logs: list[list[list[int]]], limit: int) -> None:
    halves = [(f"20{30 - at}h1", [Shard(minutes) for minutes in shards]) for at, shards in enumerate(logs)]
    found = [one.at[14:16] for one in pages(halves, limit)]
    expected = [f"{minute:02}" for shards in logs for minute in sorted(chain(*shards), reverse=True)]
    assert found == expected


def test_a_place_stands_still_while_the_logs_grow_and_a_half_year_begins() -> None:
    quiet, busy = Shard([]), Shard([1, 3, 5])
    halves = [("2026h2", [busy, quiet])]
    openings = Openings(lambda: halves, world.StillDirectory(world.knowledge()), key=world.LEDGER_KEY)
    first = openings.page(world.CHILD, after=None, limit=2)
    assert first.after == Place("2026h2", (1, 0))
    busy.minutes.append(6)
    quiet.minutes.append(7)
    halves.insert(0, ("2027h1", [Shard([8]), Shard([])]))
    second = openings.page(world.CHILD, after=first.after, limit=2)
    assert [one.at[14:16] for one in second.disclosures] == ["01"]
    assert second.after is None


def test_an_entry_that_is_just_being_erased_is_shown_with_what_is_left_of_it() -> None:
    (shown,) = pages([("2026h2", [Shard([1], erased={0})])], 5)
    assert (shown.at, shown.role, shown.recipient.name) == ("2026-11-24", "", "groeifonds")
    assert "S" not in shown.opening


def test_a_place_that_does_not_fit_the_shards_is_refused() -> None:
    openings = Openings(lambda: [("2026h2", [Shard([1])])], world.StillDirectory(world.knowledge()), key=b"k" * 32)
    with pytest.raises(Invalid) as caught:
        openings.page(world.CHILD, after=Place("2026h2", (1, 1)), limit=5)
    assert caught.value.code == "cursor-invalid"
