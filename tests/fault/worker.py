"""Runs one real worker process for the tests: `python -m tests.fault.worker FILE`, FILE being a `Plan` as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
from pydantic import SecretStr

from integrator.kafka.connection import Connection
from integrator.kafka.logs import calm_aiokafka
from integrator.kafka.worker import WorkerTiming, make_worker
from tests.fault import line


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker process needs to know."""

    bootstrap: str
    username: str
    password: str
    directory: str
    session_ms: int
    transaction_timeout_ms: int

    def write(self, path: Path) -> None:
        """Write the plan for the process to read."""
        path.write_text(json.dumps(asdict(self)))


async def main(plan: Plan) -> None:
    """Run until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    worker = make_worker(
        Connection(plan.bootstrap, plan.username, SecretStr(plan.password)),
        lanes=line.LANES,
        engine=line.CopyEngine(),
        directories=line.FileDirectory(Path(plan.directory)),
        timing=WorkerTiming(session_ms=plan.session_ms, transaction_timeout_ms=plan.transaction_timeout_ms),
    )
    await worker.run(stop)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(relativeCreated)d %(name)s %(message)s")
    structlog.configure(
        processors=[structlog.processors.TimeStamper(fmt="%H:%M:%S.%f"), structlog.processors.KeyValueRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    calm_aiokafka()
    asyncio.run(main(Plan(**json.loads(Path(sys.argv[1]).read_text()))))
