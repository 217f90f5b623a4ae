"""Folds a lane's state from its partition of `integrator.lanes`, and says what one transaction adds to it.

- Keys: `dir`; `pos|<topic>|<partition>`; `seq|<topic>|<partition>`; `cnt|<authorisation>|<version>|<reason>`.
- The latest record of a key holds; a transaction writes `dir` and the keys that it changed, nothing else.
- The log is the only copy: after an error the state in memory is thrown away and folded again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from integrator.domain.errors import Invalid
from integrator.domain.identifiers import Position
from integrator.domain.topics import receipts_topic
from integrator.encoding import RecordType, record_type
from integrator.routing.ports import OutRecord, Place, TopicIdentity

Count = tuple[str, int, str]
"""Authorisation, version, reason."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Where the lane goes on reading a partition, and of which topic of which cluster that is a position."""

    topic_id: str
    cluster: str
    position: int
    cursors: Mapping[str, int] = field(default_factory=dict[str, int])
    """Cursors of sweeps, by job."""


@dataclass(slots=True)
class LaneState:
    """What the lane has made visible so far. Owned by the lane's task."""

    directory: Position | None = None
    """The directory position that the lane has decided with; `None` before its first transaction."""
    at: int = 0
    """When the last transaction was, in milliseconds since 1970; later ones have a higher number, always."""
    positions: dict[Place, Reached] = field(default_factory=dict[Place, Reached])
    sequences: dict[Place, int] = field(default_factory=dict[Place, int])
    counts: dict[Count, int] = field(default_factory=dict[Count, int])


def written(state: LaneState, lane: int) -> set[Place]:
    """Return the partitions of agencies and of receipts that the lane has written, as its state names them."""
    sources = {topic.split(".")[1] for topic, _ in state.positions}
    return {*state.sequences, *((receipts_topic(source), lane) for source in sources)}


def fold(records: Iterable[tuple[bytes, bytes | None]]) -> LaneState:
    """Return the state that these records of one partition make, oldest first.

    Raises `Invalid` (`lane-state`) for a key or a record that this release does not know: going on without it could
    deliver twice.
    """
    latest: dict[bytes, bytes] = {}
    for key, value in records:
        if value is None:
            latest.pop(key, None)
        else:
            latest[key] = value
    state = LaneState()
    for key, value in latest.items():
        _apply(state, key, value)
    return state


def _apply(state: LaneState, key: bytes, value: bytes) -> None:
    match key.decode("utf-8", "replace").split("|"):
        case ["dir"]:
            read = _type("directory").decode(value)
            state.directory, state.at = Position(read["position"]), round(read["at"].timestamp() * 1000)
        case ["pos", topic, partition]:
            read = _type("position").decode(value)
            state.positions[topic, int(partition)] = Reached(
                read["topicId"], read["cluster"], read["position"], read["cursors"]
            )
        case ["seq", topic, partition]:
            state.sequences[topic, int(partition)] = _type("sequence").decode(value)["last"]
        case ["cnt", authorisation, version, reason]:
            state.counts[authorisation, int(version), reason] = _type("count").decode(value)["count"]
        case _:
            raise Invalid(
                "lane-state",
                "The lane's state has a record that this release does not know: run the release that wrote it.",
            )


def _type(name: str) -> RecordType:
    return record_type(f"lanes/{name}")


class Draft:
    """What one transaction changes. The state itself changes only by `settle`, after the commit."""

    def __init__(self, state: LaneState) -> None:
        self._state = state
        self._positions: dict[Place, Reached] = {}
        self._sequences: dict[Place, int] = {}
        self._counts: dict[Count, int] = {}

    def next(self, topic: str, partition: int) -> int:
        """Return the next sequence number of this topic-partition: contiguous, from 1."""
        place = topic, partition
        last = self._sequences.get(place)
        if last is None:
            last = self._state.sequences.get(place, 0)
        self._sequences[place] = last + 1
        return last + 1

    def reach(self, place: Place, position: int, identity: TopicIdentity) -> None:
        """Go on reading at `position`; cursors of sweeps stay as they are."""
        before = self._positions.get(place) or self._state.positions.get(place)
        reached = Reached(identity.id, identity.cluster, position)
        self._positions[place] = reached if before is None else replace(reached, cursors=before.cursors)

    def count(self, key: Count, number: int) -> None:
        """Count `number` more withheld records, or unidentified people."""
        before = self._counts.get(key)
        self._counts[key] = number + (self._state.counts.get(key, 0) if before is None else before)

    def records(self, directory: Position, *, engine: str, at: int) -> list[OutRecord]:
        """Return the records of `integrator.lanes` that belong to this transaction; `at` is in milliseconds."""
        out = [_record("dir", "directory", {"position": directory, "engine": engine, "at": at})]
        for (topic, partition), reached in self._positions.items():
            value = {
                "topicId": reached.topic_id,
                "cluster": reached.cluster,
                "position": reached.position,
                "cursors": dict(reached.cursors),
            }
            out.append(_record(f"pos|{topic}|{partition}", "position", value))
        for (topic, partition), last in self._sequences.items():
            out.append(_record(f"seq|{topic}|{partition}", "sequence", {"last": last}))
        for (authorisation, version, reason), count in self._counts.items():
            out.append(_record(f"cnt|{authorisation}|{version}|{reason}", "count", {"count": count}))
        return out

    def settle(self, directory: Position, *, at: int) -> None:
        """Take the changes into the state: the transaction is visible."""
        self._state.directory, self._state.at = directory, at
        self._state.positions.update(self._positions)
        self._state.sequences.update(self._sequences)
        self._state.counts.update(self._counts)


def _record(key: str, name: str, value: Mapping[str, object]) -> OutRecord:
    return OutRecord(key.encode(), _type(name).encode(value))
