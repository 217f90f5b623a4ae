"""Decides which engine reads common disclosure records: the native kernel where it is installed, else the references.

- The references are `shortcut.Shortcut` and `disclosures.DisclosureRecorder`, in whose place the kernel works. Both
  give the same entries; a test holds them beside each other.
- What turns off the audit library's kernel turns off this one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from integrator_audit import Entry
from integrator_audit.engine import load


class Reader(Protocol):
    """A `Shortcut` of the kernel."""

    def read(self, value: bytes) -> Any | None:
        """Return what a common record says, or `None` for every other one."""
        ...


class Kernel(Protocol):
    """What the package `integrator_kernel` offers."""

    def Shortcut(  # noqa: N802, PLR0913  a class; all that the reference remembers and makes
        self,
        *,
        prefix: bytes,
        delivery_start: bytes,
        subject_start: bytes,
        heads: tuple[dict[bytes, Any], Callable[[bytes, int], Any]],
        moments: tuple[dict[bytes, Any], Callable[[bytes], Any]],
        routes: tuple[dict[bytes, bytes], Callable[[bytes], bytes]],
        sources: tuple[dict[bytes, bytes], Callable[[bytes], bytes]],
        roles: tuple[dict[tuple[bytes, int], bytes], Callable[[tuple[bytes, int]], bytes]],
        new_end: Callable[[Any, bytes], bytes],
        keep: Callable[[dict[Any, Any], Any, Callable[[Any], Any]], Any],
        common: type,
        unusual: tuple[type[Exception], ...],
    ) -> Reader:
        """Return the twin of a `Shortcut`, which remembers in its dictionaries."""
        ...

    def entries(  # noqa: PLR0913, PLR0917  all that an entry is made of
        self,
        common: Any,
        said: dict[tuple[bytes, bytes], tuple[bytes, str, int]],
        account: Callable[[Any, bytes, Any], tuple[bytes, str, int]],
        knowledge: Any,
        kind: int,
        entry: type[Entry],
    ) -> list[Entry]:
        """Return the entries of a common record."""
        ...


KERNEL: Final = cast(Kernel | None, load("integrator_kernel"))
