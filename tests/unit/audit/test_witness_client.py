from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from integrator_audit import Invalid, Signer, Tampered, Unavailable
from integrator_audit.note import Note, join_note
from integrator_audit.witnessing.addcheckpoint import AddCheckpoint, Answer, own_signatures
from integrator_audit.witnessing.client import Asked, HttpExchange, ask
from integrator_audit.witnessing.cosignature import Cosignature
from integrator_audit.witnessing.server import WitnessServer
from tests.unit.audit.witness_samples import COSIGNERS, LOG, NOW, SampleExchange, SampleLog, witnesses

Exchanges = dict[str, SampleExchange]


@pytest.fixture
def exchanges(tmp_path: Path) -> Exchanges:
    return witnesses(tmp_path)


@pytest.fixture
def log() -> SampleLog:
    return SampleLog()


def ask_one(log: SampleLog, exchange: SampleExchange, *, old: int, limit: int) -> Cosignature:
    head = log.head
    question = Asked(head.note, head.size, old, limit)
    return ask(question, log.proof, key=COSIGNERS[0].key, exchange=exchange, now=lambda: NOW)


def test_a_witness_that_knows_another_size_is_asked_from_there(log: SampleLog, exchanges: Exchanges) -> None:
    log.grow(5)
    assert ask_one(log, exchanges["w0"], old=3, limit=5).time == NOW
    log.grow(300)
    assert ask_one(log, exchanges["w0"], old=200, limit=305).time == NOW
    assert [AddCheckpoint.parse(body).old_size for body in exchanges["w0"].bodies] == [3, 0, 200, 5]


def test_a_witness_that_knows_more_than_was_ever_shown_is_the_alarm(log: SampleLog, exchanges: Exchanges) -> None:
    log.grow(5)
    backup = log.fork(b"")
    log.grow(3)
    ask_one(log, exchanges["w0"], old=0, limit=8)
    # The older backup grows beyond what the witness knows, but on opening it had 5.
    backup.grow(10)
    with pytest.raises(Tampered) as caught:
        ask_one(backup, exchanges["w0"], old=5, limit=5)
    assert caught.value.code == "witness-ahead"


@pytest.mark.parametrize("grown", [0, 4])
def test_a_witness_that_knows_another_history_is_the_alarm(log: SampleLog, exchanges: Exchanges, grown: int) -> None:
    log.grow(5)
    fork = log.fork(b"other ")
    log.grow(3)
    ask_one(log, exchanges["w0"], old=0, limit=8)
    fork.grow(3 + grown)
    with pytest.raises(Tampered) as caught:
        ask_one(fork, exchanges["w0"], old=8, limit=8)
    assert caught.value.code == "witness-fork"


@pytest.mark.parametrize("answer", [Answer(409, "text/plain", b"other root\n"), Answer(409, "", b"")])
def test_a_conflict_about_the_very_size_without_another_one_is_the_alarm(
    log: SampleLog, exchanges: Exchanges, answer: Answer
) -> None:
    log.grow(5)
    exchanges["w0"].change = lambda _: answer
    with pytest.raises(Tampered) as caught:
        ask_one(log, exchanges["w0"], old=5, limit=5)
    assert caught.value.code == "witness-fork"


def test_a_witness_that_names_ever_other_sizes_is_given_up(log: SampleLog, exchanges: Exchanges) -> None:
    log.grow(9)
    sizes = iter(range(1, 9))
    exchanges["w0"].change = lambda _: Answer(409, "text/x.tlog.size", b"%d\n" % next(sizes))
    with pytest.raises(Unavailable) as caught:
        ask_one(log, exchanges["w0"], old=0, limit=9)
    assert caught.value.code == "witness-conflict"
    assert len(exchanges["w0"].bodies) == 3


@pytest.mark.parametrize(
    "answer",
    [
        Answer(409, "text/plain", b"99\n"),
        Answer(409, "text/x.tlog.size; charset=utf-8", b"99\n"),
        Answer(409, "text/x.tlog.size", b"3"),
        Answer(409, "text/x.tlog.size", b"03\n"),
        Answer(409, "text/x.tlog.size", b"-3\n"),
        Answer(409, "text/x.tlog.size", b"3\n\n"),
        Answer(409, "text/x.tlog.size", b"\xff\n"),
        Answer(409, "text/x.tlog.size", b"0\n"),
        Answer(200, "", b""),
        Answer(200, "", b"\xff\xfe\x00"),
        Answer(200, "", LOG.signature(b"x").line),
        Answer(500, "text/plain", b"no"),
        Answer(404, "text/plain", b"no"),
        Answer(403, "text/plain", b"no"),
        Answer(301, "text/plain", b""),
    ],
)
def test_any_other_answer_is_no_cosignature_and_no_alarm(log: SampleLog, exchanges: Exchanges, answer: Answer) -> None:
    log.grow(9)
    exchanges["w0"].change = lambda _: answer
    with pytest.raises(Unavailable):
        ask_one(log, exchanges["w0"], old=0, limit=9)


def test_a_cosignature_is_taken_out_of_unknown_lines_and_checked(log: SampleLog, exchanges: Exchanges) -> None:
    log.grow(9)
    stranger = COSIGNERS[1].cosign(Note.parse(log.head.note).unverified_text, NOW).line
    noise = b"hello\n\xff\n\n" + stranger
    exchanges["w0"].change = lambda answer: Answer(200, "", noise + answer.body + noise)
    assert ask_one(log, exchanges["w0"], old=0, limit=9).key == COSIGNERS[0].key


def test_a_wrong_cosignature_or_one_without_time_is_not_taken(log: SampleLog, exchanges: Exchanges) -> None:
    log.grow(9)
    text = Note.parse(log.head.note).unverified_text
    for line in (
        COSIGNERS[0].cosign(text.replace(b"\n9\n", b"\n8\n"), NOW).line,
        COSIGNERS[0].cosign(text, NOW + 301).line,
    ):
        exchanges["w0"].change = lambda _, line=line: Answer(200, "", line)
        with pytest.raises(Unavailable) as caught:
            ask_one(log, exchanges["w0"], old=9, limit=9)
        assert caught.value.code == "witness-answer"


def test_cosignatures_of_others_are_not_forwarded(log: SampleLog, exchanges: Exchanges) -> None:
    head = log.grow(2)
    text = Note.parse(head.note).unverified_text
    collected = join_note(text, [*Note.parse(head.note).signatures, COSIGNERS[1].cosign(text, NOW)])
    assert own_signatures(collected) == head.note
    question = Asked(collected, 2, 0, 2)
    ask(question, log.proof, key=COSIGNERS[0].key, exchange=exchanges["w0"], now=lambda: NOW)
    assert exchanges["w0"].bodies == [b"old 0\n\n" + head.note]


# Over HTTP


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[BaseHTTPRequestHandler], None]], str]]:
    """Serve POST with a function on the loopback; return the URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Callable[[BaseHTTPRequestHandler], None]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                answer(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name of the base class
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_witness_is_asked_over_http(log: SampleLog, exchanges: Exchanges) -> None:
    log.grow(3)
    server = WitnessServer(("127.0.0.1", 0), exchanges["w0"].witness)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    exchange = HttpExchange(f"http://127.0.0.1:{server.server_port}/")
    head = log.head
    found = ask(Asked(head.note, 3, 1, 3), log.proof, key=COSIGNERS[0].key, exchange=exchange, now=lambda: NOW)
    assert found.time == NOW
    server.shutdown()
    server.server_close()


def test_an_answer_is_bounded_in_bytes_and_time(
    serve: Callable[[Callable[[BaseHTTPRequestHandler], None]], str],
) -> None:
    def large(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with suppress(OSError):
            handler.wfile.write(b"x" * 70_000)

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        with suppress(OSError):
            for _ in range(100):
                handler.wfile.write(b"x")
                time.sleep(0.02)

    with pytest.raises(Unavailable, match="more than"):
        HttpExchange(serve(large))(b"")

    def drip_its_head(handler: BaseHTTPRequestHandler) -> None:
        with suppress(OSError):
            for _ in range(100):
                handler.wfile.write(b"H")
                time.sleep(0.02)

    for slow in (drip, drip_its_head):
        with pytest.raises(Unavailable, match=r"more than 0\.2 seconds"):
            HttpExchange(serve(slow), timeout=0.2)(b"")


def test_of_two_limits_that_end_at_once_the_same_is_told_whichever_is_seen_first(
    serve: Callable[[Callable[[BaseHTTPRequestHandler], None]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(threading.Timer):
        """A timer whose thread does not get to run on a machine that is busy."""

        def start(self) -> None: ...

    left = threading.Event()
    monkeypatch.setattr(threading, "Timer", Late)
    try:
        with pytest.raises(Unavailable, match=r"more than 0\.2 seconds"):
            HttpExchange(serve(lambda _: left.wait(60) and None), timeout=0.2)(b"")
    finally:
        left.set()


def test_a_redirect_is_not_followed(serve: Callable[[Callable[[BaseHTTPRequestHandler], None]], str]) -> None:
    def away(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(307)
        handler.send_header("Location", "http://127.0.0.1:9/add-checkpoint")
        handler.end_headers()

    assert HttpExchange(serve(away))(b"").status == 307


def test_a_witness_that_nobody_answers_for_is_unavailable() -> None:
    with pytest.raises(Unavailable) as caught:
        HttpExchange("http://127.0.0.1:9")(b"")
    assert caught.value.code == "witness-unreachable"
    for url in ("ftp://witness.example", "file:///etc/passwd", ""):
        with pytest.raises(Invalid):
            HttpExchange(url)


def test_a_request_that_no_witness_takes_is_not_sent(log: SampleLog, exchanges: Exchanges) -> None:
    head = log.grow(9)
    long = Signer("x" * 11_000, bytes(32))
    for old, proof, note in ((5, (bytes(32),) * 64, head.note), (0, (), long.sign(b"text\n"))):
        with pytest.raises(Invalid):
            _ = AddCheckpoint(old, proof, note).body
    question = Asked(head.note, 9, 5, 9)
    with pytest.raises(Invalid):
        ask(question, lambda _: [bytes(32)] * 64, key=COSIGNERS[0].key, exchange=exchanges["w0"], now=lambda: NOW)
    assert exchanges["w0"].bodies == []
