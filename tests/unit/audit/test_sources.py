"""What a stranger's server or directory can do to who fetches a log's files from it: nothing without end."""

from __future__ import annotations

import gzip
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from integrator_audit import Invalid, Signer, Unavailable, sources
from integrator_audit.checkpoint import Checkpoint
from integrator_audit.sources import DirectorySource, HttpSource, largest
from integrator_audit.verify import verify_log
from tests.unit.audit.lying.files import MemorySource, log_files, root_of_log

Handle = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Handle], str]]:
    """Serve GET with a function on the loopback; return the prefix."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Handle) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with suppress(OSError):
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


def answering(content: bytes, encoding: str | None = None) -> Handle:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if encoding is not None:
            handler.send_header("Content-Encoding", encoding)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("tile/0/000", 8192),
        ("tile/5/x001/234.p/7", 224),
        ("tile/entries/000.p/2", 2 * 65_537),
        ("checkpoint", 128 * 1024),
    ],
)
def test_no_more_of_a_file_is_read_than_tells_that_it_is_too_long(
    serve: Callable[[Handle], str], tmp_path: Path, path: str, size: int
) -> None:
    assert largest(path) == size
    bomb = b"\0" * (size + 10_000_000)
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_bytes(bomb)
    assert len(DirectorySource(tmp_path).fetch(path) or b"") == size + 1
    assert size < len(HttpSource(serve(answering(bomb))).fetch(path) or b"") < size * 1.1 + 100
    assert len(HttpSource(serve(answering(gzip.compress(bomb), "GZIP"))).fetch(path) or b"") == size + 1


def test_what_cannot_be_compressed_comes_whole_all_the_same(serve: Callable[[Handle], str]) -> None:
    tile = os.urandom(8192)
    assert HttpSource(serve(answering(gzip.compress(tile), "gzip"))).fetch("tile/0/000") == tile


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip"])
def test_an_encoding_that_was_not_asked_for_is_no_proof_of_anything(
    serve: Callable[[Handle], str], encoding: str
) -> None:
    with pytest.raises(Unavailable) as caught:
        HttpSource(serve(answering(b"x", encoding))).fetch("checkpoint")
    assert caught.value.code == "source-encoding"


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(os.urandom(99))[:-20], b""])
def test_gzip_that_is_none_or_ends_too_early_is_no_proof_of_anything(
    serve: Callable[[Handle], str], content: bytes
) -> None:
    with pytest.raises(Unavailable) as caught:
        HttpSource(serve(answering(content, "gzip"))).fetch("checkpoint")
    assert caught.value.code == "source-encoding"


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_connection_that_breaks_in_the_middle_is_tried_again_and_is_no_proof_of_anything(
    serve: Callable[[Handle], str], monkeypatch: pytest.MonkeyPatch, attempts: int
) -> None:
    monkeypatch.setattr(sources, "ATTEMPTS", attempts)
    asked: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        handler.send_response(200)
        handler.send_header("Content-Length", "8192")
        handler.end_headers()
        handler.wfile.write(bytes(8192 if len(asked) == 3 else 100))

    source = HttpSource(serve(answer))
    if attempts == 3:
        assert source.fetch("tile/0/000") == bytes(8192)
    else:
        with pytest.raises(Unavailable) as caught:
            source.fetch("tile/0/000")
        assert caught.value.code == "source-unreachable"
    assert len(asked) == attempts


def test_a_server_that_answers_byte_by_byte_is_left(
    serve: Callable[[Handle], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(sources, "ATTEMPTS", 1)

    def head(handler: BaseHTTPRequestHandler) -> None:
        for _ in range(100):
            handler.wfile.write(b"H")
            time.sleep(0.02)

    def body(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        head(handler)

    for answer in (head, body):
        with pytest.raises(Unavailable, match=r"more than 0\.2 seconds"):
            HttpSource(serve(answer)).fetch("checkpoint")


@pytest.mark.parametrize(
    "url", ["http://[1", "http://a..b/", "http://127.0.0.1:port/", "http://127.0.0.1:9/\N{SNOWMAN}"]
)
def test_an_address_that_is_none_leaves_the_question_open(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "ATTEMPTS", 1)
    with pytest.raises(Unavailable):
        HttpSource(url).fetch("checkpoint")


def test_only_regular_files_are_read_from_a_directory(tmp_path: Path) -> None:
    (tmp_path / "tile").mkdir()
    os.mkfifo(tmp_path / "checkpoint")
    (tmp_path / "device").symlink_to("/dev/zero")
    for path in ("tile", "checkpoint", "device"):
        with pytest.raises(Unavailable, match="regular"):
            DirectorySource(tmp_path).fetch(path)


def test_a_size_that_nobody_has_entries_for_has_an_end() -> None:
    signer = Signer.generate("demo.integrator.example/log")
    leaves = [b"entry %d" % number for number in range(300)]
    note = Checkpoint(signer.name, 1 << 62, root_of_log(leaves)).sign(signer)
    source = MemorySource(log_files(leaves, note))
    result = verify_log(source, signer.verifier)
    assert result.verdict == "failed"
    assert len(source.fetched) < 200


@pytest.mark.parametrize("status", [202, 204, 206])
def test_a_success_that_gives_no_whole_file_is_no_proof_of_anything(
    serve: Callable[[Handle], str], status: int
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.end_headers()
        if status != 204:
            handler.wfile.write(bytes(100))

    with pytest.raises(Unavailable, match=str(status)):
        HttpSource(serve(answer)).fetch("tile/0/000")


@pytest.mark.parametrize("after", [gzip.compress(b"more"), b"junk"])
def test_gzip_that_goes_on_after_its_end_is_no_proof_of_anything(serve: Callable[[Handle], str], after: bytes) -> None:
    with pytest.raises(Unavailable) as caught:
        HttpSource(serve(answering(gzip.compress(b"part of it") + after, "gzip"))).fetch("checkpoint")
    assert caught.value.code == "source-encoding"


@pytest.mark.parametrize(
    "url", ["https://me:secret@log.example/s0", "https://log.example/s0?of=1", "http://log.example#"]
)
def test_an_address_with_more_than_a_prefix_is_refused_and_a_password_not_repeated(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        HttpSource(url)
    assert caught.value.code == "source-url"
    assert "secret" not in caught.value.message
