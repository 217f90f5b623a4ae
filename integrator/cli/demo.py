"""`integrator demo`: the main job on a real Kafka, played over fictional people."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Coroutine
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from integrator.cli.kafka import downloading
from integrator.demo.people import Population, installed_population
from integrator.demo.play import Play
from integrator.demo.report import process_started, report
from integrator.demo.screen import TerminalScreen, further, line, summary
from integrator.demo.stage import open_stage, prepare

_PAUSE_SECONDS = 0.25
_LINE_SECONDS = 3.0


def demo(  # noqa: PLR0913, PLR0917  the options of the command
    data: Annotated[
        Path | None, typer.Option("--data", help="An empty directory for everything it makes; a new one by default.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Play the scenarios, stop everything, and end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on standard output at the end.")
    ] = False,
    families: Annotated[int, typer.Option("--families", min=50, max=200_000, help="Size of the population.")] = 300,
    changes: Annotated[
        int, typer.Option("--changes", min=0, max=1_000_000, help="Background changes beside the scenarios.")
    ] = 1500,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same people.")] = 1,
) -> None:
    """Play birth, care indication and death from source to ledger, and stay up until Ctrl-C."""
    started = process_started()
    directory = data if data is not None else Path(tempfile.mkdtemp(prefix="integrator-demo-"))
    console = Console(stderr=as_json, soft_wrap=True)
    population = installed_population()(seed, families)
    asyncio.run(
        _perform(directory.resolve(), population, console, started=started, changes=changes, once=once, as_json=as_json)
    )


async def _perform(  # noqa: PLR0913  the options of the command
    directory: Path,
    population: Population,
    console: Console,
    *,
    started: datetime,
    changes: int,
    once: bool,
    as_json: bool,
) -> None:
    screen = TerminalScreen(console)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    installation = prepare(directory)
    with downloading(console) as progress:
        async with open_stage(installation, tell=screen.say, progress=progress) as stage:
            play = Play(stage, population, screen)
            screen.watched = play.watched
            try:
                if await _unless(stopped, _play(play, screen, changes)):
                    document = await report(play, started=started)
                    if as_json:
                        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
                        sys.stdout.flush()
                    else:
                        console.print(*summary(document), sep="\n")
                    if not once:
                        console.print(further(play), highlight=False)
                        await _unless(stopped, _go_on(play, screen))
            finally:
                screen.say("Stopping everything that was started.")
                await play.close()
    screen.say(f"Stopped. The files remain in {directory}.")


async def _watch(play: Play, screen: TerminalScreen) -> None:
    """Say every few seconds how far it is."""
    while True:
        await asyncio.sleep(_LINE_SECONDS)
        screen.say(await line(play))


async def _play(play: Play, screen: TerminalScreen, changes: int) -> None:
    """Play all acts, saying how far it is beside them."""
    watching = asyncio.create_task(_watch(play, screen), name="watch")
    try:
        await play.run(background=changes)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _go_on(play: Play, screen: TerminalScreen) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(play.go_on(pause=_PAUSE_SECONDS), name="background")
        tasks.create_task(_watch(play, screen), name="watch")


async def _unless(stopped: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do `work` unless `stopped` is set before its end; tell whether it came to its end."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        working.result()
        return True
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return False
