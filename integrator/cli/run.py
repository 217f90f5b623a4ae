"""`integrator run` and `integrator status`: the processes of one installation, and how they are."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from integrator.domain.errors import Refused, Unavailable
from integrator.http.identity import Auditor, Authority, Operator, token_secret
from integrator.operation.processes import commands, tokens_of
from integrator.operation.provisioning import lay_foundation
from integrator.operation.settings import FILE, Installation, read_settings
from integrator.operation.supervisor import Supervisor
from integrator.sdk.api import Api

Data = Annotated[Path, typer.Option("--data", envvar="INTEGRATOR_DATA", help="The installation's directory.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
_HERE = Path("data")
_CHECK_SECONDS = 0.5
_ANSWER_SECONDS = 2.0


def run(data: Data = _HERE) -> None:
    """Run every process of an installation until Ctrl-C: feeder, writer with HTTP, workers, ledger."""
    data = data.resolve()
    if not (data / FILE).exists():
        installation = Installation.create(data, read_settings({}, "the environment"))
        typer.echo(f"Made a new installation: {data / FILE}")
    else:
        installation = Installation.open(data)
    asyncio.run(_run(installation))


async def _run(installation: Installation) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await lay_foundation(installation)
    auditors = map(Auditor, installation.settings.auditor_names)
    tokens_of(installation).provide(installation.secrets, [Operator(), Authority(), *auditors])
    supervisor = Supervisor(commands(installation), logs=installation.data / "logs")
    await supervisor.start()
    try:
        typer.echo(
            f"Running: {', '.join(supervisor.children)}. Logs are in {installation.data / 'logs'}. Ctrl-C stops."
        )
        told = False
        while not stopped.is_set():
            if (failure := supervisor.failure()) is not None:
                raise failure
            told = told or await _tell_address(installation)
            try:
                async with asyncio.timeout(_CHECK_SECONDS):
                    await stopped.wait()
            except TimeoutError:
                continue
    finally:
        await supervisor.stop()
        typer.echo("Stopped.")


async def _tell_address(installation: Installation) -> bool:
    """Say where HTTP is as soon as it answers. Another program may hold the port: it gets no token and little time."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS), Api(installation.api_url) as api:
            await api.get("/v1/openapi.json")
    except (Refused, Unavailable, TimeoutError):
        return False
    typer.echo(f"HTTP at {installation.api_url}; how it is: integrator status --data {installation.data}")
    return True


def status(data: Data = _HERE, as_json: AsJson = False) -> None:
    """Show the directory's position, the ledger's heads and what waits in each stream."""
    found = asyncio.run(_status(Installation.open(data.resolve())))
    if as_json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    console = Console()
    directory = found["directory"]
    days = ", ".join(f"{day} in {zone}" for zone, day in directory["days"].items()) or "none"
    console.print(
        f"Installation [bold]{found['installation']}[/] ({found['profile']}): directory at position "
        f"{directory['position']}, {directory['authorisations']} authorisations in force, legal day {days}",
        highlight=False,
    )
    table = Table("stream", "records that wait")
    for lag in found["lag"]:
        table.add_row(lag["stream"], str(lag["records"]))
    console.print(table)
    logs = Table()
    logs.add_column("log", overflow="fold")
    logs.add_column("entries", justify="right")
    logs.add_column("root", overflow="fold")
    for log in found["ledger"]:
        logs.add_row(log["origin"], str(log["size"]), log["root"])
    console.print(logs)
    console.print("\n".join(_care(found["care"])), highlight=False)


def _care(care: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence for each thing that there is to say about how the ledger is kept."""
    yield f"Newest sealed day: {care['sealed'] or 'none yet'}."
    if care["waiting"]:
        yield f"[red]{care['waiting']} days are over and not sealed: {care['problem'] or 'they are being sealed'}.[/]"
    if care["setAside"]:
        yield f"[red]{care['setAside']} records could not become entries: see ledger-set-aside in its log.[/]"
    if not care["witnessed"]:
        yield "No witnesses: each checkpoint is published at once, and nobody vouches that all are shown the same."


async def _status(installation: Installation) -> dict[str, Any]:
    token = installation.secrets.get(token_secret(Operator())).decode()
    async with Api(installation.api_url, token) as api:
        return await api.get("/v1/status")
