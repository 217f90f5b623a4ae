"""Every write step of a writer's life, as the kernel sees it: failed and not done, failed but done, killed in it.

- `strace` makes the n-th call of a kind fail with EIO (a write that did not happen; a sync that failed after the
  writes before it had reached the file: the "failed but persisted" of a commit) or delivers SIGKILL in it.
- Afterwards the judge opens the log as the next writer would, reads every row, file and part, and a writer without
  faults finishes the work.
- Syncs, renames, truncations, unlinks and the writes of exported files are all tried; of the many page writes every
  seventh, from a place that differs from run to run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fault_ledger.steps import STOPPED
from tests.fault_ledger.world import Acknowledged, World, violations

ROOT = Path(__file__).resolve().parents[2]
CALLS = ("fdatasync", "fsync", "rename", "ftruncate", "unlink", "write", "pwrite64")
EVERY = {"pwrite64": 7}
pytestmark = pytest.mark.fault_ledger


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a writer ended, what it had acknowledged, and the log's size when it was opened again."""

    exit_code: int
    error: str
    acknowledged: list[Acknowledged]


def run(directory: Path, *tracing: str) -> Outcome:
    """Let a writer live below `directory` under strace."""
    assert shutil.which("strace"), "this tier needs strace: install your system's package of it"
    directory.mkdir(exist_ok=True)
    command = ["strace", "-f", *tracing, sys.executable, "-m", "tests.fault_ledger.steps", str(directory)]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    lines = [line.split() for line in done.stdout.splitlines()]
    acknowledged = [Acknowledged(int(size), bytes.fromhex(root), int(position)) for size, root, position in lines]
    return Outcome(done.returncode, done.stderr, acknowledged)


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    """Count the calls of one life without faults."""
    place = tmp_path_factory.mktemp("counted")
    outcome = run(place / "log", "-e", f"trace={','.join(CALLS)}", "-o", str(place / "trace"))
    assert (outcome.exit_code, len(outcome.acknowledged)) == (0, 3), outcome.error
    calls = Counter(re.findall(r"^\d+ +(\w+)\(", (place / "trace").read_text(), re.MULTILINE))
    assert set(calls) == set(CALLS), "a kind of step that no writer takes would be tried in vain"
    return calls


def steps(counted: Counter[str], call: str) -> range:
    """Return which calls of a kind to try."""
    every = EVERY.get(call, 1)
    first = 1 + int.from_bytes(os.urandom(2), "big") % every
    return range(first, counted[call] + 1, every)


@pytest.mark.parametrize("call", CALLS)
def test_a_writer_killed_in_any_step_leaves_a_log_that_goes_on(
    call: str, counted: Counter[str], tmp_path: Path
) -> None:
    for number in steps(counted, call):
        directory = tmp_path / str(number)
        fault = f"inject={call}:signal=KILL:when={number}"
        outcome = run(directory, "-e", f"trace={call}", "-e", fault, "-o", os.devnull)
        assert outcome.exit_code in (-9, 137), f"{fault}: {outcome.exit_code} {outcome.error}"
        judge(directory, outcome, fault)


@pytest.mark.parametrize("call", CALLS)
def test_a_step_that_fails_stops_the_writer_with_a_code_and_the_next_one_goes_on(
    call: str, counted: Counter[str], tmp_path: Path
) -> None:
    seen: Counter[str] = Counter()
    for number in steps(counted, call):
        directory = tmp_path / str(number)
        fault = f"inject={call}:error=EIO:when={number}"
        outcome = run(directory, "-e", f"trace={call}", "-e", fault, "-o", os.devnull)
        # 0: a step that may fail without harm, such as clearing away the write-ahead log at the end.
        assert outcome.exit_code in (0, STOPPED), f"{fault}: {outcome.exit_code} {outcome.error}"
        assert "Traceback" not in outcome.error, fault
        seen[judge(directory, outcome, fault) if outcome.exit_code else "harmless"] += 1
    print(f"{call}: {dict(seen)}")
    if call == "fdatasync":
        assert seen["persisted"], "a failed sync after the writes had reached the file was never met"
        assert seen["not persisted"]


def judge(directory: Path, outcome: Outcome, fault: str) -> str:
    """Assert that what is left is a whole log, let a writer finish it; say whether the failed step had persisted."""
    world = World(directory)
    vault = world.vault()
    ledger = world.ledger(vault)
    last = outcome.acknowledged[-1].size if outcome.acknowledged else 0
    persisted = ledger.size > last
    ledger.close()
    vault.close()
    assert violations(world, outcome.acknowledged, thorough=True) == [], fault
    again = subprocess.run(
        [sys.executable, "-m", "tests.fault_ledger.steps", str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, f"{fault}: {again.stderr}"
    assert violations(world, outcome.acknowledged, thorough=True) == [], f"{fault}, and then finished"
    return "persisted" if persisted else "not persisted"
