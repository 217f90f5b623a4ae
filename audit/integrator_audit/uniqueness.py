"""Find values that occur twice among very many, in bounded memory: sorted into files by their first byte, then by one.

The values are hashes, so the files come out equally long; the largest that is held at once is a 256th of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Final

IN_MEMORY: Final = 200_000
"""So many values are held before anything is written."""
VALUE_SIZE: Final = 32
_NUMBER_SIZE = 8
_ITEM = VALUE_SIZE + _NUMBER_SIZE


class Repeated:
    """Collect 32-byte values with their numbers, in one context; it makes a temporary directory when it needs one."""

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(256)]
        self._held = 0
        self._stack = ExitStack()
        self._directory: Path | None = None

    def __enter__(self) -> Repeated:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stack.close()

    def add(self, value: bytes, number: int) -> None:
        """Take one value in."""
        self._buckets[value[0]] += value + number.to_bytes(_NUMBER_SIZE, "big")
        self._held += 1
        if self._held >= IN_MEMORY:
            self._write()

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Yield (number of the first, number of another) of values that came more than once."""
        for first, bucket in enumerate(self._buckets):
            data = bytes(bucket)
            if self._directory is not None:
                data = (self._directory / str(first)).read_bytes() + data
            seen: dict[bytes, int] = {}
            for at in range(0, len(data), _ITEM):
                value = data[at : at + VALUE_SIZE]
                number = int.from_bytes(data[at + VALUE_SIZE : at + _ITEM], "big")
                earlier = seen.setdefault(value, number)
                if earlier != number:
                    yield earlier, number

    def _write(self) -> None:
        if self._directory is None:
            self._directory = Path(self._stack.enter_context(TemporaryDirectory(prefix="integrator-audit-")))
        for first, bucket in enumerate(self._buckets):
            with (self._directory / str(first)).open("ab") as file:
                file.write(bucket)
            bucket.clear()
        self._held = 0
