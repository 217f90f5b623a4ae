"""Looks for one person in every byte that an installation writes: before, where the register allows it; after, nowhere.

A source publishes the death of a canary; it is delivered, entered, and once more published so that it is set aside.
Then the canary is forgotten everywhere where somebody can do that. `docs/register-of-copies.md` names these tests.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from integrator.demo.people import installed_population
from integrator.demo.scenarios import S4, documents
from integrator.directory.documents import Inscriptions, Origin, Stated
from integrator.directory.view import Directory
from integrator.domain import topics
from integrator.domain.authorisation import Authorisation
from integrator.domain.identifiers import SubjectRef
from integrator.domain.identities import Identities
from integrator.domain.pseudonyms import pairwise_key, pseudonym
from integrator.kafka import access
from integrator.kafka.admin import administering, answers
from integrator.kafka.disclosures import KafkaDisclosureSource
from integrator.operation.processes import AccountSecrets, citizens_of, generations_of, ledger_terms
from integrator.operation.settings import Installation, Settings
from integrator.recording import sealing
from integrator.recording.label_service import LabelKeys
from integrator.recording.logs import LedgerFiles, Naming, wall_clock
from integrator.recording.process import Keys, LedgerProcess
from integrator_audit.halfyear import date_of, day_of, start_of
from integrator_audit.stores import open_reading
from tests.e2e.installation import Running, command, until
from tests.e2e.records import own, read_topic
from tests.unit.audit.canary_samples import files_below, found

pytestmark = pytest.mark.e2e

AGENCY, PURPOSE = "svb", "nabestaanden"
RECIPIENTS = ((AGENCY, PURPOSE), ("gemeente", "uitvaart-en-post"))
"""Who is told of the death: with whom the canary is inscribed, and where they lived."""
SOURCE = "source.brp.person"
DELIVERED = "agency topic"
BEFORE = {
    "number": {SOURCE, DELIVERED, topics.QUARANTINE, "tokens"},
    "record": {SOURCE, topics.QUARANTINE},
    "delivered": {DELIVERED},
    "directory pseudonym": {topics.DIRECTORY, "directory copy"},
    "ledger pseudonym": {topics.DISCLOSURES, "logs"},
    "pairwise pseudonym": {DELIVERED},
    "sealed number": {topics.DISCLOSURES},
    "child": {topics.REQUESTS, topics.DIRECTORY, "directory copy"},
}
"""Where each may stand, and must: what the search cannot find, its silence says nothing about."""
STAYS = {topics.DIRECTORY, "directory copy"}
AFTER = {kind: set[str]() for kind in BEFORE} | {"directory pseudonym": STAYS, "child": STAYS}
"""LIMIT: nothing takes a person out of the directory yet: what was inscribed under the pseudonym stays."""


def place_of(name: str) -> str:
    """Return under which name the register knows a file of an installation."""
    first, _, rest = name.partition("/")
    if first == "kafka" and rest.startswith("data/") and rest.count("/") > 1:
        topic = rest.split("/")[1].rpartition("-")[0]
        return DELIVERED if topic.startswith("agency.") else topic
    if first == "ledger":
        file = rest.removesuffix("-wal").removesuffix("-shm")
        known = {"persons.sqlite": "vault", "epochs-index.sqlite": "index", "epochs.sqlite": "epoch log"}
        if file.startswith("public/"):
            return "published files"
        return known.get(file, "logs" if file.endswith(("h1.sqlite", "h2.sqlite")) else file)
    if name == "secrets/citizens.sha256":
        return "tokens"
    return "directory copy" if first == "directory" else first


@dataclass
class House:
    """One installation, its canary, and what was found of them."""

    running: Running
    person: SubjectRef
    needles: dict[str, list[bytes]] = field(default_factory=dict)
    before: Mapping[str, set[str]] = field(default_factory=dict)
    after: Mapping[str, set[str]] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)
    quarantined: list[int] = field(default_factory=list)

    @property
    def outside(self) -> Path:
        """Where source and agency keep their own files."""
        return self.running.data.parent / "outside"

    @property
    def installation(self) -> Installation:
        return self.running.installation

    def look(self) -> dict[str, set[str]]:
        read = files_below(self.running.data)
        self.files |= {place_of(name) for name in read}
        return {kind: {place_of(name) for name in names} for kind, names in found(self.needles, read).items()}

    def integrator(self, *words: str, told: str = "") -> Any:
        """Run a command of the operator and return its answer."""
        outcome = command("integrator", *words, "--data", self.running.data, "--json", told=told)
        assert outcome.code == 0, outcome
        self.said += [outcome.out, outcome.err]
        return json.loads(outcome.out)


async def live(house: House) -> None:
    """Publish about the canary, wait until everything that comes of it is written, and look for it."""
    running, person = house.running, house.person
    stated = [one for one in documents() if not (isinstance(one.document, Authorisation) and one.document.id == S4)]
    inscribed = Inscriptions(agency=AGENCY, capacity="pensioner", start=date_of(0), persons=(person.canonical,))
    await running.apply([*stated, Stated(inscribed, Origin("canary"))])
    population = installed_population()(seed=7, families=40)
    (death,) = (one for one in population.deaths(1) if one.value["bsn"] == person.value)
    (birth,) = (one for one in population.births(1, municipalities=("9001",)) if one.value["kind"] == "created")
    child = SubjectRef(population.scheme, birth.value["bsn"])
    events, noted = house.outside / "events.jsonl", house.outside / "events.done"
    events.write_text(f"{death.to_json()}\n{birth.to_json()}\n")
    house.integrator("publish", str(events), "--source", "brp", "--checkpoint", str(noted))
    # Once more, so that it is set aside: whole, with what it is about.
    (record,) = [one for one in await read_topic(running.admin, SOURCE) if person.value.encode() in one.bytes]
    await write(running, record.key, record.value + b"\0", partition=record.partition)
    citizens_of(running.installation).register([person])
    await running.decided(SOURCE)
    await running.recorded()
    secrets = running.installation.secrets
    theirs = pseudonym(secrets.get("pseudonym-ledger"), "ledger", person)
    disclosed = [own("ledger/disclosure", one) for one in await read_topic(running.admin, topics.DISCLOSURES)]
    told = {one["topic"]: who["identity"] for one in disclosed for who in one["subjects"] if who["pseudonym"] == theirs}
    assert told.keys() == {topics.agency_topic(*to, "brp", "person") for to in RECIPIENTS}
    delivered = await read_topic(running.admin, topics.agency_topic(AGENCY, PURPOSE, "brp", "person"))
    house.needles = {
        "number": [person.value.encode()],
        "record": [record.value[5:]],
        "delivered": [delivered[0].value],
        "directory pseudonym": [pseudonym(secrets.get("pseudonym-directory"), "directory", person)],
        "ledger pseudonym": [theirs],
        "pairwise pseudonym": [pairwise_key(secrets.get(f"pairwise-{AGENCY}--{PURPOSE}"), person)],
        "sealed number": list(told.values()),
        "child": [pseudonym(secrets.get("pseudonym-directory"), "directory", child)],
    }
    book = house.outside / "received.book"
    subscribed = (
        "subscribe",
        "brp/person",
        "--purpose",
        PURPOSE,
        "--agency",
        AGENCY,
        "--max",
        "1",
        "--book",
        str(book),
    )
    outcome = await asyncio.to_thread(command, "integrator", *subscribed, "--data", running.data)
    assert outcome.code == 0, outcome
    assert person.value in outcome.out
    house.before = house.look()
    house.quarantined.append(len(await read_topic(running.admin, topics.QUARANTINE)))
    await write(running, record.key, None, partition=record.partition)
    await running.decided(SOURCE)
    house.quarantined.append(len(await read_topic(running.admin, topics.QUARANTINE)))


async def write(running: Running, key: bytes | None, value: bytes | None, *, partition: int) -> None:
    """Write to the source's stream as a plain client with its credentials."""
    producer = AIOKafkaProducer(**running.source("brp").aiokafka())
    await producer.start()
    try:
        await producer.send_and_wait(SOURCE, value, key=key, partition=partition)
    finally:
        await producer.stop()


async def seal(house: House) -> None:
    """Let two days pass for the ledger alone: today, with the canary's entry, and tomorrow."""
    installation, files = house.installation, house.installation.ledger_files
    secrets, today = installation.secrets, day_of(wall_clock())
    identities = Identities(secrets.get("label-identities"), random=lambda _: b"")
    ledger_key = secrets.get("pseudonym-ledger")
    connection = installation.connection(access.LEDGER)
    for passed in (1, 2):
        now = start_of(today + passed) + int(timedelta(minutes=3) / timedelta(milliseconds=1))
        begun = wall_clock()

        def clock(now: int = now, begun: int = begun) -> int:
            return now + wall_clock() - begun

        with closing(Directory.open(installation.directory)) as directory:
            process = LedgerProcess(
                files,
                naming=Naming(installation.settings.host, installation.settings.installation),
                keys=Keys(secrets.get("ledger-signing"), generations_of(installation)),
                directories=directory,
                source=lambda names, share: KafkaDisclosureSource(connection, names, share),
                labels=(
                    LabelKeys(secrets, identities=identities, ledger_key=ledger_key, clock=clock),
                    AccountSecrets(secrets),
                ),
                terms=ledger_terms(installation),
                clock=clock,
            )
            stop = asyncio.Event()
            running = asyncio.create_task(process.run(stop))
            try:
                await until(partial(is_sealed, files, today + passed - 1, notes=passed), "the day to be sealed")
            finally:
                stop.set()
                await running


async def is_sealed(files: LedgerFiles, day: int, *, notes: int) -> bool:
    if not files.consumed.is_file() or len(json.loads(files.consumed.read_text())) < notes:
        return False
    with closing(open_reading(files.store("epochs"))) as reading:
        head = reading.head()
    return head is not None and head.size == day + 1


async def forget(house: House) -> None:
    """Forget the canary wherever somebody can."""
    running, person = house.running, house.person
    tomorrow = date_of(day_of(wall_clock()) + 1).isoformat()
    told = house.integrator("erase", "order", "--name", "O-1", told=f"{person.canonical}\n")
    assert (told["result"], told["erased"]) == ("erased", {"order": 2})
    assert house.integrator("erase", "finish")["completed"] == {"order": 2}
    released = house.integrator("ledger", "release", "--backed-up-until", tomorrow)
    assert released["deleted"]
    (running.data / "secrets" / "citizens.sha256").unlink()
    # What weeks do: segments are rolled, what was delivered or set aside is past its time, facts are compacted.
    rolling = {"segment.ms": "1", "file.delete.delay.ms": "100"}
    await configure(running, topics.DISCLOSURES, rolling)
    received = [topics.agency_topic(*to, "brp", "person") for to in (*RECIPIENTS, ("groeifonds", "startbedrag"))]
    for topic in (*received, topics.QUARANTINE, topics.REQUESTS):
        await configure(running, topic, rolling | {"retention.ms": "1"})
    compacting = {"min.cleanable.dirty.ratio": "0.001", "delete.retention.ms": "0", "max.compaction.lag.ms": "1"}
    await configure(running, SOURCE, rolling | compacting)
    producer = AIOKafkaProducer(**running.admin.aiokafka())
    await producer.start()
    deadline = time.monotonic() + 90
    try:
        for partition in range(running.installation.settings.lanes):
            await producer.send_and_wait(topics.DISCLOSURES, b"a later one", partition=partition)
        while (left := house.look()) != AFTER:
            assert time.monotonic() < deadline, f"the canary is still somewhere: {left}"
            for partition in range(4):
                await producer.send_and_wait(SOURCE, b"another", key=b"another fact", partition=partition)
            await asyncio.sleep(1)
    finally:
        await producer.stop()
    house.after = left


async def configure(running: Running, topic: str, settings: Mapping[str, str]) -> None:
    async with administering(running.admin) as admin:
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in settings.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        await answers("Changing a topic", admin.incremental_alter_configs([resource]))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    data = tmp_path_factory.mktemp("canary") / "installation"
    settings = Settings(
        profile="development", installation="canary", host="demo.integrator.example", lanes=2, workers=1
    )
    Installation.create(data, settings)
    population = installed_population()(seed=7, families=40)
    (eldest,) = population.eldest(1)
    house = House(Running(data), SubjectRef(population.scheme, eldest.number))
    house.outside.mkdir()
    house.running.start()
    patched = pytest.MonkeyPatch()
    patched.setattr(sealing, "LOOK", 0.1)
    try:
        asyncio.run(live(house))
        house.running.halt()
        asyncio.run(seal(house))
        asyncio.run(forget(house))
        yield house
    finally:
        patched.undo()
        house.running.stop()


def test_before_a_person_stands_where_the_register_allows_it_and_nowhere_else(house: House) -> None:
    assert house.before == BEFORE
    assert house.files >= {"secrets", "logs", "run", "settings.toml", "published files", "index", topics.LANES}


def test_after_an_order_and_what_time_does_a_person_stands_only_where_the_register_says_so(house: House) -> None:
    assert house.after == AFTER


def test_a_fact_that_is_to_be_forgotten_is_not_kept_in_the_quarantine(house: House) -> None:
    assert house.quarantined == [1, 1]


def test_what_source_and_agency_note_for_themselves_holds_nobody(house: House) -> None:
    kept = files_below(house.outside)
    assert kept.keys() == {"events.jsonl", "events.done", "received.book"}
    assert all(kept.values())
    assert found(house.needles, kept, deep=True)["number"] == {"events.jsonl"}
    notes = {name: data for name, data in kept.items() if name != "events.jsonl"}
    assert found(house.needles, notes, deep=True) == {kind: set() for kind in house.needles}


def test_no_command_of_the_operator_repeats_the_number(house: House) -> None:
    assert len(house.said) >= 6
    assert not [text for text in house.said if house.person.value in text]
