"""Judges a receipt: an opening that counts because a quorum cosigned it, and because it is about what its holder got.

- The log's key proves that the log says so to this reader. Only cosignatures of a quorum prove that it says so to all.
- A recipient's receipt says in part D which delivery it is about. The holder compares that with what arrived: otherwise
  the receipt of one delivery could be shown for another.
- A receipt may be years old: the age of cosignatures is not judged here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from integrator_audit.audience import audience_of, opened_letters
from integrator_audit.checkpoint import LogKeys
from integrator_audit.errors import Refused, Tampered
from integrator_audit.opening import VerifiedOpening, verify_opening
from integrator_audit.openingfile import read_opening
from integrator_audit.witnessing.policy import Policy, Quorum


@dataclass(frozen=True, slots=True)
class Received:
    """What the holder says to have received; None where nothing is said.

    `value_sha256` is the SHA-256 of the delivered value, prefix included, in lower-case hexadecimal; `sequence` counts
    from 1 within topic, partition and lane.
    """

    value_sha256: str | None = None
    topic: str | None = None
    partition: int | None = None
    lane: int | None = None
    sequence: int | None = None


_MEMBERS = {name.name: name.name for name in fields(Received)} | {"value_sha256": "valueSha256"}


@dataclass(frozen=True, slots=True)
class CheckedReceipt:
    """What a receipt proves, and what could not be asked of it.

    `audience` is None when the parts shown are those of no audience. `quorum` is None when there was no policy.
    `compared` says whether the delivered value was compared with part D.
    """

    opening: VerifiedOpening
    audience: str | None
    quorum: Quorum | None
    compared: bool

    @property
    def is_witnessed(self) -> bool:
        """Say whether a quorum of witnesses cosigned it: not without a policy, and not under one that asks for none."""
        return self.quorum is not None and self.quorum.as_of is not None

    @property
    def is_a_recipients(self) -> bool:
        """Say whether it is a receipt for a delivery, whose holder has something to compare it with."""
        return "D" in self.opening.parts and "S" not in self.opening.parts


def check_receipt(
    data: bytes,
    keys: LogKeys,
    *,
    now: int,
    policy: Policy | None = None,
    received: Received | None = None,
) -> CheckedReceipt:
    """Check the file of a receipt (JSON or tlog-proof); `now` in POSIX seconds is for the times of cosignatures.

    Raises `Tampered`: the codes of `verify_opening`, `receipt-cosignature` (one does not hold), `receipt-quorum` (too
    few), `receipt-value` and `receipt-position` (part D is about another delivery); `Refused` (`receipt-log`) when the
    policy does not trust the log.
    """
    opening = read_opening(data)
    verified = verify_opening(opening, keys)
    quorum = None if policy is None else _quorum(verified, policy, now)
    given = {} if received is None else _given(received)
    if given:
        _compare(verified, given)
    return CheckedReceipt(verified, audience_of(opening), quorum, "value_sha256" in given)


def _quorum(verified: VerifiedOpening, policy: Policy, now: int) -> Quorum:
    if policy.logs and all(log.key.name != verified.origin for log in policy.logs):
        raise Refused("receipt-log", f"the policy does not trust the log {verified.origin}")
    try:
        quorum = policy.judge(verified.checkpoint, now=now)
    except Tampered as error:
        raise Tampered("receipt-cosignature", f"the receipt does not hold: {error.message}") from error
    if not quorum.reached:
        who = ", ".join(quorum.cosigned) or "nobody"
        message = (
            f"of the policy's witnesses {who} cosigned the checkpoint in the receipt, which is no quorum: others may "
            "be shown another log. Ask for the receipt again once the checkpoint is published"
        )
        raise Tampered("receipt-quorum", message)
    return quorum


def _given(received: Received) -> dict[str, object]:
    values = {name: getattr(received, name) for name in _MEMBERS}
    return {name: value for name, value in values.items() if value is not None}


def _compare(verified: VerifiedOpening, given: Mapping[str, object]) -> None:
    delivery = verified.parts.get("D")
    if delivery is None:
        letters = ", ".join(opened_letters(verified.parts)) or "nothing"
        raise Tampered("receipt-position", f"the receipt shows {letters}: it does not say which delivery it is about")
    for name, value in given.items():
        said = delivery.get(_MEMBERS[name])
        if type(said) is not type(value) or said != value:
            if name == "value_sha256":
                raise Tampered("receipt-value", "the receipt is about another value than the one that was received")
            raise Tampered("receipt-position", f"the receipt is about another {name} than {value}")
