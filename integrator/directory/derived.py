"""Derives the schemas that agencies receive, and gives each schema an id that it keeps for ever.

A stream's schemas stand under the subject of its topic, an agency's under that of the agency's topic, oldest first:
one for every schema of the contract. Deliveries are written under the one of the contract's newest schema, to which
records of older ones are brought before they are projected.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from integrator.directory.compatibility import incompatibilities
from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract
from integrator.domain.directory import RegisteredSchema
from integrator.domain.errors import Invalid
from integrator.domain.identifiers import split_stream
from integrator.domain.projection import delivered_fields, derive_schema, paths
from integrator.domain.topics import agency_topic, source_topic


def contract_subject(stream: str) -> str:
    """Return the registry's subject of what a source publishes."""
    return f"{source_topic(*split_stream(stream))}-value"


def delivered_subject(authorisation: Authorisation) -> str:
    """Return the registry's subject of what an agency receives for one purpose from one stream."""
    topic = agency_topic(authorisation.agency, authorisation.purpose, *split_stream(authorisation.stream))
    return f"{topic}-value"


def delivered_schemas(authorisation: Authorisation, contract: Contract) -> Iterator[str]:
    """Yield the text of the schema that the agency receives, for each schema of the contract that has its fields.

    Raises `Invalid` (`path-unknown`) when the newest lacks one of them.
    """
    fields = delivered_fields(authorisation, contract)
    newest = len(contract.schemas)
    for number, text in enumerate(contract.schemas, 1):
        schema: dict[str, Any] = json.loads(text)
        known = paths(schema)
        # Readers who began with an older schema of the stream must be able to go on: it counts for compatibility.
        present = fields if number == newest else [path for path in fields if path in known]
        if present:
            yield schema_text(derive_schema(schema, present))


def new_fields(authorisation: Authorisation, before: Contract, after: Contract) -> list[str]:
    """Return the fields, as `record.field`, that `after` would add to what is delivered under `authorisation`.

    Empty where the newest schema of either is broken or lacks an authorised field: that is another problem.
    """
    try:
        had, has = (
            _fields(derive_schema(json.loads(contract.schemas[-1]), delivered_fields(authorisation, contract)))
            for contract in (before, after)
        )
    except (ValueError, Invalid):
        return []
    return sorted(has - had)


def _fields(node: Any) -> set[str]:
    """Return every field of every record in a schema, also of those behind maps and unions, which have no path."""
    found: set[str] = set()
    if isinstance(node, dict):
        members = cast("dict[str, Any]", node)
        fields = cast("list[dict[str, Any]]", members.get("fields", []))
        found |= {f"{members['name']}.{field['name']}" for field in fields}
        for below in (
            *(field["type"] for field in fields),
            *(members.get(part) for part in ("type", "items", "values")),
        ):
            found |= _fields(below)
    elif isinstance(node, list):
        for branch in cast("list[Any]", node):
            found |= _fields(branch)
    return found


def schema_text(schema: Mapping[str, Any]) -> str:
    """Return a schema as the text under which it is registered: JSON without spaces."""
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


class Registrar:
    """Gives ids and versions to schemas that do not have one yet. Used for one plan, then forgotten."""

    def __init__(self, schemas: Mapping[int, RegisteredSchema]) -> None:
        self._by_subject: dict[str, list[RegisteredSchema]] = {}
        for schema in sorted(schemas.values(), key=lambda each: each.version):
            self._by_subject.setdefault(schema.subject, []).append(schema)
        self._next = max(schemas, default=0) + 1
        self.added: list[RegisteredSchema] = []

    def register(self, subject: str, text: str) -> None:
        """Add `text` under `subject`, unless it stands there already."""
        standing = self._by_subject.setdefault(subject, [])
        if any(schema.text == text for schema in standing):
            return
        schema = RegisteredSchema(self._next, subject, len(standing) + 1, text)
        self._next += 1
        standing.append(schema)
        self.added.append(schema)

    def breaks(self, subject: str, text: str) -> Sequence[tuple[str, str]]:
        """Return path and reason of everything in `text` that a reader of the subject's other schemas cannot take."""
        schema = json.loads(text)
        return [
            found
            for earlier in self._by_subject.get(subject, ())
            if earlier.text != text
            for found in incompatibilities(schema, json.loads(earlier.text), "FULL_TRANSITIVE")
        ]
