"""Writes what happens as JSON lines, one event a line, named in `integrator.telemetry`, without personal data."""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import cast

import structlog

from integrator import telemetry


def configure(role: str, *, level: int = logging.INFO) -> None:
    """Send every log line of this process from `level` upwards to standard error as JSON, marked with `role`.

    Lines of libraries go through the same renderer, from warnings upwards. Neither they nor the process' own end print
    the text of an exception or a traceback: both may quote a record.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(role=role)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _only_kind_of_error,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("integrator").setLevel(level)
    sys.excepthook = _end


def _only_kind_of_error(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Replace an exception by the name of its class, and what follows the first line: there asyncio quotes it."""
    problem: object = event.pop("exc_info", None)
    if isinstance(problem, tuple):
        problem = next((part for part in cast("tuple[object, ...]", problem) if isinstance(part, BaseException)), None)
    elif problem is True:
        problem = sys.exception()
    if isinstance(problem, BaseException):
        event["error"] = type(problem).__name__
        event["event"] = str(event["event"]).partition("\n")[0]
    return event


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say of which error the process ends; called by the interpreter in the place of printing a traceback."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    telemetry.log("operation").error("process-failed", code="unexpected", detail=telemetry.place_of(error))
