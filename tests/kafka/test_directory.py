"""Holds that the directory's order, its one writer and its copies keep their promises on the real event log."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from integrator.directory.documents import Stated
from integrator.directory.feeder import Feeder
from integrator.directory.manifests import load
from integrator.directory.store import Store
from integrator.directory.view import Directory
from integrator.directory.writer import DirectoryWriter
from integrator.domain.errors import IntegratorError, Refused
from integrator.domain.identifiers import Position, Pseudonym
from integrator.encoding import record_type
from integrator.kafka import access
from integrator.kafka import connection as connections
from integrator.kafka.access import AccessSpec, Acl
from integrator.kafka.connection import Connection
from integrator.kafka.directory import KafkaDirectoryLog, KafkaDirectoryTopic, KafkaRequests
from integrator.kafka.topics import TopicSpec, reconcile_topics

pytestmark = pytest.mark.kafka

REPOSITORY = Path(__file__).parents[2]
Login = Callable[[AccessSpec], Awaitable[Connection]]
PERSON = "ab" * 32


@pytest.fixture(autouse=True)
def _collect() -> Iterator[None]:
    """Let the futures that a fenced aiokafka leaves behind complain here.

    Collected while something is being compiled, their complaint would compile a line to print it, and Python 3.11
    ends such a thing within another with a `SystemError`.
    """
    yield
    gc.collect()


@dataclass
class World:
    """One directory of this test's own: topics, users and this machine's copy."""

    name: str
    writing: Connection
    feeding: Connection
    folder: Path
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def topic(self) -> str:
        return f"{self.name}.directory"

    @property
    def requests(self) -> str:
        return f"{self.name}.requests"

    def log(self) -> KafkaDirectoryLog:
        return KafkaDirectoryLog(
            self.writing, topic=self.topic, requests=self.requests, transactional_id=f"{self.name}.directory"
        )

    def writer(self, directory: Directory) -> DirectoryWriter:
        requests = KafkaRequests(self.writing, topic=self.requests)
        return DirectoryWriter(self.log(), directory, requests, clock=lambda: self.now, key=b"k" * 32)

    @asynccontextmanager
    async def copy(self) -> AsyncIterator[Directory]:
        """Feed a copy while the context lasts."""
        store = Store.create(self.folder)
        topic = KafkaDirectoryTopic(self.feeding, topic=self.topic)
        feeding = asyncio.create_task(Feeder(topic, store).run())
        try:
            yield Directory(store)
        finally:
            feeding.cancel()
            await asyncio.wait([feeding])
            await topic.close()
            store.close()
            if not feeding.cancelled() and (error := feeding.exception()) is not None:
                raise error


@pytest.fixture
async def world(admin: Connection, login: Login, name: str, tmp_path: Path) -> World:
    found = World(name, admin, admin, tmp_path / "directory")
    specs = [TopicSpec(found.topic, 1, {"cleanup.policy": "compact"}), TopicSpec(found.requests, 2)]
    await reconcile_topics(admin, specs)
    writes = access.directory_access()
    found.writing = await login(
        AccessSpec(
            f"{name}-writer",
            frozenset(
                {
                    *(acl for acl in writes.acls if acl.resource == "group"),
                    Acl("topic", found.topic, "read"),
                    Acl("topic", found.topic, "write"),
                    Acl("topic", found.requests, "read"),
                    Acl("transactional-id", f"{name}.directory", "write"),
                }
            ),
        )
    )
    found.feeding = await login(AccessSpec(f"{name}-feeder", frozenset({Acl("topic", found.topic, "read")})))
    return found


@pytest.fixture(scope="module")
def demo() -> list[Stated]:
    loaded = load([REPOSITORY / "schemas", REPOSITORY / "integrator/demo/manifests"])
    assert not loaded.problems
    return list(loaded.documents)


async def eventually(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  what it looks at is on disk
            await asyncio.sleep(0.02)


async def test_what_is_applied_stands_in_the_copy_and_a_new_copy_says_the_same(
    world: World, demo: list[Stated]
) -> None:
    async with world.copy() as directory:
        writer = world.writer(directory)
        await writer.start()
        applied = await writer.apply(demo)
        await asyncio.wait_for(directory.wait_for(applied.position), 10)
        with directory.read() as view:
            first = view.knowledge
        assert all(each.active for found in first.standing.values() for each in found)
        await writer.close()
    world.folder = world.folder.with_name("another")
    async with world.copy() as directory:
        await asyncio.wait_for(directory.wait_for(applied.position), 10)
        with directory.read() as view:
            assert view.knowledge == first


async def test_a_second_writer_fences_the_first_which_then_stops(world: World, demo: list[Stated]) -> None:
    async with world.copy() as directory:
        first, second = world.writer(directory), world.writer(directory)
        await first.start()
        await second.start()
        with pytest.raises(Refused) as caught:
            await first.apply(demo)
        assert caught.value.code == "kafka-fenced"
        await second.apply(demo)
        with pytest.raises(Refused):
            await first.plan(demo)
        await first.close()
        await second.close()


async def test_a_transaction_that_a_writer_left_open_is_never_seen(world: World, demo: list[Stated]) -> None:
    dead: Any = AIOKafkaProducer(**world.writing.aiokafka(), transactional_id=f"{world.name}.directory")
    await connections.start(dead, world.writing)
    await dead.begin_transaction()
    await (await dead.send(world.topic, key=b"source|half|0000000001", value=b"half", partition=0))
    async with world.copy() as directory:
        writer = world.writer(directory)
        await writer.start()
        applied = await writer.apply(demo)
        await asyncio.wait_for(directory.wait_for(applied.position), 10)
        with directory.read() as view:
            assert "half" not in view.knowledge.sources
        await writer.close()
    await connections.stop(dead)


async def test_leftovers_without_a_mark_are_closed_before_anything_is_committed(world: World) -> None:
    # What a lost mark looks like to a starting writer: written, not committed, and nobody's transaction any more.
    other: Any = AIOKafkaProducer(**world.writing.aiokafka(), transactional_id=f"{world.name}.directory")
    await connections.start(other, world.writing)
    log = world.log()
    seen: list[tuple[int, int]] = []
    ends = log._ends

    async def with_leftovers() -> tuple[int, int]:
        committed, written = await ends()
        seen.append((committed, written))
        return (committed, written + 1) if len(seen) == 1 else (committed, written)

    log._ends = with_leftovers  # type: ignore[method-assign]
    end = await log.start()
    assert len(seen) == 2
    assert end == seen[1][0] == seen[1][1] > seen[0][0]
    await log.close()
    await connections.stop(other)


async def test_requests_of_lanes_become_inscriptions_once_also_after_a_restart(world: World, admin: Connection) -> None:
    body = {
        "agency": "groeifonds",
        "person": PERSON,
        "capacity": "child",
        "phase": "definitive",
        "start": date(2026, 3, 4),
        "authorisation": "s3",
        "version": 1,
        "directoryPosition": 0,
    }
    value = record_type("integrator/request").encode(
        {"at": datetime(2026, 3, 4, tzinfo=UTC), "body": ("integrator.routing.Inscribe", body)}
    )
    lane: Any = AIOKafkaProducer(**admin.aiokafka())
    await connections.start(lane, admin)
    person = Pseudonym(bytes.fromhex(PERSON))

    def lines(directory: Directory) -> list[Any]:
        with directory.read() as view:
            return [*view.lines([person])[0]]

    async with world.copy() as directory:
        for partition in (0, 1):
            await lane.send_and_wait(world.requests, value, partition=partition)
            writer = world.writer(directory)
            await writer.start()
            running = asyncio.create_task(writer.run())
            await eventually(lambda: lines(directory))
            await lane.send_and_wait(world.requests, value, partition=partition)
            await asyncio.sleep(0.3)
            running.cancel()
            await asyncio.wait([running])
            await writer.close()
            assert [line.version for line in lines(directory)] == [1]
    await connections.stop(lane)


async def test_a_copy_beyond_the_end_of_the_topic_is_refused(world: World) -> None:
    topic = KafkaDirectoryTopic(world.feeding, topic=world.topic)
    incarnation = await topic.incarnation()
    store = Store.create(world.folder)
    store.begin_anew(incarnation)
    store.apply([], Position(1_000))
    with pytest.raises(Refused) as caught:
        await Feeder(topic, store).start()
    assert caught.value.code == "directory-beyond-end"
    await topic.close()
    store.close()


async def test_a_copy_of_another_topic_is_made_anew(world: World, demo: list[Stated]) -> None:
    async with world.copy() as directory:
        writer = world.writer(directory)
        await writer.start()
        applied = await writer.apply(demo)
        await asyncio.wait_for(directory.wait_for(applied.position), 10)
        await writer.close()
    store = Store.create(world.folder)
    other = KafkaDirectoryTopic(world.writing, topic=world.requests)
    await Feeder(other, store).start()
    with store.snapshot() as snapshot:
        assert snapshot.applied == 0
        assert snapshot.knowledge_offsets() == []
    await other.close()
    store.close()


async def test_the_feeder_may_not_write(world: World) -> None:
    log = KafkaDirectoryLog(world.feeding, topic=world.topic, transactional_id=f"{world.name}.directory")
    with pytest.raises(IntegratorError) as caught:
        await log.start()
    assert caught.value.code == "kafka-not-authorised"
