"""Measures one line after the other, in rounds, with everything of the installation running."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal

from benchmarks.lanes import LaneFollower
from benchmarks.machine import cpu_seconds
from benchmarks.records import Published, Publisher, make
from benchmarks.stage import COPY_TOPIC, ONE, TWO, Stage
from integrator.domain.errors import Unavailable
from integrator.domain.identifiers import split_stream
from integrator.domain.topics import agency_topic, source_topic
from integrator.operation.processes import readers_of
from integrator.sdk.owner import Record, Stream

Line = Literal["copy", "one", "two"]
LINES: Final[tuple[Line, ...]] = ("copy", "one", "two")
_PURPOSE: Final = "measuring"
_RECIPIENTS: Final[dict[str, tuple[str, ...]]] = {ONE: ("first",), TWO: ("first", "second")}


@dataclass(frozen=True, slots=True)
class Figure:
    """One line measured once. CPU times are in seconds, of the time that the line took and not before or after it."""

    line: Line
    events: int
    seconds: float
    cpu: float
    """Of the worker, or of the process that copies."""
    broker_cpu: float
    ledger_cpu: float


@dataclass(frozen=True, slots=True)
class LedgerFigure:
    """The ledger over all measured rounds; it works all that time, and need not have come to the end."""

    entries: int
    seconds: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that was measured."""

    figures: tuple[Figure, ...]
    ledger: LedgerFigure
    record_bytes: float
    """Of the values, on average."""
    delivered: int
    """In all, warming up included; each was checked to be there once."""


class Bench:
    """Measures on one stage."""

    def __init__(self, stage: Stage, publisher: Publisher, follower: LaneFollower, copier: Copier) -> None:
        self._stage, self._publisher, self._follower, self._copier = stage, publisher, follower, copier
        self._records: dict[str, list[Record]] = {}
        self._published: Published | None = None

    async def prepare(self, count: int) -> float:
        """Make the records; return how many bytes their values have on average."""
        for name in (ONE, TWO):
            self._records[name] = make(await Stream.read(self._stage.api, name), count)
        return sum(len(record.value) for record in self._records[ONE]) / count

    async def measure(self, line: Line) -> Figure:
        """Measure one line once. Raises `Unavailable` (`benchmark-lost`) when not every record came out once."""
        match line:
            case "one":
                return await self._lanes(line, ONE)
            case "two":
                return await self._lanes(line, TWO)
            case "copy":
                return await self._copy()

    async def _lanes(self, line: Line, stream: str) -> Figure:
        records, topics = self._records[stream], [_topic(agency, stream) for agency in _RECIPIENTS[stream]]
        before = {topic: self._follower.delivered(topic) for topic in topics}
        published = await self._publisher.write(source_topic(*split_stream(stream)), records)
        workers, watch = self._stage.pids("worker"), _Watch(self._stage)
        cpu, begun = cpu_seconds(workers), time.monotonic()
        await self._publisher.release()
        ended = await self._follower.reach(published.after)
        figure = watch.figure(line, published.records, ended - begun, cpu_seconds(workers) - cpu)
        for topic in topics:
            delivered = self._follower.delivered(topic) - before[topic]
            if delivered != published.records:
                raise Unavailable("benchmark-lost", f"{topic} has {delivered} of {published.records} records.")
        if stream == ONE:
            self._published = published
        return figure

    async def _copy(self) -> Figure:
        if self._published is None:
            raise Unavailable("benchmark-order", "Nothing has been published yet that could be copied.")
        await self._copier.stand(self._published)
        watch, cpu, begun = _Watch(self._stage), cpu_seconds([self._copier.pid]), time.monotonic()
        copied = await self._copier.run()
        seconds = time.monotonic() - begun
        if copied != self._published.records:
            raise Unavailable("benchmark-lost", f"{copied} of {self._published.records} records were copied.")
        return watch.figure("copy", copied, seconds, cpu_seconds([self._copier.pid]) - cpu)


class _Watch:
    """Looks at the CPU time of the broker and the ledger while something is measured."""

    def __init__(self, stage: Stage) -> None:
        self._broker, self._ledger = stage.broker_pids(), stage.pids("ledger")
        self._before = cpu_seconds(self._broker), cpu_seconds(self._ledger)

    def figure(self, line: Line, events: int, seconds: float, cpu: float) -> Figure:
        broker, ledger = self._before
        return Figure(
            line, events, seconds, cpu, cpu_seconds(self._broker) - broker, cpu_seconds(self._ledger) - ledger
        )


class Copier:
    """The process that copies."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("the process has no pipes")
        self._in, self._out = process.stdin, process.stdout
        self.pid = process.pid

    async def stand(self, published: Published) -> None:
        """Go to where `published` begins."""
        asked = {
            name: {str(partition): position for (_, partition), position in places.items()}
            for name, places in (("first", published.first), ("after", published.after))
        }
        await self._ask(json.dumps(asked))

    async def run(self) -> int:
        """Copy, and return how many records."""
        return int(await self._ask("go"))

    async def _ask(self, line: str) -> str:
        self._in.write(line.encode() + b"\n")
        answer = await self._out.readline()
        if not answer:
            raise Unavailable("benchmark-copy", "The process that copies has ended; what it said is above.")
        return answer.decode()


@asynccontextmanager
async def _copier(stage: Stage) -> AsyncGenerator[Copier]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.copying"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        if process.stdin is None:
            raise ValueError("the process has no pipes")
        admin = stage.admin
        settings = {
            "bootstrap": admin.bootstrap,
            "username": admin.username,
            "password": admin.password.get_secret_value(),
            "source": source_topic(*split_stream(ONE)),
            "target": COPY_TOPIC,
        }
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        yield Copier(process)
        process.stdin.close()
        async with asyncio.timeout(15):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def measure(stage: Stage, *, records: int, rounds: int, progress: Callable[[str], None]) -> Measured:
    """Measure every line once to warm up, which does not count, and then `rounds` times, each time in another order.

    `progress` hears of each step before it is taken: 3 for preparing, then one for each line of each round.
    """
    figures: list[Figure] = []
    async with (
        Publisher(stage.admin) as publisher,
        LaneFollower(stage.admin) as follower,
        _copier(stage) as copier,
    ):
        bench = Bench(stage, publisher, follower, copier)
        progress("making records")
        size = await bench.prepare(records)
        progress("waiting for the lanes")
        await follower.open()
        for line in ("one", "copy", "two"):
            progress(f"warming up: {line}")
            await bench.measure(line)
        watch, begun, cpu = stage.pids("ledger"), time.monotonic(), 0.0
        cpu, entries = cpu_seconds(watch), _entries(stage)
        for number in range(rounds):
            for line in _turned(LINES, number):
                progress(f"round {number + 1}: {line}")
                figures.append(await bench.measure(line))
        ledger = LedgerFigure(_entries(stage) - entries, time.monotonic() - begun, cpu_seconds(watch) - cpu)
        topics = [_topic(agency, stream) for stream, agencies in _RECIPIENTS.items() for agency in agencies]
        return Measured(tuple(figures), ledger, size, sum(map(follower.delivered, topics)))


def steps(rounds: int) -> int:
    """Return how often `progress` hears."""
    return 2 + (rounds + 1) * len(LINES)


def _turned(lines: Sequence[Line], by: int) -> list[Line]:
    return [lines[(at + by) % len(lines)] for at in range(len(lines))]


def _topic(agency: str, stream: str) -> str:
    return agency_topic(agency, _PURPOSE, *split_stream(stream))


def _entries(stage: Stage) -> int:
    readers = readers_of(stage.installation)
    try:
        return readers.latest("s0").size
    finally:
        readers.close()
