"""Runs the tiers of the tests one after the other; a tier that could not run is said last, and fails in CI.

python -m tests.tiers              every tier
python -m tests.tiers unit kafka   some of them
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
MEMORY = Path("/dev/shm")
MEMORY_NEEDED = 2 << 30
KERNELS = ("./audit/kernel", "./integrator/kernel")


@dataclass(frozen=True, slots=True)
class Tier:
    """Commands to run in order, the budget in minutes, and why the tier cannot run here (empty: it can).

    `left_out` is asked first and may install what the tier needs. A tier that is `in_memory` shows nothing about disks,
    and writes its files where they cost no waiting.
    """

    name: str
    commands: Sequence[Sequence[str]]
    minutes: float
    left_out: Callable[[], str] = lambda: ""
    in_memory: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which the commands run."""
        if self.in_memory and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED:
            return os.environ | {"TMPDIR": str(MEMORY)}
        return dict(os.environ)


def _pytest(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "pytest", "-q", *arguments)


def _quick(*arguments: str) -> tuple[str, ...]:
    return _pytest("-n", "2", "--dist", "loadfile", *arguments)


def _tool(name: str, *arguments: str) -> tuple[str, ...]:
    return (str(Path(sys.executable).with_name(name)), *arguments)


def _without_shared() -> str:
    return "" if SHARED.is_dir() else "there is no folder ../shared/data beside this clone"


def _install(lock: str) -> str:
    """Install a locked set of Python packages into this environment; return what went wrong."""
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r")
    if subprocess.run((*pip, lock), cwd=ROOT, check=False).returncode == 0:
        return ""
    return f"the packages of {lock} could not be installed"


def _debian(package: str, command: str) -> str:
    """Install a package of the system where `command` is missing and that can be done; return what is missing."""
    if shutil.which(command) is None and shutil.which("apt-get") is not None and os.geteuid() == 0:
        for step in (("update",), ("install", "--yes", "--no-install-recommends", package)):
            subprocess.run(
                ("apt-get", "--quiet=2", *step),
                check=False,
                stdout=subprocess.DEVNULL,
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            )
    return "" if shutil.which(command) else f"there is no {command} on the PATH: install your system's package of it"


def _without_browser() -> str:
    # The system's own build: the download of a browser by its driver is not reproducible and not everywhere allowed.
    return _install("requirements-browser.lock") or _debian("chromium", "chromium")


def _without_strace() -> str:
    return _debian("strace", "strace")


def _without_go() -> str:
    return "" if shutil.which("go") else _install("requirements-conformance.lock")


def _without_kernel() -> str:
    """Build the native kernels, having installed a compiler where there is none and that can be done."""
    if reason := _debian("gcc", "cc"):
        return reason
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--force-reinstall")
    built = subprocess.run((*pip, "--no-deps", "--no-build-isolation", *KERNELS), cwd=ROOT, check=False).returncode == 0
    return "" if built else "the native kernels could not be built: are the headers of Python there (python3-dev)?"


TIERS = (
    Tier(
        "lint",
        (_tool("ruff", "check", "."), _tool("ruff", "format", "--check", "."), _tool("lint-imports"), _tool("pyright")),
        2,
    ),
    Tier("unit", (_quick("--ignore", "tests/unit/audit", "tests/unit"),), 1.5, in_memory=True),
    Tier("unit-audit", (_quick("tests/unit/audit"),), 1.5, in_memory=True),
    Tier("native", (_pytest("tests/native"),), 1, _without_kernel, in_memory=True),
    Tier("shared", (_pytest("tests/shared"),), 2, _without_shared),
    Tier("kafka", (_pytest("tests/kafka"),), 8),
    Tier("fault-ledger", (_pytest("-n", "2", "tests/fault_ledger"),), 5, _without_strace),
    Tier("postgresql", (_pytest("tests/postgresql"),), 3),
    Tier("conformance", (_pytest("tests/conformance"),), 4, _without_go),
    Tier("browser", (_pytest("tests/browser"),), 2, _without_browser),
    Tier("fault", (_pytest("tests/fault"),), 8),
    Tier("e2e", (_pytest("tests/e2e"),), 5),
)


def _run(command: Sequence[str], tier: Tier) -> bool:
    return subprocess.run(command, cwd=ROOT, env=tier.environment, check=False).returncode == 0


def main(names: Sequence[str]) -> int:
    """Run the tiers called `names`, or all; returns the exit code."""
    unknown = set(names) - {tier.name for tier in TIERS}
    if unknown:
        print(f"There is no tier {', '.join(sorted(unknown))}; there are {', '.join(tier.name for tier in TIERS)}.")
        return 2
    failed: list[str] = []
    left_out: list[str] = []
    for tier in TIERS:
        if names and tier.name not in names:
            continue
        if reason := tier.left_out():
            left_out.append(f"LEFT OUT {tier.name}: {reason}")
            continue
        begun = time.monotonic()
        ok = all(_run(command, tier) for command in tier.commands)
        minutes = (time.monotonic() - begun) / 60
        print(f"== {tier.name}: {'passed' if ok else 'FAILED'} in {minutes:.1f} of {tier.minutes} minutes", flush=True)
        if not ok:
            failed.append(tier.name)
    if failed:
        print(f"FAILED: {', '.join(failed)}")
    for line in left_out:
        print(line)
    return 1 if failed or (left_out and os.environ.get("CI") == "true") else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
