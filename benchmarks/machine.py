"""Reads from the kernel what a measurement needs: the CPU time of processes, and on what machine it was taken."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from integrator_audit.engine import engine

_PROC = Path("/proc")
_PACKAGES = ("integrator", "aiokafka", "fastavro", "lmdb", "uvloop")


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time of these processes so far, of all their threads, in the kernel's ticks of 10 ms.

    Source: proc_pid_stat(5), fields 14 and 15. Linux only.
    """
    ticks = 0
    for pid in pids:
        # The second field is a name in parentheses that may hold anything, so count from its end: field 3 comes next.
        fields = (_PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def describe() -> dict[str, str | int]:
    """Return the machine, its load now, and the versions of what is measured."""
    cpu, memory = "unknown", "unknown"
    for line in (_PROC / "cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            cpu = value.strip()
            break
    for line in (_PROC / "meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            memory = f"{int(line.split()[1]) / 1024 / 1024:.1f} GiB"
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory": memory,
        "loadBefore": f"{os.getloadavg()[0]:.1f}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "engine": engine(),
        **{name: metadata.version(name) for name in _PACKAGES},
    }
