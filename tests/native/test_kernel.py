"""Holds the native kernel beside its references: the same bytes, and an error where they have one, never a crash."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Any

import integrator_audit_kernel as kernel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrator_audit import Entry, Invalid, keytree, merkle, parts, sequencer
from integrator_audit.engine import engine
from integrator_audit.fsck import fsck
from integrator_audit.keystore import EntryKey, PersonKey
from integrator_audit.parts import SUBJECT_ENTRY, entry_prefix
from integrator_audit.sequencer import RANDOM_SIZE, BatchKeys, Sequenced, sequence
from integrator_audit.store import EntryRow
from tests.unit.audit.audit_samples import ORIGIN, Place, entry, institution_entry, signer

CLASSES = {2: 13_570, 10: 13_578, 20: 13_588}
PSEUDONYMS = [bytes([number]) * 32 for number in range(5)]
PEOPLE = {
    (who, years): PersonKey(version, os.urandom(32))
    for version, who in enumerate(PSEUDONYMS, 1)
    for years in CLASSES.values()
}

entries = st.builds(
    Entry,
    type=st.just(SUBJECT_ENTRY),
    a=st.binary(max_size=300),
    d=st.binary(max_size=700),
    s=st.binary(max_size=200),
    p=st.just(b""),
    subject=st.sampled_from(PSEUDONYMS),
    recipient=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    at=st.integers(0, (1 << 53) - 1),
    retention=st.sampled_from([2, 10, 20]),
    listed=st.booleans(),
    identity=st.binary(max_size=100),
)


def sealed(batch: list[Entry], *, first: int, random: bytes) -> Sequenced:
    keys = BatchKeys(CLASSES, PEOPLE, [EntryKey(os.urandom(16), os.urandom(32)) for _ in batch])
    return sequence(batch, origin=ORIGIN, first=first, keys=keys, random=random)


def test_it_is_what_runs() -> None:
    assert engine() == "native"


@settings(max_examples=200)
@given(st.lists(entries, max_size=12), st.integers(0, (1 << 63) - 13), st.data())
def test_rows_and_leaves_are_those_of_the_reference(batch: list[Entry], first: int, data: st.DataObject) -> None:
    random = data.draw(st.randoms(use_true_random=False)).randbytes(RANDOM_SIZE * len(batch))
    order = data.draw(st.permutations(range(len(batch))))
    keys = BatchKeys(CLASSES, PEOPLE, ())
    expected = sequencer._seal_rows(batch, order, origin=ORIGIN, first=first, keys=keys, random=random)
    made = kernel.seal_rows(
        batch,
        order,
        first=first,
        random=random,
        origin=ORIGIN.encode(),
        prefix=entry_prefix(ORIGIN, SUBJECT_ENTRY),
        parts=sequencer._PREFIXES,
        classes=CLASSES,
        people=PEOPLE,
        row=EntryRow,
    )
    assert made == expected
    assert all(type(row) is EntryRow for row in made[0])
    assert [list(map(type, row)) for row in made[0]] == [list(map(type, row)) for row in expected[0]]


@pytest.mark.parametrize(
    "other", [entry(1, actor="official 7"), institution_entry(1), institution_entry(1, actor="official 7")]
)
def test_a_batch_with_an_entry_that_has_an_actor_or_no_person_is_sealed_by_the_reference(other: Entry) -> None:
    batch = [entry(number)._replace(subject=PSEUDONYMS[number]) for number in range(3)]
    batch.insert(1, other if other.subject is None else other._replace(subject=PSEUDONYMS[4]))
    random = os.urandom(RANDOM_SIZE * len(batch))
    rows = sealed(batch, first=7, random=random).rows
    assert sorted(row.entry_key is not None for row in rows) == [False, False, False, True]
    assert {row.type for row in rows} == {one.type for one in batch}


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("a", "text"),
        ("d", None),
        ("s", 5),
        ("identity", bytearray(3)),
        ("recipient", b"bytes"),
        ("recipient", None),
        ("at", "now"),
        ("at", -1),
        ("retention", 3),
        ("subject", b"nobody"),
    ],
)
def test_what_is_no_entry_is_an_error(member: str, value: object) -> None:
    wrong = entry(1)._replace(**{"subject": PSEUDONYMS[0], member: value})
    with pytest.raises((TypeError, KeyError, OverflowError)):
        sealed([wrong], first=0, random=os.urandom(RANDOM_SIZE))


def test_other_wrong_arguments_are_errors() -> None:
    good = entry(1)._replace(subject=PSEUDONYMS[0])
    arguments = {
        "first": 0,
        "random": os.urandom(RANDOM_SIZE),
        "origin": b"o",
        "prefix": b"p",
        "parts": sequencer._PREFIXES,
        "classes": CLASSES,
        "people": PEOPLE,
        "row": EntryRow,
    }
    assert kernel.seal_rows([good], [0], **arguments)
    for change, error in (
        ({"random": b"short"}, ValueError),
        ({"first": -1}, OverflowError),
        ({"origin": None}, TypeError),
        ({"parts": (b"a",)}, ValueError),
        ({"people": dict.fromkeys(PEOPLE, (1, b"short"))}, ValueError),
        ({"row": object}, TypeError),
    ):
        with pytest.raises(error):
            kernel.seal_rows([good], [0], **arguments | change)
    with pytest.raises(ValueError):
        kernel.seal_rows([good._replace(d=bytes(1 << 20))], [0], **arguments)
    for batch, order in (([tuple(good)[:5]], [0]), (["text"], [0]), ([good], [1]), ([good], [-2])):
        with pytest.raises((TypeError, IndexError)):
            kernel.seal_rows(batch, order, **arguments)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=10), st.data())
def test_persons_keys_are_those_of_the_reference(people: list[bytes], data: st.DataObject) -> None:
    known = data.draw(st.sets(st.sampled_from(people))) if people else set()
    tops = {keytree.path_of(one)[: keytree.TOP]: os.urandom(32) for one in known}
    made = keytree.person_keys(tops, people)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keytree, "KERNEL", None)
        assert keytree.person_keys(tops, people) == made
    assert [key is not None for key in made] == [keytree.path_of(one)[: keytree.TOP] in tops for one in people]


CHANGES = {
    "type": [0, 2, "1"],
    "a": [b"", b'{"schema":"', b'{"schema":"x/v1"', b'{"schema":"' + bytes(65_526) + b"}", "text"],
    "d": [b'{"other":1}'],
    "s": [b" "],
    "p": [b'{"schema":"x/v1"}'],
    "subject": [None, b"", bytes(31), bytes(33)],
    "recipient": ["x" * 256],
    "at": [-1, 1 << 53],
    "retention": [0, 3, 21],
    "identity": [bytes(1025)],
}


def test_what_is_not_ordinary_the_reference_refuses_unless_it_has_an_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    good = entry(1)
    limits = good._replace(recipient="x" * 255, at=(1 << 53) - 1, identity=bytes(1024))
    given = {"start": parts._PART_START, "retentions": parts.RETENTIONS}
    monkeypatch.setattr(parts, "KERNEL", None)
    assert kernel.are_ordinary([good, limits], **given)
    parts.check_entries([good, limits])
    for member, value in [(member, value) for member, values in CHANGES.items() for value in values]:
        changed = good._replace(**{member: value})
        assert not kernel.are_ordinary([good, changed], **given), (member, value)
        if member == "p":
            parts.check_entries([good, changed])
        else:
            with pytest.raises(Invalid):
                parts.check_entries([good, changed])


@given(st.lists(st.binary(max_size=80), max_size=20), st.lists(st.binary(min_size=32, max_size=32), max_size=20))
def test_hashes_of_the_tree_are_those_of_the_reference(leaves: list[bytes], nodes: list[bytes]) -> None:
    joined = b"".join(nodes[: len(nodes) // 2 * 2])

    def hashed() -> list[object]:
        return [merkle.leaf_hashes(leaves), merkle._pair_hashes(nodes), merkle.parents(joined)]

    made = hashed()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merkle, "KERNEL", None)
        assert hashed() == made


def test_what_are_no_hashes_is_an_error() -> None:
    for call, argument in (
        (kernel.leaf_hashes, ["text"]),
        (kernel.pair_hashes, [bytes(32), bytes(31)]),
        (kernel.pair_hashes, [bytes(32), None]),
        (kernel.parents, bytes(96)),
        (kernel.parents, bytes(63)),
        (kernel.parents, "text" * 16),
    ):
        with pytest.raises((TypeError, ValueError)):
            call(argument)


def test_seeds_and_persons_that_are_none_are_errors() -> None:
    who = PSEUDONYMS[0]
    arguments: dict[str, Any] = {"child": b"c", "person": b"p", "depth": 6, "top": 2}
    for seed in (b"short", "text" * 8, 7):
        with pytest.raises((TypeError, ValueError)):
            kernel.person_keys({keytree.path_of(who)[:2]: seed}, [who], **arguments)
    for change in ({"depth": 33}, {"top": 7}, {"top": -1}):
        with pytest.raises(ValueError):
            kernel.person_keys({}, [who], **arguments | change)
    with pytest.raises(TypeError):
        kernel.person_keys({}, ["text"], **arguments)


def test_nothing_is_kept_of_what_was_sealed() -> None:
    batch = [entry(number)._replace(subject=PSEUDONYMS[number % 5]) for number in range(50)]
    random = os.urandom(RANDOM_SIZE * len(batch))
    sealed(batch, first=0, random=random)
    gc.collect()
    counted = [sys.getrefcount(part) for one in batch for part in one]
    for _ in range(20):
        sealed(batch, first=0, random=random)
    gc.collect()
    assert [sys.getrefcount(part) for one in batch for part in one] == counted


def test_a_log_goes_on_under_the_other_engine_and_holds(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for number in range(4):
        with pytest.MonkeyPatch.context() as patch:
            if number % 2:
                for module in (sequencer, keytree, merkle, parts):
                    patch.setattr(module, "KERNEL", None)
            ledger = place.ledger()
            ledger.append([entry(number * 300 + at) for at in range(300)])
            ledger.close()
            report = fsck(place.ledger_file, vault=place.vault(), verifier=signer().verifier)
            assert (report.holds, report.size) == (True, (number + 1) * 300)
