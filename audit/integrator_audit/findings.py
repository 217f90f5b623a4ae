"""What a check of a log reports: which row, tile, bundle or file is wrong, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

MAX_FINDINGS = 100

Progress = Callable[[int, int], None]
"""Called with (entries done, entries in all)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: a stable kebab-case code, where it is, and a sentence for people."""

    code: str
    where: str
    message: str


class Findings:
    """Collect findings, each place and code once, and no more than people can read."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], Finding] = {}
        self.left_out = 0

    def add(self, code: str, where: str, message: str) -> None:
        """Report one thing."""
        if (code, where) in self._items:
            return
        if len(self._items) >= MAX_FINDINGS:
            self.left_out += 1
            return
        self._items[code, where] = Finding(code, where, message)

    def __len__(self) -> int:
        return len(self._items) + self.left_out

    @property
    def items(self) -> tuple[Finding, ...]:
        """Return what was reported, in the order of reporting."""
        return tuple(self._items.values())


def no_progress(_done: int, _total: int) -> None:
    """Report to nobody."""
