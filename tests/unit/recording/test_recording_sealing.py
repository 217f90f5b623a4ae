"""Holds that days are sealed after their end, and that everybody can check their own list from what is public."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from integrator.domain.directory import Knowledge
from integrator.domain.errors import Invalid, Unavailable
from integrator.domain.identifiers import SubjectRef
from integrator.http import ledger as ledger_files
from integrator.recording import sealing
from integrator.recording.keeper import Terms
from integrator.recording.label_service import LabelKeys
from integrator.recording.logs import end_of
from integrator.recording.process import Keys, LedgerProcess
from integrator.recording.readers import Readers
from integrator.recording.sealed import Histories, Range
from integrator_audit import LedgerReader, Verifier, read_part
from integrator_audit import errors as audit
from integrator_audit.completeness.account import AccountDocument, AskedAccount, verify_account
from integrator_audit.completeness.doubleentry import Received
from integrator_audit.completeness.epochlog import EpochLog, Trust, read_epoch_log
from integrator_audit.completeness.history import Asked, History, read_history, verify_history
from integrator_audit.completeness.members import Delivery, DeliverySequence
from integrator_audit.completeness.presenting import document_bytes
from integrator_audit.halfyear import date_of, day_of, start_of
from integrator_audit.sources import DirectorySource
from tests.unit.recording import recording_samples as world
from tests.unit.recording.test_recording_labels import Keys as LabelSecrets
from tests.unit.recording.test_recording_labels import service
from tests.unit.recording.test_recording_process import KEYS, NAMING, Sources, disclosures
from tests.unit.recording.test_recording_series import Moving

TODAY = day_of(world.AT_MS)
MINUTES = 120_000
"""A day is sealed a minute after its end."""


class EveryKey(LabelSecrets):
    """Secrets that have the key of each half-year: some tests are of the half-year in which they run."""

    def get(self, name: str) -> bytes:
        return self.create(name, bytes)


LABELS = service(EveryKey(), now=end_of("2999h2"))


@dataclass
class Service:
    """The label service at both doors, in this process; away when `away`."""

    keys: LabelKeys = LABELS
    away: bool = False

    def _here(self) -> LabelKeys:
        if self.away:
            raise audit.Unavailable("label-service", "the label service does not answer")
        return self.keys

    def spki(self, period: int) -> bytes:
        return self._here().spki(period)

    def certificate(self, period: int) -> Sequence[bytes]:
        return self._here().certificate(period)

    def label_keys(self, period: int, people: Sequence[tuple[bytes, bytes]]) -> Sequence[bytes]:
        return self._here().label_keys(period, people)

    def person(self, period: int, number: SubjectRef) -> bytes:
        return self._here().person(period, number)


class Accounts:
    """Secrets of agencies, made of their names."""

    def secret(self, recipient: str) -> bytes:
        return recipient.encode().ljust(32, b"!")


@dataclass
class Place:
    """A ledger that runs, and a clock to move it."""

    root: Path
    sources: Sources
    clock: Moving
    service: Service
    process: LedgerProcess

    def state(self) -> dict[str, Any]:
        return self.process.state(self.clock.now)["days"]

    async def sealed(self, day: int) -> None:
        checkpoint = self.root / "public" / "epochs" / "checkpoint"
        await world.until(lambda: checkpoint.is_file() and int(checkpoint.read_text().splitlines()[1]) == day + 1)

    async def filled(self, *values: bytes) -> None:
        """Let the lanes disclose these, and wait until they are entries."""
        first = len(self.sources.disclosures.records)
        self.sources.disclosures.records += [world.record(value, first + at) for at, value in enumerate(values)]
        self.sources.disclosures.drained.clear()
        await self.sources.disclosures.drained.wait()


@asynccontextmanager
async def ledger(
    root: Path,
    *,
    count: int = 3,
    now: int = world.AT_MS,
    sources: Sources | None = None,
    keys: Keys = KEYS,
    known: Knowledge | None = None,
    **terms: Any,
) -> AsyncGenerator[Place]:
    sources, clock, labels = sources or Sources(disclosures(count)), Moving(now), Service()
    sources.disclosures.drained.clear()
    process = LedgerProcess(
        world.files_at(root),
        naming=NAMING,
        keys=keys,
        directories=world.StillDirectory(known or world.knowledge(), at=100),
        source=sources,
        labels=(labels, Accounts()),
        terms=Terms(**terms),
        clock=clock,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(process.run(stop))
    place = Place(root, sources, clock, labels, process)
    try:
        drained = asyncio.create_task(sources.disclosures.drained.wait())
        await asyncio.wait({running, drained}, return_when=asyncio.FIRST_COMPLETED)
        await place.sealed(day_of(now) - 1)
        yield place
    finally:
        stop.set()
        await running


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "LOOK", 0.02)


def histories(place: Place) -> Histories:
    files = world.files_at(place.root)
    readers = Readers(files, generation_key=world.GENERATION)
    return Histories(files, readers, place.service, key=world.LEDGER_KEY, account_secret=Accounts().secret)


def days_of(place: Place) -> EpochLog:
    """The epoch log as anybody verifies it, from its public files."""
    key = Verifier.from_text((place.root / "epochs.vkey").read_text().strip())
    trust = Trust(now=place.clock.now // 1000)
    return read_epoch_log(DirectorySource(place.root / "public" / "epochs"), key, trust=trust)


def judged(place: Place, who: SubjectRef) -> History:
    data = document_bytes(histories(place).history(who, Range()))
    return verify_history(read_history(data), days_of(place), Asked(who.canonical, today=day_of(place.clock.now)))


async def test_a_day_is_sealed_after_its_end_and_each_persons_list_can_be_checked(tmp_path: Path) -> None:
    async with ledger(tmp_path) as place:
        place.clock.now = start_of(TODAY + 1) + MINUTES
        await place.sealed(TODAY)
        for who, entries in ((world.CHILD, 3), (world.MOTHER, 3), (world.PARTNER, 0)):
            history = await asyncio.to_thread(judged, place, who)
            assert len(history.entries) == entries
        assert await asyncio.to_thread(lambda: days_of(place).leaves[TODAY].listed) == 9


async def test_a_list_without_the_last_entry_does_not_hold(tmp_path: Path) -> None:
    async with ledger(tmp_path) as place:
        place.clock.now = start_of(TODAY + 1) + MINUTES
        await place.sealed(TODAY)

        def lie() -> None:
            document = json.loads(document_bytes(histories(place).history(world.CHILD, Range())))
            document["entries"].pop()
            data = json.dumps(document).encode()
            asked = Asked(world.CHILD.canonical, today=TODAY + 1)
            verify_history(read_history(data), days_of(place), asked)

        with pytest.raises(audit.Tampered):
            await asyncio.to_thread(lie)


async def test_an_agency_finds_the_delivery_of_a_record_that_was_set_aside(tmp_path: Path) -> None:
    def received(number: int) -> Received:
        value = world.read_value(number)
        sequence = DeliverySequence("agency.groeifonds.startbedrag.brp.person", 2, 2)
        return Received(Delivery(sequence, number, value))

    async with ledger(tmp_path, count=2) as place:
        await place.filled(b"this is no disclosure record", world.disclosure(4))
        place.clock.now = start_of(TODAY + 1) + MINUTES
        await place.sealed(TODAY)

        def compare() -> list[tuple[str, str]]:
            document = AccountDocument(world.unpacked(histories(place).account("groeifonds", Range())))
            asked = AskedAccount(Accounts().secret("groeifonds"), today=TODAY + 1)
            account = verify_account(document, days_of(place), map(received, (1, 2, 3, 4)), asked)
            return [(finding.code, finding.where.rpartition(" ")[2]) for finding in account.findings]

        assert await asyncio.to_thread(compare) == [("not-logged", "3")]


async def test_missed_days_are_sealed_one_after_the_other(tmp_path: Path) -> None:
    async with ledger(tmp_path) as place:
        place.clock.now = start_of(TODAY + 3) + MINUTES
        await place.sealed(TODAY + 2)
        leaves = await asyncio.to_thread(lambda: days_of(place).leaves)
        assert [leaf.listed for leaf in leaves[TODAY:]] == [9, 0, 0]


async def test_a_day_waits_for_the_label_service_and_deliveries_do_not(tmp_path: Path) -> None:
    async with ledger(tmp_path) as place:
        place.service.away = True
        place.clock.now = start_of(TODAY + 1) + MINUTES
        await world.until(lambda: place.state()["problem"] == "label-service")
        assert place.state()["waiting"] == 1
        await place.filled(world.disclosure(4))
        place.service.away = False
        await place.sealed(TODAY)
        await world.until(lambda: place.state() == {"newest": date_of(TODAY).isoformat(), "waiting": 0, "problem": ""})


async def test_a_half_year_is_closed_before_its_last_day_is_sealed_and_the_next_has_another_key(tmp_path: Path) -> None:
    end = end_of("2026h2")
    async with ledger(tmp_path, now=end - 3_600_000) as place:
        place.clock.now = end + MINUTES
        await place.sealed(day_of(end) - 1)
        history = await asyncio.to_thread(judged, place, world.CHILD)
        assert len(history.entries) == 3
        # The whole half-year has one answer.
        assert [(day.first, day.last) for day in history.days] == [(9678, 9861)]
        assert (place.root / "labels-2026h2.json").is_file()
        place.clock.now = start_of(day_of(end) + 1) + MINUTES
        await place.sealed(day_of(end))
        assert (place.root / "labels-2027h1.json").is_file()


async def test_each_day_has_the_same_number_of_unlisted_entries_over_all_shards(tmp_path: Path) -> None:
    async with ledger(tmp_path, count=0, unlisted=7, shards=2) as place:
        # Half of the day had gone when the ledger began: of 4 and 3, less than half came at once.
        await world.until(lambda: entries(tmp_path) == 2)
        place.clock.now = start_of(TODAY + 1) - 1
        await world.until(lambda: entries(tmp_path) == 7)
        place.clock.now = start_of(TODAY + 2) - 1
        await world.until(lambda: entries(tmp_path) == 14)
        place.clock.now = start_of(TODAY + 2) + MINUTES
        await place.sealed(TODAY + 1)
        leaves = await asyncio.to_thread(lambda: days_of(place).leaves)
        assert [(leaf.listed, leaf.unlisted) for leaf in leaves[TODAY:]] == [(0, 7), (0, 7)]


async def test_a_restart_in_the_middle_of_a_day_pads_no_more_than_is_due(tmp_path: Path) -> None:
    evening, sources = start_of(TODAY + 1) - 1, Sources(disclosures(0))
    for _ in range(3):
        async with ledger(tmp_path, now=evening, sources=sources, unlisted=7) as place:
            await world.until(lambda: entries(tmp_path) == 7)
            await place.filled(world.disclosure(1, subjects=[]))
            assert entries(tmp_path) == 7
    assert entries(tmp_path) == 7


async def test_the_institution_log_tells_the_label_key_of_its_half_year_once(tmp_path: Path) -> None:
    sources = Sources(disclosures(1))
    for _ in range(2):
        async with ledger(tmp_path, sources=sources):
            await world.until(lambda: len(label_keys(tmp_path)) == 1)
    (told,) = label_keys(tmp_path)
    written = json.loads((tmp_path / "labels-2026h2.json").read_text())
    assert told["name"] == "53"
    assert told["sha256"] == sha256(base64.b64decode(written["spki"])).hexdigest()


async def test_keys_are_served_to_anybody(tmp_path: Path) -> None:
    async with ledger(tmp_path):
        readers = Readers(world.files_at(tmp_path), generation_key=world.GENERATION)
        await world.until((tmp_path / "labels-2026h2.json").is_file)

        def ask() -> None:
            client = TestClient(Starlette(routes=ledger_files.routes(readers)))
            told = client.get("/ledger/keys").json()
            assert [vkey.partition("+")[0].rpartition("/")[2] for vkey in told["logs"]] == [
                *("epochs", "institution-2026h2", "s0-2026h2")
            ]
            assert client.get("/ledger/epochs/vkey").text.strip() in told["logs"]
            key = client.get("/ledger/labels/2026h2.json").json()
            assert key == told["labels"]["2026h2"]
            assert base64.b64decode(key["spki"]) == LABELS.spki(53)
            assert client.get("/ledger/labels/2027h1.json").status_code == 404
            assert client.get("/ledger/epochs/checkpoint").status_code == 200
            # Nobody vouches for anything here, so where somebody must there is nothing to show.
            strict = TestClient(Starlette(routes=ledger_files.routes(readers, witnessed=True)))
            assert client.get("/ledger/epochs/tile/entries/000").status_code == 200
            for path in ("checkpoint", "tile/entries/000"):
                assert strict.get(f"/ledger/epochs/{path}").status_code == 404

        await asyncio.to_thread(ask)
        readers.close()


async def test_days_that_are_not_sealed_have_no_document(tmp_path: Path) -> None:
    async with ledger(tmp_path) as place:
        shown = histories(place)
        with pytest.raises(Invalid) as caught:
            await asyncio.to_thread(shown.history, world.CHILD, Range(last=date_of(TODAY)))
        assert caught.value.code == "days"
    files = world.files_at(tmp_path / "elsewhere")
    nowhere = Readers(files, generation_key=b"g" * 32)
    shown = Histories(files, nowhere, Service(), key=b"k" * 32, account_secret=Accounts().secret)
    with pytest.raises(Unavailable):
        shown.history(world.CHILD, Range())


def entries(root: Path) -> int:
    found = 0
    for log in root.glob("s*-*.vkey"):
        reader = LedgerReader.open(world.files_at(root).store(log.stem))
        found += reader.size
        reader.close()
    return found


def label_keys(root: Path) -> list[dict[str, Any]]:
    reader = LedgerReader.open(world.files_at(root).store("institution-2026h2"))
    said = [read_part(base64.b64decode(reader.opening(one, "A")["A"]["bytes"])) for one in range(reader.size)]  # type: ignore[index]
    reader.close()
    return [part for part in said if part.get("key") == "label"]
