"""`integrator convert`: a file of a registry into events, without Kafka, with a count in which nothing goes missing."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from integrator.cli.reach import AsJson
from integrator.domain.errors import Invalid
from integrator.sdk.adapter import Summary, convert_file, installed_adapter

Kind = Annotated[str, typer.Argument(help="The kind of file: the name of an installed adapter, such as lo3.")]
File = Annotated[Path, typer.Argument(help="The file to read.")]
Out = Annotated[Path, typer.Option("--out", help="Where the events go, one JSON document a line.")]
Rejects = Annotated[Path, typer.Option("--rejects", help="Where rejected parts go: row, category and code.")]


def convert(
    kind: Kind,
    file: File,
    *,
    out: Out,
    rejects: Rejects,
    as_json: AsJson = False,
) -> None:
    """Convert a file of a registry into events for `integrator publish`.

    Each (row, category) becomes part of an event or a reject. Exit code 1 when the file cannot be read as this kind,
    or when the count does not add up.
    """
    adapter = installed_adapter(kind)
    with _progress() as bar:

        def progress(summary: Summary) -> None:
            bar.update(bar.task_ids[0], description=f"{summary.rows} rows, {summary.events} events")

        summary = convert_file(adapter, file, out, rejects, progress=progress)
    _print(summary, as_json=as_json)
    if not summary.adds_up:
        raise Invalid(
            "count", "Parts that were read are neither in an event nor rejected: do not publish this, report the file."
        )


@contextmanager
def _progress() -> Generator[Progress]:
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        bar.add_task("Reading", total=None)
        yield bar


def _print(summary: Summary, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(summary.as_json()) + "\n")
        return
    lines = [
        f"{summary.rows} rows ({summary.blank} blank), {summary.events} events.",
        f"{summary.units} categories: {summary.applied} in events, {summary.rejected} rejected.",
        *(f"  {code}: {many}" for code, many in sorted(summary.codes.items())),
        *summary.notices,
    ]
    sys.stdout.write("\n".join(lines) + "\n")
