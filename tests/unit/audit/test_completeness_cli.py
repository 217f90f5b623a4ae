from __future__ import annotations

import gzip
import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from integrator_audit.cli.main import app
from integrator_audit.encoding import to_base64
from integrator_audit.note import Note, Signer
from integrator_audit.openingfile import opening_json
from integrator_audit.witnessing.cosignature import verified_cosignatures
from tests.unit.audit.label_samples import certificate, label_signer
from tests.unit.audit.lying.files import MemorySource
from tests.unit.audit.lying.operator import CHECKER, POLICY, SUPERVISOR, Document, Operator

ANN, BOB = "bsn:999990019", "bsn:999990020"


@pytest.fixture(scope="module")
def operator() -> Operator:
    operator = Operator()
    for _ in range(3):
        for at in range(3):
            operator.deliver(f"bsn:{at}", "svb")
        operator.deliver(ANN, "svb")
        operator.end_day()
    return operator


def write(source: MemorySource, directory: Path) -> Path:
    for path, data in source.files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return directory


@pytest.fixture
def site(operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with everything that an operator publishes and hands out, soon after the last day."""
    write(operator.source(), tmp_path / "epochs")
    for shard in operator.shards:
        write(operator.shard_source(shard, 0), tmp_path / f"s{shard}")
    (tmp_path / "history.json").write_text(json.dumps(operator.history(ANN)))
    (tmp_path / "account.jsonl").write_text("\n".join(map(json.dumps, operator.account("svb"))))
    (tmp_path / "number").write_text(ANN + "\n")
    (tmp_path / "secret").write_bytes(operator.secret_of("svb"))
    (tmp_path / "policy").write_bytes(POLICY)
    lines = [json.dumps(line) for line in operator.received("svb")]
    (tmp_path / "received.jsonl").write_text("\n".join(lines))
    dossier = b"\n".join(json.dumps(line).encode() for line in operator.dossier())
    (tmp_path / "dossier.jsonl.gz").write_bytes(gzip.compress(dossier))
    (tmp_path / "checker.key").write_text(CHECKER.text)
    monkeypatch.setattr("time.time", lambda: float(operator.now()))
    return tmp_path


@pytest.fixture
def run(site: Path, operator: Operator) -> Callable[..., Result]:
    """Run a command about completeness on the site, with what the person trusts."""

    def start(command: str, *arguments: object, trust: bool = True) -> Result:
        given = ["--epochs", site / "epochs", "--vkey", operator.epoch_signer.vkey, "--state", site / "state"]
        given += ["--policy", site / "policy", "--cosigner", CHECKER.key.vkey] if trust else []
        return CliRunner().invoke(app, [str(item) for item in (command, *arguments, *given)])

    return start


def test_a_person_is_told_what_was_found_and_how_complete_it_is(run: Callable[..., Result], site: Path) -> None:
    result = run("history", site / "history.json", "--number-file", site / "number")
    assert result.exit_code == 0, result.output
    assert "2000-01-02: date 2000-01-02, recipient svb, purpose benefits (entry" in result.stdout
    assert "3 entries on 2000-01-01 to 2000-01-03" in result.stdout
    assert "complete, except for at most 4 entries a day over all people" in result.stdout
    assert "first look" in result.stdout
    assert ANN not in result.output


def test_programs_get_one_object(run: Callable[..., Result], site: Path) -> None:
    document = json.loads(run("history", site / "history.json", "--number-file", site / "number", "--json").stdout)
    assert (document["result"], document["unlisted"], document["doubts"]) == ("verified", 4, [])
    assert [(day["first"], len(day["entries"])) for day in document["days"]] == [
        (f"2000-01-0{at}", 1) for at in (1, 2, 3)
    ]
    assert set(document["days"][0]["entries"][0]["parts"]) == {"A", "S"}


def test_without_the_checking_cosigner_it_is_not_checked_for_omission(run: Callable[..., Result], site: Path) -> None:
    given = ("history", site / "history.json", "--number-file", site / "number")
    result = run(*given, "--policy", site / "policy", trust=False)
    assert result.exit_code == 2
    assert "not checked for omission" in result.stdout
    result = run(*given, "--json", trust=False)
    document = json.loads(result.stdout)
    assert result.exit_code == 2
    assert [doubt["code"] for doubt in document["doubts"]] == ["no-policy", "not-checked-for-omission"]
    assert document["code"] == "no-policy"


def test_the_cosigner_may_be_named_as_a_witness_of_the_policy(run: Callable[..., Result], site: Path) -> None:
    (site / "policy").write_bytes(POLICY + f"witness checking {CHECKER.key.vkey}\n".encode())
    given = ("--number-file", site / "number", "--policy", site / "policy", "--cosigner", "checking")
    assert run("history", site / "history.json", *given, trust=False).exit_code == 0


def test_a_lie_is_exit_1_with_its_name(run: Callable[..., Result], site: Path, operator: Operator) -> None:
    document = operator.history(ANN)
    document["days"].pop(1)
    (site / "history.json").write_text(json.dumps(document))
    result = run("history", site / "history.json", "--number-file", site / "number")
    assert result.exit_code == 1
    assert "no answer for 2000-01-02 (day-missing)" in result.stderr
    (site / "history.json").write_text('{"schema": 1, "schema": 2}')
    result = run("history", site / "history.json", "--number-file", site / "number", "--json")
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (1, "document-malformed")


def test_the_number_is_no_argument_and_is_asked_for_on_a_terminal_only(run: Callable[..., Result], site: Path) -> None:
    result = run("history", site / "history.json")
    assert result.exit_code == 2
    assert "--number-file" in result.stderr
    assert "--number " not in CliRunner().invoke(app, ["history", "--help"]).stdout
    (site / "number").write_text("999990019")
    result = run("history", site / "history.json", "--number-file", site / "number")
    assert (result.exit_code, "999990019" in result.output) == (2, False)


def test_days_are_asked_for_by_their_dates(run: Callable[..., Result], site: Path, operator: Operator) -> None:
    (site / "history.json").write_text(json.dumps(operator.history(ANN, first=1, last=1)))
    given = ("history", site / "history.json", "--number-file", site / "number")
    assert run(*given, "--since", "2000-01-02", "--until", "2000-01-02").exit_code == 0
    assert run(*given).exit_code == 1
    assert run(*given, "--since", "yesterday").exit_code == 2


def test_a_receipt_has_to_be_listed(run: Callable[..., Result], site: Path, operator: Operator) -> None:
    mine = next(kept for kept in operator.kept(0) if kept.number == ANN)
    other = next(kept for kept in operator.kept(0) if kept.number == "bsn:0")
    given: tuple[Any, ...] = ("history", site / "history.json", "--number-file", site / "number")
    for entry, code in ((mine, 0), (other, 1)):
        size = len(operator.entries[0][entry.place[0]])
        (site / "receipt.json").write_bytes(opening_json(operator.opening(entry, "AD", size=size)))
        keys = ("--shard-vkey", operator.signer(entry.origin).vkey, "--receipt", site / "receipt.json")
        assert run(*given, *keys).exit_code == code
    result = run(*given, "--receipt", site / "receipt.json")
    assert (result.exit_code, "receipt-vkey" in result.stderr) == (2, True)


def test_an_agency_is_told_that_nothing_differs_or_what_does(run: Callable[..., Result], site: Path) -> None:
    given = ("account", site / "account.jsonl", "--received", site / "received.jsonl", "--secret-file", site / "secret")
    result = run(*given)
    assert result.exit_code == 0, result.output
    assert "svb: 12 entries on 3 days, 12 deliveries received." in result.stdout
    assert "Nothing differs." in result.stdout
    lines = (site / "received.jsonl").read_text().splitlines()
    (site / "received.jsonl").write_text("\n".join(lines[1:]))
    result = run(*given, "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["result"]) == (1, "failed")
    assert [finding["code"] for finding in document["findings"]] == ["invented"]
    result = run(*given)
    assert result.exit_code == 1
    assert "the ledger has an entry, and nothing was received (invented)" in result.stdout
    (site / "secret").write_text("c2hvcnQ=")
    assert run(*given).exit_code == 2


def test_deliveries_that_erased_entries_may_have_been_about_are_not_passed_over(
    run: Callable[..., Result], site: Path, operator: Operator
) -> None:
    (entry, *_) = operator.kept(0)
    entry.erased = "order"
    (site / "account.jsonl").write_text("\n".join(map(json.dumps, operator.account("svb"))))
    entry.erased = None
    given = ("account", site / "account.jsonl", "--received", site / "received.jsonl", "--secret-file", site / "secret")
    result = run(*given)
    assert (result.exit_code, "(erased-uncompared)" in result.stdout) == (2, True)
    document = json.loads(run(*given, "--json").stdout)
    assert (document["result"], document["code"], document["uncompared"]) == ("unknown", "erased-uncompared", 1)


def test_days_that_end_before_they_begin_prove_nothing(run: Callable[..., Result], site: Path) -> None:
    given = ("history", site / "history.json", "--number-file", site / "number")
    result = run(*given, "--since", "2000-01-03", "--until", "2000-01-02")
    assert (result.exit_code, "(no-days)" in result.stderr) == (2, True)
    assert run(*given, "--since", "2001-01-01").exit_code == 2


def cosign(site: Path, operator: Operator, *more: object) -> Result:
    given: list[object] = ["cosign", site / "dossier.jsonl.gz", "--epochs", site / "epochs"]
    given += ["--vkey", operator.epoch_signer.vkey, "--supervisor", SUPERVISOR.vkey, "--unlisted", 4]
    given += ["--key", site / "checker.key", "--memory", site / "memory", "--out", site / "cosigned"]
    given += ["--state", site / "checker-state"]
    for shard in operator.shards:
        given += ["--log", site / f"s{shard}", "--log-vkey", operator.signer(operator.origin(shard, 0)).vkey]
    return CliRunner().invoke(app, [str(item) for item in (*given, *more)])


def test_the_checking_cosigner_signs_what_it_has_accounted_for(site: Path, operator: Operator) -> None:
    result = cosign(site, operator)
    assert result.exit_code == 0, result.output
    assert "2000-01-02: 4 listed, 4 padding, 0 withheld, 0 released: every entry is accounted for." in result.stdout
    note = Note.parse((site / "cosigned").read_bytes())
    assert [one.time for one in verified_cosignatures(note, [CHECKER.key], now=operator.now())] == [operator.now()]
    # After a crash between the memory and the file it signs again, and checks nothing twice.
    (site / "cosigned").unlink()
    document = json.loads(cosign(site, operator, "--json").stdout)
    assert (document["result"], document["days"], document["size"]) == ("cosigned", [], 3)
    assert (site / "cosigned").exists()


def test_the_checking_cosigner_does_not_sign_a_lie(site: Path, operator: Operator) -> None:
    lines: list[Document] = operator.dossier()
    unlisted = next(at for at, line in enumerate(lines) if "unlisted" in line)
    del lines[unlisted]
    (site / "dossier.jsonl.gz").write_bytes(b"\n".join(json.dumps(line).encode() for line in lines))
    result = cosign(site, operator)
    assert (result.exit_code, "index-left-out" in result.stderr) == (1, True)
    assert not (site / "cosigned").exists()
    assert not (site / "memory").exists()


def test_the_checking_cosigner_needs_all_days_and_all_logs(site: Path, operator: Operator) -> None:
    lines = operator.dossier(last=1)
    (site / "dossier.jsonl.gz").write_bytes(b"\n".join(json.dumps(line).encode() for line in lines))
    result = cosign(site, operator)
    assert (result.exit_code, "dossier-days" in result.stderr) == (2, True)
    (site / "dossier.jsonl.gz").write_bytes(b"\n".join(json.dumps(line).encode() for line in operator.dossier()))
    write(Operator().shard_source(0, 0), site / "elsewhere")
    (site / "elsewhere" / "checkpoint").write_bytes(Signer.generate("other").sign(b"other\n0\nAAAA\n"))
    result = cosign(site, operator, "--log", site / "elsewhere")
    assert (result.exit_code, "log-vkey" in result.stderr) == (2, True)


def test_a_forked_epoch_log_is_not_cosigned(site: Path, operator: Operator) -> None:
    assert cosign(site, operator).exit_code == 0
    fork = Operator()
    fork.epoch_signer = operator.epoch_signer
    for _ in range(4):
        fork.deliver("bsn:7", "svb")
        fork.end_day()
    write(fork.source(), site / "epochs")
    result = cosign(site, operator)
    assert (result.exit_code, "(fork)" in result.stderr) == (1, True)


def other_days(operator: Operator, count: int) -> Operator:
    """Return an operator with the same key who tells something else of as many days."""
    other = Operator()
    other.epoch_signer = operator.epoch_signer
    for _ in range(count):
        other.deliver("bsn:7", "svb")
        other.end_day()
    return other


@pytest.mark.parametrize(("count", "code"), [(3, "fork"), (2, "rollback")])
def test_the_cosigners_own_memory_tells_a_fork_and_a_rollback_when_the_state_is_lost(
    site: Path, operator: Operator, count: int, code: str
) -> None:
    assert cosign(site, operator).exit_code == 0
    (site / "cosigned").unlink()
    shutil.rmtree(site / "checker-state")
    shutil.rmtree(site / "epochs")
    write(other_days(operator, count).source(), site / "epochs")
    result = cosign(site, operator)
    assert (result.exit_code, f"({code})" in result.stderr) == (1, True)
    assert not (site / "cosigned").exists()


def test_who_cosigns_again_leaves_one_line_and_not_one_for_each_time(site: Path, operator: Operator) -> None:
    lines = Note.parse((site / "epochs" / "checkpoint").read_bytes()).signatures
    for _ in range(2):
        assert cosign(site, operator).exit_code == 0
        (site / "epochs" / "checkpoint").write_bytes((site / "cosigned").read_bytes())
        assert len(Note.parse((site / "cosigned").read_bytes()).signatures) == len(lines)


def test_days_that_are_not_over_are_not_cosigned(
    site: Path, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: float(operator.now() - 2 * 86_400))
    result = cosign(site, operator)
    assert (result.exit_code, "epochs-ahead" in result.stderr) == (2, True)
    assert not (site / "cosigned").exists()


def test_what_is_cosigned_is_written_over_nothing_else(site: Path, operator: Operator) -> None:
    for name in ("checker.key", "memory", "dossier.jsonl.gz"):
        if name == "memory":
            assert cosign(site, operator).exit_code == 0
        before = (site / name).read_bytes()
        result = cosign(site, operator, "--out", site / name)
        assert (result.exit_code, "file-exists" in result.stderr) == (2, True), result.output
        assert (site / name).read_bytes() == before
    (site / "cosigned").write_bytes(b"")
    assert cosign(site, operator).exit_code == 0


@pytest.mark.parametrize("mark", [" ", "\u00a0", "\u200b", "\ufeff", "\uff11"])
def test_a_number_with_a_sign_that_no_number_has_accuses_nobody(
    run: Callable[..., Result], site: Path, mark: str
) -> None:
    (site / "number").write_text(ANN[:6] + mark + ANN[6:])
    result = run("history", site / "history.json", "--number-file", site / "number", "--json")
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (2, "person-number")
    assert ANN[6:] not in result.output


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_message_is_no_longer_than_people_can_read_whatever_it_repeats(
    run: Callable[..., Result], site: Path, options: tuple[str, ...]
) -> None:
    document = json.loads((site / "history.json").read_text())
    document["epochs"]["origin"] = "x" * 1_000_000
    (site / "history.json").write_text(json.dumps(document))
    result = run("history", site / "history.json", "--number-file", site / "number", *options)
    assert (result.exit_code, "history-other-log" in result.output) == (1, True)
    assert len(result.output) < 3_000


def test_a_line_of_what_was_received_that_is_too_long_says_nothing_of_the_ledger(
    run: Callable[..., Result], site: Path
) -> None:
    (site / "received").write_bytes(b"x" * 2_000_000)
    given = ("--received", site / "received", "--secret-file", site / "secret")
    result = run("account", site / "account.jsonl", *given, "--json")
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (2, "received-line")


@pytest.mark.parametrize("now", [0.0, -1.0, 1e12])
def test_a_clock_that_cannot_be_right_is_said(
    run: Callable[..., Result], site: Path, operator: Operator, monkeypatch: pytest.MonkeyPatch, now: float
) -> None:
    monkeypatch.setattr("time.time", lambda: now)
    for result in (
        run("history", site / "history.json", "--number-file", site / "number"),
        cosign(site, operator),
    ):
        assert (result.exit_code, "set it right (clock)" in result.stderr) == (2, True), result.output


def test_a_log_whose_checkpoint_cannot_be_read_is_named_to_the_cosigner(site: Path, operator: Operator) -> None:
    (site / "s0" / "checkpoint").write_bytes(b"<html>")
    result = cosign(site, operator)
    assert (result.exit_code, "checkpoint-malformed" in result.stderr) == (1, True), result.output
    assert str(site / "s0") in result.stderr


def sampled(site: Path, operator: Operator, *arguments: object) -> Result:
    given = ["--epochs", site / "epochs", "--vkey", operator.epoch_signer.vkey, "--state", site / "state"]
    return CliRunner().invoke(app, [str(item) for item in ("sample", *arguments, *given)])


def test_the_supervisor_draws_asks_and_compares(site: Path, operator: Operator) -> None:
    days = ("--first", "2000-01-01", "--last", "2000-01-03")
    made = sampled(site, operator, "draw", "--count", 100, "--out", site / "sample", *days, "--json")
    assert made.exit_code == 0, made.output
    told = json.loads(made.stdout)
    head, *lines = map(json.loads, (site / "sample").read_text().splitlines())
    assert (told["drawn"], told["first"], stat.S_IMODE((site / "sample").stat().st_mode)) == (
        len(lines),
        "2000-01-01",
        0o600,
    )
    again = sampled(site, operator, "draw", "--count", 1, "--out", site / "sample", "--json")
    assert (again.exit_code, json.loads(again.stdout)["code"]) == (2, "file-exists")

    check = ("check", site / "sample", site / "dossier.jsonl.gz", "--memory", site / "memory")
    early = sampled(site, operator, *check, "--json")
    assert (early.exit_code, json.loads(early.stdout)["code"]) == (2, "sample-days")
    assert cosign(site, operator).exit_code == 0
    unanswered = sampled(site, operator, *check)
    assert unanswered.exit_code == 2
    assert "(sample-unanswered)" in unanswered.stdout
    assert json.loads(sampled(site, operator, *check, "--json").stdout)["code"] == "sample-unanswered"

    roots = [to_base64(root) for root in certificate()]
    head["keys"] = [{"period": 0, "spki": to_base64(label_signer().spki), "certificate": roots}]
    for line in lines:
        number = operator.at((line["shard"], line["index"])).number
        line["people"] = [{"number": number, "y": to_base64(operator.y(number, 0))}] if number else []

    def answered(changed: list[Document]) -> Result:
        (site / "sample").write_text("\n".join(map(json.dumps, [head, *changed])))
        return sampled(site, operator, *check)

    result = answered(lines)
    assert result.exit_code == 0, result.output
    assert "12 drawn entries stand under their person, 12 are listed under nobody." in result.stdout
    at = next(at for at, line in enumerate(lines) if line["people"] and line["people"][0]["number"] == ANN)
    wrong = {"number": BOB, "y": to_base64(operator.y(BOB, 0))}
    result = answered([*lines[:at], lines[at] | {"people": [wrong]}, *lines[at + 1 :]])
    assert result.exit_code == 1
    assert "(attribution-other)" in result.stdout
    assert ANN not in result.output
    assert BOB not in result.output
    document = json.loads(sampled(site, operator, *check, "--json").stdout)
    assert (document["result"], document["attributed"], len(document["findings"])) == ("failed", 11, 1)
    # Where only what is unlisted was drawn, nothing was compared.
    result = answered([line for line in lines if not line["people"]])
    assert (result.exit_code, "(sample-unlisted)" in result.stderr) == (2, True)
