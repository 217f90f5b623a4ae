"""Says which topics there must be and what has to change for it; a number of partitions never changes.

A different number would put people in other partitions than their earlier records, so it is a conflict that a person
resolves with a new generation of the topic.
"""

# pyright: reportPrivateImportUsage=false
# Reason: confluent-kafka documents these names in `confluent_kafka.admin`, but its types do not export them.

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from confluent_kafka import TopicCollection
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicDescription,
)

from integrator.domain import topics
from integrator.domain.errors import Refused, Unavailable
from integrator.kafka.admin import REQUEST_SECONDS, administering, answers
from integrator.kafka.connection import Connection

DAY_MS = 24 * 60 * 60 * 1000
TOMBSTONES_MS = 30 * DAY_MS
"""How long the directory's erasures stay readable: a machine's copy that was away longer is rebuilt."""
_UNKNOWN_TOPIC, _TOPIC_EXISTS = 3, 36
_VISIBLE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it must be; settings that `config` does not name are the cluster's."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is. `id` is Kafka's, and a topic that was deleted and made again has another."""

    id: str
    partitions: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicChange:
    """A topic whose settings differ: name → (as it is or `None`, as it must be)."""

    spec: TopicSpec
    settings: Mapping[str, tuple[str | None, str]]


@dataclass(frozen=True, slots=True)
class TopicConflict:
    """A topic with another number of partitions than it must have."""

    name: str
    have: int
    want: int


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """What has to be done; empty when everything is as it must be."""

    create: tuple[TopicSpec, ...] = ()
    alter: tuple[TopicChange, ...] = ()
    conflicts: tuple[TopicConflict, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.create or self.alter or self.conflicts)


def internal_topics(lanes: int) -> list[TopicSpec]:
    """Return the integrator's own topics for so many lanes."""
    forever = {"cleanup.policy": "delete", "retention.ms": "-1"}
    return [
        TopicSpec(topics.DIRECTORY, 1, {"cleanup.policy": "compact", "delete.retention.ms": str(TOMBSTONES_MS)}),
        # One partition more than lanes: the last is the API's.
        TopicSpec(topics.REQUESTS, lanes + 1, {"cleanup.policy": "delete", "retention.ms": str(7 * DAY_MS)}),
        # Small segments: only closed ones are compacted, and a lane reads all of its partition when it starts.
        TopicSpec(topics.LANES, lanes, {"cleanup.policy": "compact", "segment.bytes": str(1024 * 1024)}),
        TopicSpec(topics.STEPS, lanes, forever),
        # Emptied by position once sealed and backed up, not by age; a day's segment, so that what is deleted leaves the
        # disk too: the segment that is being written to stays.
        TopicSpec(topics.DISCLOSURES, lanes, forever | {"segment.ms": str(DAY_MS)}),
        TopicSpec(topics.QUARANTINE, lanes, forever),
    ]


def stream_topic(
    source: str, stream: str, *, partitions: int, state: Literal["none", "fact"], retention_ms: int
) -> TopicSpec:
    """Return the topic of a stream: the latest record of each fact is kept (`fact`), or all for a while (`none`)."""
    if state == "fact":
        config = {"cleanup.policy": "compact"}
    else:
        config = {"cleanup.policy": "delete", "retention.ms": str(retention_ms)}
    return TopicSpec(topics.source_topic(source, stream), partitions, config)


def lane_written_topic(name: str, lanes: int, *, retention_ms: int) -> TopicSpec:
    """Return a topic with a partition for each lane: receipts, error reports, an agency's deliveries."""
    return TopicSpec(name, lanes, {"cleanup.policy": "delete", "retention.ms": str(retention_ms)})


def plan_topics(want: Iterable[TopicSpec], have: Mapping[str, TopicState]) -> TopicPlan:
    """Return what has to be done so that every topic of `want` is as it must be; topics beside them are left alone."""
    create: list[TopicSpec] = []
    alter: list[TopicChange] = []
    conflicts: list[TopicConflict] = []
    for spec in sorted(want, key=lambda spec: spec.name):
        state = have.get(spec.name)
        if state is None:
            create.append(spec)
        elif state.partitions != spec.partitions:
            conflicts.append(TopicConflict(spec.name, state.partitions, spec.partitions))
        elif differing := {
            name: (state.config.get(name), value)
            for name, value in sorted(spec.config.items())
            if state.config.get(name) != value
        }:
            alter.append(TopicChange(spec, differing))
    return TopicPlan(tuple(create), tuple(alter), tuple(conflicts))


async def read_topics(connection: Connection, names: Collection[str]) -> dict[str, TopicState]:
    """Return those of `names` that exist and that this user may see."""
    if not names:
        return {}
    async with administering(connection) as admin:
        asked = admin.describe_topics(TopicCollection(list(names)), request_timeout=REQUEST_SECONDS)
        found: dict[str, TopicDescription] = await answers("Reading topics", asked, without=frozenset({_UNKNOWN_TOPIC}))
        if not found:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in found]
        asked = admin.describe_configs(resources, request_timeout=REQUEST_SECONDS)
        configs: dict[ConfigResource, dict[str, ConfigEntry]] = await answers("Reading topic settings", asked)
    settings = {
        resource.name: {name: entry.value for name, entry in entries.items() if entry.value is not None}
        for resource, entries in configs.items()
    }
    return {
        name: TopicState(str(topic.topic_id), len(topic.partitions), settings[name]) for name, topic in found.items()
    }


async def apply_topics(connection: Connection, plan: TopicPlan, *, replication: int | None = None) -> None:
    """Do what the plan says; when this returns, every topic of it can be written to.

    New topics have `replication` copies of each record; `None` takes the cluster's default.
    Raises `Refused` (`topic-partitions`) for a plan with conflicts, before anything is changed.
    """
    if plan.conflicts:
        first = plan.conflicts[0]
        raise Refused(
            "topic-partitions",
            f"Topic {first.name} has {first.have} partitions and must have {first.want}: that number never changes. "
            "Make a new generation of the topic, or put the old number back.",
        )
    async with administering(connection) as admin:
        if plan.create:
            copies = -1 if replication is None else replication  # SPEC KIP-464: -1 is the broker's default
            new = [NewTopic(spec.name, spec.partitions, copies, config=dict(spec.config)) for spec in plan.create]
            made = admin.create_topics(new, request_timeout=REQUEST_SECONDS)
            # Somebody else may make it at the same time: that it is as it must be, is looked at below.
            await answers("Making a topic", made, without=frozenset({_TOPIC_EXISTS}))
        if plan.alter:
            resources = [
                ConfigResource(
                    ResourceType.TOPIC,
                    change.spec.name,
                    incremental_configs=[
                        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                        for name, (_, value) in change.settings.items()
                    ],
                )
                for change in plan.alter
            ]
            changed = admin.incremental_alter_configs(resources, request_timeout=REQUEST_SECONDS)
            await answers("Changing a topic", changed)
    await _until_visible(connection, plan)


async def _until_visible(connection: Connection, plan: TopicPlan) -> None:
    """Wait until a new reading finds nothing left to do: the controller decides, the brokers learn of it later."""
    want = [*plan.create, *(change.spec for change in plan.alter)]
    deadline = asyncio.get_running_loop().time() + _VISIBLE_SECONDS
    while rest := plan_topics(want, await read_topics(connection, [spec.name for spec in want])):
        if rest.conflicts or asyncio.get_running_loop().time() > deadline:
            raise Unavailable("kafka-topics", "The topics are not yet as they must be; apply again.")
        await asyncio.sleep(0.05)


async def reconcile_topics(
    connection: Connection, want: Collection[TopicSpec], *, replication: int | None = None
) -> TopicPlan:
    """Make every topic of `want` as it must be and return what was done. Raises as `apply_topics` does."""
    plan = plan_topics(want, await read_topics(connection, [spec.name for spec in want]))
    if plan:
        await apply_topics(connection, plan, replication=replication)
    return plan
