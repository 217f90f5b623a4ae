"""Runs the real Apache Kafka for development and tests: one node, loopback only, a password on every port.

- `start` is idempotent and returns when a login with the administrator's password has been answered by this broker.
- A process is signalled only when number and moment of birth are those that we noted: never a stranger.
- What is started survives the program that started it, until `stop`. A start that fails leaves nothing running.
- Crash windows. While formatting: the half-made folder has another name and is made anew. Between the start of the
  process and the note of its number: the next start finds the data in use and says so. After SIGKILL of the broker:
  its note is stale, which `status` says and `start` takes over.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import os
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from integrator.domain.errors import Busy, Refused, Unavailable
from integrator.kafka import artefacts, java
from integrator.kafka.broker_files import BrokerFiles, Ports, Running, argument, checked_password
from integrator.kafka.connection import Connection
from integrator.kafka.loopback import LOOPBACK, free_port, is_free
from integrator.kafka.process import Process, reap

ADMIN = "admin"
START_SECONDS = 90.0
_STOP_SECONDS = 30.0
_LOCK_SECONDS = 120.0
# The broker's port answers a moment before its users are known, so a refused login counts only after this.
_USERS_KNOWN_SECONDS = 5.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker listens; `started` is false when it already ran."""

    bootstrap: str
    pid: int
    started: bool


@dataclass(frozen=True, slots=True)
class BrokerStatus:
    """`running`, `stopped`, or `died`: it was started, not stopped by us, and is gone."""

    state: Literal["running", "stopped", "died"]
    pid: int | None
    bootstrap: str | None
    log: Path


class DevelopmentBroker:
    """The broker of one installation directory. Its port is chosen at the first start and kept."""

    def __init__(
        self,
        directory: Path,
        *,
        admin_password: str,
        broker_password: str,
        fast: bool = False,
        port: int | None = None,
    ) -> None:
        """Describe the broker of `directory`; nothing is started.

        `fast` halves the start and the speed afterwards: for tests. `port` is the clients' port, chosen when `None`.
        """
        self._files = BrokerFiles(directory)
        self._admin_password = checked_password(admin_password)
        self._broker_password = checked_password(broker_password)
        self._fast = fast
        self._port = port

    @property
    def bootstrap(self) -> str:
        """The clients' address, also while it is stopped. Raises `Refused` (`kafka-never-started`)."""
        ports = self._files.ports()
        if ports is None:
            raise Refused("kafka-never-started", f"No broker has been started in {self._files.root} yet.")
        return f"{LOOPBACK}:{ports.client}"

    @property
    def pid(self) -> int | None:
        """The number of the broker's process, or `None` while it does not run."""
        return _status(self._files).pid

    @property
    def log(self) -> Path:
        """The file that the broker's output goes to."""
        return self._files.log

    def connection(self) -> Connection:
        """Return the administrator's connection. Raises `Refused` (`kafka-never-started`)."""
        return Connection(self.bootstrap, ADMIN, SecretStr(self._admin_password))

    def status(self) -> BrokerStatus:
        """Tell what the files and the process table say; asks the broker nothing."""
        return _status(self._files)

    async def start(
        self, *, seconds: float = START_SECONDS, progress: artefacts.Progress | None = None
    ) -> BrokerAddress:
        """Start the broker, or find it running; when this returns, it serves the administrator.

        The first start of all fetches the jars, for which `seconds` do not count; `progress` is told.
        Raises `Refused` (`port-in-use`, `kafka-no-java`, `kafka-wrong-password`, …), `Unavailable` (`kafka-download`,
        `kafka-died`, `kafka-slow`), `Tampered` (`kafka-jar-checksum`) or `Busy` (`kafka-lock`).
        """
        async with self._alone():
            if running := _running(self._files):
                self._refuse_other_port()
                await self._until_ready(running.process, seconds=seconds, log_from=self._files.log.stat().st_size)
                return BrokerAddress(self.bootstrap, running.pid, started=False)
            jars, runtime = await _ingredients(progress)
            ports = self._choose_ports()
            self._files.write_ports(ports)
            await self._format(runtime, jars, ports)
            self._files.write_settings(ports, self._broker_password)
            log_from = self._files.log_size()
            running = self._spawn(runtime, jars)
            try:
                await self._until_ready(running.process, seconds=seconds, log_from=log_from)
            except BaseException:
                running.process.send(signal.SIGKILL)
                self._until_gone(running.process)
                self._files.forget_running()
                raise
            return BrokerAddress(self.bootstrap, running.pid, started=True)

    async def stop(self, *, seconds: float = _STOP_SECONDS) -> bool:
        """Stop the broker cleanly, by force after `seconds`; return whether it ran.

        When this returns, its process is gone. Raises `Busy` (`kafka-lock`) while somebody else starts it.
        """
        async with self._alone():
            running = _running(self._files)
            if running is not None:
                running.process.send(signal.SIGTERM)
                if await self._gone(running.process, seconds=seconds):
                    if running.draft:
                        java.Archive(Path(running.archive), Path(running.draft)).keep()
                else:
                    running.process.send(signal.SIGKILL)
                    await self._gone(running.process, seconds=seconds)
            self._files.forget_running()
            return running is not None

    def kill(self) -> None:
        """End the broker as a power cut does, for tests of faults; nothing is tidied. When this returns, it is gone."""
        if running := _running(self._files):
            running.process.send(signal.SIGKILL)
            self._until_gone(running.process)

    def _refuse_other_port(self) -> None:
        ports = self._files.ports()
        if ports is not None and self._port not in (None, ports.client):
            raise Refused(
                "kafka-other-port",
                f"The broker already runs, on port {ports.client}: stop it before changing its port.",
            )

    def _choose_ports(self) -> Ports:
        known = self._files.ports()
        client = self._port or (known.client if known else free_port())
        if not is_free(client):
            raise Refused(
                "port-in-use",
                f"Port {client} is in use by another program: stop that program, or choose another port with --port.",
            )
        # Clients never see the controller's port, so it may differ from the last time.
        keep = known is not None and known.controller != client and is_free(known.controller)
        return Ports(client, known.controller if known and keep else free_port(without=client))

    async def _format(self, runtime: java.Java, jars: tuple[Path, ...], ports: Ports) -> None:
        """Make the data folder with its two users, in one step, if there is none."""
        if self._files.data.is_dir():
            return
        unfinished = self._files.root / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._files.write_settings(ports, self._broker_password, data=unfinished)
        # Kafka's own generator leaves out ids that begin with a hyphen too: they look like an option.
        cluster = "-"
        while cluster.startswith("-"):
            cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        words = [
            *java.command(runtime, jars, fast=True, properties=self._java_properties())[1:],
            *("kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", str(self._files.properties)),
        ]
        for user, password in ((ADMIN, self._admin_password), ("broker", self._broker_password)):
            words += ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
        # Everybody on the machine can read a command line, nobody else this file.
        arguments = self._files.root / "format.arguments"
        self._files.write(arguments, "\n".join(map(argument, words)))
        try:
            done = await asyncio.to_thread(
                subprocess.run,
                [str(runtime.program), f"@{arguments}"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=START_SECONDS,
                check=False,
            )
        finally:
            arguments.unlink()
        if done.returncode != 0:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise Unavailable("kafka-format", f"Kafka could not make {self._files.data}: {''.join(last)}")
        unfinished.rename(self._files.data)

    def _java_properties(self) -> dict[str, str]:
        return {"log4j2.configurationFile": str(self._files.log_settings)}

    def _spawn(self, runtime: java.Java, jars: tuple[Path, ...]) -> Running:
        cache = artefacts.cache_directory()
        archive = java.class_archive(runtime, cache, jars=artefacts.pinned().digest, fast=self._fast)
        recorded = archive if archive is not None and not archive.path.is_file() else None
        words = [
            *java.command(runtime, jars, fast=self._fast, archive=archive, properties=self._java_properties()),
            *("kafka.Kafka", str(self._files.properties)),
        ]
        # Its own session: Ctrl-C in the terminal that started it is not for the broker. No child object to be waited
        # for: whoever stops it may be another program.
        pid = os.posix_spawn(
            runtime.program,
            words,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, self._files.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        process = Process.of(pid)
        if process is None:
            raise Unavailable("kafka-died", f"Java stopped at once: {runtime.program}")
        running = Running(
            pid,
            process.birth,
            archive=str(recorded.path) if recorded else "",
            draft=str(recorded.draft) if recorded else "",
        )
        self._files.write_running(running)
        return running

    async def _until_ready(self, process: Process, *, seconds: float, log_from: int) -> None:
        deadline = time.monotonic() + seconds
        answered: float | None = None
        connection, cluster = self.connection(), self._files.cluster()
        while time.monotonic() < deadline:
            reap(process.pid)
            if not process.alive():
                raise self._death(log_from)
            try:
                found = await connection.look(seconds=5)
            except Refused as error:
                answered = answered or time.monotonic()
                if time.monotonic() - answered > _USERS_KNOWN_SECONDS:
                    raise Refused(
                        error.code,
                        f"The broker in {self._files.root} has another administrator's password than the secret "
                        "kafka-admin: put that secret back, or remove the folder to begin anew.",
                    ) from error
            except Unavailable:
                answered = None
            else:
                if found.id != cluster:
                    raise Refused("port-in-use", f"Another Kafka answers at {self.bootstrap}: choose another --port.")
                if found.serves:
                    return
            await asyncio.sleep(_POLL_SECONDS)
        raise Unavailable(
            "kafka-slow", f"The broker does not serve after {seconds:.0f} seconds; its log: {self._files.log}"
        )

    def _death(self, log_from: int) -> Refused | Unavailable:
        tail = self._files.log_tail(log_from)
        text = " | ".join(tail) or "nothing"
        if "Address already in use" in text or "BindException" in text:
            return Refused(
                "port-in-use", f"A port of the broker ({self.bootstrap}) was taken by another program; start it again."
            )
        if "Failed to acquire lock" in text:
            return Refused(
                "kafka-data-in-use", f"Another process uses {self._files.data}: end it (a broker whose note was lost)."
            )
        return Unavailable("kafka-died", f"The broker stopped while starting; {self._files.log} ends: {text}")

    async def _gone(self, process: Process, *, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while process.alive():
            reap(process.pid)
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return True

    def _until_gone(self, process: Process) -> None:
        # After SIGKILL only the kernel's own work is waited for, so this may block the event loop.
        while process.alive():
            reap(process.pid)
            time.sleep(0.005)
        reap(process.pid)

    @asynccontextmanager
    async def _alone(self) -> AsyncGenerator[None]:
        """Let one program at a time start or stop this broker; the kernel lets go when that program dies."""
        self._files.prepare()
        deadline = time.monotonic() + _LOCK_SECONDS
        with self._files.lock.open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Busy(
                            "kafka-lock", f"Another program is starting or stopping the broker in {self._files.root}."
                        ) from None
                    await asyncio.sleep(0.1)
            yield


def status_of(directory: Path) -> BrokerStatus:
    """Tell the state of the broker of an installation directory, without its secrets; writes nothing."""
    return _status(BrokerFiles(directory))


def _status(files: BrokerFiles) -> BrokerStatus:
    noted, ports = files.running(), files.ports()
    bootstrap = f"{LOOPBACK}:{ports.client}" if ports else None
    if noted is None:
        return BrokerStatus("stopped", None, bootstrap, files.log)
    if _running(files) is None:
        return BrokerStatus("died", None, bootstrap, files.log)
    return BrokerStatus("running", noted.pid, bootstrap, files.log)


def _running(files: BrokerFiles) -> Running | None:
    noted = files.running()
    if noted is None:
        return None
    reap(noted.pid)
    return noted if noted.process.alive() else None


async def _ingredients(progress: artefacts.Progress | None) -> tuple[tuple[Path, ...], java.Java]:
    cancelled = threading.Event()

    def tell(done: int, total: int) -> None:
        if cancelled.is_set():
            raise KeyboardInterrupt  # ends the thread's work at the next jar; nobody waits for its outcome
        if progress is not None:
            progress(done, total)

    try:
        jars = await asyncio.to_thread(artefacts.obtain, artefacts.pinned(), artefacts.cache_directory(), progress=tell)
    finally:
        cancelled.set()
    return jars, await asyncio.to_thread(java.choose)
