"""What every command shares: errors as sentences or JSON, exit codes, progress bars, reading keys.

- Exit codes: 0 everything holds, 1 a proof failed, 2 could not tell.
- What a program reads goes to stdout, and with `--json` nothing else does; progress and errors go to stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from integrator_audit.cli.files import bounded, printable, read_file, text_or_file
from integrator_audit.cli.places import read_place
from integrator_audit.errors import AuditError, Invalid, Tampered, Unavailable
from integrator_audit.findings import Finding, Progress, no_progress
from integrator_audit.generationkeys import FileGenerationKeys
from integrator_audit.note import Verifier
from integrator_audit.vault import Vault

HOLDS, FAILED, UNKNOWN = 0, 1, 2

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")]


@contextmanager
def answering(*, as_json: bool) -> Generator[None]:
    """Turn the ledger's errors into a sentence (or JSON) and an exit code."""
    try:
        yield
    except AuditError as error:
        raise _exit(error, as_json=as_json) from error
    except BrokenPipeError:
        # Nobody reads the answer any more: `main` ends the program.
        raise
    except OSError as error:
        # What nobody nearer to it foresaw, such as a name that is too long.
        where = "" if error.filename is None else f"{Path(str(error.filename)).name[:99]}: "
        message = f"{where}{error.strerror or error}"
        raise _exit(Unavailable("system", message), as_json=as_json) from error
    except MemoryError as error:
        raise _exit(Unavailable("system", "there is not enough memory for this"), as_json=as_json) from error


def _exit(error: AuditError, *, as_json: bool) -> typer.Exit:
    """Tell people or programs of an error, and return the exit that goes with it."""
    failed, message = isinstance(error, Tampered), bounded(error.message)
    if as_json:
        result = "failed" if failed else "unknown"
        print(json.dumps({"result": result, "code": error.code, "message": message}))
    else:
        verdict = "FAILED" if failed else "could not tell"
        print(printable(f"{verdict}: {message} ({error.code})"), file=sys.stderr)
    return typer.Exit(FAILED if failed else UNKNOWN)


@contextmanager
def progress(label: str, *, as_json: bool) -> Generator[Progress]:
    """Show a bar where a person watches."""
    if as_json or not sys.stderr.isatty():
        yield no_progress
        return
    with typer.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def show(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield show


def read_vkey(text: str) -> Verifier:
    """Return the verifier key that a person gave as text or as a file that holds it."""
    return Verifier.from_text(text_or_file(text, "the verifier key"))


def open_vault(vault: str | None, generation_key: Path | None) -> Vault | None:
    """Return the vault for reading, or None when none was given. It is a file, a URL, or the name of a schema.

    `generation_key` is the file of the one key, or the directory with the keys of all generations.
    """
    if vault is None and generation_key is None:
        return None
    if vault is None or generation_key is None:
        raise Invalid("vault-options", "give --vault and --generation-key together")
    if generation_key.is_dir():
        return Vault.read_only(read_place(vault), FileGenerationKeys(generation_key))
    return Vault.read_only(read_place(vault), read_file(generation_key, "the generation key"))


def findings_json(findings: Sequence[Finding], left_out: int) -> dict[str, object]:
    """Return findings as members of a JSON answer."""
    items = [{"code": item.code, "where": bounded(item.where), "message": bounded(item.message)} for item in findings]
    return {"findings": items, "findingsLeftOut": left_out}


def print_findings(findings: Sequence[Finding], left_out: int, *, print_line: Callable[[str], None]) -> None:
    """Print findings for people, a line each."""
    for item in findings:
        print_line(printable(f"{bounded(item.where)}: {bounded(item.message)} ({item.code})"))
    if left_out:
        print_line(f"… and {left_out} more")
