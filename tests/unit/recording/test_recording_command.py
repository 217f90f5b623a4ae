"""Holds that `integrator disclosures` ticks what is proved, says which entry is not, and repeats no number."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
import uvicorn
from click.testing import Result
from fastapi import FastAPI
from typer.testing import CliRunner

from integrator.cli.disclosures import disclosures as command
from integrator.http import disclosures, problems
from integrator.http.identity import DEVELOPMENT_KEY, DevelopmentCitizens
from integrator.operation.settings import Installation, Settings
from integrator.recording.disclosures import DisclosureRecorder
from integrator.recording.openings import Openings
from integrator.recording.readers import Readers
from integrator_audit import Signer
from tests.unit.recording import recording_samples as world

APP = typer.Typer()
APP.command()(command)


@dataclass
class Running:
    """An installation that serves one citizen's endpoint."""

    data: Path
    url: str

    def ask(self, number: str, *arguments: str) -> Result:
        given = ["--data", str(self.data), "--api", self.url, *arguments]
        return CliRunner().invoke(APP, given, input=f"{number}\n")


@pytest.fixture
def running(tmp_path: Path) -> Generator[Running]:
    installation = Installation.create(tmp_path, Settings(profile="development"))
    key = installation.secrets.create(DEVELOPMENT_KEY, lambda: b"c" * 32)
    citizens = DevelopmentCitizens(tmp_path / "citizens", key, profile="development")
    citizens.register(world.PEOPLE)
    files = installation.ledger_files
    files.root.mkdir()
    recorder, known = DisclosureRecorder(), world.knowledge()
    with world.ledger_at(files.root) as ledger:
        for number in range(4):
            ledger.append(recorder.read(world.record(world.disclosure(number + 1), number)).make(known))
    files.vkey("s0-2026h2").write_text(world.SIGNER.vkey + "\n")
    readers = Readers(files, generation_key=world.GENERATION)
    openings = Openings(readers.subjects, world.StillDirectory(known), key=world.LEDGER_KEY)
    api = FastAPI(openapi_url=None)
    problems.install(api)
    api.include_router(disclosures.router(openings, citizens, cursor_key=b"k" * 32), prefix="/v1")
    server = uvicorn.Server(uvicorn.Config(api, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the interface ended before it served anything"
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Running(tmp_path, f"http://127.0.0.1:{port}")
    server.should_exit = True
    thread.join(20)
    readers.close()


def test_each_verified_disclosure_has_its_tick(running: Running) -> None:
    shown = running.ask(world.CHILD.value)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("✓") == 4
    assert "4 disclosures; each is in the ledger" in shown.stdout
    assert world.CHILD.value not in shown.output


def test_programs_get_one_json_document(running: Running) -> None:
    answer = json.loads(running.ask(world.MOTHER.value, "--json").stdout)
    assert answer["failure"] is None
    first = answer["disclosures"][0]
    assert (first["recipient"], first["fields"], first["role"], first["verified"]) == (
        "groeifonds",
        ["parents.bsn", "parents.order"],
        "parent",
        True,
    )


def test_somebody_of_whom_nothing_was_disclosed_is_told_so(running: Running) -> None:
    shown = running.ask(world.PARTNER.value)
    assert (shown.exit_code, shown.stdout) == (0, "Nothing was disclosed about this person.\n")


def test_a_key_that_is_not_the_ledgers_leaves_no_tick_and_exit_code_1(running: Running) -> None:
    other = Signer(world.ORIGIN, bytes(32)).vkey
    shown = running.ask(world.CHILD.value, "--vkey", other)
    assert shown.exit_code == 1
    assert "✓" not in shown.output
    assert re.search(rf"Entry \d+ of {re.escape(world.ORIGIN)} ", shown.stderr)


def test_a_key_may_be_pinned_in_a_file(running: Running, tmp_path: Path) -> None:
    pinned = tmp_path / "pinned.vkey"
    pinned.write_text(world.SIGNER.vkey)
    assert running.ask(world.CHILD.value, "--vkey", str(pinned)).exit_code == 0


@pytest.mark.parametrize("number", ["", "nobody", "123456789", "bsn:1", "100000000099"])
def test_a_number_that_is_none_or_unknown_is_refused_without_repeating_it(running: Running, number: str) -> None:
    shown = running.ask(number)
    assert shown.exit_code == 1
    assert len(number) < 3 or number not in shown.output
    assert "Traceback" not in shown.output


def test_an_integrator_that_does_not_answer_is_exit_code_2(running: Running) -> None:
    shown = running.ask(world.CHILD.value, "--api", "http://127.0.0.1:1")
    assert shown.exit_code == 2
    assert "does not answer" in shown.stderr


def test_an_installation_that_is_none_is_said_in_a_sentence(tmp_path: Path) -> None:
    shown = CliRunner().invoke(APP, ["--data", str(tmp_path / "nothing")], input="1\n")
    assert shown.exit_code == 1
    assert "no-installation" in shown.stderr
