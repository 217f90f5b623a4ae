"""The commands that make and check a whole list: `whole`, `verify-whole`.

- Exit code 0 of `verify-whole` means: each list is whole, a quorum of witnesses saw its log, as many entries as were
  expected answer, and none that could not be asked.
- What was not asked is not passed over: without a policy, with closed entries, or where entries of a log are not in its
  list, the answer is 2 unless the caller says that he does without.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from integrator_audit.checkpoint import Checkpoint, LogKeys, open_checkpoint
from integrator_audit.cli.answering import FAILED, HOLDS, UNKNOWN, JsonOption, answering, progress
from integrator_audit.cli.places import read_place
from integrator_audit.cli.searching import LedgerArgument, conditions
from integrator_audit.cli.trust import PolicyOption, StateOption, known_keys, read_policy, read_state
from integrator_audit.durable import creating
from integrator_audit.encoding import to_base64
from integrator_audit.errors import Invalid, Refused, Tampered, Unavailable
from integrator_audit.findings import Progress
from integrator_audit.searching.absence import WholeList, check_whole
from integrator_audit.searching.terms import Condition, write_condition
from integrator_audit.searching.whole import read_whole, write_whole
from integrator_audit.state import State
from integrator_audit.stores import open_reading
from integrator_audit.witnessing.policy import NONE, Policy


@dataclass(frozen=True, slots=True)
class _Missing:
    """Something without which lists do not count, as a code and a sentence."""

    code: str
    message: str


def whole_command(  # noqa: PLR0913  each is an option of the command
    ledger: LedgerArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The list to write; it must not exist yet.")],
    *,
    start: Annotated[int, typer.Option(help="Index of the first entry.")] = 0,
    stop: Annotated[int | None, typer.Option(help="Index after the last [default: all that is published].")] = None,
    close_unlisted: Annotated[
        bool,
        typer.Option(
            "--close-unlisted",
            help="Keep part A of withheld entries and padding closed. Which entries are unlisted can then be seen.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write part A of every entry of a range into a file that proves that none was left out."""
    with answering(as_json=as_json):
        store = open_reading(read_place(ledger))
        try:
            if out.exists():
                # Said before the work; who makes it meanwhile is not written over either.
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            with creating(out, mode=0o666) as file, progress("writing", as_json=as_json) as shown:
                written = write_whole(
                    store, file, start=start, stop=stop, close_unlisted=close_unlisted, progress=shown
                )
        except OSError as error:
            raise Unavailable("whole-file", f"{out} cannot be written: {error.strerror}") from error
        finally:
            store.close()
        if as_json:
            print(json.dumps({"result": "done", **written._asdict()}))
        else:
            print(f"{out}: entries {written.start} to {written.stop - 1}, {written.statements} statements.")
            if written.closed:
                print(f"{written.closed} of them stay closed.")


def verify_whole_command(  # noqa: PLR0913  each is an option of the command
    files: Annotated[list[Path], typer.Argument(metavar="LIST...", help="Whole lists, one for each log.")],
    *,
    vkey: Annotated[
        list[str] | None,
        typer.Option(
            help="A log's verifier key, or a file that holds it. Repeatable; else those that the policy lists."
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="What is looked for: member=value, member=one|other, or member~path. Repeatable: all must hold.",
            metavar="CONDITION",
        ),
    ] = None,
    expect: Annotated[int, typer.Option(help="How many entries answer, over all lists.")] = 0,
    allow_closed: Annotated[int, typer.Option(help="How many closed entries do not matter.")] = 0,
    allow_part: Annotated[
        bool, typer.Option("--allow-part", help="Let lists count that do not have all entries of their log.")
    ] = False,
    policy: PolicyOption = None,
    without_witnesses: Annotated[
        bool, typer.Option("--without-witnesses", help="Let it count without a quorum of witnesses.")
    ] = False,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check offline that lists are whole, and that no entry in them (or as many as expected) answers a question."""
    with answering(as_json=as_json):
        question = conditions(where)
        if not question:
            raise Invalid("no-question", "say what is looked for, with --where")
        witnesses = None if policy is None else read_policy(policy)
        keys = known_keys(witnesses, vkey)
        memory = read_state(state)
        found: list[WholeList] = []
        for path in files:
            with progress(path.name, as_json=as_json) as shown:
                found.append(_check(path, keys, question, memory=memory, policy=witnesses, shown=shown))
        if len({one.origin for one in found}) < len(found):
            raise Invalid("whole-twice", "two lists are of one log: check them one after the other")
        asks = witnesses is None or witnesses.quorum != NONE
        missing = _missing(found, allow_closed=allow_closed, unwitnessed=asks and not without_witnesses)
        if not allow_part:
            missing += _left_out(found)
        answers = sum(one.answers for one in found)
        holds = answers == expect
        if as_json:
            result = "failed" if not holds else "unknown" if missing else "verified"
            document: dict[str, object] = {"result": result, "expected": expect, "lists": list(map(_document, found))}
            if holds and missing:
                document |= {"code": missing[0].code, "message": " ".join(item.message for item in missing)}
            print(json.dumps(document))
        else:
            _tell(found, question[0], holds=holds, expect=expect)
            for item in missing:
                print(f"could not tell: {item.message} ({item.code})")
        raise typer.Exit(FAILED if not holds else UNKNOWN if missing else HOLDS)


def _check(  # noqa: PLR0913  the parts of one check
    path: Path,
    keys: dict[str, LogKeys],
    question: Sequence[Sequence[Condition]],
    *,
    memory: State,
    policy: Policy | None,
    shown: Progress,
) -> WholeList:
    try:
        with path.open("rb") as file:
            origin = read_whole(file)[0].origin
            if origin not in keys:
                raise Unavailable("no-key", f"{path} is of the log {origin}: give its key with --vkey")
            file.seek(0)
            return check_whole(
                file,
                keys[origin],
                question,
                now=int(time.time()),
                policy=policy,
                earlier=_remembered(memory, keys[origin]),
                progress=shown,
            )
    except OSError as error:
        raise Unavailable("whole-file", f"{path} cannot be read: {error.strerror}") from error


def _remembered(memory: State, key: LogKeys) -> Checkpoint | None:
    note = memory.load(key.name)
    if note is None:
        return None
    try:
        return open_checkpoint(note, key)
    except (Invalid, Tampered) as error:
        message = f"the remembered checkpoint in {memory.path(key.name)} was not signed by this key: find out why"
        raise Refused("state-other-key", message) from error


def _missing(found: Sequence[WholeList], *, allow_closed: int, unwitnessed: bool) -> list[_Missing]:
    """Return what keeps lists that hold from counting."""
    missing: list[_Missing] = []
    if unwitnessed and not all(one.is_witnessed for one in found):
        message = (
            "No quorum of witnesses vouches for it here: the log could show others a different history. Give --policy, "
            "or --without-witnesses to do without."
        )
        missing.append(_Missing("whole-unwitnessed", message))
    if (closed := sum(one.closed for one in found)) > allow_closed:
        message = (
            f"{closed} entries are closed and could be what is looked for. Ask the supervisor, or give --allow-closed "
            "with the number that does not matter."
        )
        missing.append(_Missing("whole-closed", message))
    return missing


def _left_out(found: Sequence[WholeList]) -> list[_Missing]:
    """Return which lists are not of all entries that their logs are known to have."""
    missing: list[_Missing] = []
    for one in found:
        if not one.is_all:
            message = (
                f"The list of {one.origin} is of entries {one.start} to {one.stop - 1} of {one.checkpoint.size}: what "
                "is looked for could be among the others. Give --allow-part if only these matter."
            )
            missing.append(_Missing("whole-part", message))
        elif one.behind:
            message = (
                f"{one.origin} was seen here with {one.behind} entries more than are in the list. Ask for a newer one, "
                "or give --allow-part if only these matter."
            )
            missing.append(_Missing("whole-behind", message))
    return missing


def _document(one: WholeList) -> dict[str, object]:
    return {
        "origin": one.origin,
        "start": one.start,
        "stop": one.stop,
        "size": one.checkpoint.size,
        "root": to_base64(one.checkpoint.root),
        "answers": one.answers,
        "first": list(one.first),
        "closed": one.closed,
        "compared": one.compared,
        "witnessed": one.is_witnessed,
        "asOf": None if one.quorum is None else one.quorum.as_of,
    }


def _tell(found: Sequence[WholeList], question: Sequence[Condition], *, holds: bool, expect: int) -> None:
    for one in found:
        entries = f"entries {one.start} to {one.stop - 1}" if one.stop > one.start else "no entries"
        print(f"{one.origin}: the list is whole, {entries}{', all under its checkpoint' * one.is_all}.")
        if one.quorum is not None and one.quorum.as_of is not None:
            print(f"  Witnesses cosigned that checkpoint, at last {datetime.fromtimestamp(one.quorum.as_of, UTC)}.")
        if one.compared:
            print("  It agrees with the checkpoint that was verified here before.")
        if one.answers:
            places = ", ".join(map(str, one.first)) + (" …" if one.answers > len(one.first) else "")
            print(f"  {one.answers} answer: {places}")
    asked = " and ".join(map(write_condition, question))
    answers = sum(one.answers for one in found)
    verdict = "as expected" if holds else f"FAILED: {expect} were expected"
    print(f"{answers or 'No'} entries in {'it' if len(found) == 1 else 'these logs'} say {asked}: {verdict}.")
