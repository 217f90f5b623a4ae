from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from integrator.operation.settings import Installation, Settings
from integrator.operation.supervisor import MUST_NOT_GO_ON

_PROCESS = """
import asyncio, pathlib, sys
from integrator.domain.errors import Busy, Refused, Unavailable
from integrator.operation.running import run_process
async def work(installation, stop):
    {}
sys.exit(run_process("feeder", pathlib.Path(sys.argv[1]), work))
"""


def ended(path: Path, work: str) -> subprocess.CompletedProcess[bytes]:
    """Run a process that does `work` and is told to end at once."""
    command = (sys.executable, "-c", _PROCESS.format(work), str(path))
    return subprocess.run(command, input=b"", capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("work", "code"),
    [
        ("await stop.wait()", 0),
        ("raise Unavailable('away', 'It is away.')", 1),
        ("raise ExceptionGroup('both', [Unavailable('away', 'Away.'), Busy('later', 'Later.', retry_after=1)])", 1),
        ("raise Refused('forbidden', 'It is forbidden.')", MUST_NOT_GO_ON),
        ("import integrator_audit as a; raise a.Unavailable('ledger-store', 'The database is away.')", 1),
        (
            "import integrator_audit as a; raise ExceptionGroup('', [a.Tampered('tile', 'It is broken.')])",
            MUST_NOT_GO_ON,
        ),
        (
            "raise ExceptionGroup('both', [Unavailable('away', 'Away.'), Refused('forbidden', 'Forbidden.')])",
            MUST_NOT_GO_ON,
        ),
    ],
)
def test_the_exit_code_says_whether_another_start_may_heal_it(tmp_path: Path, work: str, code: int) -> None:
    Installation.create(tmp_path, Settings())
    assert ended(tmp_path, work).returncode == code


def test_where_no_installation_is_no_process_goes_on(tmp_path: Path) -> None:
    process = ended(tmp_path, "await stop.wait()")
    assert process.returncode == MUST_NOT_GO_ON
    assert b'"event": "process-failed"' in process.stderr
