"""The command `integrator-audit`: keep a log, check it, prove and verify what it says.

Exit codes: 0 everything holds, 1 a proof failed, 2 could not tell.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

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
    app(args=arguments)
