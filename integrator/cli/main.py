"""Puts the command groups together and turns errors into one message and an exit code.

Exit codes: 0 fine, 1 no or failed, 2 could not tell.
"""

from __future__ import annotations

import logging
import sys

import typer
from rich.console import Console

from integrator.cli import (
    convert,
    demo,
    directory,
    disclosures,
    erase,
    history,
    kafka,
    ledger,
    publish,
    quarantine,
    reconcile,
    run,
    subscribe,
    topics,
)
from integrator.domain.errors import Busy, IntegratorError, Unavailable
from integrator.operation import dumps, logs
from integrator.recording.failures import told
from integrator_audit import AuditError

app = typer.Typer(
    help="Registries publish a change once; agencies receive what a law lets them have; citizens can check it.",
    no_args_is_help=True,
    # A rich traceback shows local variables, which hold records.
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command()(demo.demo)
app.command()(run.run)
app.command()(run.status)
app.command()(directory.check)
app.command()(directory.apply)
app.command()(convert.convert)
app.command()(publish.publish)
app.command()(subscribe.subscribe)
app.command()(disclosures.disclosures)
app.add_typer(erase.app, name="erase")
app.add_typer(ledger.app, name="ledger")
app.command()(history.history)
app.command()(reconcile.reconcile)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(topics.app, name="topics")
app.add_typer(kafka.app, name="kafka")


def main() -> None:
    """Run the command line."""
    # Standard output is for the answer alone, and what a library says of an error is said better by the error.
    logs.configure("command", level=logging.WARNING)
    dumps.forbid()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        app()
    except (IntegratorError, AuditError, ExceptionGroup) as problem:
        errors = told(problem)
        if not errors:
            raise
        console = Console(stderr=True, soft_wrap=True)
        for error in errors:
            console.print(f"[bold red]{error.code}[/]: {error.message}", highlight=False)
        sys.exit(2 if all(isinstance(error, Unavailable | Busy) for error in errors) else 1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
