"""Looks for one person in every byte that the library keeps: before an erasure where they must be, after it nowhere.

`docs/register-of-copies.md` names these tests, and a test holds the two together.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from integrator_audit import LedgerReader, Refused, Tampered, Vault, verify_opening
from integrator_audit.completeness.compiling import dossier_lines, scan_releases
from integrator_audit.completeness.history import Asked, History, read_history, verify_history
from integrator_audit.completeness.presenting import account_lines
from integrator_audit.completeness.sorting import Sorter
from integrator_audit.encoding import from_base64
from integrator_audit.forgetting.erasure import Eraser, Log
from integrator_audit.forgetting.retention import due_day
from integrator_audit.fsck import fsck
from integrator_audit.halfyear import day_of, period_name
from integrator_audit.keytree import path_of
from integrator_audit.openingfile import opening_json, opening_proof
from integrator_audit.stores import open_erasing
from tests.unit.audit.canary_house import CANARY, PERIOD_NUMBER, SHARDS, SUBJECT, House, goes, order, stays
from tests.unit.audit.canary_samples import files_below, found
from tests.unit.audit.judging_samples import Judges
from tests.unit.audit.sealing_samples import FIRST, key, number_text
from tests.unit.audit.test_presenting import sealed, shown

NOWHERE: set[str] = set()
HALF = period_name(PERIOD_NUMBER)
LOGS, VAULT, INDEX = {f"s0-{HALF}.sqlite", f"s1-{HALF}.sqlite"}, {"persons.sqlite"}, {"epochs.index.sqlite"}
STAND = {
    "number": NOWHERE,
    "label key": NOWHERE,
    "parts": NOWHERE,
    "salts": NOWHERE,
    "pseudonym": LOGS | VAULT,
    "moment": LOGS,
    "body": LOGS,
    "actor": LOGS,
    "wrapped key": VAULT,
    "list": INDEX,
}
STAY = {"label": INDEX, "list's hash": INDEX, "part A": LOGS, "four hashes": LOGS}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "house")
    yield house
    house.close()


def history_of(house: House, judges: Judges, data: bytes, *, first: int = FIRST) -> History:
    asked = Asked(number_text(CANARY), today=day_of(house.now), first=first)
    return verify_history(read_history(data), judges.epochs(), asked)


def openings(house: House, indices: dict[int, list[int]]) -> list[dict[str, object]]:
    """Return openings of the entries at these indices, by shard, for the supervisor."""
    found: list[dict[str, object]] = []
    for shard, numbers in indices.items():
        reader = house.reader(shard, PERIOD_NUMBER)
        found += [reader.opening(index, "ADSP") for index in numbers]
        reader.close()
    return found


def test_a_person_stands_in_the_ledger_the_vault_and_the_index_and_after_an_order_nowhere(house: House) -> None:
    house.filled()
    house.close_half_year()
    house.search().close()
    going, staying = goes(house), stays(house)
    assert len(list(going["list"])) == 3
    assert found(going, house.files()) == STAND, "what the search cannot find, its silence says nothing about"
    assert found(staying, house.files()) == STAY | {"list's hash": NOWHERE}, (
        "it is that of the list, while that is there"
    )

    house.forget()
    house.search().close()

    assert found(going, house.files()) == dict.fromkeys(STAND, NOWHERE)
    assert found(staying, house.files()) == STAY


def test_lists_that_were_left_when_an_order_broke_off_go_with_the_next_run(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.filled()
    going = goes(house)

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Eraser, "_erase_lists_of", killed)
        with pytest.raises(KeyboardInterrupt):
            house.erasing(lambda eraser: eraser.by_order(order()))
    assert found(going, house.files())["list"] == INDEX
    house.forget()
    assert found(going, house.files()) == dict.fromkeys(STAND, NOWHERE)


def test_an_order_is_not_carried_out_without_the_index_that_has_the_persons_lists(house: House) -> None:
    house.filled()
    logs = [
        Log(house.origin(f"s{shard}", PERIOD_NUMBER), shard, open_erasing(house.file(f"s{shard}", PERIOD_NUMBER)))
        for shard in SHARDS
    ]
    eraser = Eraser(logs, keys=house.vault, index=None, register=house.register, clock=lambda: house.now)
    with pytest.raises(Refused) as caught:
        eraser.by_order(order())
    for log in logs:
        log.store.close()
    assert caught.value.code == "erase-index"
    assert all(house.opens(shard, *house.reader(shard, PERIOD_NUMBER).indices_of(SUBJECT)) for shard in SHARDS)


def test_an_order_leaves_in_the_vault_where_its_tree_was_cut_until_the_class_ends(house: House) -> None:
    house.filled()
    place = {"place": [path_of(SUBJECT)[:-1]]}
    assert found(place, house.files()) == {"place": NOWHERE}
    house.forget()
    # Whoever has the pseudonym can tell that an order was carried out about somebody with these forty bits of its hash.
    assert found(place, house.files()) == {"place": VAULT}
    house.close_half_year()
    house.erasing(lambda eraser: eraser.by_retention(due_day(PERIOD_NUMBER, 10)))
    assert found(place, house.files()) == {"place": NOWHERE}


def test_all_that_is_about_others_still_holds_after_a_person_was_forgotten(house: House) -> None:
    judges = house.fill()
    others: dict[int, list[int]] = {}
    for shard in SHARDS:
        reader = house.reader(shard, PERIOD_NUMBER)
        others[shard] = sorted(set(range(reader.size)) - set(reader.indices_of(SUBJECT)))
        reader.close()
    before = openings(house, others)
    assert len(before) == 12
    house.forget()
    for opening in before:
        verify_opening(opening, key(str(opening["origin"])).verifier)
    assert openings(house, others) == before
    assert [judges.count_of(person) for person in (2, 3)] == [2, 2]
    house.close_half_year()
    *_, closing = judges.cosign()
    assert closing.erased == 2
    files = [house.file(f"s{shard}", PERIOD_NUMBER) for shard in SHARDS]
    assert all(fsck(file, vault=house.vault).holds for file in (*files, house.epoch_file))


def test_some_entries_go_and_the_others_open_in_every_shard_under_a_new_key(house: House) -> None:
    house.filled()
    first, second = house.rows()
    house.erasing(lambda eraser: eraser.by_order(order(s0=[first.number])))
    assert (house.opens(0, first.number), house.opens(1, second.number)) == (False, True)
    (left,) = house.rows()
    assert (left.number, left.key_version) == (second.number, 2)
    with pytest.raises(Refused) as caught:
        house.erasing(lambda eraser: eraser.by_order(order()), shards=[1])
    assert caught.value.code == "erase-shards"
    assert house.opens(1, second.number)
    assert all(fsck(house.file(f"s{shard}", PERIOD_NUMBER), vault=house.vault).holds for shard in SHARDS)


def test_what_a_supervisors_order_withholds_is_not_reached_and_goes_with_what_releases_it(house: House) -> None:
    house.filled()
    hidden = house.withhold()
    house.at(3)
    house.sealer().seal_due()
    house.forget()
    assert house.opens(0, hidden), "an order to erase must neither reach it nor tell that it is there"
    going = {"pseudonym": [SUBJECT]}
    assert found(going, house.files())["pseudonym"] >= {f"s0-{HALF}.sqlite"}
    shown = house.release(hidden)
    house.at(4)
    house.sealer().seal_due()
    house.forget()
    assert (house.opens(0, hidden), house.opens(0, shown)) == (False, False)
    assert found(going, house.files()) == {"pseudonym": NOWHERE}
    assert fsck(house.file("s0", PERIOD_NUMBER), vault=house.vault).holds


def test_a_history_tells_what_was_erased_from_what_was_left_out(house: House) -> None:
    house.filled()
    judges = Judges(house)
    before = history_of(house, judges, shown(house, CANARY))
    assert [len(day.entries) for day in before.days] == [1, 1]
    house.forget()
    after = history_of(house, judges, shown(house, CANARY))
    assert [(day.erased, len(day.entries)) for day in after.days] == [("order", 0), ("order", 0)]
    document = json.loads(shown(house, CANARY))
    for lie in ('{"empty": true}', '{"leaf": {"salt": "%s=", "list": []}}' % ("A" * 43)):
        document["days"][0]["end"] = json.loads(lie)
        with pytest.raises(Tampered):
            history_of(house, judges, json.dumps(document).encode())
    del document["days"][0]
    with pytest.raises(Tampered) as caught:
        history_of(house, judges, json.dumps(document).encode())
    assert caught.value.code == "day-missing"


def test_a_backup_opens_nothing_of_the_person_once_the_generation_has_changed(house: House, tmp_path: Path) -> None:
    house.filled()
    going = goes(house)
    backup = tmp_path / "backup"
    shutil.copytree(house.directory, backup, ignore=shutil.ignore_patterns("keys"))
    with_old_keys = Vault.open(backup / "persons.sqlite", house.generations)
    reader = LedgerReader.open(backup / f"s0-{HALF}.sqlite", vault=with_old_keys)
    assert reader.opening(reader.indices_of(SUBJECT)[0], "ADSP"), "the backup that opens nothing must once have opened"
    reader.close()
    with_old_keys.close()

    house.forget()

    with pytest.raises(Refused) as caught:
        Vault.open(backup / "persons.sqlite", house.generations)
    assert caught.value.code == "vault-other-key"
    for shard in SHARDS:
        reader = LedgerReader.open(backup / f"s{shard}-{HALF}.sqlite", vault=house.vault)
        (index,) = reader.indices_of(SUBJECT)
        for letter in "DSP":
            with pytest.raises(Refused) as erased:
                reader.opening(index, letter)
            assert erased.value.code == "opening-erased"
        reader.close()
    # What no key closes stays in a backup for as long as it is kept: the register says so.
    kept = found(going, files_below(backup))
    assert {kind for kind, places in kept.items() if places} == {
        "pseudonym", "moment", "body", "actor", "wrapped key", "list"
    }  # fmt: skip


def test_static_files_never_held_a_person(house: House) -> None:
    house.filled()
    going, staying = goes(house), stays(house)
    public = files_below(house.directory / "public")
    assert len(public) > 6
    assert found(going, public, deep=True) == dict.fromkeys(STAND, NOWHERE)
    assert found({"four hashes": staying["four hashes"]}, public) == {"four hashes": NOWHERE}


def test_the_index_of_search_counts_the_person_no_more_and_holds_no_name(house: House) -> None:
    house.filled()

    def persons() -> int:
        index = house.search()
        counts = [posting[0] for posting in index.connection.execute("SELECT persons FROM posting")]
        index.close()
        return sum(counts)

    before = persons()
    assert found(goes(house), {"search": house.files()[f"s0-{HALF}.search.sqlite"]}) == dict.fromkeys(STAND, NOWHERE)
    house.forget()
    assert persons() == before - 1


def test_what_is_due_goes_by_retention_as_by_order_and_nobody_else_is_left_either(house: House) -> None:
    house.filled()
    house.close_half_year()
    going = goes(house)
    today = due_day(PERIOD_NUMBER, 10)
    house.erasing(lambda eraser: eraser.by_retention(today))
    house.erasing(lambda eraser: eraser.finish())
    assert found(going, house.files()) == dict.fromkeys(STAND, NOWHERE)


def test_label_keys_stay_while_a_shard_that_has_their_persons_was_not_given(house: House) -> None:
    house.filled()
    house.close_half_year()
    today = due_day(PERIOD_NUMBER, 10)
    house.erasing(lambda eraser: eraser.by_retention(today), shards=[0])
    assert SUBJECT in house.vault.labels([SUBJECT], PERIOD_NUMBER)
    house.erasing(lambda eraser: eraser.by_retention(today))
    assert house.vault.labels([SUBJECT], PERIOD_NUMBER) == {}


def test_what_a_sealing_puts_aside_cannot_be_read_by_anybody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written: list[IO[bytes]] = []
    real = tempfile.TemporaryFile

    def kept(**options: Any) -> IO[bytes]:
        written.append(real(**options))
        return written[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", kept)
    sorter = Sorter(directory=tmp_path, held=2)
    items = [number.to_bytes() + SUBJECT for number in range(40)]
    sorter.extend(items)
    (file,) = written
    file.flush()
    file.seek(0)
    spilled = file.read()
    assert len(spilled) > 40 * len(SUBJECT)
    assert found({"pseudonym": [SUBJECT]}, {"spill": spilled}) == {"pseudonym": NOWHERE}
    assert not list(tmp_path.iterdir()), "the file has no name, so it is gone with its process"
    assert [item for batch in sorter.sorted() for item in batch] == items


def test_who_was_handed_a_document_keeps_in_it_only_what_is_theirs_to_know(house: House) -> None:
    house.filled()
    going = goes(house)
    svb = house.recipients.secret("svb")
    lines = dossier_lines(
        sealed(house), FIRST, FIRST + 1, logs=house.logs, releases=scan_releases(house.logs, house.vault)
    )
    handed = {
        "history": shown(house, CANARY),
        "account": b"".join(account_lines(sealed(house), FIRST, FIRST + 1, recipient="svb", secret=svb)),
        "dossier": b"\n".join(lines),
        "citizen's receipt": opening_json(house.opening(0, "AS")),
        "recipient's receipt": opening_proof(house.opening(0, "AD")),
    }
    theirs = {"history", "citizen's receipt"}
    whose = found(going, handed, deep=True)
    assert whose["pseudonym"] == theirs
    assert whose["label key"] == {"history"}
    assert whose["parts"] == {"account", "recipient's receipt", *theirs}
    assert whose["list"] == NOWHERE
    assert whose["number"] == NOWHERE
    salts = {letter: [part_salt(house, shard, letter) for shard in SHARDS] for letter in "DS"}
    held = found(salts, handed, deep=True)
    assert held["S"] == theirs, "with the salt of S an agency could show the person after they were forgotten"
    assert held["D"] == {"account", "recipient's receipt"}


def part_salt(house: House, shard: int, letter: str) -> bytes:
    return from_base64(house.opening(shard, letter)[letter]["salt"], what="a salt")


def test_the_register_of_erasures_holds_counts_and_nobody(house: House) -> None:
    house.filled()
    going = goes(house)
    house.forget()
    text = (house.directory / "erasures.jsonl").read_bytes()
    assert found(going, {"register": text}, deep=True) == dict.fromkeys(STAND, NOWHERE)
    lines = [json.loads(line) for line in text.splitlines()]
    assert {name for line in lines for name in line} == {"event", "at", "log", "ground", "entries", "generation"}
