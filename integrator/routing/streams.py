"""Says which partitions of which streams a lane reads, and whether a recorded position still means the same place.

Lane *i* of L owns every partition *p* with *p* mod L = *i* of every stream that has a contract.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from integrator.domain.directory import Knowledge
from integrator.domain.identifiers import split_stream
from integrator.domain.topics import source_topic
from integrator.routing.ports import Place, StreamFailure, TopicIdentity
from integrator.routing.state import Reached


@dataclass(frozen=True, slots=True)
class LanePart:
    """A lane's part of one stream."""

    stream: str
    topic: str
    partitions: int
    """How many the topic has."""
    mine: tuple[int, ...]


def parts_of(knowledge: Knowledge, *, lane: int, lanes: int) -> dict[str, LanePart]:
    """Return the lane's part of each stream, by topic; streams of which it has no partition are left out."""
    parts: dict[str, LanePart] = {}
    for stream, contract in sorted(knowledge.contracts.items()):
        topic = source_topic(*split_stream(stream))
        if mine := tuple(range(lane, contract.partitions, lanes)):
            parts[topic] = LanePart(stream, topic, contract.partitions, mine)
    return parts


def start_positions(
    part: LanePart, identity: TopicIdentity | None, reached: Mapping[Place, Reached]
) -> dict[Place, int | None]:
    """Return where the lane goes on in each of its partitions; `None` is the earliest record that there is.

    Raises `StreamFailure` (`topic-missing`, `topic-partitions`, `topic-replaced`).
    """
    if identity is None:
        raise StreamFailure(
            "topic-missing",
            f"There is no topic {part.topic}, or the lanes' user may not see it: `integrator topics apply`.",
            topic=part.topic,
        )
    if identity.partitions != part.partitions:
        raise StreamFailure(
            "topic-partitions",
            f"Topic {part.topic} has {identity.partitions} partitions, its contract says {part.partitions}: "
            "that number never changes.",
            topic=part.topic,
        )
    positions: dict[Place, int | None] = {}
    for partition in part.mine:
        place = part.topic, partition
        known = reached.get(place)
        if known is not None and (known.topic_id, known.cluster) != (identity.id, identity.cluster):
            raise StreamFailure(
                "topic-replaced",
                f"Topic {part.topic} is not the one that this lane read before (it was made again, or the cluster was "
                "restored): declare it as a new generation.",
                topic=part.topic,
            )
        positions[place] = None if known is None else known.position
    return positions
