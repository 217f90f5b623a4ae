"""Asks the directory's writer to inscribe a person, after a delivery under an authorisation that says so."""

from __future__ import annotations

from datetime import date

from integrator.domain.authorisation import Authorisation
from integrator.domain.identifiers import Position, Pseudonym
from integrator.encoding import record_type
from integrator.routing.ports import OutRecord


def inscribe(authorisation: Authorisation, person: Pseudonym, *, today: date, position: Position, at: int) -> OutRecord:
    """Return the request to inscribe `person` from the legal day `today`; `at` is in milliseconds since 1970.

    A person may be asked for more than once before the writer has answered: it MUST take a repetition for the same.
    """
    inscribes = authorisation.inscribes
    if inscribes is None:
        raise ValueError(f"authorisation {authorisation.id} does not inscribe")
    body = {
        "agency": authorisation.agency,
        "person": person.hex(),
        "capacity": inscribes.capacity,
        "phase": inscribes.phase,
        "start": today,
        "authorisation": authorisation.id,
        "version": authorisation.version,
        "directoryPosition": position,
    }
    value = {"at": at, "body": ("integrator.routing.Inscribe", body)}
    return OutRecord(None, record_type("integrator/request").encode(value))
