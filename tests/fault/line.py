"""A small line to try lanes on: two streams, an engine whose every decision can be replayed, a directory in a file.

The engine permits or withholds by the source position and the directory position alone, so that the judge
(`tests.fault.judge`) knows for each source record what must have become of it, whoever decided it and when.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from integrator.domain.contract import Contract
from integrator.domain.directory import Knowledge, StandingInscription
from integrator.domain.identifiers import Position, Pseudonym
from integrator.routing.engine import Output, Sequences
from integrator.routing.ports import OutRecord, SourceBatch

SOURCE = "mill"
STREAMS = ("mill/grain", "mill/flour")
AGENCY_TOPICS = ("agency.bakery.bread.mill.both", "agency.brewery.beer.mill.both")
PARTITIONS = 8
LANES = 4
ZONE = "Europe/Amsterdam"
REASON = "not-inscribed"


def permits(agency: int, *, source: int, directory: int) -> bool:
    """Tell whether agency number `agency` receives the record at `source`, decided at `directory`."""
    return (source + directory + agency) % 4 != 0


@dataclass(frozen=True, slots=True)
class CopyEngine:
    """Delivers copies. Every fact that the judge needs is in the disclosure record."""

    def process(self, batch: SourceBatch, view: LineView, sequences: Sequences, *, lane: int, at: int) -> Output:
        """Copy each record to the agencies that may have it."""
        deliveries: list[tuple[str, OutRecord]] = []
        disclosures: list[bytes] = []
        counts: dict[tuple[str, int, str], int] = {}
        for record in batch.records:
            if record.value == b"poison":
                raise RuntimeError("an engine's bug")
            for agency, topic in enumerate(AGENCY_TOPICS):
                if not permits(agency, source=record.position, directory=view.position):
                    key = (f"agency-{agency}", 1, REASON)
                    counts[key] = counts.get(key, 0) + 1
                    continue
                sequence = sequences.next(topic, lane)
                fact = {
                    "topic": topic,
                    "lane": lane,
                    "sequence": sequence,
                    "source": batch.topic,
                    "partition": batch.partition,
                    "position": record.position,
                    "directory": view.position,
                    "value": (record.value or b"").decode(),
                }
                encoded = json.dumps(fact).encode()
                deliveries.append((topic, OutRecord(record.key, encoded, (("ce_sequence", b"%020d" % sequence),))))
                disclosures.append(encoded)
        return Output(deliveries, disclosures, [], [], [], counts)


@dataclass(frozen=True, slots=True)
class LineView:
    """A reading of the directory in the file."""

    position: Position
    knowledge: Knowledge

    def inscriptions(self, people: Sequence[Pseudonym]) -> list[tuple[StandingInscription, ...]]:
        """Nobody is inscribed."""
        return [() for _ in people]


def knowledge(streams: Sequence[str] = STREAMS, *, version: int = 1, today: date = date(9999, 1, 1)) -> Knowledge:
    """Return the knowledge of a directory with these streams."""
    contracts = {
        stream: Contract.model_construct(stream=stream, partitions=PARTITIONS, time_zone=ZONE) for stream in streams
    }
    return Knowledge(version=version, contracts=contracts, dates={ZONE: today})


class FileDirectory:
    """A copy of the directory that is one number in a file, as far as a test has let it come."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._knowledge = knowledge()

    def set(self, position: int) -> None:
        """Let the copy come to `position`, in one step for every reader."""
        draft = self.path.with_suffix(".draft")
        draft.write_text(str(position))
        draft.replace(self.path)

    def position(self) -> Position:
        """Return where the copy is."""
        return Position(int(self.path.read_text()))

    @contextmanager
    def read(self) -> Generator[LineView]:
        """Open one reading."""
        yield LineView(self.position(), self._knowledge)

    async def wait_for(self, position: Position) -> None:
        """Return when the copy is at or past `position`."""
        while self.position() < position:  # noqa: ASYNC110  another process writes the file
            await asyncio.sleep(0.01)
