from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from hashlib import shake_256
from pathlib import Path

import pytest

from integrator_audit import Invalid, LedgerReader, Tampered, Unavailable
from integrator_audit.checkpoint import open_checkpoint
from integrator_audit.completeness.epochlog import EpochLog
from integrator_audit.completeness.history import Asked, History, read_history, verify_history
from integrator_audit.completeness.index import Trie
from integrator_audit.completeness.labels import DAY, PERIOD, label_of
from integrator_audit.completeness.pages import erase_leaves
from integrator_audit.completeness.presenting import Sealed, account_lines, document_bytes, history
from integrator_audit.halfyear import first_day, last_day, period_of
from integrator_audit.store import Erasure
from tests.unit.audit.schema_check import breaches, schema
from tests.unit.audit.sealing_samples import FIRST, HOST, Installation, entry, key, number_text, secret, signature


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path)
    yield installation
    installation.close()


def sealed(place: Installation) -> Sealed:
    def shards(period: int) -> dict[int, LedgerReader]:
        return {
            shard: place.reader(shard, period)
            for shard in range(place.shards)
            if place.file(f"s{shard}", period).exists()
        }

    return Sealed(LedgerReader.open(place.epoch_file), place.index, shards)


def shown(place: Installation, person: int, first: int = FIRST, last: int | None = None) -> bytes:
    """Return the history document of a person, up to the newest sealed day."""
    days = sealed(place)
    document = history(
        days,
        first,
        days.newest if last is None else last,
        signature=lambda period: signature(period, person),
        service=place.service,
    )
    return document_bytes(document)


def judged(place: Installation, data: bytes, person: int, *, today: int | None = None, **asked: int) -> History:
    """Verify a history as its person does."""
    reader = LedgerReader.open(place.epoch_file)
    checkpoint = open_checkpoint(reader.checkpoint(), key(f"{HOST}/epochs").verifier)
    log = EpochLog(checkpoint, reader.checkpoint(), place.leaves(), previous=None, doubts=())
    reader.close()
    question = Asked(number_text(person), today=log.newest + 1 if today is None else today, **asked)
    return verify_history(read_history(data), log, question)


def test_a_persons_history_holds_and_shows_every_entry(place: Installation) -> None:
    sealer = place.begun()
    for day in range(3):
        place.at(day)
        place.deliver(1, 2, 1)
        place.deliver(3, listed=False)
    place.at(4)
    sealer.seal_due()
    for person, count in ((1, 6), (2, 3), (3, 0), (4, 0)):
        found = judged(place, shown(place, person), person, first=FIRST)
        assert len(found.entries) == count
        assert found.unlisted == 1


def test_a_history_of_some_days_holds_for_these(place: Installation) -> None:
    sealer = place.begun()
    for day in range(5):
        place.at(day)
        place.deliver(1)
    place.at(5)
    sealer.seal_due()
    data = shown(place, 1, FIRST + 1, FIRST + 3)
    assert len(judged(place, data, 1, first=FIRST + 1, last=FIRST + 3).entries) == 3
    with pytest.raises(Tampered) as caught:
        judged(place, data, 1, first=FIRST, last=FIRST + 3)
    assert caught.value.code == "day-missing"


def test_a_closed_half_year_is_one_answer(tmp_path: Path) -> None:
    place = Installation(tmp_path, shards=2)
    sealer = place.begun()
    period = place.period
    closing = last_day(period)
    for day in (0, 9, closing - FIRST):
        place.at(day)
        for shard in (0, 1):
            place.deliver(1, 2, shard=shard)
    place.writer("institution", period)
    place.close_period(period)
    place.at(closing - FIRST + 1)
    place.deliver(1)
    place.at(closing - FIRST + 2)
    sealer.seal_due()
    data = shown(place, 1, first_day(period))
    document = read_history(data)
    assert [(proof.epoch, proof.level) for proof in document.evidence.proofs] == [(closing, PERIOD), (closing + 1, DAY)]
    assert len(judged(place, data, 1).entries) == 7
    assert len(judged(place, shown(place, 3, first_day(period)), 3).entries) == 0
    place.close()


def test_an_erased_list_and_an_erased_entry_are_shown_as_such(place: Installation) -> None:
    sealer = place.begun()
    gone, left, *_ = place.deliver(1, 1)
    place.at(1)
    (other,) = place.deliver(1)
    place.at(2)
    sealer.seal_due()
    place.writer("s0").erase([Erasure(gone, "order"), Erasure(other, "order")])
    label = label_of(secret(period_of(FIRST), 1), DAY, FIRST + 1)
    assert erase_leaves(place.index, FIRST + 1, Trie.PERSONS, [label], ground="order") == 1
    found = judged(place, shown(place, 1), 1, first=FIRST)
    assert [day.erased for day in found.days] == [None, "order"]
    assert {entry.place.number: entry.erased for entry in found.entries} == {gone: "order", left: None}


def test_a_history_is_of_the_schema_that_the_library_ships(place: Installation) -> None:
    sealer = place.begun()
    gone, *_ = place.deliver(1, 1, 2)
    place.at(1)
    place.deliver(1)
    place.at(3)
    sealer.seal_due()
    place.writer("s0").erase([Erasure(gone, "order")])
    label = label_of(secret(period_of(FIRST), 1), DAY, FIRST + 1)
    erase_leaves(place.index, FIRST + 1, Trie.PERSONS, [label], ground="order")
    rules = schema("history.v1")
    for person in (1, 2, 3):
        assert not list(breaches(json.loads(shown(place, person)), rules, rules))


def test_an_account_answers_each_day_with_parts_a_and_d(place: Installation) -> None:
    sealer = place.begun()
    place.deliver(1, 2)
    place.deliver(3, listed=False)
    place.deliver(4, recipient="groeifonds")
    place.at(1)
    sealer.seal_due()
    made = account_lines(sealed(place), FIRST, FIRST, recipient="svb", secret=place.recipients.secret("svb"))
    lines = [json.loads(line) for line in made]
    entries = [line["entry"] for line in lines if "entry" in line]
    assert len(entries) == 3
    rules = schema("account.v1")
    assert not [breach for line in lines for breach in breaches(line, rules, rules)]
    assert {tuple(sorted(set(one) & set("ADSP"))) for one in entries} == {("A", "D")}
    assert not any("S" in one for one in entries)


def test_days_that_are_not_sealed_are_not_answered_for(place: Installation) -> None:
    place.begun()
    for first, last in ((FIRST, FIRST), (FIRST - 1, FIRST), (FIRST - 1, FIRST - 2), (-1, 3)):
        with pytest.raises(Invalid) as caught:
            shown(place, 1, first, last)
        assert caught.value.code == "days"


def test_a_shard_or_a_checkpoint_that_is_missing_is_told(place: Installation) -> None:
    sealer = place.begun()
    place.deliver(1)
    place.at(1)
    sealer.seal_due()
    days = sealed(place)
    nothing = Sealed(days.epochs, days.index, lambda _: {})
    with pytest.raises(Unavailable):
        history(nothing, FIRST, FIRST, signature=lambda period: signature(period, 1), service=place.service)
    place.index.connection.execute("DELETE FROM cut")
    with pytest.raises(Tampered) as caught:
        shown(place, 1)
    assert caught.value.code == "index-cut"


def _ledger_with_an_unlisted_entry(
    directory: Path, about: int, monkeypatch: pytest.MonkeyPatch, *, listed: bool = False
) -> tuple[bytes, Counter[str], int]:
    """Return the history of person 1 of an installation in which an entry about `about` is withheld.

    All else is the same, randomness included: statements that reading took, by their text, and steps of the database.
    """
    drawn = Counter[str]()

    def urandom(size: int) -> bytes:
        drawn["bytes"] += size
        return shake_256(drawn["bytes"].to_bytes(8, "big")).digest(size)

    monkeypatch.setattr(os, "urandom", urandom)
    place = Installation(directory)
    sealer = place.begun()
    place.deliver(1, 2, 5)
    hidden = entry(1, 77, listed=listed)._replace(subject=entry(about, 77).subject)
    place.append([hidden])
    place.pad(3)
    place.deliver(1)
    place.at(1)
    sealer.seal_due()
    monkeypatch.undo()
    days = sealed(place)
    shards = dict(days.shards(period_of(FIRST)))
    statements, steps = Counter[str](), Counter[str]()
    connections: list[sqlite3.Connection] = [
        place.index.connection,
        place.vault._tables.connection,
        days.epochs._store.connection,  # type: ignore[attr-defined]
        *(reader._store.connection for reader in shards.values()),  # type: ignore[attr-defined]
    ]

    def step() -> int:
        steps["all"] += 1
        return 0

    def trace(statement: str) -> None:
        statements[statement] += 1

    for connection in connections:
        connection.set_trace_callback(trace)
        connection.set_progress_handler(step, 1)
    document = history(
        Sealed(days.epochs, days.index, lambda _: shards),
        FIRST,
        FIRST,
        signature=lambda period: signature(period, 1),
        service=place.service,
    )
    place.close()
    return document_bytes(document), statements, steps["all"]


def test_a_citizens_view_has_the_same_bytes_and_the_same_work_whether_or_not_something_is_withheld(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = []
    for name, about in (("withheld", 1), ("anothers", 5)):
        (tmp_path / name).mkdir()
        views.append(_ledger_with_an_unlisted_entry(tmp_path / name, about, monkeypatch))
    (bytes_one, statements_one, steps_one), (bytes_other, statements_other, steps_other) = views
    assert bytes_one == bytes_other
    assert statements_one == statements_other
    assert statements_one.total() > 5
    assert steps_one == steps_other > 100
    control = tmp_path / "listed"
    control.mkdir()
    bytes_control, _, steps_control = _ledger_with_an_unlisted_entry(control, 1, monkeypatch, listed=True)
    assert bytes_control != bytes_one
    assert steps_control > steps_one


def test_a_leaf_that_is_none_is_the_logs_damage_and_not_the_askers_mistake() -> None:
    class Logs:
        size = 5

        def leaf(self, epoch: int) -> bytes:
            return b"\x10" + bytes([epoch])

    with pytest.raises(Tampered) as caught:
        Sealed(Logs(), None, lambda _: {}).leaf(3)  # type: ignore[arg-type]
    assert caught.value.code == "epoch-leaf"
