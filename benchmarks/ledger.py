"""`python -m benchmarks.ledger`: every figure that the ledger promises, each beside a named reference in the same run.

- What is measured runs one after the other, each in a process of its own; what is promised of one core is pinned to it.
- With `--results FILE` what was measured is kept in that file when its part ends, and is not measured again: so a run
  that was stopped goes on.
- Files are made in a temporary directory (`--directory` says where) and removed, also when the run is stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks import postgresql, reading, sealing, searching, writing
from benchmarks.disclosures import Shape
from benchmarks.ledgerreport import document, show
from benchmarks.machine import describe

Told = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    entries: int = 10_000_000
    """In the log that is written, searched and sealed."""
    population: int = 1_000_000
    rounds: int = 20
    runs: int = 2_000
    """Answers of each kind."""
    searches: int = 200
    """Questions of each kind."""
    sealed_persons: int = 5_000_000
    rows: int = 60_000
    """In each round with PostgreSQL."""
    row_rounds: int = 5
    bytes_needed: int = 16 << 30


QUICK: Final = Plan(150_000, 50_000, 3, 300, 40, 100_000, 20_000, 2, 1 << 30)


def _write(place: Path, plan: Plan, told: Told) -> dict[str, Any]:
    return writing.write(place, plan.entries, shape=Shape(plan.population), rounds=plan.rounds, told=told)


def _read(place: Path, plan: Plan, told: Told) -> dict[str, Any]:
    return reading.read(place, population=plan.population, runs=plan.runs, told=told)


def _rows(_place: Path, plan: Plan, told: Told) -> dict[str, Any]:
    steps = iter(range(1, 1_000))
    total = (plan.row_rounds + 1) * len(postgresql.LINES)
    return postgresql.measure(plan.rows, batch=2_000, rounds=plan.row_rounds, told=lambda _: told(next(steps) / total))


def _search(place: Path, plan: Plan, told: Told) -> dict[str, Any]:
    del told
    return searching.measure(plan.entries, plan.searches, place, padding=450, reference=True)


def _seal(place: Path, plan: Plan, told: Told) -> dict[str, Any]:
    del told
    return asdict(sealing.run(plan.entries, persons=plan.sealed_persons, directory=place))


@dataclass(frozen=True, slots=True)
class Step:
    """Something that is measured in a process of its own, pinned to one core or not."""

    name: str
    title: str
    run: Callable[[Path, Plan, Told], dict[str, Any]]
    one_core: bool = True


PARTS: Final[Mapping[str, Sequence[Step]]] = {
    "write": (Step("write", "writing", _write), Step("read", "reading", _read)),
    "postgresql": (Step("postgresql", "PostgreSQL", _rows, one_core=False),),
    "search": (Step("search", "search", _search),),
    "seal": (Step("seal", "sealing a day", _seal),),
}
"""Steps of one part use one directory, one after the other."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table or one JSON document. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="less of everything, under two minutes")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part, may be repeated [all]")
    parser.add_argument("--results", type=Path, help="keep what was measured in this file, and go on from it")
    parser.add_argument("--directory", type=Path, help="where to make the temporary directory")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    given = parser.parse_args(arguments)
    plan = QUICK if given.quick else Plan()
    try:
        found = _measure(plan, given.only or list(PARTS), given.results, given.directory)
    except KeyboardInterrupt:
        return 130
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    said = document(found, quick=given.quick)
    if given.json:
        sys.stdout.write(json.dumps(said, ensure_ascii=False, indent=2) + "\n")
    else:
        show(said, Console(width=None if sys.stdout.isatty() else 132))
    return 0


def _measure(plan: Plan, names: Sequence[str], results: Path | None, directory: Path | None) -> dict[str, Any]:
    found: dict[str, Any] = {"plan": asdict(plan), "machine": describe(), "load": {}}
    if results is not None and results.exists():
        kept = json.loads(results.read_text())
        if kept["plan"] != found["plan"]:
            raise RuntimeError(f"{results} holds a run of another size; give another file, or none")
        found = kept
    columns = (TextColumn("{task.description:<16}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        for name in names:
            steps = PARTS[name]
            if all(step.name in found for step in steps):
                continue
            found["load"][name] = round(os.getloadavg()[0], 1)
            with TemporaryDirectory(prefix="integrator-benchmark-", dir=directory) as folder:
                if shutil.disk_usage(folder).free < plan.bytes_needed:
                    gigabytes = plan.bytes_needed >> 30
                    raise RuntimeError(f"{folder} has less than {gigabytes} GiB; give --directory, or --quick")
                for step in steps:
                    found[step.name] = _apart(step, Path(folder), plan, bar, bar.add_task(step.title, total=1.0))
            if results is not None:
                results.write_text(json.dumps(found, indent=1) + "\n")
    return found


def _apart(step: Step, place: Path, plan: Plan, bar: Progress, task: TaskID) -> dict[str, Any]:
    """Run a step in a process of its own, so that its memory is its own."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(step, place, plan, theirs))
    process.start()
    theirs.close()
    try:
        while True:
            try:
                said: float | dict[str, Any] = ours.recv()
            except EOFError:
                raise RuntimeError(f"the process that measures {step.title} has ended; what it said is above") from None
            if isinstance(said, dict):
                bar.update(task, completed=1.0)
                return said
            bar.update(task, completed=said)
    finally:
        ours.close()
        process.join(5)
        if process.is_alive():
            process.terminate()
            process.join()


def _child(step: Step, place: Path, plan: Plan, pipe: Connection) -> None:
    if step.one_core:
        # The last one: the first has more of the machine's interrupts.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pipe.send(step.run(place, plan, pipe.send))
    pipe.close()


if __name__ == "__main__":
    sys.exit(main())
