from __future__ import annotations

import gzip
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from integrator_audit import LedgerReader, Refused, Signer, Tampered, Unavailable
from integrator_audit.sources import DirectorySource, HttpSource, open_source
from integrator_audit.state import State
from integrator_audit.tiles import TileName, is_implied
from integrator_audit.verify import Verification, verify_log
from tests.unit.audit.audit_samples import ORIGIN, Place, entry, fill, flip, signer

VERIFIER = signer().verifier


@pytest.fixture(scope="module")
def exported(filled: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("exported") / "site"
    filled.reader().export(directory)
    return directory


@pytest.fixture
def site(exported: Path, tmp_path: Path) -> Path:
    """Return a copy of the exported log for a test of its own."""
    shutil.copytree(exported, tmp_path / "site")
    return tmp_path / "site"


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state")


def verify(directory: Path, state: State | None = None) -> Verification:
    return verify_log(DirectorySource(directory), VERIFIER, state=state)


def found(result: Verification) -> set[tuple[str, str]]:
    return {(finding.code, finding.where) for finding in result.findings}


def change(file: Path, at: int) -> None:
    data = flip(file.read_bytes(), at)
    assert isinstance(data, bytes)
    file.write_bytes(data)


def test_an_exported_log_holds(exported: Path) -> None:
    result = verify(exported)
    assert result.holds
    assert (result.checkpoint.origin, result.checkpoint.size, result.previous) == (ORIGIN, 785, None)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 512])
def test_logs_around_the_width_of_a_tile_hold(place: Place, tmp_path: Path, size: int) -> None:
    if size:
        fill(place, size, batch=100)
    else:
        place.ledger().close()
    place.reader().export(tmp_path / "site")
    assert verify(tmp_path / "site").holds


@pytest.mark.parametrize(
    ("path", "at", "code"),
    [
        ("tile/0/001", 40, "tile-wrong"),
        ("tile/0/003.p/17", 543, "tile-wrong"),
        ("tile/1/000.p/3", 0, "tile-wrong"),
        ("tile/1/000.p/3", 95, "tile-wrong"),
        ("tile/entries/000", 8959, "bundle-wrong"),
        ("tile/entries/001", 2, "bundle-wrong"),
        ("tile/entries/002", 1, "bundle-wrong"),
        ("tile/entries/003.p/17", 500, "bundle-wrong"),
    ],
)
def test_the_file_with_the_flipped_byte_is_named_and_no_other(site: Path, path: str, at: int, code: str) -> None:
    change(site / path, at)
    assert found(verify(site)) == {(code, path)}


def test_wrong_files_are_all_named_also_a_tile_and_its_own_bundle(site: Path) -> None:
    change(site / "tile/0/001", 0)
    change(site / "tile/entries/001", 300)
    change(site / "tile/entries/002", 300)
    assert found(verify(site)) >= {
        ("tile-wrong", "tile/0/001"),
        ("bundle-wrong", "tile/entries/001"),
        ("bundle-wrong", "tile/entries/002"),
    }


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("tile/0/002", "tile-missing"),
        ("tile/1/000.p/3", "tile-missing"),
        ("tile/entries/003.p/17", "bundle-missing"),
    ],
)
def test_a_missing_file_is_named(site: Path, path: str, code: str) -> None:
    (site / path).unlink()
    assert found(verify(site)) == {(code, path)}


def test_what_is_wrong_behind_a_missing_file_is_named_too(site: Path) -> None:
    (site / "tile/0/001").unlink()
    change(site / "tile/entries/002", 300)
    assert found(verify(site)) == {("tile-missing", "tile/0/001"), ("bundle-wrong", "tile/entries/002")}


def test_a_bundle_with_an_entry_too_many_is_named(site: Path) -> None:
    with (site / "tile/entries/001").open("ab") as file:
        file.write(b"\x00\x01a")
    assert found(verify(site)) == {("bundle-wrong", "tile/entries/001")}


def test_a_shorter_tile_is_named(site: Path) -> None:
    (site / "tile/0/001").write_bytes((site / "tile/0/001").read_bytes()[:-32])
    assert found(verify(site)) == {("tile-wrong", "tile/0/001")}


def test_a_partial_tile_may_be_gone_once_the_full_one_is_there(place: Place, tmp_path: Path) -> None:
    fill(place, 250)
    place.reader().export(tmp_path / "site")
    note = (tmp_path / "site/checkpoint").read_bytes()
    for _ in range(2):
        ledger = place.ledger()
        ledger.append([entry(number) for number in range(300)])
        ledger.close()
        place.reader().export(tmp_path / "site")
    assert not (tmp_path / "site/tile/0/000.p").exists()
    (tmp_path / "site/checkpoint").write_bytes(note)
    assert verify(tmp_path / "site").holds


def test_only_what_the_signed_checkpoint_implies_is_fetched(site: Path) -> None:
    class Watching(DirectorySource):
        def fetch(self, path: str) -> bytes | None:
            asked.append(path)
            return super().fetch(path)

    asked: list[str] = []
    assert verify_log(Watching(site), VERIFIER).holds
    assert asked[0] == "checkpoint"
    assert len(asked) > 9
    assert all(is_implied(TileName.parse(path), 785) for path in asked[1:])
    asked.clear()
    with pytest.raises(Tampered):
        verify_log(Watching(site), Signer.generate(ORIGIN).verifier)
    assert asked == ["checkpoint"], "nothing is fetched for a checkpoint that nobody trusted signed"


def test_another_key_a_changed_or_a_malformed_checkpoint_is_not_believed(site: Path) -> None:
    with pytest.raises(Tampered):
        verify_log(DirectorySource(site), Signer.generate(ORIGIN).verifier)
    note = (site / "checkpoint").read_bytes()
    (site / "checkpoint").write_bytes(note.replace(b"\n785\n", b"\n784\n"))
    with pytest.raises(Tampered):
        verify(site)
    (site / "checkpoint").write_bytes(note.replace(b"\n785\n", b"\n785 \n"))
    with pytest.raises(Tampered):
        verify(site)


def test_a_signed_root_that_is_not_the_entries_is_found(site: Path) -> None:
    text = (site / "checkpoint").read_bytes().split(b"\n\n")[0] + b"\n"
    lines = text.split(b"\n")
    (site / "checkpoint").write_bytes(signer().sign(b"\n".join([*lines[:2], b"A" * 43 + b"=", b""])))
    assert ("root-wrong", "checkpoint") in found(verify(site))


def test_a_place_without_a_log_cannot_be_judged(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        verify(tmp_path)
    with pytest.raises(Unavailable):
        open_source(str(tmp_path / "none"))


def test_the_accepted_checkpoint_is_remembered(exported: Path, state: State) -> None:
    assert verify(exported, state).previous is None
    assert verify(exported, state).previous == 785
    assert state.load(ORIGIN) == (exported / "checkpoint").read_bytes()


def test_a_log_that_grew_is_accepted_and_remembered(place: Place, tmp_path: Path, state: State) -> None:
    for size in (0, 100, 256, 300):
        ledger = place.ledger()
        ledger.append([entry(number) for number in range(ledger.size, size)])
        ledger.close()
        place.reader().export(tmp_path / "site")
        assert verify(tmp_path / "site", state).holds
    assert verify(tmp_path / "site", state).previous == 300


def grown(place: Place, site: Path, count: int) -> None:
    ledger = place.ledger()
    ledger.append([entry(number) for number in range(count)])
    ledger.close()
    place.reader().export(site)


def test_a_rollback_is_seen(place: Place, tmp_path: Path, state: State) -> None:
    grown(place, tmp_path / "old", 300)
    old = place.copy("backup")
    grown(place, tmp_path / "new", 1)
    assert verify(tmp_path / "new", state).holds
    assert found(verify(tmp_path / "old", state)) == {("rollback", "checkpoint")}
    assert state.load(ORIGIN) == (tmp_path / "new/checkpoint").read_bytes(), "what was accepted stays"
    grown(old, tmp_path / "fork", 1)
    assert found(verify(tmp_path / "fork", state)) == {("fork", "checkpoint")}


def test_a_fork_that_went_on_is_seen(place: Place, tmp_path: Path, state: State) -> None:
    grown(place, tmp_path / "start", 300)
    other = place.copy("other")
    grown(place, tmp_path / "one", 10)
    grown(other, tmp_path / "two", 500)
    assert verify(tmp_path / "one", state).holds
    assert found(verify(tmp_path / "two", state)) == {("fork", "checkpoint")}
    assert verify(tmp_path / "two", None).holds, "without memory a fork cannot be seen"


def test_a_memory_under_another_key_is_not_overwritten(exported: Path, state: State) -> None:
    state.save(ORIGIN, Signer.generate(ORIGIN).sign(f"{ORIGIN}\n0\n{'A' * 43}=\n".encode()))
    with pytest.raises(Refused) as caught:
        verify(exported, state)
    assert caught.value.code == "state-other-key"


def test_nothing_is_remembered_of_a_log_that_does_not_hold(site: Path, state: State) -> None:
    change(site / "tile/0/001", 40)
    verify(site, state)
    assert state.load(ORIGIN) is None


Answer = Callable[[str], tuple[int, bytes, dict[str, str]]]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Serve what a function answers, on the loopback; return the log's prefix."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, content, headers = answer(self.path.removeprefix("/log/"))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name of the base class
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/log/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def resources(reader: LedgerReader) -> Answer:
    def answer(path: str) -> tuple[int, bytes, dict[str, str]]:
        resource = reader.resource(path)
        if resource is None:
            return 404, b"", {}
        return 200, resource.content, {"Content-Type": resource.content_type}

    return answer


def test_a_log_served_over_http_holds(filled: Place, serve: Callable[[Answer], str]) -> None:
    result = verify_log(open_source(serve(resources(filled.reader()))), VERIFIER)
    assert (result.holds, result.checkpoint.size) == (True, 785)


def test_files_that_come_compressed_are_read(filled: Place, serve: Callable[[Answer], str]) -> None:
    plain = resources(filled.reader())

    def answer(path: str) -> tuple[int, bytes, dict[str, str]]:
        status, content, headers = plain(path)
        return status, gzip.compress(content), headers | {"Content-Encoding": "gzip"}

    assert verify_log(HttpSource(serve(answer)), VERIFIER).holds


def test_a_wrong_tile_over_http_is_named(log: Place, serve: Callable[[Answer], str]) -> None:
    log.damage("UPDATE tile SET data = flip(data, 40) WHERE level = 0 AND n = 1")
    assert found(verify_log(HttpSource(serve(resources(log.reader()))), VERIFIER)) == {("tile-wrong", "tile/0/001")}


def test_a_server_that_stumbles_is_asked_again(filled: Place, serve: Callable[[Answer], str]) -> None:
    plain = resources(filled.reader())
    asked: dict[str, int] = {}

    def answer(path: str) -> tuple[int, bytes, dict[str, str]]:
        asked[path] = asked.get(path, 0) + 1
        return (503, b"", {}) if path == "tile/0/001" and asked[path] == 1 else plain(path)

    assert verify_log(HttpSource(serve(answer)), VERIFIER).holds
    assert asked["tile/0/001"] == 2


@pytest.mark.parametrize("status", [403, 500])
def test_a_server_that_refuses_leaves_the_question_open(serve: Callable[[Answer], str], status: int) -> None:
    with pytest.raises(Unavailable, match=str(status)):
        verify_log(HttpSource(serve(lambda _path: (status, b"", {}))), VERIFIER)


def test_nobody_listening_leaves_the_question_open() -> None:
    with pytest.raises(Unavailable):
        verify_log(HttpSource("http://127.0.0.1:9/log"), VERIFIER)
