"""Says what somebody may state about the directory, where each statement came from, and how it travels as JSON.

- A statement is a document of one of six kinds; `inscriptions` is a list of people for one agency and capacity.
- People's numbers are in `Inscriptions.persons` only. They travel over loopback, become pseudonyms in the writer, and
  are in no representation, problem or error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, cast

from pydantic import Field, ValidationError

from integrator.directory.plain import explain, moments, suggest
from integrator.domain.authorisation import Authorisation, Phase
from integrator.domain.contract import Contract
from integrator.domain.documents import Document
from integrator.domain.errors import Invalid, Refused
from integrator.domain.identifiers import Name, SubjectRef
from integrator.domain.purpose import Agency, Purpose, Source

MOST_PERSONS = 1_000_000


class Inscriptions(Document):
    """People whom an agency knows in one capacity; `persons` are `scheme:number` each."""

    agency: Name
    capacity: Name
    phase: Phase = "definitive"
    start: date
    end: date | None = None
    fill: Literal["none", "initial"] = "none"
    persons: tuple[str, ...] = Field(min_length=1, max_length=MOST_PERSONS, repr=False)

    def references(self) -> list[SubjectRef]:
        """Return the people. Raises `Invalid` (`subject-invalid`), which says which of them and never the number."""
        found: list[SubjectRef] = []
        for at, person in enumerate(self.persons):
            try:
                found.append(SubjectRef.parse(person))
            except Invalid as error:
                raise Invalid(error.code, error.message, where=f"persons[{at}]") from None
        return found


AnyDocument = Source | Agency | Purpose | Contract | Authorisation | Inscriptions
DocumentKind = Literal["source", "agency", "purpose", "contract", "authorisation", "inscriptions"]
MODELS: Mapping[DocumentKind, type[AnyDocument]] = {
    "source": Source,
    "agency": Agency,
    "purpose": Purpose,
    "contract": Contract,
    "authorisation": Authorisation,
    "inscriptions": Inscriptions,
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a document stands: its file, which document of the file (from 1), its first line (0 when unknown)."""

    file: str = ""
    document: int = 1
    line: int = 0


@dataclass(frozen=True, slots=True)
class Stated:
    """A document and where it was stated. `lines` tells the line of a path, where that is known."""

    document: AnyDocument
    origin: Origin = Origin()
    lines: Mapping[str, int] = field(default_factory=dict[str, int], compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong with a document: a stable code, what and what to do, and where."""

    code: str
    message: str
    path: str
    """Path in the document, as `citations[0].inForceFrom`; empty for the document as a whole."""
    origin: Origin
    line: int
    """The line of the path where it is known, else of the document, else 0."""
    document: AnyDocument | None = field(default=None, compare=False, repr=False)

    @property
    def place(self) -> str:
        """File, line and path in one text."""
        found = self.origin.file or f"document {self.origin.document}"
        found += f":{self.line}" if self.line else ""
        return f"{found}: {self.path}" if self.path else found


def problem(stated: Stated, code: str, message: str, *, path: str = "") -> Problem:
    """Return a problem of `stated` at `path`, with the nearest line that is known."""
    return Problem(code, message, path, stated.origin, line_of(stated.lines, path, stated.origin), stated.document)


def line_of(lines: Mapping[str, int], path: str, origin: Origin) -> int:
    """Return the line of `path`, or of the nearest part of the document around it."""
    while path:
        if (found := lines.get(path)) is not None:
            return found
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return origin.line


def kind_of(document: AnyDocument) -> DocumentKind:
    """Return the kind that `document` has in a file and on the wire."""
    return next(kind for kind, model in MODELS.items() if isinstance(document, model))


def name_of(document: AnyDocument) -> tuple[str, int | None]:
    """Return the id of a document and, where it has one of its own, its version."""
    match document:
        case Source() | Agency():
            return document.name, None
        case Purpose():
            return document.name, document.version
        case Contract():
            return document.stream, document.version
        case Authorisation():
            return document.id, document.version
        case Inscriptions():
            return f"{document.agency}/{document.capacity}", None


class Rejected(Refused):
    """The documents cannot stand: `problems` has every reason, with its place. Nothing of them was applied."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        # Without a law there is nothing to correct in the document: that is never hidden behind another problem.
        first = next((found for found in problems if found.code == "no-legal-basis"), problems[0])
        rest = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(first.code, f"{first.place}: {first.message}{rest}")
        self.first = first
        """The problem that gives the refusal its code and its message."""
        self.problems = tuple(problems)


def to_wire(documents: Iterable[Stated]) -> list[dict[str, Any]]:
    """Return documents as JSON values: `{kind, origin: {file, document, line}, body}` each."""
    return [
        {
            "kind": kind_of(stated.document),
            "origin": {
                "file": stated.origin.file,
                "document": stated.origin.document,
                "line": stated.origin.line,
            },
            "body": stated.document.model_dump(mode="json", by_alias=True),
        }
        for stated in documents
    ]


def from_wire(values: Sequence[Any]) -> list[Stated]:
    """Read what `to_wire` wrote. Raises `Rejected` with every problem."""
    documents: list[Stated] = []
    problems: list[Problem] = []
    for number, value in enumerate(values, 1):
        members = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        origin = _origin(members.get("origin"), number)
        read = read_document(members.get("kind"), members.get("body"), origin=origin, lines={})
        if isinstance(read, Stated):
            documents.append(read)
        else:
            problems += read
    if problems:
        raise Rejected(problems)
    return documents


def _origin(value: Any, number: int) -> Origin:
    members = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    file, document, line = members.get("file"), members.get("document"), members.get("line")
    return Origin(
        file if isinstance(file, str) else "",
        document if isinstance(document, int) else number,
        line if isinstance(line, int) else 0,
    )


def read_document(kind: Any, body: Any, *, origin: Origin, lines: Mapping[str, int]) -> Stated | list[Problem]:
    """Check `body` as a document of `kind` and return it, or everything that is wrong with its form."""
    model = MODELS.get(cast("DocumentKind", kind)) if isinstance(kind, str) else None
    if model is None:
        known = ", ".join(MODELS)
        hint = suggest(kind, MODELS) if isinstance(kind, str) else ""
        message = f"A document says its kind, one of {known}.{hint}"
        return [Problem("kind-unknown", message, "kind", origin, line_of(lines, "kind", origin))]
    wrong = dict(moments(body))
    try:
        document = model.model_validate(body)
    except ValidationError as error:
        wrong = dict(explain(error, body)) | wrong
    else:
        if not wrong:
            return _with_references(Stated(document, origin, lines))
    return [Problem("form", message, path, origin, line_of(lines, path, origin)) for path, message in wrong.items()]


def _with_references(stated: Stated) -> Stated | list[Problem]:
    """Return the document, or which of its people's numbers is not valid."""
    document = stated.document
    if isinstance(document, Inscriptions):
        try:
            document.references()
        except Invalid as error:
            return [problem(stated, error.code, error.message, path=error.where)]
    return stated
