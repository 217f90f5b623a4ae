"""Holds that a person who was cut out has no key any more, and that everybody else keeps theirs."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrator_audit.keytree import DEPTH, OPENED_SIZE, child_of, cut, descend, find, open_node, path_of, person_key

ROOT = bytes(range(32))
PEOPLE = [sha256(b"person %d" % number).digest() for number in range(40)]


def key(nodes: dict[bytes, bytes], pseudonym: bytes) -> bytes | None:
    leaf = find(nodes.get, path_of(pseudonym))
    return None if leaf is None else person_key(leaf, b"", pseudonym)


def test_a_key_is_derived_step_by_step_from_the_root() -> None:
    # The rules of the module, written out: another implementation must come to the same keys.
    place = sha256(PEOPLE[0]).digest()[:6]
    seed = ROOT
    for byte in place:
        seed = sha256(b"integrator/keytree/v1\0" + seed + bytes([byte])).digest()
    expected = sha256(b"integrator/keytree/person/v1\0" + seed + PEOPLE[0]).digest()
    assert key({b"": ROOT}, PEOPLE[0]) == expected
    assert expected.hex() == "04b4f97b3a5665292b5e3216e528efc5fbc7621435143b869c47ad9b28372a07"


def test_everybody_has_another_key_and_nobody_one_without_a_root() -> None:
    assert len({key({b"": ROOT}, person) for person in PEOPLE}) == len(PEOPLE)
    assert key({}, PEOPLE[0]) is None


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(PEOPLE), max_size=8))
def test_who_is_cut_out_has_no_key_and_everybody_else_keeps_theirs(gone: list[bytes]) -> None:
    before = {person: key({b"": ROOT}, person) for person in PEOPLE}
    nodes = {b"": ROOT}
    for person in gone:
        nodes.update(cut(nodes.get, person))
    for person in PEOPLE:
        assert key(nodes, person) == (None if person in gone else before[person])


def test_nothing_that_is_left_leads_to_who_was_cut_out() -> None:
    person = PEOPLE[3]
    nodes = {b"": ROOT} | cut({b"": ROOT}.get, person)
    path = path_of(person)
    assert sorted(nodes) == sorted(path[:depth] for depth in range(DEPTH))
    way = [descend(ROOT, path[:depth]) for depth in range(DEPTH + 1)]
    stored = b"".join(nodes.values())
    assert len(stored) == DEPTH * OPENED_SIZE
    assert not [seed for seed in way if seed in stored]
    # All siblings of the way are there, and nothing but them.
    for depth in range(DEPTH):
        for byte in range(256):
            expected = bytes(32) if byte == path[depth] else descend(way[depth], bytes([byte]))
            assert child_of(nodes[path[:depth]], byte) == expected


def test_cutting_out_again_changes_nothing() -> None:
    nodes = {b"": ROOT}
    nodes.update(cut(nodes.get, PEOPLE[0]))
    assert cut(nodes.get, PEOPLE[0]) == {}
    assert cut({}.get, PEOPLE[0]) == {}


def test_two_who_share_a_part_of_their_way_are_cut_out_one_after_the_other() -> None:
    first = PEOPLE[0]
    # Somebody whose place begins with the same byte.
    second = next(
        candidate
        for candidate in (sha256(b"%d" % number).digest() for number in range(10_000))
        if path_of(candidate)[:1] == path_of(first)[:1]
    )
    nodes = {b"": ROOT}
    nodes.update(cut(nodes.get, first))
    before = key(nodes, second)
    assert before is not None
    changed = cut(nodes.get, second)
    # The root is opened already and stays as it is; the rest of the way is new.
    assert b"" not in changed
    nodes.update(changed)
    assert (key(nodes, first), key(nodes, second)) == (None, None)


@pytest.mark.parametrize("depth", range(DEPTH + 1))
def test_the_seed_of_any_subtree_is_found_until_it_is_opened(depth: int) -> None:
    path = path_of(PEOPLE[0])[:depth]
    assert find({b"": ROOT}.get, path) == descend(ROOT, path)
    nodes = {b"": ROOT} | cut({b"": ROOT}.get, PEOPLE[0])
    assert find(nodes.get, path) is None
    assert open_node(descend(ROOT, path_of(PEOPLE[0])[:1]))[:32] == descend(ROOT, path_of(PEOPLE[0])[:1] + b"\0")
