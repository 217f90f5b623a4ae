from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from integrator_audit import Signer
from integrator_audit.cli.main import app
from integrator_audit.note import Note, join_note
from integrator_audit.witnessing.addcheckpoint import AddCheckpoint
from integrator_audit.witnessing.client import HttpExchange
from integrator_audit.witnessing.cosignature import Cosigner
from tests.unit.audit.audit_samples import ORIGIN, Place, signer
from tests.unit.audit.witness_samples import COSIGNERS, SampleLog

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def start(*arguments: object) -> Result:
        environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)

    return start


@pytest.fixture
def site(filled: Place, tmp_path: Path) -> Path:
    filled.reader().export(tmp_path / "site")
    return tmp_path / "site"


def write_policy(path: Path, *, log: bool = True) -> Path:
    lines = [f"log {signer().vkey}"] if log else []
    lines += [f"witness w{number} {cosigner.key.vkey}" for number, cosigner in enumerate(COSIGNERS)]
    path.write_text("\n".join([*lines, "group two 2 w0 w1 w2", "quorum two", ""]))
    return path


def cosign(site: Path, *cosigners: Cosigner, at: int) -> None:
    note = Note.parse((site / "checkpoint").read_bytes())
    text = note.unverified_text
    (site / "checkpoint").write_bytes(join_note(text, [*note.signatures, *(it.cosign(text, at) for it in cosigners)]))


def test_with_a_quorum_of_witnesses_a_log_is_verified(run: Run, site: Path, tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "policy")
    cosign(site, *COSIGNERS[:2], at=int(time.time()))
    for key in ((), ("--vkey", signer().vkey)):
        result = run("verify", site, "--policy", policy, *key)
        assert (result.exit_code, "A quorum of witnesses cosigned it" in result.stdout) == (0, True), result.output
    document = json.loads(run("verify", site, "--policy", policy, "--json").stdout)
    assert (document["result"], document["quorum"], sorted(document["cosigned"])) == ("verified", True, ["w0", "w1"])
    assert document["vkey"] == signer().vkey


def test_without_a_quorum_it_could_not_be_told(run: Run, site: Path, tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "policy", log=False)
    cosign(site, COSIGNERS[0], at=int(time.time()))
    result = run("verify", site, "--policy", policy, "--vkey", signer().vkey)
    assert (result.exit_code, "w0 cosigned it, no quorum" in result.stdout) == (2, True)
    document = json.loads(run("verify", site, "--policy", policy, "--vkey", signer().vkey, "--json").stdout)
    assert (document["result"], document["code"], document["quorum"]) == ("unknown", "no-quorum", False)


def test_an_old_quorum_does_not_say_how_the_log_is_now(run: Run, site: Path, tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "policy")
    cosign(site, *COSIGNERS[:2], at=int(time.time()) - 49 * 3600)
    result = run("verify", site, "--policy", policy)
    assert (result.exit_code, "there may be a newer log" in result.stdout) == (2, True)
    assert run("verify", site, "--policy", policy, "--max-age", 50).exit_code == 0


def test_a_key_file_that_is_not_there_is_named(run: Run, site: Path, tmp_path: Path) -> None:
    result = run("verify", site, "--vkey", tmp_path / "other.vkey", "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["code"]) == (2, "file-unreadable")
    assert "other.vkey" in document["message"]


@pytest.mark.parametrize("hours", ["inf", "nan", "1e300", "-1"])
def test_an_age_that_no_clock_counts_to_is_refused(run: Run, site: Path, tmp_path: Path, hours: str) -> None:
    policy = write_policy(tmp_path / "policy")
    for command in (("verify", site), ("monitor", site, "--once")):
        result = run(*command, "--policy", policy, "--max-age", hours)
        assert (result.exit_code, "--max-age" in result.output) == (2, True)


def test_a_proof_that_failed_comes_before_a_quorum_that_is_missing(run: Run, site: Path, tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "policy")
    tile = site / "tile/0/001"
    data = tile.read_bytes()
    tile.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    assert run("verify", site, "--policy", policy).exit_code == 1
    cosign(site, Cosigner(COSIGNERS[0].name, COSIGNERS[0].seed), at=int(time.time()))
    changed = (site / "checkpoint").read_bytes()
    wrong = COSIGNERS[1].cosign(b"x.example\n1\n" + b"A" * 43 + b"=\n", 5).line
    (site / "checkpoint").write_bytes(changed + wrong)
    assert run("verify", site, "--policy", policy).exit_code == 1


def test_a_policy_of_other_logs_a_wrong_file_or_no_key_at_all_is_exit_2(run: Run, site: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text(f"log {Signer('other.example', bytes(32)).vkey}\nquorum none\n")
    (tmp_path / "wrong").write_text("quorum nobody\n")
    for arguments in (
        ("--policy", tmp_path / "other"),
        ("--policy", tmp_path / "wrong", "--vkey", signer().vkey),
        ("--policy", tmp_path / "absent", "--vkey", signer().vkey),
        (),
        ("--keys", tmp_path / "other"),
        ("--keys", tmp_path / "other", "--keys-root", tmp_path / "other", "--vkey", signer().vkey),
    ):
        result = run("verify", site, *arguments)
        assert (result.exit_code, "Traceback" in result.output) == (2, False), result.output


def test_the_policy_without_witnesses_says_that_it_asks_for_none(run: Run, site: Path, tmp_path: Path) -> None:
    (tmp_path / "policy").write_text(f"log {signer().vkey}\nquorum none\n")
    result = run("verify", site, "--policy", tmp_path / "policy")
    assert (result.exit_code, "asks for no witnesses" in result.stdout) == (0, True)
    assert "No witnesses were asked for" in run("verify", site, "--vkey", signer().vkey).stdout


@pytest.mark.parametrize("kind", ["log", "witness", "offline"])
def test_keygen_writes_the_secret_for_its_owner_only_and_never_twice(run: Run, tmp_path: Path, kind: str) -> None:
    result = run("keygen", kind, "some.example/name", "--out", "key")
    assert result.exit_code == 0
    assert result.stdout.startswith("some.example/name+")
    secret = (tmp_path / "key").read_text()
    assert secret.startswith("PRIVATE+KEY+some.example/name+")
    assert secret.strip() not in result.output
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    again = run("keygen", kind, "some.example/name", "--out", "key", "--json")
    assert (again.exit_code, json.loads(again.stdout)["code"]) == (2, "file-exists")
    assert (tmp_path / "key").read_text() == secret
    assert run("keygen", kind, "no+name", "--out", "other").exit_code == 2
    assert json.loads(run("keygen", kind, "some.example/name", "--out", "third", "--json").stdout)["kind"] == kind


def test_keys_are_changed_with_two_of_three_offline_signatures(run: Run, site: Path, tmp_path: Path) -> None:
    for number in range(3):
        vkey = run("keygen", "offline", f"offline{number}.example", "--out", f"off{number}").stdout
        (tmp_path / f"off{number}.vkey").write_text(vkey)
    assert run("rotate", "root", "off0.vkey", "off1.vkey", "off2.vkey", "--out", "root").exit_code == 0
    assert run("rotate", "prepare", "--add", signer().vkey, "--out", "v1").exit_code == 0
    assert run("rotate", "sign", "v1", "--key", "off0", "--out", "v1.0").exit_code == 0
    few = run("rotate", "join", "v1.0", "--keys-root", "root", "--out", "keys1")
    assert (few.exit_code, "needs 2" in few.stderr) == (1, True)
    assert run("rotate", "sign", "v1", "--key", "off2", "--out", "v1.2", "--json").exit_code == 0
    joined = run("rotate", "join", "v1.0", "v1.2", "--keys-root", "root", "--out", "keys1", "--json")
    assert json.loads(joined.stdout)["signedBy"] == ["offline0.example", "offline2.example"]

    verified = run("verify", site, "--keys", "keys1", "--keys-root", "root")
    assert verified.exit_code == 0, verified.output

    new = run("keygen", "log", ORIGIN, "--out", "newkey").stdout.strip()
    prepared = run(
        "rotate", "prepare", "--current", "keys1", "--add", new, "--from", 900, "--until", 1000, "--out", "v2"
    )
    assert "Before the log reaches size 900" in prepared.stdout
    for number in (0, 1):
        assert run("rotate", "sign", "v2", "--key", f"off{number}", "--out", f"v2.{number}").exit_code == 0
    assert run("rotate", "join", "v1.0", "v2.1", "--keys-root", "root", "--out", "mixed").exit_code == 2
    arguments = ("rotate", "join", "v2.0", "v2.1", "--keys-root", "root", "--current", "keys1", "--out", "keys2")
    assert run(*arguments).exit_code == 0
    assert run("verify", site, "--keys", "keys2", "--keys-root", "root").exit_code == 0
    back = run("verify", site, "--keys", "keys1", "--keys-root", "root")
    assert (back.exit_code, "keys-back" in back.stderr) == (1, True)


def test_a_closed_log_is_verified_with_witnesses_only_and_no_further(run: Run, site: Path, tmp_path: Path) -> None:
    vkey = run("keygen", "offline", "offline.example", "--out", "off").stdout.strip()
    assert run("rotate", "root", vkey, "--threshold", 1, "--out", "root").exit_code == 0
    for size in (785, 784):
        prepared = run("rotate", "prepare", "--add", signer().vkey, "--close", size, "--out", f"v{size}", "--json")
        assert "Stop the ledger" in json.loads(prepared.stdout)["duties"][2]
        assert run("rotate", "sign", f"v{size}", "--key", "off", "--out", f"s{size}").exit_code == 0
        joined = run("rotate", "join", f"s{size}", "--keys-root", "root", "--out", f"keys{size}")
        assert joined.exit_code == 0
    trust = ("--keys-root", "root", "--state", "memory")
    assert run("verify", site, "--keys", "keys785", *trust).exit_code == 2
    policy = write_policy(tmp_path / "policy")
    cosign(site, *COSIGNERS[:2], at=int(time.time()) - 400 * 24 * 3600)
    assert run("verify", site, "--keys", "keys785", *trust, "--policy", policy).exit_code == 0
    beyond = run("verify", site, "--keys", "keys784", "--keys-root", "root", "--state", "m2", "--policy", policy)
    assert (beyond.exit_code, "log-closed" in beyond.stderr) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("rotate", "prepare", "--out", "x"),
        ("rotate", "prepare", "--add", signer().vkey, "--from", "5", "--out", "x"),
        ("rotate", "prepare", "--current", "absent", "--out", "x"),
        ("rotate", "sign", "absent", "--key", "absent", "--out", "x"),
        ("rotate", "root", signer().vkey, "--out", "x"),
        ("keygen", "log", ORIGIN, "--out", "no/such/directory"),
        ("witness", "--key", "absent", "--logs", "absent", "--state", "x"),
    ],
)
def test_what_cannot_be_done_is_exit_2_without_a_stack_trace(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert (result.exit_code, "Traceback" in result.output) == (2, False), result.output
    assert not Path("x").exists()


def test_a_secret_key_is_not_read_from_a_file_of_something_else(run: Run, tmp_path: Path) -> None:
    assert run("rotate", "prepare", "--add", signer().vkey, "--out", "v1").exit_code == 0
    for content in (b"\xff", b"", COSIGNERS[0].text.encode(), b"x" * (2 << 20)):
        (tmp_path / "key").write_bytes(content)
        assert run("rotate", "sign", "v1", "--key", "key", "--out", "out").exit_code == 2


def test_the_witness_runs_as_a_program_until_it_is_told_to_stop(tmp_path: Path) -> None:
    log = SampleLog()
    (tmp_path / "key").write_text(COSIGNERS[0].text + "\n")
    (tmp_path / "logs").write_text(f"log {log.signer.vkey}\nquorum none\n")
    arguments = ["witness", "--key", "key", "--logs", "logs", "--state", "state", "--listen", "127.0.0.1:0", "--json"]
    script = "from integrator_audit.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    assert (said["vkey"], said["logs"]) == (COSIGNERS[0].key.vkey, 1)
    log.grow(3)
    answer = HttpExchange(said["listening"])(AddCheckpoint(0, (), log.head.note).body)
    assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
