"""`integrator erase order|retention|finish|status`: forgets people, and says what is still to be done for it.

Exit codes: 0 done, 1 no or failed, 2 not done, or not all: entries of a day that is not sealed wait.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from integrator.cli import reach
from integrator.domain.errors import Refused
from integrator.domain.identifiers import SubjectRef
from integrator.domain.pseudonyms import pseudonym
from integrator.operation.processes import generations_of
from integrator.operation.settings import Installation
from integrator.recording.forgetting import Forgetting, Standing
from integrator_audit.cli.answering import progress
from integrator_audit.forgetting.erasure import Erased
from integrator_audit.store import Ground

app = typer.Typer(help="Forget people: by order, or because their time is over.", no_args_is_help=True)

Name = Annotated[str, typer.Option(help="The order's name, for the files of who gave it; the ledger does not keep it.")]
NumberFile = Annotated[
    Path | None, typer.Option(help="File with the person's number; else it is asked for, or read from standard input.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask: it cannot be undone.")]
WAITING = 2


@app.command()
def order(
    name: Name,
    number_file: NumberFile = None,
    data: reach.Data = reach.HERE,
    yes: Yes = False,
    as_json: reach.AsJson = False,
) -> None:
    """Erase everything that the ledger keeps about one person; then run `integrator erase finish`."""
    installation = Installation.open(data.resolve())
    person = _person(number_file)
    if (
        not yes
        and sys.stdin.isatty()
        and not typer.confirm("Erase all about this person? Nothing brings it back.", err=True)
    ):
        raise typer.Exit(1)
    theirs = pseudonym(installation.secrets.get("pseudonym-ledger"), "ledger", person)
    forgetting = _forgetting(installation)
    with progress("erasing", as_json=as_json) as shown:
        erased = forgetting.order(theirs, name, shown)
    _tell(erased, forgetting.standing(), as_json=as_json)


@app.command()
def retention(data: reach.Data = reach.HERE, as_json: reach.AsJson = False) -> None:
    """Erase every entry whose years are over today; then run `integrator erase finish`."""
    installation = Installation.open(data.resolve())
    forgetting = _forgetting(installation)
    with progress("erasing", as_json=as_json) as shown:
        erased = forgetting.retention(shown)
    if not erased.waiting:
        for half in forgetting.over():
            # Nobody's list of this half-year can be found any more, not by those who guess a number either.
            installation.secrets.destroy(f"label-key-{half}")
    _tell(erased, forgetting.standing(), as_json=as_json)


@app.command()
def finish(data: reach.Data = reach.HERE, as_json: reach.AsJson = False) -> None:
    """Change the generation of keys, so that older backups open nothing that was erased."""
    forgetting = _forgetting(Installation.open(data.resolve()))
    with progress("rewrapping", as_json=as_json) as shown:
        finished = forgetting.finish(shown)
    if as_json:
        _print(
            {
                "result": "complete",
                "generation": finished.generation,
                "destroyed": list(finished.retired),
                "completed": dict(finished.complete.entries),
            }
        )
        return
    typer.echo(f"All keys are of generation {finished.generation}; the ones before it are destroyed.")
    typer.echo(f"Complete now: {_counts(finished.complete.entries)}.")
    typer.echo("Backups of the ledger that were made before open nothing of it, unless they have the old keys too:")
    typer.echo("destroy every copy of the older secrets `vault-generation-…`, and make new backups.")


@app.command()
def status(data: reach.Data = reach.HERE, as_json: reach.AsJson = False) -> None:
    """Say what was erased and is not complete yet, and what became complete in which month."""
    standing = _forgetting(Installation.open(data.resolve())).standing()
    if as_json:
        months = [{"month": month.month, "entries": dict(month.entries)} for month in standing.months]
        _print({"pending": dict(standing.pending.entries), "complete": months})
        return
    for month in standing.months:
        typer.echo(f"{month.month}: complete: {_counts(month.entries)}")
    typer.echo(f"Waiting for `integrator erase finish`: {_counts(standing.pending.entries)}.")


def _forgetting(installation: Installation) -> Forgetting:
    return Forgetting(installation.ledger_files, generations_of(installation))


def _person(file: Path | None) -> SubjectRef:
    """Read a number, or `scheme:number`: from a file, from the terminal without showing it, or from standard input."""
    if file is not None:
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise Refused("file-missing", f"The file {file} cannot be read.") from None
    else:
        text = typer.prompt("Number", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    text = str(text).strip()
    return SubjectRef.parse(text) if ":" in text else SubjectRef.of(text, ("bsn", "test", "insz"))


def _tell(erased: Erased, standing: Standing, *, as_json: bool) -> None:
    if as_json:
        _print(
            {
                "result": "waiting" if erased.waiting else "erased",
                "erased": dict(erased.entries),
                "lists": erased.lists,
                "waiting": erased.waiting,
                "pending": dict(standing.pending.entries),
            }
        )
    else:
        typer.echo(f"Erased in the ledger: {_counts(erased.entries)}, and {erased.lists} lists of days.")
        if erased.waiting:
            typer.echo(f"{erased.waiting} entries wait until their day is sealed: run the same again tomorrow.")
        if standing.pending.total:
            typer.echo("Older backups still open what was erased: run `integrator erase finish`.")
        typer.echo("What topics, registries and agencies still hold: docs/register-of-copies.md.")
    if erased.waiting:
        raise typer.Exit(WAITING)


def _counts(entries: Mapping[Ground, int]) -> str:
    return ", ".join(f"{count} entries by {ground}" for ground, count in sorted(entries.items())) or "no entries"


def _print(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
