from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from integrator_audit import Invalid, Refused, Signer, Tampered, Unavailable
from integrator_audit.note import Note, join_note
from integrator_audit.state import State
from integrator_audit.verify import Demand
from integrator_audit.witnessing import monitor as monitor_module
from integrator_audit.witnessing.contradiction import Contradiction
from integrator_audit.witnessing.monitor import PATIENCE, CheckLeaves, Misbehaved, Monitor
from tests.unit.audit.witness_samples import COSIGNERS, LOG, NOW, SampleLog, SampleSource, policy


@pytest.fixture
def log() -> SampleLog:
    return SampleLog()


@pytest.fixture
def source(log: SampleLog) -> SampleSource:
    return SampleSource(log)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


def watching(source: SampleSource, state: State, check: CheckLeaves | None = None, *, whole: bool = False) -> Monitor:
    return Monitor(source, LOG.verifier, state=state, check_leaves=check, whole=whole)


class Seen:
    """A check that keeps what it saw."""

    def __init__(self) -> None:
        self.leaves: list[bytes] = []

    def __call__(self, first: int, leaves: Sequence[bytes]) -> None:
        assert first == len(self.leaves), "without gaps and in order"
        self.leaves += leaves


def caught(monitor: Monitor, now: int = NOW) -> Misbehaved:
    with pytest.raises(Misbehaved) as raised:
        monitor.look(now)
    return raised.value


def test_a_log_that_grows_is_verified_at_each_look(log: SampleLog, source: SampleSource, state: State) -> None:
    monitor = watching(source, state)
    previous = None
    for count in (0, 1, 255, 1, 0, 700, 66_000):
        log.grow(count)
        look = monitor.look(NOW)
        assert (look.result, look.checkpoint.size, look.previous, look.stale) == (
            "verified",
            log.head.size,
            previous,
            False,
        )
        previous = log.head.size
    assert not any("entries" in path for path in source.fetched), "entries are read only when that is asked"


def test_the_next_process_goes_on_from_what_was_remembered(log: SampleLog, source: SampleSource, state: State) -> None:
    log.grow(300)
    assert watching(source, state).look(NOW).previous is None
    log.grow(300)
    assert watching(source, state).look(NOW).previous == 300


def test_entries_are_not_read_on_from_a_tree_that_is_not_the_one_that_was_read(
    log: SampleLog, source: SampleSource, state: State
) -> None:
    fork = log.fork(b"other ")
    log.grow(300)
    fork.grow(300)
    watching(source, state, Seen()).look(NOW)
    # What was read last is another history's than what was seen last: somebody changed the state.
    state.save(LOG.name, fork.head.note, "read")
    log.grow(1)
    with pytest.raises(Unavailable) as raised:
        watching(source, state, Seen()).look(NOW)
    assert raised.value.code == "tile-wrong"


@pytest.mark.parametrize("sizes", [(5, 5), (5, 8), (256, 300), (513, 66_000)])
def test_a_fork_is_a_proof_that_convinces_others(
    log: SampleLog, source: SampleSource, state: State, sizes: tuple[int, int]
) -> None:
    log.grow(3)
    fork = log.fork(b"other ")
    log.grow(sizes[0] - 3)
    fork.grow(sizes[1] - 3)
    monitor = watching(source, state)
    monitor.look(NOW)
    source.log = fork
    misbehaved = caught(monitor)
    assert misbehaved.code == "fork"
    assert misbehaved.notes == (log.head.note, fork.head.note)
    assert misbehaved.contradiction is not None
    again = Contradiction.parse(json.loads(json.dumps(misbehaved.contradiction.document)))
    assert again.check(LOG.verifier) == sizes
    assert state.load(LOG.name) == log.head.note, "what was accepted stays"


def test_evidence_that_proves_nothing_is_not_believed(log: SampleLog, source: SampleSource, state: State) -> None:
    log.grow(3)
    fork = log.fork(b"other ")
    early = log.grow(2)
    fork.grow(7)
    monitor = watching(source, state)
    monitor.look(NOW)
    source.log = fork
    found = caught(monitor).contradiction
    assert found is not None
    stranger = Signer(LOG.name, bytes(32))
    later = log.grow(5)
    honest = Contradiction(LOG.name, early.note, later.note, early.root, tuple(log.proof(5)))
    for wrong in (
        honest,
        dataclasses.replace(honest, prefix_root=bytes(32)),
        dataclasses.replace(honest, prefix_root=b""),
        dataclasses.replace(found, proof=found.proof[:-1]),
        dataclasses.replace(found, prefix_root=bytes(32)),
        dataclasses.replace(found, later=stranger.sign(Note.parse(found.later).unverified_text)),
        dataclasses.replace(found, earlier=found.later, later=found.earlier),
    ):
        with pytest.raises(Tampered):
            wrong.check(LOG.verifier)
    document = found.document
    for name in document:
        for value in (None, 5, "!"):
            with pytest.raises((Invalid, Tampered)):
                Contradiction.parse(document | {name: value}).check(Signer(LOG.name, bytes(32)).verifier)
        with pytest.raises(Invalid):
            Contradiction.parse({key: value for key, value in document.items() if key != name})


def test_a_smaller_checkpoint_is_an_old_copy_for_a_while_and_then_a_rollback(
    log: SampleLog, source: SampleSource, state: State
) -> None:
    old = log.grow(300).note
    log.grow(300)
    monitor = watching(source, state)
    monitor.look(NOW)
    source.files["checkpoint"] = old
    for later in (0, PATIENCE - 1):
        look = monitor.look(NOW + later)
        assert (look.result, look.stale, look.checkpoint.size, look.previous) == ("unknown", True, 300, 600)
    misbehaved = caught(monitor, NOW + PATIENCE)
    assert (misbehaved.code, misbehaved.notes) == ("rollback", (log.head.note, old))
    del source.files["checkpoint"]
    assert monitor.look(NOW + PATIENCE).result == "verified"
    source.files["checkpoint"] = old
    assert monitor.look(NOW + PATIENCE + 1).stale, "the patience begins anew"


def test_a_log_that_lost_its_tiles_with_its_size_is_a_rollback_too(
    log: SampleLog, source: SampleSource, state: State
) -> None:
    log.grow(300)
    backup = log.fork(b"other ")
    log.grow(300)
    monitor = watching(source, state)
    monitor.look(NOW)
    source.log = backup
    assert monitor.look(NOW).stale
    assert caught(monitor, NOW + PATIENCE).code == "rollback"
    backup.grow(301)
    assert caught(monitor, NOW + PATIENCE).code == "fork"


def test_a_smaller_checkpoint_of_another_history_is_a_fork_at_once(
    log: SampleLog, source: SampleSource, state: State
) -> None:
    log.grow(300)
    fork = log.fork(b"other ")
    log.grow(300)
    monitor = watching(source, state)
    monitor.look(NOW)
    source.files["checkpoint"] = fork.grow(10).note
    misbehaved = caught(monitor)
    assert misbehaved.contradiction is not None
    assert misbehaved.contradiction.check(LOG.verifier) == (310, 600)


def test_a_checkpoint_that_nobody_signed_fails_and_no_checkpoint_tells_nothing(
    log: SampleLog, source: SampleSource, state: State
) -> None:
    note = log.grow(5).note
    monitor = watching(source, state)
    for wrong in (note.replace(b"\n5\n", b"\n6\n"), note[:-1], b"", Signer(LOG.name, bytes(32)).sign(b"x\n")):
        source.files["checkpoint"] = wrong
        with pytest.raises(Tampered):
            monitor.look(NOW)
    source.files["checkpoint"] = None
    with pytest.raises(Unavailable):
        monitor.look(NOW)
    assert state.load(LOG.name) is None
    state.save(LOG.name, Signer(LOG.name, bytes(32)).sign(Note.parse(note).unverified_text))
    del source.files["checkpoint"]
    with pytest.raises(Refused):
        monitor.look(NOW)


def test_tiles_that_do_not_belong_to_the_checkpoint_fail_and_missing_ones_tell_nothing(
    log: SampleLog, source: SampleSource, state: State
) -> None:
    log.grow(300)
    monitor = watching(source, state)
    monitor.look(NOW)
    log.grow(300)
    source.files["tile/0/001"] = None
    with pytest.raises(Unavailable):
        monitor.look(NOW)
    source.files["tile/0/001"] = bytes(8192)
    assert caught(monitor).code == "tile-wrong"
    source.files["tile/0/001"] = b""
    assert caught(monitor).code == "tile-wrong"
    del source.files["tile/0/001"]
    assert monitor.look(NOW).previous == 300


def test_a_quorum_that_is_missing_or_old_tells_nothing(log: SampleLog, source: SampleSource, state: State) -> None:
    note = Note.parse(log.grow(5).note)
    text = note.unverified_text
    monitor = watching(source, state)
    demand = Demand(policy(), NOW)
    for cosigned, result in (((), "unknown"), (COSIGNERS[:1], "unknown"), (COSIGNERS[:2], "verified")):
        lines = [cosigner.cosign(text, NOW - 5) for cosigner in cosigned]
        source.files["checkpoint"] = join_note(text, [*note.signatures, *lines])
        look = monitor.look(NOW, demand)
        assert look.result == result
        assert look.quorum is not None
    assert monitor.look(NOW + 49 * 3600, demand).result == "unknown"


def test_all_entries_are_read_once_and_in_order(
    log: SampleLog, source: SampleSource, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_module, "STRETCH", 512)
    seen = Seen()
    monitor = watching(source, state, seen)
    for count in (0, 1, 300, 256, 2000):
        log.grow(count)
        assert monitor.look(NOW).read == count
        assert len(seen.leaves) == log.head.size
    assert seen.leaves == [b"entry %d" % number for number in range(2557)]
    # The next process reads on.
    log.grow(10)
    rest: list[tuple[int, int]] = []
    look = watching(source, state, lambda first, leaves: rest.append((first, len(leaves)))).look(NOW)
    assert (look.read, rest) == (10, [(2557, 3), (2560, 7)])
    # A check that needs all of them reads from the first on in each process.
    again = Seen()
    assert watching(source, state, again, whole=True).look(NOW).read == 2567


@pytest.mark.parametrize("path", ["tile/entries/000", "tile/entries/001", "tile/entries/003.p/32"])
def test_an_entry_that_does_not_give_the_root_is_not_shown_to_the_check(
    log: SampleLog, source: SampleSource, state: State, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_module, "STRETCH", 256)
    log.grow(800)
    good = source.fetch(path)
    assert good is not None
    source.files[path] = good.replace(b"entry", b"fraud", 1)
    seen = Seen()
    misbehaved = caught(watching(source, state, seen))
    assert misbehaved.code == "root-wrong"
    assert b"fraud" not in b"".join(seen.leaves)
    source.files[path] = good + b"\x00\x01x"
    with pytest.raises(Tampered):
        watching(source, state, Seen()).look(NOW)
    assert state.load(LOG.name) is None


def test_reading_goes_on_after_a_file_was_missing(
    log: SampleLog, source: SampleSource, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor_module, "STRETCH", 256)
    log.grow(800)
    source.files["tile/entries/002"] = None
    seen = Seen()
    monitor = watching(source, state, seen)
    with pytest.raises(Unavailable):
        monitor.look(NOW)
    assert len(seen.leaves) == 512
    del source.files["tile/entries/002"]
    assert monitor.look(NOW).read == 800 - 512
    assert len(seen.leaves) == 800


def test_a_rule_that_leaves_break_is_misbehaviour(log: SampleLog, source: SampleSource, state: State) -> None:
    def never(first: int, leaves: Sequence[bytes]) -> None:
        raise Tampered("epoch-order", "the days are out of order")

    log.grow(5)
    misbehaved = caught(watching(source, state, never))
    assert (misbehaved.code, misbehaved.notes) == ("epoch-order", (log.head.note,))
