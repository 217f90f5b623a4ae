from __future__ import annotations

import http.client
import socket
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path

import pytest

from integrator_audit import Refused, Signer, Verifier
from integrator_audit.checkpoint import Checkpoint
from integrator_audit.encoding import to_base64
from integrator_audit.note import Note, Signature, join_note
from integrator_audit.witnessing import server as server_module
from integrator_audit.witnessing import witness as witness_module
from integrator_audit.witnessing.addcheckpoint import MAX_TAKEN, AddCheckpoint, Answer, read_signatures
from integrator_audit.witnessing.cosignature import verified_cosignatures
from integrator_audit.witnessing.server import WitnessServer
from integrator_audit.witnessing.witness import Witness
from tests.unit.audit.witness_samples import COSIGNERS, LOG, NOW, SampleLog

COSIGNER = COSIGNERS[0]


def opened(directory: Path, *logs: Signer) -> Witness:
    keys: dict[str, list[Verifier]] = {}
    for log in logs or (LOG,):
        keys.setdefault(log.name, []).append(log.verifier)
    return Witness.open(directory / "witness.sqlite", cosigner=COSIGNER, logs=keys, clock=lambda: NOW)


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return opened(tmp_path)


@pytest.fixture
def log() -> SampleLog:
    return SampleLog()


def ask(witness: Witness, log: SampleLog, old: int) -> Answer:
    proof = () if old in (0, log.head.size) else tuple(log.proof(old))
    return witness.add_checkpoint(AddCheckpoint(old, proof, log.head.note).body)


def assert_cosigned(answer: Answer, note: bytes) -> None:
    assert answer.status == 200, answer.body
    text = Note.parse(note).unverified_text
    found = verified_cosignatures(Note.parse(join_note(text, read_signatures(answer.body))), [COSIGNER.key], now=NOW)
    assert [(item.key, item.time) for item in found] == [(COSIGNER.key, NOW)]


def assert_conflict(answer: Answer, size: int) -> None:
    assert (answer.status, answer.content_type, answer.body) == (409, "text/x.tlog.size", b"%d\n" % size)


def test_a_log_that_grows_is_cosigned_at_every_size(witness: Witness, log: SampleLog) -> None:
    old = 0
    for count in (0, 1, 1, 5, 249, 1, 600):
        log.grow(count)
        assert_cosigned(ask(witness, log, old), log.head.note)
        old = log.head.size
        assert witness.sizes() == {LOG.name: old}


def test_the_same_size_is_cosigned_again(witness: Witness, log: SampleLog) -> None:
    log.grow(7)
    for old in (0, 7, 7):
        assert_cosigned(ask(witness, log, old), log.head.note)


def test_a_larger_old_size_than_that_of_the_checkpoint_is_400(witness: Witness, log: SampleLog) -> None:
    log.grow(3)
    assert ask(witness, log, 0).status == 200
    assert witness.add_checkpoint(AddCheckpoint(4, (), log.head.note).body).status == 400


def test_an_old_size_that_is_not_the_last_cosigned_is_409_and_says_which_is(witness: Witness, log: SampleLog) -> None:
    log.grow(5)
    assert_conflict(ask(witness, log, 3), 0)
    assert_cosigned(ask(witness, log, 0), log.head.note)
    log.grow(5)
    for old in (0, 4, 10):
        assert_conflict(ask(witness, log, old), 5)
    assert witness.sizes() == {LOG.name: 5}


def test_another_root_of_the_same_size_is_409_and_both_are_kept(
    witness: Witness, log: SampleLog, tmp_path: Path
) -> None:
    fork = log.fork(b"other ")
    ours, theirs = log.grow(5), fork.grow(5)
    assert ask(witness, log, 0).status == 200
    assert_conflict(ask(witness, fork, 5), 5)
    rows = sqlite3.connect(tmp_path / "witness.sqlite").execute("SELECT * FROM evidence").fetchall()
    assert [(origin, size, contradicting) for origin, size, _, contradicting in rows] == [(LOG.name, 5, theirs.note)]
    assert rows[0][2].startswith(ours.note)


def test_evidence_does_not_fill_the_disk(
    witness: Witness, log: SampleLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness_module, "MAX_EVIDENCE", 2)
    forks = [log.fork(b"fork %d " % number) for number in range(4)]
    log.grow(5)
    assert ask(witness, log, 0).status == 200
    for fork in forks:
        fork.grow(5)
        assert_conflict(ask(witness, fork, 5), 5)
    kept = sqlite3.connect(tmp_path / "witness.sqlite").execute("SELECT count(*) FROM evidence").fetchone()
    assert kept == (2,)


def test_a_log_that_does_not_extend_what_was_cosigned_is_422(witness: Witness, log: SampleLog) -> None:
    log.grow(5)
    fork = log.fork(b"other ")
    log.grow(3)
    assert ask(witness, log, 0).status == 200
    fork.grow(10)
    assert ask(witness, fork, 8).status == 422
    log.grow(10)
    good = log.proof(8)
    for proof in ((), good[:-1], [*good, bytes(32)], [bytes(32), *good[1:]]):
        assert witness.add_checkpoint(AddCheckpoint(8, tuple(proof), log.head.note).body).status == 422
    assert witness.sizes() == {LOG.name: 8}
    assert ask(witness, log, 8).status == 200


def test_a_proof_from_nothing_is_empty(witness: Witness, log: SampleLog) -> None:
    log.grow(3)
    assert witness.add_checkpoint(AddCheckpoint(0, (bytes(32),), log.head.note).body).status == 422
    assert witness.sizes() == {}


def test_an_empty_log_has_one_root(witness: Witness) -> None:
    text = f"{LOG.name}\n0\n{to_base64(bytes(32))}\n".encode()
    assert witness.add_checkpoint(b"old 0\n\n" + LOG.sign(text)).status == 422
    assert witness.sizes() == {}


def test_an_unknown_origin_is_404_even_with_a_known_key_s_signature(witness: Witness, log: SampleLog) -> None:
    text = log.grow(1).note.split(b"\n\n")[0].replace(b"s0-", b"s1-") + b"\n"
    assert witness.add_checkpoint(b"old 0\n\n" + LOG.sign(text)).status == 404
    assert witness.sizes() == {}


def test_a_log_whose_key_has_another_name_than_its_origin_is_cosigned(tmp_path: Path) -> None:
    key = Signer("sum.example", bytes([5]) * 32)
    logs = {"sum database tree": [key.verifier]}
    with closing(Witness.open(tmp_path / "witness.sqlite", cosigner=COSIGNER, logs=logs, clock=lambda: NOW)) as witness:
        note = key.sign(Checkpoint("sum database tree", 1, bytes(32)).text)
        assert_cosigned(witness.add_checkpoint(b"old 0\n\n" + note), note)
        cosigned = witness.checkpoint(sha256(b"sum database tree").hexdigest())
        assert cosigned is not None
        assert cosigned.startswith(note)
        assert witness.add_checkpoint(b"old 0\n\n" + key.sign(Checkpoint(key.name, 1, bytes(32)).text)).status == 404
        forged = Signer("sum.example", bytes([6]) * 32).sign(Checkpoint("sum database tree", 2, bytes(32)).text)
        assert witness.add_checkpoint(b"old 1\n\n" + forged).status == 403


def test_a_checkpoint_without_a_right_signature_of_a_trusted_key_is_403(witness: Witness, log: SampleLog) -> None:
    note = log.grow(1).note
    forged = Signer(LOG.name, bytes(32)).sign(Note.parse(note).unverified_text)
    changed = note.replace(b"\n1\n", b"\n2\n")
    for wrong in (forged, changed):
        assert witness.add_checkpoint(b"old 0\n\n" + wrong).status == 403
    assert witness.sizes() == {}


def test_the_key_of_another_log_signs_for_its_own_origin_only(tmp_path: Path, log: SampleLog) -> None:
    other = Signer("other.example/log", bytes(32))
    witness = opened(tmp_path, LOG, other)
    text = Note.parse(log.grow(1).note).unverified_text
    assert witness.add_checkpoint(b"old 0\n\n" + other.sign(text)).status == 403
    assert witness.sizes() == {}


def test_signatures_of_unknown_keys_are_ignored(witness: Witness, log: SampleLog) -> None:
    note = Note.parse(log.grow(1).note)
    text = note.unverified_text
    more = [Signer(LOG.name, bytes(32)).signature(text), COSIGNERS[1].cosign(text, NOW), *note.signatures]
    assert_cosigned(witness.add_checkpoint(b"old 0\n\n" + join_note(text, more)), log.head.note)
    kept = witness.checkpoint(sha256(LOG.name.encode()).hexdigest())
    assert kept is not None
    assert [item.name for item in Note.parse(kept).signatures] == [LOG.name, COSIGNER.name]


def test_a_log_may_have_two_keys_of_which_either_signs(tmp_path: Path, log: SampleLog) -> None:
    second = Signer(LOG.name, bytes(32))
    witness = opened(tmp_path, LOG, second)
    log.grow(1)
    assert ask(witness, log, 0).status == 200
    log.signer = second
    log.grow(1)
    assert ask(witness, log, 1).status == 200


def test_extension_lines_of_other_logs_are_cosigned_with_the_rest(tmp_path: Path) -> None:
    other = Signer("other.example/log", bytes(32))
    witness = opened(tmp_path, other)
    text = f"{other.name}\n1\n{to_base64(bytes(32))}\nextension\n".encode()
    assert_cosigned(witness.add_checkpoint(b"old 0\n\n" + other.sign(text)), other.sign(text))


GOOD = AddCheckpoint(0, (), SampleLog().grow(1).note).body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        GOOD.replace(b"old 0\n\n", b""),
        GOOD.replace(b"old 0\n\n", b"old 0\n"),
        GOOD.replace(b"old 0", b"old 00"),
        GOOD.replace(b"old 0", b"old -1"),
        GOOD.replace(b"old 0", b"old"),
        GOOD.replace(b"old 0", b"old  0"),
        GOOD.replace(b"old 0", b"Old 0"),
        GOOD.replace(b"old 0", b"old 0 "),
        GOOD.replace(b"old 0", b"old 0\r"),
        GOOD.replace(b"old 0\n", b"old 1\nAAAA\n"),
        GOOD.replace(b"old 0\n", b"old 1\n" + b"A" * 43 + b"\n"),
        GOOD.replace(b"old 0\n", b"old 1\n" + b"A" * 42 + b"B=\n"),
        GOOD.replace(b"old 0\n", b"old 1\n" + (b"A" * 43 + b"=\n") * 64),
        GOOD.replace("\u2014".encode(), b"-"),
        GOOD[:-1],
        GOOD.replace(b"\n1\n", b"\n01\n"),
        b"\xff" + GOOD,
    ],
)
def test_a_malformed_request_is_400(witness: Witness, body: bytes) -> None:
    assert witness.add_checkpoint(body).status == 400
    assert witness.sizes() == {}


def test_a_request_that_is_larger_than_any_note_is_refused(witness: Witness) -> None:
    assert witness.add_checkpoint(b"x" * (MAX_TAKEN + 1)).status == 413
    assert witness.add_checkpoint(b"x" * MAX_TAKEN).status == 400


def test_sixteen_signatures_of_post_quantum_size_are_taken(witness: Witness, log: SampleLog) -> None:
    # SPEC signed-note: "MUST accept at least up to 16 signatures. Remember that post-quantum signatures can be up to
    # nearly 5kB in size."
    log.grow(5)
    note = Note.parse(log.head.note)
    others = [Signature(f"log.example/{at}", bytes([at]) * 4, bytes(4_900)) for at in range(15)]
    large = join_note(note.unverified_text, [*others, *note.signatures])
    assert witness.add_checkpoint(b"old 0\n\n" + large).status == 200


def test_what_was_cosigned_is_remembered_by_the_next_process(witness: Witness, log: SampleLog, tmp_path: Path) -> None:
    log.grow(5)
    assert ask(witness, log, 0).status == 200
    # A second connection sees what the first has committed, without its being closed.
    again = opened(tmp_path)
    log.grow(1)
    assert_conflict(ask(again, log, 0), 5)
    assert ask(again, log, 5).status == 200
    assert_conflict(ask(witness, log, 5), 6)


def test_of_racing_requests_from_one_size_only_one_is_cosigned(witness: Witness, log: SampleLog) -> None:
    log.grow(2)
    assert ask(witness, log, 0).status == 200
    forks = [log.fork(b"fork %d " % number) for number in range(8)]
    for number, fork in enumerate(forks):
        fork.grow(number + 1)
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(answer.status for answer in pool.map(lambda fork: ask(witness, fork, 2), forks))
    assert statuses == [200] + [409] * 7


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "witness.sqlite")
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(Refused):
        opened(tmp_path)


@pytest.fixture
def port(witness: Witness) -> Iterator[int]:
    server = WitnessServer(("127.0.0.1", 0), witness)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def request(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body)
    response = connection.getresponse()
    answer = response.status, response.headers["Content-Type"], response.read()
    connection.close()
    return answer


def test_it_answers_over_http(port: int, log: SampleLog) -> None:
    log.grow(3)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for old, status in ((0, 200), (0, 409), (3, 200)):
        # One connection for all: keep-alive.
        connection.request("POST", "/add-checkpoint", AddCheckpoint(old, (), log.head.note).body)
        response = connection.getresponse()
        body = response.read()
        assert response.status == status
        if status == 409:
            assert (response.headers["Content-Type"], body) == ("text/x.tlog.size", b"3\n")
    connection.close()
    path = f"/{sha256(LOG.name.encode()).hexdigest()}/checkpoint"
    status, content_type, note = request(port, "GET", path)
    assert (status, content_type) == (200, "text/plain; charset=utf-8")
    assert note.startswith(log.head.note)
    assert len(verified_cosignatures(Note.parse(note), [COSIGNER.key], now=NOW)) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/", None, 404),
        ("GET", "/add-checkpoint", None, 405),
        ("GET", f"/{'0' * 64}/checkpoint", None, 404),
        ("GET", f"/{sha256(LOG.name.encode()).hexdigest()}/checkpoint", None, 404),
        ("GET", f"/{sha256(LOG.name.encode()).hexdigest().upper()}/checkpoint", None, 404),
        ("POST", "/", b"", 404),
        ("POST", "/add-checkpoint", b"", 400),
        ("POST", "/add-checkpoint", b"x" * (MAX_TAKEN + 1), 413),
        ("PUT", "/add-checkpoint", b"", 501),
    ],
)
def test_every_other_request_is_an_error(port: int, method: str, path: str, body: bytes | None, status: int) -> None:
    assert request(port, method, path, body)[0] == status


@pytest.mark.parametrize(
    "head",
    ["", "Content-Length: x\r\n", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Content-Length: 1e3\r\n"],
)
def test_a_body_of_unknown_length_is_411(port: int, head: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(f"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\n{head}\r\n".encode())
        assert connection.recv(64).startswith(b"HTTP/1.1 411 ")


def test_a_body_that_is_said_to_be_large_is_refused_before_it_comes(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: %d\r\n\r\n" % (MAX_TAKEN + 1))
        assert connection.recv(64).startswith(b"HTTP/1.1 413 ")


def test_a_slow_client_is_cut_off_and_holds_up_nobody(
    port: int, log: SampleLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "TIMEOUT", 0.3)
    log.grow(1)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as slow:
        slow.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\nold")
        assert request(port, "POST", "/add-checkpoint", AddCheckpoint(0, (), log.head.note).body)[0] == 200
        assert slow.recv(64) == b"", "the connection is closed without an answer"


def test_a_head_that_comes_byte_by_byte_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "REQUEST_TIMEOUT", 0.3)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as slow, suppress(OSError):
        for _ in range(100):
            slow.sendall(b"G")
            threading.Event().wait(0.02)
        pytest.fail("a client may take as long as it likes")


def test_the_head_of_a_checkpoint_is_answered_without_a_body(port: int, log: SampleLog) -> None:
    log.grow(3)
    request(port, "POST", "/add-checkpoint", AddCheckpoint(0, (), log.head.note).body)
    path = f"/{sha256(LOG.name.encode()).hexdigest()}/checkpoint"
    assert request(port, "HEAD", path) == (200, "text/plain; charset=utf-8", b"")


def test_a_checkpoint_that_cannot_be_read_is_a_failure_of_the_witness(
    port: int, witness: Witness, log: SampleLog, capfd: pytest.CaptureFixture[str]
) -> None:
    witness._connection.execute("ALTER TABLE log RENAME TO lost")
    assert request(port, "GET", f"/{sha256(LOG.name.encode()).hexdigest()}/checkpoint")[0] == 500
    log.grow(1)
    assert request(port, "POST", "/add-checkpoint", AddCheckpoint(0, (), log.head.note).body)[0] == 500
    assert capfd.readouterr().err == ""


def test_connections_beyond_the_bound_are_closed_and_their_places_come_back(
    witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_CONNECTIONS", 2)
    server = WitnessServer(("127.0.0.1", 0), witness)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    held = [socket.create_connection(("127.0.0.1", server.server_port), timeout=20) for _ in range(2)]
    for connection in held:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: w\r\n\r\n")
        assert connection.recv(64).startswith(b"HTTP/1.1 404 ")
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as third:
        assert third.recv(64) == b""
    for connection in held:
        connection.close()
    for _ in range(1000):
        try:
            assert request(server.server_port, "GET", "/")[0] == 404
            break
        except (ConnectionError, http.client.HTTPException):
            threading.Event().wait(0.02)
    else:
        pytest.fail("the places of closed connections are not given back")
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_text_of_a_cosigned_checkpoint_is_the_log_s_own(witness: Witness, log: SampleLog) -> None:
    log.grow(4)
    ask(witness, log, 0)
    kept = witness.checkpoint(sha256(LOG.name.encode()).hexdigest())
    assert kept is not None
    assert Checkpoint.parse(Note.parse(kept).unverified_text) == Checkpoint(LOG.name, 4, log.head.root)
