"""Keeps the processes of one installation alive: starts them, starts them again, stops them and nothing else.

- Each child is a session of its own, so that Ctrl-C reaches the supervisor alone, which stops the children in order.
- Each child holds the end of a pipe from here: when the supervisor dies, however it dies, its children drain and end.
- A child that ends by itself is started again after a pause that grows to five seconds; so nothing is lost, since
  every process goes on from what its last transaction says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from integrator import telemetry
from integrator.domain.errors import IntegratorError, Refused, Unavailable

DRAIN_SECONDS = 12.0
"""A process drains within ten seconds; then it is killed, which costs no data."""
MUST_NOT_GO_ON = 3
"""Exit code of a process that a rule or a broken proof stops: starting it again would be wrong."""
_LONGEST_PAUSE = 5.0
_TRIES = 5
_HEALTHY_SECONDS = 10.0


@dataclass(slots=True)
class Child:
    """One process: its role, its command, and what it is now."""

    role: str
    command: Sequence[str]
    log: Path
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0
    ended: int | None = None
    """The exit code of a child that must not go on."""
    stopping: bool = field(default=False)

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        running = self.process is not None and self.process.returncode is None
        return self.process.pid if self.process is not None and running else None


class Supervisor:
    """Owns the children of one installation. Its methods run in one event loop."""

    def __init__(self, children: Sequence[tuple[str, Sequence[str]]], *, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self.children = {role: Child(role, command, logs / f"{role}.log") for role, command in children}
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._log = telemetry.log("operation")

    async def start(self) -> None:
        """Start every child and watch it. When this returns they run; they may not be ready yet."""
        for child in self.children.values():
            await self._spawn(child)
            self._watches[child.role] = asyncio.create_task(self._watch(child), name=f"watch {child.role}")

    async def stop(self) -> None:
        """Stop the children in the reverse order of their start and wait for each."""
        for child in reversed(self.children.values()):
            child.stopping = True
            await _end(child)
            watch = self._watches.pop(child.role, None)
            if watch is not None:
                watch.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watch

    def failure(self) -> IntegratorError | None:
        """Return why the installation cannot run: a child that must not go on, or one that keeps ending."""
        for child in self.children.values():
            if child.ended == MUST_NOT_GO_ON:
                return Refused("process", f"The process {child.role} must not go on. {last_words(child.log)}")
            if child.restarts >= _TRIES:
                return Unavailable("process", f"The process {child.role} keeps ending. {last_words(child.log)}")
        return None

    async def _spawn(self, child: Child) -> None:
        with child.log.open("ab") as log:
            try:
                child.process = await asyncio.create_subprocess_exec(
                    *child.command, stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
                )
            except OSError as error:
                raise Unavailable("process", f"The process {child.role} could not be started: {error}.") from None

    async def _watch(self, child: Child) -> None:
        loop = asyncio.get_running_loop()
        while child.process is not None:
            begun = loop.time()
            code = await child.process.wait()
            if child.stopping:
                return
            if code == MUST_NOT_GO_ON:
                child.ended = code
                return
            child.restarts = 0 if loop.time() - begun > _HEALTHY_SECONDS else child.restarts + 1
            self._log.warning("process-restarted", process=child.role, code=code)
            await asyncio.sleep(min(0.2 * 2**child.restarts, _LONGEST_PAUSE))
            await self._spawn(child)


async def _end(child: Child) -> None:
    process = child.process
    if process is None or process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def until_told(stop: asyncio.Event) -> None:
    """Set `stop` on SIGTERM, on SIGINT, or when the supervisor's end of standard input closes. Runs in a child."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if os.isatty(sys.stdin.fileno()):
        return
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass
    stop.set()


def last_words(log: Path) -> str:
    """Return what a process said last of why it ended, for people, and where its log is."""
    said = ""
    with contextlib.suppress(OSError):
        for line in log.read_bytes()[-64 * 1024 :].splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if event.get("event") == "process-failed":
                    said = f"{event.get('code')}: {event.get('detail')} "
    return f"{said}(log: {log})"
