"""The lease of the one writer of a log or an index: an advisory lock of the session, and a generation that fences.

- The lock goes with the session: when the server loses the writer, the next one gets it, without a time to wait out.
- The lock alone does not fence: a pooler may lend one session to two clients, and a promoted stand-by knows no locks.
  So every new writer counts the generation up, and each commit finds its own generation, its own server process and the
  size that it left, in one row which it updates; else it writes nothing.
- The row is locked until the commit ends: a new writer cannot count up in the middle of one.
"""

from __future__ import annotations

from hashlib import sha256
from typing import NoReturn

from integrator_audit.errors import Busy, Refused, Tampered
from integrator_audit.postgresql.session import Session

_RETRY_SECONDS = 5.0


class Lease:
    """The right to write one log, as long as the session lives; without a generation, to change what is there only."""

    def __init__(self, session: Session, generation: int | None) -> None:
        """To append, use `hold` and then `begin`."""
        self._session = session
        self._generation = generation
        self._backend = session.connection.info.backend_pid

    @staticmethod
    def hold(session: Session) -> None:
        """Take the lock. Raises `Busy` (`…-lease`) while another session has it."""
        row = session.row("SELECT pg_try_advisory_lock(%s)", (lock_key(session.schema),))
        if row is None or not row[0]:
            message = (
                f"another writer holds the lease of {session.schema} in {session.where}; there is one at a time. "
                "It is free as soon as that writer ends or its connection is lost"
            )
            raise Busy(f"{session.what}-lease", message, retry_after=_RETRY_SECONDS)

    @classmethod
    def begin(cls, session: Session) -> Lease:
        """Count the generation up: from here on no earlier writer can commit. The lock is held."""
        row = session.row("UPDATE lease SET generation = generation + 1 RETURNING generation")
        if row is None:
            raise Tampered(
                f"{session.what}-lease", f"{session.schema} in {session.where} has no row of its lease; run fsck"
            )
        return cls(session, row[0])

    def advance(self, previous: int, size: int) -> None:
        """Inside a transaction, go from one size to the next.

        Raises `Refused` (`…-other-writer`) when somebody else wrote or took the lease, or the session is not the
        one that took it.
        """
        moved = self._session.run(
            "UPDATE lease SET size = %s WHERE generation = %s AND size = %s AND pg_backend_pid() = %s",
            (size, self._generation, previous, self._backend),
        )
        if moved != 1:
            self._refuse()

    def confirm(self) -> None:
        """Inside a transaction that moves no size, hold the lease's row to its end; raise as `advance` does."""
        held = self._session.row(
            "SELECT 1 FROM lease WHERE generation = coalesce(%s, generation) AND pg_backend_pid() = %s FOR UPDATE",
            (self._generation, self._backend),
        )
        if held is None:
            self._refuse()

    def _refuse(self) -> NoReturn:
        generation, found, backend = self._session.row("SELECT generation, size, pg_backend_pid() FROM lease") or (
            0,
            0,
            0,
        )
        if backend != self._backend:
            message = (
                f"a pooler in front of {self._session.where} gave this writer another session than the one that holds "
                "its lease; connect directly, or pool sessions and not transactions"
            )
        elif self._generation is None:
            message = f"the {self._session.what} was opened to erase from it, not to append"
        elif generation != self._generation:
            what = self._session.what
            message = f"writer {generation} of the {what} has taken over from this one, number {self._generation}"
        else:
            message = f"another writer brought the log to size {found}; a log has one writer"
        raise Refused(f"{self._session.what}-other-writer", message)


def lock_key(schema: str) -> int:
    """Return the 64-bit key of the advisory lock of a schema; keys are per database."""
    digest = sha256(b"integrator-audit/lease/v1\0" + schema.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
