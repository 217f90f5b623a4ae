"""Turns source records into deliveries and everything that goes with them, at one directory position.

The engine is one interface: the reference in this package, and faster ones that must write the same bytes.
It keeps no state between batches but caches; sequences and counts belong to the lane.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from integrator.domain.directory import DirectoryView
from integrator.routing.ports import OutRecord, SourceBatch

ENGINE = "python-1"
"""Version of the engine, written into steps, disclosures and quarantine. It changes whenever a decision could."""


class Sequences(Protocol):
    """The lane's sequence numbers within one transaction."""

    def next(self, topic: str, partition: int) -> int:
        """Return the next number of this topic-partition: contiguous, from 1."""
        ...


@dataclass(frozen=True, slots=True)
class Output:
    """What one batch became. Lists are in source order; a delivery and its disclosure have the same index."""

    deliveries: Sequence[tuple[str, OutRecord]]
    """(topic, record); the lane knows the partition: its own number modulo the topic's partitions."""
    disclosures: Sequence[bytes]
    receipts: Sequence[tuple[str, OutRecord]]
    """(receipts topic of the source, record), one per source record."""
    quarantined: Sequence[OutRecord]
    requests: Sequence[OutRecord]
    counts: Mapping[tuple[str, int, str], int]
    """By (authorisation, version, reason): how many were withheld; reason `unidentified` counts people."""


class Engine(Protocol):
    """Decides, projects and records. Pure but for `at`, the lane's clock in milliseconds, and the sequences."""

    def process(self, batch: SourceBatch, view: DirectoryView, sequences: Sequences, *, lane: int, at: int) -> Output:
        """Process one batch at the position of `view`. Never raises for what a record holds: that is quarantined."""
        ...
