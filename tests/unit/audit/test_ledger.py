from __future__ import annotations

import json
from pathlib import Path

import pytest

from integrator_audit import Invalid, Ledger, Refused, Signer, Tampered, Unavailable
from integrator_audit.note import Note, join_note
from integrator_audit.receiptcheck import Received
from integrator_audit.witnessing.cosignature import Cosigner
from integrator_audit.witnessing.policy import Policy
from tests.unit.audit.audit_samples import ORIGIN, Place, signer

NOW = 1_790_000_000
WITNESS = Cosigner.generate("witness.example")
OTHER_LOG = f"log {Signer.generate('demo.integrator.example/ledger/demo/s1-2026h2').vkey}"
THIRD_LOG = f"log {Signer.generate('demo.integrator.example/ledger/demo/s2-2026h2').vkey}"


@pytest.fixture
def published(filled: Place, tmp_path: Path) -> Path:
    """Return a directory with the files of a log of 785 entries, cosigned an hour ago."""
    reader = filled.reader()
    reader.export(tmp_path / "log")
    note = Note.parse(reader.checkpoint())
    line = WITNESS.cosign(note.unverified_text, NOW - 3600)
    (tmp_path / "log" / "checkpoint").write_bytes(join_note(note.unverified_text, [*note.signatures, line]))
    (tmp_path / "opening.json").write_text(json.dumps(reader.opening(5)))
    reader.close()
    return tmp_path / "log"


def policy(*, log: bool = True, quorum: str = "w") -> Policy:
    lines = [f"log {signer().vkey}"] if log else []
    return Policy.parse("\n".join([*lines, f"witness w {WITNESS.key.vkey}", f"quorum {quorum}", ""]).encode())


def opened(place: Path, trusted: Policy | None, *, now: int = NOW, **more: object) -> Ledger:
    return Ledger.open(place, policy=trusted, state=place.parent / "state", clock=lambda: now, **more)  # type: ignore[arg-type]


def test_a_log_is_verified_with_the_key_and_the_witnesses_of_a_policy(published: Path) -> None:
    ledger = opened(published, policy())
    result = ledger.verify()
    assert (ledger.origin, result.verdict, result.checkpoint.size, result.previous) == (ORIGIN, "verified", 785, None)
    assert opened(published, policy()).verify().previous == 785, "the second look remembers the first"


def test_a_quorum_that_is_old_leaves_the_question_open(published: Path) -> None:
    assert opened(published, policy(), now=NOW + 3 * 86_400).verify().verdict == "unknown"


def test_with_a_key_alone_the_log_is_verified_without_witnesses(published: Path, tmp_path: Path) -> None:
    (tmp_path / "s0.vkey").write_text(signer().vkey + "\n")
    for keys in (signer().vkey, tmp_path / "s0.vkey", str(tmp_path / "s0.vkey"), signer().verifier):
        result = opened(published, None, keys=keys).verify()
        assert (result.verdict, result.quorum) == ("verified", None)


def test_of_several_logs_in_a_policy_the_one_at_the_place_is_chosen(published: Path) -> None:
    several = Policy.parse(f"{OTHER_LOG}\nlog {signer().vkey}\nwitness w {WITNESS.key.vkey}\nquorum w\n".encode())
    assert opened(published, several).origin == ORIGIN
    with pytest.raises(Refused):
        opened(published, Policy.parse(f"{OTHER_LOG}\n{THIRD_LOG}\nquorum none\n".encode()))


def test_a_receipt_of_the_log_is_checked_offline(published: Path, tmp_path: Path) -> None:
    receipt = (tmp_path / "opening.json").read_bytes()
    checked = opened(published, None, keys=signer().vkey).check_receipt(receipt)
    assert checked.opening.index == 5
    with pytest.raises(Tampered) as caught:
        opened(published, policy()).check_receipt(receipt)
    assert caught.value.code == "receipt-quorum", "its checkpoint was not cosigned"
    with pytest.raises(Tampered) as other:
        opened(published, None, keys=signer().vkey).check_receipt(receipt, received=Received(value_sha256="0" * 64))
    assert other.value.code == "receipt-position", "a citizen's opening says nothing of a delivery"


def test_what_is_missing_or_malformed_is_one_clear_error(published: Path, tmp_path: Path) -> None:
    with pytest.raises(Invalid) as caught:
        opened(published, None)
    assert caught.value.code == "ledger-keys"
    with pytest.raises(Unavailable, match="witnesses"):
        Ledger.open(published, policy=tmp_path / "witnesses.policy")
    with pytest.raises(Unavailable):
        Ledger.open(tmp_path / "nowhere", keys=signer().vkey)
    (published / "checkpoint").write_bytes(b"\0")
    with pytest.raises(Tampered) as damaged:
        opened(published, Policy.parse(f"{OTHER_LOG}\nlog {signer().vkey}\nquorum none\n".encode()))
    assert damaged.value.code == "checkpoint-malformed"
