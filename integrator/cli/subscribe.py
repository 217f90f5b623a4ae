"""`integrator subscribe`: what an agency receives, as it comes, for one purpose."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from integrator.cli import reach
from integrator.domain import topics
from integrator.sdk.agency import Agency
from integrator.sdk.delivered import Delivered
from integrator.sdk.received import Book

Stream = Annotated[str, typer.Argument(help="The stream, such as brp/person.")]
Purpose = Annotated[str, typer.Option("--purpose", help="For what; each purpose has its own credentials and topic.")]
AgencyName = Annotated[
    str | None, typer.Option("--agency", help="Who receives; not needed when one agency alone has this purpose here.")
]
FromBeginning = Annotated[
    bool,
    typer.Option("--from-beginning", help="Show everything that is kept, without touching what was acknowledged."),
]
Group = Annotated[str, typer.Option("--group", help="Who shares the work: members of a group each receive a part.")]
BookFile = Annotated[
    Path | None, typer.Option("--book", help="Note each acknowledged event in this file, for `integrator reconcile`.")
]
Most = Annotated[int | None, typer.Option("--max", min=1, help="End after so many events.")]


def subscribe(  # noqa: PLR0913  one argument for each option
    stream: Stream,
    purpose: Purpose,
    *,
    agency: AgencyName = None,
    data: reach.Data = reach.HERE,
    bootstrap: reach.Bootstrap = None,
    api: reach.Api = None,
    password_file: reach.PasswordFile = None,
    token_file: reach.TokenFile = None,
    ca_file: reach.Authorities = None,
    from_beginning: FromBeginning = False,
    group: Group = "command-line",
    most: Most = None,
    book: BookFile = None,
    as_json: reach.AsJson = False,
) -> None:
    """Print each event that is delivered, and acknowledge it; until Ctrl-C, or --max events.

    With --json one document a line. Exit code 1 when the subscription is refused: the refusal is on record.
    """
    ways = reach.Ways(
        data,
        bootstrap=bootstrap,
        api=api,
        password_file=password_file,
        token_file=token_file,
        authorities=ca_file,
    )
    principal = topics.agency_principal(agency or ways.only_agency(purpose), purpose)
    reached = ways.reach(principal, token=f"token-{principal}")
    if from_beginning:
        # A group of its own, which the broker forgets after a while.
        group = f"look-{secrets.token_hex(6)}"
    printer = _Printer(as_json=as_json)
    try:
        asyncio.run(_receive(reached, _Wanted(stream, purpose, group, most, book), printer))
    except KeyboardInterrupt:
        sys.stderr.write(f"Received {printer.many} events.\n")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What somebody asked to see."""

    stream: str
    purpose: str
    group: str
    most: int | None
    book: Path | None


async def _receive(reached: reach.Reach, wanted: _Wanted, printer: _Printer) -> None:
    token = reached.token.get_secret_value()
    async with AsyncExitStack() as stack:
        book = None if wanted.book is None else stack.enter_context(closing(Book(wanted.book)))
        agency = await stack.enter_async_context(Agency.connect(reached.connection, api=reached.api, token=token))
        async for event in agency.subscribe(wanted.stream, purpose=wanted.purpose, group=wanted.group):
            async with event:
                printer.show(event)
                if book is not None:
                    # Before it is acknowledged: after a crash it comes again and is noted twice, which counts once.
                    book.note(event)
            if printer.many == wanted.most:
                return


class _Printer:
    """Prints events: a heading and the value for people, one line of JSON for programs."""

    def __init__(self, *, as_json: bool) -> None:
        self.many = 0
        self._as_json = as_json
        self._console = Console(highlight=False, soft_wrap=True)

    def show(self, event: Delivered) -> None:
        self.many += 1
        if self._as_json:
            sys.stdout.write(json.dumps(event.as_json(), ensure_ascii=False) + "\n")
            sys.stdout.flush()
            return
        name, version = event.authorisation
        heading = Text(
            f"{event.time:%Y-%m-%d %H:%M:%S}  {event.kind:<10} lane {event.lane} number {event.sequence}"
            f"  under {name}/{version}  after {event.latency * 1000:.0f} ms",
            style="bold",
        )
        self._console.print(heading)
        if event.triggers:
            self._console.print(Text(f"  because of {', '.join(event.triggers)}"))
        # As text, not as markup: a value may hold anything.
        value = json.dumps(event.value, ensure_ascii=False, indent=2)
        self._console.print(Text("\n".join(f"  {line}" for line in value.splitlines())))
