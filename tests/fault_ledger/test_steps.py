"""Every write step of a writer's lives, as the kernel sees it: failed and not done, failed but done, killed in it.

- `strace` makes the n-th call of a kind fail with EIO (a write that did not happen; a sync that failed after the
  writes before it had reached the file: the "failed but persisted" of a commit) or delivers SIGKILL in it.
- Afterwards the life is begun anew without faults and must come to its end, and the judge reads every row, file and
  part. For `append` the judge looks before that too, as the next writer would.
- A writer is killed in every call that syncs, cuts, renames or removes a file or writes one from its beginning, and
  each of these fails while it appends. Of the failures in other lives and of writes of single pages, of which there are
  some hundred, some are tried, from a place that differs from run to run; all of them with `make fault-ledger-whole`,
  which sets INTEGRATOR_TEST_EVERY_FAULT.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest

from integrator_audit import LedgerReader
from integrator_audit.completeness.epoch import check_log
from integrator_audit.completeness.labels import FileUniqueSigner
from integrator_audit.halfyear import start_of
from integrator_audit.rawlog import RawLog
from tests.fault_ledger.lives import CANARY, DAY, STOPPED, open_sealer
from tests.fault_ledger.world import (
    EPOCHS,
    NEXT_ORIGIN,
    ORIGIN,
    SOURCE,
    Acknowledged,
    World,
    append,
    fsck_findings,
    signer,
    violations,
)

ROOT = Path(__file__).resolve().parents[2]
CALLS = ("fdatasync", "fsync", "rename", "ftruncate", "unlink", "write", "pwrite64")
MOST = {"append": 12, "turn": 6, "seal": 5, "forget": 6}
"""How many calls of a kind of which not all are tried are tried in a life."""
EVERY = "INTEGRATOR_TEST_EVERY_FAULT" in os.environ
pytestmark = pytest.mark.fault_ledger


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a writer ended and what it had promised."""

    exit_code: int
    error: str
    promised: list[list[str]]

    @property
    def acknowledged(self) -> list[Acknowledged]:
        return [Acknowledged(int(size), bytes.fromhex(root), int(position)) for size, root, position in self.promised]


def run(life: str, directory: Path, *tracing: str) -> Outcome:
    """Let a writer live, under strace where `tracing` says how."""
    assert shutil.which("strace"), "this tier needs strace: install your system's package of it"
    command = [sys.executable, "-m", "tests.fault_ledger.lives", life, str(directory)]
    if tracing:
        command = ["strace", "-f", *tracing, *command]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return Outcome(done.returncode, done.stderr, [line.split() for line in done.stdout.splitlines()])


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return for each life the directory in which it begins; tests copy it."""
    root = tmp_path_factory.mktemp("begun")
    empty, filled, sealing = World(root / "empty"), World(root / "filled"), World(root / "sealing")
    empty.prepare()
    for world in (filled, sealing):
        world.prepare()
        vault = world.vault()
        ledger = world.ledger(vault)
        for hour in range(4):
            append(ledger, Random(hour), most=40, now_ms=start_of(DAY) + hour * 20_000_000)
        ledger.close()
        vault.close()
    (sealing.directory / "label.spki").write_bytes(FileUniqueSigner.generate().spki)
    sealer, close = open_sealer(sealing, now=start_of(DAY) + 1)
    assert sealer.begin() == DAY
    close()
    return {
        "append": empty.directory,
        "turn": filled.directory,
        "seal": sealing.directory,
        "forget": filled.directory,
    }


@pytest.fixture(scope="module")
def counted(begun: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Counter[str]]:
    """Count the calls of each life without faults."""
    found: dict[str, Counter[str]] = {}
    for life, directory in begun.items():
        place = tmp_path_factory.mktemp(life)
        shutil.copytree(directory, place / "log")
        outcome = run(life, place / "log", "-e", f"trace={','.join(CALLS)}", "-o", str(place / "trace"))
        assert outcome.exit_code == 0, outcome.error
        assert len(outcome.promised) >= 2, "a life that promises nothing shows nothing"
        found[life] = Counter(re.findall(r"^\d+ +(\w+)\(", (place / "trace").read_text(), re.MULTILINE))
        assert found[life]["fdatasync"] > 2
    assert set().union(*found.values()) == set(CALLS), "a kind of step that no writer takes would be tried in vain"
    return found


def faults(life: str, counted: dict[str, Counter[str]], *, thorough: bool) -> list[tuple[str, int]]:
    """Return which calls of a life to try: when `thorough` all but most of the writes of single pages."""
    chosen: list[tuple[str, int]] = []
    for call in CALLS:
        count = counted[life][call]
        most = count if EVERY or (thorough and call != "pwrite64") else MOST[life]
        every = -(-count // most) if count else 1
        first = 1 + int.from_bytes(os.urandom(2), "big") % every
        chosen += [(call, number) for number in range(first, count + 1, every)]
    return chosen


@pytest.mark.parametrize("life", MOST)
def test_a_writer_killed_in_any_step_leaves_what_the_next_one_goes_on_with(
    life: str, begun: dict[str, Path], counted: dict[str, Counter[str]], tmp_path: Path
) -> None:
    for call, chosen in faults(life, counted, thorough=True):
        for number in range(chosen, 0, -1):
            directory = tmp_path / f"{call}-{number}"
            shutil.copytree(begun[life], directory)
            fault = f"inject={call}:signal=KILL:when={number}"
            outcome = run(life, directory, "-e", f"trace={call}", "-e", fault, "-o", os.devnull)
            # How many pages are written differs a little from life to life: then the one before is the last.
            if call != "pwrite64" or outcome.exit_code != 0 or chosen - number >= 10:
                break
        assert outcome.exit_code in (-9, 137), f"{fault}: {outcome.exit_code} {outcome.error}"
        judge(life, directory, outcome, fault)
        shutil.rmtree(directory)


@pytest.mark.parametrize("life", MOST)
def test_a_step_that_fails_stops_the_writer_with_a_code_and_the_next_one_goes_on(
    life: str, begun: dict[str, Path], counted: dict[str, Counter[str]], tmp_path: Path
) -> None:
    seen: Counter[str] = Counter()
    for call, number in faults(life, counted, thorough=life == "append"):
        directory = tmp_path / f"{call}-{number}"
        shutil.copytree(begun[life], directory)
        fault = f"inject={call}:error=EIO:when={number}"
        outcome = run(life, directory, "-e", f"trace={call}", "-e", fault, "-o", os.devnull)
        # 0: a step that may fail without harm, such as clearing away the write-ahead log at the end.
        assert outcome.exit_code in (0, STOPPED), f"{fault}: {outcome.exit_code} {outcome.error}"
        assert "Traceback" not in outcome.error, fault
        verdict = judge(life, directory, outcome, fault)
        seen[verdict if outcome.exit_code else "harmless"] += 1
        shutil.rmtree(directory)
    print(f"{life}: {dict(seen)}")
    if life == "append":
        assert seen["persisted"], "a failed sync after the writes had reached the file was never met"
        assert seen["not persisted"]


def judge(life: str, directory: Path, outcome: Outcome, fault: str) -> str:
    """Assert that what is left is whole, let a writer finish it; say whether a failed append had persisted."""
    world, verdict = World(directory), "finished"
    if life == "append":
        vault = world.vault()
        ledger = world.ledger(vault)
        last = outcome.acknowledged[-1].size if outcome.acknowledged else 0
        verdict = "persisted" if ledger.size > last else "not persisted"
        ledger.close()
        vault.close()
        assert violations(world, outcome.acknowledged, thorough=True) == [], fault
    again = run(life, directory)
    assert again.exit_code == 0, f"{fault}, and then begun anew: {again.error}"
    found = JUDGES[life](world, outcome)
    assert found == [], f"{fault}, and then finished: {found}"
    return verdict


def _appended(world: World, outcome: Outcome) -> list[str]:
    return violations(world, outcome.acknowledged, thorough=True)


def _turned(world: World, outcome: Outcome) -> list[str]:
    """The closed log is whole and stays closed; the next one begins where it ended."""
    vault = world.vault()
    found = fsck_findings(world.file, ORIGIN, vault) + fsck_findings(world.next_file, NEXT_ORIGIN, vault)
    vault.close()
    former, following = LedgerReader.open(world.file), LedgerReader.open(world.next_file)
    if former.positions()[SOURCE] + following.size != following.positions()[SOURCE]:
        found.append("the next log does not go on where the former ended")
    for name, size, root in outcome.promised:
        reader = former if name == "closed" else following
        if reader.size < int(size) or (name == "closed" and reader.root.hex() != root):
            found.append(f"what was promised of the log {name} is not there")
    former.close()
    following.close()
    return found


def _sealed(world: World, outcome: Outcome) -> list[str]:
    """Two days more, all rules hold, and a day that was promised is the same still."""
    epochs = RawLog.open(world.directory / "epochs.sqlite", origin=EPOCHS, signer=signer(EPOCHS))
    leaves = epochs.leaves(0, epochs.size)
    epochs.close()
    check_log(leaves)
    found = fsck_findings(world.directory / "epochs.sqlite", EPOCHS, None)
    if len(leaves) != DAY + 2:
        found.append(f"{len(leaves)} days are sealed")
    found += [
        f"day {epoch} was sealed anew"
        for epoch, digest in outcome.promised
        if sha256(leaves[int(epoch)]).hexdigest() != digest
    ]
    return found


def _forgotten(world: World, _: Outcome) -> list[str]:
    """Nothing of the person is in any file, the rest is whole, the former generation is gone."""
    vault = world.vault()
    found = fsck_findings(world.file, ORIGIN, vault)
    vault.close()
    found += [path.name for path in world.directory.iterdir() if path.is_file() and CANARY in path.read_bytes()]
    if (world.directory / "vault-generation-1").exists():
        found.append("the first generation key is still there")
    return found


JUDGES = {"append": _appended, "turn": _turned, "seal": _sealed, "forget": _forgotten}
