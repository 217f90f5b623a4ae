"""An auditor's question goes over a real log to the ledger, and is answered when it is an entry there."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

# The samples of the unit tier are found beside this one.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit" / "recording"))

import pytest

from integrator.domain import topics
from integrator.domain.errors import Unavailable
from integrator.domain.pseudonyms import pseudonym
from integrator.kafka import access
from integrator.kafka.connection import Connection
from integrator.kafka.disclosures import KafkaDisclosureSource
from integrator.kafka.readings import KafkaReadings
from integrator.kafka.refusals import KafkaRefusals
from integrator.kafka.topics import internal_topics, reconcile_topics
from integrator.recording import entered
from integrator.recording.entered import Entered
from integrator.recording.keeper import Terms
from integrator.recording.logs import LedgerFiles, Naming
from integrator.recording.process import Keys, LedgerProcess
from integrator.recording.readers import Readers
from integrator.recording.readings import OpenedPerson, Reading
from integrator.recording.searching import Asked, Searches
from tests.kafka.conftest import Login
from tests.unit.recording import recording_samples as world

pytestmark = pytest.mark.kafka

KNOWN = world.knowledge()
LANES = 2
"""As many as the other tests of this tier, which share its broker."""


@asynccontextmanager
async def ledger(root: Path, connection: Connection) -> AsyncIterator[None]:
    """Run the ledger's process beside the test."""
    process = LedgerProcess(
        LedgerFiles(root),
        naming=Naming("demo.integrator.example", "test"),
        keys=Keys(b"s" * 32, world.GENERATION),
        directories=world.StillDirectory(KNOWN, at=1_000_000),
        source=lambda topics, share: KafkaDisclosureSource(connection, topics, share),
        labels=None,
        terms=Terms(shards=2),
    )
    stop = asyncio.Event()
    running = asyncio.create_task(process.run(stop))
    try:
        yield
    finally:
        stop.set()
        await running


def reading(number: int, *people: bytes) -> Reading:
    return Reading(
        id=f"7c4a0001-0000-4000-8000-{number:012}",
        reader="rekenkamer",
        principal="auditor-rekenkamer",
        query="openings",
        basis="Comptabiliteitswet 2016, art. 7.24",
        filter=(),
        results=number,
        digest=bytes(32),
        opened=len(people),
        purpose="lawfulness-2026",
        people=tuple(OpenedPerson(one, 1) for one in people),
    )


async def test_a_question_is_in_both_logs_when_it_is_answered(
    admin: Connection, login: Login, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reconcile_topics(admin, internal_topics(LANES))
    people = [pseudonym(world.LEDGER_KEY, "ledger", who) for who in (world.CHILD, world.MOTHER)]
    files = LedgerFiles(tmp_path)
    readers, searches = Readers(files, generation_key=world.GENERATION), Searches(files)
    api, keeper = await login(access.api_access()), await login(access.ledger_access())
    async with KafkaRefusals(api) as requests:
        readings = KafkaReadings(requests, Entered(readers))
        monkeypatch.setattr(entered, "PATIENCE", 0.3)
        with pytest.raises(Unavailable):
            await readings.record(reading(1, *people))  # there is no ledger yet: no answer
        monkeypatch.setattr(entered, "PATIENCE", 30.0)
        async with ledger(tmp_path, keeper):
            await world.until(lambda: len([log for log in files.logs() if files.vkey(log).exists()]) == 3)
            await readings.record(reading(2, *people))
            asked = searches.find(Asked(("asked",), recipient="rekenkamer"), KNOWN).found
            # What was not answered has an entry all the same: the record was durable before the ledger ran.
            # Entries of one commit stand in random order.
            assert sorted(int(str(one.says["results"])) for one in asked) == [1, 2]
            told = searches.find(Asked(("read",), recipient="rekenkamer"), KNOWN).found
            assert len(told) == 2
            await readings.record(reading(3, *people))
            await readings.record(reading(4))
            assert len(searches.find(Asked(("read",)), KNOWN).found) == 2
            assert len(searches.find(Asked(("asked",)), KNOWN).found) == 4
    searches.close()
    readers.close()
    assert topics.REQUESTS in {spec.name for spec in internal_topics(LANES)}
