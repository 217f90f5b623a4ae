"""`python -m benchmarks.route`: events a second and CPU time per event of one worker, beside a bare copy."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.machine import describe
from benchmarks.measuring import Measured, measure, steps
from benchmarks.report import document, show
from benchmarks.stage import open_stage
from integrator.domain.errors import IntegratorError


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.route", description=__doc__)
    parser.add_argument("--records", type=_positive, default=20_000, help="events of one measurement (20000)")
    parser.add_argument("--rounds", type=_positive, default=5, help="measurements of each line (5)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    asked = parser.parse_args()
    machine = describe()
    try:
        measured = asyncio.run(_run(asked.records, asked.rounds))
    except IntegratorError as error:
        sys.stderr.write(f"{error.code}: {error.message}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    found = document(measured, machine, records=asked.records, rounds=asked.rounds)
    if asked.json:
        sys.stdout.write(json.dumps(found, ensure_ascii=False, indent=2) + "\n")
    else:
        show(found, Console(width=None if sys.stdout.isatty() else 100))
    return 0


async def _run(records: int, rounds: int) -> Measured:
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description:<24}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True
    )
    with tempfile.TemporaryDirectory(prefix="integrator-benchmark-") as folder, bar:
        task = bar.add_task("starting", total=1 + steps(rounds))

        def step(what: str) -> None:
            bar.update(task, advance=1, description=what)

        async with open_stage(Path(folder)) as stage:
            return await measure(stage, records=records, rounds=rounds, progress=step)


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
