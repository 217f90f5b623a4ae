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
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TextIO

import typer

from integrator_audit.cli import (
    account,
    checking,
    cosign,
    creating,
    forgetting,
    history,
    keys,
    monitor,
    operating,
    receipts,
    sampling,
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


app.command("create")(creating.create_command)
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
app.add_typer(sampling.app, name="sample")
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
        code = _answered(given)
    except (SystemExit, BrokenPipeError):
        # Nobody reads the answer any more, and what is still to be written must not fail for that.
        _turn_away(sys.__stdout__)
        code = UNKNOWN
    except OSError as error:
        # What commands meet, `answering` tells: here the answer itself cannot be written, on a full disk for instance.
        # Python would end with a code of its own, and its 1 would say that a proof failed.
        _turn_away(sys.__stdout__)
        with suppress(OSError):
            message = f"the answer cannot be written: {error.strerror or 'the system refuses'}"
            print(f"could not tell: {message} (answer-unwritable)", file=sys.stderr)
        code = UNKNOWN
    try:
        _flush(sys.stderr)
    except OSError:
        _turn_away(sys.__stderr__)
    sys.exit(code)


def _answered(given: list[str]) -> int:
    """Run a command and tell of this program's own faults; raise `OSError` when the answer cannot be written."""
    try:
        return _run(given)
    except OSError:
        raise
    except Exception as error:
        # The last wall: a mistake in this program is no proof against anybody's log. The error's own text is not shown,
        # because it may hold what was read from a file about a person.
        place = traceback.extract_tb(error.__traceback__)[-1]
        fault = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
        _tell(given, "program-fault", f"this program has a fault, please report it: {fault}")
        return UNKNOWN


def _flush(stream: TextIO | None) -> None:
    """Write out what a stream holds; None is one that was closed when the program began: there the code alone tells."""
    if stream is not None:
        stream.flush()


def _turn_away(stream: TextIO | None) -> None:
    """Let what is still to be written to a stream go nowhere: at its end the program would fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno() if stream else 1)


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
    _flush(sys.stdout)
    return code if isinstance(code, int) else HOLDS


def _tell(given: list[str], code: str, message: str) -> None:
    """Say why nothing can be told, to a program or a person."""
    if "--json" in given:
        print(json.dumps({"result": "unknown", "code": code, "message": message}), flush=True)
    else:
        print(f"could not tell: {message} ({code})", file=sys.stderr)
