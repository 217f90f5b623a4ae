"""Puts together one transaction of a lane: what goes out, what is recorded of it, and the lane's state, all or nothing.

Everything is decided with one reading of the directory. Nothing here waits, so the reading is closed before the first
await, and nothing changes the lane's state: that happens after the commit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from integrator.domain.directory import DirectoryView
from integrator.domain.identifiers import Position
from integrator.domain.topics import DISCLOSURES, LANES, QUARANTINE, REQUESTS, STEPS
from integrator.encoding import record_type
from integrator.routing.engine import ENGINE, Engine, Output
from integrator.routing.ports import Outbox, OutRecord, Place, SourceBatch, TopicIdentity
from integrator.routing.state import Draft, LaneState


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction that is ready to be written."""

    directory: Position
    at: int
    """Milliseconds since 1970; no other transaction of the lane has the same."""
    outbox: Outbox
    draft: Draft
    steps: Mapping[Place, Position]
    """Partitions whose records are decided at another directory position than before."""
    deliveries: Mapping[str, int]
    """How many deliveries, by topic."""
    records: int
    """How many source records."""


@dataclass(frozen=True, slots=True)
class Composer:
    """Makes the transactions of one opening of a lane. Its `state` and `decided` change by `settle` only."""

    lane: int
    engine: Engine
    state: LaneState
    identities: Mapping[str, TopicIdentity]
    """By topic of a source."""
    decided: dict[Place, Position] = field(default_factory=dict[Place, Position])
    """The directory position of each partition's last step since the lane opened."""

    def compose(self, batches: Sequence[SourceBatch], view: DirectoryView, *, at: int) -> Transaction:
        """Decide `batches` with `view`; without batches it is the acknowledgement of a directory position.

        Every record goes to partition `lane` of its topic: each topic that lanes write has one for every lane.
        """
        at = max(at, self.state.at + 1)
        draft = Draft(self.state)
        out: defaultdict[Place, list[OutRecord]] = defaultdict(list)
        steps: dict[Place, Position] = {}
        deliveries: defaultdict[str, int] = defaultdict(int)
        for batch in batches:
            place = batch.topic, batch.partition
            if self.decided.get(place) != view.position:
                steps[place] = view.position
                out[STEPS, self.lane].append(_step(batch, view.position, at=at))
            output = self.engine.process(batch, view, draft, lane=self.lane, at=at)
            _collect(output, out, deliveries, lane=self.lane)
            for key, number in output.counts.items():
                draft.count(key, number)
            draft.reach(place, batch.next_position, self.identities[batch.topic])
        out[LANES, self.lane] = draft.records(view.position, engine=ENGINE, at=at)
        return Transaction(
            directory=view.position,
            at=at,
            outbox=dict(out),
            draft=draft,
            steps=steps,
            deliveries=dict(deliveries),
            records=sum(len(batch.records) for batch in batches),
        )

    def settle(self, transaction: Transaction) -> None:
        """Take a transaction that is visible into the lane's state."""
        transaction.draft.settle(transaction.directory, at=transaction.at)
        self.decided.update(transaction.steps)


def _collect(
    output: Output, out: defaultdict[Place, list[OutRecord]], deliveries: defaultdict[str, int], *, lane: int
) -> None:
    if len(output.deliveries) != len(output.disclosures):
        raise AssertionError("every delivery has one disclosure record")
    for topic, record in output.deliveries:
        out[topic, lane].append(record)
        deliveries[topic] += 1
    for topic, record in output.receipts:
        out[topic, lane].append(record)
    for topic, values in (
        (DISCLOSURES, [OutRecord(None, value) for value in output.disclosures]),
        (QUARANTINE, output.quarantined),
        (REQUESTS, output.requests),
    ):
        if values:
            out[topic, lane].extend(values)


def _step(batch: SourceBatch, position: Position, *, at: int) -> OutRecord:
    value = {
        "topic": batch.topic,
        "partition": batch.partition,
        "from": batch.records[0].position,
        "directoryPosition": position,
        "engine": ENGINE,
        "at": at,
    }
    return OutRecord(f"{batch.stream}|{batch.partition}".encode(), record_type("lanes/step").encode(value))
