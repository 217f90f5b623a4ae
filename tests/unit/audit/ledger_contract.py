"""What a ledger must do whatever store it is kept in. A subclass of `LedgerContract` gives the fixture `place`.

Damages are SQL that every store understands, over tables that every store has; `flip(column, at)` flips a bit.
"""

from __future__ import annotations

import threading
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

import pytest

from integrator_audit import (
    Busy,
    Erasure,
    LedgerReader,
    LedgerWriter,
    RawLog,
    Refused,
    SetAside,
    Signer,
    Tampered,
    Unavailable,
    Verifier,
    verify_opening,
)
from integrator_audit.fsck import Report, fsck
from integrator_audit.keystore import KeyStore, key_class
from integrator_audit.store import GROUNDS, consumed_digest
from integrator_audit.stores import open_erasing, open_reading
from tests.unit.audit.audit_samples import ORIGIN, PEOPLE, entry, signer

SOURCE = ("integrator.disclosures", 0)
OTHER_ORIGIN = "demo.integrator.example/ledger/demo/epochs"
SIZE = 785
"""Of the filled log: 3 full tiles and a partial one, in 5 commits."""

_NODES_OF_ANOTHER = "UPDATE tile SET nodes = (SELECT nodes FROM tile WHERE level = 0 AND n = 1)"

# What is damaged, and the one finding that it makes: its code, and where (`*` stands for anything).
DAMAGES: dict[str, tuple[str, str, str]] = {
    "statement": (
        "UPDATE statement SET bytes = flip(bytes, 50) WHERE aid = 7",
        "statement-wrong",
        "row of statement 7",
    ),
    "recipient": (
        "UPDATE recipient SET name = flip(name, 1) WHERE rid = 1",
        "recipient-wrong",
        "row of recipient 1 *",
    ),
    "body": (
        "UPDATE entry SET body = flip(body, 20) WHERE idx = 300",
        "entry-wrong",
        "row of entry 300, part D and S",
    ),
    "seal": ("UPDATE entry SET seal = seal + 1 WHERE idx = 300", "entry-wrong", "row of entry 300"),
    "moment": ("UPDATE entry SET at = at + 1 WHERE idx = 300", "entry-wrong", "row of entry 300"),
    "erasure that nobody made": (
        "INSERT INTO erased VALUES (300, 'order')",
        "erasure-wrong",
        "row of entry 300",
    ),
    "erasure outside of the log": (
        "INSERT INTO erased VALUES (9999, 'order')",
        "erased-surplus",
        "row of erased 9999",
    ),
    "tile": ("UPDATE tile SET data = flip(data, 40) WHERE level = 0 AND n = 1", "tile-wrong", "tile/0/001"),
    "last tile": (
        "UPDATE tile SET data = flip(data, 0) WHERE level = 0 AND n = 3",
        "tile-wrong",
        "tile/0/003.p/17",
    ),
    "upper tile": ("UPDATE tile SET data = flip(data, 95) WHERE level = 1", "tile-wrong", "tile/1/000.p/3"),
    "short tile": (
        "UPDATE tile SET data = substr(data, 1, 8191) WHERE level = 0 AND n = 1",
        "tile-wrong",
        "tile/0/001",
    ),
    "missing tile": ("DELETE FROM tile WHERE level = 0 AND n = 2", "tile-missing", "tile/0/002"),
    "width of a tile": ("UPDATE tile SET width = 255 WHERE level = 0 AND n = 2", "tile-wrong", "tile/0/002"),
    "surplus tile": (
        "INSERT INTO tile SELECT 2, 0, 1, data, nodes FROM tile WHERE level = 1",
        "tile-surplus",
        "row of tile level 2 n 0",
    ),
    "nodes of a tile": (
        "UPDATE tile SET nodes = flip(nodes, 500) WHERE level = 0 AND n = 2",
        "tile-wrong",
        "tile/0/002",
    ),
    "nodes that are another tile's": (
        "UPDATE tile SET nodes = (SELECT nodes FROM tile WHERE level = 0 AND n = 1) WHERE level = 0 AND n = 2",
        "tile-wrong",
        "tile/0/002",
    ),
    "short nodes": (
        "UPDATE tile SET nodes = substr(nodes, 1, 480) WHERE level = 0 AND n = 0",
        "tile-wrong",
        "tile/0/000",
    ),
    "missing nodes": (
        "UPDATE tile SET nodes = substr(nodes, 1, 0) WHERE level = 0 AND n = 0",
        "tile-wrong",
        "tile/0/000",
    ),
    "nodes of a partial tile": (
        f"{_NODES_OF_ANOTHER} WHERE level = 0 AND n = 3",
        "tile-wrong",
        "tile/0/003.p/17",
    ),
    "nodes of an upper tile": (f"{_NODES_OF_ANOTHER} WHERE level = 1", "tile-wrong", "tile/1/000.p/3"),
    "nodes of a bundle": (f"{_NODES_OF_ANOTHER} WHERE level = -1 AND n = 1", "tile-wrong", "tile/entries/001"),
    "bundle": (
        "UPDATE tile SET data = flip(data, 37) WHERE level = -1 AND n = 1",
        "bundle-wrong",
        "tile/entries/001",
    ),
    "missing bundle": ("DELETE FROM tile WHERE level = -1 AND n = 0", "bundle-missing", "tile/entries/000"),
    "note of a checkpoint": (
        "UPDATE checkpoint SET note = flip(note, 3) WHERE size = 785",
        "checkpoint-wrong",
        "row of checkpoint 785",
    ),
    "time of a checkpoint": (
        "UPDATE checkpoint SET at = at + 1 WHERE size = 785",
        "checkpoint-wrong",
        "row of checkpoint 785",
    ),
    "draw": ("UPDATE draw SET salt = flip(salt, 3) WHERE first = 157", "draw-wrong", "row of draw 157"),
    "position": ("UPDATE position SET next = next + 1", "positions-wrong", "rows of position"),
    "set aside": ("UPDATE set_aside SET reason = flip(reason, 1)", "set-aside-wrong", "row of set_aside *"),
    "end": ("INSERT INTO closing VALUES (5)", "closing-wrong", "row of closing 5"),
    "origin": ("UPDATE identity SET origin = flip(origin, 1)", "identity", "row of identity"),
    "key": ("UPDATE identity SET vkey = flip(vkey, 1)", "identity", "row of identity"),
}


class LedgerPlace(Protocol):
    """A place for one log and its vault."""

    @property
    def location(self) -> Path | str:
        """Return what `LedgerWriter.open` takes."""
        ...

    def vault(self) -> KeyStore:
        """Open the vault."""
        ...

    def failing(self, ledger: LedgerWriter, *, persist: bool) -> None:
        """Make the ledger's next COMMIT raise, before or after it did its work."""
        ...

    def damage(self, statement: str) -> None:
        """Change one row behind the ledger's back."""
        ...


def open_ledger(place: LedgerPlace, *, key: Signer | None = None, vault: KeyStore | None = None) -> LedgerWriter:
    return LedgerWriter.open(place.location, origin=ORIGIN, signer=key or signer(), vault=vault or place.vault())


def fill(place: LedgerPlace) -> KeyStore:
    """Append `SIZE` entries, every third with an actor, and close the log; return its vault."""
    vault = place.vault()
    ledger = open_ledger(place, vault=vault)
    for start in range(0, SIZE, 157):
        numbers = range(start, start + 157)
        entries = [entry(number, actor="" if number % 3 else "official 7") for number in numbers]
        aside = [SetAside(*SOURCE, start, "malformed")] if start == 0 else []
        ledger.append(entries, positions={SOURCE: numbers.stop}, set_aside=aside)
    ledger.close()
    return vault


def check(place: LedgerPlace, vault: KeyStore | None = None) -> Report:
    return fsck(place.location, vault=vault, verifier=signer().verifier, origin=ORIGIN)


class LedgerContract:
    """Subclass it, and give the fixture `place`."""

    @pytest.fixture
    def place(self) -> LedgerPlace:
        raise NotImplementedError("a subclass says where the log is kept")

    @pytest.fixture
    def full(self, place: LedgerPlace) -> KeyStore:
        """Fill the place with a closed log and return its vault."""
        return fill(place)

    def test_what_was_appended_is_there_after_reopening(self, place: LedgerPlace) -> None:
        vault = place.vault()
        ledger = open_ledger(place, vault=vault)
        aside = SetAside("integrator.disclosures", 0, 4, "malformed")
        appended = ledger.append([entry(1), entry(2)], positions={SOURCE: 5}, set_aside=[aside])
        assert (sorted(appended.indices), appended.size) == ([0, 1], 2)
        ledger.close()
        again = open_ledger(place, vault=vault)
        assert (again.size, again.root, again.checkpoint) == (2, appended.root, appended.checkpoint)
        assert again.positions() == {SOURCE: 5}
        assert again.set_asides() == [aside]
        reader = LedgerReader.open(place.location, vault=vault, origin=ORIGIN)
        opened = [verify_opening(reader.opening(index), Verifier.from_text(reader.vkey)) for index in appended.indices]
        assert [one.parts["A"]["number"] for one in opened] == [1, 2]
        assert check(place, vault).holds

    def test_positions_move_without_entries_and_the_checkpoint_stays(self, place: LedgerPlace) -> None:
        vault = place.vault()
        ledger = open_ledger(place, vault=vault)
        first = ledger.append([entry(1)], positions={SOURCE: 1})
        second = ledger.append([], positions={SOURCE: 7})
        assert (second.size, second.checkpoint) == (1, first.checkpoint)
        ledger.close()
        assert open_ledger(place, vault=vault).positions() == {SOURCE: 7}
        assert check(place).holds

    def test_a_second_writer_is_refused_and_the_first_goes_on(self, place: LedgerPlace) -> None:
        vault = place.vault()
        first = open_ledger(place, vault=vault)

        def write_too() -> None:
            second = open_ledger(place, vault=vault)
            first.append([entry(1)])
            second.append([entry(2)])

        # A store with a lease says so when the second opens it, one without when it commits.
        with pytest.raises((Refused, Busy)) as caught:
            write_too()
        assert caught.value.code in ("ledger-other-writer", "ledger-lease")
        size = first.size
        assert first.append([entry(3)]).size == size + 1
        assert check(place, vault).holds

    def test_another_key_is_refused_with_one_clear_message(self, place: LedgerPlace) -> None:
        vault = place.vault()
        open_ledger(place, vault=vault).close()
        with pytest.raises(Refused, match="Give the key that belongs to") as caught:
            open_ledger(place, key=Signer.generate(ORIGIN), vault=vault)
        assert caught.value.code == "ledger-other-key"
        open_ledger(place, vault=vault)

    @pytest.mark.parametrize("persist", [False, True])
    def test_after_a_failed_commit_the_store_says_what_happened(
        self, place: LedgerPlace, full: KeyStore, persist: bool
    ) -> None:
        ledger = open_ledger(place, vault=full)
        place.failing(ledger, persist=persist)
        with pytest.raises(Unavailable):
            ledger.append([entry(number) for number in range(10)], positions={SOURCE: SIZE + 10})
        with pytest.raises(Unavailable) as caught:
            ledger.append([entry(1)])
        assert caught.value.code == "ledger-outcome-unknown"
        ledger.close()
        size = SIZE + 10 if persist else SIZE
        again = open_ledger(place, vault=full)
        assert (again.size, again.positions()[SOURCE]) == (size, size)
        again.append([entry(1)], positions={SOURCE: size + 1})
        again.close()
        assert check(place, full).holds

    def test_a_closed_log_takes_nothing_more_and_the_next_begins_where_it_ended(
        self, place: LedgerPlace, full: KeyStore
    ) -> None:
        ledger = open_ledger(place, vault=full)
        head = ledger.freeze()
        assert (head.size, ledger.is_closed) == (SIZE, True)
        ledger.close()
        closed = open_ledger(place, vault=full)
        with pytest.raises(Refused) as caught:
            closed.append([entry(1)])
        assert caught.value.code == "ledger-closed"
        assert check(place, full).holds

    def test_an_eraser_works_beside_the_writer(self, place: LedgerPlace, full: KeyStore) -> None:
        ledger = open_ledger(place, vault=full)
        reading = open_reading(place.location, origin=ORIGIN)
        theirs = reading.indices_of(PEOPLE[3], SIZE, 1000)
        eraser = open_erasing(place.location, origin=ORIGIN)
        with eraser.exclusive():
            eraser.erase([Erasure(index, GROUNDS[index % 2]) for index in theirs])
        full.destroy(people=[(PEOPLE[3], key_class(53, 20))])
        assert ledger.append([entry(SIZE), entry(3)]).size == SIZE + 2
        assert [erasure.number for erasure in reading.erasures(0, SIZE)] == sorted(theirs)
        assert len(reading.indices_of(PEOPLE[3], SIZE + 2, 1000)) == 1
        reader = LedgerReader.open(place.location, vault=full, origin=ORIGIN)
        with pytest.raises(Refused) as caught:
            reader.opening(theirs[0])
        assert caught.value.code == "opening-erased"
        verify_opening(reader.opening(theirs[0], "A"), Verifier.from_text(reader.vkey))
        assert check(place, full).holds
        assert check(place).holds

    def test_a_log_of_public_leaves_is_kept_and_checked_alike(self, place: LedgerPlace) -> None:
        key = Signer.generate(OTHER_ORIGIN)
        log = RawLog.open(place.location, origin=OTHER_ORIGIN, signer=key)
        leaves = [b"leaf %d" % number for number in range(300)]
        for start in range(0, 300, 70):
            log.append_leaves(leaves[start : start + 70])
        log.close()
        again = RawLog.open(place.location, origin=OTHER_ORIGIN, signer=key)
        assert again.leaves(0, 300) == leaves
        report = fsck(place.location, verifier=key.verifier, origin=OTHER_ORIGIN)
        assert (report.holds, report.size) == (True, 300)

    def test_whoever_reads_beside_the_writer_sees_whole_commits(self, place: LedgerPlace) -> None:
        vault = place.vault()
        ledger = open_ledger(place, vault=vault)
        batches = [[entry(number) for number in range(start, start + 37)] for start in range(0, 37 * 30, 37)]

        def write() -> None:
            for number, batch in enumerate(batches):
                ledger.append(batch, positions={SOURCE: number})

        writer = threading.Thread(target=write)
        writer.start()
        reading = open_reading(place.location, origin=ORIGIN)
        sizes: set[int] = set()
        alive = True
        while alive:
            alive = writer.is_alive()
            with reading.snapshot():
                head = reading.head()
                assert head is not None
                assert head.size % 37 == 0
                assert len(list(reading.entries(0, 10_000))) == head.size
                assert sum(len(indices) for _, indices in reading.persons_between(0, 10_000)) == head.size
                assert consumed_digest(reading.positions()) == head.consumed
                sizes.add(head.size)
        writer.join()
        assert max(sizes) == 37 * 30
        assert len(sizes) > 1, "it was read while it grew"

    def test_an_untouched_log_holds_with_and_without_the_vault(self, place: LedgerPlace, full: KeyStore) -> None:
        for given in (full, None):
            report = check(place, given)
            assert (report.findings, report.size, report.origin) == ((), SIZE, ORIGIN)

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_what_was_changed_is_named_and_nothing_else(self, place: LedgerPlace, full: KeyStore, damage: str) -> None:
        statement, code, where = DAMAGES[damage]
        place.damage(statement)
        (finding,) = check(place, full).findings
        assert finding.code == code
        assert fnmatchcase(finding.where, where)
        assert not check(place).holds

    def test_nodes_that_are_wrong_prove_nothing_and_those_that_are_missing_are_hashed_anew(
        self, place: LedgerPlace, full: KeyStore
    ) -> None:
        place.damage("UPDATE tile SET nodes = flip(nodes, 500) WHERE level = 0 AND n = 0")
        place.damage("UPDATE tile SET nodes = substr(nodes, 1, 480) WHERE level = 0 AND n = 1")
        place.damage("UPDATE tile SET nodes = substr(nodes, 1, 0) WHERE level = 0 AND n = 2")
        reader = LedgerReader.open(place.location, vault=full, origin=ORIGIN)
        verifier = Verifier.from_text(reader.vkey)
        with pytest.raises(Tampered) as caught:
            verify_opening(reader.opening(3, ""), verifier)
        assert caught.value.code == "opening-commitment"
        with pytest.raises(Tampered, match="the nodes beside tile tile/0/001 have 480 bytes; run fsck") as caught:
            reader.opening(300, "")
        assert caught.value.code == "tile-length"
        assert verify_opening(reader.opening(600, ""), verifier).index == 600

    @pytest.mark.parametrize("level", [-1, 0, 1])
    def test_a_changed_tile_at_the_right_edge_stops_the_start(
        self, place: LedgerPlace, full: KeyStore, level: int
    ) -> None:
        place.damage(f"UPDATE tile SET data = flip(data, 40) WHERE level = {level} AND n = {0 if level == 1 else 3}")
        with pytest.raises(Tampered) as caught:
            open_ledger(place, vault=full)
        assert caught.value.code == "ledger-right-edge"

    def test_changed_positions_stop_the_start(self, place: LedgerPlace, full: KeyStore) -> None:
        place.damage("UPDATE position SET next = next - 1")
        with pytest.raises(Tampered) as caught:
            open_ledger(place, vault=full)
        assert caught.value.code == "ledger-positions"

    def test_a_changed_checkpoint_stops_the_start(self, place: LedgerPlace, full: KeyStore) -> None:
        place.damage(f"UPDATE checkpoint SET root = flip(root, 0) WHERE size = {SIZE}")
        with pytest.raises(Tampered):
            open_ledger(place, vault=full)
