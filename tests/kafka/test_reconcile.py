"""Shows what becomes of a malformed disclosure record: it is set aside, and the agency finds its delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from integrator.domain import topics
from integrator.kafka import access
from integrator.kafka.connection import Connection, start, stop
from integrator.kafka.disclosures import KafkaDisclosureSource
from integrator.kafka.topics import TopicSpec, reconcile_topics
from integrator.recording import sealing
from integrator.recording.logs import LedgerFiles
from integrator.recording.process import LedgerProcess
from integrator.recording.readers import Readers
from integrator.recording.sealed import Histories, Range
from integrator.recording.sequencer import DisclosureSource, Share
from integrator.sdk.completeness import Trusted, judge_account, read_days
from integrator.sdk.received import read_topics
from integrator_audit import LedgerReader, Verifier
from integrator_audit.halfyear import DAY_MS, day_of
from integrator_audit.sources import DirectorySource
from tests.kafka.conftest import Login
from tests.unit.recording import recording_samples as world
from tests.unit.recording.test_recording_process import KEYS, NAMING
from tests.unit.recording.test_recording_sealing import Accounts, Service, entries
from tests.unit.recording.test_recording_series import Moving

pytestmark = pytest.mark.kafka

AGENCY, PURPOSE = "groeifonds", "startbedrag"
TOPIC = topics.agency_topic(AGENCY, PURPOSE, "brp", "person")


def headers(sequence: int) -> list[tuple[str, bytes]]:
    told = {
        "ce_id": "0b3f0a6e-5f3c-8a5e-9d0a-8b8f6f3f6a01",
        "ce_source": "urn:nld:oin:1:systeem:brp",
        "ce_time": "2026-11-24T11:46:45Z",
        "ce_kind": "created",
        "ce_sequence": f"{sequence:020}",
        "ce_lane": "2",
        "ce_authorisation": "s3-groeifonds/1",
        "ce_purpose": f"{PURPOSE}/1",
    }
    return [(name, value.encode()) for name, value in told.items()]


async def deliver(admin: Connection, disclosures: str, sequences: Sequence[int], *, malformed: int) -> None:
    """Deliver as a lane does, each delivery and its disclosure record in one transaction."""
    producer: Any = AIOKafkaProducer(**admin.aiokafka(), transactional_id=f"test.{disclosures}")
    await start(producer, admin)
    for one in sequences:
        await producer.begin_transaction()
        disclosure = b"\xc3\x01 cut" if one == malformed else world.disclosure(one)
        # `recording_samples` has SHA-256 of these digits as the delivered value's.
        value = b"%d" % one
        sent = [
            await producer.send(TOPIC, value, partition=2, headers=headers(one), timestamp_ms=world.AT_MS),
            await producer.send(disclosures, disclosure, partition=0, timestamp_ms=world.AT_MS),
        ]
        await asyncio.gather(*sent)
        await producer.commit_transaction()
    await stop(producer)


async def test_the_delivery_of_a_malformed_record_is_set_aside_and_the_agency_finds_it(
    admin: Connection, name: str, login: Login, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealing, "LOOK", 0.02)
    disclosures = f"{name}.disclosures"
    deleted = {"cleanup.policy": "delete"}
    await reconcile_topics(admin, [TopicSpec(TOPIC, 4, deleted), TopicSpec(disclosures, 1, deleted)])
    agency = await login(access.agency_access(AGENCY, PURPOSE))
    await deliver(admin, disclosures, [1, 2, 3, 4], malformed=3)

    def source(wanted: Sequence[str], _: Share) -> DisclosureSource:
        if topics.DISCLOSURES in wanted:
            return KafkaDisclosureSource(admin, [disclosures])
        return world.JudgingSource([])

    root, clock, stopping = tmp_path / "ledger", Moving(), asyncio.Event()
    process = LedgerProcess(
        LedgerFiles(root),
        naming=NAMING,
        keys=KEYS,
        directories=world.StillDirectory(world.knowledge(), at=100),
        source=source,
        labels=(Service(), Accounts()),
        clock=clock,
    )
    running = asyncio.create_task(process.run(stopping))
    today = day_of(clock.now)
    await world.until(lambda: running.done() or (root.is_dir() and entries(root) == 3 * 3))
    # The malformed record stopped nothing; its place and reason are kept.
    assert [one.reason for one in set_asides(root)] == ["record-type"]
    clock.now += DAY_MS
    checkpoint = root / "public" / "epochs" / "checkpoint"
    await world.until(lambda: checkpoint.is_file() and int(checkpoint.read_text().splitlines()[1]) == today + 1)
    stopping.set()
    await running

    books = await read_topics(agency, topics.agency_prefix(AGENCY, PURPOSE))
    assert books.since is None
    files = LedgerFiles(root)
    readers = Readers(files, generation_key=world.GENERATION)
    shown = Histories(files, readers, Service(), key=world.LEDGER_KEY, account_secret=Accounts().secret)
    keys = [Verifier.from_text(path.read_text().strip()) for path in root.glob("*.vkey")]
    trusted = Trusted({key.name: key for key in keys}, now=clock.now / 1000)
    account = tmp_path / "account.jsonl.gz"
    account.write_bytes(b"".join(shown.account(AGENCY, Range())))
    found = judge_account(
        account,
        read_days(DirectorySource(root / "public" / "epochs"), trusted),
        trusted,
        secret=Accounts().secret(AGENCY),
        received=books.received,
    )
    readers.close()
    assert found.received == 4
    assert [(one.code, one.where) for one in found.findings] == [
        ("not-logged", f"{TOPIC}, partition 2, lane 2, number 3")
    ]


def set_asides(root: Path) -> list[Any]:
    reader = LedgerReader.open(root / "s0-2026h2.sqlite")
    try:
        return reader.set_asides()
    finally:
        reader.close()
