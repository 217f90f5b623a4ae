"""The indexes of search are brought up to date beside the ledger, by a process of their own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from integrator.recording import indexing
from integrator.recording.indexing import Indexing
from integrator_audit.searching import blocks
from integrator_audit.searching.blocks import IndexFile
from integrator_audit.searching.query import LogSearch
from tests.unit.recording.auditing_world import SUBJECTS, AuditedLedger


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[AuditedLedger]:
    made = AuditedLedger(tmp_path)
    made.disclose(3)
    yield made
    made.close()


async def test_nothing_runs_while_no_log_is_a_block_ahead(audited: AuditedLedger) -> None:
    assert not await Indexing(audited.searches).look()
    assert not audited.files.search(SUBJECTS).exists()


async def test_what_is_due_is_done_by_another_process(audited: AuditedLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogSearch, "is_behind", lambda _: True)
    assert await Indexing(audited.searches).look()
    index = IndexFile.read_only(audited.files.search(SUBJECTS))
    assert index is not None
    assert index.is_of(audited.searches._search(SUBJECTS).log)  # type: ignore[union-attr]
    index.close()


async def test_it_is_done_now_and_then_in_any_case(audited: AuditedLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "AGAIN", 0.0)
    one = Indexing(audited.searches)
    assert not await one.look()
    assert await one.look()


async def test_a_failure_is_told_and_tried_again(audited: AuditedLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogSearch, "is_behind", lambda _: True)
    audited.files.search(SUBJECTS).write_bytes(b"no index at all, and longer than the header of a file of SQLite " * 9)
    assert not await Indexing(audited.searches).look()
    audited.files.search(SUBJECTS).unlink()
    assert await Indexing(audited.searches).look()


async def test_it_ends_with_its_owner(audited: AuditedLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogSearch, "is_behind", lambda _: True)
    running = asyncio.create_task(Indexing(audited.searches).run())
    await asyncio.sleep(0.05)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert running.cancelled()


def test_a_whole_block_is_what_makes_a_log_ahead(audited: AuditedLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not audited.searches.is_behind()
    index = IndexFile.open(audited.files.search(SUBJECTS))
    search = audited.searches._search(SUBJECTS)
    assert search is not None
    index.update(search.log, left_out=search.left_out, height=3)
    assert not audited.searches.is_behind()
    audited.disclose(3)
    assert audited.searches.is_behind()
    index.update(search.log, left_out=search.left_out, height=3)
    assert not audited.searches.is_behind()
    index.close()
    assert blocks.HEIGHT == 16
