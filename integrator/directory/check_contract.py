"""Checks one contract: its schemas, the fields behind its roles, and that every field is described for citizens."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import cel

from integrator.directory.compatibility import incompatibilities
from integrator.directory.plain import suggest
from integrator.domain.contract import Contract
from integrator.domain.errors import Invalid
from integrator.domain.projection import Addressable, leaf_paths, paths

Finding = tuple[str, str, str]
"""Code, path in the document, and message."""

_SCALARS = frozenset({"string", "int", "long", "float", "double", "boolean", "enum"})
_RESERVED = frozenset({"age", "kind"})


@dataclass(frozen=True, slots=True)
class _Rule:
    """What the field behind a role must be."""

    types: frozenset[str]
    words: str
    many: bool | None = False
    """`None` when it may be one value or a list."""


_TEXT = _Rule(frozenset({"string"}), "a text")
_NAME = _Rule(frozenset({"string", "enum"}), "a text or an enum")
_DAY = _Rule(frozenset({"string", "int"}), "a date: a text, or an int with the logical type date")
_INSTANT = _Rule(frozenset({"string", "long"}), "an instant: a text after RFC 3339, or a long with a timestamp type")
_MARK = _Rule(_SCALARS, "a single value")
_ID = _Rule(frozenset({"string", "int", "long", "enum"}), "a text or a whole number")
_TEXTS = _Rule(frozenset({"string"}), "a list of texts", many=True)

_ROLES: Mapping[str, _Rule] = {
    "kind": _NAME,
    "steward": _TEXT,
    "corrects": _TEXT,
    "changed": _TEXTS,
    "validFrom": _DAY,
    "validUntil": _DAY,
    "registeredAt": _INSTANT,
    "assurance": _NAME,
    "thirdPartyRestriction": _MARK,
    "protectedAddress": _MARK,
    "sheltered": _MARK,
    "birthDate": _DAY,
    "territory": _TEXT,
}


def check_contract(contract: Contract) -> Iterator[Finding]:
    """Yield everything that is wrong with `contract` by itself."""
    try:
        ZoneInfo(contract.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        message = "There is no such time zone: write a name of the IANA list, as Europe/Amsterdam."
        yield "time-zone", "timeZone", message
    if contract.state == "fact" and contract.dpia is None:
        yield "dpia-missing", "dpia", "A stream that keeps facts names its data protection impact assessment."
    schemas: list[dict[str, Any]] = []
    addressable: list[dict[str, Addressable]] = []
    for number, text in enumerate(contract.schemas, 1):
        try:
            schema = json.loads(text)
            if not isinstance(schema, dict):
                raise Invalid("schema-invalid", "it is not a record")
            schemas.append(cast("dict[str, Any]", schema))
            addressable.append(paths(schemas[-1]))
        except (ValueError, Invalid) as error:
            yield "schema-invalid", f"v{number}.avsc", f"This is no schema of a stream: {error}"
            return
    yield from _check_versions(contract, schemas)
    yield from _check_roles(contract, addressable)
    yield from _check_notes(contract, schemas[-1], addressable[-1])


def _check_versions(contract: Contract, schemas: list[dict[str, Any]]) -> Iterator[Finding]:
    for number, schema in enumerate(schemas, 1):
        for before, earlier in enumerate(schemas[: number - 1], 1):
            for path, reason in incompatibilities(schema, earlier, contract.compatibility):
                message = f"It is not {contract.compatibility} with v{before}.avsc at {path or 'the record'}: {reason}."
                yield "schema-incompatible", f"v{number}.avsc", message


def _check_roles(contract: Contract, schemas: list[dict[str, Addressable]]) -> Iterator[Finding]:
    roles = contract.roles
    wanted: list[tuple[str, str, _Rule]] = [("roles.subject.path", roles.subject.path, _TEXT)]
    if (roles.fact_id.path is None) == (roles.fact_id.constant is None):
        yield "role-invalid", "roles.factId", "Name the fact by a path or by a constant: one of the two."
    if roles.fact_id.path is not None:
        wanted.append(("roles.factId.path", roles.fact_id.path, _ID))
    many = _Rule(_TEXT.types, _TEXT.words, many=None)
    wanted += [(f"roles.related[{at}].path", one.path, many) for at, one in enumerate(roles.related)]
    named: dict[str, Any] = roles.model_dump(by_alias=True)
    wanted += [(f"roles.{role}", named[role], rule) for role, rule in _ROLES.items() if named[role] is not None]
    for name, path in contract.decision_fields.items():
        wanted.append((f"decisionFields.{name}", path, _Rule(_SCALARS, "one value or a list of values", many=None)))
        variable = name.replace("-", "_")
        if variable in _RESERVED or not _is_variable(variable):
            yield (
                "decision-field",
                f"decisionFields.{name}",
                f"Conditions cannot use the name {variable}: choose another.",
            )
    for where, path, rule in wanted:
        yield from _check_path(where, path, rule, schemas)


def _is_variable(name: str) -> bool:
    try:
        return cel.compile(name).variables() == [name]
    except ValueError:
        return False


def _check_path(where: str, path: str, rule: _Rule, schemas: list[dict[str, Addressable]]) -> Iterator[Finding]:
    for number, known in enumerate(schemas, 1):
        found = known.get(path)
        if found is None:
            yield "path-unknown", where, f"v{number}.avsc has no field {path}.{suggest(path, known)}"
            continue
        many = found.many or _inside_array(path, known)
        if found.type not in rule.types or (rule.many is not None and many != rule.many):
            holds = f"a list of {found.type}" if many else found.type
            yield "role-type", where, f"The field {path} is {holds} in v{number}.avsc and must be {rule.words}."


def _inside_array(path: str, known: Mapping[str, Addressable]) -> bool:
    """Tell whether an array stands around the field."""
    parts = path.split(".")
    return any((around := known.get(".".join(parts[:end]))) and around.many for end in range(1, len(parts)))


def _check_notes(contract: Contract, schema: dict[str, Any], known: dict[str, Addressable]) -> Iterator[Finding]:
    for path in contract.fields:
        if path not in known:
            yield "path-unknown", f"fields.{path}", f"The schema has no field {path}.{suggest(path, known)}"
    for path in leaf_paths(schema):
        if contract.note(path) is None:
            message = (
                f"The field {path} has no category and description, nor has a field around it: add it to `fields`."
            )
            yield "field-undescribed", "fields", message
