from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from integrator_audit import (
    Busy,
    Entry,
    Invalid,
    LedgerReader,
    LedgerWriter,
    Refused,
    Signer,
    Tampered,
    Unavailable,
    Vault,
    Verifier,
    ledgerwriter,
    part,
    verify_opening,
)
from integrator_audit.fsck import fsck
from integrator_audit.keystore import associated_data, key_class
from integrator_audit.merkle import EMPTY_ROOT
from integrator_audit.sqlitereading import SqliteReading
from integrator_audit.sqlitevault import SqliteVaultTables
from integrator_audit.store import KEYS_MOVED
from tests.unit.audit.audit_samples import GENERATION_KEY, ORIGIN, PEOPLE, Place, entry, institution_entry, signer

SOURCE = ("integrator.disclosures", 0)


def test_a_new_log_is_signed_and_empty(place: Place) -> None:
    ledger = place.ledger()
    assert (ledger.size, ledger.root) == (0, EMPTY_ROOT)
    assert ledger.checkpoint.startswith(f"{ORIGIN}\n0\n".encode())
    assert ledger.positions() == {}


def test_indices_are_given_in_the_order_of_the_entries(place: Place) -> None:
    ledger = place.ledger()
    appended = ledger.append([entry(number) for number in range(40)])
    reader = place.reader()
    for number, index in enumerate(appended.indices):
        opened = verify_opening(reader.opening(index), Verifier.from_text(reader.vkey))
        assert opened.parts["A"]["number"] == number


def test_the_entries_of_one_commit_stand_in_random_order(place: Place) -> None:
    ledger = place.ledger()
    orders = {
        tuple(index - start for index in ledger.append([entry(number) for number in range(8)]).indices)
        for start in range(0, 80, 8)
    }
    assert len(orders) > 5


def test_the_checkpoint_of_each_commit_is_over_the_same_growing_tree(place: Place) -> None:
    ledger = place.ledger()
    for number in range(6):
        ledger.append([entry(number)] * (number * 60 + 1))
    ledger.close()
    assert fsck(place.ledger_file, vault=place.vault()).holds


def test_positions_never_go_back(place: Place) -> None:
    ledger = place.ledger()
    ledger.append([entry(1)], positions={SOURCE: 7})
    with pytest.raises(Refused, match="consumed to 7"):
        ledger.append([entry(2)], positions={SOURCE: 6})
    assert ledger.append([entry(2)], positions={SOURCE: 8}).size == 2


@pytest.mark.parametrize(("source", "position"), [(("topic", -1), 1), (SOURCE, -1), (SOURCE, 2**63)])
def test_a_position_that_is_none_is_refused_and_the_ledger_goes_on(
    place: Place, source: tuple[str, int], position: int
) -> None:
    wrong = {source: position}
    with pytest.raises(Invalid) as first:
        LedgerWriter.open(place.ledger_file, origin=ORIGIN, signer=signer(), vault=place.vault(), positions=wrong)
    ledger = place.ledger()
    with pytest.raises(Invalid) as later:
        ledger.append([entry(1)], positions=wrong)
    assert first.value.code == later.value.code == "ledger-position"
    assert ledger.append([entry(1)], positions={SOURCE: 2**63 - 1}).size == 1


def test_a_malformed_entry_is_refused_whole_and_the_ledger_goes_on(place: Place) -> None:
    ledger = place.ledger()
    malformed = Entry(0x01, b"{}", b"{}", b"{}", b"", PEOPLE[0])
    with pytest.raises(Invalid):
        ledger.append([entry(1), malformed], positions={SOURCE: 1})
    assert (ledger.size, ledger.positions()) == (0, {})
    assert ledger.append([entry(1)]).size == 1


def test_an_institution_log_holds_entries_without_a_person(place: Place) -> None:
    ledger = place.ledger()
    ledger.append([institution_entry(1), institution_entry(2, actor="official 7")])
    reader = place.reader()
    opened = [verify_opening(reader.opening(index, "ADSP"), Verifier.from_text(reader.vkey)) for index in (0, 1)]
    assert {one.type for one in opened} == {0x02}
    assert sorted(str(one.parts["P"].get("actor", "")) for one in opened) == ["", "official 7"]
    assert all(one.parts["D"] == {} and one.parts["S"] == {} for one in opened)
    ledger.close()
    assert fsck(place.ledger_file, vault=place.vault()).holds


def test_another_origin_is_refused(place: Place) -> None:
    place.ledger().close()
    origin = "demo.integrator.example/ledger/demo/s1-2026h2"
    with pytest.raises(Refused) as caught:
        LedgerWriter.open(place.ledger_file, origin=origin, signer=Signer.generate(origin), vault=place.vault())
    assert caught.value.code == "ledger-other-key"
    with pytest.raises(Refused) as caught:
        LedgerWriter.open(place.ledger_file, origin=origin, signer=signer(), vault=place.vault())
    assert caught.value.code == "ledger-origin"


def test_a_file_that_is_no_ledger_is_refused(place: Place) -> None:
    place.ledger_file.write_bytes(b"not a database at all" * 500)
    with pytest.raises(Tampered):
        place.ledger()
    place.ledger_file.unlink()
    with sqlite3.connect(place.ledger_file) as connection:
        connection.execute("CREATE TABLE other (x)")
    with pytest.raises(Refused):
        place.ledger()
    with pytest.raises(Refused):
        Vault.open(place.ledger_file, GENERATION_KEY)
    with sqlite3.connect(place.ledger_file) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("other",)]


def test_a_directory_that_does_not_exist_is_one_clear_message(tmp_path: Path, place: Place) -> None:
    with pytest.raises(Unavailable, match="does its directory exist"):
        LedgerWriter.open(tmp_path / "none" / "s0.sqlite", origin=ORIGIN, signer=signer(), vault=place.vault())


def test_a_vault_that_fails_leaves_the_ledger_at_work(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = place.vault()
    ledger = LedgerWriter.open(place.ledger_file, origin=ORIGIN, signer=signer(), vault=vault)
    real = vault._tables
    vault._tables = SqliteVaultTables(sqlite3.connect(":memory:"))
    with pytest.raises(Tampered, match="vault"):
        ledger.append([entry(1)])
    vault._tables = real
    assert ledger.append([entry(1)]).size == 1


KILLED = """
    import os, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[2])
    from audit_samples import GENERATION_KEY, ORIGIN, entry
    from integrator_audit import LedgerWriter, Signer, Vault
    from integrator_audit.sqlite import SqliteStore

    def killed(self, batch):
        os.kill(os.getpid(), 9)

    place = Path(sys.argv[1])
    vault = Vault.open(place / "persons.sqlite", GENERATION_KEY)
    signer = Signer.from_text((place / "key").read_text())
    ledger = LedgerWriter.open(place / "s0.sqlite", origin=ORIGIN, signer=signer, vault=vault)
    ledger.append([entry(1, actor="official 7")])
    SqliteStore.commit = killed
    ledger.append([entry(2, actor="official 7"), entry(3)])
"""


def test_a_kill_between_the_vaults_commit_and_the_ledgers_leaves_keys_and_no_entries(place: Place) -> None:
    (place.directory / "key").write_text(signer().text)
    script = [sys.executable, "-c", textwrap.dedent(KILLED), str(place.directory), str(Path(__file__).parent)]
    done = subprocess.run(script, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == -9, done.stderr
    vault = place.vault()
    assert vault.person(PEOPLE[3], key_class(53, 20)) is not None, "the vault had committed"
    ledger = place.ledger()
    assert ledger.size == 1
    ledger.append([entry(2, actor="official 7"), entry(3)])
    ledger.close()
    report = fsck(place.ledger_file, vault=vault)
    assert (report.holds, report.size) == (True, 3)


def test_salts_of_encrypted_parts_stand_in_no_column(place: Place) -> None:
    ledger = place.ledger()
    ledger.append([entry(number, actor="official 7") for number in range(5)])
    reader = place.reader()
    import base64

    secrets: list[bytes] = []
    for index in range(5):
        opening: dict[str, Any] = reader.opening(index, "ADSP")
        secrets += [base64.b64decode(opening[letter]["salt"]) for letter in "DSP"]
        secrets += [base64.b64decode(opening[letter]["bytes"]) for letter in "DSP"]
    ledger.close()
    reader.close()
    files = b"".join(path.read_bytes() for path in place.directory.iterdir())
    assert len(files) > 10_000
    assert not [secret for secret in secrets if secret in files]


def test_the_key_of_a_person_does_not_lead_to_the_salt_of_who_acted(place: Place) -> None:
    ledger, vault = place.ledger(), place.vault()
    ledger.append([entry(1, actor="official 7"), entry(2)])
    ledger.close()
    store = SqliteReading.read_only(place.ledger_file)
    for row in store.entries(0, 2):
        assert row.subject is not None
        cipher = vault.person(row.subject, key_class(53, row.retention))
        assert cipher is not None
        body = cipher.decrypt(row.body[:12], row.body[12:], associated_data(ORIGIN.encode(), row.number, b"B", 1))
        # Salts of D, S and P; the third serves an entry without an actor only.
        assert (body[64:96] == bytes(32)) == bool(row.p)
    store.close()


def test_a_body_does_not_open_in_another_place(log: Place) -> None:
    connection = sqlite3.connect(log.ledger_file)
    rows = connection.execute(
        "SELECT idx FROM entry WHERE subject = ? AND own IS NULL LIMIT 2", (PEOPLE[1],)
    ).fetchall()
    (first,), (second,) = rows
    connection.execute("UPDATE entry SET body = (SELECT body FROM entry WHERE idx = ?) WHERE idx = ?", (first, second))
    connection.commit()
    connection.close()
    with pytest.raises(Tampered, match=f"part S of entry {second}"):
        log.reader().opening(second)


def test_the_same_commitment_never_enters_twice(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = place.ledger()
    ledger.append([entry(1)])
    monkeypatch.setattr(os, "urandom", bytes)
    ledger.append([entry(1)])
    with pytest.raises(Tampered) as caught:
        ledger.append([entry(1)])
    assert caught.value.code == "ledger-repeated"
    ledger.close()
    monkeypatch.undo()
    assert place.ledger().size == 2


def test_the_same_commitment_does_not_enter_twice_in_one_batch(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = place.ledger()
    monkeypatch.setattr(os, "urandom", bytes)
    with pytest.raises(Tampered) as caught:
        ledger.append([entry(1), entry(1)])
    assert caught.value.code == "ledger-repeated"
    assert ledger.size == 0


def test_a_batch_whose_keys_are_destroyed_again_and_again_is_given_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault, counted = place.vault(), count()
    ledger = LedgerWriter.open(place.ledger_file, origin=ORIGIN, signer=signer(), vault=vault)
    monkeypatch.setattr(vault, "destructions", lambda: next(counted))
    with pytest.raises(Busy) as caught:
        ledger.append([entry(1)], positions={SOURCE: 1})
    assert caught.value.code == KEYS_MOVED
    monkeypatch.undo()
    assert (ledger.size, ledger.positions()) == (0, {})
    assert ledger.append([entry(1)], positions={SOURCE: 1}).size == 1


def test_a_batch_that_is_too_large_is_refused_and_the_ledger_goes_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgerwriter, "MAX_BATCH", 3)
    ledger = place.ledger()
    with pytest.raises(Invalid) as caught:
        ledger.append([entry(1)] * 4)
    assert caught.value.code == "ledger-batch"
    assert ledger.append([entry(1)] * 3).size == 3


def test_a_checkpoint_of_another_size_in_the_newest_ones_row_stops_the_start(place: Place) -> None:
    ledger = place.ledger()
    first = ledger.append([entry(1)]).checkpoint
    ledger.append([entry(2)])
    ledger.close()
    place.damage("UPDATE checkpoint SET note = ? WHERE size = 2", first)
    with pytest.raises(Tampered) as caught:
        place.ledger()
    assert caught.value.code == "ledger-checkpoint"


def test_a_ledger_that_was_closed_takes_nothing_more(place: Place) -> None:
    ledger = place.ledger()
    ledger.close()
    with pytest.raises(Unavailable) as caught:
        ledger.append([entry(1)])
    assert caught.value.code == "ledger-outcome-unknown"


def test_a_subject_gets_one_key_and_one_number_over_many_batches(place: Place) -> None:
    ledger = place.ledger()
    subject = PEOPLE[0]
    for number in range(20):
        ledger.append([entry(number, subject=subject), entry(number, subject=os.urandom(32))])
    reader = place.reader()
    assert len(reader.indices_of(subject)) == 20
    with sqlite3.connect(place.vault_file) as connection:
        assert connection.execute("SELECT count(*) FROM person").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM node").fetchone() == (1,)


def test_a_reader_sees_what_another_process_wrote(place: Place) -> None:
    ledger = place.ledger()
    reader = LedgerReader.open(place.ledger_file, vault=Vault.read_only(place.vault_file, GENERATION_KEY))
    assert reader.size == 0
    ledger.append([entry(1)])
    assert reader.size == 1
    assert reader.checkpoint() == ledger.checkpoint
    assert reader.opening(0)["index"] == 0


def test_one_entry_of_the_largest_size_passes(place: Place) -> None:
    ledger = place.ledger()
    a = part("a/v1", {"text": "x" * 65_000})
    assert ledger.append([Entry(0x01, a, a, a, a, PEOPLE[0])]).size == 1
    assert place.reader().opening(0, "ADSP")["type"] == 0x01
