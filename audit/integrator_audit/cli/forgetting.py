"""The commands `erase …`: what is due, what an order means, and the change of generation that completes both.

Exit codes: 0 done, 1 what is stored does not hold, 2 not done, or not all: entries of a day that is not sealed wait.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from integrator_audit.cli.answering import HOLDS, UNKNOWN, JsonOption, answering, progress
from integrator_audit.cli.places import need_file, read_place
from integrator_audit.completeness.indexes import open_index_erasing
from integrator_audit.errors import Invalid, Unavailable
from integrator_audit.forgetting.erasure import Erased, Eraser, Log
from integrator_audit.forgetting.orders import MAX_ORDER, ErasureOrder
from integrator_audit.forgetting.register import Register
from integrator_audit.generationkeys import FileGenerationKeys
from integrator_audit.halfyear import day_of, number_of, shard_of_origin
from integrator_audit.store import Ground
from integrator_audit.stores import open_erasing
from integrator_audit.vault import Vault

app = typer.Typer(
    help="Erase entries that are due or ordered to go; all other proofs stay.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

LogsArgument = Annotated[list[str], typer.Argument(metavar="LOG...", help="Ledger files, or postgresql:// URLs.")]
VaultOption = Annotated[str, typer.Option(help="The vault with the keys of persons: a file or a URL.")]
GenerationsOption = Annotated[Path, typer.Option(help="The directory with the keys vault-generation-N.")]
RegisterOption = Annotated[Path, typer.Option(help="The register of erasures; it is made at the first one.")]
IndexOption = Annotated[
    str | None,
    typer.Option(help="The index beside the epoch log, a file or a URL; needed where days are sealed over these logs."),
]


@app.command("retention")
def retention_command(  # noqa: PLR0913  each is an option
    logs: LogsArgument,
    *,
    vault: VaultOption,
    generations: GenerationsOption,
    register: RegisterOption,
    index: IndexOption = None,
    day: Annotated[str | None, typer.Option(help="Erase what is due on this day, yyyy-mm-dd [default: today].")] = None,
    as_json: JsonOption = False,
) -> None:
    """Erase every entry whose years are over, in logs that were closed; then run `erase finish`."""
    with answering(as_json=as_json):
        today = day_of(_now()) if day is None else number_of(_day(day))
        if today > day_of(_now()):
            raise Invalid("erase-day", "a day that has not come yet erases nothing: give today or an earlier day")
        with (
            _eraser(logs, vault, generations, register=register, index=index) as eraser,
            progress("erasing", as_json=as_json) as shown,
        ):
            erased = eraser.by_retention(today, shown)
        _tell(erased, Register(register), as_json=as_json)


@app.command("order")
def order_command(  # noqa: PLR0913  each is an option
    order: Annotated[Path, typer.Argument(help="The order: a JSON file (dienstenintegrator/erasure-order/v1).")],
    logs: LogsArgument,
    *,
    vault: VaultOption,
    generations: GenerationsOption,
    register: RegisterOption,
    index: IndexOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase what an order means, also in a log that is being written; then run `erase finish`."""
    with answering(as_json=as_json):
        meant = ErasureOrder.parse(_read(order))
        with (
            _eraser(logs, vault, generations, register=register, index=index) as eraser,
            progress("erasing", as_json=as_json) as shown,
        ):
            erased = eraser.by_order(meant, shown)
        _tell(erased, Register(register), as_json=as_json)


@app.command("finish")
def finish_command(
    *, vault: VaultOption, generations: GenerationsOption, register: RegisterOption, as_json: JsonOption = False
) -> None:
    """Bring all keys to a new generation and destroy the old one, so that older backups open nothing erased."""
    with answering(as_json=as_json):
        with (
            _eraser([], vault, generations, register=register, index=None) as eraser,
            progress("rewrapping", as_json=as_json) as shown,
        ):
            finished = eraser.finish(shown)
        document = {
            "result": "complete",
            "generation": finished.generation,
            "destroyed": list(finished.retired),
            "completed": dict(finished.complete.entries),
        }
        if as_json:
            print(json.dumps(document))
        else:
            print(f"All keys are of generation {finished.generation}; destroyed: {_list(finished.retired)}.")
            print(f"Complete now: {_counts(finished.complete.entries)}.")
            print("Backups of the vault or its keys that were made before open nothing that was erased, if the old")
            print("generation keys were in none of them. Make new backups.")


@app.command("status")
def status_command(*, register: RegisterOption, as_json: JsonOption = False) -> None:
    """Say what was erased and is not complete yet, and what became complete in which month."""
    with answering(as_json=as_json):
        need_file(register, "register of erasures (nothing was erased yet, or it is another file)")
        kept = Register(register)
        pending, months = kept.pending(), kept.months()
        if as_json:
            print(
                json.dumps(
                    {
                        "result": "waiting" if pending.total else "complete",
                        "pending": dict(pending.entries),
                        "complete": [{"month": month.month, "entries": dict(month.entries)} for month in months],
                    }
                )
            )
            return
        for month in months:
            print(f"{month.month}: complete: {_counts(month.entries)}")
        print(f"waiting for `erase finish`: {_counts(pending.entries)}")


@contextmanager
def _eraser(
    logs: Sequence[str], vault: str, generations: Path, *, register: Path, index: str | None
) -> Generator[Eraser]:
    with ExitStack() as stack:
        place = read_place(vault)
        need_file(place, "vault")
        # A vault that was only just made would let `finish` report as gone what another one still opens.
        Vault.read_only(place, FileGenerationKeys(generations)).close()
        keys = Vault.open(place, FileGenerationKeys(generations))
        stack.callback(keys.close)
        opened: list[Log] = []
        for log in logs:
            place = read_place(log)
            need_file(place, "ledger file")
            store = open_erasing(place)
            stack.callback(store.close)
            identity = store.identity()
            if identity is None:
                raise Unavailable("ledger-empty", f"{log} holds no log yet")
            opened.append(Log(identity.origin, shard_of_origin(identity.origin), store))
        listed = None
        if index is not None:
            listed = open_index_erasing(read_place(index))
            stack.callback(listed.close)
        yield Eraser(opened, keys=keys, index=listed, register=Register(register), clock=_now)


def _tell(erased: Erased, register: Register, *, as_json: bool) -> None:
    pending = register.pending()
    if as_json:
        document = {
            "result": "waiting" if erased.waiting else "erased",
            "erased": dict(erased.entries),
            "lists": erased.lists,
            "waiting": erased.waiting,
            "pending": dict(pending.entries),
        }
        print(json.dumps(document))
    else:
        print(f"Erased: {_counts(erased.entries)}, and {erased.lists} lists of days.")
        if erased.waiting:
            print(f"{erased.waiting} entries wait until their day is sealed: run the same again tomorrow.")
        if pending.total:
            print(f"Older backups still open {_counts(pending.entries)}: run `integrator-audit erase finish`.")
    raise typer.Exit(UNKNOWN if erased.waiting else HOLDS)


def _counts(entries: Mapping[Ground, int]) -> str:
    return ", ".join(f"{count} entries by {ground}" for ground, count in sorted(entries.items())) or "no entries"


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"


def _now() -> int:
    return time.time_ns() // 1_000_000


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise Invalid("erase-day", "a day is written yyyy-mm-dd") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_ORDER + 1)
    except OSError as error:
        raise Unavailable("erasure-order", f"{path} cannot be read: {error.strerror}") from error
