"""Holds that `integrator erase` forgets whom it is told, beside the running ledger, and repeats no number."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from integrator.cli.erase import app
from integrator.domain.errors import Invalid, Refused, Unavailable
from integrator.domain.pseudonyms import pseudonym
from integrator.operation.processes import generations_of
from integrator.operation.settings import Installation, Settings
from integrator.recording import forgetting, sealing
from integrator.recording.disclosures import DisclosureRecorder
from integrator.recording.forgetting import Forgetting
from integrator.recording.process import Keys
from integrator.recording.readers import Readers
from integrator_audit.completeness.indexfile import SqliteIndex
from integrator_audit.forgetting.retention import due_day
from integrator_audit.halfyear import period_of_name, start_of
from tests.unit.audit.canary_samples import files_below, found
from tests.unit.recording import recording_samples as world
from tests.unit.recording.test_recording_erasures import freed
from tests.unit.recording.test_recording_sealing import MINUTES, TODAY, ledger

CHILD = pseudonym(world.LEDGER_KEY, "ledger", world.CHILD)
MOTHER = pseudonym(world.LEDGER_KEY, "ledger", world.MOTHER)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    made = Installation.create(tmp_path / "data", Settings())
    made.secrets.create("pseudonym-ledger", lambda: world.LEDGER_KEY)
    made.secrets.create("vault-generation-1", lambda: world.GENERATION)
    return made


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "LOOK", 0.02)
    monkeypatch.setattr(forgetting, "PATIENCE", 0.5)


def fill(installation: Installation) -> None:
    """Make a ledger of four disclosures about a child and its parents, without days."""
    files = installation.ledger_files
    files.root.mkdir()
    recorder, known = DisclosureRecorder(), world.knowledge()
    with world.ledger_at(files.root) as log:
        for number in range(4):
            log.append(recorder.read(world.record(world.disclosure(number + 1), number)).make(known))
    files.vkey("s0-2026h2").write_text(world.SIGNER.vkey + "\n")


def run(installation: Installation, *arguments: str, told: str = "") -> Result:
    return CliRunner().invoke(app, [*arguments, "--data", str(installation.data)], input=told)


def answer(installation: Installation, *arguments: str, told: str = "", code: int = 0) -> Any:
    result = run(installation, *arguments, "--json", told=told)
    assert result.exit_code == code, (result.output, result.exception)
    # The ledger that runs in the same process may log in between.
    (line,) = [line[line.index("{") :] for line in result.stdout.splitlines() if "{" in line]
    return json.loads(line)


def test_a_person_is_forgotten_and_the_vault_gets_new_keys(installation: Installation) -> None:
    fill(installation)
    needles = {"child": [CHILD], "mother": [MOTHER]}
    assert all(found(needles, files_below(installation.ledger)).values())

    told = answer(installation, "order", "--name", "O-7", told=f"test:{world.CHILD.value}\n")
    assert told == {"result": "erased", "erased": {"order": 4}, "lists": 0, "waiting": 0, "pending": {"order": 4}}
    assert answer(installation, "finish") == {
        "result": "complete",
        "generation": 2,
        "destroyed": [1],
        "completed": {"order": 4},
    }
    shown = answer(installation, "status")
    assert (shown["pending"], [month["entries"] for month in shown["complete"]]) == ({}, [{"order": 4}])

    assert found(needles, files_below(installation.ledger))["child"] == set()
    readers = Readers(installation.ledger_files, generation_key=generations_of(installation))
    reader = readers.latest("s0")
    assert (len(reader.indices_of(CHILD)), len(reader.indices_of(MOTHER))) == (0, 4)
    assert reader.opening(reader.indices_of(MOTHER)[0], "ADS")
    readers.close()
    assert [path.name for path in (installation.data / "secrets").glob("vault*")] == ["vault-generation-2"]


def test_what_is_said_to_people_is_a_sentence_and_no_number(installation: Installation, tmp_path: Path) -> None:
    fill(installation)
    (tmp_path / "number").write_text(world.CHILD.value + "\n")
    for arguments, said in (
        (
            ("order", "--name", "O-7", "--number-file", str(tmp_path / "number")),
            "Erased in the ledger: 4 entries by order",
        ),
        (("order", "--name", "O-7", "--number-file", str(tmp_path / "number")), "Erased in the ledger: no entries"),
        (("status",), "Waiting for `integrator erase finish`: 4 entries by order."),
        (("finish",), "Complete now: 4 entries by order."),
        (("retention",), "Erased in the ledger: no entries"),
        (("status",), "complete: 4 entries by order"),
    ):
        shown = run(installation, *arguments)
        assert shown.exit_code == 0, shown.output
        assert said in shown.stdout
        assert world.CHILD.value not in shown.output
        assert CHILD.hex() not in shown.output


def test_what_cannot_be_done_is_refused_with_what_to_do(installation: Installation, tmp_path: Path) -> None:
    number = f"{world.CHILD.value}\n"
    nothing = run(installation, "order", "--name", "O-7", told=number).exception
    assert isinstance(nothing, Unavailable)
    assert nothing.code == "no-log"
    fill(installation)
    for arguments, told, kind, code in (
        (("--name", "O 7"), number, Invalid, "erasure-order"),
        (("--name", "O-7"), "12\n", Invalid, "subject-invalid"),
        (("--name", "O-7", "--number-file", str(tmp_path / "none")), "", Refused, "file-missing"),
    ):
        error = run(installation, "order", *arguments, told=told).exception
        assert isinstance(error, kind)
        assert error.code == code
        assert "12" not in str(error)
    assert answer(installation, "status") == {"pending": {}, "complete": []}


async def test_beside_the_running_ledger_a_day_that_is_not_sealed_waits(installation: Installation) -> None:
    keys = Keys(signing=b"s" * 32, generation=generations_of(installation))
    files = installation.ledger_files
    number = f"{world.CHILD.value}\n"
    async with ledger(files.root, keys=keys) as place:
        await freed(files)
        told = await asyncio.to_thread(answer, installation, "order", "--name", "O-7", told=number, code=2)
        assert (told["result"], told["waiting"], told["erased"]) == ("waiting", 3, {})
        place.clock.now = start_of(TODAY + 1) + MINUTES
        await place.sealed(TODAY)
        await freed(files)
        told = await asyncio.to_thread(answer, installation, "order", "--name", "O-7", told=number)
        assert (told["result"], told["erased"], told["lists"]) == ("erased", {"order": 3}, 1)
        assert (await asyncio.to_thread(answer, installation, "finish"))["generation"] == 2
        # While a day is sealed the index is its sealer's, and an erasure that has waited in vain says so.
        sealing_now = SqliteIndex.open(files.index)
        busy = (await asyncio.to_thread(run, installation, "order", "--name", "O-7", told=number)).exception
        assert getattr(busy, "code", None) == "index-busy"
        sealing_now.close()
        await place.filled(world.disclosure(8))


async def test_when_nothing_of_a_half_year_may_be_opened_any_more_its_label_key_goes(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.secrets.create("label-key-2026h2", lambda: b"label key")
    fill(installation)
    theirs = Forgetting(installation.ledger_files, generations_of(installation))
    assert theirs.over() == []
    last = start_of(due_day(period_of_name("2026h2"), 20))
    assert Forgetting(theirs.files, theirs.generations, clock=lambda: last - 1).over() == []
    assert Forgetting(theirs.files, theirs.generations, clock=lambda: last).over() == ["2026h2"]
    with world.ledger_at(installation.ledger) as log:
        log.freeze()
    monkeypatch.setattr("integrator.cli.erase.Forgetting", lambda files, keys: Forgetting(files, keys, lambda: last))
    assert answer(installation, "retention")["erased"] == {"retention": 12}
    assert not list((installation.data / "secrets").glob("label-key*"))
    assert found({"child": [CHILD]}, files_below(installation.ledger)) == {"child": set()}
