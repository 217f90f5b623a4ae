"""One suite over the copies of the directory: LMDB and memory must read the same."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol

import pytest

from integrator.directory.memory import MemoryDirectory
from integrator.directory.ports import FedRecord, Incarnation
from integrator.directory.records import DirectoryRecord, InstantCome, RecordKey, day_record
from integrator.directory.store import Store
from integrator.directory.view import Directory, DirectoryReading
from integrator.domain.directory import StandingInscription
from integrator.domain.errors import IntegratorError, Unavailable
from integrator.domain.identifiers import Position, Pseudonym
from tests.unit.directory import directory_samples as samples

PERSON = Pseudonym(bytes.fromhex(samples.PERSON))
NOBODY = Pseudonym(bytes(32))


class Copy(Protocol):
    def read(self) -> AbstractContextManager[DirectoryReading]: ...
    def position(self) -> Position: ...
    async def wait_for(self, position: Position) -> None: ...


Feed = Callable[[Iterable[DirectoryRecord | RecordKey]], Position]


def fed(records: Iterable[DirectoryRecord | RecordKey], start: int) -> list[FedRecord]:
    """Give records their offsets; a bare key erases."""
    found: list[FedRecord] = []
    for offset, record in enumerate(records, start):
        key, value = record.encode() if isinstance(record, DirectoryRecord) else (record.encode(), None)
        found.append(FedRecord(offset, key, value))
    return found


@pytest.fixture(params=["lmdb", "memory"])
def copy_and_feed(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[tuple[Copy, Feed]]:
    target: MemoryDirectory | Store
    if request.param == "memory":
        copy: Copy = (target := MemoryDirectory())
        apply = target.feed
        yield copy, lambda records: _feed(copy, apply, records)
    else:
        target = Store.create(tmp_path / "directory")
        target.begin_anew(Incarnation("cluster", "topic"))
        copy = Directory(target)
        apply = target.apply
        yield copy, lambda records: _feed(copy, apply, records)
        target.close()


def _feed(copy: Copy, apply: Callable[..., None], records: Iterable[DirectoryRecord | RecordKey]) -> Position:
    batch = fed(records, copy.position())
    # One more, as the mark of a transaction would take.
    position = Position(copy.position() + len(batch) + 1)
    apply(batch, position)
    return position


def test_an_empty_copy_knows_nothing(copy_and_feed: tuple[Copy, Feed]) -> None:
    copy, _ = copy_and_feed
    with copy.read() as view:
        assert view.position == 0
        assert view.knowledge.version == 0
        assert view.inscriptions([PERSON]) == [()]


def test_a_reading_holds_what_was_fed(copy_and_feed: tuple[Copy, Feed]) -> None:
    copy, feed = copy_and_feed
    position = feed(
        [
            samples.record_of(samples.source()),
            samples.record_of(samples.purpose()),
            samples.record_of(samples.authorisation()),
            samples.inscription(),
        ]
    )
    with copy.read() as view:
        assert view.position == position == copy.position()
        assert view.knowledge.version == 3
        assert view.knowledge.sources["brp"] == samples.source()
        assert view.knowledge.purposes["nabestaanden", 1] == samples.purpose()
        (standing,) = view.knowledge.standing["brp/person"]
        assert standing.position == 3
        lines = view.inscriptions([NOBODY, PERSON])
    assert lines == [(), (StandingInscription("svb", "pensioner", "definitive", date(2020, 1, 1), None),)]


def test_a_reading_stays_as_it_was_while_the_copy_goes_on(copy_and_feed: tuple[Copy, Feed]) -> None:
    copy, feed = copy_and_feed
    feed([samples.record_of(samples.agency()), samples.inscription()])
    with copy.read() as view:
        feed([samples.record_of(samples.agency(sector="other"), 2), samples.inscription(2, end=date(2021, 1, 1))])
        assert view.knowledge.agencies["svb"].sector == "social-insurance"
        assert view.inscriptions([PERSON])[0][0].end is None
    with copy.read() as view:
        assert view.knowledge.agencies["svb"].sector == "other"
        assert view.inscriptions([PERSON])[0][0].end == date(2021, 1, 1)


def test_knowledge_is_the_same_object_until_it_changes(copy_and_feed: tuple[Copy, Feed]) -> None:
    copy, feed = copy_and_feed
    feed([samples.record_of(samples.source())])
    with copy.read() as view:
        first = view.knowledge
    feed([samples.inscription()])
    with copy.read() as view:
        assert view.knowledge is first
    feed([samples.record_of(samples.agency())])
    with copy.read() as view:
        assert view.knowledge is not first


def test_an_erased_inscription_is_gone(copy_and_feed: tuple[Copy, Feed]) -> None:
    copy, feed = copy_and_feed
    record = samples.inscription()
    feed([record, samples.inscription(capacity="parent")])
    feed([record.key])
    with copy.read() as view:
        assert [line.capacity for line in view.inscriptions([PERSON])[0]] == ["parent"]


def test_erased_knowledge_is_gone(copy_and_feed: tuple[Copy, Feed]) -> None:
    copy, feed = copy_and_feed
    record = samples.record_of(samples.source())
    feed([record])
    with copy.read() as view:
        assert view.knowledge.sources
    feed([record.key])
    with copy.read() as view:
        assert not view.knowledge.sources
        assert view.knowledge.version == 3


def test_days_and_instants_begin_and_end_an_authorisation(copy_and_feed: tuple[Copy, Feed]) -> None:
    copy, feed = copy_and_feed
    begins = datetime(2026, 3, 4, 12, tzinfo=UTC)
    document = samples.authorisation(period={"start": begins.isoformat(), "end": "2026-03-06"})
    contract = DirectoryRecord(RecordKey("contract", "brp/person", 1), samples.contract())

    def active() -> bool:
        with copy.read() as view:
            return view.knowledge.standing["brp/person"][0].active

    feed([contract, day_record("Europe/Amsterdam", date(2026, 3, 4)), samples.record_of(document)])
    assert not active()
    feed([DirectoryRecord(RecordKey("start", "s19-svb/1", 1), InstantCome("s19-svb", 1, begins))])
    assert active()
    feed([day_record("Europe/Amsterdam", date(2026, 3, 5))])
    assert active()
    feed([day_record("Europe/Amsterdam", date(2026, 3, 6))])
    assert not active()


async def test_waiting_returns_when_the_copy_is_there(copy_and_feed: tuple[Copy, Feed]) -> None:
    copy, feed = copy_and_feed
    waiting = asyncio.create_task(copy.wait_for(Position(2)))
    await asyncio.sleep(0.03)
    assert not waiting.done()
    feed([samples.inscription()])
    await asyncio.wait_for(waiting, 20)


def test_a_batch_with_a_record_of_a_newer_release_changes_nothing(tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    store.begin_anew(Incarnation("cluster", "topic"))
    good = fed([samples.record_of(samples.source())], 0)
    newer = FedRecord(1, b"objection|x/y|0000000001", b"\xc3\x01")
    with pytest.raises(IntegratorError) as caught:
        store.apply([*good, newer], Position(2))
    assert caught.value.code == "directory-kind"
    with store.snapshot() as snapshot:
        assert snapshot.applied == 0
        assert snapshot.knowledge_offsets() == []
    store.close()


def test_there_is_no_directory_before_the_feeder_made_one(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        Directory.open(tmp_path / "none")
    assert caught.value.code == "no-directory"


def test_another_process_reads_what_the_feeder_writes(tmp_path: Path) -> None:
    reader = (
        "import sys; from pathlib import Path; from integrator.directory.view import Directory\n"
        "directory = Directory.open(Path(sys.argv[1]))\n"
        "for line in sys.stdin:\n"
        "    with directory.read() as view: print(view.position, len(view.knowledge.sources), flush=True)\n"
    )
    store = Store.create(tmp_path)
    store.begin_anew(Incarnation("cluster", "topic"))
    command = [sys.executable, "-c", reader, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        answers: list[str] = []
        for offset in range(2):
            store.apply(fed([samples.record_of(samples.source(name=f"s{offset}"))], offset), Position(offset + 1))
            other.stdin.write("\n")
            other.stdin.flush()
            answers.append(other.stdout.readline().strip())
    assert answers == ["1 1", "2 2"]
    store.close()


def test_a_copy_made_anew_forgets_the_other_topic(tmp_path: Path) -> None:
    store = Store.create(tmp_path)
    directory = Directory(store)
    store.begin_anew(Incarnation("cluster", "one"))
    store.apply(fed([samples.record_of(samples.source())], 0), Position(1))
    with directory.read() as view:
        assert view.knowledge.sources
    store.begin_anew(Incarnation("cluster", "two"))
    store.apply(fed([samples.record_of(samples.agency())], 0), Position(1))
    with directory.read() as view:
        assert not view.knowledge.sources
        assert view.knowledge.agencies
    assert directory.incarnation() == Incarnation("cluster", "two")
    store.close()
