"""Runs one process of an installation to its end; its exit code says whether another start may heal it.

- Before a line of its work runs, its log is set up and it can write no core file.
- It ends in order when it is told to (`supervisor.until_told`): the work sees `stop` and drains.
- Exit codes: 0, it was told to end; 1, something was away; `MUST_NOT_GO_ON`, a rule or a broken proof stops it. Any
  other error is a fault of the program, and passes through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from integrator import telemetry
from integrator.domain.errors import Busy, IntegratorError, Unavailable
from integrator.kafka.logs import calm_aiokafka
from integrator.operation import dumps, logs
from integrator.operation.exporting import export
from integrator.operation.settings import Installation
from integrator.operation.supervisor import MUST_NOT_GO_ON, until_told
from integrator.recording.failures import told
from integrator_audit import AuditError

Run = Callable[[Installation, asyncio.Event], Awaitable[None]]
"""The work of a process, which returns soon after the event is set."""

_LOG = telemetry.log("operation")


def run_process(role: str, data: Path, run: Run) -> int:
    """Run the process `role` of the installation in `data` to its end; return its exit code."""
    logs.configure(role)
    dumps.forbid()
    calm_aiokafka()
    try:
        installation = Installation.open(data)
        export(installation.settings.otlp_endpoint, role=role, installation=installation.settings.installation)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(role, installation, run))
    except (IntegratorError, AuditError, ExceptionGroup) as problem:
        errors = told(problem)
        for error in errors:
            _LOG.error("process-failed", process=role, code=error.code, detail=error.message)
        if not errors:
            raise
        # What a rule forbids is not healed by another start; what was merely away may be.
        return 1 if all(isinstance(error, Unavailable | Busy) for error in errors) else MUST_NOT_GO_ON
    return 0


async def until_stopped(stop: asyncio.Event, work: Awaitable[None]) -> None:
    """Do `work`, which has no end of its own, until `stop` is set."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    working.cancel()
    await asyncio.gather(working, stopping, return_exceptions=True)
    if not working.cancelled() and (problem := working.exception()) is not None:
        raise problem


async def _run(role: str, installation: Installation, run: Run) -> None:
    stop = asyncio.Event()
    telling = asyncio.create_task(until_told(stop), name="until told")
    _LOG.info("process-ready", process=role)
    await run(installation, stop)
    telling.cancel()
    _LOG.info("process-stopped", process=role)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415  not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop
