"""`integrator check` and `integrator apply`: whether what YAML says about the directory is right, and making it so."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer
from pydantic import SecretStr
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from integrator.cli.reach import AsJson
from integrator.directory.check import check as check_documents
from integrator.directory.documents import Problem, Stated, kind_of, name_of, to_wire
from integrator.directory.manifests import load
from integrator.directory.plan import problem_to_wire
from integrator.domain.errors import Refused
from integrator.encoding import schemas_directory
from integrator.operation.settings import Installation
from integrator.sdk.api import Api

_TOKEN: Final = "token-operator"  # noqa: S105  the name of a secret
_DATA: Final = Path("data")

Data = Annotated[Path, typer.Option("--data", envvar="INTEGRATOR_DATA", help="The installation's directory.")]


def check(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="YAML files and folders; the packaged contracts are always read.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check contracts, authorisations and all other YAML; explain every error. Exit code 1 when there is one."""
    packaged = load([Path(str(schemas_directory()))])
    given = load(paths or [])
    # So that authorisations over the packaged contracts can be checked by themselves; one's own version comes first.
    own = {(kind_of(stated.document), name_of(stated.document)[0]) for stated in given.documents}
    documents = [
        *(each for each in packaged.documents if (kind_of(each.document), name_of(each.document)[0]) not in own),
        *given.documents,
    ]
    problems = [*packaged.problems, *given.problems, *check_documents(documents)]
    files = packaged.files + given.files
    if as_json:
        report = {
            "files": files,
            "documents": len(documents),
            "problems": [problem_to_wire(problem) for problem in problems],
        }
        sys.stdout.write(json.dumps(report, ensure_ascii=False) + "\n")
    else:
        _print_problems(problems)
        counted = f"{len(documents)} documents in {files} files"
        typer.echo(f"{counted}: {_plural(len(problems), 'problem')}." if problems else f"{counted} are right.")
    if problems:
        raise typer.Exit(1)


def apply(
    files: Annotated[
        list[Path], typer.Option("-f", "--file", help="A YAML file or a folder of them; may be repeated.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Apply without asking.")] = False,
    data: Data = _DATA,
    as_json: AsJson = False,
) -> None:
    """Show what the documents would change in the directory, ask, and make it so: all of it, or nothing."""
    loaded = load(files)
    if loaded.problems:
        _end_with(loaded.problems, as_json=as_json)
    if not loaded.documents:
        raise Refused("no-documents", f"There is no YAML in {', '.join(map(str, files))}.")
    installation = Installation.open(data.resolve())
    token = SecretStr(installation.secrets.get(_TOKEN).decode())
    agreed = asyncio.run(_plan(installation.api_url, token, loaded.documents))
    if agreed["problems"]:
        _end_with_told(agreed, as_json=as_json)
    changes = [change for change in agreed["changes"] if change["action"] != "keep"]
    if not as_json:
        _print_changes(agreed["changes"])
    if not changes:
        _finish(
            {"applied": False, "position": None, **agreed}, "The directory says all of it already.", as_json=as_json
        )
        return
    if not yes:
        _ask(as_json=as_json)
    done = asyncio.run(_apply(installation.api_url, token, loaded.documents, based_on=agreed["basedOn"]))
    _finish({"applied": True, **done}, f"Applied; the directory is at {done['position']}.", as_json=as_json)


def _ask(*, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise Refused("not-agreed", "Nothing was applied: there is nobody to ask, so give --yes to agree beforehand.")
    if not typer.confirm("Apply?"):
        raise Refused("not-agreed", "Nothing was applied.")


async def _plan(url: str, token: SecretStr, documents: Sequence[Stated]) -> dict[str, Any]:
    async with Api(url, token.get_secret_value()) as api:
        answer = await api.post("/v1/directory/plan", {"documents": to_wire(documents)})
    return cast("dict[str, Any]", answer)


async def _apply(url: str, token: SecretStr, documents: Sequence[Stated], *, based_on: int) -> dict[str, Any]:
    async with Api(url, token.get_secret_value()) as api:
        body = {"documents": to_wire(documents), "basedOn": based_on}
        return cast("dict[str, Any]", await api.post("/v1/directory/apply", body))


def _end_with(problems: Sequence[Problem], *, as_json: bool) -> None:
    if as_json:
        told = {"applied": False, "problems": [problem_to_wire(problem) for problem in problems]}
        sys.stdout.write(json.dumps(told, ensure_ascii=False) + "\n")
    else:
        _print_problems(problems)
        typer.echo(f"{_plural(len(problems), 'problem')}; nothing was applied.")
    raise typer.Exit(1)


def _end_with_told(agreed: dict[str, Any], *, as_json: bool) -> None:
    """End with the problems that the directory's writer found."""
    if as_json:
        sys.stdout.write(json.dumps({"applied": False, **agreed}, ensure_ascii=False) + "\n")
    else:
        console = Console(soft_wrap=True)
        for problem in agreed["problems"]:
            console.print(_line(problem["place"], problem["code"], problem["message"]), highlight=False)
        typer.echo(f"{_plural(len(agreed['problems']), 'problem')}; nothing was applied.")
    raise typer.Exit(1)


def _print_problems(problems: Sequence[Problem]) -> None:
    console = Console(soft_wrap=True)
    for problem in problems:
        console.print(_line(problem.place, problem.code, problem.message), highlight=False)


def _line(place: str, code: str, message: str) -> str:
    return f"{escape(place)}: [bold red]{escape(code)}[/]: {escape(message)}"


def _print_changes(changes: Sequence[dict[str, Any]]) -> None:
    table = Table("change", "kind", "what", "version", "note")
    kept = sum(change["action"] == "keep" for change in changes)
    for change in changes:
        if change["action"] == "keep":
            continue
        people = _plural(change["count"], "person", "people") if change["kind"] == "inscription" else ""
        version = str(change["version"]) if change["version"] else ""
        table.add_row(change["action"], change["kind"], escape(change["id"]), version, people or change["note"])
    if table.row_count:
        Console().print(table)
    if kept:
        typer.echo(f"{_plural(kept, 'document')} unchanged.")


def _finish(document: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    else:
        typer.echo(sentence)


def _plural(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
