"""Holds that with a policy only what a quorum cosigned is published, and that older databases are refused."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integrator.domain.errors import Refused, Tampered
from integrator.operation.processes import ledger_terms
from integrator.operation.settings import Installation, Settings
from integrator.recording.disclosures import DisclosureRecorder
from integrator.recording.logs import signing_seed
from integrator.recording.publication import publication
from integrator_audit import LedgerWriter, Signer, Vault
from integrator_audit.witnessing.cosignature import Cosigner
from integrator_audit.witnessing.policy import Policy
from integrator_audit.witnessing.server import WitnessServer
from integrator_audit.witnessing.witness import Witness
from tests.unit.recording import recording_samples as world
from tests.unit.recording.test_recording_process import KEYS, NAMING

LOG = "s0-2026h2"
SIGNER = Signer(NAMING.origin(LOG), signing_seed(KEYS.signing, NAMING.origin(LOG)))
COSIGNER = Cosigner("witness.example", b"w" * 32)


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessServer]:
    """A real witness, over HTTP."""
    held = Witness.open(
        tmp_path / "witness.sqlite", cosigner=COSIGNER, logs={SIGNER.name: [SIGNER.verifier]}, clock=time.time
    )
    server = WitnessServer(("127.0.0.1", 0), held)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    serving.start()
    yield server
    server.shutdown()
    server.server_close()
    serving.join()


def policy(port: int) -> Policy:
    text = f"witness W {COSIGNER.key.vkey} http://127.0.0.1:{port}\nquorum W\n"
    return Policy.parse(text.encode())


class Log:
    """One log that is filled by hand."""

    def __init__(self, root: Path) -> None:
        self.files = world.files_at(root)
        root.mkdir(exist_ok=True)
        self._vault = Vault.open(self.files.persons, world.GENERATION)
        self.ledger = LedgerWriter.open(self.files.store(LOG), origin=SIGNER.name, signer=SIGNER, vault=self._vault)
        self._made = 0

    def grow(self, count: int = 1) -> None:
        for _ in range(count):
            self._made += 1
            record = world.record(world.disclosure(self._made), self._made)
            self.ledger.append(DisclosureRecorder().read(record).make(world.knowledge()))

    def note(self) -> str:
        return (self.files.public(LOG) / "checkpoint").read_text()

    def close(self) -> None:
        self.ledger.close()
        self._vault.close()


def test_what_is_published_carries_the_quorums_cosignature(tmp_path: Path, witness: WitnessServer) -> None:
    log = Log(tmp_path / "ledger")
    log.grow()
    asked = policy(witness.server_port)
    shown = publication(log.files, LOG, writer=log.ledger, key=SIGNER.verifier, policy=asked)
    assert shown.size == -1
    assert shown.advance()
    assert shown.size == 3
    assert log.note().count("\u2014 ") == 2
    assert "\u2014 witness.example " in log.note()
    log.grow()
    assert log.note().splitlines()[1] == "3"
    assert shown.advance()
    assert log.note().splitlines()[1] == "6"
    shown.close()
    log.close()


def test_without_its_witness_nothing_more_is_published_and_the_log_goes_on(
    tmp_path: Path, witness: WitnessServer
) -> None:
    log = Log(tmp_path / "ledger")
    log.grow()
    shown = publication(log.files, LOG, writer=log.ledger, key=SIGNER.verifier, policy=policy(witness.server_port))
    shown.advance()
    witness.shutdown()
    witness.server_close()
    log.grow()
    assert not shown.advance()
    assert (shown.size, log.ledger.size) == (3, 6)
    shown.close()
    log.close()


def test_files_that_a_crash_left_behind_are_brought_to_what_the_database_says(
    tmp_path: Path, witness: WitnessServer
) -> None:
    log = Log(tmp_path / "ledger")
    log.grow()
    asked = policy(witness.server_port)
    first = publication(log.files, LOG, writer=log.ledger, key=SIGNER.verifier, policy=asked)
    first.advance()
    first.close()
    note = log.note()
    shutil.rmtree(log.files.public(LOG))
    again = publication(log.files, LOG, writer=log.ledger, key=SIGNER.verifier, policy=asked)
    assert (again.size, log.note()) == (3, note)
    again.close()
    log.close()


@pytest.mark.parametrize("kept", ["public", "asked"])
def test_an_older_database_than_was_published_or_asked_is_refused_before_it_grows(
    tmp_path: Path, witness: WitnessServer, kept: str
) -> None:
    log = Log(tmp_path / "ledger")
    log.grow()
    log.close()
    shutil.copytree(tmp_path / "ledger", tmp_path / "backup")
    log = Log(tmp_path / "ledger")
    log.grow()
    asked = policy(witness.server_port)
    shown = publication(log.files, LOG, writer=log.ledger, key=SIGNER.verifier, policy=asked)
    shown.advance()
    shown.close()
    log.close()
    shutil.copytree(tmp_path / "ledger" / kept, tmp_path / "backup" / kept)
    older = Log(tmp_path / "backup")
    with pytest.raises(Tampered) as caught:
        publication(older.files, LOG, writer=older.ledger, key=SIGNER.verifier, policy=asked)
    assert caught.value.code == "start-older"
    older.close()


def test_without_a_policy_each_checkpoint_is_published_at_once(tmp_path: Path) -> None:
    log = Log(tmp_path / "ledger")
    log.grow()
    shown = publication(log.files, LOG, writer=log.ledger, key=SIGNER.verifier, policy=None)
    assert (shown.size, log.note().count("\u2014 ")) == (3, 1)
    log.grow()
    assert shown.advance()
    assert shown.size == 6
    shown.close()
    log.close()


def test_the_policy_is_the_file_that_the_setting_names(tmp_path: Path) -> None:
    (tmp_path / "policy").write_text(f"witness W {COSIGNER.key.vkey} http://127.0.0.1:1\nquorum W\n")
    installation = Installation.create(tmp_path, Settings(ledger_policy="policy", ledger_unlisted=9))
    terms = ledger_terms(installation)
    assert terms.policy is not None
    assert [one.name for one in terms.policy.witnesses] == ["W"]
    assert (terms.shards, terms.unlisted) == (1, 9)
    missing = Installation(tmp_path, Settings(ledger_policy="nowhere"))
    with pytest.raises(Refused) as caught:
        ledger_terms(missing)
    assert caught.value.code == "ledger-policy"
