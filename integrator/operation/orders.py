"""Checks the orders to withhold that authorisations carry, before anything of them is applied.

An order is a note that the supervisor signed (`integrator_audit.completeness.unlisted.Order`): for this agency, of
twelve months at most, and not over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from integrator.directory.documents import Problem, Stated, problem
from integrator.domain.authorisation import Authorisation
from integrator_audit import Verifier
from integrator_audit import errors as audit
from integrator_audit.completeness.unlisted import Order, open_order


class Orders:
    """Knows the supervisor's key; `None` where nobody may order anything."""

    def __init__(self, supervisor: Verifier | None) -> None:
        self._supervisor = supervisor

    def problems(self, documents: Sequence[Stated], *, today: date) -> Iterator[Problem]:
        """Yield what is wrong with the orders of `documents` on the day `today` (UTC)."""
        for stated in documents:
            document = stated.document
            if isinstance(document, Authorisation) and document.order is not None:
                wrong = self._wrong(document, document.order, today)
                if wrong is not None:
                    yield problem(stated, wrong[0], wrong[1], path="order")

    def _wrong(self, authorisation: Authorisation, note: str, today: date) -> tuple[str, str] | None:
        if self._supervisor is None:
            return "order-nobody", "No supervisor's orders are followed here: set `ledger_supervisor`, or leave it out."
        try:
            order: Order = open_order(note.encode(), self._supervisor)
        except audit.AuditError as error:
            return error.code, f"The order cannot be followed: {error.message}."
        if order.recipient != authorisation.agency:
            return "order-other", f"The order {order.id} is for another agency."
        # What ends an authorisation can be said when its order is over.
        if order.last < today and authorisation.state in ("requested", "in-route", "active"):
            return "order-over", f"The order {order.id} ended on {order.last}: state the authorisation without it."
        return None
