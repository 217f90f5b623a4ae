"""The writer over a log in memory, which can fail before or after it has kept what it was given."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

from integrator.directory.documents import Inscriptions, Rejected, Stated
from integrator.directory.manifests import load
from integrator.directory.memory import INCARNATION, MemoryDirectory
from integrator.directory.ports import FedRecord, Incarnation, Outgoing, Request
from integrator.directory.records import RecordKey
from integrator.directory.writer import CHUNK, DirectoryWriter
from integrator.domain.authorisation import Authorisation
from integrator.domain.directory import StandingInscription
from integrator.domain.errors import Refused, Unavailable
from integrator.domain.identifiers import Position, Pseudonym, SubjectRef
from integrator.domain.pseudonyms import pseudonym
from integrator.encoding import record_type
from tests.unit.directory import directory_samples as samples

REPOSITORY = Path(__file__).parents[3]
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
KEY = b"k" * 32
PERSON = SubjectRef("test", "123456789012")


class Log:
    """A log that feeds a copy. A judge: a key that comes twice, or an append after an error, fails the test."""

    def __init__(self, copy: MemoryDirectory) -> None:
        self.copy = copy
        self.kept: list[FedRecord] = []
        self.transactions: list[int] = []
        self.done: dict[int, int] = {}
        self.starts = 0
        self.fail: Literal["before", "after", "fenced"] | None = None
        self._open = False

    async def incarnation(self) -> Incarnation:
        return INCARNATION

    async def start(self) -> Position:
        self.starts += 1
        self._open = True
        return Position(len(self.kept))

    async def append(self, records: Sequence[Outgoing], *, requests: Mapping[int, int] | None = None) -> Position:
        assert self._open
        fail, self.fail = self.fail, None
        if fail == "before":
            raise Unavailable("kafka-unreachable", "before")
        if fail == "fenced":
            raise Refused("kafka-fenced", "fenced")
        for key, value in records:
            assert key not in {record.key for record in self.kept}, "a key is never used twice"
            self.kept.append(FedRecord(len(self.kept), key, value))
        self.transactions.append(len(records))
        self.done |= requests or {}
        end = Position(len(self.kept))
        self.copy.feed(self.kept[len(self.kept) - len(records) :], end)
        if fail == "after":
            raise Unavailable("kafka-unreachable", "after")
        return end

    async def close(self) -> None:
        self._open = False


class NoRequests:
    def __init__(self) -> None:
        self.waiting: list[Request] = []

    async def start(self) -> None: ...

    async def fetch(self, *, wait: float, limit: int) -> tuple[Sequence[Request], Mapping[int, int]]:
        await asyncio.sleep(0 if self.waiting else wait)
        found, self.waiting = self.waiting, []
        return found, {request.partition: request.offset + 1 for request in found}

    async def close(self) -> None: ...


class World:
    def __init__(self) -> None:
        self.now = NOON
        self.copy = MemoryDirectory()
        self.log = Log(self.copy)
        self.requests = NoRequests()
        self.writer = DirectoryWriter(self.log, self.copy, self.requests, clock=lambda: self.now, key=KEY)

    @property
    def keys(self) -> list[RecordKey]:
        return [RecordKey.decode(record.key) for record in self.log.kept]

    def standing(self, stream: str = "brp/person") -> dict[str, bool]:
        with self.copy.read() as view:
            return {each.authorisation.id: each.active for each in view.knowledge.standing.get(stream, ())}

    def lines(self, person: SubjectRef = PERSON) -> tuple[StandingInscription, ...]:
        with self.copy.read() as view:
            return view.inscriptions([pseudonym(KEY, "directory", person)])[0]

    async def ask(self, *, decided_at: int, **change: Any) -> None:
        body: dict[str, Any] = {
            "agency": "groeifonds",
            "person": pseudonym(KEY, "directory", PERSON).hex(),
            "capacity": "child",
            "phase": "definitive",
            "start": date(2026, 3, 4),
            "authorisation": "s3-groeifonds-geboorte",
            "version": 1,
            "directoryPosition": decided_at,
        }
        value = record_type("integrator/request").encode(
            {"at": NOON, "body": ("integrator.routing.Inscribe", body | change)}
        )
        self.requests.waiting.append(Request(0, 7, value))
        await self.writer.serve()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def demo() -> list[Stated]:
    loaded = load([REPOSITORY / "schemas", REPOSITORY / "integrator/demo/manifests"])
    assert not loaded.problems
    return list(loaded.documents)


def stated(*documents: Any) -> list[Stated]:
    return [Stated(document) for document in documents]


def changed(demo: list[Stated], **change: Any) -> Authorisation:
    """Return the demonstration's first authorisation with other members (outside names), validated anew."""
    first = next(each.document for each in demo if isinstance(each.document, Authorisation))
    return Authorisation.model_validate(first.model_dump(mode="json", by_alias=True) | change)


async def test_the_demonstration_can_be_applied_and_applying_it_again_appends_nothing(
    world: World, demo: list[Stated]
) -> None:
    applied = await world.writer.apply(demo)
    assert applied.position == len(world.log.kept)
    assert all(world.standing().values())
    with world.copy.read() as view:
        schemas = view.knowledge.schemas
        assert sorted(schemas) == list(range(1, len(schemas) + 1))
        assert view.knowledge.latest_schema("source.brp.person-value")
        assert view.knowledge.latest_schema("agency.svb.nabestaanden.brp.person-value")
        assert view.knowledge.dates["Europe/Amsterdam"] == NOON.date()
    kept = len(world.log.kept)
    again = await world.writer.apply(demo)
    assert len(world.log.kept) == kept
    assert {change.action for change in again.changes} == {"keep"}


async def test_what_is_referred_to_stands_before_what_refers_to_it(world: World, demo: list[Stated]) -> None:
    await world.writer.apply(list(reversed(demo)))
    kinds = [key.kind for key in world.keys]
    order = ("source", "contract", "schema", "date", "authorisation")
    for earlier, later in itertools.pairwise(order):
        assert max(at for at, kind in enumerate(kinds) if kind == earlier) < kinds.index(later)


async def test_one_refused_document_keeps_every_other_out(world: World, demo: list[Stated]) -> None:
    future = changed(
        demo,
        citations=[{"country": "NL", "act": "Law", "article": "1", "inForceFrom": "2026-03-04T12:00:05Z"}],
    )
    documents = [each for each in demo if not isinstance(each.document, Authorisation)] + stated(future)
    with pytest.raises(Rejected) as caught:
        await world.writer.apply(documents)
    assert caught.value.code == "no-legal-basis"
    assert caught.value.problems[0].document == future
    assert world.log.kept == []
    world.now += timedelta(seconds=5)
    await world.writer.apply(documents)
    assert world.standing() == {future.id: True}
    assert [key.id for key in world.keys if key.kind == "start"] == [f"{future.id}/1"]


async def test_an_authorisation_begins_and_ends_by_records_when_their_instant_comes(
    world: World, demo: list[Stated]
) -> None:
    later = (NOON + timedelta(seconds=10)).isoformat()
    latest = (NOON + timedelta(seconds=20)).isoformat()
    document = changed(demo, period={"start": later, "end": latest})
    await world.writer.apply([each for each in demo if not isinstance(each.document, Authorisation)] + stated(document))
    kept = len(world.log.kept)
    await world.writer.tick()
    assert (len(world.log.kept), world.standing()) == (kept, {document.id: False})
    world.now += timedelta(seconds=10)
    await world.writer.tick()
    assert world.standing() == {document.id: True}
    world.now += timedelta(seconds=10)
    await world.writer.tick()
    await world.writer.tick()
    assert world.standing() == {document.id: False}
    assert [key.kind for key in world.keys[kept:]] == ["start", "end"]


async def test_a_new_legal_day_is_one_record_a_zone_and_a_clock_that_goes_back_makes_none(
    world: World, demo: list[Stated]
) -> None:
    await world.writer.apply(demo)
    kept = len(world.log.kept)
    # Midnight in Amsterdam is 23:00 UTC in winter.
    world.now = datetime(2026, 3, 4, 22, 59, 59, tzinfo=UTC)
    await world.writer.tick()
    assert len(world.log.kept) == kept
    world.now += timedelta(seconds=1)
    await world.writer.tick()
    await world.writer.tick()
    assert world.keys[kept:] == [RecordKey("date", "Europe/Amsterdam", date(2026, 3, 5).toordinal())]
    world.now -= timedelta(days=2)
    await world.writer.tick()
    assert len(world.log.kept) == kept + 1


async def test_a_version_never_changes_its_content(world: World, demo: list[Stated]) -> None:
    await world.writer.apply(demo)
    with pytest.raises(Rejected, match="never changes: make it version 2") as caught:
        await world.writer.apply(stated(changed(demo, retention="P1Y")))
    assert caught.value.code == "version-changed"
    await world.writer.apply(stated(changed(demo, retention="P1Y", version=2)))
    with world.copy.read() as view:
        standing = {each.authorisation.id: each.authorisation for each in view.knowledge.standing["brp/person"]}
        assert standing["s3-groeifonds-geboorte"].version == 2
        assert view.knowledge.authorisations["s3-groeifonds-geboorte", 1].retention == "P5Y"


@pytest.mark.parametrize(
    ("states", "code"),
    [
        (["suspended"], None),
        (["suspended", "active"], None),
        (["revoked"], None),
        (["requested"], "state"),
        (["revoked", "active"], "state"),
        (["expired", "expired"], "state"),
    ],
)
async def test_states_follow_each_other_in_order(
    world: World, demo: list[Stated], states: list[str], code: str | None
) -> None:
    await world.writer.apply(demo)
    found = None
    for version, state in enumerate(states, 2):
        try:
            await world.writer.apply(stated(changed(demo, version=version, state=state)))
        except Rejected as error:
            found = error.code
    assert found == code
    active = world.standing().get("s3-groeifonds-geboorte", False)
    assert active == ((states[-1] == "active" and code is None) or states == ["requested"])


async def test_what_was_agreed_to_is_refused_when_it_is_stale(world: World, demo: list[Stated]) -> None:
    plan = await world.writer.plan(demo)
    await world.writer.apply(stated(samples.source(name="other")))
    with pytest.raises(Refused) as caught:
        await world.writer.apply(demo, based_on=plan.based_on)
    assert caught.value.code == "stale"
    plan = await world.writer.plan(demo)
    await world.writer.apply(demo, based_on=plan.based_on)


async def test_a_plan_appends_nothing(world: World, demo: list[Stated]) -> None:
    plan = await world.writer.plan(demo)
    assert world.log.kept == []
    assert {change.action for change in plan.changes} == {"create"}
    assert plan.to_wire()["problems"] == []


@pytest.mark.parametrize("fail", ["before", "after"])
async def test_an_append_of_unknown_outcome_is_settled_by_the_same_call_again(
    world: World, demo: list[Stated], fail: Literal["before", "after"]
) -> None:
    await world.writer.start()
    world.log.fail = fail
    with pytest.raises(Unavailable):
        await world.writer.apply(demo)
    await world.writer.apply(demo)
    assert world.log.starts == 2
    assert all(world.standing().values())


async def test_a_fenced_writer_stops_and_does_not_fence_back(world: World, demo: list[Stated]) -> None:
    await world.writer.start()
    world.log.fail = "fenced"
    with pytest.raises(Refused):
        await world.writer.apply(demo)
    with pytest.raises(Refused) as caught:
        await world.writer.apply(demo)
    assert caught.value.code == "kafka-fenced"
    with pytest.RaisesGroup(Refused, flatten_subgroups=True, allow_unwrapped=True):
        await asyncio.wait_for(world.writer.run(), 5)
    assert world.log.starts == 1


def inscriptions(count: int = 1, **change: Any) -> Inscriptions:
    members: dict[str, Any] = {
        "agency": "groeifonds",
        "capacity": "child",
        "start": "2020-01-01",
        "persons": [f"test:{123456789012 + at}" for at in range(count)],
    }
    return Inscriptions.model_validate(members | change)


async def test_people_are_inscribed_under_pseudonyms_in_chunks(world: World, demo: list[Stated]) -> None:
    await world.writer.apply(demo)
    before = len(world.log.transactions)
    applied = await world.writer.apply(stated(inscriptions(CHUNK + 1)))
    assert world.log.transactions[before:] == [CHUNK, 1]
    assert [(change.action, change.count) for change in applied.changes] == [("create", CHUNK + 1)]
    assert [line.capacity for line in world.lines()] == ["child"]
    assert not any(PERSON.value.encode() in record.key + (record.value or b"") for record in world.log.kept)
    kept = len(world.log.kept)
    await world.writer.apply(stated(inscriptions(CHUNK + 1)))
    assert len(world.log.kept) == kept
    await world.writer.apply(stated(inscriptions(end="2026-01-01")))
    assert [line.end for line in world.lines()] == [date(2026, 1, 1)]
    assert world.keys[-1].version == 2


async def test_somebody_named_twice_is_inscribed_once(world: World, demo: list[Stated]) -> None:
    await world.writer.apply(demo)
    kept = len(world.log.kept)
    await world.writer.apply(stated(inscriptions(persons=["test:123456789012"] * 3)))
    assert len(world.log.kept) == kept + 1


async def test_a_lanes_request_inscribes_once_and_its_position_goes_with_it(world: World) -> None:
    await world.writer.start()
    await world.ask(decided_at=0)
    await world.ask(decided_at=0)
    assert len(world.log.kept) == 1
    assert world.log.done == {0: 8}
    assert world.lines()[0].start == date(2026, 3, 4)


async def test_a_person_who_was_ended_stays_ended_when_a_request_comes_again(world: World, demo: list[Stated]) -> None:
    await world.writer.apply(demo)
    decided_at = world.copy.position()
    await world.ask(decided_at=decided_at)
    await world.writer.apply(stated(inscriptions(start="2026-03-04", end="2026-03-04")))
    await world.ask(decided_at=decided_at)
    assert world.lines()[0].end == date(2026, 3, 4)
    # Decided again, with the end in sight: this is a new fact.
    await world.ask(decided_at=world.copy.position(), start=date(2026, 3, 5))
    assert world.lines()[0].end is None


async def test_a_request_that_cannot_be_read_does_not_stop_the_others(world: World) -> None:
    await world.writer.start()
    world.requests.waiting.append(Request(1, 3, b"\x00"))
    await world.ask(decided_at=0)
    assert len(world.log.kept) == 1
    assert world.log.done == {0: 8, 1: 4}


async def test_a_request_is_kept_when_the_append_fails(world: World) -> None:
    await world.writer.start()
    world.log.fail = "before"
    with pytest.raises(Unavailable):
        await world.ask(decided_at=0)
    assert world.log.done == {}


async def test_the_writer_waits_for_its_copy_and_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrator.directory.writer.COPY_SECONDS", 0.05)

    async def ahead() -> Position:
        return Position(5)

    monkeypatch.setattr(world.log, "start", ahead)
    with pytest.raises(Unavailable) as caught:
        await world.writer.plan([])
    assert caught.value.code == "directory-behind"


async def test_a_nobody_is_never_found(world: World) -> None:
    with world.copy.read() as view:
        assert view.inscriptions([Pseudonym(bytes(32))]) == [()]
