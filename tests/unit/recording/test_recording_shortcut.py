"""Holds that the short way states a record exactly as the general way does, or leaves it to it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from integrator.domain.errors import IntegratorError
from integrator.encoding import record_type
from integrator.recording import disclosures
from integrator.recording.disclosures import DisclosureRecorder
from integrator.recording.failures import translated
from integrator.recording.shortcut import Shortcut
from integrator_audit import Entry
from tests.unit.recording import recording_samples as world

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KNOWLEDGE = world.knowledge()
ROLES = ("subject", "parent", "partner", "aunt", "")
TEXTS = st.text(max_size=80) | st.sampled_from(["", 'a "quoted" \\ text', "é\u2028\x00", "x" * 63, "x" * 64])
NUMBERS = st.integers(0, (1 << 31) - 1)
LARGE = st.integers(-(1 << 62), 1 << 62) | st.integers(0, 1 << 55)


def person(number: int, role: str, key_version: int, identity: bytes, mediated: bool) -> dict[str, Any]:
    return {
        "pseudonym": bytes([number]) * 32,
        "keyVersion": key_version,
        "identity": identity,
        "role": role,
        "mediated": mediated,
    }


MEDIATED = st.sampled_from([False] * 9 + [True])
PEOPLE = st.builds(person, st.integers(0, 3), st.sampled_from(ROLES), NUMBERS, st.binary(max_size=70), MEDIATED)
CHANGES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "authorisation": TEXTS,
        "version": st.integers(-1, 2),
        "directoryPosition": LARGE,
        "engine": TEXTS,
        "date": st.dates(date(1960, 1, 1), date(2200, 1, 1)),
        "at": st.integers(-(10**12), 4 * 10**12).map(lambda at: EPOCH + timedelta(milliseconds=at)),
        "topic": TEXTS,
        "partition": st.integers(-(1 << 31), (1 << 31) - 1),
        "lane": NUMBERS,
        "sequence": LARGE,
        "source": TEXTS,
        "sourcePartition": NUMBERS,
        "sourcePosition": LARGE,
        "eventId": TEXTS,
        "kind": TEXTS,
        "valueSha256": st.binary(min_size=32, max_size=32),
        "subjects": st.lists(PEOPLE, max_size=4),
        "unidentified": NUMBERS,
    },
)


def outcome(recorder: DisclosureRecorder, value: bytes) -> list[Entry] | str:
    """What comes of a record: its entries, or the code of why there are none."""
    try:
        with translated():
            statement = recorder.read(world.record(value, 0))
            return [*statement.make(KNOWLEDGE), statement.needs]  # type: ignore[list-item]
    except IntegratorError as error:
        return error.code


class Long(DisclosureRecorder):
    """A recorder that goes the general way with every record."""

    def __init__(self) -> None:
        super().__init__()
        self._shortcut.read = lambda _: None  # type: ignore[method-assign]


# One for all examples: what it remembers of one record must not show in another.
SHORT = DisclosureRecorder()


@settings(max_examples=400)
@given(CHANGES)
@example({})
@example({"at": datetime(2039, 9, 7, 15, 47, 35, 552_000, UTC)})
@example({"at": datetime(2039, 9, 7, 15, 47, 35, 551_000, UTC)})
@example({"at": datetime(1970, 1, 1, tzinfo=UTC), "date": date(1970, 1, 1)})
@example({"at": datetime(1970, 1, 1, tzinfo=UTC) - timedelta(milliseconds=1)})
@example({"eventId": 'a"b'})
@example({"topic": "x" * 64_900})
def test_a_sound_record_is_stated_alike(change: dict[str, Any]) -> None:
    value = world.disclosure(**{"sequence": 3} | change)
    assert outcome(SHORT, value) == outcome(Long(), value)


@settings(max_examples=600)
@given(CHANGES, st.data())
def test_a_damaged_record_is_judged_alike(change: dict[str, Any], data: st.DataObject) -> None:
    sound = world.disclosure(**{"sequence": 3} | change)
    at = data.draw(st.integers(0, len(sound) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "insert", "remove", "more"])):
        case "flip":
            value = sound[:at] + bytes([sound[at] ^ data.draw(st.integers(1, 255))]) + sound[at + 1 :]
        case "cut":
            value = sound[:at]
        case "insert":
            value = sound[:at] + data.draw(st.binary(min_size=1, max_size=3)) + sound[at:]
        case "remove":
            value = sound[:at] + sound[at + 1 :]
        case _:
            value = sound + b"\0"
    assert outcome(SHORT, value) == outcome(Long(), value)


def test_common_records_do_go_the_short_way() -> None:
    shortcut = Shortcut()
    for number in range(300):
        at = world.AT + timedelta(milliseconds=number)
        value = world.disclosure(number, at=at, topic="agency." + "long-" * 20 + "name", sourcePosition=number * 70)
        assert shortcut.read(value) is not None


@pytest.mark.parametrize("kind", ["ledger/disclosure"])
def test_another_version_of_the_schema_goes_the_general_way(kind: str) -> None:
    value = world.disclosure()
    assert value.startswith(record_type(kind).prefix)
    assert Shortcut().read(b"\xc3\x01" + bytes(8) + value[10:]) is None


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from integrator.recording import shortcut

    monkeypatch.setattr(shortcut, "_MOST", 3)
    monkeypatch.setattr(disclosures, "_MOST_STATEMENTS", 3)
    recorder, long = DisclosureRecorder(), Long()
    for number in range(20):
        change = {"topic": f"topic-{number}", "source": f"source-{number}", "at": world.AT + timedelta(seconds=number)}
        value = world.disclosure(number, engine=f"engine-{number}", kind=f"kind-{number}", **change)
        assert outcome(recorder, value) == outcome(long, value)
    kept = recorder._shortcut
    assert max(map(len, (kept._moments, kept._routes, kept._sources))) <= 3


def test_new_knowledge_of_the_directory_is_used_at_once() -> None:
    recorder = DisclosureRecorder()
    statement = recorder.read(world.record(world.disclosure(), 0))
    assert statement.make(KNOWLEDGE)[0].recipient == "groeifonds"
    changed = world.knowledge(world.authorisation(agency="svb"))
    assert statement.make(changed)[0].recipient == "svb"
