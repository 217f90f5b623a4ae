"""Decides which engine runs the ledger's hot loops: the native kernel where it is installed, else their references.

- The references are the functions in whose place the kernel works: `parts`, `sequencer`, `keytree`, `merkle`.
  Both give the same bytes; a test holds them beside each other.
- Only writing needs the speed: who verifies needs no kernel.
- With `INTEGRATOR_AUDIT_WITHOUT_KERNEL` in the environment, whatever its value, the references are taken.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, Final, Protocol, cast

WITHOUT_KERNEL: Final = "INTEGRATOR_AUDIT_WITHOUT_KERNEL"


class Kernel(Protocol):
    """What the package `integrator_audit_kernel` offers."""

    def are_ordinary(self, entries: list[Any], *, start: bytes, retentions: frozenset[int]) -> bool:
        """Say whether all are of a person, without an actor and well-formed; otherwise the reference finds out."""
        ...

    def seal_rows(  # noqa: PLR0913  all that a batch is sealed with
        self,
        entries: list[Any],
        order: list[int],
        *,
        first: int,
        random: bytes,
        origin: bytes,
        prefix: bytes,
        parts: tuple[bytes, ...],
        classes: dict[int, int],
        people: dict[Any, Any],
        row: type,
    ) -> tuple[list[Any], list[bytes]] | None:
        """Return the rows and the leaf entries of a batch, or None when an entry has an actor or no person."""
        ...

    def person_keys(  # noqa: PLR0913  the tree's shape
        self, tops: dict[bytes, bytes], pseudonyms: list[bytes], *, child: bytes, person: bytes, depth: int, top: int
    ) -> list[bytes | None]:
        """Return the key of each person below one of the seeds `tops`, None for everybody else."""
        ...

    def leaf_hashes(self, entries: list[bytes]) -> list[bytes]:
        """Return the hash of each leaf entry."""
        ...

    def pair_hashes(self, nodes: list[bytes]) -> list[bytes]:
        """Return the node over each pair of neighbours."""
        ...

    def parents(self, hashes: bytes) -> bytes:
        """Return the nodes over an even number of neighbouring hashes, both joined."""
        ...


def load(package: str) -> Any:
    """Return the package of a kernel, or None for its references: where it is not installed, or not wanted."""
    if WITHOUT_KERNEL in os.environ:
        return None
    try:
        return import_module(package)
    except ImportError:
        return None


KERNEL: Final = cast(Kernel | None, load("integrator_audit_kernel"))


def engine() -> str:
    """Return the name of the engine that runs: `native` or `python`."""
    return "python" if KERNEL is None else "native"
