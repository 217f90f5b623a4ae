"""Holds that an installation's ledger is the same in PostgreSQL as in files: tests of that room, over a database.

What only a database can do to it stands at the end: another one in its place, a lost directory, a server that ends.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from integrator.domain.errors import Refused
from integrator.domain.pseudonyms import pseudonym
from integrator.operation.processes import generations_of
from integrator.operation.settings import Installation, Settings
from integrator.recording import indexing, keeper, sealing
from integrator.recording.logs import Databases
from integrator.recording.readers import Readers
from integrator_audit.stores import log_schemas
from tests.postgresql.conftest import OwnServer
from tests.unit.recording import recording_samples as world
from tests.unit.recording.auditing_world import AuditedLedger
from tests.unit.recording.test_recording_auditing import (  # noqa: F401  pytest collects them here
    audited,
    test_auditors_find_entries_by_the_words_of_the_house,
    test_counts_are_by_word_and_time,
    test_of_an_erased_entry_part_a_is_opened,
    test_openings_prove_what_they_say_and_tell_the_people,
    test_refusals_and_steps_are_found_in_the_institution_log,
    test_the_index_changes_no_answer,
    test_the_quota_of_a_day_follows_from_the_log,
)
from tests.unit.recording.test_recording_consumed import (  # noqa: F401
    test_what_was_read_is_released_when_the_day_of_reading_is_sealed_and_backed_up,
)
from tests.unit.recording.test_recording_erase_command import answer, fill
from tests.unit.recording.test_recording_erasures import (  # noqa: F401
    test_a_person_is_erased_beside_the_running_ledger_which_goes_on_and_tells_it,
)
from tests.unit.recording.test_recording_process import (  # noqa: F401
    KEYS,
    NAMING,
    Sources,
    disclosures,
    run,
    test_a_log_goes_on_after_kafka_was_away,
    test_a_restart_enters_nothing_twice_and_knows_the_refusals_again,
    test_another_signing_key_is_refused_with_a_sentence,
    test_another_vault_key_is_refused_with_a_sentence,
    test_both_logs_are_filled_and_published,
    test_the_files_are_served_over_http_by_the_same_paths,
    test_the_institution_log_tells_each_key_when_it_is_made_and_once,
)
from tests.unit.recording.test_recording_sealing import (  # noqa: F401
    MINUTES,
    TODAY,
    judged,
    ledger,
    start_of,
    test_a_day_is_sealed_after_its_end_and_each_persons_list_can_be_checked,
    test_a_half_year_is_closed_before_its_last_day_is_sealed_and_the_next_has_another_key,
    test_a_list_without_the_last_entry_does_not_hold,
    test_an_agency_finds_the_delivery_of_a_record_that_was_set_aside,
    test_each_day_has_the_same_number_of_unlisted_entries_over_all_shards,
    test_missed_days_are_sealed_one_after_the_other,
)
from tests.unit.recording.test_recording_series import (  # noqa: F401
    test_a_batch_that_was_read_before_the_end_and_not_committed_goes_into_the_next_log,
    test_a_half_year_in_which_the_ledger_did_not_run_has_no_log,
    test_another_number_of_shards_than_the_ledger_has_is_refused,
    test_at_the_end_of_a_half_year_each_log_is_closed_and_the_next_goes_on_where_it_ended,
    test_each_new_institution_log_can_be_read_by_itself,
    test_each_shard_reads_its_share_of_the_lanes,
)
from tests.unit.recording.test_recording_withholding import (  # noqa: F401
    test_a_restart_releases_nothing_twice_also_in_the_next_half_year,
    test_what_an_order_withholds_is_hidden_from_its_person_and_from_nobody_who_checks,
)


@pytest.fixture(autouse=True)
def _placed(database: str, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setattr(world, "databases", Databases(database, vault=database))
    monkeypatch.setattr(sealing, "LOOK", 0.02)
    monkeypatch.setattr(keeper, "PAUSE", 0.02)


async def test_another_database_in_place_of_the_ledgers_is_refused_before_anything_is_made(
    tmp_path: Path, own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(tmp_path, Sources(disclosures(1)))
    empty = own_server()
    empty.start()
    monkeypatch.setattr(world, "databases", Databases(empty.url(), vault=empty.url()))
    with pytest.raises(Refused) as caught:
        await run(tmp_path, Sources(disclosures(1)))
    assert caught.value.code == "ledger-log-missing"
    assert "institution-2026h2, s0-2026h2" in caught.value.message
    assert log_schemas(empty.url()) == []


async def test_files_are_not_begun_beside_a_database_nor_a_database_beside_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(tmp_path / "database", Sources(disclosures(1)))
    theirs = world.databases
    monkeypatch.setattr(world, "databases", None)
    await run(tmp_path / "files", Sources(disclosures(1)))
    with pytest.raises(Refused, match="s0-2026h2"):
        await run(tmp_path / "database", Sources(disclosures(1)))
    assert not list((tmp_path / "database").glob("*.sqlite"))
    monkeypatch.setattr(world, "databases", theirs)
    (tmp_path / "files" / "s0-2026h2.vkey").rename(tmp_path / "files" / "s1-2026h2.vkey")
    with pytest.raises(Refused, match="s1-2026h2"):
        await run(tmp_path / "files", Sources(disclosures(1)))


async def test_when_the_directory_beside_the_database_is_lost_all_logs_are_found_again(tmp_path: Path) -> None:
    sources = Sources(disclosures(2))
    async with ledger(tmp_path / "a", sources=sources) as place:
        place.clock.now = start_of(TODAY + 1) + MINUTES
        await place.sealed(TODAY)
    names = world.files_at(tmp_path / "a").logs()
    assert names == ["epochs", "institution-2026h2", "s0-2026h2"]
    # The label keys come from the service again; in this test from one that has the same.
    shutil.copytree(tmp_path / "a", tmp_path / "b", ignore=shutil.ignore_patterns("*.vkey", "public", "shards"))
    async with ledger(tmp_path / "b", sources=sources, now=start_of(TODAY + 1) + MINUTES) as place:
        assert world.files_at(tmp_path / "b").logs() == names
        assert len(judged(place, world.CHILD).entries) == 2
    for name in names:
        assert world.files_at(tmp_path / "b").vkey(name).read_bytes() == (tmp_path / "a" / f"{name}.vkey").read_bytes()


async def test_a_stranger_in_the_database_is_left_alone(tmp_path: Path) -> None:
    await run(tmp_path / "a", Sources(disclosures(1)))
    (tmp_path / "b").mkdir()
    files = world.files_at(tmp_path / "b")
    assert files.logs() == []
    assert files.stores() == ["institution-2026h2", "s0-2026h2"]
    other = replace(KEYS, signing=b"o" * 32)
    with pytest.raises(Refused) as caught:
        await run(tmp_path / "b", Sources(disclosures(1)), keys=other)
    assert caught.value.code in ("ledger-other-key", "ledger-other-vkey", "ledger-origin")


async def test_the_ledger_goes_on_after_its_server_was_killed(
    tmp_path: Path, own_server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = own_server()
    server.start()
    monkeypatch.setattr(world, "databases", Databases(server.url(), vault=server.url()))
    async with ledger(tmp_path) as place:
        with capture_logs() as told:
            await asyncio.to_thread(server.kill)
            place.sources.disclosures.records += [world.record(world.disclosure(9), 3)]
            await world.until(lambda: any(one["event"] == "ledger-restarted" for one in told))
        place.sources.disclosures.drained.clear()
        await asyncio.to_thread(server.start)
        await place.sources.disclosures.drained.wait()
        place.clock.now = start_of(TODAY + 1) + MINUTES
        await place.sealed(TODAY)
        assert len(judged(place, world.CHILD).entries) == 4


async def test_the_process_that_makes_indexes_of_search_finds_the_database(audited: AuditedLedger) -> None:  # noqa: F811
    looked = indexing.Indexing(audited.searches)
    looked._last = -indexing.AGAIN * 2
    assert await looked.look()
    assert audited.files.search("s0-2026h2").is_file()


def test_a_person_is_forgotten_by_command(database: str, tmp_path: Path) -> None:
    installation = Installation.create(tmp_path / "data", Settings(ledger_database=database, ledger_vault=database))
    installation.secrets.create("pseudonym-ledger", lambda: world.LEDGER_KEY)
    installation.secrets.create("vault-generation-1", lambda: world.GENERATION)
    fill(installation)
    told = answer(installation, "order", "--name", "O-7", told=f"test:{world.CHILD.value}\n")
    assert told == {"result": "erased", "erased": {"order": 4}, "lists": 0, "waiting": 0, "pending": {"order": 4}}
    assert answer(installation, "finish")["completed"] == {"order": 4}
    readers = Readers(installation.ledger_files, generation_key=generations_of(installation))
    reader = readers.latest("s0")
    child, mother = (pseudonym(world.LEDGER_KEY, "ledger", who) for who in (world.CHILD, world.MOTHER))
    assert (len(reader.indices_of(child)), len(reader.indices_of(mother))) == (0, 4)
    assert reader.opening(reader.indices_of(mother)[0], "ADS")
    readers.close()
