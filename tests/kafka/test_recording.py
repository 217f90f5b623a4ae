"""Holds that the ledger has exactly the committed records of a real log, through aborted transactions and kills."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

# The samples of the unit tier are found beside this one; the child of the last test has no pytest to do it.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit" / "recording"))

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from pydantic import SecretStr

from integrator.domain.errors import IntegratorError, Refused
from integrator.kafka.connection import Connection, start, stop
from integrator.kafka.disclosures import KafkaDisclosureSource
from integrator.kafka.topics import TopicSpec, reconcile_topics
from integrator.recording.disclosures import DisclosureRecorder
from integrator.recording.sequencer import Sequencer
from integrator_audit import LedgerReader, LedgerWriter, Vault, read_part
from tests.unit.recording import recording_samples as world

pytestmark = pytest.mark.kafka

LOG = "s0-2026h2"


@asynccontextmanager
async def transactions(admin: Connection, name: str) -> AsyncIterator[Any]:
    """A lane's producer, whose records come with markers of transactions between them."""
    producer: Any = AIOKafkaProducer(**admin.aiokafka(), transactional_id=f"test.{name}", transaction_timeout_ms=60_000)
    await start(producer, admin)
    try:
        yield producer
    finally:
        await stop(producer)


async def write(
    producer: Any, topic: str, sequences: Sequence[int], *, partition: int = 0, commit: bool = True
) -> None:
    await producer.begin_transaction()
    futures = [
        await producer.send(topic, world.disclosure(number), partition=partition, timestamp_ms=1_795_520_805_123)
        for number in sequences
    ]
    await asyncio.gather(*futures)
    await (producer.commit_transaction() if commit else producer.abort_transaction())


@pytest.fixture
async def topic(admin: Connection, name: str) -> str:
    await reconcile_topics(admin, [TopicSpec(f"{name}.disclosures", 2, {"cleanup.policy": "delete"})])
    return f"{name}.disclosures"


async def fill(admin: Connection, topic: str, ledger: LedgerWriter, *, entries: int) -> KafkaDisclosureSource:
    """Record until the ledger has so many entries and the log has nothing more, then stop."""
    halt = asyncio.Event()
    source = KafkaDisclosureSource(admin, [topic])
    sequencer = Sequencer(LOG, source, ledger, DisclosureRecorder(), world.StillDirectory(world.knowledge()))
    running = asyncio.create_task(sequencer.run(halt))
    complete = asyncio.create_task(
        world.until(lambda: ledger.size >= entries and not sequencer.progress.behind and bool(ledger.positions()))
    )
    await asyncio.wait({running, complete}, return_when=asyncio.FIRST_COMPLETED)
    halt.set()
    await running
    await complete
    return source


def sequences(root: Path) -> Counter[int]:
    """How often each delivery has an entry: three each, one for each of its people."""
    vault = Vault.read_only(root / "persons.sqlite", world.GENERATION)
    reader = LedgerReader.open(root / f"{LOG}.sqlite", vault=vault)
    found: Counter[int] = Counter()
    before: int | None = None
    while indices := reader.indices(before=before, limit=1000):
        for index in indices:
            opened: Any = reader.opening(index, "D")["D"]
            found[int(str(read_part(base64.b64decode(opened["bytes"]))["sequence"]))] += 1
        before = indices[-1]
    reader.close()
    vault.close()
    return found


async def test_only_committed_records_are_entries_and_each_once_over_restarts(
    admin: Connection, name: str, topic: str, tmp_path: Path
) -> None:
    async with transactions(admin, name) as producer:
        await write(producer, topic, [1, 2, 3])
        await write(producer, topic, [90, 91], commit=False)
        await write(producer, topic, [4], partition=1)
        with world.ledger_at(tmp_path) as ledger:
            await fill(admin, topic, ledger, entries=4 * 3)
        await write(producer, topic, [92], commit=False)
        await write(producer, topic, [5, 6], partition=1)
        with world.ledger_at(tmp_path) as ledger:
            await fill(admin, topic, ledger, entries=6 * 3)
            assert ledger.size == 6 * 3
    assert sequences(tmp_path) == Counter(dict.fromkeys(range(1, 7), 3))


async def test_positions_pass_the_marks_of_transactions_so_an_emptied_topic_is_read_to_its_end(
    admin: Connection, name: str, topic: str, tmp_path: Path
) -> None:
    async with transactions(admin, name) as producer:
        await write(producer, topic, [1, 2])
        with world.ledger_at(tmp_path) as ledger:
            await fill(admin, topic, ledger, entries=6)
            # Two records and the mark of their commit.
            assert ledger.positions()[topic, 0] == 3
        await empty(admin, topic, before=3)
        await write(producer, topic, [3])
    with world.ledger_at(tmp_path) as ledger:
        await fill(admin, topic, ledger, entries=9)
    assert sequences(tmp_path) == Counter({1: 3, 2: 3, 3: 3})


async def empty(admin: Connection, topic: str, *, before: int) -> None:
    client: Any = AIOKafkaAdminClient(**admin.aiokafka())
    await start(client, admin)
    try:
        await client.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=before)})
    finally:
        await stop(client)


async def test_records_that_were_removed_before_they_were_entered_stop_the_ledger(
    admin: Connection, name: str, topic: str, tmp_path: Path
) -> None:
    async with transactions(admin, name) as producer:
        await write(producer, topic, [1])
        with world.ledger_at(tmp_path) as ledger:
            await fill(admin, topic, ledger, entries=3)
        await write(producer, topic, [2, 3])
        await empty(admin, topic, before=4)
    with world.ledger_at(tmp_path) as ledger, pytest.raises(Refused) as caught:
        await fill(admin, topic, ledger, entries=9)
    assert caught.value.code == "position-gone"


async def test_a_position_beyond_the_end_is_another_cluster_and_stops_the_ledger(
    admin: Connection, topic: str, tmp_path: Path
) -> None:
    with world.ledger_at(tmp_path) as ledger:
        ledger.append([], positions={(topic, 0): 5})
        with pytest.raises(Refused) as caught:
            await fill(admin, topic, ledger, entries=0)
    assert caught.value.code == "position-beyond-end"


async def test_a_topic_that_does_not_exist_is_said_at_once(admin: Connection, name: str, tmp_path: Path) -> None:
    with world.ledger_at(tmp_path) as ledger, pytest.raises(Refused) as caught:
        await fill(admin, f"{name}.nothing", ledger, entries=0)
    assert caught.value.code == "kafka-no-topic"


async def test_a_wrong_password_is_said_at_once(admin: Connection, topic: str, tmp_path: Path) -> None:
    stranger = Connection(admin.bootstrap, admin.username, SecretStr("another"))
    with world.ledger_at(tmp_path) as ledger, pytest.raises(IntegratorError) as caught:
        await fill(stranger, topic, ledger, entries=0)
    assert caught.value.code == "kafka-wrong-password"


async def test_a_ledger_that_is_killed_again_and_again_has_every_delivery_once(
    admin: Connection, name: str, topic: str, tmp_path: Path
) -> None:
    total = 600
    settings = {
        "bootstrap": admin.bootstrap,
        "username": admin.username,
        "password": admin.password.get_secret_value(),
        "topic": topic,
        "root": str(tmp_path),
    }
    with world.ledger_at(tmp_path):
        pass
    async with transactions(admin, name) as producer:
        for number in range(1, total + 1, 10):
            await write(producer, topic, range(number, number + 10), partition=number // 10 % 2)
    reader = LedgerReader.open(tmp_path / f"{LOG}.sqlite")
    kills = 0
    for goal in (1, 400, 900, 1500):
        child = await asyncio.create_subprocess_exec(
            sys.executable, __file__, stdin=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": ""}
        )
        assert child.stdin is not None
        child.stdin.write(json.dumps(settings).encode() + b"\n")
        await child.stdin.drain()
        await world.until(lambda goal=goal: reader.size >= goal)
        child.send_signal(signal.SIGKILL)
        await child.wait()
        kills += reader.size < total * 3
    reader.close()
    assert kills > 1, "the kills came too late to prove anything"
    with world.ledger_at(tmp_path) as ledger:
        await fill(admin, topic, ledger, entries=total * 3)
    assert sequences(tmp_path) == Counter(dict.fromkeys(range(1, total + 1), 3))


async def _child(settings: dict[str, str]) -> None:
    """Record until killed, in batches so small that a kill falls between them."""
    from integrator.recording import sequencer

    sequencer.BATCH = 7  # type: ignore[misc]
    connection = Connection(settings["bootstrap"], settings["username"], SecretStr(settings["password"]))
    with world.ledger_at(Path(settings["root"])) as ledger:
        source = KafkaDisclosureSource(connection, [settings["topic"]])
        directory = world.StillDirectory(world.knowledge())
        await Sequencer(LOG, source, ledger, DisclosureRecorder(), directory).run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(_child(json.loads(sys.stdin.readline())))
