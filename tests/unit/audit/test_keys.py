from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from integrator_audit import Invalid, LedgerReader, LedgerWriter, Refused, Signer, Tampered, verify_opening
from integrator_audit.checkpoint import Checkpoint, open_checkpoint
from integrator_audit.fsck import fsck
from integrator_audit.note import Note, join_note
from integrator_audit.sources import DirectorySource
from integrator_audit.state import State
from integrator_audit.verify import verify_log
from integrator_audit.witnessing.keys import (
    KeyPolicy,
    KeyRange,
    KeyRoot,
    LogSigners,
    accept_keys,
    sign_offline,
)
from tests.unit.audit.audit_samples import ORIGIN, Place, entry

OLD, NEW, THIRD = (Signer(ORIGIN, bytes([number]) * 32) for number in (1, 2, 3))
OFFLINE = [Signer(f"offline{number}.example", bytes([number + 10]) * 32) for number in range(3)]
ROOT = KeyRoot(2, tuple(signer.verifier for signer in OFFLINE))
ROTATED = KeyPolicy(ORIGIN, 2, (KeyRange(OLD.verifier, 0, 120), KeyRange(NEW.verifier, 100, None)))
FIRST = KeyPolicy(ORIGIN, 1, (KeyRange(OLD.verifier, 0, None),))


def signed(policy: KeyPolicy, signers: Sequence[Signer] = OFFLINE[:2]) -> bytes:
    return sign_offline(policy.text, signers)


def note(size: int, *signers: Signer) -> bytes:
    text = Checkpoint(ORIGIN, size, bytes(range(32))).text
    return join_note(text, [signer.signature(text) for signer in signers])


def test_a_key_policy_is_the_text_that_it_says_and_comes_back() -> None:
    assert ROTATED.text.decode().split("\n") == [
        "dienstenintegrator/keys/v1",
        ORIGIN,
        "2",
        f"key {OLD.vkey} 0 120",
        f"key {NEW.vkey} 100 -",
        "",
    ]
    closed = KeyPolicy(ORIGIN, 3, ROTATED.ranges, 900)
    assert closed.text == ROTATED.text.replace(b"\n2\n", b"\n3\n") + b"closed 900\n"
    for policy in (FIRST, ROTATED, closed):
        assert KeyPolicy.parse(policy.text) == policy


def lines(*keys: str, origin: str = ORIGIN, version: str = "1", header: str = "dienstenintegrator/keys/v1") -> bytes:
    return "\n".join([header, origin, version, *keys, ""]).encode()


ALL = f"key {OLD.vkey} 0 -"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"", "starts with the line"),
        (lines(ALL, header="dienstenintegrator/keys/v2"), "starts with the line"),
        (lines(ALL)[:-1], "ends in a newline"),
        (lines(ALL, ""), "key VKEY FIRST LAST"),
        (lines(), "at least one key"),
        (lines("closed 5"), "1 to 64 keys"),
        (lines(ALL, version="0"), "version from 1"),
        (lines(ALL, version="01"), "version"),
        (lines(ALL, origin="demo example"), "name"),
        (lines(ALL, origin="another.example/log"), "does not have the name"),
        (lines(ALL.replace(" 0 -", " 1 -")), "no key signs checkpoints of size 0"),
        (lines(ALL.replace(" 0 -", " 0 5")), "no key signs checkpoints of size 6"),
        (lines(ALL.replace(" 0 -", " 0 5"), f"key {NEW.vkey} 7 -"), "no key signs checkpoints of size 6"),
        (lines(ALL.replace(" 0 -", " 0 5"), f"key {NEW.vkey} 6 5"), "ends before it begins"),
        (lines(ALL.replace(" 0 -", " 0 5"), "closed 6"), "no key signs checkpoints of size 6"),
        (lines(f"key {OLD.vkey} 0 -", f"key {NEW.vkey} 9 -", f"key {THIRD.vkey} 8 -"), "order of their first sizes"),
        (lines(ALL, ALL), "once"),
        (lines(ALL.replace("-", "")), "last size"),
        (lines(f"{ALL} "), "key VKEY FIRST LAST"),
        (lines(ALL.replace(" 0 -", " -1 -")), "first size"),
        (lines(ALL, "closed -1"), "closed"),
        (lines("closed 5", ALL), "key VKEY FIRST LAST"),
        (lines(ALL, "closed 5", "closed 5"), "key VKEY FIRST LAST"),
        (lines(*(f"key {Signer(ORIGIN, bytes([9, n]) * 16).vkey} {n} -" for n in range(65))), "1 to 64 keys"),
        (lines(ALL) + b"\xff\n", "UTF-8"),
    ],
)
def test_every_other_key_policy_is_invalid(text: bytes, what: str) -> None:
    with pytest.raises(Invalid, match=what):
        KeyPolicy.parse(text)


def test_a_checkpoint_is_opened_by_the_key_that_is_in_force_for_its_size() -> None:
    for size, signers in ((1, [OLD]), (99, [OLD]), (100, [OLD]), (120, [NEW]), (110, [OLD, NEW]), (121, [NEW])):
        assert open_checkpoint(note(size, *signers), ROTATED).size == size
    for size, signer in ((99, NEW), (121, OLD), (5000, OLD), (110, THIRD)):
        with pytest.raises(Tampered):
            open_checkpoint(note(size, signer), ROTATED)


def test_where_two_keys_are_in_force_a_wrong_signature_of_either_fails() -> None:
    text = Checkpoint(ORIGIN, 110, bytes(32)).text
    wrong = join_note(text, [OLD.signature(text), NEW.signature(text[:-2] + b"\n")])
    with pytest.raises(Tampered):
        open_checkpoint(wrong, ROTATED)
    # The signature of a key that is not in force is that of an unknown key: it neither helps nor harms.
    early = Checkpoint(ORIGIN, 99, bytes(32)).text
    assert open_checkpoint(join_note(early, [OLD.signature(early), NEW.signature(b"x\n")]), ROTATED).size == 99


def test_nothing_beyond_the_size_at_which_a_log_was_closed_is_believed() -> None:
    closed = KeyPolicy(ORIGIN, 3, ROTATED.ranges, 900)
    assert open_checkpoint(note(900, NEW), closed).size == 900
    with pytest.raises(Tampered) as caught:
        open_checkpoint(note(901, NEW), closed)
    assert caught.value.code == "log-closed"


def test_two_of_three_offline_keys_sign_a_key_policy() -> None:
    for signers in (OFFLINE[:2], OFFLINE[1:], OFFLINE[::2], OFFLINE):
        assert ROOT.open(signed(ROTATED, signers)) == ROTATED
    stranger = Signer("offline0.example", bytes(32))
    for signers in (OFFLINE[:1], [OFFLINE[0], OFFLINE[0]], [OFFLINE[0], stranger], [OFFLINE[0], OLD, NEW]):
        with pytest.raises(Tampered) as caught:
            ROOT.open(signed(ROTATED, signers))
        assert caught.value.code == "keys-unsigned"


def test_a_wrong_offline_signature_fails_beside_enough_right_ones() -> None:
    good = Note.parse(signed(ROTATED, OFFLINE[:2])).signatures
    wrong = Note.parse(signed(FIRST, OFFLINE[2:])).signatures
    with pytest.raises(Tampered):
        ROOT.open(join_note(ROTATED.text, [*good, *wrong]))
    with pytest.raises(Tampered):
        ROOT.open(signed(ROTATED).replace(b" 100 -", b" 101 -"))


def test_a_root_file_comes_back_and_its_errors_are_told() -> None:
    assert KeyRoot.parse(ROOT.text) == ROOT
    root = [f"root {key.vkey}" for key in ROOT.keys]
    for wrong in (
        [],
        ["threshold 4", *root],
        ["threshold 0", *root],
        ["threshold two", *root],
        ["threshold 1"],
        ["threshold 2", *root, root[0]],
        ["threshold 2", *root, f"root {Signer('again.example', bytes([10]) * 32).vkey}"],
        ["threshold 2", *root, f"key {OLD.vkey}"],
        [*root, "threshold 2"],
    ):
        with pytest.raises(Invalid):
            KeyRoot.parse("\n".join(["dienstenintegrator/keys-root/v1", *wrong, ""]).encode())
    for text in (ROOT.text[:-1], ROOT.text.replace(b"/v1", b"/v2"), b""):
        with pytest.raises(Invalid):
            KeyRoot.parse(text)


def test_a_remembered_key_policy_is_followed_by_later_ones_only(tmp_path: Path) -> None:
    state = State(tmp_path)
    for policy in (FIRST, FIRST, ROTATED, KeyPolicy(ORIGIN, 7, (*ROTATED.ranges, KeyRange(THIRD.verifier, 500, None)))):
        assert accept_keys(signed(policy), ROOT, state) == policy
    with pytest.raises(Tampered) as caught:
        accept_keys(signed(ROTATED), ROOT, state)
    assert caught.value.code == "keys-back"
    assert accept_keys(signed(ROTATED), ROOT, None) == ROTATED
    other = KeyRoot(1, (OLD.verifier,))
    with pytest.raises(Refused) as refused:
        accept_keys(sign_offline(ROTATED.text, [OLD]), other, state)
    assert refused.value.code == "state-other-root"


@pytest.mark.parametrize(
    "later",
    [
        KeyPolicy(ORIGIN, 3, ROTATED.ranges[1:]),
        KeyPolicy(ORIGIN, 3, (KeyRange(OLD.verifier, 0, 130), ROTATED.ranges[1])),
        KeyPolicy(ORIGIN, 3, (KeyRange(OLD.verifier, 0, None), ROTATED.ranges[1])),
        KeyPolicy(ORIGIN, 3, (ROTATED.ranges[0], KeyRange(NEW.verifier, 101, None))),
        KeyPolicy(ORIGIN, 3, (ROTATED.ranges[0], KeyRange(THIRD.verifier, 100, None))),
        KeyPolicy(ORIGIN, 2, (*ROTATED.ranges, KeyRange(THIRD.verifier, 500, None))),
    ],
)
def test_a_later_version_does_not_change_the_past(later: KeyPolicy) -> None:
    with pytest.raises(Tampered):
        later.check_follows(ROTATED)


def test_a_closed_log_stays_closed() -> None:
    closed = KeyPolicy(ORIGIN, 3, ROTATED.ranges, 900)
    closed.check_follows(ROTATED)
    for later in (KeyPolicy(ORIGIN, 4, ROTATED.ranges), KeyPolicy(ORIGIN, 4, ROTATED.ranges, 901)):
        with pytest.raises(Tampered):
            later.check_follows(closed)


def test_heads_are_signed_by_the_keys_in_force() -> None:
    signers = LogSigners(ROTATED, (OLD, NEW))
    assert (signers.name, signers.vkey) == (ORIGIN, OLD.vkey)
    for size, names in ((5, [OLD]), (100, [OLD, NEW]), (120, [OLD, NEW]), (121, [NEW])):
        made = Checkpoint(ORIGIN, size, bytes(range(32))).sign(signers)
        assert made == note(size, *names)
        assert open_checkpoint(made, ROTATED).size == size
    with pytest.raises(Refused) as caught:
        Checkpoint(ORIGIN, 121, bytes(32)).sign(LogSigners(ROTATED, (OLD,)))
    assert caught.value.code == "ledger-no-key"
    with pytest.raises(Refused) as caught:
        Checkpoint(ORIGIN, 901, bytes(32)).sign(LogSigners(KeyPolicy(ORIGIN, 3, ROTATED.ranges, 900), (NEW,)))
    assert caught.value.code == "ledger-closed"


def opened(place: Place, policy: KeyPolicy, *signers: Signer) -> LedgerWriter:
    return LedgerWriter.open(place.ledger_file, origin=ORIGIN, signer=LogSigners(policy, signers), vault=place.vault())


def test_a_ledger_changes_its_key_and_everything_before_and_after_holds(place: Place, tmp_path: Path) -> None:
    ledger = LedgerWriter.open(place.ledger_file, origin=ORIGIN, signer=OLD, vault=place.vault())
    ledger.append([entry(number) for number in range(60)])
    ledger.close()
    state = State(tmp_path / "state")
    reader = LedgerReader.open(place.ledger_file, vault=place.vault(), keys=ROTATED)
    reader.export(tmp_path / "site")
    assert verify_log(DirectorySource(tmp_path / "site"), OLD.verifier, state=state).holds
    early = reader.opening(7)

    ledger = opened(place, ROTATED, OLD, NEW)
    for size, signers in ((110, 2), (130, 1)):
        ledger.append([entry(number) for number in range(ledger.size, size)])
        assert len(Note.parse(ledger.checkpoint).signatures) == signers
        reader.export(tmp_path / "site")
        assert verify_log(DirectorySource(tmp_path / "site"), ROTATED, state=state).holds
    ledger.close()
    with pytest.raises(Tampered):
        verify_log(DirectorySource(tmp_path / "site"), OLD.verifier)

    for opening in (early, reader.opening(7), reader.opening(125)):
        assert verify_opening(opening, ROTATED).origin == ORIGIN
    assert fsck(place.ledger_file, vault=place.vault(), verifier=ROTATED).holds
    assert {item.code for item in fsck(place.ledger_file).findings} == {"checkpoint-wrong"}
    wrong = KeyPolicy(ORIGIN, 1, (KeyRange(THIRD.verifier, 0, None),))
    assert "identity" in {item.code for item in fsck(place.ledger_file, verifier=wrong).findings}

    # The new key alone goes on; the old one alone does not, and nothing is lost by trying.
    ledger = opened(place, ROTATED, NEW)
    assert ledger.append([entry(1)]).size == 131
    ledger.close()
    ledger = opened(place, ROTATED, OLD)
    with pytest.raises(Refused):
        ledger.append([entry(2)])
    assert ledger.size == 131
    ledger.close()
    closed = KeyPolicy(ORIGIN, 3, ROTATED.ranges, 131)
    ledger = opened(place, closed, NEW)
    with pytest.raises(Refused):
        ledger.append([entry(2)])
    ledger.close()
