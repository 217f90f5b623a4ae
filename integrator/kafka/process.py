"""Knows one process again after its number may have been given to another, so that only our own is ever signalled.

A process is its number and the moment it started, as the kernel tells it. Linux: `/proc/<pid>/stat` and the id of this
boot; elsewhere `ps`.
"""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A process that was alive when this was made; `birth` tells it from a later one with the same number."""

    pid: int
    birth: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """Return the process that has this number now, or `None`."""
        birth = _birth(pid)
        return cls(pid, birth) if birth is not None else None

    def alive(self) -> bool:
        """Tell whether this very process still runs; one that waits to be reaped does not."""
        return _birth(self.pid) == self.birth

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this very process, or do nothing when it has ended."""
        try:
            # Held open, the number cannot pass to another process between the look and the signal.
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        except (AttributeError, OSError):  # not Linux, or a sandbox that forbids it
            if self.alive():
                os.kill(self.pid, number)
            return
        try:
            if self.alive():
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)


def _birth(pid: int) -> str | None:
    if (_PROC / "self" / "stat").exists():
        return _birth_linux(pid)
    shown = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    state, _, started = shown.partition(" ")
    return started.strip() if started and not state.startswith("Z") else None


def _birth_linux(pid: int) -> str | None:
    try:
        # SPEC proc_pid_stat(5): the second field is a name in parentheses that may hold anything, so count from its
        # end: field 3 is the state, field 22 the start time in clock ticks since boot.
        fields = (_PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        boot = (_PROC / "sys" / "kernel" / "random" / "boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in ("Z", "X") else f"{boot} {fields[19]}"


def reap(pid: int) -> None:
    """Collect a child that has ended, so that it does not stay in the table; nothing for a process of somebody else."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
