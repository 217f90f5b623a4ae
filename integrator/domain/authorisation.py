"""An authorisation: the permission to receive, with every limit of the law. What it does not name is denied.

An authorisation never changes: a new version replaces it at a position of the directory.
Life: requested, the steps of its route, active, suspended and back, then revoked or expired.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from integrator.domain.contract import Path
from integrator.domain.documents import Document, Text
from integrator.domain.event import Kind
from integrator.domain.identifiers import Name, StreamName

State = Literal["requested", "in-route", "active", "suspended", "revoked", "expired"]
Mode = Literal["mutation", "question", "initial", "selection"]
Route = Literal["deliberation", "protocol", "decree", "statute"]
Phase = Literal["provisional", "definitive"]

TRANSITIONS: dict[State, frozenset[State]] = {
    "requested": frozenset({"in-route", "active", "revoked", "expired"}),
    "in-route": frozenset({"active", "revoked", "expired"}),
    "active": frozenset({"suspended", "revoked", "expired"}),
    "suspended": frozenset({"active", "revoked", "expired"}),
    "revoked": frozenset(),
    "expired": frozenset(),
}


class Verification(Document):
    """Who read the citation in its source, and when."""

    by: Text
    on: date


class Citation(Document):
    """An article of law as data. Without `verified` it is shown as unverified, never as a fact."""

    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
    act: Text
    identifier: Text | None = None
    article: Text
    paragraph: Text | None = None
    in_force_from: AwareDatetime | date
    in_force_until: AwareDatetime | date | None = None
    verified: Verification | None = None

    @property
    def reference(self) -> str:
        """The citation in one line, as it stands in the ledger."""
        parts = [self.country, self.act, f"art. {self.article}"]
        if self.paragraph:
            parts.append(f"§ {self.paragraph}")
        return ", ".join(parts) if self.verified else ", ".join(parts) + " (unverified)"


class Inscribed(Document):
    """People whom the agency has inscribed in one of `capacities` (any capacity when empty)."""

    population: Literal["inscribed"]
    capacities: tuple[Name, ...] = ()


class Related(Document):
    """People to whom the record relates somebody inscribed, in one of `relations` and `capacities`."""

    population: Literal["related"]
    relations: tuple[Name, ...] = ()
    capacities: tuple[Name, ...] = ()


class Territory(Document):
    """People who live in one of `codes` when the event happens; an absent or unknown code is outside."""

    population: Literal["territory"]
    codes: tuple[Annotated[str, StringConstraints(pattern=r"^[0-9]{4,5}$")], ...] = Field(min_length=1)


class Everybody(Document):
    """Everybody of whom the stream tells."""

    population: Literal["all"]


Population = Annotated[Inscribed | Related | Territory | Everybody, Field(discriminator="population")]


class Period(Document):
    """From the start of `start` until before `end`; dates are days of the contract's time zone."""

    start: AwareDatetime | date
    end: AwareDatetime | date | None = None


class AutomaticInscription(Document):
    """In which capacity and phase a permitted person is inscribed by the delivery itself."""

    capacity: Name
    phase: Phase = "definitive"


class Authorisation(Document):
    """One version of a permission to receive one stream for one purpose."""

    id: Name
    version: int = Field(ge=1)
    state: State = "active"
    agency: Name
    on_behalf_of: Name | None = None
    stream: StreamName
    purpose: Name
    purpose_version: int = Field(ge=1)
    route: Route
    citations: tuple[Citation, ...] = Field(min_length=1)
    modes: tuple[Mode, ...] = Field(min_length=1)
    fields: tuple[Path, ...] = Field(min_length=1)
    triggers: tuple[Path, ...] = ()
    kinds: tuple[Kind, ...] = Field(min_length=1)
    population: tuple[Population, ...] = Field(min_length=1)
    condition: Annotated[str, StringConstraints(max_length=2000)] | None = None
    condition_may_use: tuple[Name, ...] = ()
    protected_address: Literal["deliver", "withhold"]
    payload: Literal["event", "notification"]
    proactivity: Literal["inform", "prefill", "accept", "automatic"]
    period: Period
    retention: Annotated[str, StringConstraints(pattern=r"^P(\d+[YMWD])+$")]
    dpia: Text
    order: Text | None = None
    """A supervisor's order to withhold what is delivered from the people whom it is about: the signed note."""
    inscribes: AutomaticInscription | None = None


def covers(path: str, other: str) -> bool:
    """Tell whether the subtree of `path` contains `other` (or is it)."""
    return other == path or other.startswith(path + ".")


def begun(moment: datetime | date, *, now: datetime, today: date) -> bool:
    """Tell whether `moment` has come: an instant against `now`, a day against `today`."""
    return moment <= now if isinstance(moment, datetime) else moment <= today
