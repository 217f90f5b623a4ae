"""`integrator reconcile`: what an agency received against what the ledger lists under it, day by day."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Any, BinaryIO, cast

import typer
from rich.console import Console
from rich.table import Table

from integrator.cli import reach
from integrator.cli.vouching import Believed, CosignerKey, Epochs, PolicyFile, StateDirectory, VKey, ledger_of, tell
from integrator.domain import topics
from integrator.domain.errors import Busy, IntegratorError, Refused, Unavailable
from integrator.operation.settings import Installation
from integrator.sdk.api import Api
from integrator.sdk.completeness import judge_account, read_days
from integrator.sdk.received import Books, read_book, read_topics, together
from integrator_audit.completeness.account import Account
from integrator_audit.completeness.epochlog import EpochLog
from integrator_audit.halfyear import date_of

AgencyName = Annotated[str, typer.Argument(help="The agency.")]
Purposes = Annotated[
    list[str] | None,
    typer.Option("--purpose", help="For what it receives; else every purpose whose credentials are here. Repeatable."),
]
BookFile = Annotated[
    Path | None, typer.Option("--book", help="What the agency noted while it received; else its topics are read.")
]
SecretFile = Annotated[
    Path | None, typer.Option("--secret-file", help="The agency's 32-byte account secret; needed with --bootstrap.")
]


def reconcile(  # noqa: PLR0913  one argument for each option
    agency: AgencyName,
    purpose: Purposes = None,
    *,
    data: reach.Data = reach.HERE,
    bootstrap: reach.Bootstrap = None,
    api: reach.Api = None,
    password_file: reach.PasswordFile = None,
    token_file: reach.TokenFile = None,
    ca_file: reach.Authorities = None,
    book: BookFile = None,
    secret_file: SecretFile = None,
    vkey: VKey = None,
    epochs: Epochs = None,
    policy: PolicyFile = None,
    cosigner: CosignerKey = None,
    state: StateDirectory = None,
    as_json: reach.AsJson = False,
) -> None:
    """Compare every delivery that an agency received with the ledger's list of its entries.

    It finds deliveries that were never entered, and entries of deliveries that never came. Exit code 0: they agree, and
    others vouch for the ledger's days; 1: they differ, a lie was found, or it was refused; 2: they agree, and not
    everybody vouches, or it could not be told.
    """
    console = Console(stderr=True)
    believed = Believed(vkey, epochs, policy, cosigner, state)
    ways = reach.Ways(
        data, bootstrap=bootstrap, api=api, password_file=password_file, token_file=token_file, authorities=ca_file
    )
    try:
        purposes = purpose or _purposes(data, agency, remote=bootstrap is not None)
        principals = [topics.agency_principal(agency, one) for one in purposes]
        reached = [ways.reach(one, token=f"token-{one}") for one in principals]
        secret = _secret(data, agency, secret_file)
        trusted = believed.trusted(ledger_of(data, remote=bootstrap is not None))
        with NamedTemporaryFile(prefix="account-") as document:
            books = asyncio.run(_collect(agency, purposes, reached, book=book, document=cast(BinaryIO, document)))
            document.flush()
            days = read_days(believed.source(reached[0].api), trusted)
            account = Path(document.name)
            found = judge_account(account, days, trusted, secret=secret, received=books.received, first=books.since)
    except IntegratorError as error:
        if as_json:
            sys.stdout.write(json.dumps({"failure": {"code": error.code, "detail": error.message}}) + "\n")
        console.print(f"[bold red]{error.code}[/]: {error.message}", soft_wrap=True, highlight=False)
        raise typer.Exit(2 if isinstance(error, Unavailable | Busy) else 1) from None
    if as_json:
        sys.stdout.write(json.dumps(_members(found, days, books)) + "\n")
    else:
        _print(found, books)
        tell(console, days, believed)
    raise typer.Exit(1 if found.findings else 2 if days.doubts else 0)


async def _collect(
    agency: str, purposes: Sequence[str], reached: Sequence[reach.Reach], *, book: Path | None, document: BinaryIO
) -> Books:
    """Read what was received, and write the ledger's list to a file."""
    first = reached[0]
    # The list first: what is delivered meanwhile is of a day that is not sealed.
    async with Api(first.api, first.token.get_secret_value()) as interface:
        await interface.save(f"/v1/accounts/{agency}", document)
    if book is not None:
        return await asyncio.to_thread(read_book, book)
    read = [
        await read_topics(each.connection, topics.agency_prefix(agency, purpose))
        for purpose, each in zip(purposes, reached, strict=True)
    ]
    return together(read)


def _purposes(data: Path, agency: str, *, remote: bool) -> list[str]:
    """Return the purposes whose credentials the installation has."""
    if remote:
        raise Refused("option-missing", "With --bootstrap, give --purpose and the files of its credentials.")
    folder = Installation.open(data).data / "secrets"
    known = (path.name.removeprefix("token-agency-").partition("--") for path in folder.glob("token-agency-*"))
    found = sorted(theirs for name, _, theirs in known if name == agency)
    if not found:
        raise Refused("agency", f"There are no credentials of {agency!r} here: look at the name, or give --bootstrap.")
    return found


def _secret(data: Path, agency: str, file: Path | None) -> bytes:
    if file is None:
        try:
            return Installation.open(data).secrets.get(f"account-{agency}")
        except Refused as error:
            if error.code != "secret-missing":
                raise
            message = (
                f"The ledger has listed nothing for {agency} yet: it does when it seals the first day (UTC) on which "
                "something was delivered to it. Try again after the end of that day."
            )
            raise Unavailable("account-missing", message) from None
    try:
        return file.read_bytes()
    except OSError:
        raise Refused("file-missing", f"The file {file} cannot be read.") from None


def _print(found: Account, books: Books) -> None:
    console = Console(soft_wrap=True, highlight=False)
    table = Table(title=f"Entries of {found.recipient}, day by day", title_justify="left")
    table.add_column("day")
    table.add_column("entries", justify="right")
    for day, entries in sorted(found.listed.items()):
        if entries:
            table.add_row(date_of(day).isoformat(), str(entries))
    console.print(table)
    if found.findings:
        wrong = Table(title="Differences", title_justify="left")
        for column in ("what", "where", "meaning"):
            wrong.add_column(column, overflow="fold")
        for finding in found.findings:
            wrong.add_row(finding.code, finding.where, finding.message)
        console.print(wrong)
    if found.left_out:
        sys.stdout.write(f"And {found.left_out} more.\n")
    since = f" from {books.since} on; what the topics keep no longer is not compared" if books.since else ""
    count = len(found.findings) + found.left_out
    verdict = "they agree" if not count else "one difference" if count == 1 else f"{count} differences"
    sys.stdout.write(
        f"{found.received} deliveries were received, {found.outside} of them on days that are not compared{since}: "
        f"{verdict}.\n"
    )


def _members(found: Account, days: EpochLog, books: Books) -> dict[str, Any]:
    return {
        "recipient": found.recipient,
        "since": None if books.since is None else books.since.isoformat(),
        "days": {date_of(day).isoformat(): entries for day, entries in sorted(found.listed.items())},
        "received": found.received,
        "outside": found.outside,
        "erased": found.erased,
        "agree": not found.findings,
        "findings": [{"code": one.code, "where": one.where, "message": one.message} for one in found.findings],
        "leftOut": found.left_out,
        "doubts": [{"code": doubt.code, "detail": doubt.message} for doubt in days.doubts],
        "failure": None,
    }
