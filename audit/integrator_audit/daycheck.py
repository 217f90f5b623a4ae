"""Check that a ledger's file still has what each sealed day of its half-year says of it: its end, and its closing.

The log of days names the size and root that every log had at the end of each day. So it knows of rows that nothing
else in the file names: the checkpoints of earlier days, and that the log was closed when its half-year was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from integrator_audit.findings import Findings
from integrator_audit.rawrows import RawRows


class DayEnd(NamedTuple):
    """Where a day ended in a log: `before` is the moment (ms since 1970) after it; `closing` says that the log ended.

    `date` names the day to people. A day of which nothing is known has no end.
    """

    date: str
    before: int
    size: int
    root: bytes
    closing: bool


def check_day_ends(rows: RawRows, ends: Sequence[DayEnd], findings: Findings) -> None:
    """Compare the kept checkpoints with the ends of days, in their order."""
    former = 0
    for end in ends:
        if end.closing:
            _check_closing(rows, end, findings)
        # Days without an entry have the end of the one before: what is missing is named once.
        if end.closing or end.size != former:
            _check_end(rows, end, findings)
        former = end.size


def _check_end(rows: RawRows, end: DayEnd, findings: Findings) -> None:
    # As sealing asks for it: the end of a closed log is its end, whenever it was closed.
    query = "SELECT size, root FROM checkpoint WHERE at < ? ORDER BY size DESC, at DESC LIMIT 1"
    if end.closing:
        found = rows.first("SELECT size, root FROM checkpoint ORDER BY size DESC, at DESC LIMIT 1")
    else:
        found = rows.first(query, (end.before,))
    if found is None or found[0] != end.size:
        here = "none" if found is None else f"one of {found[0]} entries"
        message = f"{end.date} was sealed with {end.size} entries, and as its last checkpoint there is {here}"
        findings.add("checkpoint-missing", f"row of checkpoint {end.size}", message)
    elif found[1] != end.root:
        message = f"{end.date} was sealed with another root at this size"
        findings.add("checkpoint-wrong", f"row of checkpoint {end.size}", message)


def _check_closing(rows: RawRows, end: DayEnd, findings: Findings) -> None:
    if rows.first("SELECT size FROM closing") is None:
        message = f"the half-year was sealed on {end.date} with the log closed, and the file does not say that it is"
        findings.add("closing-missing", f"row of closing {end.size}", message)
