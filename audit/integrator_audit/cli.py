"""The command `integrator-audit`: verify a published log, check a ledger's file.

Exit codes: 0 everything holds, 1 a proof failed, 2 could not tell.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from integrator_audit.encoding import to_base64
from integrator_audit.errors import AuditError, Invalid, Tampered, Unavailable
from integrator_audit.findings import Finding, Progress, no_progress
from integrator_audit.fsck import Report, fsck
from integrator_audit.note import Verifier
from integrator_audit.sources import open_source
from integrator_audit.state import State, default_directory
from integrator_audit.vault import Vault
from integrator_audit.verify import Verification, verify_log

HOLDS, FAILED, UNKNOWN = 0, 1, 2

app = typer.Typer(
    name="integrator-audit",
    help="Verify a disclosure ledger without trusting who keeps it.",
    epilog="Exit codes: 0 everything holds, 1 a proof failed, 2 could not tell.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")]


@app.callback()
def _group() -> None:  # pyright: ignore[reportUnusedFunction]  typer keeps it: it makes the program a group
    """Verify a disclosure ledger without trusting who keeps it."""


@app.command("verify")
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
    with _answering(as_json=as_json):
        memory = State(state or default_directory(os.environ))
        verifier = _read_vkey(vkey)
        with _progress("verifying", as_json=as_json) as progress:
            result = verify_log(open_source(location), verifier, state=memory, progress=progress)
        _tell_verification(result, verifier, as_json=as_json)


@app.command("fsck")
def fsck_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Ledger files (SQLite).")],
    *,
    vkey: Annotated[
        str | None, typer.Option(help="The log's verifier key, or a file that holds it [default: the file's own].")
    ] = None,
    vault: Annotated[Path | None, typer.Option(help="The vault with the keys of persons, to check D, S and P.")] = None,
    generation_key: Annotated[Path | None, typer.Option(help="The file with the 32-byte key of the vault.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Re-derive everything in a ledger's file from its rows and name what does not fit."""
    with _answering(as_json=as_json):
        verifier = None if vkey is None else _read_vkey(vkey)
        opened = _open_vault(vault, generation_key)
        reports: list[tuple[Path, Report]] = []
        for file in files:
            with _progress(file.name, as_json=as_json) as progress:
                reports.append((file, fsck(file, vault=opened, verifier=verifier, progress=progress)))
        _tell_reports(reports, as_json=as_json)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit."""
    app(args=arguments)


@contextmanager
def _answering(*, as_json: bool) -> Generator[None]:
    """Turn the ledger's errors into a sentence (or JSON) and an exit code."""
    try:
        yield
    except AuditError as error:
        failed = isinstance(error, Tampered)
        if as_json:
            result = "failed" if failed else "unknown"
            print(json.dumps({"result": result, "code": error.code, "message": error.message}))
        else:
            print(f"{'FAILED' if failed else 'could not tell'}: {error.message} ({error.code})", file=sys.stderr)
        raise typer.Exit(FAILED if failed else UNKNOWN) from error


@contextmanager
def _progress(label: str, *, as_json: bool) -> Generator[Progress]:
    """Show a bar where a person watches."""
    if as_json or not sys.stderr.isatty():
        yield no_progress
        return
    with typer.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield show


def _read_vkey(text: str) -> Verifier:
    path = Path(text)
    try:
        given = path.read_text(encoding="utf-8").strip() if path.is_file() else text.strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable("vkey-unreadable", f"the verifier key in {text} cannot be read") from error
    return Verifier.from_text(given)


def _open_vault(vault: Path | None, generation_key: Path | None) -> Vault | None:
    if vault is None and generation_key is None:
        return None
    if vault is None or generation_key is None:
        raise Invalid("vault-options", "give --vault and --generation-key together")
    try:
        key = generation_key.read_bytes()
    except OSError as error:
        raise Unavailable("generation-key", f"{generation_key} cannot be read: {error.strerror}") from error
    return Vault.read_only(vault, key)


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
        print(json.dumps(document | _findings_json(result.findings, result.left_out)))
    else:
        _print_findings(result.findings, result.left_out, print_line=print)
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
            | _findings_json(report.findings, report.left_out)
            for path, report in reports
        ]
        print(json.dumps({"result": "holds" if holds else "failed", "files": files}))
    else:
        for path, report in reports:
            _print_findings(
                report.findings, report.left_out, print_line=lambda line, path=path: print(f"{path}: {line}")
            )
            verdict = "everything holds" if report.holds else "FAILED"
            print(f"{path}: {report.origin}, {report.size} entries: {verdict}.")
            if not report.opened:
                print(f"{path}: parts D, S and P were checked by their seals only; give --vault to open them.")
    raise typer.Exit(HOLDS if holds else FAILED)


def _findings_json(findings: Sequence[Finding], left_out: int) -> dict[str, object]:
    items = [{"code": item.code, "where": item.where, "message": item.message} for item in findings]
    return {"findings": items, "findingsLeftOut": left_out}


def _print_findings(findings: Sequence[Finding], left_out: int, *, print_line: Callable[[str], None]) -> None:
    for item in findings:
        print_line(f"{item.where}: {item.message} ({item.code})")
    if left_out:
        print_line(f"… and {left_out} more")
