"""Hands out numbers of people who cannot exist: RvIG's test range of citizen service numbers, or twelve digits.

The test range is 999xxxxxx; a number in it passes the elfproef like any other. It holds some 90,000 numbers, so a large
population takes numbers of scheme `test` instead, which no real person can have either.
"""

from __future__ import annotations

from integrator.domain.errors import Invalid
from integrator.domain.identifiers import Scheme

MOST_FAMILIES_WITH_BSN = 2_000
_PREFIXES = 100_000
_STEP = 61_803  # coprime with 10: multiples run through all prefixes before one comes back
_TWELVE = 1_000_000_000_000
_STEP_TWELVE = 618_033_988_749


class Numbers:
    """A row of numbers, each once, in an order that the seed decides. Owned by one population."""

    def __init__(self, seed: int, scheme: Scheme) -> None:
        self.scheme: Scheme = scheme
        self._start = seed * 7_919
        self._next = 0

    @property
    def left(self) -> int:
        """Return how many numbers can surely still be taken."""
        if self.scheme == "test":
            return _TWELVE - self._next
        # One prefix in eleven has no last digit that passes; never fewer than four in five of those left do.
        return (_PREFIXES - self._next) * 4 // 5

    def take(self) -> str:
        """Return the next number. Raises `Invalid` (`population-too-large`) when the test range is used up."""
        if self.scheme == "test":
            position, self._next = self._next, self._next + 1
            return f"{(self._start + position * _STEP_TWELVE) % _TWELVE:012d}"
        while self._next < _PREFIXES:
            position, self._next = self._next, self._next + 1
            eight = f"999{(self._start + position * _STEP) % _PREFIXES:05d}"
            # SPEC elfproef: 9·d1 + 8·d2 + … + 2·d8 − d9 is a multiple of eleven.
            last = sum(weight * int(digit) for weight, digit in zip(range(9, 1, -1), eight, strict=True)) % 11
            if last < 10:
                return f"{eight}{last}"
        raise Invalid("population-too-large", "The test range of citizen service numbers is used up.")
