from __future__ import annotations

from hashlib import sha256

import pytest

from integrator_audit import Signer, Tampered
from integrator_audit.checkpoint import Checkpoint
from integrator_audit.completeness.following import Follower
from integrator_audit.errors import Invalid, Unavailable
from integrator_audit.parts import SUBJECT_ENTRY, leaf_entry
from tests.unit.audit.lying.files import MemorySource, log_files, root_of_log

LOG = Signer.generate("demo.integrator.example/ledger/demo/s0-2000h1")
LEAVES = [leaf_entry(SUBJECT_ENTRY, sha256(b"%d" % number).digest()) for number in range(600)]
NOWHERE: tuple[int, tuple[bytes, ...]] = (0, ())


def source(leaves: list[bytes], signed: list[bytes] | None = None) -> MemorySource:
    """Return the files of a log whose checkpoint is over `signed`, by default over its own leaves."""
    over = leaves if signed is None else signed
    return MemorySource(log_files(leaves, Checkpoint(LOG.name, len(over), root_of_log(over)).sign(LOG)))


def following(files: MemorySource, edge: tuple[int, tuple[bytes, ...]] = NOWHERE) -> Follower:
    return Follower(files, LOG.verifier, SUBJECT_ENTRY, edge=edge)


def follow(follower: Follower, *sizes: int) -> None:
    for size in sizes:
        follower.root_at(size)
    follower.finish()


def caught(follower: Follower, *sizes: int) -> str:
    with pytest.raises(Tampered) as raised:
        follow(follower, *sizes)
    return raised.value.code


def test_a_log_is_followed_from_day_to_day_and_from_time_to_time() -> None:
    edge = NOWHERE
    for first, last in ((1, 200), (256, 300), (599, 600)):
        follower = following(source(LEAVES), edge)
        for size in (first, first, last):
            assert follower.root_at(size) == root_of_log(LEAVES[:size])
        follower.finish()
        assert (follower.origin, follower.edge[0]) == (LOG.name, last)
        edge = follower.edge


def test_a_size_that_the_log_has_not_or_that_is_behind_is_no_day_of_it() -> None:
    assert caught(following(source(LEAVES[:300])), 301) == "shard-short"
    assert caught(following(source(LEAVES)), 200, 199) == "shard-short"


def test_a_public_log_that_its_checkpoint_does_not_sign_is_found_at_the_end() -> None:
    other = [*LEAVES[:299], LEAVES[0]]
    assert caught(following(source(LEAVES[:300], signed=other)), 200) == "shard-fork"


def test_a_log_that_is_shorter_than_it_was_is_a_rollback() -> None:
    follower = following(source(LEAVES))
    follower.root_at(400)
    with pytest.raises(Tampered) as raised:
        following(source(LEAVES[:300]), follower.edge)
    assert raised.value.code == "rollback"


@pytest.mark.parametrize("wrong", [leaf_entry(0x02, bytes(32)), LEAVES[7][:-1], LEAVES[7] + b"\0"])
def test_an_entry_of_another_type_or_length_is_found(wrong: bytes) -> None:
    assert caught(following(source([*LEAVES[:299], wrong])), 300) == "entry-type"


def test_files_that_are_missing_or_malformed_are_named() -> None:
    files = source(LEAVES[:300])
    del files.files["tile/entries/001.p/44"]
    assert caught(following(files), 300) == "bundle-missing"
    with pytest.raises(Unavailable):
        following(MemorySource({}))
    with pytest.raises(Tampered) as raised:
        following(MemorySource({"checkpoint": b"nothing\n"}))
    assert raised.value.code == "checkpoint-malformed"
    with pytest.raises(Invalid):
        following(files, (3, (bytes(32),)))
