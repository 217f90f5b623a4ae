"""Says what an adapter is, and converts a file of a registry into events with a count in which nothing goes missing.

- An adapter reads a file as a stream of items: what was read, what became an event, what was rejected and why.
- The unit of accounting is (row, category). Units are counted where they are read and again where they are decided,
  so `Summary.adds_up` is a double entry and no tautology.
- Adapters are found by their entry points (group `integrator.adapters`); the integrator imports none of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import IO, Protocol, cast

from integrator.domain.errors import Invalid
from integrator.sdk.message import SourceMessage

GROUP = "integrator.adapters"


@dataclass(frozen=True, slots=True)
class RowRead:
    """One row with something in it: how many units it holds. Rows count from 1, the header included."""

    row: int
    units: int


@dataclass(frozen=True, slots=True)
class BlankRow:
    """One row with nothing in it."""

    row: int


@dataclass(frozen=True, slots=True)
class Converted:
    """One event, made of `applied` units of the list that begins in `row`."""

    row: int
    event: SourceMessage
    applied: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """One unit that is in no event. `code` is stable; no value of the file is repeated."""

    row: int
    category: str
    code: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about the file as a whole that its owner should know, such as a column that nothing reads."""

    text: str


Item = RowRead | BlankRow | Converted | Rejected | Notice


class Adapter(Protocol):
    """Reads files of one kind into events of one stream."""

    @property
    def name(self) -> str:
        """Return the name under which `integrator convert` knows the adapter."""
        ...

    @property
    def stream(self) -> str:
        """Return the stream of the events, such as `brp/person`."""
        ...

    def convert(self, source: Path, *, now: datetime) -> Iterator[Item]:
        """Yield the items of `source` in the order of its rows.

        `now` is the time of the events. MUST yield, for every row, `RowRead` or `BlankRow`; for every unit of a row
        exactly one decision, counted in a `Converted` or as a `Rejected`. MUST give the same file the same ids. MUST
        NOT hold more of the file than one person's rows. Raises `Invalid` when the file is not of this kind.
        """
        ...


@dataclass(slots=True)
class Summary:
    """What became of a file. `codes` counts rejected units by code."""

    rows: int = 0
    blank: int = 0
    events: int = 0
    units: int = 0
    applied: int = 0
    rejected: int = 0
    codes: dict[str, int] = field(default_factory=dict[str, int])
    notices: list[str] = field(default_factory=list[str])

    @property
    def adds_up(self) -> bool:
        """Tell whether every unit that was read was applied or rejected, once."""
        return self.units == self.applied + self.rejected == self.applied + sum(self.codes.values())

    def count(self, item: Item) -> None:
        """Enter one item. The header is no row of the count."""
        match item:
            case RowRead():
                self.rows += 1
                self.units += item.units
            case BlankRow():
                self.rows += 1
                self.blank += 1
            case Converted():
                self.events += 1
                self.applied += item.applied
            case Rejected():
                self.rejected += 1
                self.codes[item.code] = self.codes.get(item.code, 0) + 1
            case Notice():
                self.notices.append(item.text)

    def as_json(self) -> Mapping[str, object]:
        """Return the summary as `integrator convert --json` prints it."""
        return {
            "rows": self.rows,
            "blank": self.blank,
            "events": self.events,
            "units": self.units,
            "applied": self.applied,
            "rejected": self.rejected,
            "codes": dict(sorted(self.codes.items())),
            "notices": list(self.notices),
        }


def installed_adapters() -> dict[str, Adapter]:
    """Return the adapters that are installed, by name."""
    found = {point.name: cast("Adapter", point.load()) for point in entry_points(group=GROUP)}
    return dict(sorted(found.items()))


def installed_adapter(name: str) -> Adapter:
    """Return the adapter `name`. Raises `Invalid` (`adapter-unknown`), naming those that are installed."""
    for point in entry_points(group=GROUP):
        if point.name == name:
            return cast("Adapter", point.load())
    known = ", ".join(sorted(point.name for point in entry_points(group=GROUP))) or "none"
    raise Invalid("adapter-unknown", f"There is no adapter {name!r}. Installed: {known}.")


def convert_file(
    adapter: Adapter,
    source: Path,
    out: Path,
    rejects: Path,
    *,
    progress: Callable[[Summary], None] | None = None,
) -> Summary:
    """Write the events of `source` to `out` and its rejected units to `rejects`, as JSON lines, and return the count.

    When this returns, both files are whole; when it raises, neither has been touched: they are written beside their
    place and moved there at the end. Both are readable by their owner only, because they are about people. The events
    carry the time of the call. `progress` is called after every 100 rows and at the end, with the count so far.
    Raises `Invalid`: `file-missing`, `file-same`, `file-unusable`, and what the adapter raises.
    """
    if not source.is_file():
        raise Invalid("file-missing", f"There is no file {source}.")
    if len({source.resolve(), out.resolve(), rejects.resolve()}) < 3:
        raise Invalid("file-same", "The source, the events and the rejects must be three different files.")
    summary = Summary()
    parts = {target: target.with_name(f"{target.name}.part") for target in (out, rejects)}
    try:
        with ExitStack() as stack:
            events, refused = (stack.enter_context(_private(part)) for part in parts.values())
            for item in adapter.convert(source, now=datetime.now(UTC)):
                summary.count(item)
                _write(item, events, refused)
                if progress is not None and isinstance(item, RowRead | BlankRow) and summary.rows % 100 == 0:
                    progress(summary)
        for target, part in parts.items():
            part.replace(target)
    except OSError as error:
        raise Invalid("file-unusable", f"{error.filename or source}: {error.strerror or 'cannot be used'}.") from None
    finally:
        for part in parts.values():
            with suppress(OSError):
                part.unlink(missing_ok=True)
    if progress is not None:
        progress(summary)
    return summary


def _write(item: Item, events: IO[str], refused: IO[str]) -> None:
    if isinstance(item, Converted):
        events.write(item.event.to_json() + "\n")
    elif isinstance(item, Rejected):
        refused.write(json.dumps({"row": item.row, "category": item.category, "code": item.code}) + "\n")


def _private(path: Path) -> IO[str]:
    """Open `path` for writing with mode 0600, whatever the umask says."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8", newline="\n")
