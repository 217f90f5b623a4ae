"""`integrator quarantine list|show`: what was set aside and why; the record itself only after a warning."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from integrator.cli import reach
from integrator.kafka.access import OPERATOR
from integrator.kafka.connection import Connection
from integrator.kafka.quarantine import Quarantined, RawRecord, list_quarantine, show_quarantined

app = typer.Typer(help="See records of sources that could not be read or decided.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Which one: <lane>:<offset>, as `list` names it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask: the record is shown at once.")]
Most = Annotated[int, typer.Option("--max", min=1, help="Show at most so many.")]
_WARNING = "This shows the record as the source sent it. It may hold personal data of anybody: do not copy it."

# LIMIT: that an operator looked at a record is not yet an entry of the institution log.


@app.command("list")
def list_(
    data: reach.Data = reach.HERE,
    most: Most = 1000,
    as_json: reach.AsJson = False,
) -> None:
    """List what is in quarantine: reason, place and source, and nothing of the records themselves."""
    found = asyncio.run(_collect(_connection(data), most))
    if as_json:
        sys.stdout.write(json.dumps({"quarantined": [_members(each) for each in found]}) + "\n")
        return
    if not found:
        sys.stdout.write("Nothing is in quarantine.\n")
        return
    table = Table()
    for heading in ("Name", "When (UTC)", "Reason", "Stream", "Partition", "Position", "Detail"):
        table.add_column(heading)
    for each in found:
        cells = (
            each.name,
            f"{each.at:%Y-%m-%d %H:%M:%S}",
            each.reason,
            f"{each.source}/{each.stream}" if "/" not in each.stream else each.stream,
            str(each.partition),
            str(each.position),
            each.detail,
        )
        table.add_row(*map(Text, cells))
    Console().print(table)
    sys.stdout.write(f"{len(found)} in quarantine{' (the rest is not shown)' if len(found) == most else ''}.\n")


@app.command()
def show(
    name: Name,
    data: reach.Data = reach.HERE,
    yes: Yes = False,
) -> None:
    """Show one quarantined record as it came, after a warning that must be agreed to."""
    sys.stderr.write(_WARNING + "\n")
    if not yes and not typer.confirm("Show it?", err=True):
        raise typer.Exit(1)
    record = asyncio.run(show_quarantined(_connection(data), name))
    members = _members(record.quarantined) | _raw(record)
    # In base64 it cannot command the terminal, whatever a hostile source sent.
    sys.stdout.write(json.dumps(members, indent=2) + "\n")


def _connection(data: reach.Data) -> Connection:
    return reach.Ways(data).reach(OPERATOR).connection


async def _collect(connection: Connection, most: int) -> list[Quarantined]:
    found: list[Quarantined] = []
    async for each in list_quarantine(connection):
        found.append(each)
        if len(found) == most:
            break
    return found


def _members(each: Quarantined) -> dict[str, Any]:
    return {
        "name": each.name,
        "at": each.at.isoformat().replace("+00:00", "Z"),
        "reason": each.reason,
        "detail": each.detail,
        "source": each.source,
        "stream": each.stream,
        "topic": each.topic,
        "partition": each.partition,
        "position": each.position,
        "directoryPosition": each.directory_position,
        "engine": each.engine,
    }


def _raw(record: RawRecord) -> dict[str, Any]:
    """Return what came, in base64: it need not be text."""
    return {
        "key": _base64(record.key),
        "value": _base64(record.value),
        "headers": [{"name": name, "value": _base64(value)} for name, value in record.headers],
    }


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
