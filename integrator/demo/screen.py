"""Shows on a terminal what flows: who published, who received what for which purpose, what was refused and why."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from integrator.demo.play import Play, Screen
from integrator.demo.report import Document
from integrator.demo.scenarios import Right
from integrator.domain.decision import UNIDENTIFIED
from integrator.domain.errors import Refused
from integrator.sdk.delivered import Delivered
from integrator.sdk.message import SourceMessage


class TerminalScreen(Screen):
    """Prints a line for each thing that happens to the people of the scenarios, and tables at the end."""

    def __init__(self, console: Console, watched: Iterable[str] = ()) -> None:
        self._console = console
        self.watched = watched

    def say(self, sentence: str) -> None:
        """Print one sentence about the play as a whole."""
        self._console.print(f"[bold]•[/] {sentence}", highlight=False)

    def published(self, message: SourceMessage) -> None:
        """Print who published what; numbers of fictional people are left out all the same."""
        changed = ", ".join(message.value.get("changed") or ()) or "everything"
        self._console.print(
            f"  [cyan]{message.stream}[/] published [bold]{message.value['kind']}[/] ({changed})", highlight=False
        )

    def delivered(self, right: Right, event: Delivered) -> None:
        """Print which fields an agency received, for which purpose, if the event is about somebody watched."""
        if str(event.value.get("bsn", "")) not in self.watched:
            return
        authorisation = right.authorisation
        fields = ", ".join(path for path in authorisation.fields)
        self._console.print(
            f"    [green]→ {authorisation.agency}[/] for [bold]{authorisation.purpose}[/]: {fields} "
            f"[dim](sequence {event.sequence} of lane {event.lane}, {event.latency * 1000:.0f} ms)[/]",
            highlight=False,
        )

    def refused(self, who: str, refusal: Refused) -> None:
        """Print a refusal with its reason."""
        self._console.print(f"    [red]✗ {who}[/]: refused, [bold]{refusal.code}[/]", highlight=False)


def summary(document: Document) -> list[Table]:
    """Return the tables of a report: deliveries and withheld by authorisation, and the logs."""
    flow = Table(title="What flowed", title_justify="left")
    for column in ("agency", "purpose", "stream"):
        flow.add_column(column)
    flow.add_column("delivered", justify="right")
    flow.add_column("withheld, by reason")
    for agency, purposes in document["delivered"].items():
        for purpose, streams in purposes.items():
            for stream, number in streams.items():
                withheld = document["withheld"].get(agency, {}).get(purpose, {}).get(stream, {})
                reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(withheld.items()))
                flow.add_row(agency, purpose, stream, str(number), reasons)
    logs = Table(title="The ledger", title_justify="left")
    logs.add_column("log", overflow="fold")
    logs.add_column("entries", justify="right")
    logs.add_column("root", overflow="fold")
    for log in (*document["ledger"]["subjects"], document["ledger"]["institution"]):
        logs.add_row(log["origin"], str(log["size"]), log["root"])
    return [flow, logs]


async def line(play: Play) -> str:
    """Return one line on how far it is: what was delivered, what was withheld and why, the head of the ledger."""
    delivered = sum(notes.received for notes in play.recipients.notes.values())
    withheld: Counter[str] = Counter()
    for (_, _, reason), number in (await play.accounts()).counts.items():
        if reason != UNIDENTIFIED:
            withheld[reason] += number
    reasons = ", ".join(f"{reason} {number}" for reason, number in withheld.most_common())
    reader = play.readers.latest("s0")
    root = base64.b64encode(reader.root).decode()
    return (
        f"{play.published} published, [green]{delivered} delivered[/], [yellow]{withheld.total()} withheld[/] "
        f"({reasons or 'none'}); ledger: {reader.size} entries, head {root[:16]}…"
    )


def further(play: Play) -> str:
    """Return how to look further while the demonstration stays up."""
    installation = play.stage.installation
    data = f"--data {installation.data}"
    shard = installation.ledger_files.public(play.readers.latest("s0").origin.rpartition("/")[2])
    vkey = play.readers.latest("s0").vkey
    child = next(iter(play.story.newborn), "")
    return f"""
[bold]It stays up until Ctrl-C.[/] In another terminal (every person is fictional):

  What an agency receives    integrator subscribe brp/person --agency groeifonds --purpose startbedrag {data}
  What a citizen sees        echo {play.population.scheme}:{child} | integrator disclosures {data}
  Check the ledger yourself  integrator-audit verify {shard} --vkey '{vkey}'
  How everything is          integrator status {data}
  What was set aside         integrator quarantine list {data}
  The API's description      {installation.api_url}/v1/openapi.json
"""
