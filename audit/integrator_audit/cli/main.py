"""The command `integrator-audit`: keep a log, check it, prove and verify what it says.

Exit codes: 0 everything holds, 1 a proof failed, 2 could not tell.
"""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import typer

from integrator_audit.cli import (
    account,
    checking,
    cosign,
    forgetting,
    history,
    keys,
    monitor,
    operating,
    receipts,
    searching,
    whole,
    witness,
)
from integrator_audit.cli.answering import HOLDS, UNKNOWN

# How the library under typer calls what a person typed wrongly; which library that is depends on typer's version.
_USAGE: Final[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    name="integrator-audit",
    help="Verify a disclosure ledger without trusting who keeps it.",
    epilog="Exit codes: 0 everything holds, 1 a proof failed, 2 could not tell.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _group() -> None:  # pyright: ignore[reportUnusedFunction]  typer keeps it: it makes the program a group
    """Verify a disclosure ledger without trusting who keeps it."""


app.command("create")(operating.create_command)
app.command("export")(operating.export_command)
app.command("prove")(operating.prove_command)
app.command("dossier")(operating.dossier_command)
app.command("verify")(checking.verify_command)
app.command("fsck")(checking.fsck_command)
app.command("fsck-index")(operating.fsck_index_command)
app.command("verify-receipt")(receipts.verify_receipt_command)
app.command("history")(history.history_command)
app.command("account")(account.account_command)
app.command("cosign")(cosign.cosign_command)
app.add_typer(forgetting.app, name="erase")
app.command("keygen")(keys.keygen_command)
app.add_typer(keys.rotate)
app.command("witness")(witness.witness_command)
app.command("monitor")(monitor.monitor_command)
app.command("index")(searching.index_command)
app.command("search")(searching.search_command)
app.command("count")(searching.count_command)
app.command("whole")(whole.whole_command)
app.command("verify-whole")(whole.verify_whole_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a letter shows its number, and does not end the program.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = _run(given)
    except (SystemExit, BrokenPipeError):
        # Nobody reads the answer any more, and what is still to be written must not fail for that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
        code = UNKNOWN
    except Exception as error:
        # The last wall: a mistake in this program is no proof against anybody's log. The error's own text is not shown,
        # because it may hold what was read from a file about a person.
        place = traceback.extract_tb(error.__traceback__)[-1]
        fault = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
        _tell(given, "program-fault", f"this program has a fault, please report it: {fault}")
        code = UNKNOWN
    sys.exit(code)


def _run(given: list[str]) -> int:
    try:
        code = app(args=given, standalone_mode=False)
    except _USAGE as error:
        if "--json" in given:
            _tell(given, "usage", error.format_message())
        else:
            error.show()
        return UNKNOWN
    except typer.Abort:
        return UNKNOWN
    sys.stdout.flush()
    return code if isinstance(code, int) else HOLDS


def _tell(given: list[str], code: str, message: str) -> None:
    """Say why nothing can be told, to a program or a person."""
    if "--json" in given:
        print(json.dumps({"result": "unknown", "code": code, "message": message}), flush=True)
    else:
        print(f"could not tell: {message} ({code})", file=sys.stderr)
