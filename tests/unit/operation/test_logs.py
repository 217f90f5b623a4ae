"""Holds that no log line quotes what an exception says, whoever writes it: a library, asyncio, or the interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

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
