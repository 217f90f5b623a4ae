"""Says what each user of the broker may do, and what has to change for it: nobody may do more than its spec says.

A spec states everything that its principal may do; users without a spec are left alone. `access_apply` carries it out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from integrator.domain import topics

Resource = Literal["topic", "group", "transactional-id", "cluster"]
Operation = Literal[
    "all",
    "read",
    "write",
    "create",
    "delete",
    "alter",
    "describe",
    "cluster-action",
    "describe-configs",
    "alter-configs",
    "idempotent-write",
]

LANES = "integrator-lanes"
DIRECTORY = "integrator-directory"
FEEDER = "integrator-feeder"
LEDGER = "integrator-ledger"
API = "integrator-api"
OPERATOR = "integrator-operator"


@dataclass(frozen=True, slots=True, order=True)
class Acl:
    """One rule: an operation on what has this name, or begins with it. Read and write imply describe."""

    resource: Resource
    name: str
    operation: Operation
    pattern: Literal["literal", "prefixed"] = "literal"
    permission: Literal["allow", "deny"] = "allow"

    def __str__(self) -> str:
        return f"{self.permission} {self.operation} {self.resource} {self.name}{'*' * (self.pattern == 'prefixed')}"


@dataclass(frozen=True, slots=True)
class AccessSpec:
    """Everything that a principal (a user name, without `User:`) may do."""

    principal: str
    acls: frozenset[Acl]


@dataclass(frozen=True, slots=True)
class Access:
    """Who there is and what they may do: users with a password, and rules by principal."""

    users: frozenset[str]
    acls: Mapping[str, frozenset[Acl]]


Rule = tuple[str, Acl]
"""A principal and one of its rules."""


@dataclass(frozen=True, slots=True)
class AccessPlan:
    """What has to be done; empty when everything is as it must be. Passwords cannot be read, so not compared."""

    users: tuple[str, ...] = ()
    allow: tuple[Rule, ...] = ()
    withdraw: tuple[Rule, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.users or self.allow or self.withdraw)


def _spec(principal: str, *acls: Acl) -> AccessSpec:
    return AccessSpec(principal, frozenset(acls))


def lanes_access(sources: Iterable[str]) -> AccessSpec:
    """Return what the workers may do: read what sources publish, write what agencies receive and the lanes' own topics.

    The receipts of each source are named one by one: a rule on `source.` would let a lane write a source's streams.
    """
    return _spec(
        LANES,
        Acl("topic", "source.", "read", "prefixed"),
        Acl("topic", "agency.", "write", "prefixed"),
        *(Acl("topic", topics.receipts_topic(source), "write") for source in sources),
        Acl("topic", topics.LANES, "read"),
        *(
            Acl("topic", name, "write")
            for name in (topics.LANES, topics.REQUESTS, topics.STEPS, topics.DISCLOSURES, topics.QUARANTINE)
        ),
        Acl("group", topics.LANES_GROUP, "read"),
        Acl("group", topics.LAG_GROUP, "read"),
        Acl("transactional-id", topics.LANE_TRANSACTIONS, "write", "prefixed"),
    )


def directory_access() -> AccessSpec:
    """Return what the one writer of the directory may do."""
    return _spec(
        DIRECTORY,
        Acl("topic", topics.DIRECTORY, "read"),
        Acl("topic", topics.DIRECTORY, "write"),
        Acl("topic", topics.REQUESTS, "read"),
        Acl("topic", topics.REQUESTS, "write"),
        Acl("group", topics.DIRECTORY_GROUP, "read"),
        Acl("transactional-id", topics.DIRECTORY_TRANSACTIONS, "write"),
    )


def feeder_access() -> AccessSpec:
    """Return what the feeder of a machine may do: read the directory."""
    return _spec(FEEDER, Acl("topic", topics.DIRECTORY, "read"))


def ledger_access() -> AccessSpec:
    """Return what the ledger may do: read what it records. Its positions are in its own database, not in a group."""
    recorded = (topics.DISCLOSURES, topics.DIRECTORY, topics.REQUESTS)
    return _spec(LEDGER, *(Acl("topic", name, "read") for name in recorded))


def api_access() -> AccessSpec:
    """Return what the API may do beside the directory writer: hand in requests."""
    return _spec(API, Acl("topic", topics.REQUESTS, "write"))


def operator_access() -> AccessSpec:
    """Return what an operator may do: read quarantine and the lanes' accounts, see that topics and groups move."""
    return _spec(
        OPERATOR,
        *(Acl("topic", name, "read") for name in (topics.QUARANTINE, topics.LANES, topics.STEPS)),
        Acl("topic", "*", "describe"),
        Acl("group", "*", "describe"),
    )


def source_access(source: str) -> AccessSpec:
    """Return what a source may do: write its streams, read its receipts and error reports.

    A refusal stands before the prefix: a source that wrote into its own receipts would break what lanes rely on, that
    they are the only writers there.
    """
    read_only = (topics.receipts_topic(source), topics.error_reports_topic(source))
    return _spec(
        topics.source_principal(source),
        Acl("topic", topics.source_prefix(source), "write", "prefixed"),
        *(Acl("topic", name, "write", permission="deny") for name in read_only),
        *(Acl("topic", name, "read") for name in read_only),
        Acl("group", topics.source_prefix(source), "read", "prefixed"),
    )


def agency_access(agency: str, purpose: str) -> AccessSpec:
    """Return what an agency may do for one purpose: read what is delivered to it for that purpose. Nothing else."""
    prefix = topics.agency_prefix(agency, purpose)
    return _spec(
        topics.agency_principal(agency, purpose),
        Acl("topic", prefix, "read", "prefixed"),
        Acl("group", prefix, "read", "prefixed"),
    )


def locked(principal: str) -> AccessSpec:
    """Return what a locked user may do: nothing."""
    return _spec(principal)


def integrator_access(sources: Collection[str]) -> list[AccessSpec]:
    """Return the specs of every process of the integrator itself."""
    return [
        lanes_access(sources),
        directory_access(),
        feeder_access(),
        ledger_access(),
        api_access(),
        operator_access(),
    ]


def plan_access(want: Iterable[AccessSpec], have: Access) -> AccessPlan:
    """Return what has to be done so that each principal of `want` may do exactly what its spec says."""
    users: set[str] = set()
    allow: set[Rule] = set()
    withdraw: set[Rule] = set()
    for spec in want:
        present = have.acls.get(spec.principal, frozenset[Acl]())
        if spec.acls and spec.principal not in have.users:
            users.add(spec.principal)
        allow |= {(spec.principal, acl) for acl in spec.acls - present}
        withdraw |= {(spec.principal, acl) for acl in present - spec.acls}
    return AccessPlan(tuple(sorted(users)), tuple(sorted(allow)), tuple(sorted(withdraw)))


def abandoned_agencies(want: Iterable[AccessSpec], have: Access) -> list[AccessSpec]:
    """Return a locked spec for each agency and purpose that still has rules and that `want` no longer names.

    Added to `want`, they take away what an authorisation that is no more once gave. Other principals are not ours to
    judge: the cluster may serve somebody else as well.
    """
    named = {spec.principal for spec in want}
    return [locked(name) for name in sorted(have.acls) if topics.is_agency_principal(name) and name not in named]
