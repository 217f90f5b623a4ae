"""A question is answered only when the ledger has it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integrator.domain.errors import Unavailable
from integrator.domain.topics import REQUESTS
from integrator.recording import entered
from integrator.recording.entered import Entered
from integrator.recording.readers import Readers
from integrator_audit import LedgerWriter, Signer, Vault
from integrator_audit import SetAside as Aside
from tests.unit.recording import recording_samples as world

PARTITION, POSITION = 4, 17


class Logs:
    """An institution log and two shards, made as the ledger's process makes them."""

    def __init__(self, root: Path) -> None:
        self.vault = Vault.open(world.files_at(root).persons, world.GENERATION)
        self.ledgers = {name: self._make(root, name) for name in ("institution", "s0", "s1")}
        self.readers = Readers(world.files_at(root), generation_key=world.GENERATION)

    def _make(self, root: Path, name: str) -> LedgerWriter:
        log = f"{name}-2026h2"
        signer = Signer.generate(f"demo.integrator.example/ledger/test/{log}")
        (root / f"{log}.vkey").write_text(signer.vkey)
        return LedgerWriter.open(world.files_at(root).store(log), origin=signer.name, signer=signer, vault=self.vault)

    def move(self, name: str, to: int, *, aside: bool = False) -> None:
        set_aside = [Aside(REQUESTS, PARTITION, to - 1, "contract")] if aside else []
        self.ledgers[name].append([], positions={(REQUESTS, PARTITION): to}, set_aside=set_aside)

    def close(self) -> None:
        self.readers.close()
        for ledger in self.ledgers.values():
            ledger.close()
        self.vault.close()


@pytest.fixture
def logs(tmp_path: Path) -> Any:
    made = Logs(tmp_path)
    yield made
    made.close()


async def waits(logs: Logs, *, people: bool, then: Callable[[], None]) -> bool:
    """Tell whether the wait goes on until `then` was done, and ends after it."""
    waiting = asyncio.create_task(Entered(logs.readers).wait(PARTITION, POSITION, people=people))
    done, _ = await asyncio.wait({waiting}, timeout=0.15)
    then()
    await waiting
    return not done


async def test_a_question_waits_for_the_institution_log(logs: Logs) -> None:
    logs.move("institution", POSITION)
    assert await waits(logs, people=False, then=lambda: logs.move("institution", POSITION + 1))


async def test_one_about_people_waits_for_the_shard_that_reads_it_too(logs: Logs) -> None:
    logs.move("institution", POSITION + 1)
    assert await waits(logs, people=True, then=lambda: logs.move("s1", POSITION + 1))


async def test_what_does_not_come_in_time_is_said(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entered, "PATIENCE", 0.1)
    with pytest.raises(Unavailable, match="in time") as caught:
        await Entered(logs.readers).wait(PARTITION, POSITION, people=False)
    assert caught.value.code == "reading-not-entered"


@pytest.mark.parametrize("where", ["institution", "s0"])
async def test_what_was_set_aside_is_no_entry(logs: Logs, where: str) -> None:
    for name in ("institution", "s0"):
        logs.move(name, POSITION + 1, aside=name == where)
    with pytest.raises(Unavailable, match="set this question aside"):
        await Entered(logs.readers).wait(PARTITION, POSITION, people=True)
