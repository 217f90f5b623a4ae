"""One writer's life in a fixed order of write steps, for tests that make each step fail or the writer die in it.

    python -m tests.fault_ledger.steps DIRECTORY

It opens vault and log, appends, exports, appends again; what an append returned is told on stdout, a line each, by
`writev`, which is not among the calls that the tests count.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from random import Random

from integrator_audit.errors import AuditError
from tests.fault_ledger.world import World, append

STOPPED = 4
"""Exit code of a writer that met an error of the ledger."""
_KEPT: list[object] = []
"""Vault and ledger: a writer that stops must not close them on its way out, because closing tidies the files up."""


def live(directory: Path) -> None:
    """Do the work."""
    world, random = World(directory), Random(7)
    vault = world.vault()
    _KEPT.append(vault)
    ledger = world.ledger(vault)
    _KEPT.append(ledger)
    for most in (40, 300, 3):
        done = append(ledger, random, most=most)
        os.writev(1, [f"{done.size} {done.root.hex()} {done.position}\n".encode()])
        world.export()
    ledger.close()
    vault.close()


if __name__ == "__main__":
    try:
        live(Path(sys.argv[1]))
    except AuditError as error:
        os.writev(2, [f"{error.code}\n".encode()])
        # As a crash would: nothing is closed. Closing is tried by the unit tests.
        os._exit(STOPPED)
