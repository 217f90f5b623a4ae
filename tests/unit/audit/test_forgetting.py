from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from integrator_audit import (
    Entry,
    Invalid,
    LedgerReader,
    LedgerWriter,
    Refused,
    Tampered,
    Vault,
    Verifier,
    part,
    verify_opening,
)
from integrator_audit.completeness.epoch import ShardRange, blank_leaf
from integrator_audit.completeness.index import Cut, Trie
from integrator_audit.completeness.indexfile import SqliteIndex
from integrator_audit.completeness.labels import DAY, SIGNATURE_SIZE, label_of, label_secret
from integrator_audit.completeness.listing import pack
from integrator_audit.completeness.pages import TrieWriter, find, fresh_leaves
from integrator_audit.completeness.unlisted import RELEASE_MEMBER
from integrator_audit.forgetting.erasure import Eraser, Log
from integrator_audit.forgetting.orders import SCHEMA, ErasureOrder
from integrator_audit.forgetting.register import Register
from integrator_audit.forgetting.retention import due_day, due_lengths
from integrator_audit.fsck import fsck
from integrator_audit.generationkeys import FileGenerationKeys
from integrator_audit.halfyear import date_of, number_of, period_of_name
from integrator_audit.keystore import key_class
from integrator_audit.sqlite import SqliteStore
from tests.unit.audit.audit_samples import ORIGIN, PEOPLE, entry, signer

CANARY = sha256(b"canary").digest()
PERIOD = period_of_name("2026h2")
NOW = 1_800_000_000_000


@dataclass
class House:
    """A log, its vault under generation keys in files, a register, and the index of an epoch log."""

    root: Path

    def __post_init__(self) -> None:
        (self.root / "keys").mkdir(parents=True)
        self.generations = FileGenerationKeys(self.root / "keys")
        self.generations.make()
        self.vault = Vault.open(self.root / "persons.sqlite", self.generations)
        self.ledger = LedgerWriter.open(self.file, origin=ORIGIN, signer=signer(), vault=self.vault)
        self.index = SqliteIndex.open(self.root / "epochs.index.sqlite")
        self.register = Register(self.root / "erasures.jsonl")

    @property
    def file(self) -> Path:
        return self.root / "s0-2026h2.sqlite"

    def append(self, entries: Iterable[Entry]) -> tuple[int, ...]:
        return self.ledger.append(list(entries)).indices

    def seal(self, day: str, listed: dict[bytes, list[int]], *, empty: bool = False) -> None:
        """Put a day with these lists into the index, up to the log's end, or of a log that was `empty`."""
        epoch = number_of(date.fromisoformat(day))
        made = {person: bytes([number]) * SIGNATURE_SIZE for number, person in enumerate(sorted(listed), 1)}
        self.vault.keep_labels(made, PERIOD)
        kept = self.vault.labels(list(listed), PERIOD)
        items = sorted(label_of(label_secret(kept[one]), DAY, epoch) + pack(0, listed[one]) for one in listed)
        writer = TrieWriter(self.index, epoch, Trie.PERSONS, leaves=len(items))
        writer.add(fresh_leaves(items, os.urandom(32 * len(items))))
        writer.finish()
        cut = Cut(0, ORIGIN, self.ledger.size, self.ledger.checkpoint)
        shards = (ShardRange(0, 0, self.ledger.size, self.ledger.root),)
        leaf = replace(blank_leaf(epoch, sealed_at=NOW), shards=shards).encode()
        self.index.finish(epoch, leaf, shapes={Trie.PERSONS: writer.shape}, cuts=[] if empty else [cut])

    def list_of(self, day: str, person: bytes) -> Any:
        epoch = number_of(date.fromisoformat(day))
        kept = self.vault.labels([person], PERIOD)
        return find(self.index, epoch, Trie.PERSONS, label_of(label_secret(kept[person]), DAY, epoch)).end

    def eraser(self, *, index: bool = False) -> Eraser:
        return Eraser(
            [Log(ORIGIN, 0, SqliteStore.open(self.file))],
            keys=self.vault,
            index=self.index if index else None,
            register=self.register,
            clock=lambda: NOW,
        )

    def opened(self, index: int, vault: Vault | None = None) -> dict[str, Any]:
        reader = LedgerReader.open(self.file, vault=vault or self.vault)
        try:
            opening = reader.opening(index, "ADS")
            return dict(verify_opening(opening, Verifier.from_text(reader.vkey)).parts)
        finally:
            reader.close()

    def bytes_on_disk(self) -> bytes:
        return b"".join(path.read_bytes() for path in sorted(self.root.rglob("*")) if path.is_file())


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "house")


def order(subject: bytes, **chosen: list[int]) -> ErasureOrder:
    document: dict[str, object] = {"schema": SCHEMA, "order": "ORDER-7", "subject": base64.b64encode(subject).decode()}
    if chosen:
        document["entries"] = [{"origin": ORIGIN, "indices": chosen["indices"]}]
    return ErasureOrder.parse(json.dumps(document).encode())


def test_an_entry_is_due_its_years_after_the_end_of_its_half_year() -> None:
    assert date_of(due_day(PERIOD, 2)) == date(2029, 1, 1)
    assert date_of(due_day(period_of_name("2026h1"), 10)) == date(2036, 7, 1)
    day = due_day(PERIOD, 10)
    assert due_lengths(PERIOD, day) == (2, 10)
    assert due_lengths(PERIOD, day - 1) == (2,)


def test_an_order_over_everything_leaves_no_trace_of_the_person_and_every_proof(house: House) -> None:
    theirs = house.append(entry(number, subject=CANARY, actor="official 7") for number in range(3))
    house.append(entry(number) for number in range(20))
    theirs += house.append([entry(9, subject=CANARY)])
    openings = {index: house.opened(index) for index in range(house.ledger.size) if index not in theirs}
    root = house.ledger.root
    bodies = [
        body for index in theirs if (row := SqliteStore.open(house.file).entry(index)) for body in (row.body, row.p)
    ]
    assert CANARY in house.bytes_on_disk(), "else its absence would show nothing"

    erased = house.eraser().by_order(order(CANARY))

    assert dict(erased.entries) == {"order": 4}
    assert erased.waiting == 0
    on_disk = house.bytes_on_disk()
    assert CANARY not in on_disk
    assert not [body for body in bodies if body and body in on_disk]
    assert house.ledger.root == root
    for index, said in openings.items():
        assert house.opened(index) == said
    for index in theirs:
        with pytest.raises(Refused) as caught:
            house.opened(index)
        assert caught.value.code == "opening-erased"
    report = fsck(house.file, vault=house.vault)
    assert report.holds, report.findings
    assert house.register.pending().entries == {"order": 4}


def test_an_order_may_leave_other_entries_of_the_person_which_then_have_a_new_key(house: House) -> None:
    theirs = house.append(entry(number, subject=CANARY) for number in range(4))
    house.append(entry(number) for number in range(5))
    former = house.vault.person(CANARY, key_class(PERIOD, 20))
    row = SqliteStore.open(house.file).entry(theirs[1])
    assert former is not None
    assert row is not None

    erased = house.eraser().by_order(order(CANARY, indices=[theirs[1], theirs[3]]))

    assert dict(erased.entries) == {"order": 2}
    assert house.opened(theirs[0])["S"]["number"] == 0
    assert house.opened(theirs[2])["S"]["number"] == 2
    assert house.vault.person(CANARY, key_class(PERIOD, 20), row.key_version) is None
    house.append([entry(8, subject=CANARY)])
    assert house.opened(house.ledger.size - 1)["S"]["number"] == 8
    assert fsck(house.file, vault=house.vault).holds


def test_who_acted_can_still_be_shown_of_an_entry_that_was_sealed_anew(house: House) -> None:
    theirs = house.append(entry(number, subject=CANARY, actor="official 7") for number in range(2))
    house.eraser().by_order(order(CANARY, indices=[theirs[0]]))

    reader = LedgerReader.open(house.file, vault=house.vault)
    parts = verify_opening(reader.opening(theirs[1], "ADSP"), Verifier.from_text(reader.vkey)).parts
    reader.close()
    assert parts["P"]["actor"] == "official 7"
    assert fsck(house.file, vault=house.vault).holds


def test_an_order_that_was_carried_out_can_be_given_again(house: House) -> None:
    theirs = house.append(entry(number, subject=CANARY) for number in range(3))
    assert dict(house.eraser().by_order(order(CANARY, indices=[theirs[0]])).entries) == {"order": 1}
    assert dict(house.eraser().by_order(order(CANARY, indices=[theirs[0]])).entries) == {}
    assert dict(house.eraser().by_order(order(CANARY)).entries) == {"order": 2}
    assert dict(house.eraser().by_order(order(CANARY)).entries) == {}


def test_an_order_that_names_somebody_elses_entry_erases_nothing(house: House) -> None:
    theirs = house.append([entry(1, subject=CANARY)])
    (other,) = house.append([entry(2)])
    with pytest.raises(Refused) as caught:
        house.eraser().by_order(order(CANARY, indices=[theirs[0], other]))
    assert caught.value.code == "order-not-theirs"
    assert house.opened(theirs[0])
    with pytest.raises(Invalid) as unknown:
        Eraser([], keys=house.vault, index=None, register=house.register, clock=lambda: NOW).by_order(
            order(CANARY, indices=[0])
        )
    assert unknown.value.code == "order-no-log"


def test_what_is_appended_while_a_persons_key_is_destroyed_is_sealed_anew(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.append(entry(number, subject=CANARY) for number in range(3))
    other = Vault.open(house.root / "persons.sqlite", house.generations)
    eraser = Eraser(
        [Log(ORIGIN, 0, SqliteStore.open(house.file))],
        keys=other,
        index=None,
        register=house.register,
        clock=lambda: NOW,
    )
    real, times = house.vault.entry_keys, iter([True])

    def entry_keys(count: int) -> Any:
        # By now the writer has the persons' keys in hand, and another process destroys one of them.
        if next(times, False):
            eraser.by_order(order(CANARY))
        return real(count)

    monkeypatch.setattr(house.vault, "entry_keys", entry_keys)
    (index,) = house.append([entry(5, subject=CANARY)])
    assert house.opened(index)["S"]["number"] == 5
    assert fsck(house.file, vault=house.vault).holds


def test_after_the_change_of_generation_a_restored_backup_opens_nothing_that_was_erased(house: House) -> None:
    theirs = house.append(entry(number, subject=CANARY, actor="official 7") for number in range(3))
    house.append(entry(number) for number in range(5))
    backup = house.root.parent / "backup"
    shutil.copytree(house.root, backup, ignore=shutil.ignore_patterns("keys"))
    eraser = house.eraser()
    eraser.by_order(order(CANARY))
    # Until then the backup does open it: this is why an erasure is not complete before.
    with_old_key = Vault.open(backup / "persons.sqlite", house.generations)
    reader = LedgerReader.open(backup / house.file.name, vault=with_old_key)
    assert reader.opening(theirs[0], "S")
    reader.close()
    with_old_key.close()

    finished = eraser.finish()

    assert (finished.generation, finished.retired, finished.complete.total) == (2, (1,), 3)
    assert house.register.pending().total == 0
    with pytest.raises(Refused) as caught:
        Vault.open(backup / "persons.sqlite", house.generations)
    assert caught.value.code == "vault-other-key"
    reader = LedgerReader.open(backup / house.file.name, vault=house.vault)
    for index in theirs:
        with pytest.raises(Refused) as erased:
            reader.opening(index, "ADSP")
        assert erased.value.code == "opening-erased"
    (survivor,) = house.append([entry(1)])
    assert house.opened(survivor)
    assert fsck(house.file, vault=house.vault).holds


def test_what_is_due_goes_from_closed_logs_only_and_the_rest_stays(house: House) -> None:
    short = [entry(number, subject=CANARY)._replace(retention=2) for number in range(30)]
    long = [entry(number, subject=CANARY)._replace(retention=10) for number in range(4)]
    gone = house.append(short)
    kept = house.append(long)
    today = due_day(PERIOD, 2)
    assert dict(house.eraser().by_retention(today - 1).entries) == {}
    with pytest.raises(Refused) as caught:
        house.eraser().by_retention(today)
    assert caught.value.code == "erase-open-log"
    house.ledger.freeze()

    assert dict(house.eraser().by_retention(today).entries) == {"retention": 30}

    assert house.vault.person(CANARY, key_class(PERIOD, 2)) is None
    assert [house.opened(index)["S"]["number"] for index in kept] == [0, 1, 2, 3]
    assert {SqliteStore.open(house.file).erased(index) for index in gone} == {"retention"}
    assert dict(house.eraser().by_retention(today).entries) == {}
    assert dict(house.eraser().by_retention(due_day(PERIOD, 20)).entries) == {"retention": 4}
    assert CANARY not in house.bytes_on_disk()
    assert fsck(house.file, vault=house.vault).holds


def test_a_persons_list_goes_when_its_last_entry_is_gone_and_others_keep_theirs(house: House) -> None:
    first = house.append([entry(1, subject=CANARY), entry(2, subject=PEOPLE[0])])
    house.seal("2026-11-02", {CANARY: [first[0]], PEOPLE[0]: [first[1]]})
    second = house.append([entry(3, subject=CANARY), entry(4, subject=CANARY)])
    house.seal("2026-11-03", {CANARY: sorted(second)})
    house.seal("2026-11-04", {PEOPLE[0]: list(house.append([entry(5, subject=PEOPLE[0])]))})

    house.eraser(index=True).by_order(order(CANARY, indices=[first[0], second[0]]))
    assert house.list_of("2026-11-02", CANARY).ground == "order"
    assert house.list_of("2026-11-03", CANARY).ground is None, "one of its two entries is still there"
    assert house.list_of("2026-11-02", PEOPLE[0]).ground is None
    assert house.vault.labels([CANARY], PERIOD) != {}

    label = house.list_of("2026-11-03", CANARY).label
    house.eraser(index=True).by_order(order(CANARY))
    assert house.vault.labels([CANARY], PERIOD) == {}
    assert house.vault.labels([PEOPLE[0]], PERIOD) != {}
    assert find(house.index, number_of(date(2026, 11, 3)), Trie.PERSONS, label).end.ground == "order"  # type: ignore[union-attr]


def test_an_entry_of_a_day_that_is_not_sealed_yet_waits(house: House) -> None:
    sealed = house.append([entry(1, subject=CANARY)])
    house.seal("2026-11-02", {CANARY: list(sealed)})
    fresh = house.append([entry(2, subject=CANARY)])
    erased = house.eraser(index=True).by_order(order(CANARY))
    assert (dict(erased.entries), erased.waiting) == ({"order": 1}, 1)
    assert house.opened(fresh[0])["S"]["number"] == 2
    assert house.vault.labels([CANARY], PERIOD) != {}
    house.seal("2026-11-03", {CANARY: list(fresh)})
    assert dict(house.eraser(index=True).by_order(order(CANARY)).entries) == {"order": 1}


def test_what_is_due_and_not_sealed_yet_waits_and_opens_until_then(house: House) -> None:
    today = due_day(PERIOD, 2)
    sealed = house.append([entry(1, subject=CANARY)._replace(retention=2)])
    house.seal("2026-11-02", {CANARY: list(sealed)})
    fresh = house.append([entry(2, subject=CANARY)._replace(retention=2)])
    house.ledger.freeze()
    erased = house.eraser(index=True).by_retention(today)
    assert (dict(erased.entries), erased.waiting) == ({"retention": 1}, 1)
    assert house.opened(fresh[0])["S"]["number"] == 2
    house.seal("2026-11-03", {CANARY: list(fresh)})
    assert dict(house.eraser(index=True).by_retention(today).entries) == {"retention": 1}
    assert house.vault.person(CANARY, key_class(PERIOD, 2)) is None


@pytest.mark.parametrize("sealed", ["nothing", "the half-year before", "a day on which the log was empty"])
def test_before_a_logs_first_day_is_sealed_all_of_it_waits(house: House, sealed: str) -> None:
    if sealed == "the half-year before":
        house.seal("2026-06-30", {PEOPLE[0]: [0]})
    elif sealed == "a day on which the log was empty":
        house.seal("2026-11-02", {PEOPLE[0]: [0]}, empty=True)
    (index,) = house.append([entry(1, subject=CANARY)])
    erased = house.eraser(index=True).by_order(order(CANARY))
    assert (dict(erased.entries), erased.waiting) == ({}, 1)
    assert house.opened(index)["S"]["number"] == 1


def test_a_list_of_entries_that_were_erased_on_both_grounds_was_erased_by_order(house: House) -> None:
    both = house.append(entry(number, subject=CANARY)._replace(retention=years) for number, years in ((1, 2), (2, 10)))
    house.seal("2026-11-02", {CANARY: sorted(both)})
    label = house.list_of("2026-11-02", CANARY).label
    house.ledger.freeze()
    assert house.eraser(index=True).by_retention(due_day(PERIOD, 2)).lists == 0
    assert house.eraser(index=True).by_order(order(CANARY)).lists == 1
    assert find(house.index, number_of(date(2026, 11, 2)), Trie.PERSONS, label).end.ground == "order"  # type: ignore[union-attr]


def test_an_order_reaches_every_entry_of_somebody_with_more_than_a_thousand(house: House) -> None:
    house.append(entry(number, subject=CANARY) for number in range(1_003))
    assert dict(house.eraser().by_order(order(CANARY)).entries) == {"order": 1_003}


def test_a_release_in_one_persons_name_does_not_erase_what_is_withheld_of_another(house: House) -> None:
    (hidden,) = house.append([entry(1, subject=PEOPLE[0])._replace(listed=False)])
    reader = LedgerReader.open(house.file, vault=house.vault)
    old = reader.opening(hidden, "ADSP")
    reader.close()
    carried = {name: old[name] for name in ("origin", "index", "type", *"ADSP")}
    house.append([entry(2, subject=CANARY)._replace(d=part("sample.d/v1", {RELEASE_MEMBER: carried}))])
    assert dict(house.eraser().by_order(order(CANARY)).entries) == {"order": 1}
    assert house.opened(hidden)["S"]["number"] == 1


def test_what_a_run_that_broke_off_had_erased_is_noted_by_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.append([entry(1, subject=CANARY), entry(2, subject=CANARY), entry(3)])
    monkeypatch.setattr(Register, "erased", _break_off)
    with pytest.raises(KeyboardInterrupt):
        house.eraser().by_order(order(CANARY))
    monkeypatch.undo()
    assert house.register.pending().total == 0
    for _ in range(2):
        assert house.eraser().by_order(order(CANARY)).entries == {}
        assert house.register.pending().entries == {"order": 2}, "once, however often it is run"


@pytest.mark.parametrize("withheld", [False, True])
def test_an_older_key_that_a_run_left_when_it_broke_off_is_destroyed_by_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch, withheld: bool
) -> None:
    """With that key an older backup of the log would open what was erased, whatever becomes of the generations."""
    theirs = house.append(entry(number, subject=CANARY) for number in range(3))
    wanted = order(CANARY, indices=[theirs[0]])
    if withheld:
        # What is withheld stays, and nothing of the person is found any more.
        house.append([entry(4, subject=CANARY)._replace(listed=False)])
        wanted = order(CANARY)
    others = house.append([entry(5)])
    monkeypatch.setattr(Vault, "destroy_older", _break_off)
    with pytest.raises(KeyboardInterrupt):
        house.eraser().by_order(wanted)
    monkeypatch.undo()
    person = (CANARY, key_class(PERIOD, 20))
    assert house.vault.versions(person) == [1, 2]
    for _ in range(2):
        assert dict(house.eraser().by_order(wanted).entries) == {}
        assert house.vault.versions(person) == [2]
    kept = [index for index in range(house.ledger.size) if index not in theirs] if withheld else theirs[1:]
    assert all(house.opened(index) for index in (*kept, *others))
    assert fsck(house.file, vault=house.vault).holds


def _break_off(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_lists_of_sealed_days_are_not_forgotten_with_the_index(house: House) -> None:
    listed = house.append([entry(1, subject=CANARY)._replace(retention=2)])
    house.seal("2026-11-02", {CANARY: list(listed)})
    house.ledger.freeze()
    with pytest.raises(Refused) as caught:
        house.eraser().by_retention(due_day(PERIOD, 2))
    assert caught.value.code == "erase-index"
    erased = house.eraser(index=True).by_retention(due_day(PERIOD, 2))
    assert (erased.entries, erased.lists) == ({"retention": 1}, 1)


def test_the_first_line_of_the_register_is_on_disk_with_the_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    register = Register(tmp_path / "r")
    register.erased("s0", {"order": 3}, at=NOW)
    assert synced == [tmp_path / "r", tmp_path]


def test_one_list_among_many_people_who_were_listed_nowhere_is_not_forgotten_with_the_index(house: House) -> None:
    others = [number.to_bytes(32, "big") for number in range(1_000)]
    house.append([entry(1, subject=subject)._replace(retention=2) for subject in others if subject < CANARY])
    listed = house.append([entry(2, subject=CANARY)._replace(retention=2)])
    house.seal("2026-11-02", {CANARY: list(listed)})
    house.ledger.freeze()
    with pytest.raises(Refused) as caught:
        house.eraser().by_retention(due_day(PERIOD, 2))
    assert caught.value.code == "erase-index"
    assert set(house.opened(listed[0])) == {"A", "D", "S"}, "nothing was erased"


def test_the_register_survives_a_line_that_was_cut_by_a_crash(tmp_path: Path) -> None:
    register = Register(tmp_path / "r")
    register.erased("s0", {"order": 3}, at=NOW)
    with (tmp_path / "r").open("ab") as file:
        file.write(b'{"event":"erased","at":18')
    assert register.pending().entries == {"order": 3}
    register.erased("s0", {"order": 3, "retention": 40}, at=NOW)
    assert register.complete(2, at=NOW).entries == {"order": 3, "retention": 40}
    assert register.pending().total == 0
    (month,) = register.months()
    assert (month.month, month.entries, month.generation) == ("2027-01", {"order": 3, "retention": 40}, 2)
    register.complete(3, at=NOW + 1)
    assert [(change.generation, change.at) for change in register.changes()] == [(2, NOW), (3, NOW + 1)]
    assert len(register.months()) == 1, "nothing was erased in between"
    (tmp_path / "r").write_text('{"event":"forgotten"}\n')
    with pytest.raises(Tampered):
        register.pending()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"schema":"dienstenintegrator/erasure-order/v1","order":"A"}',
        '{"schema":"dienstenintegrator/erasure-order/v2","order":"A","subject":"%s"}',
        '{"schema":"dienstenintegrator/erasure-order/v1","order":"A b","subject":"%s"}',
        '{"schema":"dienstenintegrator/erasure-order/v1","order":"A","order":"B","subject":"%s"}',
        '{"schema":"dienstenintegrator/erasure-order/v1","order":"A","subject":"AAAA"}',
        '{"schema":"dienstenintegrator/erasure-order/v1","order":"A","subject":"%s","entries":[]}',
        '{"schema":"dienstenintegrator/erasure-order/v1","order":"A","subject":"%s","entries":[{"origin":"o"}]}',
        '{"schema":"dienstenintegrator/erasure-order/v1","order":"A","subject":"%s","entries":[{"origin":"o","indices":[true]}]}',
        '{"schema":"dienstenintegrator/erasure-order/v1","order":"A","subject":"%s","entries":[{"origin":"o","indices":[9223372036854775808]}]}',
        '{"schema":"dienstenintegrator/erasure-order/v1","order":"A","subject":"%s","more":1}',
    ],
)
def test_an_order_of_another_form_is_refused(text: str) -> None:
    subject = base64.b64encode(CANARY).decode()
    with pytest.raises(Invalid):
        ErasureOrder.parse(text.replace("%s", subject).encode())
