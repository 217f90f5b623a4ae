"""Stops this machine's lanes while the ledger cannot keep up or its disk is nearly full, and lets them go by itself.

What the ledger's process writes about itself in `ledger/state.json` is all that is looked at: a process that does not
run, hangs, waits or cannot write says nothing any more, and silence stops delivery as surely as a long queue does.

| stops when                                          | goes on when                  |
|-----------------------------------------------------|-------------------------------|
| a log has not been whole for `STOP` seconds         | every log is within `GO_ON`   |
| the file has not been written for `STOP` seconds    | it is written again           |
| the ledger's disk has less than `FULL` bytes free   | it has more than `ROOM`       |
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, cast

from integrator.routing.guard import Waits

STOP: Final = 60.0
GO_ON: Final = 30.0
"""Seconds. Lower than `STOP`, so that lanes do not stop and go by turns."""
FULL: Final = 512 * 1024 * 1024
ROOM: Final = 1024 * 1024 * 1024
"""Bytes. The broker of a small installation writes to the same disk, and does not survive a full one."""
LOOK_MS: Final = 500
"""Between two looks at the file: the ledger writes it once a second, the lanes ask a hundred times."""


class LedgerBrakes:
    """Implements `routing.ports.Brakes`. Shared by the lanes of one process; only their clock moves it."""

    # LIMIT: it reads the file of a ledger on this machine; workers on others need it served to them.

    def __init__(self, state: Path) -> None:
        """`state` is the ledger's `state.json`, which may come later."""
        self._state = state
        self._looked: int | None = None
        self._reason: Waits | None = None
        self._written = 0
        self._free: int | None = None
        self._reaches: dict[str, int] = {}

    def reason(self, *, at: int) -> Waits | None:
        """Return why nothing may be delivered at `at` (milliseconds since 1970), or `None`."""
        if self._looked is None:
            self._written = at  # an installation that has no ledger yet has a minute to make one
        # A clock that goes back looks again at once.
        if self._looked is None or not 0 <= at - self._looked < LOOK_MS:
            self._looked = at
            self._look()
            self._reason = self._judge(at)
        return self._reason

    def _look(self) -> None:
        """Take in what the file says. One that cannot be read says nothing, and so grows old."""
        try:
            told = cast("dict[str, Any]", json.loads(self._state.read_bytes()))
            written, free = int(told["at"]), int(told["free"])
            reaches = {
                # A ledger that has only just started does not know yet: what was known before holds.
                log: self._reaches.get(log, written) if one["reaches"] is None else int(one["reaches"])
                for log, one in cast("dict[str, dict[str, Any]]", told["logs"]).items()
            }
        except (OSError, ValueError, KeyError, TypeError):
            return
        self._written, self._free, self._reaches = written, free, reaches

    def _judge(self, at: int) -> Waits | None:
        held = self._reason is not None
        allowed = GO_ON if held else STOP
        silent = (at - self._written) / 1000
        if silent > allowed:
            return Waits(
                "ledger-silent",
                f"The ledger's process has said nothing for {silent:.0f} seconds ({self._state}): does it run? "
                "Nothing is delivered before it does.",
            )
        if self._free is not None and self._free < (ROOM if held else FULL):
            return Waits(
                "disk-full",
                f"The ledger's disk has {self._free // 1024**2} MiB left: make room, {ROOM // 1024**2} MiB at least. "
                "Nothing is delivered before that.",
            )
        for log, reaches in self._reaches.items():
            if (behind := (at - reaches) / 1000) > allowed:
                return Waits(
                    "ledger-behind",
                    f"The log {log} of the ledger is {behind:.0f} seconds behind: nothing is delivered until it is "
                    f"within {GO_ON:.0f}.",
                )
        return None
