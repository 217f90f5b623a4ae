"""The verifiers as the tests ask them: one call with everything that the simulated operator hands out."""

from __future__ import annotations

import json
from typing import Any

from integrator_audit.completeness import days
from integrator_audit.completeness.epochlog import EpochLog, Trust, read_epoch_log
from integrator_audit.completeness.history import Asked, History, read_history, verify_history
from integrator_audit.witnessing.policy import Policy
from tests.unit.audit.lying.operator import CHECKER, POLICY, Document, Operator


def epochs_of(operator: Operator, *, now: int | None = None, **trust: Any) -> EpochLog:
    """Return the operator's epoch log, verified as by somebody with a policy and the checking cosigner's key."""
    given = {"policy": Policy.parse(POLICY), "cosigner": CHECKER.key} | trust
    when = Trust(operator.now() if now is None else now, **given)
    return read_epoch_log(operator.source(), operator.epoch_signer.verifier, trust=when)


def history_of(operator: Operator, document: Document, number: str, **asked: Any) -> History:
    """Return the history in a document, verified as by the person."""
    given = {"today": days.day_of(operator.now() * 1000)} | asked
    return verify_history(read_history(json.dumps(document).encode()), epochs_of(operator), Asked(number, **given))
