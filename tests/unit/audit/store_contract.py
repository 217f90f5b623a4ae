"""What every store of a log must do. A subclass of `StoreContract` gives the fixture `stored`, a place for one log.

Rows are made by hand, without keys and signatures: a store does not look into them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from random import Random
from typing import Protocol

import pytest

from integrator_audit import Busy, Erasure, Invalid, Refused, SetAside, Tampered
from integrator_audit.frontier import Frontier
from integrator_audit.halfyear import DAY_MS
from integrator_audit.merkle import EMPTY_ROOT
from integrator_audit.store import (
    KEYS_MOVED,
    Batch,
    EntryRow,
    Head,
    Identity,
    Reading,
    Store,
    consumed_digest,
    entry_seal,
)
from integrator_audit.tiles import TileRow

SOURCE = ("integrator.disclosures", 0)
IDENTITY = Identity("store.example/ledger/s0-2026h2", "the text of a key")
DAY = 20_000 * DAY_MS
PEOPLE = [sha256(b"person %d" % number).digest() for number in range(7)]
RECIPIENTS = ("svb", "groeifonds", "")


class Stored(Protocol):
    """A place for one log, and ways to open it."""

    def store(self) -> Store: ...

    def reading(self) -> Reading: ...


@dataclass
class Growing:
    """A log as its writer holds it: makes batches that fit."""

    store: Store
    random: Random = field(default_factory=lambda: Random(5))
    frontier: Frontier = field(default_factory=Frontier)
    positions: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    rows: list[EntryRow] = field(default_factory=list[EntryRow])
    tiles: dict[tuple[int, int], TileRow] = field(default_factory=dict[tuple[int, int], TileRow])
    at: int = DAY

    def row(self, number: int, **change: object) -> EntryRow:
        """Return an entry of some person to some recipient."""
        random = self.random
        row = EntryRow(
            number,
            random.choice(PEOPLE),
            random.choice(RECIPIENTS),
            0x01,
            DAY + number,
            random.choice((2, 10, 20)),
            random.random() < 0.9,
            random.randbytes(32),
            b'{"schema":"a/v1","number":%d}' % (number % 5),
            random.randbytes(60),
            b"",
            random.randbytes(128),
            random.randbytes(32),
            1,
            random.randbytes(16) if number % 3 == 0 else None,
            0,
        )._replace(**change)
        return row._replace(seal=entry_seal(row))

    def batch(
        self,
        rows: Sequence[EntryRow],
        *,
        positions: Mapping[tuple[str, int], int] | None = None,
        set_aside: Sequence[SetAside] = (),
        still_valid: Callable[[], bool] = lambda: True,
    ) -> tuple[Batch, Frontier]:
        """Return the batch that appends these rows, and the frontier after it."""
        frontier, tiles = self.frontier.extend([b"\x01" + row.commitment for row in rows])
        consumed = consumed_digest(self.positions | dict(positions or {}))
        head = Head(frontier.size, frontier.root(), b"note of %d" % frontier.size, consumed, self.at)
        return Batch(self.frontier.size, head, rows, tiles, positions or {}, set_aside, still_valid), frontier

    def append(self, count: int, **batch: object) -> list[EntryRow]:
        """Commit so many new entries and return their rows."""
        size = self.frontier.size
        rows = [self.row(size + number) for number in range(count)]
        made, frontier = self.batch(rows, **batch)  # type: ignore[arg-type]
        self.store.commit(made)
        self.frontier = frontier
        self.positions |= made.positions
        self.rows += rows
        self.tiles |= {(tile.level, tile.number): tile for tile in made.tiles}
        return rows


def stored_row(row: EntryRow) -> EntryRow:
    """Return a row as a store gives it back: without its commitment."""
    return row._replace(commitment=b"")


class StoreContract:
    """Subclass it, and give the fixture `stored`."""

    @pytest.fixture
    def stored(self) -> Stored:
        raise NotImplementedError("a subclass says where the log is kept")

    @pytest.fixture
    def log(self, stored: Stored) -> Growing:
        growing = Growing(stored.store())
        head = Head(0, EMPTY_ROOT, b"note of 0", consumed_digest({}), 0)
        growing.store.create(IDENTITY, head, {})
        return growing

    def test_a_new_store_holds_nothing(self, stored: Stored) -> None:
        store = stored.store()
        assert (store.identity(), store.head(), store.published(), store.is_closed()) == (None, None, None, False)
        assert (store.entry(0), store.tile(0, 0), store.last_before(1 << 50)) == (None, None, None)
        assert (store.positions(), store.set_asides(), list(store.statements())) == ({}, [], [])

    def test_a_log_is_made_with_its_first_checkpoint_and_positions(self, stored: Stored) -> None:
        store = stored.store()
        head = Head(0, EMPTY_ROOT, b"note", consumed_digest({SOURCE: 7}), 0)
        store.create(IDENTITY, head, {SOURCE: 7})
        store.close()
        again = stored.store()
        assert (again.identity(), again.head(), again.positions()) == (IDENTITY, head, {SOURCE: 7})
        assert stored.reading().identity() == IDENTITY

    def test_what_was_committed_is_read_back_by_another(self, stored: Stored, log: Growing) -> None:
        rows = log.append(300, positions={SOURCE: 5}) + log.append(3, positions={SOURCE: 6})
        for reading in (log.store, stored.reading()):
            assert [reading.entry(number) for number in range(303)] == list(map(stored_row, rows))
            assert list(reading.entries(290, 400)) == list(map(stored_row, rows[290:]))
            assert reading.entry(303) is None
            head = reading.head()
            assert head is not None
            assert (head.size, head.root) == (303, log.frontier.root())
            assert reading.positions() == {SOURCE: 6}
            for place, tile in log.tiles.items():
                assert reading.tile(*place) == tile
            full = reading.tile(0, 0)
            assert (full and full.width, full and len(full.nodes)) == (256, 512)
            # The unfinished tiles were replaced as they grew.
            last, bundle, upper = reading.tile(0, 1), reading.tile(-1, 1), reading.tile(1, 0)
            assert (last and last.width, bundle and bundle.width, upper and upper.width) == (47, 47, 1)

    def test_each_part_a_is_kept_once_and_rows_name_it(self, log: Growing) -> None:
        rows = log.append(20) + log.append(20)
        statements = dict(log.store.statements())
        assert sorted(statements.values()) == sorted({row.a for row in rows})
        assert list(statements) == sorted(statements)
        told = [(index, statements[number], at) for index, number, at in log.store.rows(5, 100)]
        assert told == [(row.number, row.a, row.at) for row in rows[5:]]
        assert all(log.store.statement(number) == data for number, data in statements.items())
        assert log.store.statement(10_000) is None

    def test_persons_and_recipients_find_their_entries_over_blocks_of_the_indexes(
        self, stored: Stored, log: Growing
    ) -> None:
        for count in (20_000, 15_000, 40):
            log.append(count)
        reading = stored.reading()
        start, stop = 3_000, 35_001
        persons: dict[bytes, list[int]] = defaultdict(list)
        recipients: dict[str, list[int]] = defaultdict(list)
        for row in log.rows[start:stop]:
            if row.listed and row.subject is not None:
                persons[row.subject].append(row.number)
            if row.recipient:
                recipients[row.recipient].append(row.number)
        assert dict(reading.persons_between(start, stop)) == persons
        assert dict(reading.recipients_between(start, stop)) == recipients
        assert list(reading.persons_between(stop, stop)) == []
        for who, indices in persons.items():
            assert reading.indices_of(who, stop, 10_000) == [*indices[::-1], *_below(log, who, start)][:10_000]
            assert reading.indices_of(who, stop, 3) == indices[:-4:-1]
        for name, indices in recipients.items():
            assert reading.indices_to(name, stop, 500) == indices[:-501:-1]
        assert reading.indices_of(bytes(32), stop, 5) == []
        assert reading.indices_to("nobody", stop, 5) == []

    def test_what_is_erased_leaves_its_person_in_an_old_block_as_in_the_newest(
        self, stored: Stored, log: Growing
    ) -> None:
        for count in (33_000, 40, 40):
            log.append(count)
        who = PEOPLE[0]
        theirs = log.store.indices_of(who, 33_080, 10_000)
        gone = [theirs[0], theirs[1], theirs[len(theirs) // 2], theirs[-1]]
        log.store.erase([Erasure(index, "order") for index in gone])
        kept = [index for index in theirs if index not in gone]
        reading = stored.reading()
        assert reading.indices_of(who, 33_080, 10_000) == kept
        assert dict(reading.persons_between(0, 33_080))[who] == kept[::-1]
        log.store.erase([Erasure(index, "order") for index in kept])
        assert reading.indices_of(who, 33_080, 10_000) == []
        assert who not in dict(reading.persons_between(0, 33_080))

    def test_entries_that_are_not_listed_are_found_by_no_person(self, log: Growing) -> None:
        rows = [log.row(number, listed=number % 2 == 0, subject=PEOPLE[0]) for number in range(10)]
        log.store.commit(log.batch(rows)[0])
        assert log.store.indices_of(PEOPLE[0], 10, 100) == [8, 6, 4, 2, 0]
        assert list(log.store.persons_between(3, 9)) == [(PEOPLE[0], [4, 6, 8])]
        assert log.store.unlisted_between(2, 9) == [3, 5, 7]

    def test_lengths_of_retention_are_found(self, log: Growing) -> None:
        rows = log.append(50)
        for years in (2, 10, 20):
            expected = [row.number for row in rows[5:40] if row.retention == years]
            assert list(log.store.with_retention(years, 5, 40)) == expected

    def test_of_two_writers_one_extends_the_log(self, stored: Stored, log: Growing) -> None:
        log.append(2)
        stale, _ = log.batch([log.row(2)])
        log.append(1)
        with pytest.raises(Refused) as caught:
            log.store.commit(stale)
        assert caught.value.code == "ledger-other-writer"
        assert stored.reading().entry(2) == stored_row(log.rows[2])

    def test_randomness_that_comes_again_is_refused_and_nothing_is_written(self, stored: Stored, log: Growing) -> None:
        first = log.append(2)[0]
        repeated, _ = log.batch([log.row(2, salt_a=first.salt_a)], positions={SOURCE: 9})
        with pytest.raises(Tampered) as caught:
            log.store.commit(repeated)
        assert caught.value.code == "ledger-repeated"
        reading = stored.reading()
        assert (reading.entry(2), reading.positions()) == (None, {})

    def test_a_batch_that_is_not_valid_any_more_is_not_written_and_the_store_goes_on(self, log: Growing) -> None:
        stale, _ = log.batch([log.row(0)], still_valid=lambda: False)
        with pytest.raises(Busy) as caught:
            log.store.commit(stale)
        assert caught.value.code == KEYS_MOVED
        assert log.store.entry(0) is None
        assert len(log.append(1)) == 1

    def test_the_last_checkpoint_of_each_day_is_kept_as_it_was(self, stored: Stored, log: Growing) -> None:
        ends: dict[int, Head | None] = {}
        for day in range(3):
            for hour in (1, 2, 22):
                log.at = DAY + day * DAY_MS + hour * 3_600_000
                log.append(2, positions={SOURCE: 10 * day + hour})
            ends[day] = log.store.head()
        # Positions alone move too: the day before keeps those that it ended with.
        log.at = DAY + 3 * DAY_MS
        log.append(0, positions={SOURCE: 99})
        reading = stored.reading()
        for day, end in ends.items():
            assert reading.last_before(DAY + (day + 1) * DAY_MS) == end
        newest = reading.last_before(DAY + 4 * DAY_MS)
        assert newest == reading.head()
        assert newest is not None
        assert (newest.size, newest.consumed) == (18, consumed_digest({SOURCE: 99}))
        empty = reading.last_before(DAY)
        assert empty is not None
        assert empty.size == 0
        # Within a day, earlier ones have given way.
        assert reading.last_before(DAY + 3 * 3_600_000) == empty

    def test_the_newest_published_note_is_kept(self, stored: Stored, log: Growing) -> None:
        log.append(5)
        log.store.publish(3, b"note of 3")
        log.store.publish(5, b"note of 5")
        log.store.publish(5, b"note of 5 with one more cosignature")
        assert stored.reading().published() == (5, b"note of 5 with one more cosignature")

    def test_a_closed_log_takes_no_more_entries_and_still_forgets_and_publishes(
        self, stored: Stored, log: Growing
    ) -> None:
        log.append(5)
        more, _ = log.batch([log.row(5)])
        log.store.close_log()
        log.store.close_log()
        with pytest.raises(Refused) as caught:
            log.store.commit(more)
        assert caught.value.code == "ledger-closed"
        log.store.publish(5, b"note of 5")
        log.store.erase([Erasure(1, "retention")])
        reading = stored.reading()
        assert (reading.is_closed(), reading.published(), reading.erased(1)) == (True, (5, b"note of 5"), "retention")

    def test_an_erased_entry_keeps_hashes_statement_and_recipient_only(self, stored: Stored, log: Growing) -> None:
        rows = [log.row(number, subject=PEOPLE[0], recipient="svb", listed=True) for number in range(4)]
        log.store.commit(log.batch(rows)[0])
        log.store.erase([Erasure(1, "order"), Erasure(3, "retention")])
        log.store.erase([Erasure(1, "retention")])
        reading = stored.reading()
        expected = stored_row(rows[1])._replace(
            subject=None, at=0, body=b"", p=b"", key_version=1, entry_key=None, seal=0
        )
        found = reading.entry(1)
        assert found is not None
        assert found.is_erased
        assert found._replace(seal=0) == expected
        assert found.seal == entry_seal(found)
        assert reading.indices_of(PEOPLE[0], 4, 10) == [2, 0]
        assert list(reading.persons_between(0, 4)) == [(PEOPLE[0], [0, 2])]
        assert list(reading.recipients_between(0, 4)) == [("svb", [0, 1, 2, 3])]
        assert list(reading.erasures(0, 4)) == [(1, "order"), (3, "retention")]
        assert (reading.erased(0), reading.erased(1)) == (None, "order")
        assert [at for _, _, at in reading.rows(1, 2)] == [0]
        assert sorted(index for years in (2, 10, 20) for index in reading.with_retention(years, 0, 4)) == [0, 2]

    def test_an_erasure_that_names_no_entry_erases_nothing(self, log: Growing) -> None:
        log.append(2)
        with pytest.raises(Invalid) as caught:
            log.store.erase([Erasure(0, "order"), Erasure(2, "order")])
        assert caught.value.code == "no-such-entry"
        row = log.store.entry(0)
        assert row is not None
        assert not row.is_erased

    def test_entries_are_sealed_anew_in_place(self, stored: Stored, log: Growing) -> None:
        rows = log.append(3)
        changed = rows[1]._replace(body=b"another body", key_version=70_000)
        changed = changed._replace(seal=entry_seal(changed))
        log.store.reseal([changed])
        reading = stored.reading()
        assert [reading.entry(number) for number in range(3)] == list(map(stored_row, (rows[0], changed, rows[2])))

    def test_an_exception_undoes_everything_of_an_exclusive_part(self, stored: Stored, log: Growing) -> None:
        log.append(3)

        def erase_what_is_not_there_too() -> None:
            with log.store.exclusive():
                log.store.erase([Erasure(0, "order")])
                log.store.erase([Erasure(3, "order")])

        with pytest.raises(Invalid):
            erase_what_is_not_there_too()
        assert stored.reading().erased(0) is None
        with log.store.exclusive():
            log.store.erase([Erasure(0, "order")])
            log.store.erase([Erasure(1, "order")])
        assert [one.number for one in stored.reading().erasures(0, 3)] == [0, 1]

    def test_a_record_is_set_aside_once(self, log: Growing) -> None:
        aside = [SetAside("topic", 1, 5, "malformed"), SetAside("topic", 0, 9, "unknown-role")]
        log.append(0, positions={SOURCE: 1}, set_aside=aside)
        log.append(0, positions={SOURCE: 2}, set_aside=aside)
        assert log.store.set_asides() == [aside[1], aside[0]]

    def test_a_snapshot_sees_one_moment(self, stored: Stored, log: Growing) -> None:
        log.append(2)
        reading = stored.reading()
        with reading.snapshot():
            before = reading.head()
            log.append(2)
            with reading.snapshot():
                assert (reading.head(), reading.entry(2)) == (before, None)
        after = reading.head()
        assert after is not None
        assert after.size == 4

    def test_an_actor_of_any_length_is_kept_with_its_key(self, log: Growing) -> None:
        rows = [
            log.row(0, subject=None, recipient="", type=0x02, listed=True, entry_key=b"k" * 16, p=b""),
            log.row(1, entry_key=b"l" * 16, p=b"sealed actor"),
            log.row(2, entry_key=None, p=b""),
        ]
        log.store.commit(log.batch(rows)[0])
        assert list(log.store.entries(0, 3)) == list(map(stored_row, rows))


def _below(log: Growing, who: bytes, start: int) -> list[int]:
    return [row.number for row in log.rows[start - 1 :: -1] if row.subject == who and row.listed]
