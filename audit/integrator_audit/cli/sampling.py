"""The commands of the supervisor's sample: `sample draw` says about which entries to ask, `sample check` compares.

Exit codes of the comparison: 0 each drawn entry that is listed stands under its person, 1 one does not, 2 answers are
missing, or it could not be told. Numbers of people are in the file only, and in no message.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from integrator_audit.cli.answering import (
    FAILED,
    HOLDS,
    UNKNOWN,
    JsonOption,
    answering,
    findings_json,
    print_findings,
    progress,
)
from integrator_audit.cli.epochs import EpochsOption, read_clock, read_day, trusted_epochs
from integrator_audit.cli.keys import write_new
from integrator_audit.cli.trust import KeysOption, RootOption, StateOption, VkeyOption
from integrator_audit.completeness.dossier import Dossier
from integrator_audit.completeness.epochlog import Trust
from integrator_audit.completeness.lines import open_lines
from integrator_audit.completeness.memory import Memory
from integrator_audit.completeness.sampling import Sampled, check_sample, draw_sample, read_sample
from integrator_audit.durable import PRIVATE
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.halfyear import date_of

app = typer.Typer(
    help="Sample whether entries stand under the label of the person whom they are about.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_NONE = "no entry is listed that was drawn: draw more, for nothing was compared"


@app.command("draw")
def draw_command(  # noqa: PLR0913  each is an option of the command
    *,
    epochs: EpochsOption,
    count: Annotated[int, typer.Option(help="How many entries of each day.", min=1, max=100_000)],
    out: Annotated[Path, typer.Option(help="The file to write; it must not exist.", metavar="FILE")],
    first: Annotated[str | None, typer.Option(help="The first day, yyyy-mm-dd [default: the newest].")] = None,
    last: Annotated[str | None, typer.Option(help="The last day [default: the newest].")] = None,
    vkey: VkeyOption = None,
    keys: KeysOption = None,
    keys_root: RootOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw entries of some days by chance, to ask their recipients about whom they were."""
    with answering(as_json=as_json):
        trust = (vkey, None, keys, keys_root)
        log = trusted_epochs(epochs, Trust(read_clock()), None, keys=trust, state=state, as_json=as_json).epochs
        asked = [log.newest if day is None else day for day in (read_day(first), read_day(last))]
        lines = list(draw_sample(log, asked[0], asked[1], count=count, random=secrets.randbelow))
        write_new(out, b"".join(lines), mode=PRIVATE)
        days = [str(date_of(day)) for day in asked]
        told = {"origin": log.origin, "first": days[0], "last": days[1], "drawn": len(lines) - 1, "file": str(out)}
        sentence = f"{out}: {len(lines) - 1} entries, {days[0]} to {days[1]}. Keep it secret."
        print(json.dumps(told) if as_json else sentence)
        raise typer.Exit(HOLDS)


@app.command("check")
def check_command(  # noqa: PLR0913  each is an option of the command
    sample: Annotated[Path, typer.Argument(metavar="SAMPLE", help="What was drawn, with the answers.")],
    dossier: Annotated[Path, typer.Argument(metavar="DOSSIER", help="The dossier of these days.")],
    *,
    epochs: EpochsOption,
    memory: Annotated[
        Path, typer.Option(help="The checking cosigner's memory: these days were checked.", metavar="FILE")
    ],
    vkey: VkeyOption = None,
    keys: KeysOption = None,
    keys_root: RootOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the labels under which drawn entries are listed with those of the persons whom they were about."""
    with answering(as_json=as_json):
        given = read_sample(_lines(sample))
        trust = (vkey, None, keys, keys_root)
        log = trusted_epochs(epochs, Trust(read_clock()), None, keys=trust, state=state, as_json=as_json).epochs
        with progress("sample", as_json=as_json) as shown:
            lists = Dossier(open_lines(dossier, progress=shown))
            result = check_sample(given, lists, log, Memory.load(memory, log.origin))
        if not (result.attributed or result.unanswered or result.findings):
            raise Invalid("sample-unlisted", _NONE)
        _tell(result, as_json=as_json)


def _lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of the supervisor's own file: whatever is wrong with it says nothing of the ledger."""
    try:
        yield from open_lines(path)
    except Tampered as error:
        raise Invalid("sample-line", f"the sample cannot be read: {error.message}") from error


def _tell(result: Sampled, *, as_json: bool) -> None:
    failed, unknown = bool(result.findings), bool(result.unanswered)
    missing = f"{result.unanswered} drawn entries are listed, and the sample does not say yet whom they are about"
    if as_json:
        document: dict[str, object] = {
            "result": "failed" if failed else "unknown" if unknown else "verified",
            "attributed": result.attributed,
            "unlisted": result.unlisted,
            "unanswered": result.unanswered,
        }
        if unknown and not failed:
            document |= {"code": "sample-unanswered", "message": missing}
        print(json.dumps(document | findings_json(result.findings, result.left_out)))
    else:
        print_findings(result.findings, result.left_out, print_line=print)
        print(f"{result.attributed} drawn entries stand under their person, {result.unlisted} are listed under nobody.")
        if unknown:
            print(f"could not tell: {missing} (sample-unanswered)")
        if failed:
            print("FAILED: entries are listed under somebody else than the person whom they are about.")
    raise typer.Exit(FAILED if failed else UNKNOWN if unknown else HOLDS)
