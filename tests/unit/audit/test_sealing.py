from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrator_audit import Busy, Refused, Tampered, Unavailable
from integrator_audit.completeness.epoch import EpochLeaf
from integrator_audit.completeness.index import Trie
from integrator_audit.completeness.indexfile import SqliteIndex
from integrator_audit.completeness.labels import DAY, LabelKey, label_of, labels_of
from integrator_audit.completeness.pages import find
from integrator_audit.completeness.sealing import SETTLING_MS
from integrator_audit.completeness.trie import EMPTY, Leaf, TrieProof, root_of, verify_absence, verify_inclusion
from integrator_audit.fsck import fsck
from integrator_audit.halfyear import first_day, last_day, period_of, start_of
from integrator_audit.merkle import EMPTY_ROOT
from integrator_audit.personlists import PersonLists
from tests.unit.audit.audit_samples import institution_entry
from tests.unit.audit.label_samples import label_signer
from tests.unit.audit.sealing_samples import (
    FIRST,
    RECIPIENTS,
    Installation,
    SampleService,
    entry,
    expected,
    pseudonym,
    secret,
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path)
    yield installation
    installation.close()


def test_a_new_epoch_log_begins_with_a_leaf_for_every_day_before(place: Installation) -> None:
    assert place.sealer().begin() == FIRST
    leaves = place.leaves()
    assert len(leaves) == FIRST
    begins = first_day(period_of(FIRST))
    assert {leaf.shards for leaf in leaves[:begins]} == {()}
    assert {tuple((item.start, item.end) for item in leaf.shards) for leaf in leaves[begins:]} == {((0, 0),)}
    assert {leaf.label_key for leaf in leaves[begins:]} == {LabelKey.read(label_signer().spki).fingerprint}
    assert place.sealer().begin() == FIRST, "a log that has begun does not begin again"


def test_a_day_lists_each_entry_under_its_person_and_its_recipient(place: Installation) -> None:
    sealer = place.begun()
    first, second, third = place.deliver(1, 2, 1)
    (hidden,) = place.deliver(1, recipient="groeifonds", listed=False)
    place.pad(3)
    place.at(1)
    (leaf,) = sealer.seal_due()
    assert (leaf.epoch, leaf.listed, leaf.unlisted, leaf.covered) == (FIRST, 3, 4, 7)
    assert place.listed(FIRST) == expected({1: [(0, first), (0, third)], 2: [(0, second)]}, FIRST)
    recipients = place.listed(FIRST, Trie.RECIPIENTS)
    assert recipients == {
        label_of(place.recipients.secret("svb"), DAY, FIRST): [(0, at) for at in sorted((first, second, third))],
        label_of(place.recipients.secret("groeifonds"), DAY, FIRST): [(0, hidden)],
    }
    assert place.leaves()[-1] == leaf
    head = place.logs(leaf.period).shards[0].last_before(start_of(FIRST + 1))  # type: ignore[union-attr]
    assert (leaf.shards[0].root_at_end, leaf.consumed) == (head.root, head.consumed)  # type: ignore[union-attr]
    cut = place.index.cut(FIRST, 0)
    assert cut is not None
    assert (cut.origin, cut.size, cut.note) == (place.origin("s0", leaf.period), 7, head.note)  # type: ignore[union-attr]


def test_what_is_sealed_proves_presence_and_absence_under_the_leafs_roots(place: Installation) -> None:
    sealer = place.begun()
    place.deliver(*range(150))
    place.at(1)
    (leaf,) = sealer.seal_due()
    for person in (0, 77, 149):
        label = label_of(secret(leaf.period, person), DAY, FIRST)
        found = find(place.index, FIRST, Trie.PERSONS, label)
        assert found.end is not None
        verify_inclusion(Leaf(label, found.end.content), found.siblings, root=leaf.persons_root)
    for person in (150, 151):
        label = label_of(secret(leaf.period, person), DAY, FIRST)
        found = find(place.index, FIRST, Trie.PERSONS, label)
        end = None if found.end is None else Leaf(*found.end[:2])
        verify_absence(label, TrieProof(found.siblings, end), root=leaf.persons_root)


def test_a_day_without_entries_has_a_leaf_and_empty_tries(place: Installation) -> None:
    sealer = place.begun()
    place.at(1)
    (leaf,) = sealer.seal_due()
    assert (leaf.covered, leaf.persons_root, leaf.recipients_root, leaf.shards[0].root_at_end) == (
        0,
        EMPTY,
        EMPTY,
        EMPTY_ROOT,
    )
    place.deliver(1)
    place.at(3)
    one, none = sealer.seal_due()
    assert (one.covered, none.covered) == (1, 0)
    assert none.shards[0].root_at_end == one.shards[0].root_at_end


def test_missed_days_are_sealed_one_after_the_other_each_with_its_own_cut(place: Installation) -> None:
    sealer = place.begun()
    placed: list[list[int]] = []
    for day in range(4):
        place.at(day)
        placed.append(place.deliver(*range(day + 1)))
    place.at(6)
    leaves = sealer.seal_due()
    assert [leaf.covered for leaf in leaves] == [1, 2, 3, 4, 0, 0]
    assert [len(place.listed(leaf.epoch)) for leaf in leaves] == [1, 2, 3, 4, 0, 0]
    for day, indices in enumerate(placed):
        by_person = {person: [(0, index)] for person, index in enumerate(indices)}
        assert place.listed(FIRST + day) == expected(by_person, FIRST + day)
    sealed = [leaf.sealed_at for leaf in leaves]
    assert sealed == sorted(set(sealed))
    place.leaves()
    assert sealer.due() == range(FIRST + 6, FIRST + 6)


def test_a_days_end_is_where_its_last_commit_was_and_not_where_the_sealing_looked(place: Installation) -> None:
    sealer = place.begun()
    place.at(0, 23.999)
    place.deliver(1, 2)
    place.at(1, 0.0001)
    place.deliver(3)
    place.at(1, 5)
    place.append([])
    (leaf,) = sealer.seal_due()
    assert leaf.shards[0].end == 2
    assert set(place.listed(FIRST)) == set(expected({1: [], 2: []}, FIRST))


def test_a_day_is_sealed_only_when_it_is_over_and_settled(place: Installation) -> None:
    sealer = place.begun()
    place.now = start_of(FIRST + 1) + SETTLING_MS - 1
    assert not sealer.due()
    with pytest.raises(Busy) as caught:
        sealer.seal(FIRST)
    assert caught.value.code == "epoch-not-over"
    place.now += 1
    assert list(sealer.due()) == [FIRST]
    for wrong in (FIRST - 1, FIRST + 1):
        with pytest.raises(Refused) as refused:
            sealer.seal(wrong)
        assert refused.value.code == "epoch-not-next"
    assert sealer.seal(FIRST).epoch == FIRST


def test_an_epoch_log_that_has_not_begun_seals_nothing(place: Installation) -> None:
    sealer = place.sealer()
    assert not sealer.due()
    with pytest.raises(Refused):
        sealer.seal(0)


def test_a_clock_that_went_back_seals_nothing(place: Installation) -> None:
    sealer = place.begun()
    place.at(9)
    sealer.seal(FIRST)
    place.at(5)
    with pytest.raises(Refused) as caught:
        sealer.seal(FIRST + 1)
    assert caught.value.code == "epoch-clock-back"
    assert len(place.leaves()) == FIRST + 1


def test_seals_in_the_same_millisecond_have_times_that_increase(place: Installation) -> None:
    sealer = place.begun()
    place.at(9)
    assert [leaf.sealed_at - place.now for leaf in sealer.seal_due()] == list(range(9))


def test_label_keys_are_asked_of_the_service_once_for_each_person_and_half_year(place: Installation) -> None:
    sealer = place.begun()
    service = place.service
    assert isinstance(service, SampleService)
    for day in range(3):
        place.at(day)
        place.deliver(1, 2, 3)
    place.at(3)
    sealer.seal_due()
    assert service.asked == 3


def test_somebody_without_an_identity_stops_the_sealing_and_leaves_no_leaf(place: Installation) -> None:
    sealer = place.begun()
    place.append([entry(1, 1)._replace(identity=b"")])
    place.at(1)
    with pytest.raises(Refused) as caught:
        sealer.seal_due()
    assert caught.value.code == "label-identity"
    assert len(place.leaves()) == FIRST


def test_one_number_under_two_pseudonyms_is_no_trie(place: Installation) -> None:
    class Careless(SampleService):
        def label_keys(self, period: int, people: object) -> list[bytes]:
            return [label_signer().sign(b"always the same") for _ in people]  # type: ignore[attr-defined]

    place.service = Careless()
    sealer = place.begun()
    place.deliver(1, 2)
    place.at(1)
    with pytest.raises(Tampered) as caught:
        sealer.seal_due()
    assert caught.value.code == "label-repeated"


def test_a_service_that_answers_wrongly_is_refused(place: Installation) -> None:
    class Wrong(SampleService):
        def label_keys(self, period: int, people: object) -> list[bytes]:
            return [b"short"]

    place.service = Wrong()
    sealer = place.begun()
    place.deliver(1)
    place.at(1)
    with pytest.raises(Refused) as caught:
        sealer.seal_due()
    assert caught.value.code == "label-service"


def test_another_label_key_within_a_half_year_is_refused(place: Installation) -> None:
    class Other(SampleService):
        def spki(self, period: int) -> bytes:
            return label_signer(1).spki

    place.begun()
    place.service = Other()
    place.at(1)
    with pytest.raises(Refused) as caught:
        place.sealer().seal_due()
    assert caught.value.code == "label-key-changed"


def take_off_the_list(connection: sqlite3.Connection, person: int) -> None:
    """Take a person's one entry off the list that the store keeps of persons."""
    ((index,),) = connection.execute("SELECT idx FROM entry WHERE subject = ?", (pseudonym(person),)).fetchall()
    PersonLists(connection).remove([(pseudonym(person), index)])


def test_an_entry_on_no_list_is_found_before_anything_is_signed(place: Installation) -> None:
    sealer = place.begun()
    place.deliver(1, 2, 3)
    connection = sqlite3.connect(place.file("s0", place.period))
    take_off_the_list(connection, 2)
    connection.commit()
    connection.close()
    place.at(1)
    with pytest.raises(Tampered) as caught:
        sealer.seal_due()
    assert caught.value.code == "epoch-recounted"
    assert len(place.leaves()) == FIRST


def test_an_entry_under_two_recipients_is_found_before_anything_is_signed(place: Installation) -> None:
    sealer = place.begun()
    place.deliver(1)
    place.deliver(2, recipient="groeifonds")
    connection = sqlite3.connect(place.file("s0", place.period))
    (one, _), (other, listed) = connection.execute("SELECT rid, list FROM by_recipient ORDER BY first")
    # The second one's entry, as the last of a list of the first one too.
    connection.execute("INSERT INTO by_recipient VALUES (0, ?, 1, ?)", (one, listed))
    connection.commit()
    connection.close()
    assert one != other
    place.at(1)
    with pytest.raises(Tampered) as caught:
        sealer.seal_due()
    assert caught.value.code == "epoch-recounted"
    assert len(place.leaves()) == FIRST


def test_a_half_year_that_lists_fewer_entries_than_its_days_is_not_closed(place: Installation) -> None:
    sealer = place.begun()
    place.deliver(1, 2, 3)
    place.writer("institution")
    place.at(1)
    sealer.seal_due()
    period = place.period
    connection = sqlite3.connect(place.file("s0", period))
    take_off_the_list(connection, 2)
    connection.commit()
    connection.close()
    place.close_period(period)
    place.at(last_day(period) + 1 - FIRST)
    with pytest.raises(Tampered) as caught:
        sealer.seal_due()
    assert caught.value.code == "epoch-recounted"
    assert len(place.leaves()) == last_day(period)


@pytest.mark.parametrize("count", [1, 2, 300])
def test_an_older_backup_of_a_shard_is_not_sealed_nor_another_log(place: Installation, count: int) -> None:
    place.begun()
    place.deliver(1, 2)
    place.at(1)
    place.sealer().seal_due()
    period = place.period
    place.close()
    place.file("s0", period).unlink()
    again = Installation(place.directory, now=place.now)
    again.deliver(*range(count))
    again.at(2)
    with pytest.raises(Tampered) as caught:
        again.sealer().seal_due()
    assert caught.value.code == "epoch-shard-behind"
    again.close()


def test_another_institution_log_is_not_sealed(place: Installation) -> None:
    place.begun()
    place.writer("institution").append([institution_entry(1)], now_ms=place.now)
    place.deliver(1)
    place.at(1)
    place.sealer().seal_due()
    period = place.period
    place.close()
    place.file("institution", period).unlink()
    again = Installation(place.directory, now=place.now)
    again.writer("institution").append([institution_entry(2), institution_entry(3)], now_ms=place.now)
    again.at(2)
    with pytest.raises(Tampered) as caught:
        again.sealer().seal_due()
    assert caught.value.code == "epoch-shard-behind"
    again.close()


def test_several_shards_are_one_trie(tmp_path: Path) -> None:
    for shards in (2, 4):
        directory = tmp_path / str(shards)
        directory.mkdir()
        place = Installation(directory, shards=shards)
        sealer = place.begun()
        by_person: dict[int, list[tuple[int, int]]] = {}
        for number in range(40):
            shard, person = number % shards, number % 7
            (index,) = place.deliver(person, shard=shard, recipient=RECIPIENTS[number % 3])
            by_person.setdefault(person, []).append((shard, index))
        place.at(1)
        (leaf,) = sealer.seal_due()
        assert [item.shard for item in leaf.shards] == list(range(shards))
        assert place.listed(FIRST) == expected(by_person, FIRST)
        listed = [at for places in place.listed(FIRST, Trie.RECIPIENTS).values() for at in places]
        assert sorted(listed) == sorted(at for places in by_person.values() for at in places)
        assert all(places == sorted(places) for places in place.listed(FIRST, Trie.RECIPIENTS).values())
        place.close()


def test_a_half_year_closes_with_the_union_of_its_days_and_the_next_one_begins_at_nothing(tmp_path: Path) -> None:
    place = Installation(tmp_path, shards=2)
    sealer = place.begun()
    last = last_day(period_of(FIRST)) - FIRST
    period = place.period
    whole: dict[int, list[tuple[int, int]]] = {}
    for day in (0, 3, last):
        place.at(day)
        for person in range(5 if day else 2):
            (index,) = place.deliver(person, shard=person % 2)
            whole.setdefault(person, []).append((person % 2, index))
    place.writer("institution", period)
    place.at(last + 1, 1)
    place.deliver(9)
    with pytest.raises(Busy) as caught:
        sealer.seal_due()
    assert caught.value.code == "epoch-log-open"
    place.close_period(period)
    sealer.seal_due()
    place.at(last + 2)
    sealer.seal_due()
    leaves = place.leaves()
    closing, opening = leaves[FIRST + last], leaves[FIRST + last + 1]
    assert closing.period_root != EMPTY
    assert [(item.start, item.end) for item in opening.shards] == [(0, 1), (0, 0)]
    assert opening.period == closing.period + 1
    for person, places in whole.items():
        on_days = [at for leaf in leaves[FIRST : FIRST + last + 1] for at in place.listed_of(person, leaf.epoch)]
        assert place.listed_in_period(person, period, closing.epoch) == sorted(places) == sorted(on_days)
    assert len(place.listed(closing.epoch, Trie.PERIOD)) == 5
    place.close()


def test_what_is_committed_after_midnight_into_a_closing_half_year_is_of_its_last_day(place: Installation) -> None:
    sealer = place.begun()
    last = last_day(period_of(FIRST)) - FIRST
    period = place.period
    place.at(last, 23)
    place.deliver(1)
    place.at(last + 1, 0.01)
    place.writer("s0", period).append([entry(2, 99)], now_ms=place.now)
    place.close_period(period)
    place.at(last + 1, 1)
    leaf = sealer.seal_due()[-1]
    assert (leaf.epoch, leaf.covered, leaf.listed) == (FIRST + last, 2, 2)


STEPS = ["add_pages", "add_places", "finish"]


@pytest.mark.parametrize("persisted", [False, True])
@pytest.mark.parametrize("step", ["begin", *STEPS])
def test_a_crash_at_any_step_of_the_index_is_rebuilt(
    place: Installation, step: str, persisted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealer = place.begun()
    place.deliver(*range(30))
    place.at(1)
    _fail(monkeypatch, SqliteIndex, step, persisted=persisted)
    with pytest.raises(_Crash):
        sealer.seal_due()
    monkeypatch.undo()
    _holds_after_reopening(place)


@pytest.mark.parametrize("persisted", [False, True])
def test_a_crash_at_the_commit_point_is_rebuilt_or_final(
    place: Installation, persisted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from integrator_audit.sqlite import SqliteStore

    sealer = place.begun()
    place.deliver(*range(30))
    place.at(1)
    _fail(monkeypatch, SqliteStore, "commit", persisted=persisted)
    with pytest.raises(_Crash):
        sealer.seal_due()
    with pytest.raises(Unavailable) as caught:
        sealer.seal(FIRST)
    assert caught.value.code == "epoch-outcome-unknown"
    monkeypatch.undo()
    finished = place.index.leaf(FIRST)
    reopened = place.sealer()
    assert list(reopened.due()) == ([] if persisted else [FIRST])
    _holds_after_reopening(place)
    assert place.leaves()[FIRST].encode() == finished, "a day that was finished was rebuilt"


def test_a_crash_while_the_epoch_log_begins_begins_again(place: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in ("begin", "fill"):
        for persisted in (False, True):
            _fail(monkeypatch, SqliteIndex, step, persisted=persisted)
            with pytest.raises(_Crash):
                place.sealer().begin()
            monkeypatch.undo()
    assert place.sealer().begin() == FIRST
    _holds_after_reopening(place)


def test_an_index_has_one_writer(place: Installation) -> None:
    place.begun()
    with pytest.raises(Busy) as caught:
        SqliteIndex.open(place.index_file)
    assert caught.value.code == "index-busy"


def test_an_index_that_is_behind_or_anothers_is_refused(place: Installation, tmp_path: Path) -> None:
    place.begun()
    place.deliver(1)
    place.at(1)
    older = place.index_file.read_bytes()
    place.sealer().seal_due()
    place.close()
    newer = place.index_file.read_bytes()
    for name in ("epochs.index.sqlite-wal", "epochs.index.sqlite-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    place.index_file.write_bytes(older)
    place = Installation(tmp_path)
    with pytest.raises(Refused) as caught:
        place.sealer()
    assert caught.value.code == "index-behind"
    place.close()
    place.index_file.write_bytes(newer)
    connection = sqlite3.connect(place.index_file)
    connection.execute("UPDATE sealed SET leaf = x'10' WHERE epoch = ?", (FIRST,))
    connection.commit()
    connection.close()
    place = Installation(tmp_path)
    with pytest.raises(Refused) as other:
        place.sealer()
    place.close()
    assert other.value.code == "index-other"


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(24)), size=st.integers(1, 24))
def test_whatever_the_order_of_batches_a_day_lists_the_same_deliveries(order: list[int], size: int) -> None:
    with TemporaryDirectory() as name:
        place = Installation(Path(name))
        sealer = place.begun()
        placed: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for day in (0, 1):
            place.at(day)
            todays = [number for number in order if number % 2 == day]
            for start in range(0, len(todays), size):
                batch = todays[start : start + size]
                entries = [entry(number % 5, number + 1, recipient=RECIPIENTS[number % 3]) for number in batch]
                for number, index in zip(batch, place.append(entries), strict=True):
                    placed.setdefault((day, number % 5), []).append((0, index))
        place.at(2)
        sealer.seal_due()
        for day in (0, 1):
            by_person = {person: places for (on, person), places in placed.items() if on == day}
            assert place.listed(FIRST + day) == expected(by_person, FIRST + day)
            recipients = place.listed(FIRST + day, Trie.RECIPIENTS).values()
            assert sorted(map(len, recipients)) == [4, 4, 4]
        place.close()


def test_labels_of_many_are_those_of_each() -> None:
    drawn = random.Random(3)
    secrets = [drawn.randbytes(32) for _ in range(50)]
    for level, number in ((1, 9820), (2, 53)):
        assert labels_of(secrets, level, number) == [label_of(one, level, number) for one in secrets]


def test_the_root_of_a_day_is_that_of_its_leaves(place: Installation) -> None:
    from integrator_audit.completeness.pages import leaves_of

    sealer = place.begun()
    place.deliver(*range(40))
    place.at(1)
    (leaf,) = sealer.seal_due()
    leaves = [(one.label, one.content) for one in leaves_of(place.index, FIRST, Trie.PERSONS)]
    assert root_of(leaves) == leaf.persons_root


class _Crash(Exception):
    pass


def _fail(monkeypatch: pytest.MonkeyPatch, owner: type, step: str, *, persisted: bool) -> None:
    real: Callable[..., object] = getattr(owner, step)

    def failing(self: object, *args: object, **kwargs: object) -> None:
        if persisted:
            real(self, *args, **kwargs)
        raise _Crash

    monkeypatch.setattr(owner, step, failing)


def _holds_after_reopening(place: Installation) -> None:
    sealer = place.sealer()
    place.at(2)
    sealer.seal_due()
    leaves = place.leaves()
    assert len(leaves) == FIRST + 2
    for leaf in leaves[FIRST:]:
        entries = sum(map(len, place.listed(leaf.epoch).values()))
        assert entries == leaf.listed
        assert leaf.persons_root == root_of([(one.label, one.content) for one in _leaves(place, leaf)])
    assert fsck(place.epoch_file).holds


def _leaves(place: Installation, leaf: EpochLeaf) -> list[Leaf]:
    from integrator_audit.completeness.pages import leaves_of

    return [Leaf(one.label, one.content) for one in leaves_of(place.index, leaf.epoch, Trie.PERSONS)]
