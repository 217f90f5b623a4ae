"""Checks one authorisation against the contract, the purpose and the agency that it names: default deny, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any, cast

from integrator.directory.check_condition import check_condition
from integrator.directory.check_contract import Finding
from integrator.directory.plain import suggest
from integrator.domain.authorisation import Authorisation, Inscribed, Related, Territory, covers
from integrator.domain.contract import Contract
from integrator.domain.errors import Invalid
from integrator.domain.projection import Addressable, leaf_paths, paths
from integrator.domain.purpose import Agency, Purpose

_GROUNDS = {"special": "GDPR art. 9", "criminal": "GDPR art. 10"}


def check_terms(authorisation: Authorisation) -> Iterator[Finding]:
    """Yield what is wrong with an authorisation whatever it is about."""
    period = authorisation.period
    if not _in_order(period.start, period.end):
        yield "period", "period.end", "The period ends before it begins."
    for at, citation in enumerate(authorisation.citations):
        if not _in_order(citation.in_force_from, citation.in_force_until):
            yield "period", f"citations[{at}].inForceUntil", "The law goes out of force before it comes into force."


def _in_order(start: date | datetime, end: date | datetime | None) -> bool:
    if end is None or isinstance(start, datetime) != isinstance(end, datetime):
        return True
    return start < end


def check_agency(authorisation: Authorisation, agency: Agency) -> Iterator[Finding]:
    """Yield capacities that the agency does not have."""
    for at, population in enumerate(authorisation.population):
        if isinstance(population, Inscribed | Related):
            for number, capacity in enumerate(population.capacities):
                yield from _check_capacity(capacity, agency, f"population[{at}].capacities[{number}]")
    if authorisation.inscribes is not None:
        yield from _check_capacity(authorisation.inscribes.capacity, agency, "inscribes.capacity")


def _check_capacity(capacity: str, agency: Agency, where: str) -> Iterator[Finding]:
    if capacity not in agency.capacities:
        known = f"it has {', '.join(agency.capacities)}" if agency.capacities else "it has none"
        hint = suggest(capacity, agency.capacities)
        yield "capacity-unknown", where, f"The agency {agency.name} has no capacity {capacity}; {known}.{hint}"


def check_contract_use(authorisation: Authorisation, contract: Contract, purpose: Purpose | None) -> Iterator[Finding]:
    """Yield everything in `authorisation` that the contract's newest schema, roles and categories do not allow.

    A contract whose schema is broken is not asked: its own problems are told elsewhere.
    """
    try:
        schema = json.loads(contract.schemas[-1])
        if not isinstance(schema, dict):
            return
        known = paths(cast("dict[str, Any]", schema))
        leaves = leaf_paths(cast("dict[str, Any]", schema))
    except (ValueError, Invalid):
        return
    yield from _check_fields(authorisation, known)
    yield from _check_triggers(authorisation, contract, known)
    yield from _check_population(authorisation, contract)
    yield from check_condition(authorisation, contract)
    if purpose is not None:
        yield from _check_categories(authorisation, contract, purpose, leaves)
    if authorisation.protected_address == "withhold" and contract.roles.protected_address is None:
        message = "The contract has no role protectedAddress, so nobody could be withheld: write deliver."
        yield "role-missing", "protectedAddress", message


def _check_fields(authorisation: Authorisation, known: Mapping[str, Addressable]) -> Iterator[Finding]:
    for at, path in enumerate(authorisation.fields):
        if path not in known:
            message = f"The stream {authorisation.stream} has no field {path}.{suggest(path, known)}"
            yield "path-unknown", f"fields[{at}]", message
        elif path in authorisation.fields[:at]:
            yield "duplicate", f"fields[{at}]", f"The field {path} is named twice."


def _check_triggers(
    authorisation: Authorisation, contract: Contract, known: Mapping[str, Addressable]
) -> Iterator[Finding]:
    if authorisation.triggers and contract.roles.changed is None:
        message = (
            f"The stream {authorisation.stream} does not tell what changed (role changed), so it has no triggers: "
            "leave them out, or ask its owner for that role."
        )
        yield "role-missing", "triggers", message
        return
    for at, path in enumerate(authorisation.triggers):
        if path not in known:
            message = f"The stream {authorisation.stream} has no field {path}.{suggest(path, known)}"
            yield "path-unknown", f"triggers[{at}]", message


def _check_population(authorisation: Authorisation, contract: Contract) -> Iterator[Finding]:
    relations = {related.relation for related in contract.roles.related}
    for at, population in enumerate(authorisation.population):
        if isinstance(population, Territory) and contract.roles.territory is None:
            message = f"The stream {contract.stream} does not tell where people live (role territory)."
            yield "role-missing", f"population[{at}]", message
        elif isinstance(population, Related):
            if not relations:
                message = f"The stream {contract.stream} relates nobody to anybody (role related)."
                yield "role-missing", f"population[{at}]", message
            for number, relation in enumerate(population.relations):
                if relation not in relations:
                    message = f"The stream {contract.stream} has no relation {relation}.{suggest(relation, relations)}"
                    yield "relation-unknown", f"population[{at}].relations[{number}]", message


def _check_categories(
    authorisation: Authorisation, contract: Contract, purpose: Purpose, leaves: list[str]
) -> Iterator[Finding]:
    if purpose.special_ground is not None:
        return
    # A trigger too: that such a field changed is data of its category.
    named = [(f"fields[{at}]", path) for at, path in enumerate(authorisation.fields)]
    named += [(f"triggers[{at}]", path) for at, path in enumerate(authorisation.triggers)]
    for where, path in named:
        for leaf in leaves:
            note = contract.note(leaf)
            if note is not None and covers(path, leaf) and note.category in _GROUNDS:
                message = (
                    f"The field {leaf} is of the category {note.category} ({_GROUNDS[note.category]}), and the purpose "
                    f"{purpose.name} version {purpose.version} names no specialGround for it."
                )
                yield "no-special-ground", where, message
                break
