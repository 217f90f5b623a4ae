"""`integrator topics plan|apply`: what the broker must have, derived from the directory."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from integrator.directory.view import Directory
from integrator.domain.directory import Knowledge
from integrator.domain.errors import Unavailable
from integrator.operation.provisioning import ADMIN, Needs, Provision, lay_foundation, needs_of, plan, provision
from integrator.operation.settings import Installation

app = typer.Typer(help="Topics, users and access rules, as the directory needs them.", no_args_is_help=True)

Data = Annotated[Path, typer.Option("--data", envvar="INTEGRATOR_DATA", help="The installation's directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
_HERE = Path("data")


@app.command("plan")
def show(data: Data = _HERE, as_json: AsJson = False) -> None:
    """Say what `apply` would make or change. Exit code 1 when there is something to do."""
    installation = Installation.open(data.resolve())
    todo = asyncio.run(plan(installation.connection(ADMIN), _needs(installation)))
    _print(todo, as_json=as_json, done=False)
    if todo:
        raise typer.Exit(1)


@app.command()
def apply(data: Data = _HERE, as_json: AsJson = False) -> None:
    """Make the topics, users and rules that are missing; repeat it at will."""
    installation = Installation.open(data.resolve())
    wanted = _needs(installation)
    if _knowledge(installation) is None:
        done = asyncio.run(lay_foundation(installation))
    else:
        done = asyncio.run(provision(installation, wanted))
    _print(done, as_json=as_json, done=True)


def _knowledge(installation: Installation) -> Knowledge | None:
    """Return what this machine's copy of the directory knows; `None` before there is one."""
    try:
        with closing(Directory.open(installation.directory)) as directory, directory.read() as view:
            return view.knowledge
    except Unavailable:
        return None


def _needs(installation: Installation) -> Needs:
    knowledge = _knowledge(installation)
    return needs_of(knowledge or Knowledge(0), lanes=installation.settings.lanes)


def _print(todo: Provision, *, as_json: bool, done: bool) -> None:
    rows = [
        *(("create topic", spec.name, f"{spec.partitions} partitions") for spec in todo.topics.create),
        *(("change topic", change.spec.name, ", ".join(change.settings)) for change in todo.topics.alter),
        *(("conflict", found.name, f"has {found.have}, wants {found.want}") for found in todo.topics.conflicts),
        *(("add user", user, "") for user in todo.access.users),
        *(("allow", principal, str(acl)) for principal, acl in todo.access.allow),
        *(("withdraw", principal, str(acl)) for principal, acl in todo.access.withdraw),
    ]
    if as_json:
        sys.stdout.write(json.dumps({"done": done, **asdict(todo)}, default=str) + "\n")
        return
    if not rows:
        typer.echo("The broker is as it must be.")
        return
    table = Table("done" if done else "to do", "what", "how")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
