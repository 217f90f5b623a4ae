"""What the checking cosigner remembers from day to day, in one file that it alone can read.

- The next day to check, and the root of the epoch log over those before it; where each followed log stands; what is
  withheld and not yet released; the running sum over the half-year's lists, with the random key without which the
  operator cannot steer it.
- The file is durable before a signature over what it says is released.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

from integrator_audit.completeness.fields import Fields, read_document
from integrator_audit.completeness.following import EMPTY_EDGE
from integrator_audit.durable import PRIVATE, replace_file
from integrator_audit.encoding import to_base64
from integrator_audit.errors import Refused, Tampered, Unavailable

SCHEMA: Final = "dienstenintegrator/cosigner-memory/v1"
KEY_SIZE: Final = 32
MAX_MEMORY: Final = 1 << 28
_MODULUS: Final = 1 << 256

Edge = tuple[int, tuple[bytes, ...]]


class Withheld(NamedTuple):
    """An entry that is withheld: its place, its 33-byte leaf, the id and the last day of its order."""

    origin: str
    number: int
    leaf: bytes
    order: str
    last: date


@dataclass(slots=True)
class Memory:
    """The cosigner's memory of one epoch log. `random(n)` gives n fresh random bytes."""

    origin: str
    random: Callable[[int], bytes] = field(default=os.urandom, repr=False)
    next_epoch: int = 0
    epochs_root: bytes = b""
    period: int = -1
    period_key: bytes = field(default=b"", repr=False)
    period_sum: int = 0
    edges: dict[str, Edge] = field(default_factory=dict[str, Edge])
    withheld: dict[tuple[str, int], Withheld] = field(default_factory=dict[tuple[str, int], Withheld])

    def begin_period(self, period: int) -> None:
        """Begin a half-year."""
        self.period, self.period_sum = period, 0
        self.period_key = self.random(KEY_SIZE)

    def add(self, digest: int) -> None:
        """Add the digest of a day's list to the half-year's sum, or take it away."""
        self.period_sum = (self.period_sum + digest) % _MODULUS

    def edge(self, origin: str) -> Edge:
        """Return where a followed log stands."""
        return self.edges.get(origin, EMPTY_EDGE)

    def withhold(self, entry: Withheld) -> None:
        """Remember what has to be released."""
        self.withheld[entry.origin, entry.number] = entry

    def release(self, entry: Withheld) -> None:
        """Forget what was released."""
        del self.withheld[entry.origin, entry.number]

    def overdue(self, day: date) -> Withheld | None:
        """Return an entry that should have been released by the end of `day`."""
        return next((entry for entry in self.withheld.values() if day > entry.last), None)

    def save(self, path: Path) -> None:
        """Write the memory; it is on disk when this returns."""
        document = {
            "schema": SCHEMA,
            "origin": self.origin,
            "nextEpoch": self.next_epoch,
            "epochsRoot": to_base64(self.epochs_root),
            "period": self.period + 1,
            "key": to_base64(self.period_key),
            "sum": to_base64(self.period_sum.to_bytes(KEY_SIZE, "big")),
            "edges": [
                {"origin": origin, "size": size, "subtrees": [to_base64(one) for one in subtrees]}
                for origin, (size, subtrees) in sorted(self.edges.items())
            ],
            "withheld": [
                entry._asdict() | {"leaf": to_base64(entry.leaf), "last": entry.last.isoformat()}
                for entry in self.withheld.values()
            ],
        }
        try:
            replace_file(path, json.dumps(document).encode(), mode=PRIVATE)
        except OSError as error:
            raise Unavailable("memory-unwritable", f"{path} cannot be written: {error.strerror}") from error

    @classmethod
    def load(cls, path: Path, origin: str) -> Memory:
        """Read the memory of this epoch log, a new one when there is no file.

        Raises `Refused` (`memory-other-log`, `memory-damaged`), `Unavailable` (`memory-unreadable`).
        """
        try:
            with path.open("rb") as file:
                document = read_document(file.read(MAX_MEMORY + 1), SCHEMA, limit=MAX_MEMORY)
            memory = cls._read(document)
        except FileNotFoundError:
            return cls(origin)
        except OSError as error:
            raise Unavailable("memory-unreadable", f"{path} cannot be read: {error.strerror}") from error
        except (Tampered, ValueError) as error:
            message = f"{path} is damaged: find out how before going on, for it says what was cosigned"
            raise Refused("memory-damaged", message) from error
        if memory.origin != origin:
            raise Refused("memory-other-log", f"{path} is the memory of another epoch log, {memory.origin}")
        return memory

    @classmethod
    def _read(cls, document: Fields) -> Memory:
        memory = cls(document.text("origin"), next_epoch=document.number("nextEpoch"))
        memory.epochs_root = document.data("epochsRoot")
        memory.period = document.number("period") - 1
        memory.period_key = document.data("key")
        memory.period_sum = int.from_bytes(document.data("sum", size=KEY_SIZE), "big")
        for item in document.objects("edges"):
            memory.edges[item.text("origin")] = item.number("size"), item.hashes("subtrees", size=KEY_SIZE)
        for item in document.objects("withheld"):
            last = date.fromisoformat(item.text("last"))
            place = item.text("origin"), item.number("number")
            memory.withhold(Withheld(*place, item.data("leaf"), item.text("order"), last))
        document.end()
        return memory
