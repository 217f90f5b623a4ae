"""Keeps the indexes of search up to date, in a process of its own that runs only while there is something to do.

Nothing waits for it: a search looks at what no block holds yet by itself, up to some blocks. A process that dies leaves
whole blocks, and the next one goes on after them.

`python -m integrator.recording.indexing DIR [URL]` brings every log once up to date that is named in `DIR`, and stands
there or in the database at `URL`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from pathlib import Path
from typing import Final

from integrator import telemetry
from integrator.domain.errors import IntegratorError
from integrator.recording.logs import Databases, LedgerFiles
from integrator.recording.searching import Searches, update_indexes
from integrator.recording.threads import in_thread

LOOK: Final = 10.0
"""Seconds between two looks whether a log is a block ahead of its index."""
AGAIN: Final = 3600.0
"""Seconds after which it is done in any case: what was erased is to leave the index too."""
_LOG = telemetry.log("recording")


class Indexing:
    """Has the indexes below one directory brought up to date. One task owns it."""

    def __init__(self, searches: Searches) -> None:
        self._searches = searches
        self._last: float | None = None

    async def run(self) -> None:
        """Look, and do what is due, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK)

    async def look(self) -> bool:
        """Bring the indexes up to date if that is due; tell whether it was done."""
        try:
            behind = await in_thread(self._searches.is_behind)
        except IntegratorError as error:
            _LOG.warning("search-index-failed", code=error.code, detail=error.message)
            return False
        if not (behind or (self._last is not None and time.monotonic() - self._last > AGAIN)):
            self._last = time.monotonic() if self._last is None else self._last
            return False
        files = self._searches.files
        where = [str(files.root), *([] if files.databases is None else [files.databases.ledger])]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "integrator.recording.indexing", *where,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            _, said = await process.communicate()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            raise
        self._last = time.monotonic()
        if process.returncode:
            # Its own sentence: the errors of the house hold nothing of a record.
            detail = said.decode(errors="replace").strip().rpartition("\n")[2] if process.returncode == 1 else ""
            _LOG.warning("search-index-failed", code=str(process.returncode), detail=detail)
            return False
        return True


def main(root: Path, database: str | None = None) -> int:
    """Bring every log up to date; return the exit code, 1 with a sentence on standard error."""
    try:
        update_indexes(LedgerFiles(root, None if database is None else Databases(database, vault="")))
    except IntegratorError as error:
        sys.stderr.write(f"{error.message} ({error.code})\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:3]))
