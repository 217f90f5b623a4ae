"""Says whom a delivery is about: the people whom an authorised field names with a number, none twice.

Everybody else in the delivered fields gets no entry in the ledger and is counted as unidentified.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from integrator.domain.authorisation import covers
from integrator.domain.contract import Contract
from integrator.domain.identifiers import SubjectRef
from integrator.domain.reading import SourceEvent

SUBJECT: Final = "subject"
"""The role of the person whom the event is about; the others are relations."""


class DataSubject(NamedTuple):
    """A person and the role in which the delivery names them first: `subject` or a relation."""

    person: SubjectRef
    role: str


class DeliveredPeople:
    """Finds the data subjects of deliveries of a stream that hold `fields`; built once per authorisation."""

    def __init__(self, contract: Contract, fields: Sequence[str]) -> None:
        roles = contract.roles
        self._subject = _names(fields, roles.subject.path)
        self._named = tuple(_names(fields, role.path) for role in roles.related)
        self._told = tuple(_tells_of(fields, role.path) for role in roles.related)

    def of(self, event: SourceEvent) -> tuple[list[DataSubject], int]:
        """Return the data subjects, the subject first and then in the order of the record, and how many others."""
        found: dict[SubjectRef, str] = {}
        unidentified = 0
        if self._subject:
            found[event.subject] = SUBJECT
        else:
            unidentified += 1  # the record is about them, whatever it holds
        for role, relation, person in event.related:
            if person is not None and self._named[role]:
                found.setdefault(person, relation)
            elif self._told[role]:
                unidentified += 1
        return [DataSubject(person, role) for person, role in found.items()], unidentified


def _names(fields: Sequence[str], path: str) -> bool:
    return any(covers(field, path) for field in fields)


def _tells_of(fields: Sequence[str], path: str) -> bool:
    """Tell whether any field holds something of the record in which the person's number stands."""
    container = path.rpartition(".")[0]
    if not container:
        return _names(fields, path)
    return any(covers(field, container) or covers(container, field) for field in fields)
