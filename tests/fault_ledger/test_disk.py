"""A full disk stops the writer with a code, loses nothing, and the writer goes on when there is room again."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.fault_ledger


@pytest.mark.parametrize("megabytes", [4, 5, 7])
def test_a_full_disk_loses_nothing(megabytes: int, tmp_path: Path) -> None:
    # A file system of its own, in a mount namespace of its own: gone with the process, also when that is killed.
    place = shlex.quote(str(tmp_path))
    script = (
        f"mount -t tmpfs -o size={megabytes}m none {place} && "
        f"exec {shlex.quote(sys.executable)} -m tests.fault_ledger.disk {place}"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"this tier needs user and mount namespaces: {done.stderr}"
    result = json.loads(done.stdout)
    print(result)
    assert result["violations"] == []
    assert result["full"] in {"ledger-store", "vault-store", "export"}, result["full"]
    assert result["whileFull"] > 0
    assert result["afterwards"] > result["whileFull"]
