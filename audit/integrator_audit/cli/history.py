"""The command with which a person finds what was left out: `history`.

The number is read from a file or a terminal, never from the command line, which other users of a machine can see.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from integrator_audit.checkpoint import LogKeys
from integrator_audit.cli.answering import HOLDS, UNKNOWN, JsonOption, answering
from integrator_audit.cli.epochs import (
    CosignerOption,
    EpochsOption,
    ShardVkeyOption,
    SinceOption,
    UntilOption,
    print_doubts,
    read_day,
    read_document_file,
    trusted_epochs,
    verdict,
    vouchers,
)
from integrator_audit.cli.files import printable, read_file
from integrator_audit.cli.trust import KeysOption, PolicyOption, RootOption, StateOption, VkeyOption
from integrator_audit.completeness.epochlog import EpochLog
from integrator_audit.completeness.history import MAX_HISTORY, Asked, Day, History, read_history, verify_history
from integrator_audit.errors import Invalid
from integrator_audit.halfyear import date_of
from integrator_audit.opening import VerifiedOpening, verify_opening
from integrator_audit.openingfile import read_opening


def history_command(  # noqa: PLR0913  each is an option of the command
    document: Annotated[Path, typer.Argument(metavar="DOCUMENT", help="The history that the operator handed over.")],
    epochs: EpochsOption,
    vkey: VkeyOption = None,
    *,
    policy: PolicyOption = None,
    keys: KeysOption = None,
    keys_root: RootOption = None,
    cosigner: CosignerOption = None,
    number_file: Annotated[
        Path | None,
        typer.Option(help="A file with the person's number as scheme:value [default: asked for].", metavar="FILE"),
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    shard_vkey: ShardVkeyOption = None,
    receipt: Annotated[
        list[Path] | None,
        typer.Option(help="Openings about this person from a recipient: they have to be listed.", metavar="FILE"),
    ] = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that a person was shown everything that is listed about them, on every day, or name the lie."""
    with answering(as_json=as_json):
        given = read_history(read_document_file(document, MAX_HISTORY))
        number = _number(number_file)
        trust = vouchers(policy, cosigner)
        trusted = trusted_epochs(
            epochs, trust, shard_vkey, keys=(vkey, policy, keys, keys_root), state=state, as_json=as_json
        )
        asked = Asked(
            number,
            trust.today,
            first=read_day(since),
            last=read_day(until),
            keys=trusted.shards,
            receipts=[_receipt(path, trusted.shards) for path in receipt or ()],
        )
        _tell_history(verify_history(given, trusted.epochs, asked), trusted.epochs, as_json=as_json)


def _number(path: Path | None) -> str:
    if path is not None:
        return _plain(read_file(path, "the person's number").decode(errors="replace").strip())
    if not sys.stdin.isatty():
        raise Invalid("person-number", "give the person's number in a --number-file, or ask on a terminal")
    try:
        return _plain(str(typer.prompt("The person's number, as scheme:value", hide_input=True, err=True)).strip())
    except typer.Abort as error:
        raise Invalid("person-number", "no number was given") from error


def _plain(number: str) -> str:
    """Refuse what only looks like a number: with a space or an invisible sign in it, the operator would be accused."""
    if not all("!" <= character <= "~" for character in number):
        message = (
            "the person's number has a space or a sign in it that no number has: give scheme:value and nothing else"
        )
        raise Invalid("person-number", message)
    return number


def _receipt(path: Path, keys: Mapping[str, LogKeys]) -> VerifiedOpening:
    opening = read_opening(read_file(path, "the receipt"))
    key = keys.get(str(opening.get("origin")))
    if key is None:
        raise Invalid("receipt-vkey", f"no --shard-vkey is that of the log of the receipt in {path}")
    return verify_opening(opening, key)


def _tell_history(result: History, epochs: EpochLog, *, as_json: bool) -> None:
    doubts = epochs.doubts
    if as_json:
        found = [_day_json(day) for day in result.days]
        document: dict[str, object] = {"origin": result.origin, "days": found, "unlisted": result.unlisted}
        document["keyVersions"] = list(result.versions)
        print(json.dumps(verdict(doubts) | document | {"previousSize": epochs.previous}))
    else:
        for day in result.days:
            for line in _day_lines(day):
                print(line)
        print(f"{len(result.entries)} entries on {_span(result.days)}; each of these days has its proof.")
        if len(result.versions) > 1:
            versions = ", ".join(map(str, result.versions))
            print(f"They name you under several versions of the ledger's key ({versions}): see that all are about you.")
        print(f"This is complete, except for at most {result.unlisted} entries a day over all people.")
        print_doubts(epochs, doubts)
    raise typer.Exit(UNKNOWN if doubts else HOLDS)


def _day_json(day: Day) -> dict[str, object]:
    entries = [
        {"origin": entry.origin, "index": entry.place.number, "erased": entry.erased, "parts": entry.parts}
        for entry in day.entries
    ]
    return {
        "first": str(date_of(day.first)),
        "last": str(date_of(day.last)),
        "erased": day.erased,
        "entries": entries,
    }


def _day_lines(day: Day) -> list[str]:
    when = _dates(day.first, day.last)
    if day.erased is not None:
        return [f"{when}: what was listed has been erased (ground: {day.erased})"]
    lines: list[str] = []
    for entry in day.entries:
        said = entry.parts["A"]
        told = ", ".join(f"{name} {printable(said[name])}" for name in ("date", "recipient", "purpose") if name in said)
        gone = "" if entry.erased is None else f"; the rest was erased (ground: {entry.erased})"
        lines.append(f"{when}: {told} (entry {entry.place.number} of {entry.origin}){gone}")
    return lines


def _span(found: Sequence[Day]) -> str:
    return _dates(found[0].first, found[-1].last) if found else "no days"


def _dates(first: int, last: int) -> str:
    one, other = date_of(first), date_of(last)
    return str(one) if one == other else f"{one} to {other}"
