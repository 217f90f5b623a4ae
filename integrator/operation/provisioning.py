"""Derives the broker's topics, users and rules from the directory, so that access follows the authorisations.

- Topics, users and rules exist before the record of the directory that needs them: a lane that decides with a new
  authorisation must find its topic.
- What an authorisation no longer gives is taken away after the record that says so. That is the second wall, not the
  revocation: the lanes stop first, at a position; and a record that is refused takes nothing from anybody.
- An agency whose authorisations for a purpose are all suspended or over has no rules for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from integrator.domain import topics
from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract
from integrator.domain.directory import Knowledge
from integrator.domain.identifiers import split_stream
from integrator.kafka.access import (
    AccessPlan,
    AccessSpec,
    abandoned_agencies,
    agency_access,
    integrator_access,
    plan_access,
    source_access,
)
from integrator.kafka.access_apply import apply_access, read_access
from integrator.kafka.connection import Connection
from integrator.kafka.topics import (
    TopicPlan,
    TopicSpec,
    apply_topics,
    internal_topics,
    lane_written_topic,
    plan_topics,
    read_topics,
    stream_topic,
)
from integrator.operation.durations import milliseconds
from integrator.operation.settings import Installation

ADMIN = "admin"
_DAY_MS = 24 * 60 * 60 * 1000
RECEIPTS_MS = 7 * _DAY_MS
"""How long a source can read what became of its records."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What the broker must have: every topic of the installation, and who may do what."""

    topics: tuple[TopicSpec, ...]
    access: tuple[AccessSpec, ...]


@dataclass(frozen=True, slots=True)
class Provision:
    """What has to be done; empty when the broker is as it must be."""

    topics: TopicPlan
    access: AccessPlan

    def __bool__(self) -> bool:
        return bool(self.topics or self.access)


def needs(contracts: Iterable[Contract], authorisations: Iterable[Authorisation], *, lanes: int) -> Needs:
    """Return what these contracts and authorisations need. Pure: equal arguments, equal answer."""
    wanted = {spec.name: spec for spec in internal_topics(lanes)}
    sources: set[str] = set()
    by_stream: dict[str, Contract] = {}
    for contract in contracts:
        source, stream = split_stream(contract.stream)
        sources.add(source)
        by_stream[contract.stream] = contract
        retention = milliseconds(contract.retention)
        for spec in (
            stream_topic(source, stream, partitions=contract.partitions, state=contract.state, retention_ms=retention),
            lane_written_topic(topics.receipts_topic(source), lanes, retention_ms=RECEIPTS_MS),
        ):
            wanted[spec.name] = spec
    agencies: set[tuple[str, str]] = set()
    for authorisation in authorisations:
        contract = by_stream.get(authorisation.stream)
        if contract is None or authorisation.state in {"revoked", "expired"}:
            continue
        if authorisation.state != "suspended":
            agencies.add((authorisation.agency, authorisation.purpose))
        source, stream = split_stream(authorisation.stream)
        name = topics.agency_topic(authorisation.agency, authorisation.purpose, source, stream)
        # Delivered records are kept no longer than the source's own: the agency has its copy, the topic is transport.
        wanted[name] = lane_written_topic(name, lanes, retention_ms=milliseconds(contract.retention))
    access = [
        *integrator_access(sorted(sources)),
        *(source_access(source) for source in sorted(sources)),
        *(agency_access(agency, purpose) for agency, purpose in sorted(agencies)),
    ]
    return Needs(tuple(wanted.values()), tuple(access))


def needs_of(knowledge: Knowledge, also: Iterable[Contract | Authorisation] = (), *, lanes: int) -> Needs:
    """Return what the directory needs, as it is and with the documents `also` that are about to be applied."""
    contracts = dict(knowledge.contracts)
    standing = {one.authorisation.id: one.authorisation for all_ in knowledge.standing.values() for one in all_}
    for document in also:
        match document:
            case Contract():
                contracts[document.stream] = document
            case Authorisation():
                standing[document.id] = document
    return needs(contracts.values(), standing.values(), lanes=lanes)


async def plan(admin: Connection, wanted: Needs) -> Provision:
    """Compare the broker with what it must have."""
    have = await read_topics(admin, [spec.name for spec in wanted.topics])
    access = await read_access(admin)
    # Who had an authorisation and has none any more is named too, with nothing that it may do.
    specs = [*wanted.access, *abandoned_agencies(wanted.access, access)]
    return Provision(plan_topics(wanted.topics, have), plan_access(specs, access))


async def provision(installation: Installation, wanted: Needs) -> Provision:
    """Make the broker what it must be and return what was done. New users get the passwords of this installation.

    Raises `Refused` (`topic-partitions`) when a topic has another number of partitions.
    """
    admin = installation.connection(ADMIN)
    todo = await plan(admin, wanted)
    await _carry_out(installation, admin, todo)
    return todo


async def prepare(installation: Installation, wanted: Needs) -> Needs | None:
    """Add what the broker lacks and take nothing away; return `wanted` when something is left for `provision`.

    Raises `Refused` (`topic-partitions`) when a topic has another number of partitions.
    """
    admin = installation.connection(ADMIN)
    todo = await plan(admin, wanted)
    await _carry_out(installation, admin, additions(todo))
    return wanted if todo.access.withdraw or todo.topics.alter else None


def additions(todo: Provision) -> Provision:
    """Return what of `todo` changes and takes away nothing that stands."""
    return Provision(
        TopicPlan(todo.topics.create, (), todo.topics.conflicts), AccessPlan(todo.access.users, todo.access.allow, ())
    )


async def _carry_out(installation: Installation, admin: Connection, todo: Provision) -> None:
    if todo.topics:
        await apply_topics(admin, todo.topics, replication=installation.settings.replication)
    if todo.access:
        passwords = {user: installation.connection(user).password for user in todo.access.users}
        await apply_access(admin, todo.access, passwords)


async def lay_foundation(installation: Installation) -> Provision:
    """Make what every installation needs before it knows anything; nothing that stands is changed or taken away."""
    admin = installation.connection(ADMIN)
    added = additions(await plan(admin, needs((), (), lanes=installation.settings.lanes)))
    await _carry_out(installation, admin, added)
    return added
