"""Checks that a list from the ledger is whole: a person's history, an agency's account, against the log of days.

- What the integrator hands over is judged against its log of days, which the reader verifies with keys that they have
  already; who vouches for that log (witnesses, the checking cosigner) is the reader's choice.
- A lie has a name and stops the check (`Tampered`). What nobody vouches for is a doubt, and is told beside the result:
  nothing was found, and nothing can be said about it.
- The number of a person stays with the reader: it is compared with the label key, and sent nowhere.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from integrator.domain.errors import Refused
from integrator.domain.identifiers import SubjectRef
from integrator.recording.failures import translated
from integrator_audit import Verifier
from integrator_audit.completeness.account import (
    Account,
    AccountDocument,
    AskedAccount,
    verify_account,
)
from integrator_audit.completeness.doubleentry import Received
from integrator_audit.completeness.epochlog import EpochLog, Trust, read_epoch_log
from integrator_audit.completeness.history import Asked, History, read_history, verify_history
from integrator_audit.completeness.lines import open_lines
from integrator_audit.halfyear import number_of
from integrator_audit.sources import Source
from integrator_audit.state import State
from integrator_audit.witnessing.cosignature import CosignerKey
from integrator_audit.witnessing.policy import Policy

_EPOCHS = "/epochs"


@dataclass(frozen=True, slots=True)
class Trusted:
    """Whom a reader believes: keys of logs by origin, a policy of witnesses, the key of the checking cosigner.

    `state` is a directory in which the last seen size of the log of days is remembered; without one a rollback is not
    seen. `now` is in seconds since 1970.
    """

    keys: Mapping[str, Verifier]
    policy: Policy | None = None
    cosigner: CosignerKey | None = None
    state: Path | None = None
    now: float = field(default_factory=time.time)

    @classmethod
    def of(
        cls,
        keys: Mapping[str, Verifier],
        *,
        policy: Path | None = None,
        cosigner: str | None = None,
        state: Path | None = None,
    ) -> Trusted:
        """Return it from files and texts as people have them. Raises `Refused` (`file-missing`), `Invalid`."""
        read: Policy | None = None
        if policy is not None:
            try:
                data = policy.read_bytes()
            except OSError as error:
                raise Refused("file-missing", f"The policy {policy} cannot be read: {error.strerror}.") from None
            with translated():
                read = Policy.parse(data)
        with translated():
            return cls(keys, read, None if cosigner is None else CosignerKey.from_text(cosigner), state)

    @property
    def today(self) -> int:
        """The number of the day."""
        return Trust(int(self.now)).today


def read_days(source: Source, trusted: Trusted) -> EpochLog:
    """Fetch and verify the log of days. Raises `Tampered` with the name of what does not hold, or `Unavailable`."""
    origins = [origin for origin in trusted.keys if origin.endswith(_EPOCHS)]
    if len(origins) != 1:
        raise Refused("no-key", "Give the verification key of one log of days, whose name ends in /epochs.")
    trust = Trust(int(trusted.now), trusted.policy, trusted.cosigner)
    state = None if trusted.state is None else State(trusted.state)
    with translated():
        return read_epoch_log(source, trusted.keys[origins[0]], trust=trust, state=state)


def judge_history(data: bytes, days: EpochLog, trusted: Trusted, *, person: SubjectRef) -> History:
    """Check the history document of `person` and return what it says; raise `Tampered` with the name of the lie."""
    asked = Asked(person.canonical, trusted.today, keys=_shards(trusted))
    with translated():
        return verify_history(read_history(data), days, asked)


def judge_account(  # noqa: PLR0913  what a reconciliation depends on, each by its name
    document: Path,
    days: EpochLog,
    trusted: Trusted,
    *,
    secret: bytes,
    received: Iterable[Received],
    first: date | None = None,
) -> Account:
    """Compare an agency's account, a file as it came, with what it received; differences are findings of the result.

    `secret` are the agency's 32 bytes, `first` is the first day that is compared. Raises `Tampered` when the account
    itself does not hold, `Unavailable` when it cannot be read to its end.
    """
    asked = AskedAccount(
        secret, trusted.today, first=None if first is None else number_of(first), keys=_shards(trusted)
    )
    with translated():
        return verify_account(AccountDocument(open_lines(document)), days, received, asked)


def _shards(trusted: Trusted) -> Mapping[str, Verifier]:
    return {origin: key for origin, key in trusted.keys.items() if not origin.endswith(_EPOCHS)}
