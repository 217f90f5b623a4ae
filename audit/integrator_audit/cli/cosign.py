"""The command of the checking cosigner, who accounts for every entry before it signs: `cosign`.

- Its signature goes to a file, as the epoch log's checkpoint with all signatures, for the operator to publish.
- What was checked is durable in its memory before that file exists; run again after a crash, it signs again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer

from integrator_audit.checkpoint import LogKeys
from integrator_audit.cli.answering import HOLDS, JsonOption, answering, progress, read_vkey
from integrator_audit.cli.epochs import EpochsOption, Trusted, read_clock, trusted_epochs
from integrator_audit.cli.files import read_file
from integrator_audit.cli.trust import KeysOption, RootOption, StateOption, VkeyOption
from integrator_audit.completeness.cosigning import CheckedDay, Rules, check_dossier, check_remembered
from integrator_audit.completeness.dossier import Dossier
from integrator_audit.completeness.epochlog import AHEAD, EpochLog, Trust
from integrator_audit.completeness.following import Follower
from integrator_audit.completeness.lines import open_lines
from integrator_audit.completeness.memory import Memory
from integrator_audit.durable import replace_file
from integrator_audit.errors import Invalid, Refused, Tampered
from integrator_audit.halfyear import date_of
from integrator_audit.note import Note, join_note
from integrator_audit.parts import INSTITUTION_ENTRY, SUBJECT_ENTRY
from integrator_audit.sources import open_source
from integrator_audit.witnessing.cosignature import Cosigner


def cosign_command(  # noqa: PLR0913  each is an option of the command
    dossier: Annotated[Path, typer.Argument(metavar="DOSSIER", help="The operator's dossier of the days to check.")],
    *,
    epochs: EpochsOption,
    log: Annotated[
        list[str], typer.Option(help="The public files of a shard or the institution log.", metavar="URL|DIR")
    ],
    log_vkey: Annotated[list[str], typer.Option(help="Their verifier keys.", metavar="VKEY")],
    supervisor: Annotated[str, typer.Option(help="The key with which orders to withhold are signed.", metavar="VKEY")],
    unlisted: Annotated[int, typer.Option(help="U, the constant number of unlisted entries of a day.", min=0)],
    key: Annotated[Path, typer.Option(help="The file with the checking cosigner's secret key.", metavar="FILE")],
    memory: Annotated[Path, typer.Option(help="The file with what was checked before.", metavar="FILE")],
    out: Annotated[Path, typer.Option(help="Where the cosigned checkpoint is written.", metavar="FILE")],
    vkey: VkeyOption = None,
    keys: KeysOption = None,
    keys_root: RootOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rebuild and check every trie since the last time, open all that is unlisted, and cosign the epoch log."""
    with answering(as_json=as_json):
        cosigner = _cosigner(key)
        now = read_clock()
        trusted = trusted_epochs(
            epochs, Trust(now), log_vkey, keys=(vkey, None, keys, keys_root), state=state, as_json=as_json
        )
        rules = Rules(read_vkey(supervisor), unlisted)
        remembered = Memory.load(memory, trusted.epochs.origin)
        _check_cosignable(trusted.epochs, remembered)
        _check_out(out, trusted.epochs.origin)
        checked = _check(dossier, trusted, log, memory=remembered, rules=rules, as_json=as_json)
        # What was checked is durable before the signature that says so exists.
        remembered.save(memory)
        text = trusted.epochs.checkpoint.text
        signatures = [
            signature
            for signature in Note.parse(trusted.epochs.note).signatures
            if (signature.name, signature.key_id) != (cosigner.name, cosigner.key.key_id)
        ]
        signatures.append(cosigner.cosign(text, now))
        _write(out, join_note(text, signatures))
        _tell_cosigned(checked, trusted.epochs, signatures[-1].line.decode(), as_json=as_json)


def _check_cosignable(epochs: EpochLog, memory: Memory) -> None:
    """Refuse an epoch log that is not the one cosigned before, or has days that are not over, whatever its dossier."""
    check_remembered(epochs, memory)
    for doubt in epochs.doubts:
        if doubt.code == AHEAD:
            raise Refused(doubt.code, doubt.message)


def _check(  # noqa: PLR0913  what the command was given
    dossier: Path, trusted: Trusted, locations: Sequence[str], *, memory: Memory, rules: Rules, as_json: bool
) -> list[CheckedDay]:
    """Check the days of a dossier, unless they were checked before the last run ended."""
    epochs = trusted.epochs
    if max(memory.next_epoch, epochs.first) > epochs.newest:
        return []
    with progress("checking", as_json=as_json) as shown:
        given = Dossier(open_lines(dossier, progress=shown))
        if given.header.last != epochs.newest:
            message = f"the epoch log goes to day {epochs.newest}, the dossier to day {given.header.last}"
            raise Invalid("dossier-days", message)
        institution = set(given.header.institution.values())
        logs: dict[str, Follower] = {}
        for location in locations:
            follower = _follower(location, trusted.shards, institution, memory)
            logs[follower.origin] = follower
        checked = check_dossier(given, epochs, logs=logs, memory=memory, rules=rules)
    memory.edges.update({origin: follower.edge for origin, follower in logs.items()})
    return checked


def _follower(location: str, keys: Mapping[str, LogKeys], institution: set[str], memory: Memory) -> Follower:
    source = open_source(location)
    note = source.fetch("checkpoint")
    # The name that the log gives itself only says with which of our keys its signature is checked.
    try:
        name = "" if note is None else Note.parse(note).unverified_text.decode().partition("\n")[0]
    except Invalid as error:
        raise Tampered("checkpoint-malformed", f"the checkpoint at {location}: {error.message}") from error
    if name not in keys:
        raise Invalid("log-vkey", f"no --log-vkey is that of the log at {location}")
    kind = INSTITUTION_ENTRY if name in institution else SUBJECT_ENTRY
    return Follower(source, keys[name], kind, edge=memory.edge(name))


def _cosigner(path: Path) -> Cosigner:
    return Cosigner.from_text(read_file(path, "the cosigner's key").decode(errors="replace").strip())


def _check_out(path: Path, origin: str) -> None:
    """Refuse to write over anything but an earlier checkpoint of this log: a key or the memory would be lost."""
    start = f"{origin}\n".encode()
    try:
        if not path.is_file():
            return
        with path.open("rb") as file:
            text = file.read(len(start))
    except OSError as error:
        raise Refused("file-unwritable", f"{path} cannot be read before it is written: {error.strerror}") from error
    if text not in (b"", start):
        message = f"{path} holds something else than a checkpoint of {origin}: it is not written over"
        raise Refused("file-exists", message)


def _write(path: Path, data: bytes) -> None:
    try:
        replace_file(path, data)
    except OSError as error:
        raise Refused("file-unwritable", f"{path} cannot be written: {error.strerror}; run again") from error


def _tell_cosigned(checked: Sequence[CheckedDay], epochs: EpochLog, line: str, *, as_json: bool) -> None:
    if as_json:
        found = [item._asdict() | {"date": str(date_of(item.epoch))} for item in checked]
        document = {"result": "cosigned", "origin": epochs.origin, "size": epochs.checkpoint.size, "days": found}
        print(json.dumps(document | {"cosignature": line}))
    else:
        for is_quiet, group in groupby(checked, key=_is_quiet):
            run = list(group)
            if is_quiet:
                print(f"{_span(run[0], run[-1])}: nothing was entered.")
                continue
            for item in run:
                _print_day(item)
        print(line, end="")
    raise typer.Exit(HOLDS)


def _is_quiet(item: CheckedDay) -> bool:
    """Say whether nothing is to be told of a day, so that it can be told with its neighbours."""
    return not any((item.listed, item.padding, item.withheld, item.released, item.short, item.erased))


def _span(first: CheckedDay, last: CheckedDay) -> str:
    start = str(date_of(first.epoch))
    return start if first is last else f"{start} to {date_of(last.epoch)}"


def _print_day(item: CheckedDay) -> None:
    print(
        f"{date_of(item.epoch)}: {item.listed} listed, {item.padding} padding, {item.withheld} withheld, "
        f"{item.released} released: every entry is accounted for."
    )
    if item.short:
        print("  Fewer are unlisted than agreed: the ledger stood still when that day ended, or does not pad.")
    if item.erased:
        print(f"  {item.erased} entries of the half-year were erased before it closed: compare with the orders.")
