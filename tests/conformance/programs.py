"""The foreign programs as the tests call them: what they print as JSON, and how they fail."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

SECONDS = 60


class ForeignError(Exception):
    """A foreign program said no."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs are."""

    directory: Path

    def conform(self, *arguments: object, stdin: bytes = b"") -> dict[str, Any]:
        """Run one of our small programs around foreign libraries to its end and return what it printed."""
        command = [str(self.directory / "conformance"), *map(str, arguments)]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=SECONDS, check=False)
        if done.returncode:
            raise ForeignError(done.stderr.decode())
        return json.loads(done.stdout)

    def fsck(self, url: str, vkey: Path) -> None:
        """Run Tessera's fsck; raise when it finds anything.

        Its exit code does not tell, its log does; and after a tile that is wrong it may wait for ever.
        """
        arguments = ("--ui=false", f"--storage_url={url}", f"--public_key={vkey}", "--v=1", "--logtostderr")
        command = [str(self.directory / "fsck"), *arguments]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        timer = threading.Timer(SECONDS, process.kill)
        timer.start()
        said: list[str] = []
        try:
            assert process.stderr is not None
            for line in process.stderr:
                said.append(line)
                if "fsck failed" in line or ":Invalid" in line:
                    raise ForeignError("".join(said))
        finally:
            timer.cancel()
            process.kill()
            process.wait(SECONDS)
        if not any("Completed ranges" in line for line in said):
            raise ForeignError(f"fsck did not say that it came to its end: {''.join(said)}")

    def tessera(self, directory: Path, *, entries: Path, key: Path, policy: Path) -> None:
        """Append the files in `entries` to a log of Tessera that asks witnesses before it publishes."""
        arguments = (f"--storage_dir={directory}", f"--entries={entries}/*", f"--private_key={key}")
        command = [str(self.directory / "posix-oneshot"), *arguments, f"--witness_policy_file={policy}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        if done.returncode:
            raise ForeignError(done.stderr)

    @contextmanager
    def running(self, name: str, *arguments: object) -> Generator[subprocess.Popen[str]]:
        """Run a program beside the test and end it with the test."""
        command = [str(self.directory / name), *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait(SECONDS)
            if process.stdout is not None:
                process.stdout.close()


def first_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the JSON object that a program prints when it is ready."""
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def wait_for(url: str) -> None:
    """Wait until somebody answers at a URL, whatever the answer."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        with suppress(ConnectionError):
            try:
                urlopen(url, timeout=5).close()
            except URLError as error:
                if isinstance(error.reason, ConnectionError):
                    time.sleep(0.05)
                    continue
            return
    raise TimeoutError(url)
