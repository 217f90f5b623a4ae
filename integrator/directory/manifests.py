"""Reads YAML files and folders into documents, and says everything that is wrong with them at once.

- A file holds one or more documents, each with its `kind`; a file called `contract.yaml` needs none.
- A contract's schemas are the files `v1.avsc`, `v2.avsc`, … beside it.
- `inscriptions` name people in `persons`, or in a file of one person a line (`personsFile`, relative to the manifest).
- Nothing here refers to what stands: see `check`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from integrator.directory.documents import Origin, Problem, Stated, line_of, read_document
from integrator.directory.plain import mask

CONTRACT_FILE = "contract.yaml"
MOST_BYTES = 64 * 1024 * 1024
_MOST_NODES = 2_000_000
_YAML = "tag:yaml.org,2002:"
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the files hold: documents that have the form of their kind, and every problem of the others."""

    documents: tuple[Stated, ...]
    problems: tuple[Problem, ...]
    files: int


def load(paths: Sequence[Path]) -> Loaded:
    """Read every YAML file of `paths`; a folder stands for those in it and below, in the order of their names."""
    documents: list[Stated] = []
    problems: list[Problem] = []
    files = 0
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            problems.append(_file_problem(path, "no-file", "There is no such file or folder."))
            continue
        for file in _files(path):
            if file.resolve() in seen:
                continue
            seen.add(file.resolve())
            files += 1
            for read in _load_file(file):
                if isinstance(read, Stated):
                    documents.append(read)
                else:
                    problems.append(read)
    return Loaded(tuple(documents), tuple(problems), files)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file())


def _file_problem(path: Path, code: str, message: str, *, line: int = 0) -> Problem:
    return Problem(code, message, "", Origin(str(path), 1, line), line)


def _load_file(file: Path) -> Iterator[Stated | Problem]:
    try:
        if file.stat().st_size > MOST_BYTES:
            yield _file_problem(file, "too-large", f"The file has more than {MOST_BYTES} bytes: divide it.")
            return
        text = file.read_text("utf-8")
    except UnicodeDecodeError:
        yield _file_problem(file, "not-text", "The file is no UTF-8 text.")
        return
    except OSError as error:
        yield _file_problem(file, "no-file", f"The file cannot be read: {error.strerror}.")
        return
    number = 0
    try:
        for node in cast("Iterator[Node | None]", yaml.compose_all(text, Loader=yaml.SafeLoader)):
            if node is None or node.tag == f"{_YAML}null":  # nothing between two separators
                continue
            number += 1
            yield from _load_document(file, number, node)
    except yaml.MarkedYAMLError as error:
        yield _syntax(file, error)
    except yaml.YAMLError as error:
        # A character that YAML does not allow; its text has no line and may quote the file.
        reason = getattr(error, "reason", "it cannot be read")
        yield _file_problem(file, "yaml", f"This is no YAML: {reason}.")
    except RecursionError:
        yield _file_problem(file, "yaml", "The file is nested too deeply to be read.")


def _syntax(file: Path, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 0
    column = f" (column {mark.column + 1})" if mark else ""
    what = mask(" ".join(part for part in (error.context, error.problem) if part))
    return _file_problem(file, "yaml", f"This is no YAML{column}: {what}.", line=line)


def _load_document(file: Path, number: int, node: Node) -> Iterator[Stated | Problem]:
    origin = Origin(str(file), number, node.start_mark.line + 1)
    if not isinstance(node, MappingNode):
        yield Problem("form", "A document is a mapping that begins with its kind.", "", origin, origin.line)
        return
    lines: dict[str, int] = {}
    broken = list(_Walk(origin, lines).nodes(node, "", ()))
    if broken:
        yield from broken
        return
    body: dict[str, Any] = _Constructor().construct_document(node)
    kind = body.pop("kind", "contract" if file.name == CONTRACT_FILE else None)
    if kind == "contract":
        yield from _with_schemas(body, file, origin, lines)
    elif kind == "inscriptions":
        yield from _with_persons(body, file, origin, lines)
    else:
        yield from _read(kind, body, origin, lines)


def _read(kind: Any, body: dict[str, Any], origin: Origin, lines: Mapping[str, int]) -> Iterator[Stated | Problem]:
    read = read_document(kind, body, origin=origin, lines=lines)
    if isinstance(read, Stated):
        yield read
    else:
        yield from read


def _with_schemas(
    body: dict[str, Any], file: Path, origin: Origin, lines: Mapping[str, int]
) -> Iterator[Stated | Problem]:
    if "schemas" in body:
        message = "A contract's schemas stand in files beside it (v1.avsc, v2.avsc, …): leave this member out."
        yield Problem("form", message, "schemas", origin, line_of(lines, "schemas", origin))
        return
    schemas: list[str] = []
    while (beside := file.with_name(f"v{len(schemas) + 1}.avsc")).is_file():
        try:
            # One form for one schema, whatever its spaces: a contract's version never changes.
            schema = json.loads(beside.read_text("utf-8"))
        except (ValueError, OSError) as error:
            line = getattr(error, "lineno", 0)
            yield _file_problem(beside, "schema-invalid", "The file is no JSON in UTF-8.", line=line)
            return
        schemas.append(json.dumps(schema, ensure_ascii=False, separators=(",", ":")))
    if not schemas:
        message = f"There is no v1.avsc beside {file.name}: a contract has at least one Avro schema."
        yield Problem("no-file", message, "", origin, origin.line)
        return
    yield from _read("contract", body | {"schemas": schemas}, origin, lines)


def _with_persons(
    body: dict[str, Any], file: Path, origin: Origin, lines: Mapping[str, int]
) -> Iterator[Stated | Problem]:
    if (named := body.pop("personsFile", None)) is None:
        yield from _read("inscriptions", body, origin, lines)
        return

    def wrong(message: str) -> Problem:
        return Problem("no-file", message, "personsFile", origin, line_of(lines, "personsFile", origin))

    if "persons" in body or not isinstance(named, str):
        yield wrong("Name people in persons or in personsFile (a path), not in both.")
        return
    try:
        text = (file.parent / named).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        yield wrong("This file cannot be read: it is not there, not yours to read, or no UTF-8 text.")
        return
    persons = [person for line in text.splitlines() if (person := line.strip())]
    yield from _read("inscriptions", body | {"persons": persons}, origin, lines)


class _Constructor(SafeConstructor):
    """Makes values of nodes, without a stream to read them from."""


def _bare(node: Node) -> Node:
    """Return the node without what it holds, which is looked at by itself."""
    return node if isinstance(node, ScalarNode) else type(node)(node.tag, [], node.start_mark, node.end_mark)


class _Walk:
    """One walk over a document: the line of each path, and what no kind of document allows."""

    def __init__(self, origin: Origin, lines: dict[str, int]) -> None:
        self._origin = origin
        self._lines = lines
        self._nodes = 0

    def nodes(self, node: Node, path: str, around: tuple[int, ...]) -> Iterator[Problem]:
        """Yield names that stand twice or are no text, values that cannot be read, and aliases that never end."""
        line = node.start_mark.line + 1
        self._lines.setdefault(path, line)
        self._nodes += 1
        if self._nodes > _MOST_NODES or id(node) in around:
            if id(node) in around:
                yield self._problem(path, line, "An alias stands inside what it is an alias of.")
            elif self._nodes == _MOST_NODES + 1:
                yield self._problem(path, line, f"The document has more than {_MOST_NODES} values: divide it.")
            return
        around = (*around, id(node))
        try:
            _Constructor().construct_object(_bare(node))
        except (yaml.MarkedYAMLError, ValueError) as error:
            # A text that looks like a date and is none, as 2026-02-30, or a tag that is not plain YAML.
            what = mask(str(getattr(error, "problem", error)))
            yield self._problem(path, line, f"The value cannot be read: {what}.")
            return
        if isinstance(node, SequenceNode):
            for at, item in enumerate(cast("list[Node]", node.value)):
                yield from self.nodes(item, f"{path}[{at}]", around)
        elif isinstance(node, MappingNode):
            seen: set[str] = set()
            for key, value in cast("list[tuple[Node, Node]]", node.value):
                where = key.start_mark.line + 1
                name: Any = key.value
                if not isinstance(name, str) or key.tag not in (f"{_YAML}str", f"{_YAML}merge"):
                    yield self._problem(path, where, "The name of a member is a text: write it in quotes.")
                    continue
                inner = f"{path}.{mask(name)}" if path else mask(name)
                self._lines.setdefault(inner, where)
                if name in seen:
                    yield self._problem(inner, where, f"The member {mask(name)} stands twice: keep one of them.")
                seen.add(name)
                yield from self.nodes(value, inner, around)

    def _problem(self, path: str, line: int, message: str) -> Problem:
        return Problem("yaml", message, path, self._origin, line)
