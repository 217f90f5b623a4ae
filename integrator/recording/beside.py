"""Entries that no record asks for: padding among a shard's, and what the ledger says of its own keys.

- They go into the commit that is made anyway, or into one of their own when none comes.
- What is due is asked again until a commit with it is durable, and counted from what is durable after a start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from integrator import telemetry
from integrator.recording import institution
from integrator.recording.logs import LedgerFiles
from integrator.recording.sequencer import NOTHING, Beside, Due
from integrator_audit import Entry
from integrator_audit.completeness.padding import PaddingMeter, padding_entries
from integrator_audit.halfyear import day_of, period_of_name, start_of
from integrator_audit.store import Reading

_LOG = telemetry.log("recording")

PADDING_YEARS: Final = 20
"""Padding is kept as long as anything that it hides among."""


class Padding:
    """Fills a shard's unlisted entries of each day up to its share, evenly over the day."""

    def __init__(self, constant: int, reading: Reading, *, log: str, now: int) -> None:
        """Go on with the day of `now`; `constant` is the shard's share of the day's unlisted entries."""
        self._log = log
        self._alarmed = -1
        with reading.snapshot():
            before, head = reading.last_before(start_of(day_of(now))), reading.head()
            start, stop = (0 if before is None else before.size), (0 if head is None else head.size)
            used = len(reading.unlisted_between(start, stop))
        self._meter = PaddingMeter(constant, day=day_of(now), used=used)

    def due(self, now: int, entries: Sequence[Entry]) -> Due:
        """Return the padding that is due at `now`."""
        due = self._meter.due(now, withheld=_unlisted(entries))
        if due.alarm and self._alarmed != day_of(now):
            self._alarmed = day_of(now)
            _LOG.warning("ledger-unlisted-many", log=self._log, total=due.total)
        return Due(padding_entries(due.padding, at=now, retention=PADDING_YEARS), {}) if due.padding else NOTHING

    def committed(self, now: int, entries: Sequence[Entry], marks: Mapping[tuple[str, int], int]) -> None:  # noqa: ARG002
        """Count what became durable."""
        self._meter.committed(now, unlisted=_unlisted(entries))


class OwnKeys:
    """Enters into the institution log that the label key of its half-year was made, once."""

    def __init__(self, files: LedgerFiles, half: str, *, recorded: Mapping[tuple[str, int], int]) -> None:
        """`recorded` are the marks that the log has already."""
        self._files, self._half = files, half
        self._mark = institution.key_mark(f"labels-{half}")
        self._done = self._mark in recorded

    def due(self, now: int, entries: Sequence[Entry]) -> Due:  # noqa: ARG002  nothing depends on the records
        """Return the entry of the label key as soon as its public part is written down."""
        spki = None if self._done else self._files.read_label_key(self._half)
        if spki is None:
            return NOTHING
        at, period = datetime.fromtimestamp(now / 1000, UTC), str(period_of_name(self._half))
        entry = institution.key_event("made", "label", period, at=at, sha256=sha256(spki.spki).hexdigest())
        return Due([entry], {self._mark: 1})

    def committed(self, now: int, entries: Sequence[Entry], marks: Mapping[tuple[str, int], int]) -> None:  # noqa: ARG002
        """Take note when the entry is durable."""
        self._done = self._done or self._mark in marks


class Together:
    """Several things that go beside the records of one log."""

    def __init__(self, *several: Beside) -> None:
        self._several = several

    def due(self, now: int, entries: Sequence[Entry]) -> Due:
        """Return what is due of any."""
        due = [one.due(now, entries) for one in self._several]
        marks = {mark: value for one in due for mark, value in one.marks.items()}
        return Due([entry for one in due for entry in one.entries], marks)

    def committed(self, now: int, entries: Sequence[Entry], marks: Mapping[tuple[str, int], int]) -> None:
        """Tell each what became durable."""
        for one in self._several:
            one.committed(now, entries, marks)


def _unlisted(entries: Sequence[Entry]) -> int:
    return sum(not entry.listed for entry in entries)
