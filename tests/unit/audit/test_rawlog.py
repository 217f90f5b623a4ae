"""Holds that a log of public leaves is a log like any other: the same tree, the same recovery, readable by anybody."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from integrator_audit import Invalid, LedgerReader, LedgerWriter, RawLog, Refused, Signer, Tampered, Unavailable, Vault
from integrator_audit.fsck import fsck
from integrator_audit.sources import DirectorySource
from integrator_audit.verify import verify_log

ORIGIN = "demo.integrator.example/ledger/demo/epochs"
SIGNER = Signer(ORIGIN, bytes(range(32)))


def opened(tmp_path: Path) -> RawLog:
    return RawLog.open(tmp_path / "epochs.sqlite", origin=ORIGIN, signer=SIGNER)


def test_leaves_stand_in_the_order_given_and_are_read_back(tmp_path: Path) -> None:
    leaves = [b"leaf %d" % number * (1 + number % 9) for number in range(700)]
    log = opened(tmp_path)
    assert log.append_leaves(leaves[:300]).indices == tuple(range(300))
    log.append_leaves(leaves[300:])
    log.close()
    again = opened(tmp_path)
    assert (again.size, again.leaf(0), again.leaf(699)) == (700, leaves[0], leaves[699])
    assert again.leaves(0, 700) == leaves
    assert again.leaves(250, 520) == leaves[250:520]
    assert again.leaves(256, 512) == leaves[256:512]
    assert again.leaves(5, 5) == []
    reader = LedgerReader.open(tmp_path / "epochs.sqlite")
    assert reader.leaf(300) == leaves[300]
    reader.export(tmp_path / "public")
    assert verify_log(DirectorySource(tmp_path / "public"), SIGNER.verifier).holds
    assert fsck(tmp_path / "epochs.sqlite", verifier=SIGNER.verifier).holds


@pytest.mark.parametrize(("start", "stop"), [(0, 6), (-1, 2), (4, 3)])
def test_leaves_that_are_not_there_are_refused(tmp_path: Path, start: int, stop: int) -> None:
    log = opened(tmp_path)
    log.append_leaves([b"leaf"] * 5)
    if start > stop:
        assert log.leaves(start, stop) == []
        return
    with pytest.raises(Invalid) as caught:
        log.leaves(start, stop)
    assert caught.value.code == "no-such-entry"


@pytest.mark.parametrize("leaf", [b"", b"x" * 65_536])
def test_a_leaf_that_no_bundle_can_hold_is_refused_and_nothing_is_written(tmp_path: Path, leaf: bytes) -> None:
    log = opened(tmp_path)
    with pytest.raises(Invalid):
        log.append_leaves([b"good", leaf])
    assert log.size == 0
    assert log.append_leaves([b"x" * 65_535]).size == 1


def test_a_log_of_leaves_and_a_log_of_entries_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path / "persons.sqlite", bytes(32))
    opened(tmp_path).close()
    with pytest.raises(Refused) as caught:
        LedgerWriter.open(tmp_path / "epochs.sqlite", origin=ORIGIN, signer=SIGNER, vault=vault)
    assert caught.value.code == "ledger-other-key"
    LedgerWriter.open(tmp_path / "other.sqlite", origin=ORIGIN, signer=SIGNER, vault=vault).close()
    with pytest.raises(Refused):
        RawLog.open(tmp_path / "other.sqlite", origin=ORIGIN, signer=SIGNER)


def test_a_bundle_that_is_missing_is_noticed(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.append_leaves([b"leaf"] * 300)
    with sqlite3.connect(tmp_path / "epochs.sqlite") as connection:
        connection.execute("DELETE FROM tile WHERE level = -1 AND n = 0")
    with pytest.raises(Tampered) as caught:
        log.leaf(3)
    assert caught.value.code == "tile-missing"


def test_a_second_writer_of_the_epochs_is_refused(tmp_path: Path) -> None:
    first, second = opened(tmp_path), opened(tmp_path)
    first.append_leaves([b"one"])
    with pytest.raises(Refused) as caught:
        second.append_leaves([b"other"])
    assert caught.value.code == "ledger-other-writer"
    with pytest.raises(Unavailable):
        second.append_leaves([b"other"])
    assert first.append_leaves([b"two"]).size == 2
