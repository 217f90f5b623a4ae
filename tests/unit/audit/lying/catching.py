"""Who catches a lie: each verifier asked, and the name of what it found (None when it saw nothing wrong)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from integrator_audit.errors import Tampered
from tests.unit.audit.lying.operator import Document, Operator
from tests.unit.audit.lying.verifiers import account_of, cosigned, epochs_of, history_of

ANN, BOB, CARL = "bsn:999990019", "bsn:999990020", "bsn:999990032"


def caught(check: Callable[[], object]) -> str | None:
    """Return the name of the lie that a check found."""
    try:
        check()
    except Tampered as error:
        return error.code
    return None


def by_person(operator: Operator, number: str = ANN, document: Document | None = None, **asked: Any) -> str | None:
    """Return what a person finds in the history that the operator shows."""
    return caught(lambda: history_of(operator, document or operator.history(number), number, **asked))


def by_anyone(operator: Operator) -> str | None:
    """Return what anybody finds who reads the epoch log."""
    return caught(lambda: epochs_of(operator))


def by_cosigner(operator: Operator, **given: Any) -> str | None:
    """Return what the checking cosigner finds."""
    return caught(lambda: cosigned(operator, **given))


def by_recipient(operator: Operator, received: list[Document], recipient: str = "svb", **asked: Any) -> set[str]:
    """Return what a recipient finds: differences, or the name of a lie in the document."""
    try:
        return {finding.code for finding in account_of(operator, recipient, received, **asked).findings}
    except Tampered as error:
        return {error.code}


def ordinary(operator: Operator | None = None, *, count: int = 3, **options: Any) -> Operator:
    """Return an operator after some ordinary days: Ann has two entries a day, Bob one, and others."""
    operator = operator or Operator(**options)
    for _ in range(count):
        deliver_some(operator)
        operator.end_day()
    return operator


def deliver_some(operator: Operator) -> None:
    """Deliver what an ordinary day brings."""
    operator.deliver(ANN, "svb")
    operator.deliver(BOB, "svb")
    operator.deliver(ANN, "uwv")
    for at in range(4):
        operator.deliver(f"bsn:{at}", "svb" if at % 2 else "uwv")
