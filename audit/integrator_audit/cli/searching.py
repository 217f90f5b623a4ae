"""The commands on the operator's side of a search: `index`, `search`, `count`.

What they print is read from the ledger's own file and its index: a help to find things. What an auditor believes is an
opening or a whole list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from integrator_audit.cli.answering import JsonOption, answering, progress
from integrator_audit.cli.files import printable
from integrator_audit.cli.places import read_place
from integrator_audit.errors import Invalid
from integrator_audit.searching.blocks import IndexFile
from integrator_audit.searching.counts import Cell, Step, count, public
from integrator_audit.searching.log import StoredLog
from integrator_audit.searching.query import Found, LogSearch, Question
from integrator_audit.searching.terms import Condition, read_condition, read_terms

_HOUR = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}", re.ASCII)
_DAYS = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:\.\.([0-9]{4}-[0-9]{2}-[0-9]{2}))?", re.ASCII)

LedgerArgument = Annotated[str, typer.Argument(metavar="FILE|URL", help="The ledger: its file, or postgresql://….")]
IndexOption = Annotated[
    Path | None, typer.Option(help="Its index [default: beside the file, NAME.search.sqlite].", metavar="FILE")
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        help="What part A says: member=value, member=one|other, or member~path for a dotted path, what is above and "
        "what is below it. Repeatable: all must hold.",
        metavar="CONDITION",
    ),
]
FromOption = Annotated[str | None, typer.Option("--from", help="The first hour (UTC), as 2026-11-24T10.")]
UntilOption = Annotated[str | None, typer.Option(help="The hour after the last one.")]
DaysOption = Annotated[
    str | None, typer.Option(help="The days that part A names: 2026-11-24 or 2026-11-01..2026-11-30.")
]
UnlistedOption = Annotated[
    bool, typer.Option("--unlisted", help="Also entries that are withheld or padding: for the supervisor alone.")
]


def index_command(
    ledger: LedgerArgument,
    *,
    index: IndexOption = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="A member that is different in each entry, such as an id. Repeatable.", metavar="MEMBER"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Build or continue the index of a ledger by what part A says. It can be deleted and built anew at any time."""
    with answering(as_json=as_json), ExitStack() as stack:
        log = StoredLog.open(read_place(ledger))
        stack.callback(log.close)
        path = _index_of(ledger, index)
        file = IndexFile.open(path)
        stack.callback(file.close)
        with progress("indexing", as_json=as_json) as shown:
            indexed = file.update(log, left_out=frozenset(leave_out or ()), progress=shown)
        size = log.size
        if as_json:
            print(json.dumps({"result": "done", "origin": log.origin, "size": size, "indexed": indexed}))
        else:
            print(f"{path}: {indexed} of {size} entries are in whole blocks; a search looks at the rest itself.")


def search_command(  # noqa: PLR0913  each is an option of the command
    ledger: LedgerArgument,
    *,
    where: WhereOption = None,
    first: FromOption = None,
    until: UntilOption = None,
    days: DaysOption = None,
    before: Annotated[int | None, typer.Option(help="Only entries below this index.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most, 1 to 1000.")] = 25,
    unlisted: UnlistedOption = False,
    index: IndexOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find entries by what their part A says, newest first."""
    with answering(as_json=as_json), _search(ledger, index) as search:
        found = search.find(_question(where, first, until, days, unlisted=unlisted), before=before, limit=limit)
        following = found[-1].number if len(found) == limit else None
        if as_json:
            entries = [{"index": one.number, "hour": _instant(one.hour), "says": _said(one)} for one in found]
            print(json.dumps({"result": "done", "origin": search.origin, "entries": entries, "before": following}))
            return
        for one in found:
            print(printable(f"{one.number:>12}  {_instant(one.hour)}  {_words(one)}"))
        if following is not None:
            print(f"… go on with --before {following}")
        elif not found:
            print("No entry answers that. To prove it to somebody else, make a whole list: integrator-audit whole.")


def count_command(  # noqa: PLR0913  each is an option of the command
    ledgers: Annotated[list[str], typer.Argument(metavar="FILE|URL...", help="The ledgers: files, or postgresql://….")],
    by: Annotated[list[str], typer.Option(help="A member of part A to count by. Repeatable.", metavar="MEMBER")],
    *,
    step: Annotated[str, typer.Option(help="Also by time: hour, day, month; or all.")] = "all",
    where: WhereOption = None,
    first: FromOption = None,
    until: UntilOption = None,
    days: DaysOption = None,
    unlisted: UnlistedOption = False,
    for_everybody: Annotated[
        bool,
        typer.Option("--public", help="The form for everybody: by month, small cells merged (--by month to see them)."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Count entries by what their part A says, and by time."""
    with answering(as_json=as_json), ExitStack() as stack:
        if step not in get_args(Step):
            raise Invalid("step", f"counts go by {', '.join(get_args(Step))}")
        searches = [stack.enter_context(_search(ledger, None)) for ledger in ledgers]
        question = _question(where, first, until, days, unlisted=unlisted)
        if for_everybody:
            print(json.dumps(public(searches, question, dimensions=by), indent=None if as_json else 2))
            return
        cells = count(searches, question, by=by, step=cast("Step", step))
        if as_json:
            items = [{"time": _time(cell, step), "values": _values(cell), "entries": cell.n} for cell in cells]
            print(json.dumps({"result": "done", "by": by, "step": step, "cells": items}))
            return
        for cell in cells:
            time = "" if step == "all" else f"  {_time(cell, step)}"
            print(printable(f"{cell.n:>12}{time}  {'  '.join(str(value) for value in _values(cell))}"))


def conditions(where: Sequence[str] | None) -> list[list[Condition]]:
    """Return the question that a person's conditions make: all of them hold. No condition: everything."""
    return [[read_condition(text) for text in where]] if where else []


@contextmanager
def _search(ledger: str, index: Path | None) -> Generator[LogSearch]:
    with ExitStack() as stack:
        log = StoredLog.open(read_place(ledger))
        stack.callback(log.close)
        path = _index_of(ledger, index)
        file = IndexFile.read_only(path)
        left_out = frozenset[str]() if file is None else file.left_out()
        if file is not None:
            file.close()
        search = LogSearch(log, path, left_out=left_out)
        stack.callback(search.close)
        yield search


def _index_of(ledger: str, index: Path | None) -> Path:
    if index is not None:
        return index
    if not isinstance(read_place(ledger), Path):
        raise Invalid("index", "name the index of a ledger in PostgreSQL with --index")
    return Path(ledger).with_suffix(".search.sqlite")


def _question(
    where: Sequence[str] | None, first: str | None, until: str | None, days: str | None, *, unlisted: bool
) -> Question:
    return Question(conditions(where), (_hour(first), _hour(until)), _days(days), unlisted)


def _hour(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        if not _HOUR.fullmatch(text):
            raise ValueError
        return int(datetime.fromisoformat(f"{text}:00+00:00").timestamp()) // 3600
    except ValueError as error:
        raise Invalid("hour", "an hour is written 2026-11-24T10, in UTC") from error


def _days(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    found = _DAYS.fullmatch(text)
    if found is None:
        raise Invalid("days", "days are written 2026-11-24 or 2026-11-01..2026-11-30")
    return found[1], found[2] or found[1]


def _instant(hour: int) -> str:
    return f"{datetime.fromtimestamp(hour * 3600, UTC):%Y-%m-%dT%H}"


def _time(cell: Cell, step: str) -> str:
    return _instant(int(cell.time)) if step == "hour" else cell.time


def _values(cell: Cell) -> list[Any]:
    return [json.loads(value) if value else "" for value in cell.values]


def _said(found: Found) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(found.statement))


def _words(found: Found) -> str:
    said: dict[str, list[str]] = {}
    for member, value in read_terms(found.statement):
        said.setdefault(member, []).append(str(json.loads(value)))
    return "  ".join(f"{member}={'|'.join(values)}" for member, values in said.items())
