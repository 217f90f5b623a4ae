"""Keeps what a process holds in memory from being written to the disk when it dies.

Records of people, keys and numbers stand in the memory of every process; a core file would be a copy that nobody knows.
"""

from __future__ import annotations

import resource


def forbid() -> None:
    """Let this process, and those that it starts, write no core file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
