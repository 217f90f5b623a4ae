"""An inscription says that an agency knows a person, in which capacity and phase, and for how long."""

from __future__ import annotations

from datetime import date

from pydantic import Field

from integrator.domain.authorisation import Phase
from integrator.domain.documents import Document
from integrator.domain.identifiers import Name


class Inscription(Document):
    """Agency, person (as a directory pseudonym in lower-case hexadecimal), capacity, phase and period.

    `end` is the first day on which it no longer holds. `fill` says whether the current state is delivered once.
    """

    agency: Name
    person: str = Field(pattern=r"^[0-9a-f]{64}$")
    capacity: Name
    phase: Phase = "definitive"
    start: date
    end: date | None = None
    fill: str = Field(default="none", pattern=r"^(none|initial)$")
