"""A witness whose file or clients are hostile cosigns nothing that it could not vouch for later, and says so."""

from __future__ import annotations

import resource
import socket
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from integrator_audit import AuditError, Tampered
from integrator_audit.witnessing.addcheckpoint import AddCheckpoint
from integrator_audit.witnessing.server import WitnessServer
from integrator_audit.witnessing.witness import Witness
from tests.unit.audit.test_witness import ask, assert_cosigned, opened
from tests.unit.audit.witness_samples import LOG, SampleLog

LOG_HASH = sha256(LOG.name.encode()).hexdigest()


@pytest.fixture
def log() -> SampleLog:
    log = SampleLog()
    log.grow(5)
    return log


@pytest.fixture
def witness(tmp_path: Path, log: SampleLog) -> Iterator[Witness]:
    """Return a witness that cosigned five entries."""
    witness = opened(tmp_path)
    assert_cosigned(ask(witness, log, 0), log.head.note)
    yield witness
    witness.close()


@pytest.fixture
def port(witness: Witness) -> Iterator[int]:
    with WitnessServer(("127.0.0.1", 0), witness) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def exchange(port: int, sent: bytes) -> bytes:
    """Return all that is answered until the witness closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(sent)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def change(directory: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(directory / "witness.sqlite")) as connection:
        connection.execute(statement, values)
        connection.commit()


@pytest.mark.parametrize("column", ["size", "root", "note"])
@pytest.mark.parametrize("value", ["text", b"", bytes(32), -1, 4, 1 << 62, 1.5])
def test_half_of_a_damaged_row_does_not_answer_for_the_log(
    witness: Witness, log: SampleLog, tmp_path: Path, column: str, value: object
) -> None:
    change(tmp_path, f"UPDATE log SET {column} = ?", value)
    old = log.head.size
    log.grow(3)
    for read in (
        lambda: ask(witness, log, old),
        lambda: ask(witness, log, 0),
        lambda: witness.checkpoint(LOG_HASH),
        lambda: opened(tmp_path),
    ):
        with pytest.raises(Tampered) as caught:
            read()
        assert caught.value.code == "witness-damaged"


def test_a_row_under_another_origin_is_found_when_the_file_is_opened(witness: Witness, tmp_path: Path) -> None:
    change(tmp_path, "UPDATE log SET origin = 'other.example'")
    with pytest.raises(Tampered):
        opened(tmp_path)


@pytest.mark.parametrize("kept", ["", "-wal"])
def test_a_file_that_is_empty_or_gone_beside_its_log_is_no_new_witness(
    witness: Witness, tmp_path: Path, kept: str
) -> None:
    witness.close()
    path = tmp_path / "witness.sqlite"
    path.unlink()
    Path(f"{path}{kept}").touch()
    with pytest.raises(Tampered) as caught:
        opened(tmp_path)
    assert caught.value.code == "witness-damaged"


@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_cosigned_into_a_file_that_is_no_longer_there(
    witness: Witness, log: SampleLog, tmp_path: Path, replaced: bool
) -> None:
    path = tmp_path / "witness.sqlite"
    path.rename(tmp_path / "moved")
    if replaced:
        path.write_bytes((tmp_path / "moved").read_bytes())
    old = log.head.size
    log.grow(3)
    with pytest.raises(AuditError) as caught:
        ask(witness, log, old)
    assert caught.value.code in ("witness-moved", "witness-store")


def test_what_finds_no_room_is_not_cosigned_and_later_is(witness: Witness, log: SampleLog, tmp_path: Path) -> None:
    # The file system takes no byte behind the end of the write-ahead log: each commit goes there first.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    end = (tmp_path / "witness.sqlite-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (end, before[1]))
    try:
        fork = assert_not_kept(witness, log, code="witness-store")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_cosigned(ask(witness, log, 5), log.head.note)
    assert ask(witness, fork, 5).status == 409


def test_what_may_not_be_written_is_not_cosigned_and_later_is(witness: Witness, log: SampleLog) -> None:
    witness._connection.execute("PRAGMA query_only = on")
    fork = assert_not_kept(witness, log, code="witness-read-only")
    witness._connection.execute("PRAGMA query_only = off")
    assert_cosigned(ask(witness, log, 5), log.head.note)
    assert ask(witness, fork, 5).status == 409


def assert_not_kept(witness: Witness, log: SampleLog, *, code: str) -> SampleLog:
    """Ask for two forks, of which none is cosigned; return one, the other being the log."""
    fork = log.fork(b"fork")
    for asking in (log, fork):
        asking.grow(3)
        with pytest.raises(AuditError) as caught:
            ask(witness, asking, 5)
        assert caught.value.code == code
        assert witness.sizes() == {LOG.name: 5}
    return fork


def test_of_forks_that_race_over_http_one_is_cosigned(witness: Witness, log: SampleLog, port: int) -> None:
    for _ in range(3):
        old = log.head.size
        forks = [log.fork(b"fork %d" % number) for number in range(8)]
        for fork in forks:
            fork.grow(3)

        def post(fork: SampleLog, old: int = old) -> bytes:
            body = AddCheckpoint(old, tuple(fork.proof(old)), fork.head.note).body
            head = b"POST /add-checkpoint HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body)
            return exchange(port, head + body).split(b" ", 2)[1]

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(post, forks))
        assert sorted(answers) == [b"200"] + [b"409"] * 7
        log = forks[answers.index(b"200")]


@pytest.mark.parametrize("second", [b"3", b"%d"])
def test_a_length_that_is_said_twice_is_none(log: SampleLog, port: int, second: bytes) -> None:
    body = AddCheckpoint(5, (), log.head.note).body
    length = b"%d" % len(body)
    heads = b"Content-Length: " + length + b"\r\nContent-Length: " + second.replace(b"%d", length)
    answer = exchange(port, b"POST /add-checkpoint HTTP/1.1\r\n" + heads + b"\r\n\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 411 ")
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("said", [b"Content-Length: 30", b"Transfer-Encoding: chunked"])
def test_a_body_that_nobody_reads_is_not_the_next_request(port: int, said: bytes) -> None:
    inner = b"GET /%s/checkpoint HTTP/1.1\r\n\r\n" % LOG_HASH.encode()
    answer = exchange(port, b"GET /nothing HTTP/1.1\r\n" + said + b"\r\n\r\n" + inner)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_place_comes_back_when_no_thread_can_be_started(witness: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    with WitnessServer(("127.0.0.1", 0), witness) as server:
        before = server._places._value

        def fail(_thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError):
            server.process_request(socket.socket(), ("127.0.0.1", 1))
        assert server._places._value == before
