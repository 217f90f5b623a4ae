"""`integrator publish`: a file of events to the integrator, in order, with a place to go on from.

A line counts as published when the broker has acknowledged it. The place is written at most a second later and at the
end; after a crash in between, the lines since are published again, and each record is an event: give the same ids.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Generator, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from integrator.cli import reach
from integrator.domain import topics
from integrator.domain.errors import IntegratorError, Invalid
from integrator.sdk.message import SourceMessage
from integrator.sdk.owner import Published, RegistryOwner, Tally
from integrator.sdk.receipts import Receipts

_CHECKPOINT_SECONDS: Final = 1.0

File = Annotated[Path, typer.Argument(help="Events, one JSON document a line, as `integrator convert` writes them.")]
Source = Annotated[str, typer.Option("--source", help="Whose events they are; it publishes with its own credentials.")]
FromLine = Annotated[int, typer.Option("--from-line", min=1, help="Leave out the lines before this one.")]
Checkpoint = Annotated[
    Path | None, typer.Option("--checkpoint", help="File that remembers how far this got; a next run goes on there.")
]
WaitReceipts = Annotated[
    bool, typer.Option("--wait-receipts", help="Wait until the integrator says what became of each event.")
]
ReceiptSeconds = Annotated[
    float, typer.Option("--receipt-seconds", min=0, help="How long to wait for receipts after the last event.")
]


@dataclass(slots=True)
class Run:
    """How far a run is. Lines count from 1."""

    file: Path
    checkpoint: Path | None
    first_line: int
    last_line: int = 0
    """The last line of which it and all before are durable."""
    bytes: int = 0
    tally: Tally = field(default_factory=Tally)
    fates: Counter[str] = field(default_factory=Counter[str])
    """Events by what became of them: `forwarded`, `notForwarded`, `quarantined`."""
    reasons: Counter[str] = field(default_factory=Counter[str])
    seconds: float = 0.0
    sent: deque[tuple[int, int]] = field(default_factory=deque[tuple[int, int]])
    """Line and end in bytes of what was sent and is not yet acknowledged."""
    places: set[tuple[str, int, int]] = field(default_factory=set[tuple[str, int, int]])

    def as_json(self, *, receipts: bool) -> dict[str, Any]:
        """Return the summary as `--json` prints it."""
        found: dict[str, Any] = {
            "published": self.tally.events,
            "streams": dict(sorted(self.tally.streams.items())),
            "firstLine": self.first_line,
            "lastLine": self.last_line,
            "seconds": round(self.seconds, 3),
        }
        if receipts:
            waiting = self.tally.events - self.fates.total()
            found["receipts"] = {name: self.fates[name] for name in ("forwarded", "notForwarded", "quarantined")} | {
                "reasons": dict(sorted(self.reasons.items())),
                "waiting": waiting,
            }
        return found


def publish(  # noqa: PLR0913  one argument for each option
    file: File,
    source: Source,
    *,
    data: reach.Data = reach.HERE,
    bootstrap: reach.Bootstrap = None,
    api: reach.Api = None,
    password_file: reach.PasswordFile = None,
    ca_file: reach.Authorities = None,
    from_line: FromLine = 1,
    checkpoint: Checkpoint = None,
    wait_receipts: WaitReceipts = False,
    receipt_seconds: ReceiptSeconds = 60.0,
    as_json: reach.AsJson = False,
) -> None:
    """Publish a file of events. Exit code 1: an event is wrong or refused; 2: it is not known how far it got."""
    ways = reach.Ways(data, bootstrap=bootstrap, api=api, password_file=password_file, authorities=ca_file)
    reached = ways.reach(topics.source_principal(source))
    if not file.is_file():
        raise Invalid("file-missing", f"There is no file {file}.")
    run = Run(file, checkpoint, max(from_line, _resumed(checkpoint, file)))
    owner = RegistryOwner(reached.connection, source, api=reached.api)
    begun = time.monotonic()
    try:
        wait = receipt_seconds if wait_receipts else None
        with _progress(file) as bar:
            asyncio.run(_publish(owner, run, bar=bar, wait=wait))
    except IntegratorError:
        sys.stderr.write(f"Published up to line {run.last_line}; go on with --from-line {run.last_line + 1}.\n")
        raise
    finally:
        run.seconds = time.monotonic() - begun
        _note(run)
    _print(run, receipts=wait_receipts, as_json=as_json)


async def _publish(owner: RegistryOwner, run: Run, *, bar: Progress, wait: float | None) -> None:
    noted = time.monotonic()

    def progress(published: Published) -> None:
        nonlocal noted
        run.last_line, run.bytes = run.sent.popleft()
        run.tally.count(published)
        if wait is not None:
            run.places.add((published.stream, published.partition, published.position))
        bar.update(bar.task_ids[0], completed=run.bytes)
        if (now := time.monotonic()) - noted >= _CHECKPOINT_SECONDS:
            noted = now
            _note(run)

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(owner)
        # Before the first event: a receipt that came earlier than its reader would never be read.
        receipts = await stack.enter_async_context(owner.receipts()) if wait is not None else None
        await owner.publish_many(_messages(run), progress=progress)
        if receipts is not None and wait is not None:
            bar.update(bar.task_ids[0], description="Waiting for receipts")
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await _settle(run, receipts)


def _messages(run: Run) -> Iterator[SourceMessage]:
    """Read the events from the first line on. Raises `Invalid` (`event-line`)."""
    end = 0
    with run.file.open("rb") as lines:
        for number, raw in enumerate(lines, 1):
            end += len(raw)
            if number < run.first_line or not raw.strip():
                continue
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                raise Invalid(
                    "event-line", f"Line {number} of the events is not UTF-8.", where=f"line {number}"
                ) from None
            message = SourceMessage.from_json(text, number=number)
            run.sent.append((number, end))
            yield message


async def _settle(run: Run, receipts: Receipts) -> None:
    """Read receipts until every published event has one."""
    while run.places:
        receipt = await anext(receipts)
        place = (receipt.stream, receipt.partition, receipt.position)
        if place not in run.places:
            continue  # of somebody who publishes for this source at the same time
        run.places.discard(place)
        if receipt.quarantined is not None:
            run.reasons[receipt.quarantined] += 1
        run.fates[
            "quarantined" if receipt.quarantined is not None else "forwarded" if receipt.forwarded else "notForwarded"
        ] += 1


def _resumed(checkpoint: Path | None, file: Path) -> int:
    """Return the line to go on with."""
    if checkpoint is None or not checkpoint.is_file():
        return 1
    try:
        members = json.loads(checkpoint.read_text("utf-8"))
        name, line = str(members["file"]), int(members["line"])
    except (ValueError, KeyError, TypeError):
        raise Invalid("checkpoint", f"{checkpoint} is no checkpoint of this command: name another file.") from None
    if name != file.name:
        raise Invalid("checkpoint", f"{checkpoint} belongs to the file {name}: name another checkpoint.")
    return line + 1


def _note(run: Run) -> None:
    """Write how far the run is, whole or not at all."""
    if run.checkpoint is None or run.last_line == 0:
        return
    part = run.checkpoint.with_name(f"{run.checkpoint.name}.part")
    with part.open("w", encoding="utf-8") as out:
        out.write(json.dumps({"file": run.file.name, "line": run.last_line}) + "\n")
        out.flush()
        os.fsync(out.fileno())
    part.replace(run.checkpoint)


@contextmanager
def _progress(file: Path) -> Generator[Progress]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        bar.add_task("Publishing (bytes)", total=file.stat().st_size)
        yield bar


def _print(run: Run, *, receipts: bool, as_json: bool) -> None:
    summary = run.as_json(receipts=receipts)
    if as_json:
        sys.stdout.write(json.dumps(summary) + "\n")
        return
    rate = run.tally.events / run.seconds if run.seconds else 0
    lines = [f"Published {run.tally.events} events in {run.seconds:.1f} s ({rate:.0f}/s), up to line {run.last_line}."]
    lines += [f"  {stream}: {many}" for stream, many in summary["streams"].items()]
    if receipts:
        found = summary["receipts"]
        lines.append(
            f"Receipts: {found['forwarded']} forwarded, {found['notForwarded']} not forwarded, "
            f"{found['quarantined']} quarantined, {found['waiting']} still waiting."
        )
        lines += [f"  quarantined, {reason}: {many}" for reason, many in found["reasons"].items()]
    sys.stdout.write("\n".join(lines) + "\n")
