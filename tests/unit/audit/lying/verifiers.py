"""The verifiers as the tests ask them: one call with everything that the simulated operator hands out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from integrator_audit.completeness.account import Account, AccountDocument, AskedAccount, read_received, verify_account
from integrator_audit.completeness.cosigning import CheckedDay, Rules, check_dossier
from integrator_audit.completeness.dossier import Dossier
from integrator_audit.completeness.epochlog import EpochLog, Trust, read_epoch_log
from integrator_audit.completeness.following import Follower
from integrator_audit.completeness.history import Asked, History, read_history, verify_history
from integrator_audit.completeness.memory import Memory
from integrator_audit.halfyear import day_of
from integrator_audit.parts import SUBJECT_ENTRY
from integrator_audit.witnessing.policy import Policy
from tests.unit.audit.lying.operator import CHECKER, EPOCHS, POLICY, SUPERVISOR, Document, Operator


def epochs_of(operator: Operator, *, now: int | None = None, **trust: Any) -> EpochLog:
    """Return the operator's epoch log, verified as by somebody with a policy and the checking cosigner's key."""
    given = {"policy": Policy.parse(POLICY), "cosigner": CHECKER.key} | trust
    when = Trust(operator.now() if now is None else now, **given)
    return read_epoch_log(operator.source(), operator.epoch_signer.verifier, trust=when)


def history_of(operator: Operator, document: Document, number: str, **asked: Any) -> History:
    """Return the history in a document, verified as by the person."""
    given = {"today": day_of(operator.now() * 1000)} | asked
    return verify_history(read_history(json.dumps(document).encode()), epochs_of(operator), Asked(number, **given))


def account_of(operator: Operator, recipient: str, received: list[Document], **asked: Any) -> Account:
    """Return the comparison of an agency's own list with the account that it is given."""
    document: Iterable[Document] = asked.pop("document", None) or operator.account(recipient)
    given = {"today": day_of(operator.now() * 1000)} | asked
    question = AskedAccount(operator.secret_of(recipient), **given)
    lines = read_received(json.dumps(item).encode() + b"\n" for item in received)
    encoded = AccountDocument(json.dumps(line).encode() for line in document)
    return verify_account(encoded, epochs_of(operator), lines, question)


def cosigned(operator: Operator, memory: Memory | None = None, lines: list[Document] | None = None) -> list[CheckedDay]:
    """Return what the checking cosigner accounted for; it has checked nothing before unless it has a memory."""
    memory = Memory(EPOCHS, random=bytes) if memory is None else memory
    lines = operator.dossier(first=memory.next_epoch) if lines is None else lines
    logs: dict[str, Follower] = {}
    for period in operator.entries:
        for shard in operator.shards:
            origin = operator.origin(shard, period)
            source = operator.shard_source(shard, period)
            keys = operator.signer(origin).verifier
            logs[origin] = Follower(source, keys, SUBJECT_ENTRY, edge=memory.edge(origin))
    encoded = (json.dumps(line).encode() for line in lines)
    rules = Rules(SUPERVISOR.verifier, operator.unlisted)
    checked = check_dossier(Dossier(encoded), epochs_of(operator), logs=logs, memory=memory, rules=rules)
    memory.edges.update({origin: follower.edge for origin, follower in logs.items()})
    return checked
