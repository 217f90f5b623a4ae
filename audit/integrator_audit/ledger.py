"""A published log as those see it who do not keep it: one place, the keys and witnesses that are trusted, a memory.

- Nothing that the place says is believed before it was checked.
- Who keeps a log uses `LedgerWriter`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from integrator_audit.checkpoint import LogKeys, read_unverified
from integrator_audit.errors import Invalid, Tampered, Unavailable
from integrator_audit.findings import Progress, no_progress
from integrator_audit.receiptcheck import CheckedReceipt, Received, check_receipt
from integrator_audit.sources import Source, open_source
from integrator_audit.state import State, default_directory
from integrator_audit.verify import Demand, Verification, verify_log
from integrator_audit.witnessing.cosignature import read_log_key
from integrator_audit.witnessing.policy import Policy


class Ledger:
    """One published log. Not safe to share between threads."""

    def __init__(
        self, source: Source, keys: LogKeys, *, policy: Policy | None, state: State | None, clock: Callable[[], int]
    ) -> None:
        """Use `open` instead."""
        self._source = source
        self._keys = keys
        self._policy = policy
        self._state = state
        self._clock = clock

    @classmethod
    def open(
        cls,
        place: str | Path,
        *,
        policy: Policy | Path | str | None = None,
        keys: LogKeys | Path | str | None = None,
        state: Path | None = None,
        clock: Callable[[], int] = lambda: int(time.time()),
    ) -> Ledger:
        """Open the log at `place`: a URL, or a directory with its files.

        `policy` is a C2SP tlog-policy or the file of one: which witnesses have to have cosigned. `keys` are those of
        the log, or the text or file of its one verifier key; without them the policy has to list the log. What was
        accepted last is remembered in `state`, by default in the user's state directory. `clock` gives POSIX seconds.

        Raises `Unavailable` (a file or the log cannot be read), `Invalid` (`ledger-keys`: neither keys nor a policy; a
        file is malformed), `Refused` when the policy does not list the log, `Tampered` (`checkpoint-malformed`).
        """
        source = open_source(str(place))
        read = policy if policy is None or isinstance(policy, Policy) else Policy.parse(_bytes(Path(policy)))
        if keys is None and read is None:
            raise Invalid("ledger-keys", "a log is believed by its key: give keys, or a policy that lists the log")
        memory = State(state or default_directory(os.environ))
        return cls(source, _keys(keys, read, source), policy=read, state=memory, clock=clock)

    @property
    def origin(self) -> str:
        """Return the log's origin, as its keys say."""
        return self._keys.name

    def verify(self, *, progress: Progress = no_progress) -> Verification:
        """Verify every entry, every tile, the signature, the witnesses, and that it extends what was accepted before.

        What holds is remembered. Raises as `verify_log` does.
        """
        demand = None if self._policy is None else Demand(self._policy, self._clock())
        return verify_log(self._source, self._keys, state=self._state, demand=demand, progress=progress)

    def check_receipt(self, receipt: bytes, *, received: Received | None = None) -> CheckedReceipt:
        """Check a receipt or opening of an entry of this log, offline; raise as `check_receipt` does."""
        return check_receipt(receipt, self._keys, now=self._clock(), policy=self._policy, received=received)


def _keys(given: LogKeys | Path | str | None, policy: Policy | None, source: Source) -> LogKeys:
    if given is None:
        assert policy is not None, "open asks for one of both"  # noqa: S101
        if len(policy.logs) == 1:
            return policy.keys_of()
        note = source.fetch("checkpoint")
        if note is None:
            raise Unavailable("no-checkpoint", "there is no checkpoint at that place: is it the prefix of a log?")
        # Only to choose among the keys that the policy lists; the signature is checked with the one that is chosen.
        try:
            return policy.keys_of(read_unverified(note).origin)
        except Invalid as error:
            raise Tampered("checkpoint-malformed", f"checkpoint: {error.message}") from error
    if isinstance(given, str | Path):
        path = Path(given)
        text = _bytes(path).decode("utf-8", "replace") if path.is_file() else str(given)
        return read_log_key(text.strip())
    return given


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unavailable("file-unreadable", f"{path} cannot be read: {error.strerror}") from error
