"""Says up to where `integrator.disclosures` may be emptied: what is sealed, and in a backup of the ledger.

- After each sealing the ledger's process notes how far its shards have read, and on which day that was (UTC). What was
  durable then was entered on that day or before: once that day is sealed, all of it is.
- A backup is the operator's to vouch for: it has all that was entered up to the end of a day.
- A note that is ahead of the shards means that their files are an older backup: then nothing may be deleted.

    ledger/consumed.json   [{"day": "2026-11-25", "positions": [["integrator.disclosures", 0, 17], …]}, …]
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Final, NamedTuple

from integrator.domain.errors import Refused, Tampered, Unavailable
from integrator.domain.topics import DISCLOSURES
from integrator.recording.failures import translated
from integrator.recording.keeper import write
from integrator.recording.logs import EPOCHS, LedgerFiles, is_shard, series_of
from integrator_audit.halfyear import date_of, day_of
from integrator_audit.stores import open_reading

KEPT: Final = 400
"""Notes that are kept, one for each sealing: a backup may be more than a year old."""

Positions = Mapping[tuple[str, int], int]


class Note(NamedTuple):
    """How far the shards had read the disclosures at some moment of a day."""

    day: date
    positions: Positions


class Release(NamedTuple):
    """Before these positions everything is sealed and backed up; `day` is that of the note that says so."""

    day: date
    positions: Positions


def note(files: LedgerFiles, *, now: int) -> None:
    """Note how far the shards have read at `now` (ms since 1970). A lost note only delays a release."""
    positions, last = _standing(files)
    day = date_of(day_of(max(now, last)))
    write(files.consumed, _text([*_notes(files), Note(day, positions)][-KEPT:]))


def releasable(files: LedgerFiles, *, backed_up_until: date) -> Release | None:
    """Return up to where the disclosures may be deleted; `None` when there is nothing that may.

    `backed_up_until` is the last day of which a backup holds everything. Raises `Refused` (`ledger-behind`) when the
    shards have not read what was noted, `Unavailable` before there is a ledger.
    """
    sealed = _newest_sealed(files)
    standing, _ = _standing(files)
    found: Note | None = None
    for one in _notes(files):
        if any(position > standing.get(place, 0) for place, position in one.positions.items()):
            raise Refused(
                "ledger-behind",
                "The shards have read less than was noted before: their files are an older backup. Delete nothing.",
            )
        if sealed is not None and one.day <= min(sealed, backed_up_until):
            found = one
    return None if found is None else Release(*found)


def _newest_sealed(files: LedgerFiles) -> date | None:
    if not files.has(EPOCHS):
        return None
    with translated(), contextlib.closing(open_reading(files.store(EPOCHS))) as reading:
        head = reading.head()
    return None if head is None or not head.size else date_of(head.size - 1)


def _standing(files: LedgerFiles) -> tuple[Positions, int]:
    """Return how far the newest log of each shard has read, and when the last of them was extended."""
    newest = {series_of(log): log for log in files.logs() if is_shard(log)}
    if not newest:
        raise Unavailable("no-log", f"There is no subject shard in {files.root} yet.")
    positions: dict[tuple[str, int], int] = {}
    last = 0
    for log in newest.values():
        with translated(), contextlib.closing(open_reading(files.store(log))) as reading, reading.snapshot():
            head = reading.head()
            last = max(last, 0 if head is None else head.at)
            positions |= {place: end for place, end in reading.positions().items() if place[0] == DISCLOSURES}
    return positions, last


def _notes(files: LedgerFiles) -> Iterator[Note]:
    try:
        lines = json.loads(files.consumed.read_text("utf-8"))
        for one in lines:
            yield Note(
                date.fromisoformat(one["day"]), {(topic, number): end for topic, number, end in one["positions"]}
            )
    except FileNotFoundError:
        return
    except (ValueError, TypeError, KeyError):
        raise Tampered("ledger-consumed", f"{files.consumed} is damaged: remove it, it is made anew.") from None


def _text(notes: Iterable[Note]) -> str:
    told = [
        {"day": one.day.isoformat(), "positions": [[*place, end] for place, end in sorted(one.positions.items())]}
        for one in notes
    ]
    return json.dumps(told, separators=(",", ":")) + "\n"
