"""Sort more than fits in memory, and leave nothing of it on the disk that anybody could read.

- Items are bytes; they are collected in 256 bins by one of their bytes, and bins that fill go to a file without a name.
- What goes there is encrypted under a key that never leaves this process: lists of people's entries pass through here,
  and an erasure must not have to look for them in free blocks.
- Items that agree in their first `together` bytes come out in one list.
"""

from __future__ import annotations

import marshal
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

BINS: Final = 256
HELD: Final = 400_000
"""Items held in memory, in all bins together."""

_NONCE_SIZE: Final = 12


class Sorter:
    """Collect items, then yield them in order. Not safe to share between threads."""

    def __init__(self, *, directory: Path | None = None, held: int = HELD, together: int = 32) -> None:
        """Spill into `directory` (default: the system's for temporary files) beyond `held` items."""
        self._directory = directory
        self._held = held
        self._together = together
        self._store = _Spill(directory)
        self._bins: list[list[bytes]] = [[] for _ in range(BINS)]
        # By bin: where its chunks lie in the file, and how many items they have.
        self._chunks: list[list[tuple[int, int]]] = [[] for _ in range(BINS)]
        self._spilled = [0] * BINS
        self._count = 0
        self.total = 0

    def extend(self, items: Sequence[bytes]) -> None:
        """Take items of at least `together` bytes."""
        self._extend(items, 0)

    def sorted(self) -> Iterator[list[bytes]]:
        """Yield all items in ascending order, in lists of about `held` items or fewer; once, and nothing is kept."""
        try:
            yield from self._sorted(0)
        finally:
            self._store.close()

    def close(self) -> None:
        """Give up what was collected."""
        self._store.close()
        self._bins, self._chunks = [], []

    def _extend(self, items: Sequence[bytes], at: int) -> None:
        bins = self._bins
        for item in items:
            bins[item[at]].append(item)
        self.total += len(items)
        self._count += len(items)
        if self._count >= self._held:
            for number, content in enumerate(bins):
                if content:
                    self._chunks[number].append(self._store.put(content))
                    self._spilled[number] += len(content)
                    bins[number] = []
            self._count = 0

    def _sorted(self, at: int) -> Iterator[list[bytes]]:
        for number in range(BINS):
            chunks, rest = self._chunks[number], self._bins[number]
            self._bins[number] = []
            if self._spilled[number] + len(rest) > self._held and at + 1 < self._together:
                yield from self._finer(chunks, rest, at + 1)
                continue
            for chunk in chunks:
                rest += self._store.get(chunk)
            if rest:
                rest.sort()
                yield rest

    def _finer(self, chunks: Sequence[tuple[int, int]], rest: Sequence[bytes], at: int) -> Iterator[list[bytes]]:
        """Sort one bin that is too large by its next byte."""
        finer = Sorter(directory=self._directory, held=self._held, together=self._together)
        for chunk in chunks:
            finer._extend(self._store.get(chunk), at)
        finer._extend(rest, at)
        try:
            yield from finer._sorted(at)
        finally:
            finer.close()


class _Spill:
    """Chunks in a file without a name, encrypted under a key of this process."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._cipher = AESGCM(os.urandom(32))
        self._file = None
        self._size = 0

    def put(self, items: Sequence[bytes]) -> tuple[int, int]:
        """Write a chunk and return where it lies: first byte and length."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._directory)  # noqa: SIM115  closed by `close`
        nonce = self._size.to_bytes(_NONCE_SIZE, "big")  # where a chunk begins is never used twice under this key
        data = self._cipher.encrypt(nonce, marshal.dumps(list(items)), None)
        self._file.seek(self._size)
        self._file.write(data)
        place = (self._size, len(data))
        self._size += len(data)
        return place

    def get(self, place: tuple[int, int]) -> list[bytes]:
        """Return a chunk."""
        assert self._file is not None, "a chunk that was written has a file"  # noqa: S101  put made it
        start, length = place
        self._file.seek(start)
        data = self._cipher.decrypt(start.to_bytes(_NONCE_SIZE, "big"), self._file.read(length), None)
        return marshal.loads(data)  # noqa: S302  only what `put` wrote decrypts under the key

    def close(self) -> None:
        """Let the file go, which has no name."""
        if self._file is not None:
            self._file.close()
            self._file = None
