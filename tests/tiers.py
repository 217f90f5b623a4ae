"""Runs the tiers of the tests one after the other; a tier that could not run is said last, and fails in CI.

python -m tests.tiers              every tier
python -m tests.tiers unit kafka   some of them
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


@dataclass(frozen=True, slots=True)
class Tier:
    """Commands to run in order, the budget in minutes, and why the tier cannot run here (empty: it can)."""

    name: str
    commands: Sequence[Sequence[str]]
    minutes: float
    left_out: Callable[[], str] = lambda: ""


def _pytest(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "pytest", "-q", *arguments)


def _tool(name: str, *arguments: str) -> tuple[str, ...]:
    return (str(Path(sys.executable).with_name(name)), *arguments)


def _without_shared() -> str:
    return "" if SHARED.is_dir() else "there is no folder ../shared/data beside this clone"


TIERS = (
    Tier(
        "lint",
        (_tool("ruff", "check", "."), _tool("ruff", "format", "--check", "."), _tool("lint-imports"), _tool("pyright")),
        2,
    ),
    Tier("unit", (_pytest("tests/unit"),), 1.5),
    Tier("shared", (_pytest("tests/shared"),), 2, _without_shared),
    Tier("kafka", (_pytest("tests/kafka"),), 8),
    Tier("fault", (_pytest("tests/fault"),), 8),
    Tier("e2e", (_pytest("tests/e2e"),), 5),
)


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
        ok = all(subprocess.run(command, cwd=ROOT, check=False).returncode == 0 for command in tier.commands)
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
