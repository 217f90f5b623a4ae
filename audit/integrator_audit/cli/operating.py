"""The commands of who keeps logs: `export` their public files, `prove` an entry, compile a `dossier`, `fsck-index`."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from integrator_audit.audience import AUDIENCES
from integrator_audit.cli.answering import (
    FAILED,
    HOLDS,
    JsonOption,
    answering,
    findings_json,
    open_vault,
    print_findings,
    progress,
)
from integrator_audit.cli.keys import write_new
from integrator_audit.cli.places import read_place
from integrator_audit.completeness.compiling import dossier_lines, scan_releases
from integrator_audit.completeness.indexcheck import check_index
from integrator_audit.completeness.indexes import read_index
from integrator_audit.completeness.lines import write_lines
from integrator_audit.completeness.presenting import Sealed
from integrator_audit.completeness.sealing import PeriodLogs
from integrator_audit.errors import Invalid, Refused, Unavailable
from integrator_audit.halfyear import number_of, period_of_origin, shard_of_origin
from integrator_audit.openingfile import opening_json, opening_proof
from integrator_audit.reader import LedgerReader
from integrator_audit.store import Reading
from integrator_audit.stores import open_reading
from integrator_audit.vault import Vault


class Audience(StrEnum):
    """Who is shown an entry."""

    CITIZEN = "citizen"
    RECIPIENT = "recipient"
    SUPERVISOR = "supervisor"


VaultOption = Annotated[
    str | None, typer.Option(help="The vault with the keys of persons: a file, or a postgresql:// URL.")
]
GenerationsOption = Annotated[
    Path | None, typer.Option("--generation-key", help="The vault's key, or the directory with all its generations.")
]


def export_command(
    place: Annotated[str, typer.Argument(metavar="LOG", help="A ledger file, or a postgresql:// URL.")],
    out: Annotated[Path, typer.Option(help="The directory of the log's public files.")],
    *,
    published: Annotated[
        bool, typer.Option("--published", help="Only up to the last checkpoint that a quorum cosigned.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring the public files of a log up to date, the checkpoint last; of a closed log for good."""
    with answering(as_json=as_json):
        reader = _reader(place)
        try:
            shown = reader.published() if published else None
            if published and shown is None:
                raise Unavailable("not-published", f"no checkpoint of {reader.origin} was published yet")
            reader.export(out, published=published)
            size = reader.size if shown is None else shown[0]
            closed = reader.is_closed() and size == reader.size
            told = {"origin": reader.origin, "size": size, "closed": closed, "directory": str(out)}
        finally:
            reader.close()
        final = " The log is closed: these files do not change any more." if closed else ""
        _answer(told, f"{told['origin']}: {size} entries in {out}.{final}", as_json=as_json)


def prove_command(  # noqa: PLR0913  each is an option of the command
    place: Annotated[str, typer.Argument(metavar="LOG", help="A ledger file, or a postgresql:// URL.")],
    index: Annotated[int, typer.Argument(help="The entry's index in the log.", min=0)],
    out: Annotated[
        Path, typer.Option(help="The file to write; .tlog-proof for that form, JSON otherwise. It must not exist.")
    ],
    *,
    audience: Annotated[Audience, typer.Option("--for", help="Who is shown the entry; it decides which parts.")],
    vault: VaultOption = None,
    generation_key: GenerationsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the opening of an entry for an audience, proven to the last published checkpoint that has it.

    With that checkpoint's cosignatures it is a receipt; without, `verify-receipt` will say that nobody vouches for it.
    """
    with answering(as_json=as_json), ExitStack() as stack:
        keys = open_vault(vault, generation_key)
        if keys is not None:
            stack.callback(keys.close)
        reader = _reader(place, keys)
        stack.callback(reader.close)
        # What is withheld is shown to its person by its release and in no other way.
        if audience is Audience.CITIZEN and index < reader.size and not reader.is_listed(index):
            raise Refused("prove-unlisted", f"entry {index} of {reader.origin} is listed under no person")
        shown = reader.published()
        note = shown[1] if shown is not None and index < shown[0] else None
        opening = reader.opening(index, AUDIENCES[audience.value], note=note)
        write_new(out, opening_proof(opening) if out.suffix == ".tlog-proof" else opening_json(opening), mode=0o600)
        told = {"origin": reader.origin, "index": index, "for": audience.value, "file": str(out)}
        witnessed = "to a published checkpoint" if note else "to a checkpoint that was not published yet"
        _answer(
            told | {"published": note is not None},
            f"{out}: entry {index} of {reader.origin} for a {audience.value}, proven {witnessed}.",
            as_json=as_json,
        )


def dossier_command(  # noqa: PLR0913  each is an option of the command
    logs: Annotated[
        list[str], typer.Argument(metavar="LOG...", help="The shards and institution logs of the half-years asked for.")
    ],
    *,
    epochs: Annotated[str, typer.Option(help="The log of days: a file, or a postgresql:// URL.")],
    index: Annotated[str, typer.Option(help="The index beside it: a file or a URL.")],
    vault: VaultOption = None,
    generation_key: GenerationsOption = None,
    out: Annotated[Path, typer.Option(help="The file to write, JSON lines in gzip, for its owner only.")],
    first: Annotated[str, typer.Option(help="The first day, yyyy-mm-dd: the first that was not cosigned yet.")],
    last: Annotated[str | None, typer.Option(help="The last day [default: the newest that is sealed].")] = None,
    as_json: JsonOption = False,
) -> None:
    """Compile the dossier of some days for the checking cosigner: all lists, and all that is unlisted, opened."""
    with answering(as_json=as_json), _sealed(logs, epochs, index, keys=(vault, generation_key)) as (sealed, of, keys):
        begin = _day(first)
        end = sealed.newest if last is None else _day(last)
        with progress("compiling", as_json=as_json) as shown:
            releases = scan_releases(of, keys)
            lines = dossier_lines(sealed, begin, end, logs=of, releases=releases, progress=shown)
            write_lines(out, lines, code="dossier")
        told = {"origin": sealed.epochs.origin, "first": begin, "last": end, "file": str(out)}
        sentence = f"{out}: {end - begin + 1} days. It goes to the checking cosigner and to nobody else."
        _answer(told, sentence, as_json=as_json)


def fsck_index_command(
    index: Annotated[str, typer.Argument(help="The index beside the log of days: a file or a URL.")],
    *,
    epochs: Annotated[str, typer.Option(help="The log of days: a file, or a postgresql:// URL.")],
    as_json: JsonOption = False,
) -> None:
    """Rebuild every trie in an index from its lists, and name the days whose pages do not give what was signed."""
    with answering(as_json=as_json), ExitStack() as stack:
        days = _reader(epochs)
        stack.callback(days.close)
        listed = read_index(read_place(index))
        stack.callback(listed.close)
        with progress(Path(index).name, as_json=as_json) as shown:
            findings = check_index(listed, days, shown)
        holds = not findings.items
        if as_json:
            told = {"result": "holds" if holds else "failed", "origin": days.origin, "days": days.size}
            print(json.dumps(told | findings_json(findings.items, findings.left_out)))
        else:
            print_findings(findings.items, findings.left_out, print_line=print)
            print(f"{index}: {days.size} days of {days.origin}: {'everything holds' if holds else 'FAILED'}.")
        raise typer.Exit(HOLDS if holds else FAILED)


@contextmanager
def _sealed(
    places: Sequence[str], epochs: str, index: str, *, keys: tuple[str | None, Path | None]
) -> Generator[tuple[Sealed, _LogsOf, Vault]]:
    with ExitStack() as stack:
        vault = open_vault(*keys)
        if vault is None:
            raise Invalid("vault-options", "give --vault and --generation-key: what is unlisted has to be opened")
        stack.callback(vault.close)
        days = _reader(epochs)
        stack.callback(days.close)
        listed = read_index(read_place(index))
        stack.callback(listed.close)
        logs, readers = _LogsOf(), dict[int, dict[int, LedgerReader]]()
        for place in places:
            reading = open_reading(read_place(place))
            stack.callback(reading.close)
            identity = reading.identity()
            if identity is None:
                raise Unavailable("ledger-empty", "one of the given places holds no log yet")
            period, shard = period_of_origin(identity.origin), shard_of_origin(identity.origin)
            logs.add(period, shard, reading)
            if shard is not None:
                reader = LedgerReader.open(read_place(place), vault=vault)
                stack.callback(reader.close)
                readers.setdefault(period, {})[shard] = reader
        yield Sealed(days, listed, lambda period: readers.get(period, {})), logs, vault


class _LogsOf:
    """The given logs by half-year."""

    def __init__(self) -> None:
        self._shards: dict[int, dict[int, Reading | None]] = {}
        self._institution: dict[int, Reading] = {}

    def add(self, period: int, shard: int | None, log: Reading) -> None:
        if shard is None:
            self._institution[period] = log
        else:
            self._shards.setdefault(period, {})[shard] = log

    def __call__(self, period: int) -> PeriodLogs:
        return PeriodLogs(self._shards.get(period, {}), self._institution.get(period))


def _reader(place: str, vault: Vault | None = None) -> LedgerReader:
    return LedgerReader.open(read_place(place), vault=vault)


def _day(text: str) -> int:
    try:
        return number_of(date.fromisoformat(text))
    except ValueError as error:
        raise Invalid("day", "a day is written yyyy-mm-dd") from error


def _answer(told: Mapping[str, object], sentence: str, *, as_json: bool) -> NoReturn:
    print(json.dumps(told) if as_json else sentence)
    raise typer.Exit(HOLDS)
