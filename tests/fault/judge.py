"""Judges a run of the line from the broker's records alone: what went in, what came out, what was written of it.

- Each source record was decided exactly once, at the directory position that `integrator.steps` says; it is delivered
  exactly once to each agency that this permits, and to nobody else.
- Order: deliveries of one source partition are in its order. Sequences are contiguous from 1, in the log's order.
- Disclosure records equal deliveries. Counts in the lane's state equal what was withheld.
- No lane ever decided with a lower directory position than before.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from integrator.domain import topics
from integrator.encoding import record_type
from integrator.kafka.connection import Connection
from integrator.routing.state import LaneState, fold
from tests.fault import line

SOURCE_TOPICS = tuple(topics.source_topic(*stream.split("/")) for stream in line.STREAMS)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Every committed record of the run, by (topic, partition), and the states of the lanes."""

    records: dict[tuple[str, int], list[Any]]
    states: dict[int, LaneState]

    def of(self, topic: str) -> list[Any]:
        """Return a topic's records, partition after partition."""
        return [record for (name, _), records in sorted(self.records.items()) if name == topic for record in records]


async def read_all(connection: Connection, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], list[Any]]:
    """Return every committed record of each of `places`."""
    consumer: Any = AIOKafkaConsumer(
        **connection.aiokafka(), isolation_level="read_committed", auto_offset_reset="none", fetch_max_wait_ms=50
    )
    await consumer.start()
    found: dict[tuple[str, int], list[Any]] = {place: [] for place in places}
    try:
        partitions = [TopicPartition(*place) for place in places]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        starts = await consumer.beginning_offsets(partitions)
        for partition in partitions:
            consumer.seek(partition, starts[partition])
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                for place, records in (await consumer.getmany(timeout_ms=50)).items():
                    found[place.topic, place.partition] += records
    finally:
        await consumer.stop()
    return found


def _places() -> list[tuple[str, int]]:
    places = [(topic, partition) for topic in SOURCE_TOPICS for partition in range(line.PARTITIONS)]
    for topic in (*line.AGENCY_TOPICS, topics.DISCLOSURES, topics.STEPS, topics.LANES):
        places += [(topic, lane) for lane in range(line.LANES)]
    return places


async def gather(connection: Connection) -> Evidence:
    """Read everything of the run."""
    records = await read_all(connection, _places())
    states = {
        lane: fold((record.key, record.value) for record in records[topics.LANES, lane]) for lane in range(line.LANES)
    }
    return Evidence(records, states)


async def until_done(connection: Connection, *, directory: int, seconds: float = 60.0) -> Evidence:
    """Return the evidence when every source record is decided and every lane is at `directory`."""
    async with asyncio.timeout(seconds):
        while True:
            evidence = await gather(connection)
            # The markers of one transaction come to stand one partition after the other: what a lane's state says may
            # be seen before all that it delivered.
            if not open_ends(evidence, directory=directory) and await _is_settled(connection):
                return await gather(connection)
            await asyncio.sleep(0.2)


async def _is_settled(connection: Connection) -> bool:
    """Say whether no partition of the run has a record of a transaction that is open."""
    partitions = [TopicPartition(*place) for place in _places()]
    ends: list[dict[TopicPartition, int]] = []
    for level in ("read_committed", "read_uncommitted"):
        consumer: Any = AIOKafkaConsumer(**connection.aiokafka(), isolation_level=level)
        await consumer.start()
        try:
            ends.append(await consumer.end_offsets(partitions))
        finally:
            await consumer.stop()
    return ends[0] == ends[1]


def open_ends(evidence: Evidence, *, directory: int) -> list[str]:
    """Return what is not yet decided or acknowledged."""
    missing: list[str] = []
    for lane, state in evidence.states.items():
        if state.directory != directory:
            missing.append(f"lane {lane} is at directory position {state.directory}")
    for topic in SOURCE_TOPICS:
        for partition in range(line.PARTITIONS):
            records = evidence.records[topic, partition]
            reached = evidence.states[partition % line.LANES].positions.get((topic, partition))
            if records and (reached is None or reached.position <= records[-1].offset):
                missing.append(f"{topic}/{partition} has more")
    return missing


def judge(evidence: Evidence) -> dict[str, int]:
    """Fail with an AssertionError unless every promise was kept; return figures of the run."""
    decided = _decided_at(evidence)
    expected: Counter[tuple[str, str, int, int, int]] = Counter()
    withheld: defaultdict[int, Counter[tuple[str, int, str]]] = defaultdict(Counter)
    for (topic, partition), records in evidence.records.items():
        if topic not in SOURCE_TOPICS:
            continue
        for record in records:
            directory = decided[topic, partition, record.offset]
            for agency, agency_topic in enumerate(line.AGENCY_TOPICS):
                if line.permits(agency, source=record.offset, directory=directory):
                    expected[agency_topic, topic, partition, record.offset, directory] += 1
                else:
                    withheld[partition % line.LANES][f"agency-{agency}", 1, line.REASON] += 1

    delivered: Counter[tuple[str, str, int, int, int]] = Counter()
    delivered_facts: Counter[bytes] = Counter()
    for agency_topic in line.AGENCY_TOPICS:
        for lane in range(line.LANES):
            facts = [json.loads(record.value) for record in evidence.records[agency_topic, lane]]
            _in_order(agency_topic, lane, facts, evidence.states[lane])
            for fact in facts:
                source = fact["source"], fact["partition"], fact["position"]
                delivered[agency_topic, *source, fact["directory"]] += 1
            delivered_facts.update(record.value for record in evidence.records[agency_topic, lane])

    _equal("deliveries", delivered, expected)
    _equal("disclosures", Counter(record.value for record in evidence.of(topics.DISCLOSURES)), delivered_facts)
    for lane, state in evidence.states.items():
        assert state.counts == dict(withheld[lane]), f"lane {lane} counted {state.counts}, withheld {withheld[lane]}"
        _never_back(lane, evidence.records[topics.LANES, lane])
    return {
        "records": len(decided),
        "deliveries": delivered.total(),
        "steps": len(evidence.of(topics.STEPS)),
    }


def _decided_at(evidence: Evidence) -> dict[tuple[str, int, int], int]:
    """Return the directory position of each source record's decision, as the steps say it."""
    steps: defaultdict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for record in evidence.of(topics.STEPS):
        step = record_type("lanes/step").decode(record.value)
        steps[step["topic"], step["partition"]].append((step["from"], step["directoryPosition"]))
    decided: dict[tuple[str, int, int], int] = {}
    for (topic, partition), records in evidence.records.items():
        if topic not in SOURCE_TOPICS:
            continue
        ahead = steps[topic, partition]
        assert ahead == sorted(ahead), f"steps of {topic}/{partition} go back"
        current, at = -1, 0
        for record in records:
            while at < len(ahead) and ahead[at][0] <= record.offset:
                current, at = ahead[at][1], at + 1
            assert current >= 0, f"no step covers {topic}/{partition} from its beginning"
            decided[topic, partition, record.offset] = current
    return decided


def _in_order(topic: str, lane: int, facts: Sequence[dict[str, Any]], state: LaneState) -> None:
    sequences = [fact["sequence"] for fact in facts]
    breaks = [(before, after) for before, after in pairwise([0, *sequences]) if after != before + 1]
    assert not breaks, f"sequences of {topic}/{lane} are not contiguous: {breaks[:5]} of {len(sequences)}"
    assert state.sequences.get((topic, lane), 0) == len(facts)
    last: dict[tuple[str, int], int] = {}
    for fact in facts:
        source = fact["source"], fact["partition"]
        assert fact["lane"] == lane == fact["partition"] % line.LANES
        assert last.get(source, -1) < fact["position"], f"{topic}/{lane} is out of order"
        last[source] = fact["position"]


def _never_back(lane: int, records: Sequence[Any]) -> None:
    positions = [
        record_type("lanes/directory").decode(record.value)["position"] for record in records if record.key == b"dir"
    ]
    assert positions == sorted(positions), f"lane {lane} decided with less than it had decided with"


def _equal(what: str, have: Counter[Any], want: Counter[Any]) -> None:
    twice_or_wrong, lost = have - want, want - have
    assert not twice_or_wrong, f"{what}: {twice_or_wrong.total()} too many, such as {list(twice_or_wrong)[:3]}"
    assert not lost, f"{what}: {lost.total()} lost, such as {list(lost)[:3]}"
