"""The supervisor starts again what died, stops what it started, and tells why an installation cannot run."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

from integrator.operation.supervisor import MUST_NOT_GO_ON, Supervisor

_WAITS = "import sys; sys.stdin.read()"


async def _until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  another process makes it true
            await asyncio.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_child_that_dies_is_started_again(tmp_path: Path) -> None:
    supervisor = Supervisor([("one", (sys.executable, "-c", _WAITS))], logs=tmp_path)
    await supervisor.start()
    try:
        first = supervisor.children["one"].pid
        assert first is not None
        os.kill(first, 9)
        await _until(lambda: supervisor.children["one"].pid not in (None, first))
    finally:
        await supervisor.stop()


async def test_stopping_ends_every_child(tmp_path: Path) -> None:
    supervisor = Supervisor([(name, (sys.executable, "-c", _WAITS)) for name in ("one", "two")], logs=tmp_path)
    await supervisor.start()
    pids = [child.pid for child in supervisor.children.values()]
    await supervisor.stop()
    assert not any(_alive(pid) for pid in pids if pid)


async def test_a_child_ends_with_its_supervisor_however_that_dies(tmp_path: Path) -> None:
    script = (
        "import asyncio, pathlib, sys\n"
        "from integrator.operation.supervisor import Supervisor\n"
        "async def main():\n"
        f"    s = Supervisor([('one', (sys.executable, '-c', {_WAITS!r}))], logs=pathlib.Path({str(tmp_path)!r}))\n"
        "    await s.start()\n"
        "    print(s.children['one'].pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    await _until(lambda: not _alive(child))


async def test_a_child_that_must_not_go_on_is_not_started_again_and_its_words_are_told(tmp_path: Path) -> None:
    said = '{"event": "process-failed", "code": "ledger-other-key", "detail": "Another key signs."}'
    script = f"import sys; sys.stderr.write({said!r} + chr(10)); sys.exit({MUST_NOT_GO_ON})"
    supervisor = Supervisor([("one", (sys.executable, "-c", script))], logs=tmp_path)
    await supervisor.start()
    try:
        await _until(lambda: supervisor.failure() is not None)
        failure = supervisor.failure()
        assert failure is not None
        assert "ledger-other-key: Another key signs." in failure.message
        assert supervisor.children["one"].restarts == 0
    finally:
        await supervisor.stop()
