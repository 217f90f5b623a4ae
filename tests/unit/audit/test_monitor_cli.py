from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from integrator_audit import LedgerWriter, Signer
from integrator_audit.checkpoint import Checkpoint
from integrator_audit.cli.main import app
from integrator_audit.completeness.epoch import blank_leaf
from integrator_audit.encoding import from_base64
from integrator_audit.merkle import EMPTY_ROOT
from integrator_audit.rawlog import RawLog
from integrator_audit.reader import LedgerReader
from integrator_audit.witnessing.contradiction import Contradiction
from integrator_audit.witnessing.metrics import METRICS, Metrics, MetricsServer
from tests.unit.audit.audit_samples import Place, entry, signer

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def start(*arguments: object) -> Result:
        environment = {"XDG_STATE_HOME": str(tmp_path / "state")}
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)

    return start


def grown(place: Place, site: Path, count: int) -> None:
    ledger: LedgerWriter = place.ledger()
    ledger.append([entry(number) for number in range(count)])
    ledger.close()
    place.reader().export(site)


def test_an_interval_that_no_clock_counts_to_is_refused(run: Run, place: Place, tmp_path: Path) -> None:
    grown(place, tmp_path / "site", 1)
    for seconds in ("inf", "nan", "1e300", "-1"):
        result = run("monitor", tmp_path / "site", "--vkey", signer().vkey, "--interval", seconds)
        assert (result.exit_code, "--interval" in result.output) == (2, True)


def test_a_log_that_was_exported_anew_needs_no_tiles_of_earlier_sizes(run: Run, place: Place, tmp_path: Path) -> None:
    for name, count in (("first", 300), ("second", 20)):
        grown(place, tmp_path / name, count)
        result = run("monitor", tmp_path / name, "--vkey", signer().vkey, "--once", "--entries", "--json")
        document = json.loads(result.stdout)
        assert (result.exit_code, document["result"], document["read"]) == (0, "verified", count), result.output


def test_a_look_says_what_it_saw_and_the_next_one_goes_on(run: Run, place: Place, tmp_path: Path) -> None:
    site = tmp_path / "site"
    grown(place, site, 300)
    arguments = ("monitor", site, "--vkey", signer().vkey, "--once", "--entries")
    first = run(*arguments)
    assert (first.exit_code, "300 entries, 300 read: verified" in first.stdout) == (0, True)
    grown(place, site, 20)
    document = json.loads(run(*arguments, "--json").stdout)
    assert (document["result"], document["size"], document["previousSize"], document["read"]) == (
        "verified",
        320,
        300,
        20,
    )


def test_a_fork_ends_it_and_the_evidence_stands_in_a_file(run: Run, place: Place, tmp_path: Path) -> None:
    grown(place, tmp_path / "one", 300)
    other = place.copy("other")
    grown(place, tmp_path / "one", 10)
    grown(other, tmp_path / "two", 500)
    arguments = ("--vkey", signer().vkey, "--evidence", tmp_path / "evidence", "--json")
    assert run("monitor", tmp_path / "one", *arguments, "--once").exit_code == 0
    # Not only once: it ends by itself.
    result = run("monitor", tmp_path / "two", *arguments)
    document = json.loads(result.stdout)
    assert (result.exit_code, document["result"], document["code"]) == (1, "failed", "fork")
    kept = json.loads(Path(document["evidence"]).read_text())
    assert [from_base64(note, what="a note") for note in kept["notes"]] == [
        (tmp_path / name / "checkpoint").read_bytes() for name in ("one", "two")
    ]
    assert Contradiction.parse(kept["contradiction"]).check(signer().verifier) == (310, 800)


def test_what_cannot_be_told_is_exit_2(run: Run, place: Place, tmp_path: Path) -> None:
    grown(place, tmp_path / "site", 3)
    (tmp_path / "policy").write_text(f"log {signer().vkey}\nwitness w w.example+b1ea9e30+BAAA\nquorum w\n")
    for arguments in (
        (tmp_path / "absent", "--vkey", signer().vkey),
        (tmp_path / "site",),
        (tmp_path / "site", "--policy", tmp_path / "policy"),
        (tmp_path / "site", "--vkey", signer().vkey, "--metrics-listen", "nowhere"),
        (tmp_path / "site", "--vkey", signer().vkey, "--metrics-listen", "192.0.2.1:80"),
    ):
        result = run("monitor", *arguments, "--once")
        assert (result.exit_code, "Traceback" in result.output) == (2, False), result.output
    (tmp_path / "site/checkpoint").unlink()
    result = run("monitor", tmp_path / "site", "--vkey", signer().vkey, "--once", "--json")
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (2, "no-checkpoint")


def test_another_key_ends_it_with_what_was_shown(run: Run, place: Place, tmp_path: Path) -> None:
    grown(place, tmp_path / "site", 3)
    result = run("monitor", tmp_path / "site", "--vkey", Signer.generate(signer().name).vkey)
    assert (result.exit_code, "evidence-" in result.stderr) == (1, True)


def test_an_epoch_log_is_held_to_its_rules(run: Run, tmp_path: Path) -> None:
    key = Signer.generate("demo.integrator.example/ledger/demo/epochs")
    for name, leaves in (
        ("good", [blank_leaf(number, sealed_at=number + 1).encode() for number in range(300)]),
        ("bad", [blank_leaf(number, sealed_at=9).encode() for number in range(300)]),
    ):
        log = RawLog.open(tmp_path / f"{name}.sqlite", origin=key.name, signer=key)
        log.append_leaves(leaves)
        log.close()
        LedgerReader.open(tmp_path / f"{name}.sqlite").export(tmp_path / name)
    arguments = ("--vkey", key.vkey, "--epochs", "--once", "--json")
    assert json.loads(run("monitor", tmp_path / "good", *arguments).stdout)["read"] == 300
    result = run("monitor", tmp_path / "bad", *arguments, "--state", tmp_path / "memory")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["code"].startswith("epoch-")) == (1, True), document


def test_who_names_another_log_than_the_epoch_log_accuses_nobody(run: Run, place: Place, tmp_path: Path) -> None:
    grown(place, tmp_path / "site", 300)
    result = run("monitor", tmp_path / "site", "--vkey", signer().vkey, "--epochs", "--once", "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["code"]) == (2, "not-epochs")
    assert "evidence" not in document


def test_it_runs_until_it_is_told_to_stop(place: Place, tmp_path: Path) -> None:
    grown(place, tmp_path / "site", 3)
    arguments = ["monitor", str(tmp_path / "site"), "--vkey", signer().vkey, "--interval", "0.05", "--json"]
    script = "from integrator_audit.cli.main import main; main()"
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path / "state")}
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert process.stdout is not None
    sizes = [json.loads(process.stdout.readline())["size"] for _ in range(2)]
    assert sizes == [3, 3]
    grown(place, tmp_path / "site", 4)
    until = time.monotonic() + 60
    while (size := json.loads(process.stdout.readline())["size"]) != 7:
        assert time.monotonic() < until, size
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_every_metric_has_a_type_a_meaning_and_a_value() -> None:
    metrics = Metrics('log "a"\\b')
    metrics.set(size=7, quorum=1)
    metrics.add(looks_total=2)
    metrics.add(looks_total=1)
    with pytest.raises(KeyError):
        metrics.set(unknown=1)
    server = MetricsServer(("127.0.0.1", 0), metrics)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    with urllib.request.urlopen(f"{url}/metrics", timeout=20) as response:
        text = response.read().decode()
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(url, timeout=20)
    server.shutdown()
    server.server_close()
    lines = text.split("\n")
    assert 'integrator_audit_monitor_looks_total{origin="log \\"a\\"\\\\b"} 3' in lines
    assert 'integrator_audit_monitor_size{origin="log \\"a\\"\\\\b"} 7' in lines
    for name, (kind, meaning) in METRICS.items():
        assert f"# TYPE {name} {kind}" in lines
        assert f"# HELP {name} {meaning}" in lines
        assert sum(line.startswith(f"{name}{{") for line in lines) == 1


def test_a_memory_that_was_changed_accuses_nobody(run: Run, place: Place, tmp_path: Path) -> None:
    grown(place, tmp_path / "site", 3)
    arguments = ("--vkey", signer().vkey, "--state", tmp_path / "memory", "--once", "--entries", "--json")
    assert run("monitor", tmp_path / "site", *arguments).exit_code == 0
    files = sorted((tmp_path / "memory").iterdir())
    assert [file.suffix for file in files] == [".checkpoint", ".read"]
    for file in files:
        good = file.read_bytes()
        for bad in (b"", good[:-1], good.replace(b"\n3\n", b"\n2\n")):
            file.write_bytes(bad)
            result = run("monitor", tmp_path / "site", *arguments)
            assert (result.exit_code, json.loads(result.stdout)["code"]) == (2, "state-other-key"), result.output
            assert file.name in json.loads(result.stdout)["message"]
        file.write_bytes(good)
    assert not list((tmp_path / "memory").glob("evidence-*"))


def test_a_message_of_the_monitor_moves_no_cursor(run: Run, place: Place, tmp_path: Path) -> None:
    grown(place, tmp_path / "site", 3)
    other = Signer.generate("other.example/\x9b2J\u202e")
    (tmp_path / "policy").write_text(f"log {signer().vkey}\nquorum none\n")
    (tmp_path / "site/checkpoint").write_bytes(Checkpoint(other.name, 0, EMPTY_ROOT).sign(other))
    result = run("monitor", tmp_path / "site", "--policy", tmp_path / "policy", "--once")
    assert (result.exit_code, "other.example" in result.stderr) == (2, True)
    assert all(character.isprintable() for character in result.stderr.rstrip("\n"))
