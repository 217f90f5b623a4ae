"""A writer on a disk that gets full, and goes on when there is room again.

    python -m tests.fault_ledger.disk DIRECTORY

DIRECTORY is the root of a small file system that holds nothing else. Prints one JSON object: the code of the error that
the full disk gave, the code of the next attempt, sizes, violations.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from random import Random

from integrator_audit.errors import AuditError
from tests.fault_ledger.world import Acknowledged, World, append, violations

BALLAST = 2 << 20


def live(root: Path) -> dict[str, object]:
    """Fill the disk, look, make room, go on."""
    ballast = root / "ballast"
    ballast.write_bytes(b"x" * BALLAST)
    world, random = World(root / "log"), Random(11)
    world.prepare()
    acknowledged: list[Acknowledged] = []
    vault = world.vault()
    ledger = world.ledger(vault)
    full = next_attempt = ""
    try:
        while True:
            acknowledged.append(append(ledger, random, most=200))
            world.export()
    except AuditError as error:
        full = error.code
    try:
        append(ledger, random, most=200)
    except AuditError as error:
        next_attempt = error.code
    while_full = acknowledged[-1].size
    with contextlib.suppress(AuditError):
        ledger.close()
    vault.close()
    ballast.unlink()
    found = violations(world, acknowledged, thorough=True)
    vault = world.vault()
    ledger = world.ledger(vault)
    for _ in range(5):
        acknowledged.append(append(ledger, random, most=200))
    ledger.close()
    vault.close()
    found += violations(world, acknowledged, thorough=True)
    return {
        "full": full,
        "next": next_attempt,
        "whileFull": while_full,
        "afterwards": acknowledged[-1].size,
        "violations": found,
    }


if __name__ == "__main__":
    print(json.dumps(live(Path(sys.argv[1]))))
