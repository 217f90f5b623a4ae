"""Reads users and rules from the broker and makes them what a plan says.

- Users are never deleted: Kafka 4.3.1 can lose every SCRAM user at the next start after one was (its `ScramDelta`).
  A user is locked instead: a random password that nobody knows, and no rules.
- Taking a rule away is not yet a revocation: a fetch that already waits is still answered. The lanes stop first.
"""

# pyright: reportPrivateImportUsage=false
# Reason: confluent-kafka documents these names in `confluent_kafka.admin`, but its types do not export them.

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from pydantic import SecretStr

from integrator.domain.errors import Refused
from integrator.kafka.access import Access, AccessPlan, Acl, Operation, Resource, Rule, locked, plan_access
from integrator.kafka.admin import REQUEST_SECONDS, administering, answers
from integrator.kafka.connection import Connection

_RESOURCES: Mapping[Resource, ResourceType] = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
    "cluster": ResourceType.BROKER,  # one number in Kafka's protocol; librdkafka has this name for it
}
_RESOURCE_NAMES: Mapping[ResourceType, Resource] = {kind: name for name, kind in _RESOURCES.items()}
_OPERATIONS: Mapping[Operation, AclOperation] = {
    name: AclOperation[name.upper().replace("-", "_")] for name in get_args(Operation)
}
_OPERATION_NAMES: Mapping[AclOperation, Operation] = {operation: name for name, operation in _OPERATIONS.items()}
_USER = "User:"
# The passwords are random and long: more rounds would only slow the log-in down. The fewest that Kafka takes.
_ITERATIONS = 4096


async def read_access(connection: Connection) -> Access:
    """Return the users and rules that the broker has. Needs an administrator.

    LIMIT: rules for a host other than any, and on delegation tokens, are not shown: the integrator makes none.
    """
    async with administering(connection) as admin:
        await _refuse_unless_allowed(admin)
        asked = admin.describe_acls(_any_rule(), request_timeout=REQUEST_SECONDS)
        bindings: list[AclBinding] = (await answers("Reading access rules", {"all": asked}))["all"]
        asked = admin.describe_user_scram_credentials(request_timeout=REQUEST_SECONDS)
        users: dict[str, Any] = (await answers("Reading users", {"all": asked}))["all"]
    rules: dict[str, set[Acl]] = {}
    for binding in bindings:
        if (rule := _rule(binding)) is not None:
            rules.setdefault(rule[0], set()).add(rule[1])
    return Access(frozenset(users), {principal: frozenset(acls) for principal, acls in rules.items()})


async def _refuse_unless_allowed(admin: Any) -> None:
    """Raise `Refused` (`kafka-not-authorised`) when this user may not read users and rules.

    Asked for first because librdkafka (2.16.1) does not report that refusal: it gives no rules at all, and for users it
    frees memory that is not its own, which ends the whole process.
    """
    asked = admin.describe_cluster(include_authorized_operations=True, request_timeout=REQUEST_SECONDS)
    allowed: list[AclOperation] = (await answers("Reading access", {"cluster": asked}))["cluster"].authorized_operations
    if not {AclOperation.DESCRIBE, AclOperation.ALL} & set(allowed or ()):
        raise Refused("kafka-not-authorised", "This user may not read users and access rules: use an administrator.")


async def apply_access(connection: Connection, plan: AccessPlan, passwords: Mapping[str, SecretStr]) -> None:
    """Withdraw and allow what the plan says, then set the password of every user in `passwords`.

    Rules come before users, refusals before permissions: nobody can log in or write a moment too early.
    Raises `Refused` (`kafka-no-password`) when a new user has no password, before anything is changed.
    """
    if missing := set(plan.users) - set(passwords):
        raise Refused("kafka-no-password", f"The new user {min(missing)} needs a password.")
    async with administering(connection) as admin:
        if plan.withdraw:
            filters = [_filter(rule) for rule in plan.withdraw]
            asked = admin.delete_acls(filters, request_timeout=REQUEST_SECONDS)
            await answers("Withdrawing a rule", asked)
        for permission in ("deny", "allow"):
            bindings = [_binding(rule) for rule in plan.allow if rule[1].permission == permission]
            if bindings:
                asked = admin.create_acls(bindings, request_timeout=REQUEST_SECONDS)
                await answers("Adding a rule", asked)
        if passwords:
            credentials = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
            asked = admin.alter_user_scram_credentials(
                [
                    UserScramCredentialUpsertion(user, credentials, password.get_secret_value().encode())
                    for user, password in sorted(passwords.items())
                ],
                request_timeout=REQUEST_SECONDS,
            )
            await answers("Setting a password", asked)


async def lock_users(connection: Connection, principals: Sequence[str]) -> None:
    """Take away every rule of these users and give them passwords that nobody knows.

    LIMIT: a connection that is open stays open until its session ends (a minute on the development broker).
    """
    plan = plan_access(map(locked, principals), await read_access(connection))
    await apply_access(connection, plan, {name: SecretStr(secrets.token_urlsafe(32)) for name in principals})


def _any_rule() -> AclBindingFilter:
    anything = cast("Any", None)  # a filter takes `None` for any name, principal and host; its types do not say so
    return AclBindingFilter(
        ResourceType.ANY,
        anything,
        ResourcePatternType.ANY,
        anything,
        anything,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )


def _parts(rule: Rule) -> tuple[ResourceType, str, ResourcePatternType, str, str, AclOperation, AclPermissionType]:
    principal, acl = rule
    return (
        _RESOURCES[acl.resource],
        acl.name,
        ResourcePatternType.PREFIXED if acl.pattern == "prefixed" else ResourcePatternType.LITERAL,
        _USER + principal,
        "*",
        _OPERATIONS[acl.operation],
        AclPermissionType.DENY if acl.permission == "deny" else AclPermissionType.ALLOW,
    )


def _binding(rule: Rule) -> AclBinding:
    return AclBinding(*_parts(rule))


def _filter(rule: Rule) -> AclBindingFilter:
    return AclBindingFilter(*_parts(rule))


def _rule(binding: AclBinding) -> Rule | None:
    resource = _RESOURCE_NAMES.get(cast("ResourceType", binding.restype))
    operation = _OPERATION_NAMES.get(cast("AclOperation", binding.operation))
    if resource is None or operation is None or binding.host != "*" or not binding.principal.startswith(_USER):
        return None
    return binding.principal.removeprefix(_USER), Acl(
        resource,
        binding.name,
        operation,
        "prefixed" if binding.resource_pattern_type == ResourcePatternType.PREFIXED else "literal",
        "deny" if binding.permission_type == AclPermissionType.DENY else "allow",
    )
