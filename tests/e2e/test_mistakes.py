"""What people get wrong: one clear message on standard error, an exit code that is not 0, no stack trace, no hang."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import yaml

from integrator.kafka.development import status_of
from tests.e2e.conftest import Played
from tests.e2e.installation import Outcome, Running, command

pytestmark = pytest.mark.e2e

SECONDS = 45.0
"""Nobody waits longer to hear that something is wrong: connecting is given fifteen seconds, and a look as many."""


def one_message(outcome: Outcome, code: str) -> str:
    """Return the message of a command that said no, once."""
    assert outcome.code in (1, 2), outcome
    said = outcome.err + outcome.out
    assert "Traceback" not in said, said
    assert outcome.err.count(f"{code}:") == 1, said
    (line,) = (line for line in outcome.err.splitlines() if f"{code}:" in line)
    return line


@contextmanager
def occupied(heard: bytearray | None = None) -> Iterator[int]:
    """Give a port of loopback on which something listens that is not ours and answers nothing; it hears what comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as thread:

        def listen() -> None:
            kept: list[socket.socket] = []
            while not over.is_set():
                readable, _, _ = select.select([listener, *kept], [], [], 0.05)
                for one in readable:
                    if one is listener:
                        kept.append(listener.accept()[0])
                    elif data := one.recv(65536):
                        (heard if heard is not None else bytearray()).extend(data)
                    else:
                        kept.remove(one)
                        one.close()
            for one in kept:
                one.close()

        over = threading.Event()
        listening = thread.submit(listen)
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            listening.result()


@contextmanager
def closed_port() -> Iterator[int]:
    """Give a port of loopback on which nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextmanager
def secret(running: Running, name: str, value: bytes) -> Iterator[None]:
    """Replace a secret while the context is open."""
    path = running.data / "secrets" / name
    before = path.read_bytes()
    path.write_bytes(value)
    try:
        yield
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("disclosures",),
        ("topics", "plan"),
        ("quarantine", "list"),
        ("subscribe", "brp/person", "--purpose", "nabestaanden", "--agency", "svb"),
        ("publish", "events.jsonl", "--source", "brp"),
    ],
)
def test_a_directory_without_an_installation_is_said_to_be_one(tmp_path: Path, words: tuple[str, ...]) -> None:
    outcome = command("integrator", *words, "--data", tmp_path / "empty", told="999999990\n", seconds=SECONDS)
    assert str(tmp_path / "empty") in one_message(outcome, "no-installation")
    assert not (tmp_path / "empty").exists()


def test_a_new_installation_without_a_kafka_says_what_to_do(tmp_path: Path) -> None:
    outcome = command("integrator", "run", "--data", tmp_path / "new", seconds=SECONDS)
    assert "integrator kafka start" in one_message(outcome, "no-kafka")


def test_a_kafka_that_does_not_answer_is_said_to_be_missing(tmp_path: Path) -> None:
    with closed_port() as port:
        address = f"127.0.0.1:{port}"
        outcome = command(
            "integrator", "run", "--data", tmp_path / "new", seconds=SECONDS, INTEGRATOR_BOOTSTRAP=address
        )
    assert address in one_message(outcome, "kafka-unreachable")
    assert outcome.code == 2


def test_something_that_is_no_kafka_is_said_to_be_none(tmp_path: Path) -> None:
    with occupied() as port:
        address = f"127.0.0.1:{port}"
        outcome = command(
            "integrator", "run", "--data", tmp_path / "new", seconds=SECONDS, INTEGRATOR_BOOTSTRAP=address
        )
    assert address in one_message(outcome, "kafka-unreachable")


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    outcome = command("integrator", "run", "--data", tmp_path / "new", seconds=SECONDS, INTEGRATOR_LANES="none")
    assert "lanes" in one_message(outcome, "settings")
    (tmp_path / "settings.toml").write_text("lanes = [", "utf-8")
    one_message(command("integrator", "status", "--data", tmp_path, seconds=SECONDS), "settings")


def test_a_port_of_the_broker_that_is_taken_is_named(tmp_path: Path) -> None:
    with occupied() as port:
        outcome = command("integrator", "kafka", "start", "--data", tmp_path, "--port", str(port), seconds=SECONDS)
    assert str(port) in one_message(outcome, "port-in-use")
    assert status_of(tmp_path).state == "stopped"


def test_the_demonstration_leaves_a_directory_with_other_files_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", "utf-8")
    outcome = command("integrator", "demo", "--once", "--json", "--data", tmp_path, seconds=SECONDS)
    one_message(outcome, "demo-directory")
    assert outcome.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_demonstration_leaves_a_running_one_alone(installation: Running) -> None:
    outcome = command("integrator", "demo", "--once", "--json", "--data", installation.data, seconds=SECONDS)
    one_message(outcome, "demo-directory")
    assert command("integrator", "status", "--data", installation.data).code == 0


def authorisation(**changed: Any) -> dict[str, Any]:
    return {
        "kind": "authorisation", "id": "s19-duo-overlijden", "version": 2, "agency": "duo", "stream": "brp/person",
        "purpose": "studieschuld", "purposeVersion": 1, "route": "decree",
        "citations": [{"country": "NL", "act": "Wet", "article": "1", "inForceFrom": "2014-01-06"}],
        "modes": ["mutation"], "fields": ["bsn", "death.date"], "triggers": ["death"], "kinds": ["changed"],
        "population": [{"population": "inscribed", "capacities": ["debtor"]}], "protectedAddress": "deliver",
        "payload": "event", "proactivity": "automatic", "period": {"start": "2014-01-06"}, "retention": "P2Y",
        "dpia": "demo",
    } | changed  # fmt: skip


WRONG: dict[str, dict[str, Any]] = {
    "fields": {"fields": ["bsn", "shoeSize"]},
    "stream": {"stream": "brp/nothing"},
    "modes": {"modes": ["telepathy"]},
    "condition": {"condition": "age >"},
    "retention": {"retention": "long"},
    "surprise": {"surprise": True},
    "citations": {"citations": []},
    "agency": {"agency": "Duo"},
}
FORM = ("modes", "retention", "surprise", "citations", "agency")
"""Where a document is malformed by itself."""


def test_everything_that_is_wrong_in_yaml_is_explained_at_once_with_file_line_and_path(
    installation: Running, tmp_path: Path
) -> None:
    file, status = tmp_path / "wrong.yaml", ("status", "--data", installation.data, "--json")
    documents = [authorisation(id=f"wrong-{path}", **changed) for path, changed in WRONG.items()]
    file.write_text(yaml.safe_dump_all(documents, sort_keys=False), "utf-8")
    lines = file.read_text("utf-8").splitlines()
    starts = [at for at, line in enumerate(lines, start=1) if line.startswith("kind:")] + [len(lines) + 1]
    before = json.loads(command("integrator", *status).out)["directory"]
    # `apply` asks the directory only when the form of everything is right.
    for words, known in ((("check", file), WRONG), (("apply", "-f", file, "--yes", "--data", installation.data), FORM)):
        outcome = command("integrator", *words, "--json", seconds=SECONDS)
        assert outcome.code == 1, outcome
        assert "Traceback" not in outcome.err
        problems = json.loads(outcome.out)["problems"]
        told = {(one["document"], one["path"].partition("[")[0]) for one in problems}
        assert told >= {(list(WRONG).index(path) + 1, path) for path in known}
        for one in problems:
            assert one["message"]
            assert one["file"].endswith("wrong.yaml")
            assert starts[one["document"] - 1] <= one["line"] < starts[one["document"]]
    after = json.loads(command("integrator", *status).out)["directory"]
    assert after["authorisations"] == before["authorisations"]


def test_what_is_no_yaml_is_said_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("kind: agency\nname: [a\n", "utf-8")
    outcome = command("integrator", "check", tmp_path / "broken.yaml", seconds=SECONDS)
    assert outcome.code == 1
    assert "broken.yaml:" in outcome.out
    assert "Traceback" not in outcome.out + outcome.err


def test_a_wrong_password_is_said_to_be_wrong(installation: Running) -> None:
    with secret(installation, "kafka-agency-svb--nabestaanden", b"not-the-password"):
        outcome = command(
            "integrator", "subscribe", "brp/person", "--agency", "svb", "--purpose", "nabestaanden", "--max", "1",
            "--data", installation.data, seconds=SECONDS,
        )  # fmt: skip
    assert "agency-svb--nabestaanden" in one_message(outcome, "kafka-wrong-password")
    assert "not-the-password" not in outcome.err
    with secret(installation, "kafka-admin", b"not-the-password"):
        outcome = command("integrator", "topics", "plan", "--data", installation.data, seconds=SECONDS)
    one_message(outcome, "kafka-wrong-password")


def test_a_wrong_token_is_said_to_be_unknown(installation: Running) -> None:
    with secret(installation, "token-operator", b"not-the-token"):
        outcome = command("integrator", "status", "--data", installation.data, seconds=SECONDS)
    one_message(outcome, "not-authenticated")


def test_events_that_break_the_contract_are_named_by_line_and_not_by_value(
    installation: Running, tmp_path: Path
) -> None:
    event = {
        "stream": "brp/person", "id": "00000000-0000-4000-8000-000000000001", "time": "2026-01-01T00:00:00Z",
        "value": {"bsn": "999999990"},
    }  # fmt: skip
    (tmp_path / "events.jsonl").write_text(json.dumps(event) + "\n", "utf-8")
    words = ("publish", tmp_path / "events.jsonl", "--source", "brp", "--data", installation.data)
    outcome = command("integrator", *words, seconds=SECONDS)
    one_message(outcome, "contract")
    assert "999999990" not in outcome.err
    (tmp_path / "events.jsonl").write_text("{}\n", "utf-8")
    assert "ine 1" in one_message(command("integrator", *words, seconds=SECONDS), "event-line")


@pytest.fixture
def halted(installation: Running) -> Iterator[Running]:
    """The installation with its processes stopped and its broker running; it runs again afterwards."""
    assert installation.halt() == 0
    yield installation
    installation.run()


def test_a_taken_port_another_key_and_a_wrong_password_keep_an_installation_from_running(halted: Running) -> None:
    heard = bytearray()
    with occupied(heard) as port:
        outcome = command("integrator", "run", "--data", halted.data, seconds=SECONDS, INTEGRATOR_HTTP_PORT=str(port))
    said = one_message(outcome, "process")
    assert "port-in-use" in said
    assert str(port) in said
    assert b"Bearer" not in heard, "a stranger on the port was shown the operator's token"
    with secret(halted, "ledger-signing", bytes(32)):
        outcome = command("integrator", "run", "--data", halted.data, seconds=SECONDS)
        assert "key" in one_message(outcome, "process")
    with secret(halted, "kafka-admin", b"not-the-password"):
        outcome = command("integrator", "run", "--data", halted.data, seconds=SECONDS)
        one_message(outcome, "kafka-wrong-password")


def test_what_asks_a_stopped_installation_hears_that_it_does_not_answer(halted: Running) -> None:
    outcome = command("integrator", "status", "--data", halted.data, seconds=SECONDS)
    one_message(outcome, "api-unreachable")
    assert outcome.code == 2


def test_a_ledger_file_that_is_no_ledger_fails_its_check(played: Played, tmp_path: Path) -> None:
    ledger = copytree(played.files / "ledger", tmp_path / "ledger")
    (file,) = ledger.glob("s0-*.sqlite")
    for path in ledger.glob("s0-*.sqlite-*"):
        path.unlink()
    file.write_bytes(b"no database at all" * 1000)
    outcome = command("integrator-audit", "fsck", file, seconds=SECONDS)
    assert outcome.code == 1
    assert "ledger-damaged" in outcome.err
    assert "Traceback" not in outcome.err
