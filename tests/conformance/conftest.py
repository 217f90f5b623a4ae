"""The tier of foreign programs: finds Go, builds what others wrote once, and runs it against our logs."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conformance.programs import Programs

SOURCE = Path(__file__).parent / "go"
TOOLCHAIN = "go1.27.3"
NEEDED = (1, 27)
PACKAGES = (
    ".",
    "filippo.io/torchwood/cmd/litewitness",
    "github.com/transparency-dev/tessera/cmd/examples/posix-oneshot",
    "github.com/transparency-dev/tessera/cmd/fsck",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.conformance)


def _find_go() -> tuple[str, dict[str, str]]:
    """Return the go command and the environment in which it is new enough: that of this environment, or of the PATH."""
    own = Path(sys.executable).with_name("go")
    command = str(own) if own.exists() else shutil.which("go")
    if command is None:
        pytest.fail(
            "There is no Go: put go >= 1.27 on the PATH, or install requirements-conformance.lock.", pytrace=False
        )
    environment = os.environ | {"GOTOOLCHAIN": "local"}
    said = subprocess.run([command, "env", "GOVERSION"], env=environment, capture_output=True, text=True, check=True)
    version = re.match(r"go(\d+)\.(\d+)", said.stdout)
    assert version is not None, said.stdout
    if (int(version[1]), int(version[2])) < NEEDED:
        # An older go fetches the newer toolchain as a module.
        environment["GOTOOLCHAIN"] = TOOLCHAIN
    return command, environment


@pytest.fixture(scope="session")
def programs() -> Programs:
    """Return the foreign programs, built when sources or versions changed."""
    command, environment = _find_go()
    digest = hashlib.sha256(environment["GOTOOLCHAIN"].encode())
    for file in sorted(SOURCE.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dienstenintegrator" / "conformance"
    target = cache / digest.hexdigest()[:16]
    if not (target / "complete").exists():
        target.mkdir(parents=True, exist_ok=True)
        # One compiler at a time: the machine is shared, and this happens once.
        build = [command, "build", "-p", "1", "-trimpath", "-buildvcs=false", "-mod=readonly", "-o", str(target)]
        done = subprocess.run(
            [*build, *PACKAGES], cwd=SOURCE, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.fail(f"The foreign programs could not be built:\n{done.stderr}", pytrace=False)
        (target / "complete").touch()
    return Programs(target)


class _Server(ThreadingHTTPServer):
    # Clients fetch many tiles at once; connections beyond the queue would be reset and tried again seconds later.
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing when a client went away in the middle."""


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are written one after the other; with Nagle's algorithm each answer would wait 40 ms.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name of the base class
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Serve a directory of static files on the loopback, as any web server would; return the URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(directory: Path) -> str:
        server = _Server(("127.0.0.1", 0), partial(_Quiet, directory=str(directory)))
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
