"""Holds the native short way beside its reference and the general way: the same entries, and never a crash."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import integrator_kernel as kernel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrator.encoding import record_type
from integrator.recording import disclosures, shortcut
from integrator.recording.disclosures import DisclosureRecorder
from integrator.recording.engine import KERNEL
from integrator.recording.shortcut import Common, Shortcut
from integrator_audit import Entry, Invalid
from tests.unit.recording import recording_samples as world
from tests.unit.recording.test_recording_shortcut import CHANGES, KNOWLEDGE, Long, outcome, person

PREFIX = record_type("ledger/disclosure").prefix
MOTHER = person(1, "parent", 7, b"sealed", False)
CHILD = person(2, "subject", 1, bytes(63), False)
SOUND = (
    world.disclosure(3, subjects=[CHILD]),
    world.disclosure(1 << 40, subjects=[CHILD, MOTHER], topic="t" * 70, unidentified=300),
    world.disclosure(3, subjects=[CHILD, MOTHER | {"mediated": True}]),
)


@contextmanager
def without_kernel() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (shortcut, disclosures):
            patch.setattr(module, "KERNEL", None)
        yield


def reference() -> DisclosureRecorder:
    with without_kernel():
        return DisclosureRecorder()


# One of each for all examples: what is remembered of one record must not show in another.
NATIVE, REFERENCE, GENERAL = DisclosureRecorder(), reference(), Long()


def said(way: Shortcut, value: bytes) -> tuple[object, ...] | None:
    """What a short way makes of a record: all but what it remembers of other records with the same head."""
    try:
        common = way.read(value)
    except Invalid as error:
        return (error.code,)
    return common and (common.head[:6], *common[1:])


def alike(value: bytes) -> tuple[object, ...] | None:
    """Hold the three ways beside each other, and return what the native one says."""
    made = said(NATIVE._shortcut, value)
    assert made == said(REFERENCE._shortcut, value)
    entries = outcome(NATIVE, value)
    with without_kernel():
        assert entries == outcome(REFERENCE, value)
        assert entries == outcome(GENERAL, value)
    return made


def damaged(sound: bytes, draw: random.Random) -> bytes:
    value = bytearray(sound)
    for _ in range(draw.randrange(1, 4)):
        at = draw.randrange(len(PREFIX), len(value) + 1)
        match draw.randrange(4):
            case 0:
                value[at : at + 1] = draw.randbytes(1)
            case 1:
                del value[at : at + draw.choice((1, 1, 32, 1000))]
            case 2:
                value[at:at] = draw.choice((b"\xff", b"\x80", b"\x00", b"\x7e")) * draw.choice((1, 4, 9, 10))
            case _:
                value[at : at + 4] = value[draw.randrange(len(value) + 1) :][:4]
    return bytes(value)


def test_it_is_what_runs() -> None:
    assert KERNEL is kernel
    assert type(NATIVE._shortcut._native) is kernel.Shortcut
    assert REFERENCE._shortcut._native is None


@settings(max_examples=400)
@given(CHANGES)
def test_a_sound_record_is_stated_alike(change: dict[str, Any]) -> None:
    alike(world.disclosure(**{"sequence": 3} | change))


@settings(max_examples=600)
@given(CHANGES, st.integers(0, 1 << 32))
def test_a_damaged_record_is_judged_alike(change: dict[str, Any], seed: int) -> None:
    alike(damaged(world.disclosure(**{"sequence": 3} | change), random.Random(seed)))


@given(st.binary(max_size=300))
def test_random_bytes_are_judged_alike(rest: bytes) -> None:
    alike(PREFIX + rest)
    alike(rest)


@pytest.mark.parametrize("sound", SOUND)
def test_a_record_that_is_cut_or_has_a_flipped_bit_is_judged_alike(sound: bytes) -> None:
    for end in range(len(sound)):
        assert alike(sound[:end]) is None
    for bit in range(8 * len(sound)):
        value = bytearray(sound)
        value[bit // 8] ^= 1 << bit % 8
        alike(bytes(value))


@pytest.mark.parametrize("sound", SOUND)
@pytest.mark.parametrize("octet", [b"\x80", b"\xff", b"\xfe"])
def test_very_long_numbers_and_lengths_are_judged_alike(sound: bytes, octet: bytes) -> None:
    for at in range(len(PREFIX), len(sound) + 1):
        for many in (1, 4, 7, 8, 9, 10, 40):
            alike(sound[:at] + octet * many + sound[at:])
            alike(sound[:at] + octet * many + b"\x01" + sound[at + 1 :])


@pytest.mark.parametrize("number", [0, 1, (1 << 31) - 1, (1 << 51) - 1, 1 << 51, (1 << 53) - 1, (1 << 63) - 1, -1])
def test_numbers_at_their_limits_are_judged_alike(number: int) -> None:
    for name in ("directoryPosition", "sequence", "sourcePosition"):
        stated = alike(world.disclosure(**{"sequence": 3, "sourcePosition": 3, name: number}))
        assert (stated is not None) == (0 <= number < 1 << 51)


OCTETS = st.binary(min_size=32, max_size=32)


@given(OCTETS, OCTETS)
def test_every_pseudonym_and_hash_is_written_alike(pseudonym: bytes, digest: bytes) -> None:
    assert alike(world.disclosure(3, subjects=[CHILD | {"pseudonym": pseudonym}], valueSha256=digest)) is not None


def test_events_ids_of_every_character_are_stated_alike() -> None:
    for code in range(0x100):
        stated = alike(world.disclosure(3, eventId=f"id-{chr(code)}"))
        assert (stated is not None) == (0x20 <= code < 0x7F and chr(code) not in '"\\')


def test_a_delivery_is_as_long_as_a_part_may_be() -> None:
    room = 0xFFFF - len(NATIVE.read(world.record(world.disclosure(3, topic=""), 0)).make(KNOWLEDGE)[0].d)
    for more in (-1, 0, 1, 2):
        stated = alike(world.disclosure(3, topic="t" * (room + more)))
        assert (stated is not None) == (more <= 0)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 62, 63, 64, 65, 200])
def test_any_number_of_persons_is_stated_alike(count: int) -> None:
    people = [
        person(number, ("subject", "parent")[number % 2], number % 64, b"i" * number, False) for number in range(count)
    ]
    stated = alike(world.disclosure(3, subjects=[one | {"identity": one["identity"][:60]} for one in people]))
    assert (stated is not None) == (0 < count < 64)


def test_persons_who_are_there_twice_or_in_several_blocks_are_judged_alike() -> None:
    base, child, mother = (world.disclosure(3, subjects=some) for some in ([], [CHILD], [MOTHER]))
    before, one, other = base[:-2], child[len(base) - 1 : -2], mother[len(base) - 1 : -2]
    assert before + b"\x02" + one + b"\0\0" == child
    size = bytes([len(one) * 2 & 127 | 128, len(one) * 2 >> 7])
    for blocks in (
        b"\x04" + one + other,
        b"\x04" + one + one,
        b"\x06" + one + other + one,
        b"\x02" + one + b"\x02" + other,
        b"\x02" + one + b"\x02" + one,
        b"\x01" + size + one,
        b"\x04" + one,
        b"\x7e" + one,
        b"\0",
    ):
        alike(before + blocks + b"\0\0")
        alike(before + blocks + b"\0")
    assert alike(before + b"\x04" + one + other + b"\0\0") is not None
    assert alike(before + b"\x04" + one + one + b"\0\0") is None


def test_the_types_are_those_of_the_reference() -> None:
    made, expected = (way._shortcut.read(SOUND[1]) for way in (NATIVE, REFERENCE))
    assert made is not None
    assert expected is not None
    assert type(made) is Common
    assert [list(map(type, one)) for one in made.people] == [list(map(type, one)) for one in expected.people]
    entries = NATIVE.read(world.record(SOUND[1], 0)).make(KNOWLEDGE)
    assert {type(one) for one in entries} == {Entry}
    with without_kernel():
        others = REFERENCE.read(world.record(SOUND[1], 0)).make(KNOWLEDGE)
    assert [list(map(type, one)) for one in entries] == [list(map(type, one)) for one in others]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcut, "_MOST", 3)
    kept = Shortcut()
    for number in range(40):
        change = {"topic": f"topic-{number}", "source": f"source-{number}", "authorisation": f"a-{number % 20}"}
        people = [person(1, f"role-{number}", 1, b"", False)]
        value = world.disclosure(
            number, kind=f"kind-{number}", at=world.AT.replace(second=number), subjects=people, **change
        )
        assert kept.read(value) is not None
    pieces = (kept._heads, kept._moments, kept._routes, kept._sources, kept._roles)
    assert max(map(len, pieces)) <= 3
    assert all(len(head.ends) <= 3 for head in kept._heads.values())


def test_very_many_damaged_records_end_no_process() -> None:
    draw, read, stated = random.Random(7), Shortcut().read, 0
    for _ in range(300_000):
        stated += read(damaged(draw.choice(SOUND), draw)) is not None
    assert stated > 1_000


def test_nothing_is_kept_of_what_was_read() -> None:
    # Each of them again and again, from the first: what is remembered is remembered then.
    draw = random.Random(5)
    values = [*SOUND, *(damaged(draw.choice(SOUND), draw) for _ in range(400))]
    recorder = DisclosureRecorder()

    def every() -> None:
        for value in values:
            outcome(recorder, value)

    def counted() -> tuple[list[int], int]:
        gc.collect()
        kept = recorder._shortcut
        pieces = (*kept._heads.values(), *kept._moments.values(), *kept._routes.values(), *kept._sources.values())
        return [sys.getrefcount(one) for one in (*values, *pieces, *recorder._said.values())], sys.getallocatedblocks()

    every()
    every()
    before, blocks = counted()
    for _ in range(20):
        every()
    after, more = counted()
    assert after == before
    assert more - blocks < 200


def test_what_is_no_value_is_an_error() -> None:
    for value in (None, "text", bytearray(SOUND[0]), 5):
        with pytest.raises(TypeError):
            NATIVE._shortcut._native.read(value)


def arguments(**change: object) -> dict[str, Any]:
    """What a reference that remembers nothing yet makes its twin with; errors that are the twin's own come through."""
    made: dict[str, Any] = {
        "prefix": PREFIX,
        "delivery_start": b"",
        "subject_start": b"",
        "heads": ({}, Shortcut()._new_head),
        "moments": ({}, shortcut._moment),
        "routes": ({}, shortcut._route),
        "sources": ({}, shortcut._source),
        "roles": ({}, shortcut._role),
        "new_end": shortcut._end,
        "keep": shortcut._kept,
        "common": Common,
        "unusual": (KeyError,),
    }
    return made | change


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prefix", None),
        ("prefix", "text"),
        ("delivery_start", None),
        ("subject_start", 5),
        ("heads", {}),
        ("moments", ([], shortcut._moment)),
        ("routes", ({},)),
        ("sources", None),
        ("heads", ({}, lambda value, at: ())),
        ("heads", ({}, lambda value, at: ("text",) * 7)),
        ("heads", ({}, lambda value, at: (b"",) * 7)),
        ("heads", ({}, lambda value, at: (value * 2,) * 7)),
        ("moments", ({}, lambda piece: (5, "text"))),
        ("moments", ({}, lambda piece: None)),
        ("routes", ({}, lambda piece: None)),
        ("sources", ({}, lambda piece: bytearray(5))),
        ("roles", ({}, lambda piece: "text")),
        ("new_end", lambda head, piece: 5),
        ("keep", lambda pieces, piece, make: piece),
        ("keep", None),
        ("common", object),
        ("common", Common(*"head")),
        ("unusual", None),
    ],
)
def test_a_reference_that_is_none_is_an_error(name: str, value: object) -> None:
    assert kernel.Shortcut(**arguments()).read(SOUND[0]) is not None
    with pytest.raises((TypeError, ValueError)):
        kernel.Shortcut(**arguments(**{name: value})).read(SOUND[0])
    with pytest.raises(TypeError):
        kernel.Shortcut()


def test_what_is_no_common_record_is_an_error() -> None:
    common = NATIVE._shortcut.read(SOUND[0])
    assert common is not None

    def entries(**change: Any) -> list[Entry]:
        given: dict[str, Any] = {"common": common, "said": {}, "account": lambda *_: (b"a", "agency", 2)}
        return kernel.entries(**given | {"knowledge": KNOWLEDGE, "kind": 1, "entry": Entry} | change)

    assert [type(one) for one in entries()] == [Entry]
    for name, wrong in (
        ("common", None),
        ("common", "head"),
        ("common", tuple(common)[:3]),
        ("common", common._replace(head=())),  # type: ignore[arg-type]
        *(("common", common._replace(people=people)) for people in (None, (), [5], [()], [(b"", b"")], ["texts"])),
        ("said", None),
        ("said", []),
        ("account", None),
        ("account", lambda *_: (1, 2)),
        ("entry", object),
        ("entry", Entry(1, *"adsp", None)),
    ):
        with pytest.raises((TypeError, ValueError)):
            entries(**{name: wrong})
