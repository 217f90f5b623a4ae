"""Holds that no log line quotes what an exception says, whoever writes it: a library, asyncio, or the interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from integrator import telemetry

NUMBER = "123456782"
BEGIN = f"""
import asyncio, gc, logging
from integrator.operation import logs
logs.configure("worker-0")
def fail(): raise ValueError("{NUMBER} is no date")
async def boom(): fail()
"""
FORGOTTEN = """
async def main():
    forgotten = asyncio.create_task(boom())
    await asyncio.wait([forgotten])
    del forgotten
    gc.collect()
asyncio.run(main())
"""
GROUP = """
async def main():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(boom())
asyncio.run(main())
"""
LIBRARY = """
try:
    fail()
except ValueError:
    logging.getLogger("library").exception("it failed")
"""


def lines(script: str) -> list[dict[str, Any]]:
    """Run a process to its end and return what it logged."""
    ended = subprocess.run([sys.executable, "-c", BEGIN + script], capture_output=True, check=False, timeout=60)
    assert NUMBER.encode() not in ended.stdout + ended.stderr
    return [json.loads(line) for line in ended.stderr.splitlines()]


@pytest.mark.parametrize(
    ("script", "event", "error"),
    [(FORGOTTEN, "Task exception was never retrieved", "ValueError"), (LIBRARY, "it failed", "ValueError")],
)
def test_a_line_of_a_library_names_the_kind_of_error_and_no_more(script: str, event: str, error: str) -> None:
    (line,) = lines(script)
    assert (line["event"], line["error"], line["role"]) == (event, error, "worker-0")


@pytest.mark.parametrize("script", ["fail()", GROUP])
def test_a_process_that_ends_of_an_error_says_its_kind_and_place(script: str) -> None:
    (line,) = lines(script)
    assert (line["event"], line["code"]) == ("process-failed", "unexpected")
    assert line["detail"] == "ValueError at <string>:5"


def test_a_span_that_ends_of_an_error_says_its_kind_and_place(monkeypatch: pytest.MonkeyPatch) -> None:
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(telemetry, "tracer", lambda: provider.get_tracer("integrator"))
    with pytest.raises(ValueError, match=NUMBER), telemetry.span("ledger.append"):
        raise ValueError(f"{NUMBER} is no date")
    (span,) = spans.get_finished_spans()
    told = span.to_json()
    assert "ValueError at test_logs.py:" in told
    assert NUMBER not in told


def test_a_process_of_the_installation_writes_no_core_file() -> None:
    script = "from integrator.operation import dumps; dumps.forbid(); import resource; "
    script += "print(resource.getrlimit(resource.RLIMIT_CORE))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60)
    assert ended.stdout.split() == [b"(0,", b"0)"]
