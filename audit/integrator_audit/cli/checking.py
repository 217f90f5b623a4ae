"""The commands that check what is there: `verify` a published log, `fsck` a ledger's file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from integrator_audit.cli.answering import (
    FAILED,
    HOLDS,
    JsonOption,
    answering,
    findings_json,
    open_vault,
    print_findings,
    progress,
    read_vkey,
)
from integrator_audit.encoding import to_base64
from integrator_audit.fsck import Report, fsck
from integrator_audit.note import Verifier
from integrator_audit.sources import open_source
from integrator_audit.state import State, default_directory
from integrator_audit.verify import Verification, verify_log


def verify_command(
    location: Annotated[
        str, typer.Argument(metavar="URL|DIR", help="The log's prefix, or a directory with its files.")
    ],
    vkey: Annotated[str, typer.Option(help="The log's verifier key, or a file that holds it.")],
    *,
    state: Annotated[
        Path | None,
        typer.Option(help="Where the last accepted checkpoint is kept [default: in the user's state directory]."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a log, recompute its root from every entry, compare every tile, and see that it only ever grew."""
    with answering(as_json=as_json):
        memory = State(state or default_directory(os.environ))
        verifier = read_vkey(vkey)
        with progress("verifying", as_json=as_json) as shown:
            result = verify_log(open_source(location), verifier, state=memory, progress=shown)
        _tell_verification(result, verifier, as_json=as_json)


def fsck_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Ledger files (SQLite).")],
    *,
    vkey: Annotated[
        str | None, typer.Option(help="The log's verifier key, or a file that holds it [default: the file's own].")
    ] = None,
    vault: Annotated[Path | None, typer.Option(help="The vault with the keys of persons, to check D, S and P.")] = None,
    generation_key: Annotated[
        Path | None,
        typer.Option(help="The file with the 32-byte key of the vault, or the directory with its generations."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Re-derive everything in a ledger's file from its rows and name what does not fit."""
    with answering(as_json=as_json):
        verifier = None if vkey is None else read_vkey(vkey)
        opened = open_vault(vault, generation_key)
        reports: list[tuple[Path, Report]] = []
        for file in files:
            with progress(file.name, as_json=as_json) as shown:
                reports.append((file, fsck(file, vault=opened, verifier=verifier, progress=shown)))
        _tell_reports(reports, as_json=as_json)


def _tell_verification(result: Verification, verifier: Verifier, *, as_json: bool) -> None:
    checkpoint = result.checkpoint
    if as_json:
        document = {
            "result": "verified" if result.holds else "failed",
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "root": to_base64(checkpoint.root),
            "vkey": verifier.vkey,
            "previousSize": result.previous,
        }
        print(json.dumps(document | findings_json(result.findings, result.left_out)))
    else:
        print_findings(result.findings, result.left_out, print_line=print)
        if result.holds:
            print(f"{checkpoint.origin}: {checkpoint.size} entries: every bundle, every tile and the signed root hold.")
        else:
            print(f"{checkpoint.origin}: FAILED.")
        if result.previous is None:
            print("This is the first look: had the log been rolled back or forked before, it could not be seen here.")
        elif result.holds:
            print(f"It extends the {result.previous} entries that were verified before.")
    raise typer.Exit(HOLDS if result.holds else FAILED)


def _tell_reports(reports: Sequence[tuple[Path, Report]], *, as_json: bool) -> None:
    holds = all(report.holds for _, report in reports)
    if as_json:
        files = [
            {
                "file": str(path),
                "result": "holds" if report.holds else "failed",
                "origin": report.origin,
                "size": report.size,
                "vkey": report.vkey,
                "vault": report.opened,
            }
            | findings_json(report.findings, report.left_out)
            for path, report in reports
        ]
        print(json.dumps({"result": "holds" if holds else "failed", "files": files}))
    else:
        for path, report in reports:
            print_findings(
                report.findings, report.left_out, print_line=lambda line, path=path: print(f"{path}: {line}")
            )
            verdict = "everything holds" if report.holds else "FAILED"
            print(f"{path}: {report.origin}, {report.size} entries: {verdict}.")
            if not report.opened:
                print(f"{path}: parts D, S and P were checked by their seals only; give --vault to open them.")
    raise typer.Exit(HOLDS if holds else FAILED)
