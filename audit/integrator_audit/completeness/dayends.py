"""Says from the log of days where each sealed day ended in another log: a shard, or the institution log."""

from __future__ import annotations

from collections.abc import Iterable

from integrator_audit.completeness.epoch import EpochLeaf
from integrator_audit.daycheck import DayEnd
from integrator_audit.halfyear import date_of, last_day, period_of_origin, shard_of_origin, start_of


def day_ends(days: Iterable[EpochLeaf], origin: str) -> list[DayEnd]:
    """Return the ends of the days of a log's half-year, ascending; of a log without one, or without days, none.

    Days before the first that had an entry are left out: a log of days that began in the middle of a half-year knows
    nothing of them.
    """
    period, shard = period_of_origin(origin), shard_of_origin(origin)
    ends: list[DayEnd] = []
    for leaf in days:
        if not period or leaf.period != period:
            continue
        item = None if shard is None else leaf.range_of(shard)
        size, root = (leaf.inst_size, leaf.inst_root) if shard is None else (0, b"")
        if item is not None:
            size, root = item.end, item.root_at_end
        closing = leaf.epoch == last_day(period)
        if size or (closing and (item is not None or shard is None)):
            ends.append(DayEnd(str(date_of(leaf.epoch)), start_of(leaf.epoch + 1), size, root, closing))
    return ends
