"""Random SIGKILLs of a writer under load: nothing acknowledged is lost, nothing is there twice, every file holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.fault_ledger


def test_two_hundred_killed_writers_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    seed = int.from_bytes(tmp_path.name.encode(), "big") % 1_000_000
    command = [sys.executable, "-m", "tests.fault_ledger.mill", str(tmp_path), "200", str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    print(f"seed {seed}: {result}")
    assert result["violations"] == [], f"seed {seed}"
    # Had the writers never written, or never died in the middle, nothing would have been shown.
    assert result["kills"] == 200
    assert result["entries"] > 5_000
    assert 5 < result["withoutAcknowledgement"] < 150
