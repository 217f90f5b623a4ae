"""Holds that the ledger's process fills, publishes and recovers its logs, and refuses what must not go on."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from integrator.domain import topics
from integrator.domain.errors import Refused, Tampered, Unavailable
from integrator.http import ledger as ledger_files
from integrator.recording import keeper
from integrator.recording.institution import TEXTS
from integrator.recording.keeper import Terms
from integrator.recording.logs import Clock, Naming, end_of, half_year, half_year_at, is_log, signing_seed
from integrator.recording.process import Keys, LedgerProcess
from integrator.recording.readers import Readers, open_log
from integrator.recording.sequencer import LogBatch, Share
from integrator_audit import LedgerReader, Verifier, read_part
from tests.unit.recording import recording_samples as world

NAMING = Naming("demo.integrator.example", "test")
OPENING = len(TEXTS) + 2
"""What an institution log begins with: the schema texts, and that the keys of two logs were made."""
KEYS = Keys(signing=b"s" * 32, generation=world.GENERATION)


@dataclass
class Sources:
    """One judging source for each log; `fail` makes the first fetches of the disclosures raise."""

    disclosures: world.JudgingSource
    institution: world.JudgingSource = field(default_factory=lambda: world.JudgingSource([]))
    fail: int = 0
    shares: list[Share] = field(default_factory=list[Share])

    def __call__(self, wanted: Sequence[str], share: Share) -> world.JudgingSource:
        if list(wanted) != [topics.DISCLOSURES, topics.REQUESTS]:
            assert list(wanted) == [topics.DIRECTORY, topics.REQUESTS]
            return self.institution
        self.shares.append(share)
        if self.fail:
            self.fail -= 1
            return Unreachable([])
        return self.disclosures


class Unreachable(world.JudgingSource):
    async def fetch(self, *, wait: float, limit: int) -> LogBatch:
        raise Unavailable("kafka-unreachable", "Kafka does not answer.")


def disclosures(count: int) -> world.JudgingSource:
    return world.JudgingSource([world.record(world.disclosure(number + 1), number) for number in range(count)])


def noon() -> int:
    return world.AT_MS


def ledger(
    root: Path,
    sources: Sources,
    *,
    keys: Keys = KEYS,
    shards: int = 1,
    clock: Clock = noon,
    directory: world.StillDirectory | None = None,
) -> LedgerProcess:
    return LedgerProcess(
        world.files_at(root),
        naming=NAMING,
        keys=keys,
        directories=directory or world.StillDirectory(world.knowledge(), at=100),
        source=sources,
        labels=None,
        terms=Terms(shards=shards),
        clock=clock,
    )


async def run(root: Path, sources: Sources, *, keys: Keys = KEYS, clock: Clock = noon) -> None:
    """Run the process until both sources have nothing more."""
    stop = asyncio.Event()
    for one in (sources.disclosures, sources.institution):
        one.drained.clear()
    running = asyncio.create_task(ledger(root, sources, keys=keys, clock=clock).run(stop))
    drained = asyncio.gather(sources.disclosures.drained.wait(), sources.institution.drained.wait())
    await asyncio.wait({running, drained}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
    stop.set()
    drained.cancel()
    await asyncio.gather(drained, return_exceptions=True)
    await running


async def test_both_logs_are_filled_and_published(tmp_path: Path) -> None:
    institution = world.JudgingSource(
        [world.step("agency|svb|0000000001"), world.refusal(1), world.refusal(1), world.refusal(2)]
    )
    await run(tmp_path, Sources(disclosures(5), institution))
    for log, size in (("s0-2026h2", 15), ("institution-2026h2", OPENING + 3)):
        key = Verifier.from_text((tmp_path / f"{log}.vkey").read_text().strip())
        assert key.name == NAMING.origin(log) == f"demo.integrator.example/ledger/test/{log}"
        reader = LedgerReader.open(world.files_at(tmp_path).store(log))
        assert reader.size == size
        published = tmp_path / "public" / log
        assert (published / "checkpoint").read_bytes() == reader.checkpoint()
        assert (published / "tile" / "0" / f"000.p/{size}").stat().st_size == size * 32
        reader.close()
    state = json.loads((tmp_path / "state.json").read_text())
    assert state["logs"]["s0-2026h2"]["published"] == 15
    assert state["logs"]["s0-2026h2"]["behind"] == 0
    assert state["logs"]["s0-2026h2"]["reaches"] <= state["at"]
    assert state["free"] > 0


async def test_the_institution_log_tells_each_key_when_it_is_made_and_once(tmp_path: Path) -> None:
    sources = Sources(disclosures(1))
    for _ in range(2):
        await run(tmp_path, sources)
    reader = LedgerReader.open(world.files_at(tmp_path).store("institution-2026h2"))
    parts = [read_part(base64.b64decode(reader.opening(one, "A")["A"]["bytes"])) for one in range(reader.size)]  # type: ignore[index]
    reader.close()
    made = {part["name"]: part["vkey"] for part in parts if part["schema"] == "dienstenintegrator/key-event/v1"}
    assert len(parts) == OPENING
    assert made == {
        NAMING.origin(log): (tmp_path / f"{log}.vkey").read_text().strip()
        for log in ("s0-2026h2", "institution-2026h2")
    }


async def test_a_restart_enters_nothing_twice_and_knows_the_refusals_again(tmp_path: Path) -> None:
    sources = Sources(disclosures(2), world.JudgingSource([world.refusal(1)], again=1))
    await run(tmp_path, sources)
    # The same refusal, written again by an API that did not hear of the first time.
    sources.institution.records.append(world.record(world.refusal(1).value, 2, topic=topics.REQUESTS, partition=4))
    await run(tmp_path, sources)
    reader = LedgerReader.open(world.files_at(tmp_path).store("institution-2026h2"))
    assert reader.size == OPENING + 1
    reader.close()


async def test_a_log_goes_on_after_kafka_was_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "PAUSE", 0.01)
    await run(tmp_path, Sources(disclosures(3), fail=2))
    reader = LedgerReader.open(world.files_at(tmp_path).store("s0-2026h2"))
    assert reader.size == 9
    reader.close()


async def test_another_signing_key_is_refused_with_a_sentence(tmp_path: Path) -> None:
    await run(tmp_path, Sources(disclosures(1)))
    with pytest.raises(Refused) as caught:
        await run(tmp_path, Sources(disclosures(1)), keys=Keys(signing=b"t" * 32, generation=world.GENERATION))
    assert caught.value.code == "ledger-other-key"


async def test_another_vault_key_is_refused_with_a_sentence(tmp_path: Path) -> None:
    await run(tmp_path, Sources(disclosures(1)))
    with pytest.raises(Refused) as caught:
        await run(tmp_path, Sources(disclosures(1)), keys=Keys(signing=b"s" * 32, generation=b"t" * 32))
    assert caught.value.code == "vault-other-key"


async def test_an_older_database_than_what_was_published_is_refused(tmp_path: Path) -> None:
    root, backup = tmp_path / "ledger", tmp_path / "backup"
    sources = Sources(disclosures(1))
    await run(root, sources)
    shutil.copytree(root, backup, ignore=shutil.ignore_patterns("public"))
    sources.disclosures.records += disclosures(3).records[1:]
    await run(root, sources)
    shutil.copytree(root / "public", backup / "public")
    with pytest.raises(Tampered) as caught:
        await run(backup, sources)
    assert caught.value.code == "export-ahead"


async def test_the_files_are_served_over_http_by_the_same_paths(tmp_path: Path) -> None:
    await run(tmp_path, Sources(disclosures(90)))
    readers = Readers(world.files_at(tmp_path), generation_key=world.GENERATION)
    client = TestClient(Starlette(routes=ledger_files.routes(readers)))
    checkpoint = client.get("/ledger/s0-2026h2/checkpoint")
    assert checkpoint.content == (tmp_path / "public/s0-2026h2/checkpoint").read_bytes()
    assert checkpoint.headers["content-type"] == "text/plain; charset=utf-8"
    assert checkpoint.headers["cache-control"] == "no-cache"
    tiles = tmp_path / "public" / "s0-2026h2"
    for file in [path for path in tiles.glob("tile/**/*") if path.is_file()]:
        answer = client.get(f"/ledger/s0-2026h2/{file.relative_to(tiles).as_posix()}")
        assert answer.content == file.read_bytes()
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    for path in (
        "s0-2026h2/tile/00/000",
        "s0-2026h2/checkpoint%0A",
        "s0-2026h2/tile/0/001",
        "s0-2026h2/tile/0/000.p/256",
        "s0-2026h2/tile/0/999",
        "s0-2026h2/../persons.sqlite",
        "s0-2026h2/",
        "s0-2027h1/checkpoint",
        "persons/checkpoint",
    ):
        assert client.get(f"/ledger/{path}").status_code == 404
    readers.close()


def test_a_log_that_was_never_made_is_unavailable(tmp_path: Path) -> None:
    readers = Readers(world.files_at(tmp_path), generation_key=world.GENERATION)
    with pytest.raises(Unavailable):
        readers.latest("s0")
    assert readers.every() == []


async def test_a_log_that_is_just_being_made_is_not_there_yet(tmp_path: Path) -> None:
    await run(tmp_path, Sources(disclosures(1)))
    readers = Readers(world.files_at(tmp_path), generation_key=world.GENERATION)
    assert [reader.size for reader in readers.every()] == [OPENING, 3]
    with open_log(world.files_at(tmp_path), "s0-2026h2") as reader:
        assert reader.positions() == {(topics.DISCLOSURES, 2): 1}
    readers.close()
    # An empty file is what a writer leaves for a moment before the log is made.
    (tmp_path / "s0-2027h1.sqlite").touch()
    assert readers.latest("s0").origin.endswith("/s0-2026h2")
    with pytest.raises(Unavailable), open_log(world.files_at(tmp_path), "s0-2027h1"):
        pass
    readers.close()


def test_half_years_and_names_are_those_of_the_calendar() -> None:
    assert half_year(date(2026, 6, 30)) == "2026h1"
    assert half_year(date(2026, 7, 1)) == "2026h2"
    # The first moments of both years and the last before them, in milliseconds since 1970, by `date --date=… +%s`.
    assert (end_of("2026h1"), end_of("2026h2")) == (1_782_864_000_000, 1_798_761_600_000)
    assert [half_year_at(moment) for moment in (1_782_863_999_999, 1_782_864_000_000)] == ["2026h1", "2026h2"]
    assert is_log("s0-2026h2")
    assert is_log("epochs")
    assert not any(map(is_log, ("s00-2026h2", "s0-2026h3", "persons", "../s0-2026h2", "s0-2026h2\n")))
    with pytest.raises(Refused):
        NAMING.origin("persons")


def test_no_two_logs_have_one_key() -> None:
    # HMAC-SHA256(32 × 's', "dienstenintegrator/ledger-signing/v1" 0x00 ‖ origin), computed with `openssl dgst`.
    seed = signing_seed(b"s" * 32, "demo.integrator.example/ledger/test/s0-2026h2")
    assert seed.hex() == "5b86f049af81113182cdf8624a80dd4f05fe88690691bfd7d2b18be81cabd946"
    assert seed != signing_seed(b"s" * 32, "demo.integrator.example/ledger/test/institution-2026h2")
