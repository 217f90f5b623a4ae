"""Says whom a command believes about the log of days: keys, witnesses, the checking cosigner, and what it saw last."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from integrator.domain.errors import Refused
from integrator.operation.settings import Installation
from integrator.sdk.citizen import read_keys
from integrator.sdk.completeness import Trusted
from integrator_audit import Verifier
from integrator_audit.completeness.epochlog import EpochLog
from integrator_audit.sources import DirectorySource, HttpSource, Source
from integrator_audit.state import default_directory

VKey = Annotated[
    list[str] | None,
    typer.Option("--vkey", help="A verification key, or a file of them; else those in the installation. Repeatable."),
]
Epochs = Annotated[
    str | None, typer.Option("--epochs", help="The log of days, URL or directory; else that of the integrator.")
]
PolicyFile = Annotated[
    Path | None, typer.Option("--policy", help="Which witnesses have to vouch for the log of days (C2SP tlog-policy).")
]
CosignerKey = Annotated[str | None, typer.Option("--cosigner", help="The key of the supervisor who checks the lists.")]
StateDirectory = Annotated[
    Path | None, typer.Option("--state", help="Where the last seen log of days is remembered; else the user's state.")
]

PLAIN: Final = {
    "no-policy": "No witnesses were named: others may be shown another log of days.",
    "no-quorum": "Too few witnesses vouch for the log of days: others may be shown another one.",
    "quorum-old": "The witnesses saw this log of days more than two days ago.",
    "not-checked-for-omission": "Nobody has checked that no entry was left out of all lists: the supervisor's "
    "cosignature is missing, old or was not asked for.",
    "epochs-old": "The newest day is older than yesterday.",
}
"""Why a result is not the whole answer, in words for people."""


@dataclass(frozen=True, slots=True)
class Believed:
    """What a command was told about trust."""

    vkey: list[str] | None
    epochs: str | None
    policy: Path | None
    cosigner: str | None
    state: Path | None

    def trusted(self, ledger: Path | None) -> Trusted:
        """Return whom to believe; `ledger` is the installation's own directory of logs, when there is one."""
        state = self.state or default_directory(os.environ)
        return Trusted.of(self._keys(ledger), policy=self.policy, cosigner=self.cosigner, state=state)

    def source(self, api: str) -> Source:
        """Return where the log of days is read."""
        place = self.epochs or f"{api}/ledger/epochs"
        return HttpSource(place) if place.startswith(("http://", "https://")) else DirectorySource(Path(place))

    def _keys(self, ledger: Path | None) -> dict[str, Verifier]:
        if self.vkey:
            return read_keys(_text(one) for one in self.vkey)
        published = sorted(ledger.glob("*.vkey")) if ledger is not None else []
        if not published:
            raise Refused("no-key", "There is no verification key here: give them with --vkey.")
        return read_keys(path.read_text("utf-8") for path in published)


def tell(console: Console, days: EpochLog, believed: Believed) -> None:
    """Say what was not vouched for, in plain words."""
    for doubt in days.doubts:
        console.print(f"[yellow]?[/] {PLAIN.get(doubt.code, doubt.message)}", soft_wrap=True, highlight=False)
    if days.previous is None:
        console.print("This log of days is seen for the first time here: a rollback before today would not be noticed.")
    if believed.vkey is None:
        console.print(
            "The keys were read from the installation that is checked. For a check that does not trust it, give --vkey "
            "with keys that you got elsewhere.",
            soft_wrap=True,
        )


def ledger_of(data: Path, *, remote: bool) -> Path | None:
    """Return the directory of the logs of the installation in `data`; `None` when another one is asked."""
    return None if remote else Installation.open(data).ledger


def _text(given: str) -> str:
    """Return the content of a file, or the key itself: `name+id+key` is never the name of a file that exists."""
    path = Path(given)
    try:
        return path.read_text("utf-8") if path.is_file() else given
    except OSError:
        return given
