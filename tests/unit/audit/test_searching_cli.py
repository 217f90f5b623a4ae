"""The commands of search and of whole lists, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from integrator_audit import LedgerWriter
from integrator_audit.checkpoint import Checkpoint
from integrator_audit.cli.main import app
from integrator_audit.note import Signer, join_note
from integrator_audit.sqlite import SqliteStore
from integrator_audit.state import State
from integrator_audit.witnessing.cosignature import Cosigner
from tests.unit.audit.audit_samples import AT, ORIGIN, Place, signer
from tests.unit.audit.test_searching_store import append

COUNT = 300
HOUR = AT // 3_600_000
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A closed log of 300 entries to three recipients for four purposes, every tenth of them unlisted."""
    place = Place(tmp_path_factory.mktemp("searched") / "log")
    place.directory.mkdir()
    ledger: LedgerWriter = place.ledger()
    append(ledger, 0, COUNT)
    ledger.close()
    return place


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def start(*arguments: object) -> Result:
        environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)

    return start


def document(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_search_tells_what_each_entry_says_and_how_to_go_on(run: Run, made: Place) -> None:
    result = run("search", made.ledger_file, "--where", "recipient=svb", "--where", "purpose=purpose-1", "--limit", 3)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    assert all("recipient=svb  purpose=purpose-1" in line for line in lines[:3])
    index = int(lines[2].split()[0])
    assert lines[3] == f"… go on with --before {index}"
    rest = run("search", made.ledger_file, "--where", "recipient=svb", "--limit", 1000, "--before", index, "--json")
    entries = document(rest)["entries"]
    assert all(entry["index"] < index and entry["says"]["recipient"] == "svb" for entry in entries)
    assert document(rest)["before"] is None


def test_search_without_an_answer_says_how_it_is_proved(run: Run, made: Place) -> None:
    result = run("search", made.ledger_file, "--where", "recipient=police")
    assert result.exit_code == 0
    assert "integrator-audit whole" in result.stdout


def test_search_takes_hours_and_days_and_leaves_unlisted_entries_out(run: Run, made: Place) -> None:
    def found(*options: object) -> int:
        return len(document(run("search", made.ledger_file, "--limit", 1000, "--json", *options))["entries"])

    assert found() == 270
    assert found("--unlisted") == 300
    first = document(run("search", made.ledger_file, "--json"))["entries"][-1]["hour"]
    assert found("--from", first, "--unlisted") == 100
    assert found("--until", first, "--unlisted") == 200
    assert found("--days", "2026-11-24") == 270
    assert found("--days", "2026-11-01..2026-11-23") == 0


def test_an_index_is_made_beside_the_ledger_and_used(run: Run, made: Place, tmp_path: Path) -> None:
    place = made.copy("indexed")
    told = document(run("index", place.ledger_file, "--leave-out", "number", "--json"))
    assert told == {"result": "done", "origin": ORIGIN, "size": COUNT, "indexed": 0}
    assert (place.directory / "s0.search.sqlite").is_file()
    assert run("search", place.ledger_file, "--where", "number=7").exit_code == 2
    assert len(document(run("search", place.ledger_file, "--limit", 1000, "--json"))["entries"]) == 270


@pytest.mark.parametrize(
    "options",
    [
        ("--where", "recipient"),
        ("--from", "2026-11-24"),
        ("--until", "2026-11-99T10"),
        ("--days", "november"),
        ("--days", "2026-11-24..2026-11-23"),
        ("--from", "2026-11-24T11", "--until", "2026-11-24T11"),
        ("--limit", "0"),
    ],
)
def test_what_cannot_be_understood_is_said_in_one_sentence(run: Run, made: Place, options: tuple[str, ...]) -> None:
    result = run("search", made.ledger_file, *options)
    assert result.exit_code == 2
    assert result.stderr.startswith("could not tell: ")
    assert len(result.stderr.strip().splitlines()) == 1


def test_counts_are_by_member_and_time(run: Run, made: Place) -> None:
    lines = run("count", made.ledger_file, "--by", "recipient").stdout.splitlines()
    assert [line.split() for line in lines] == [["90", "gemeente-1"], ["90", "groeifonds"], ["90", "svb"]]
    cells = document(run("count", made.ledger_file, "--by", "purpose", "--step", "day", "--json"))["cells"]
    assert {cell["time"] for cell in cells} == {"2026-11-24"}
    assert sum(cell["entries"] for cell in cells) == 270
    hours = document(run("count", made.ledger_file, "--by", "purpose", "--step", "hour", "--json"))["cells"]
    assert len({cell["time"] for cell in hours}) == 3
    assert run("count", made.ledger_file, "--by", "purpose", "--step", "week").exit_code == 2


def test_the_public_form_merges_small_cells(run: Run, made: Place) -> None:
    told = json.loads(run("count", made.ledger_file, "--by", "recipient", "--by", "month", "--public").stdout)
    assert told["schema"] == "dienstenintegrator/public/v1"
    assert told["cells"] == []
    assert told["merged"] == {"cells": 3, "entries": 270}


@pytest.fixture
def whole(run: Run, made: Place, tmp_path: Path) -> Path:
    result = run("whole", made.ledger_file, tmp_path / "s0.whole")
    assert result.exit_code == 0, result.output
    assert "entries 0 to 299, 12 statements" in result.stdout
    return tmp_path / "s0.whole"


def test_a_whole_list_proves_that_nothing_answers(run: Run, whole: Path) -> None:
    result = run(
        "verify-whole", whole, "--vkey", signer().vkey, "--where", "recipient=police", "--without-witnesses"
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "all under its checkpoint" in result.stdout
    assert "No entries in it say recipient=police: as expected." in result.stdout


def test_without_witnesses_or_with_closed_entries_it_cannot_tell(run: Run, made: Place, tmp_path: Path) -> None:
    path = tmp_path / "closed.whole"
    assert "30 of them stay closed" in run("whole", made.ledger_file, path, "--close-unlisted").stdout
    options = ["verify-whole", path, "--vkey", signer().vkey, "--where", "recipient=police"]
    result = run(*options)
    assert result.exit_code == 2
    assert "whole-unwitnessed" in result.stdout
    assert "whole-closed" in result.stdout
    assert json.loads(run(*options, "--json").stdout)["result"] == "unknown"
    assert run(*options, "--without-witnesses").exit_code == 2
    assert run(*options, "--without-witnesses", "--allow-closed", 30).exit_code == 0


def test_another_number_of_answers_than_expected_fails_and_names_them(run: Run, whole: Path) -> None:
    options = ["verify-whole", whole, "--vkey", signer().vkey, "--where", "recipient=svb", "--without-witnesses"]
    result = run(*options)
    assert result.exit_code == 1
    assert "100 answer" in result.stdout
    assert "FAILED: 0 were expected" in result.stdout
    assert run(*options, "--expect", 100).exit_code == 0


def test_a_witnessed_list_needs_nothing_else(run: Run, made: Place, tmp_path: Path) -> None:
    place = made.copy("witnessed")
    witness = Cosigner("witness.example", bytes(range(32)))
    (tmp_path / "policy").write_text(f"log {signer().vkey}\nwitness W {witness.key.vkey}\nquorum W\n")
    store = SqliteStore.open(place.ledger_file)
    head = store.head()
    assert head is not None
    text = Checkpoint(ORIGIN, head.size, head.root).text
    store.publish(head.size, join_note(text, [signer().signature(text), witness.cosign(text, 1_700_000_000)]))
    store.close()
    run("whole", place.ledger_file, tmp_path / "list")
    result = run(
        "verify-whole", tmp_path / "list", "--where", "recipient=police",
        "--policy", tmp_path / "policy", "--json",
    )  # fmt: skip
    (told,) = document(result)["lists"]
    assert told["witnessed"] is True


def test_a_list_of_another_history_than_was_verified_here_fails(run: Run, whole: Path, tmp_path: Path) -> None:
    State(tmp_path / "memory").save(ORIGIN, Checkpoint(ORIGIN, 200, bytes(32)).sign(signer()))
    result = run(
        "verify-whole", whole, "--vkey", signer().vkey, "--where", "recipient=police", "--without-witnesses",
        "--state", tmp_path / "memory",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "another history" in result.stderr


def test_a_changed_list_fails_and_what_is_no_list_or_has_no_key_cannot_be_told(
    run: Run, whole: Path, tmp_path: Path
) -> None:
    question = ("--where", "recipient=police", "--without-witnesses")
    cut = tmp_path / "cut"
    cut.write_bytes(whole.read_bytes()[:-200])
    assert run("verify-whole", cut, "--vkey", signer().vkey, *question).exit_code == 1
    assert run("verify-whole", tmp_path / "none", "--vkey", signer().vkey, *question).exit_code == 2
    assert run("verify-whole", whole, whole, "--vkey", signer().vkey, *question).exit_code == 2
    assert run("verify-whole", whole, "--vkey", signer().vkey).exit_code == 2
    stranger = Signer.generate("other.example/log").vkey
    assert "give its key" in run("verify-whole", whole, "--vkey", stranger, *question).stderr


@pytest.mark.parametrize(("start", "stop"), [(1, 300), (0, 299), (7, 7), (0, 0)])
def test_a_list_of_a_part_counts_only_for_who_says_so(
    run: Run, made: Place, tmp_path: Path, start: int, stop: int
) -> None:
    path = tmp_path / "part.whole"
    assert run("whole", made.ledger_file, path, "--start", start, "--stop", stop).exit_code == 0
    options = ["verify-whole", path, "--vkey", signer().vkey, "--where", "recipient=police", "--without-witnesses"]
    result = run(*options)
    assert (result.exit_code, "(whole-part)" in result.stdout) == (2, True)
    document = json.loads(run(*options, "--json").stdout)
    assert (document["result"], document["code"]) == ("unknown", "whole-part")
    assert run(*options, "--allow-part").exit_code == 0


def test_a_list_that_ends_before_what_was_verified_here_is_not_taken_for_all(
    run: Run, place: Place, tmp_path: Path
) -> None:
    ledger = place.ledger()
    append(ledger, 0, 20)
    assert run("whole", place.ledger_file, tmp_path / "early").exit_code == 0
    append(ledger, 20, 50)
    ledger.close()
    place.reader().export(tmp_path / "site")
    assert run("verify", tmp_path / "site", "--vkey", signer().vkey).exit_code == 0
    options = ["verify-whole", tmp_path / "early", "--vkey", signer().vkey, "--where", "recipient=police"]
    result = run(*options, "--without-witnesses")
    assert (result.exit_code, "30 entries more" in result.stdout) == (2, True)
    assert run(*options, "--without-witnesses", "--allow-part").exit_code == 0


def test_any_key_that_the_policy_lists_for_a_log_signs_its_list(run: Run, whole: Path, tmp_path: Path) -> None:
    for order in (1, -1):
        keys = [signer().vkey, Signer.generate(signer().name).vkey][::order]
        (tmp_path / "policy").write_text("".join(f"log {key}\n" for key in keys) + "quorum none\n")
        result = run("verify-whole", whole, "--policy", tmp_path / "policy", "--where", "recipient=police")
        assert result.exit_code == 0, result.output


def test_a_list_never_overwrites_a_file(run: Run, made: Place, whole: Path) -> None:
    before = whole.read_bytes()
    assert run("whole", made.ledger_file, whole).exit_code == 2
    assert whole.read_bytes() == before


def test_a_list_that_could_not_be_written_leaves_no_file_and_one_that_is_there_stays(
    run: Run, made: Place, tmp_path: Path
) -> None:
    path = tmp_path / "s0.whole"
    assert run("whole", made.ledger_file, path, "--stop", 10**9).exit_code == 2
    assert not list(tmp_path.iterdir())
    path.write_text("another list")
    result = run("whole", made.ledger_file, path)
    assert (result.exit_code, path.read_text()) == (2, "another list")
    assert "exists" in result.stderr
