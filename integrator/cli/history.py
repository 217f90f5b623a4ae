"""`integrator history`: everything that was disclosed about one person, checked to be everything, day by day."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.text import Text

from integrator.cli.disclosures import HERE, Api, AsJson, Data, ask_person, people_of, printable
from integrator.cli.vouching import Believed, CosignerKey, Epochs, PolicyFile, StateDirectory, VKey, tell
from integrator.domain.errors import Busy, IntegratorError, Invalid, Unavailable
from integrator.operation.settings import Installation
from integrator.sdk.citizen import Citizen
from integrator.sdk.completeness import judge_history, read_days
from integrator_audit.completeness.epochlog import EpochLog
from integrator_audit.completeness.evidence import VerifiedEntry
from integrator_audit.completeness.history import Day, History
from integrator_audit.halfyear import date_of

First = Annotated[str | None, typer.Option("--first", help="From this day on, as 2026-01-31 (UTC).")]
Last = Annotated[str | None, typer.Option("--last", help="To this day; else to the newest sealed one.")]
Out = Annotated[Path | None, typer.Option("--out", help="Keep the document, for `integrator-audit history`.")]


def history(  # noqa: PLR0913  one argument for each option
    data: Data = HERE,
    api: Api = None,
    vkey: VKey = None,
    *,
    epochs: Epochs = None,
    policy: PolicyFile = None,
    cosigner: CosignerKey = None,
    state: StateDirectory = None,
    first: First = None,
    last: Last = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Check that everything that the ledger lists about a person is shown to them, on every day that is over.

    The number is asked for, or read from standard input; never an argument. Exit code 0: it is everything, and others
    vouch for that; 1: a lie was found, or it was refused; 2: it holds, and not everybody vouches, or it could not be
    told.
    """
    console = Console(stderr=True)
    believed = Believed(vkey, epochs, policy, cosigner, state)
    try:
        installation = Installation.open(data)
        place = api or installation.api_url
        trusted = believed.trusted(installation.ledger)
        person = ask_person()
        token = people_of(installation).token(person)
        document = asyncio.run(_fetch(place, token, _day(first), _day(last)))
        if out is not None:
            out.write_bytes(document)
        days = read_days(believed.source(place), trusted)
        found = judge_history(document, days, trusted, person=person)
    except IntegratorError as error:
        if as_json:
            sys.stdout.write(json.dumps({"failure": {"code": error.code, "detail": error.message}}) + "\n")
        console.print(f"[bold red]{error.code}[/]: {error.message}", soft_wrap=True, highlight=False)
        raise typer.Exit(2 if isinstance(error, Unavailable | Busy) else 1) from None
    if as_json:
        sys.stdout.write(json.dumps(_members(found, days), ensure_ascii=False) + "\n")
    else:
        _print(found)
        tell(console, days, believed)
    raise typer.Exit(2 if days.doubts else 0)


async def _fetch(api: str, token: str, first: date | None, last: date | None) -> bytes:
    async with Citizen(api, token=token, keys={}) as citizen:
        return await citizen.history(first=first, last=last)


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise Invalid("day", "Write a day as 2026-01-31.") from None


def _print(found: History) -> None:
    console = Console(soft_wrap=True, highlight=False)
    for day in found.days:
        if day.erased is not None:
            console.print(Text(f"{_span(day)}: what was listed about you has been erased ({_ground(day.erased)})."))
        for entry in day.entries:
            console.print(_line(day, entry))
    entries = len(found.entries)
    empty = sum(day.last - day.first + 1 for day in found.days if not day.entries and day.erased is None)
    if not found.days:
        sys.stdout.write("No day is over yet since the ledger began: come back tomorrow.\n")
        return
    first, last = date_of(found.days[0].first), date_of(found.days[-1].last)
    listed = f"{entries} disclosures about you, and you were shown every one" if entries else "nothing about you"
    sys.stdout.write(
        f"From {first} to {last} the ledger lists {listed}; for the {empty} days without any, that is proved.\n"
        "What a supervisor's order withholds is not among them: "
        f"at most {found.unlisted} entries a day, over all people.\n"
    )


def _line(day: Day, entry: VerifiedEntry) -> Text:
    """Return one entry as a line that says who, what, why and by which law."""
    told = entry.parts["A"]
    person = entry.parts.get("S", {})
    text = Text("✓ ", style="bold green")
    text.append(f"{_when(day, person)}  ", style="default")
    text.append(printable(str(told["recipient"])), style="bold")
    fields = ", ".join(map(str, cast("list[Any]", told["fields"])))
    role = f", where you are the {person['role']}" if person else f"; the rest was erased ({_ground(entry.erased)})"
    basis = "; ".join(map(str, cast("list[Any]", told["basis"]))) or "no law that was in force"
    text.append(printable(f" received {fields} of {told['stream']}{role}, for {told['purpose']}, by {basis}"))
    return text


def _when(day: Day, person: dict[str, object]) -> str:
    return str(person["at"])[:19].replace("T", " ") if person else _span(day)


def _span(day: Day) -> str:
    first, last = date_of(day.first), date_of(day.last)
    return f"{first}" if first == last else f"{first} to {last}"


def _ground(ground: str | None) -> str:
    return "its time was over" if ground == "retention" else "somebody ordered it"


def _members(found: History, days: EpochLog) -> dict[str, Any]:
    return {
        "origin": found.origin,
        "complete": not days.doubts,
        "doubts": [{"code": doubt.code, "detail": doubt.message} for doubt in days.doubts],
        "unlisted": found.unlisted,
        "days": [
            {
                "first": date_of(day.first).isoformat(),
                "last": date_of(day.last).isoformat(),
                "erased": day.erased,
                "entries": [
                    {"origin": one.origin, "index": one.place.number, "erased": one.erased, "parts": one.parts}
                    for one in day.entries
                ],
            }
            for day in found.days
        ],
        "failure": None,
    }
