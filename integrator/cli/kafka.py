"""`integrator kafka start|stop|status`: the development broker of one installation directory."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from integrator.kafka import artefacts
from integrator.kafka.development import DevelopmentBroker, status_of
from integrator.operation.secrets import FileSecrets, password

app = typer.Typer(help="Run a real Apache Kafka for development: one node, loopback only.", no_args_is_help=True)

Data = Annotated[Path, typer.Option("--data", envvar="INTEGRATOR_DATA", help="The installation's directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Port = Annotated[
    int | None, typer.Option("--port", min=1, max=65535, help="The clients' port; a free one is chosen and kept.")
]
_HERE = Path("data")


@app.command()
def start(data: Data = _HERE, port: Port = None, as_json: AsJson = False) -> None:
    """Start the broker and wait until it serves; fetch it first when it is not there. Already running is fine."""
    broker = _broker(data, port)
    with downloading(Console(stderr=True)) as progress:
        address = asyncio.run(broker.start(progress=progress))
    _say(
        f"Kafka {'started' if address.started else 'already runs'} at {address.bootstrap} (process {address.pid}).",
        {"state": "running", "bootstrap": address.bootstrap, "pid": address.pid, "started": address.started},
        as_json=as_json,
    )


@app.command()
def stop(data: Data = _HERE, as_json: AsJson = False) -> None:
    """Stop the broker cleanly; its data stays. Not running is fine."""
    ran = status_of(data).state != "stopped" and asyncio.run(_broker(data).stop())
    _say("Kafka stopped." if ran else "Kafka was not running.", {"state": "stopped", "ran": ran}, as_json=as_json)


@app.command()
def status(data: Data = _HERE, as_json: AsJson = False) -> None:
    """Tell whether the broker runs, where, and where its log is. Exit code 1 when it does not run."""
    found = status_of(data)
    sentence = {
        "running": f"Kafka runs at {found.bootstrap} (process {found.pid}).",
        "stopped": "Kafka is stopped.",
        "died": "Kafka was started, and died.",
    }[found.state]
    _say(
        f"{sentence} Its log: {found.log}",
        {"state": found.state, "bootstrap": found.bootstrap, "pid": found.pid, "log": str(found.log)},
        as_json=as_json,
    )
    if found.state != "running":
        raise typer.Exit(1)


def _broker(data: Path, port: int | None = None) -> DevelopmentBroker:
    secrets = FileSecrets(data / "secrets")
    return DevelopmentBroker(
        data,
        admin_password=secrets.create("kafka-admin", password).decode(),
        broker_password=secrets.create("kafka-broker", password).decode(),
        port=port,
    )


@contextmanager
def downloading(console: Console) -> Generator[artefacts.Progress]:
    """Show a bar on a terminal, one line elsewhere; nothing when nothing has to be fetched."""
    columns = (TextColumn("Fetching Apache Kafka"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task: list[int] = []

        def progress(done: int, total: int) -> None:
            if not task:
                task.append(bar.add_task("jars", total=total))
                if not console.is_terminal:
                    console.print(f"Fetching Apache Kafka ({total / 1e6:.0f} MB) …", soft_wrap=True)
            bar.update(bar.task_ids[0], completed=done)

        yield progress


def _say(sentence: str, document: dict[str, str | int | bool | None], *, as_json: bool) -> None:
    sys.stdout.write((json.dumps(document) if as_json else sentence) + "\n")
