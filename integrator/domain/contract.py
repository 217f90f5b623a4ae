"""A contract: what law and operations need to know of a stream beside its Avro schema.

Roles map meanings to paths, so that a schema made elsewhere is onboarded unchanged. A path is dotted field names;
unions with null and arrays are passed through without a mark, a map is one value.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from integrator.domain.documents import Document, Text, Texts
from integrator.domain.identifiers import Name, Scheme, StreamName

Path = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$", max_length=200)]
Category = Literal["ordinary", "special", "criminal", "origin", "address", "identifier"]
"""`special` is GDPR art. 9, `criminal` art. 10, `origin` nationality and descent; the others explain themselves."""
Relation = Literal["parent", "child", "partner", "guardian", "contact"]


class PersonPath(Document):
    """Where a person's number stands and under which schemes it may be read, in order of preference."""

    path: Path
    schemes: tuple[Scheme, ...] = Field(min_length=1)


class RelatedPath(PersonPath):
    """Where the number of a related person stands."""

    relation: Relation


class FactId(Document):
    """What names the fact inside its subject: a field, or a constant for one whole object per person."""

    path: Path | None = None
    constant: Name | None = None


class Roles(Document):
    """Which field means what. Absent roles are meanings that the stream does not carry."""

    subject: PersonPath
    fact_id: FactId
    kind: Path
    related: tuple[RelatedPath, ...] = ()
    steward: Path | None = None
    corrects: Path | None = None
    changed: Path | None = None
    valid_from: Path | None = None
    valid_until: Path | None = None
    registered_at: Path | None = None
    assurance: Path | None = None
    third_party_restriction: Path | None = None
    protected_address: Path | None = None
    sheltered: Path | None = None
    """A mark that the person must not be found through what others learn: adopted, placed, custody contested."""
    birth_date: Path | None = None
    territory: Path | None = None


class FieldNote(Document):
    """What a citizen and a lawyer need to know of a field and all below it, unless a deeper note says otherwise."""

    category: Category
    description: Texts


class ServiceLevel(Document):
    """What the owner promises about the stream; durations after ISO 8601."""

    availability: Text
    latency: Text
    support: Text


class Contract(Document):
    """One version of what a stream is. `schemas` are Avro schemas as JSON text, oldest first."""

    stream: StreamName
    version: int = Field(ge=1)
    title: Texts
    description: Texts
    owner: Name
    event_type: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(\.[a-z0-9-]+)+$")]
    service: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(\.[a-z0-9-]+)+\.v[0-9]+$")]
    time_zone: Text
    state: Literal["none", "fact"]
    retention: Annotated[str, StringConstraints(pattern=r"^P(\d+[YMWD])+$|^PT?\d+[HMS]$")]
    dpia: Text | None = None
    compatibility: Literal["FULL_TRANSITIVE", "BACKWARD_TRANSITIVE"]
    partitions: int = Field(ge=1, le=1024)
    modelled: bool
    service_level: ServiceLevel
    roles: Roles
    decision_fields: dict[Name, Path] = Field(default_factory=dict[str, str])
    fields: dict[Path, FieldNote]
    schemas: tuple[str, ...] = Field(min_length=1)

    def note(self, path: str) -> FieldNote | None:
        """Return the note of `path`: its own, or that of its nearest ancestor."""
        while path:
            if (found := self.fields.get(path)) is not None:
                return found
            path = path.rpartition(".")[0]
        return None
