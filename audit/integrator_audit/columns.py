"""Checks what comes out of a database column by column: SQLite lets any column hold anything, PostgreSQL be altered.

- t text, b bytes, B bytes or nothing, i a number from 0 on, I one or nothing, m a moment in milliseconds, v a number of
  32 bits, o a truth value, a a list of numbers.
- A column is looked at as a whole, at the speed of C: a million rows cost a tenth of a second for each column.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from integrator_audit.errors import Tampered

What = Literal["ledger", "vault", "index", "search", "witness"]
Row = tuple[Any, ...]

_NOTHING: Final = type(None)
_TYPES: Final[dict[str, set[type]]] = {
    "t": {str},
    "b": {bytes},
    "B": {bytes, _NOTHING},
    "i": {int},
    "I": {int, _NOTHING},
    "m": {int},
    "v": {int},
    "o": {bool},
    "a": {list},
}
_LARGEST: Final = {"i": (1 << 63) - 1, "m": (1 << 53) - 1, "v": (1 << 32) - 1}


def typed(types: str, rows: list[Row], *, what: What = "ledger") -> list[Row]:
    """Return rows whose columns have these types; raise `Tampered` (`<what>-damaged`) when they have not."""
    for kind, column in zip(types, zip(*rows, strict=True), strict=bool(rows)):
        if not _TYPES[kind].issuperset(map(type, column)):
            raise damaged("a column has another type than it was made with", what=what)
        if kind in _LARGEST and not 0 <= min(column) <= max(column) <= _LARGEST[kind]:
            raise damaged("a number is out of range", what=what)
        if kind == "a":
            typed("i", [(number,) for numbers in column for number in numbers], what=what)
    return rows


def typed_row(types: str, row: Row | None, *, what: What = "ledger") -> Row | None:
    """Return one row, or None when there is none; raise as `typed` does."""
    return None if row is None else typed(types, [row], what=what)[0]


def damaged(problem: str, *, what: What = "ledger") -> Tampered:
    """Return the error about a damaged file."""
    advice = "never go on with an older copy of it" if what == "witness" else "run fsck"
    return Tampered(f"{what}-damaged", f"the file of the {what} is damaged: {problem}; {advice}")
