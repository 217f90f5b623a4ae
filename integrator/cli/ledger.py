"""`integrator ledger release`: deletes the lanes' disclosures that are sealed and backed up from the event log."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import date
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from integrator.cli import reach
from integrator.domain.errors import Invalid
from integrator.kafka.deleting import delete_before
from integrator.operation.provisioning import ADMIN
from integrator.operation.settings import Installation
from integrator.recording.consumed import releasable

app = typer.Typer(help="The ledger and the topic that fills it.", no_args_is_help=True)

Until = Annotated[
    str,
    typer.Option("--backed-up-until", help="The last day (UTC) that a backup of the ledger holds whole: yyyy-mm-dd."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")]


@app.callback()
def _group() -> None:  # pyright: ignore[reportUnusedFunction]  # with one command alone typer would leave out its name
    pass


@app.command()
def release(
    backed_up_until: Until,
    data: reach.Data = reach.HERE,
    dry_run: DryRun = False,
    as_json: reach.AsJson = False,
) -> None:
    """Delete the disclosures that stand in sealed days and in your backup from `integrator.disclosures`.

    Never more than is sealed, whatever day you name. Nothing deletes them by itself. Exit code 0, also when there is
    nothing to delete yet.
    """
    try:
        until = date.fromisoformat(backed_up_until)
    except ValueError:
        raise Invalid("day", "Write the day as yyyy-mm-dd.") from None
    installation = Installation.open(data.resolve())
    found = releasable(installation.ledger_files, backed_up_until=until)
    positions = {} if found is None else dict(found.positions)
    if not dry_run:
        positions = asyncio.run(delete_before(installation.connection(ADMIN), positions))
    day = None if found is None else found.day.isoformat()
    rows = [
        {"topic": topic, "partition": number, "first": first} for (topic, number), first in sorted(positions.items())
    ]
    if as_json:
        sys.stdout.write(json.dumps({"deleted": not dry_run and bool(rows), "day": day, "partitions": rows}) + "\n")
        return
    if not rows:
        typer.echo("Nothing can be deleted yet: no day up to then is sealed.")
        return
    table = Table("topic", "partition", "would begin at" if dry_run else "begins at")
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    typer.echo(f"What was disclosed before is in the ledger, as noted on {day}.")
