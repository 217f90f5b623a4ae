"""`integrator disclosures`: what was disclosed about one person, each line verified before it gets its tick."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.text import Text

from integrator.domain.errors import Busy, IntegratorError, Refused, Unavailable
from integrator.domain.identifiers import SubjectRef
from integrator.http.identity import DEVELOPMENT_KEY, DevelopmentCitizens
from integrator.operation.settings import Installation
from integrator.sdk.citizen import Citizen, VerifiedDisclosure, read_keys
from integrator_audit import Verifier

Data = Annotated[Path, typer.Option("--data", envvar="INTEGRATOR_DATA", help="The installation's directory.")]
Api = Annotated[str | None, typer.Option("--api", help="Address of the integrator; else that of the installation.")]
VKey = Annotated[
    list[str] | None,
    typer.Option("--vkey", help="A verification key, or a file of them; else those in the installation. Repeatable."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
HERE = Path("data")


def disclosures(data: Data = HERE, api: Api = None, vkey: VKey = None, as_json: AsJson = False) -> None:
    """Show what was disclosed about a person, verified entry by entry.

    The number is asked for, or read from standard input; never an argument. Exit code 0: all that is shown holds;
    1: something does not hold, or was refused; 2: it could not be told.
    """
    console = Console(stderr=True)
    found: list[VerifiedDisclosure] = []
    try:
        installation = Installation.open(data)
        keys = _keys(installation, vkey)
        token = people_of(installation).token(ask_person())
        asyncio.run(_collect(found, api or installation.api_url, token, keys))
    except IntegratorError as error:
        # What was verified before stays shown, so that a person can see how far the list holds.
        _print(found, as_json=as_json, failure=error)
        console.print(f"[bold red]{error.code}[/]: {error.message}", soft_wrap=True, highlight=False)
        raise typer.Exit(2 if isinstance(error, Unavailable | Busy) else 1) from None
    _print(found, as_json=as_json, failure=None)
    if vkey is None and not as_json:
        console.print(
            "The key was read from the installation that is checked. For a check that does not trust it, give --vkey "
            "with a key that you got elsewhere.",
            soft_wrap=True,
        )


async def _collect(found: list[VerifiedDisclosure], api: str, token: str, keys: dict[str, Verifier]) -> None:
    async with Citizen(api, token=token, keys=keys) as citizen:
        async for disclosure in citizen.disclosures():
            found.append(disclosure)


def ask_person() -> SubjectRef:
    """Ask for a number without showing it, or read the first line of standard input: a number, or `scheme:number`."""
    asked = typer.prompt("Number", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    text = str(asked).strip()
    return SubjectRef.parse(text) if ":" in text else SubjectRef.of(text, ("bsn", "test", "insz"))


def people_of(installation: Installation) -> DevelopmentCitizens:
    key = installation.secrets.get(DEVELOPMENT_KEY)
    return DevelopmentCitizens(
        installation.data / "secrets" / "citizens.sha256", key, profile=installation.settings.profile
    )


def _keys(installation: Installation, given: list[str] | None) -> dict[str, Verifier]:
    if given:
        return read_keys(_text(one) for one in given)
    published = sorted(installation.ledger.glob("s*.vkey"))
    if not published:
        raise Refused(
            "no-key",
            f"There is no verification key in {installation.ledger}: give one with --vkey, or start the ledger.",
        )
    return read_keys(path.read_text("utf-8") for path in published)


def _text(given: str) -> str:
    """Return the content of a file, or the key itself: `name+id+key` is never the name of a file that exists."""
    path = Path(given)
    try:
        return path.read_text("utf-8") if path.is_file() else given
    except OSError:
        return given


def _print(found: list[VerifiedDisclosure], *, as_json: bool, failure: IntegratorError | None) -> None:
    if as_json:
        problem = None if failure is None else {"code": failure.code, "detail": failure.message}
        document = {"disclosures": [_members(one) for one in found], "failure": problem}
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        return
    if not found:
        if failure is None:
            sys.stdout.write("Nothing was disclosed about this person.\n")
        return
    console = Console(soft_wrap=True)
    for one in found:
        console.print(_block(one), "")
    sys.stdout.write(
        f"{len(found)} disclosures; each is in the ledger and says what stands here. "
        "Titles in parentheses are the integrator's words.\n"
    )


def _block(one: VerifiedDisclosure) -> Text:
    """Return one disclosure as a few lines: laws and fields are too long for the columns of a table."""
    text = Text()
    text.append("✓ ", style="bold green")
    text.append(f"{one.at:%Y-%m-%d %H:%M:%S} UTC  " if one.at else f"{one.date} (erased)  ")
    text.append(_title(one.unverified.get("recipient"), one.recipient), style="bold")
    if one.mediated:
        text.append("  (which one: ask the privacy officer; somebody else in the event must not be found)")
    role = f"where you are the {one.role}" if one.role else "where your role is erased"
    for heading, content in (
        ("received", f"{', '.join(one.fields)} of {one.stream}, {role}"),
        ("for", _title(one.unverified.get("purpose"), f"{one.purpose}/{one.purpose_version}")),
        ("by", "; ".join(one.basis) or "no law that was in force"),
    ):
        text.append(f"\n  {heading:>8}  ", style="dim")
        text.append(printable(content))
    return text


def _title(named: object, name: str) -> str:
    """Return the name, which is proved, and in parentheses the title, which is not."""
    title = _member(named, "title")
    text = _member(title, "en")
    return printable(f"{name} ({text})") if isinstance(text, str) else name


def _member(value: object, name: str) -> object:
    return cast("dict[str, object]", value).get(name) if isinstance(value, dict) else None


def printable(text: str) -> str:
    """Leave out what could move the cursor or hide other lines: the titles come from the one who is checked."""
    return "".join(character for character in text if character.isprintable())


def _members(one: VerifiedDisclosure) -> dict[str, Any]:
    return {
        "origin": one.origin,
        "index": one.index,
        "size": one.size,
        "at": one.at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if one.at else None,
        "date": one.date.isoformat(),
        "recipient": one.recipient,
        "provider": one.provider,
        "stream": one.stream,
        "fields": list(one.fields),
        "role": one.role,
        "purpose": one.purpose,
        "purposeVersion": one.purpose_version,
        "basis": list(one.basis),
        "authorisation": one.under[0] if one.under else None,
        "version": one.under[1] if one.under else None,
        "retention": one.retention,
        "mediated": one.mediated,
        "verified": True,
    }
