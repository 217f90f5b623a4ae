"""Kills a writer at random moments, again and again, and lets the next one go on: `python -m tests.fault_ledger.mill`.

    python -m tests.fault_ledger.mill DIRECTORY KILLS SEED

- The writer is a fork of this process, so a kill costs milliseconds and not the start of an interpreter.
- It appends as fast as it can, exports now and then, and writes each acknowledgement to a pipe before it goes on.
- After every kill the log is opened as the next writer would; every 50th time and at the end it is read in full.
- Prints one JSON object: kills, entries, how many kills fell before the first acknowledgement, violations.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from random import Random

from tests.fault_ledger.world import Acknowledged, World, append, violations

THOROUGH_EVERY = 50
LONGEST = 0.02
"""Seconds that a writer lives at most after the acknowledgement that is waited for."""


def _write(world: World, seed: int, pipe: int) -> None:
    """Be the writer: append until killed."""
    random = Random(seed)
    vault = world.vault()
    ledger = world.ledger(vault)
    os.write(pipe, b"\n")
    while True:
        done = append(ledger, random, most=random.choice((1, 20, 120)))
        os.write(pipe, f"{done.size} {done.root.hex()} {done.position}\n".encode())
        if random.random() < 0.2:
            world.export()


def run(directory: Path, kills: int, seed: int) -> dict[str, object]:
    """Kill `kills` writers; return what was seen."""
    random, world = Random(seed), World(directory)
    world.prepare()
    found: list[str] = []
    acknowledged: list[Acknowledged] = []
    while_opening = 0
    for number in range(1, kills + 1):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            try:
                _write(world, seed * 1_000_003 + number, writing)
            finally:
                os._exit(3)
        os.close(writing)
        with os.fdopen(reading, "r") as lines:
            # One in six dies while it opens the log, which is recovery itself; the others have written up to four times
            # before, however slow the machine is. An empty line says that the log is open.
            waited_for = 0 if random.random() < 1 / 6 else 1 + random.randrange(5)
            told = [lines.readline() for _ in range(waited_for)]
            time.sleep(random.random() * LONGEST)
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            if not os.WIFSIGNALED(status):
                found.append(f"writer {number} ended by itself with {status}")
            texts = [line.split() for line in (*told, *lines) if line.endswith("\n") and line != "\n"]
        while_opening += not texts
        acknowledged += [Acknowledged(int(a), bytes.fromhex(b), int(c)) for a, b, c in texts]
        found += violations(world, acknowledged, thorough=number % THOROUGH_EVERY == 0 or number == kills)
    last = acknowledged[-1].size if acknowledged else 0
    return {"kills": kills, "entries": last, "withoutAcknowledgement": while_opening, "violations": found}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
