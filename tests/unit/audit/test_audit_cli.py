from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from integrator_audit import Signer
from integrator_audit.cli.main import app, main
from tests.unit.audit.audit_samples import GENERATION_KEY, ORIGIN, Place, signer


@pytest.fixture
def site(filled: Place, tmp_path: Path) -> Path:
    filled.reader().export(tmp_path / "site")
    return tmp_path / "site"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Run the program with a state directory of its own."""

    def start(*arguments: object) -> Result:
        environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)

    return start


def test_verify_says_what_holds_and_that_it_is_the_first_look(run: Callable[..., Result], site: Path) -> None:
    result = run("verify", site, "--vkey", signer().vkey)
    assert result.exit_code == 0
    assert "785 entries" in result.stdout
    assert "first look" in result.stdout
    again = run("verify", site, "--vkey", signer().vkey)
    assert again.exit_code == 0
    assert "It extends the 785 entries" in again.stdout
    assert "first look" not in again.stdout


def test_verify_answers_programs_with_one_object(run: Callable[..., Result], site: Path) -> None:
    document = json.loads(run("verify", site, "--vkey", signer().vkey, "--json").stdout)
    assert document["result"] == "verified"
    assert (document["origin"], document["size"], document["previousSize"]) == (ORIGIN, 785, None)
    assert document["findings"] == []
    assert json.loads(run("verify", site, "--vkey", signer().vkey, "--json").stdout)["previousSize"] == 785


def test_the_key_may_stand_in_a_file_and_the_memory_elsewhere(
    run: Callable[..., Result], site: Path, tmp_path: Path
) -> None:
    (tmp_path / "log.vkey").write_text(signer().vkey + "\n")
    result = run("verify", site, "--vkey", tmp_path / "log.vkey", "--state", tmp_path / "memory")
    assert result.exit_code == 0
    assert len(list((tmp_path / "memory").iterdir())) == 1
    assert not (tmp_path / "state").exists()


def test_a_wrong_file_is_exit_1_and_named(run: Callable[..., Result], site: Path) -> None:
    tile = site / "tile/0/001"
    tile.write_bytes(b"x" + tile.read_bytes()[1:])
    result = run("verify", site, "--vkey", signer().vkey)
    assert result.exit_code == 1
    assert "tile/0/001: hash 0" in result.stdout
    document = json.loads(run("verify", site, "--vkey", signer().vkey, "--json").stdout)
    assert document["result"] == "failed"
    assert [finding["where"] for finding in document["findings"]] == ["tile/0/001"]


def test_another_key_is_exit_1(run: Callable[..., Result], site: Path) -> None:
    result = run("verify", site, "--vkey", Signer.generate(ORIGIN).vkey)
    assert (result.exit_code, "FAILED" in result.stderr) == (1, True)
    document = json.loads(run("verify", site, "--vkey", Signer.generate(ORIGIN).vkey, "--json").stdout)
    assert (document["result"], document["code"]) == ("failed", "note-signature")


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "no-such-directory", "--vkey", signer().vkey),
        ("verify", "http://127.0.0.1:9/log", "--vkey", signer().vkey),
        ("verify", "ftp://127.0.0.1/log", "--vkey", signer().vkey),
        ("verify", ".", "--vkey", "no key at all"),
        ("verify", "."),
        ("fsck", "no-such-file"),
        ("fsck", "no-such-file", "--vault", "v"),
        ("unknown",),
    ],
)
def test_what_cannot_be_judged_is_exit_2_without_a_stack_trace(
    run: Callable[..., Result], arguments: tuple[str, ...]
) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert result.output.strip()


def test_what_cannot_be_judged_is_json_too(run: Callable[..., Result]) -> None:
    result = run("verify", "no-such-directory", "--vkey", signer().vkey, "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["result"], document["code"]) == (2, "unknown", "no-such-directory")


def test_fsck_checks_files_with_and_without_the_vault(
    run: Callable[..., Result], filled: Place, tmp_path: Path
) -> None:
    result = run("fsck", filled.ledger_file)
    assert result.exit_code == 0
    assert "give --vault" in result.stdout
    (tmp_path / "key").write_bytes(GENERATION_KEY)
    options = ("--vault", filled.vault_file, "--generation-key", tmp_path / "key", "--vkey", signer().vkey)
    result = run("fsck", filled.ledger_file, filled.ledger_file, *options, "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["result"]) == (0, "holds")
    assert [(file["size"], file["vault"], file["findings"]) for file in document["files"]] == [(785, True, [])] * 2


def test_fsck_names_a_flipped_byte_and_exits_1(run: Callable[..., Result], log: Place) -> None:
    log.damage("UPDATE entry SET h = flip(h, 4) WHERE idx = 5")
    result = run("fsck", log.ledger_file)
    assert result.exit_code == 1
    assert "row of entry 5, part A" in result.stdout
    document = json.loads(run("fsck", log.ledger_file, "--json").stdout)
    assert document["result"] == "failed"
    assert document["files"][0]["findings"][0]["where"] == "row of entry 5, part A"


def test_the_installed_program_runs_alone(filled: Place, tmp_path: Path) -> None:
    filled.reader().export(tmp_path / "site")
    command = shutil.which("integrator-audit", path=str(Path(sys.executable).parent))
    assert command is not None
    arguments = [command, "verify", str(tmp_path / "site"), "--vkey", signer().vkey, "--state", str(tmp_path / "state")]
    done = subprocess.run(arguments, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_library_knows_nothing_of_the_integrator() -> None:
    script = "import sys, integrator_audit.cli.main; print([m for m in sys.modules if m.split('.')[0] == 'integrator'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def program(*arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
    """Run the program as people do, in a process of its own."""
    code = "from integrator_audit.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        text=True,
        check=False,
        **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more),  # type: ignore[call-overload]
    )


def test_what_was_typed_wrongly_is_no_proof_and_programs_get_an_object() -> None:
    for arguments in (("verify",), ("verify", "x", "--bogus"), ("nonsense",)):
        assert program(*arguments).returncode == 2
        answer = program(*arguments, "--json")
        assert (answer.returncode, answer.stderr) == (2, "")
        assert json.loads(answer.stdout)["code"] == "usage"


def test_python_runs_the_package_as_the_program() -> None:
    command = [sys.executable, "-m", "integrator_audit", "verify", "--json"]
    answer = subprocess.run(command, text=True, check=False, capture_output=True)
    assert (answer.returncode, json.loads(answer.stdout)["code"]) == (2, "usage")


def test_an_answer_that_nobody_reads_is_no_proof() -> None:
    for arguments in (("verify", "none", "--vkey", "x", "--json"), ("verify", "--json"), ("--help",)):
        reading, writing = os.pipe()
        os.close(reading)
        answer = program(*arguments, stdout=writing)
        os.close(writing)
        assert (answer.returncode, answer.stderr) == (2, "")


def test_a_mistake_in_the_program_is_no_proof(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def mistaken(*_: object, **__: object) -> None:
        raise TypeError("a mistake")

    monkeypatch.setattr("integrator_audit.cli.checking.read_trust", mistaken)
    with pytest.raises(SystemExit) as caught:
        main(["verify", "x"])
    assert caught.value.code == 2
    assert "TypeError at test_audit_cli.py:" in capsys.readouterr().err


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_fault_of_the_program_is_no_proof_and_tells_nobodys_number(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise ValueError("999990019")

    monkeypatch.setattr("integrator_audit.cli.main.app", break_down)
    with pytest.raises(SystemExit) as ended:
        main(["verify", *options])
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert "999990019" not in said.out + said.err
    assert "Traceback" not in said.out + said.err
    assert "ValueError at test_audit_cli.py:" in (said.out if options else said.err)
    assert not options or json.loads(said.out)["code"] == "program-fault"


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize("full", [("stdout",), ("stderr",), ("stdout", "stderr")])
def test_an_answer_that_cannot_be_written_is_no_proof(options: tuple[str, ...], full: tuple[str, ...]) -> None:
    for arguments in (("verify", "none", "--vkey", "x"), ("verify",), ("nonsense",)):
        with Path("/dev/full").open("wb") as device:
            answer = program(*arguments, *options, **dict.fromkeys(full, device))
        told = f"{arguments}: {answer.stdout or ''}{answer.stderr or ''}"
        assert answer.returncode == 2, told
        assert "Traceback" not in told
        assert "program-fault" not in told


def test_an_output_that_was_closed_before_leaves_the_exit_code(site: Path, tmp_path: Path) -> None:
    known = f"--vkey {signer().vkey} --state {tmp_path / 'state'}"
    code = "from integrator_audit.cli.main import main; main()"
    for location, expected in ((site, 0), (tmp_path / "none", 2)):
        command = f"{sys.executable} -c '{code}' verify {location} {known} >&-"
        answer = subprocess.run(["sh", "-c", command], text=True, check=False, capture_output=True)
        assert (answer.returncode, "program-fault" in answer.stderr) == (expected, False), answer.stderr
