"""Witnesses that others wrote cosign our log, and logs that others wrote are cosigned by our witness."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

from integrator_audit import LedgerWriter, Signer, Tampered
from integrator_audit.encoding import to_base64
from integrator_audit.merkle import EMPTY_ROOT
from integrator_audit.sources import DirectorySource, open_source
from integrator_audit.state import State
from integrator_audit.verify import Demand, verify_log
from integrator_audit.witnessing.asked import AskedFile
from integrator_audit.witnessing.cosignature import Cosigner
from integrator_audit.witnessing.monitor import Monitor
from integrator_audit.witnessing.policy import Policy
from integrator_audit.witnessing.quorum import Publisher, Terms
from tests.conformance.programs import Programs, first_line, wait_for
from tests.unit.audit.audit_samples import ORIGIN, Place, entry, signer

LITE = Cosigner("lite.example/witness", bytes([1]) * 32)
OTHER = Cosigner("other.example/witness", bytes([2]) * 32)
OURS = Cosigner("ours.example/witness", bytes([3]) * 32)


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def litewitness(programs: Programs, directory: Path, log: Signer) -> Generator[str]:
    """Run litewitness for one log; its database is filled as its own witnessctl does."""
    (directory / "seed").write_text(LITE.seed.hex())
    # A socket's path is short.
    socket = Path(os.path.relpath(directory)) / "agent"
    if len(str(directory / "agent")) < 100:
        socket = directory / "agent"
    fingerprint = sha256(LITE.key.public_key).hexdigest()
    listen = f"127.0.0.1:{free_port()}"
    with programs.running("conformance", "agent", socket, directory / "seed") as agent:
        first_line(agent)
        arguments = (f"-name={LITE.name}", f"-db={directory / 'lite.db'}", f"-ssh-agent={socket}")
        with programs.running("litewitness", *arguments, f"-key={fingerprint}", f"-listen={listen}"):
            wait_for(f"http://{listen}/")
            with sqlite3.connect(directory / "lite.db", timeout=10) as database:
                root = to_base64(EMPTY_ROOT)
                database.execute("INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)", (log.name, root))
                database.execute("INSERT INTO key (origin, key) VALUES (?, ?)", (log.name, log.vkey))
            yield f"http://{listen}"


@contextmanager
def other_witness(programs: Programs, directory: Path, log: Signer, *more: str) -> Generator[str]:
    """Run the witness of transparency-dev for one log; with `more`, it signs with these secret keys as well."""
    # Its keys have the text of an ordinary note key; the cosignature is of type 0x04 all the same.
    (directory / "other.key").write_text("\n".join([Signer(OTHER.name, OTHER.seed).text, *more]))
    with programs.running("conformance", "witness", directory / "other.key", log.vkey) as process:
        yield first_line(process)["url"]


@contextmanager
def our_witness(directory: Path, *vkeys: str) -> Generator[str]:
    """Run our own witness as a program."""
    (directory / "our.key").write_text(OURS.text)
    (directory / "our.logs").write_text("".join(f"log {vkey}\n" for vkey in vkeys) + "quorum none\n")
    arguments = ["--key", "our.key", "--logs", "our.logs", "--state", "our.sqlite", "--listen", "127.0.0.1:0", "--json"]
    script = "from integrator_audit.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, "witness", *arguments], cwd=directory, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["listening"]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        process.stdout.close()


def policy_text(log: Signer, *witnesses: tuple[Cosigner, str], threshold: str) -> str:
    lines = [f"witness w{number} {it.key.vkey} {url}" for number, (it, url) in enumerate(witnesses)]
    names = " ".join(f"w{number}" for number in range(len(witnesses)))
    return "\n".join([f"log {log.vkey}", *lines, f"group g {threshold} {names}", "quorum g", ""])


def publisher(ledger: LedgerWriter, policy: str, asked: Path) -> Publisher:
    terms = Terms(Policy.parse(policy.encode()), signer().verifier, AskedFile(asked, ORIGIN), grace=5)
    return Publisher(ledger, terms)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "log").mkdir()
    return Place(tmp_path / "log")


def test_foreign_witnesses_and_ours_cosign_our_log_and_torchwood_believes_them(
    programs: Programs, serve: Callable[[Path], str], place: Place, tmp_path: Path
) -> None:
    with (
        litewitness(programs, tmp_path, signer()) as lite,
        other_witness(programs, tmp_path, signer()) as other,
        our_witness(tmp_path, signer().vkey) as ours,
    ):
        text = policy_text(signer(), (LITE, lite), (OTHER, other), (OURS, ours), threshold="all")
        (tmp_path / "policy").write_text(text)
        ledger = place.ledger()
        publishing = publisher(ledger, text, tmp_path / "asked")
        for size in (1, 2, 300, 785):
            ledger.append([entry(number) for number in range(ledger.size, size)])
            done = publishing.publish()
            assert (done.published, sorted(done.cosigned), done.failed) == (True, ["w0", "w1", "w2"], {})
            place.reader().export(tmp_path / "site", published=True)
            demand = Demand(Policy.parse(text.encode()), int(time.time()))
            assert (
                verify_log(DirectorySource(tmp_path / "site"), signer().verifier, demand=demand).verdict == "verified"
            )
            assert programs.conform("read", serve(tmp_path / "site"), tmp_path / "policy")["size"] == size
        # The next process asks from what it recovered.
        ledger.close()
        ledger = place.ledger()
        ledger.append([entry(1)])
        assert publisher(ledger, text, tmp_path / "asked").publish().published
        ledger.close()


def test_a_foreign_witness_with_a_post_quantum_key_cosigns_our_log_and_torchwood_believes_it(
    programs: Programs, serve: Callable[[Path], str], place: Place, tmp_path: Path
) -> None:
    key = programs.conform("keygen", OTHER.name)
    with other_witness(programs, tmp_path, signer(), key["secret"]) as other:
        text = f"log {signer().vkey}\nwitness modern {key['vkey']} {other}\nquorum modern\n"
        (tmp_path / "policy").write_text(text)
        ledger = place.ledger()
        publishing = publisher(ledger, text, tmp_path / "asked")
        for size in (1, 300):
            ledger.append([entry(number) for number in range(ledger.size, size)])
            done = publishing.publish()
            assert (done.published, sorted(done.cosigned), done.failed) == (True, ["modern"], {})
            place.reader().export(tmp_path / "site", published=True)
            demand = Demand(Policy.parse(text.encode()), int(time.time()))
            source = DirectorySource(tmp_path / "site")
            assert verify_log(source, signer().verifier, demand=demand).verdict == "verified"
            assert programs.conform("read", serve(tmp_path / "site"), tmp_path / "policy")["size"] == size
        ledger.close()
        note = (tmp_path / "site" / "checkpoint").read_bytes()
        start = note.index(f"\u2014 {OTHER.name} ".encode()) + 200
        changed = note[:start] + (b"A" if note[start : start + 1] != b"A" else b"B") + note[start + 1 :]
        (tmp_path / "site" / "checkpoint").write_bytes(changed)
        with pytest.raises(Tampered):
            verify_log(source, signer().verifier, demand=demand)


@pytest.mark.parametrize("grown", [0, 1, 500])
def test_foreign_witnesses_alarm_a_ledger_that_was_restored_from_an_old_backup(
    programs: Programs, place: Place, tmp_path: Path, grown: int
) -> None:
    with litewitness(programs, tmp_path, signer()) as lite, other_witness(programs, tmp_path, signer()) as other:
        ledger = place.ledger()
        ledger.append([entry(number) for number in range(100)])
        ledger.close()
        backup = place.copy("backup")
        ledger = place.ledger()
        ledger.append([entry(number) for number in range(50)])
        text = policy_text(signer(), (LITE, lite), (OTHER, other), threshold="all")
        assert publisher(ledger, text, tmp_path / "asked").publish().published
        ledger.close()
        for witness in ((LITE, lite), (OTHER, other)):
            restored = backup.copy(f"restored-{witness[0].name[:4]}").ledger()
            # The list of what was asked is lost with the disk: only the witness knows.
            alone = publisher(restored, policy_text(signer(), witness, threshold="any"), tmp_path / witness[0].name[:4])
            restored.append([entry(number) for number in range(grown)])
            with pytest.raises(Tampered) as caught:
                alone.publish()
            assert caught.value.code in ("witness-ahead", "witness-fork")
            assert restored.published() is None
            restored.close()


def test_the_client_of_others_finds_our_witness_conforming(programs: Programs, tmp_path: Path) -> None:
    log = Signer("foreign.example/log", bytes([7]) * 32)
    with our_witness(tmp_path, log.vkey) as ours:
        assert programs.conform("ask", ours, log.text, OURS.key.vkey) == {"steps": 14, "size": 956}


def test_our_witness_cosigns_a_log_that_signs_with_a_post_quantum_key(programs: Programs, tmp_path: Path) -> None:
    log = programs.conform("keygen", "modern.example/log")
    with our_witness(tmp_path, log["vkey"]) as ours:
        assert programs.conform("ask", ours, log["secret"], OURS.key.vkey) == {"steps": 14, "size": 956}


def test_a_log_of_tessera_is_cosigned_by_our_witness_and_verified_by_us(
    programs: Programs, serve: Callable[[Path], str], tmp_path: Path
) -> None:
    log = Signer("tessera.example/log", bytes([8]) * 32)
    (tmp_path / "log.key").write_text(log.text)
    with our_witness(tmp_path, log.vkey) as ours:
        text = policy_text(log, (OURS, ours), threshold="any")
        (tmp_path / "policy").write_text(text)
        policy = Policy.parse(text.encode())
        state = State(tmp_path / "state")
        read: list[bytes] = []
        monitor = Monitor(
            open_source(serve(tmp_path / "tessera")),
            log.verifier,
            state=State(tmp_path / "watched"),
            check_leaves=lambda first, leaves: read.extend(leaves),
        )
        size = 0
        for count in (1, 254, 1, 1, 300):
            entries = tmp_path / f"entries-{size}"
            entries.mkdir()
            for number in range(count):
                (entries / f"{number:04}").write_bytes(b"entry %d after %d" % (number, size))
            programs.tessera(
                tmp_path / "tessera",
                entries=entries,
                key=tmp_path / "log.key",
                policy=tmp_path / "policy",
            )
            size += count
            demand = Demand(policy, int(time.time()))
            result = verify_log(DirectorySource(tmp_path / "tessera"), log.verifier, state=state, demand=demand)
            assert (result.verdict, result.checkpoint.size) == ("verified", size), result.findings
            assert monitor.look(int(time.time()), demand).result == "verified"
            assert len(read) == size
