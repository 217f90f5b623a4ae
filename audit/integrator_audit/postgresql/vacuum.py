"""Vacuums tables after erasures: at once after the first, then at most once a minute, and at the end.

A vacuum reads every index of its tables to its end, and an eraser works in thousands of small steps. Whatever comes in
between, the server's own vacuum finds later.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, LiteralString

from integrator_audit.errors import AuditError
from integrator_audit.postgresql.session import Session

EVERY_SECONDS: Final = 60.0


class Vacuum:
    """Owned by a store; its session runs the vacuums."""

    def __init__(self, session: Session, tables: LiteralString, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._session = session
        self._statement: LiteralString = f"VACUUM (INDEX_CLEANUP ON, TRUNCATE OFF) {tables}"
        self._clock = clock
        self._wanted = False
        self._last: float | None = None

    def want(self) -> None:
        """Vacuum what was erased, now or a little later; inside a transaction nothing can be vacuumed yet."""
        self._wanted = True
        now = self._clock()
        if self._session.in_transaction or (self._last is not None and now - self._last < EVERY_SECONDS):
            return
        self._last = now
        self._run()

    def finish(self) -> None:
        """Vacuum what still waits, before the session is closed."""
        if not self._wanted or self._session.in_transaction:
            return
        try:
            self._run()
        except AuditError:
            # The erasures stand, and a store that is closed because its server is gone must still close.
            return

    def _run(self) -> None:
        self._session.run(self._statement)
        self._wanted = False
