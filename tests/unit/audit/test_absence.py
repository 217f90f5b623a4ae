"""A whole list proves what is not in a log: no operator can leave an entry out of it, add one or change one, unseen."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrator_audit import Entry, Tampered, Verifier, part
from integrator_audit.checkpoint import Checkpoint, open_checkpoint
from integrator_audit.encoding import from_base64, to_base64
from integrator_audit.errors import Invalid, Unavailable
from integrator_audit.note import join_note
from integrator_audit.searching import absence
from integrator_audit.searching.absence import WholeList, check_whole
from integrator_audit.searching.terms import Alternatives, Overlapping, among
from integrator_audit.searching.whole import Written, write_whole
from integrator_audit.sqlite import SqliteStore
from integrator_audit.store import Erasure
from integrator_audit.stores import open_reading
from integrator_audit.witnessing.cosignature import Cosigner
from integrator_audit.witnessing.policy import Policy
from tests.unit.audit.audit_samples import PEOPLE, Place, signer
from tests.unit.audit.schema_check import breaches, schema

COUNT = 700
NOW = 1_800_000_000
STUDY: Alternatives = [[Overlapping("fields", "birth.date"), among("purpose", "study")]]
Line = dict[str, Any]
VERIFIER = signer().verifier


def told(number: int) -> bytes:
    """Return part A; entries 40 and 650 alone disclose a birth date, as part of the whole birth, for a study."""
    rare = number in (40, 650)
    return part(
        "sample.a/v1",
        {
            "recipient": "duo" if rare or number % 3 == 0 else "svb",
            "fields": ["birth"] if rare else ["birth.date", "name"] if number % 3 else ["name"],
            "purpose": "study" if rare or number % 3 == 0 else "pension",
        },
    )


@dataclass(frozen=True, slots=True)
class World:
    """A closed log, and checkpoints that it signed at some sizes."""

    place: Place
    signed: dict[int, bytes]

    def whole(self, **way: Any) -> tuple[bytes, Written]:
        store = open_reading(self.place.ledger_file)
        try:
            out = io.BytesIO()
            written = write_whole(store, out, **way)
        finally:
            store.close()
        return out.getvalue(), written

    def earlier(self, size: int) -> Checkpoint:
        return open_checkpoint(self.signed[size], VERIFIER)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    place = Place(tmp_path_factory.mktemp("whole") / "log")
    place.directory.mkdir()
    ledger, signed = place.ledger(), {}
    # One entry a commit around the rare ones, so that their indices are what the tests say.
    for start, stop in [(0, 40), (40, 41), (41, 300), (300, 650), (650, 651), (651, COUNT)]:
        ledger.append(
            [
                Entry(
                    type=0x01,
                    a=told(number),
                    d=part("sample.d/v1", {"position": number}),
                    s=part("sample.s/v1", {"number": number}),
                    p=b"",
                    subject=PEOPLE[number % len(PEOPLE)],
                    recipient="duo",
                    at=1_795_520_805_123 + number,
                    listed=number % 50 != 49,
                )
                for number in range(start, stop)
            ]
        )
        signed[stop] = ledger.checkpoint
    ledger.close()
    return World(place, signed)


def check(data: bytes, question: Alternatives = STUDY, *, keys: Verifier = VERIFIER, **way: Any) -> WholeList:
    return check_whole(io.BytesIO(data), keys, question, now=NOW, **way)


def edit(data: bytes, change: Callable[[list[Line]], None]) -> bytes:
    """Return the list after a change of its lines."""
    lines = [json.loads(line) for line in gzip.decompress(data).splitlines()]
    change(lines)
    return gzip.compress("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())


def test_a_list_of_the_whole_log_tells_how_many_entries_answer_and_which(world: World) -> None:
    data, written = world.whole()
    assert written == Written(0, COUNT, COUNT, 3, 0)
    found = check(data)
    assert (found.start, found.stop, found.checkpoint.size, found.statements) == (0, COUNT, COUNT, 3)
    assert (found.answers, found.first, found.closed) == (2, (40, 650), 0)
    assert check(data, [[among("recipient", "police")]]).answers == 0
    assert check(data, []).answers == COUNT


def test_a_path_above_the_one_that_is_asked_for_answers_too(world: World) -> None:
    data, _ = world.whole()
    assert check(data, [[Overlapping("fields", "birth"), among("purpose", "study")]]).answers == 2
    assert check(data, [[among("fields", "birth.date"), among("purpose", "study")]]).answers == 0


@pytest.mark.parametrize(("start", "stop"), [(0, 300), (41, 650), (300, COUNT), (COUNT, COUNT), (0, 0), (41, 41)])
def test_a_list_of_a_range_is_as_whole(world: World, start: int, stop: int) -> None:
    data, written = world.whole(start=start, stop=stop)
    assert (written.start, written.stop) == (start, stop)
    found = check(data)
    assert found.first == tuple(index for index in (40, 650) if start <= index < stop)
    assert (found.start, found.stop) == (start, stop)


@settings(max_examples=15, deadline=None)
@given(ends=st.tuples(st.integers(0, COUNT), st.integers(0, COUNT)).map(sorted))
def test_every_range_holds(world: World, ends: list[int]) -> None:
    start, stop = ends
    data, _ = world.whole(start=start, stop=stop)
    assert check(data, []).answers == stop - start


def test_lines_are_as_the_schema_describes_them(world: World) -> None:
    data, _ = world.whole(start=5)
    rules = schema("whole.v1")
    for line in gzip.decompress(data).splitlines():
        assert not list(breaches(json.loads(line), rules, rules))


def test_erased_entries_still_say_who_received_what(world: World) -> None:
    place = world.place.copy("erased")
    store = SqliteStore.open(place.ledger_file)
    store.erase([Erasure(40, "order"), Erasure(100, "retention")])
    store.close()
    data, _ = World(place, {}).whole()
    assert check(data).first == (40, 650)


def test_closed_entries_are_counted_and_not_taken_for_an_answer(world: World) -> None:
    data, written = world.whole(close_unlisted=True)
    assert written.closed == COUNT // 50
    found = check(data, [])
    assert (found.closed, found.answers) == (COUNT // 50, COUNT - COUNT // 50)


def test_a_list_stands_under_the_published_checkpoint(world: World) -> None:
    place = world.place.copy("published")
    store = SqliteStore.open(place.ledger_file)
    store.publish(300, world.signed[300])
    store.close()
    other = World(place, {})
    assert other.whole()[1][:3] == (0, 300, 300)
    assert other.whole(stop=200)[1][:3] == (0, 200, 300)
    assert other.whole(stop=301)[1][:3] == (0, 301, COUNT)
    assert check(other.whole()[0]).answers == 1


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 4), (0, COUNT + 1)])
def test_there_is_no_list_of_what_is_not_there(world: World, start: int, stop: int) -> None:
    with pytest.raises(Invalid, match="there is no range"):
        world.whole(start=start, stop=stop)


@pytest.mark.parametrize("size", [40, 300, 650, COUNT])
def test_a_checkpoint_that_the_reader_knew_is_compared_on_the_way(world: World, size: int) -> None:
    data, _ = world.whole(start=40)
    assert check(data, earlier=world.earlier(size)).compared
    forked = Checkpoint(VERIFIER.name, size, bytes(32))
    with pytest.raises(Tampered, match="another history") as caught:
        check(data, earlier=forked)
    assert caught.value.code == "whole-earlier"


def test_a_checkpoint_from_before_the_list_is_said_to_be_not_compared(world: World) -> None:
    data, _ = world.whole(start=300)
    assert not check(data, earlier=world.earlier(41)).compared


def leave_out(lines: list[Line], at: int) -> None:
    """Take one entry out of the first line of entries."""
    line = next(line for line in lines if "entries" in line)
    del line["entries"][at]
    for name, width in (("types", 1), ("salts", 32), ("hD", 32), ("hS", 32), ("hP", 32)):
        column = from_base64(line[name], what="")
        line[name] = to_base64(column[: at * width] + column[(at + 1) * width :])


def first_entries(lines: list[Line]) -> Line:
    return next(line for line in lines if "entries" in line)


def flip(line: Line, name: str, at: int) -> None:
    data = bytearray(from_base64(line[name], what=""))
    data[at] ^= 1
    line[name] = to_base64(bytes(data))


def left_out_and_shortened(lines: list[Line]) -> None:
    leave_out(lines, 40)
    lines[0]["stop"] -= 1


def renamed(lines: list[Line]) -> None:
    statement = next(line for line in lines if "text" in line and '"birth"' in line["text"])
    statement["text"] = statement["text"].replace("study", "pension")


def told_as_another(lines: list[Line]) -> None:
    first_entries(lines)["entries"][40] = 1


def closed_with_another_hash(lines: list[Line]) -> None:
    first_entries(lines)["entries"][40] = 0


def two_changed_places(lines: list[Line]) -> None:
    line = first_entries(lines)
    line["entries"][40], line["entries"][41] = line["entries"][41], line["entries"][40]
    salts = from_base64(line["salts"], what="")
    line["salts"] = to_base64(salts[: 40 * 32] + salts[41 * 32 : 42 * 32] + salts[40 * 32 : 41 * 32] + salts[42 * 32 :])


LIES: dict[str, tuple[Callable[[list[Line]], None], str]] = {
    "an entry left out": (lambda lines: leave_out(lines, 40), "whole-cut"),
    "an entry left out, and the end moved": (left_out_and_shortened, "whole-root"),
    "a line left out": (lambda lines: lines.remove(first_entries(lines)), "whole-cut"),
    "an entry told twice": (lambda lines: lines.append(lines[-1]), "whole-root"),
    "a statement with another purpose": (renamed, "whole-root"),
    "an entry told with another statement": (told_as_another, "whole-root"),
    "an entry closed that was open": (closed_with_another_hash, "whole-root"),
    "two entries in each other's place": (two_changed_places, "whole-root"),
    "another salt": (lambda lines: flip(first_entries(lines), "salts", 77), "whole-root"),
    "another hash of D": (lambda lines: flip(first_entries(lines), "hD", 7), "whole-root"),
    "another type": (lambda lines: flip(first_entries(lines), "types", 9), "whole-root"),
    "another log": (lambda lines: lines[0].update(origin="demo.integrator.example/ledger/x"), "whole-origin"),
    "another checkpoint": (lambda lines: flip(lines[0], "checkpoint", 120), "whole-checkpoint"),
    "another start": (lambda lines: lines[0].update(start=1, edge=[to_base64(bytes(32))]), "whole-root"),
    "a proof of consistency that is not needed": (
        lambda lines: lines[0].update(consistency=[to_base64(bytes(32))]),
        "whole-root",
    ),
    "an end beyond the checkpoint": (lambda lines: lines[0].update(stop=COUNT + 1), "whole-checkpoint"),
    "an end before the last entry": (lambda lines: lines[0].update(stop=COUNT - 1), "whole-root"),
    "a statement whose number is true": (lambda lines: lines[1].update(statement=True), "whole-malformed"),
    "a statement before its number": (lambda lines: lines[1].update(statement=2), "whole-malformed"),
    "a statement that nobody told": (
        lambda lines: first_entries(lines)["entries"].__setitem__(3, 9),
        "whole-malformed",
    ),
    "a statement in another form": (lambda lines: lines[1].update(text=lines[1]["text"] + " "), "whole-statement"),
    "a statement with a key twice": (
        lambda lines: lines[1].update(text=lines[1]["text"][:-1] + ',"purpose":"x"}'),
        "whole-statement",
    ),
    "a column too short": (lambda lines: first_entries(lines).update(hS=to_base64(bytes(32))), "whole-malformed"),
    "a line that says more": (lambda lines: first_entries(lines).update(also=1), "whole-malformed"),
    "an edge too long": (lambda lines: lines[0].update(edge=[to_base64(bytes(32))]), "whole-malformed"),
    "no header": (lambda lines: lines.pop(0), "whole-malformed"),  # type: ignore[dict-item,return-value]
    "nothing": (lambda lines: lines.clear(), "whole-cut"),
    "more statements than entries": (
        lambda lines: lines.__setitem__(
            slice(1, None), [{"statement": at, "text": told(0).decode()} for at in range(1, COUNT + 3)]
        ),
        "whole-malformed",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_list_that_is_not_the_logs_is_refused_and_it_is_said_why(world: World, lie: str) -> None:
    change, code = LIES[lie]
    data, _ = world.whole()
    with pytest.raises(Tampered) as caught:
        check(edit(data, change))
    assert caught.value.code == code


def test_an_edge_that_is_not_the_logs_is_refused(world: World) -> None:
    data, _ = world.whole(start=300)
    lines_changed = edit(data, lambda lines: lines[0]["edge"].reverse())
    with pytest.raises(Tampered) as caught:
        check(lines_changed)
    assert caught.value.code == "whole-root"


def test_statements_that_fill_the_memory_are_not_read_to_their_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(absence, "MAX_STATEMENTS", 1000)
    with pytest.raises(Unavailable) as caught:
        check(edit(world.whole()[0], lambda lines: lines.insert(2, {"statement": 2, "text": "x" * 60_000})))
    assert caught.value.code == "whole-too-large"


@pytest.mark.parametrize("keep", [0, 5, 4000])
def test_a_list_that_was_cut_is_refused(world: World, keep: int) -> None:
    data, _ = world.whole()
    with pytest.raises(Tampered) as caught:
        check(data[:keep])
    assert caught.value.code == "whole-cut"


def test_what_is_no_gzip_file_or_has_an_endless_line_is_refused() -> None:
    for data in (b"{}\n", gzip.compress(b" " * (1 << 21))):
        with pytest.raises(Tampered, match=r"gzip|longer"):
            check(data)


def test_a_list_counts_under_a_policy_when_its_checkpoint_is_cosigned(world: World) -> None:
    witness = Cosigner("witness.example", bytes(range(32)))
    policy = Policy.parse(f"log {VERIFIER.vkey}\nwitness W {witness.key.vkey}\nquorum W\n".encode())
    with pytest.raises(Tampered, match="no quorum") as caught:
        check(world.whole()[0], policy=policy)
    assert caught.value.code == "whole-quorum"
    place = world.place.copy("cosigned")
    text = world.earlier(650).text
    store = SqliteStore.open(place.ledger_file)
    store.publish(650, join_note(text, [signer().signature(text), witness.cosign(text, NOW - 60)]))
    store.close()
    found = check(World(place, {}).whole()[0], policy=policy)
    assert found.is_witnessed
    assert found.answers == 1
    assert not check(world.whole()[0]).is_witnessed
