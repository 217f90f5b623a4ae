"""How many entries that say nothing a commit adds, so that each day has the same number of unlisted entries.

- Withheld and padding entries together grow evenly over a day, to exactly U at its end: when the ledger stops in the
  middle of a day, what that day has tells only when it stopped. The rest is due some minutes before the end.
- More than U are withheld only by many orders; then the day goes to the next power of two, and somebody has to be told:
  U is too small.
- Each shard pads to its own share of U. Padding goes into the commit that other entries make anyway, at random places
  among them; a ledger without traffic has to be asked now and then, and in the last minutes of a day.

LIMIT: a day in which the ledger stands still at the end has fewer than U, and cannot be mended afterwards: its place in
the log has passed. Who reads the epoch log sees that.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from integrator_audit.completeness.unlisted import NOBODY, padding, unlisted_count
from integrator_audit.errors import Invalid
from integrator_audit.halfyear import DAY_MS, day_of, start_of
from integrator_audit.parts import SUBJECT_ENTRY, Entry

REST_MS: Final = 600_000
"""How long before a day's end everything is due that is still missing."""


class Due(NamedTuple):
    """What a commit has to add: so many padding entries, to a day that comes to `total` unlisted ones.

    `alarm` says that the day has more withheld entries than U allows, and therefore another total than other days.
    """

    padding: int
    total: int
    alarm: bool


def padding_due(*, constant: int, used: int, now: int) -> Due:
    """Return what is due at the moment `now` (ms since 1970) on a day that has `used` unlisted entries already.

    `used` counts withheld and padding entries, with those of the commit that is being made. `constant` is U, or a
    shard's share of it.
    """
    if constant < 0 or used < 0:
        raise Invalid("padding", "the number of unlisted entries of a day is not negative")
    total = unlisted_count(used, constant)
    elapsed = now - start_of(day_of(now))
    by_now = total if elapsed >= DAY_MS - REST_MS else total * elapsed // (DAY_MS - REST_MS)
    return Due(max(by_now - used, 0), total, alarm=total > constant)


class PaddingMeter:
    """Count a shard's unlisted entries of the running day. Not safe to share between threads: the writer owns it.

    Nothing moves before `committed`: a commit that failed asks again.
    """

    def __init__(self, constant: int, *, day: int, used: int) -> None:
        """Go on with a day that has `used` unlisted entries: those since the last checkpoint before its start."""
        self._constant = constant
        self._day = day
        self._used = used

    def due(self, now: int, *, withheld: int = 0) -> Due:
        """Return what the commit at `now` has to add when it brings `withheld` entries itself."""
        return padding_due(constant=self._constant, used=self._before(now) + withheld, now=now)

    def committed(self, at: int, *, unlisted: int) -> None:
        """Take note of a durable commit at the moment `at` that brought so many unlisted entries, padding included."""
        self._used = self._before(at) + unlisted
        self._day = max(self._day, day_of(at))

    def _before(self, now: int) -> int:
        return 0 if day_of(now) > self._day else self._used


def padding_entries(count: int, *, at: int, retention: int) -> list[Entry]:
    """Return `count` padding entries, to be appended at the moment `at` and kept `retention` years."""
    a, d, s, p = padding(retention)
    entry = Entry(SUBJECT_ENTRY, a, d, s, p, NOBODY, recipient="", at=at, retention=retention, listed=False)
    return [entry] * count
