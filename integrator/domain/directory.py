"""What one reading of the directory knows: everything at one position, and nothing that a clock would change.

A decision is a function of a record and a reading. Days come from the directory's `date` records, moments of a
period from its `start` and `end` records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from integrator.domain.authorisation import Authorisation, Phase
from integrator.domain.contract import Contract
from integrator.domain.identifiers import Position, Pseudonym
from integrator.domain.purpose import Agency, Purpose, Source


@dataclass(frozen=True, slots=True)
class StandingAuthorisation:
    """The current version of an authorisation and whether its period has begun and ended."""

    authorisation: Authorisation
    position: Position
    """The directory position from which this version decides: the offset after its record."""
    active: bool
    """Its state is `active`, its period has begun and has not ended: all by records, none by a clock."""


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema with the id that it has for ever. `subject` is `<topic>-value`, `version` counts from 1 within it."""

    id: int
    subject: str
    version: int
    text: str


@dataclass(frozen=True, slots=True)
class StandingInscription:
    """One line of the directory about one person. `end` is the first day on which it no longer holds."""

    agency: str
    capacity: str
    phase: Phase
    start: date
    end: date | None

    def holds_on(self, today: date) -> bool:
        """Tell whether it holds on the legal day `today`."""
        return self.start <= today and (self.end is None or today < self.end)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The directory's knowledge part at a position. Equal `version`s mean equal content: cache by it."""

    version: int
    """Offset after the last record that changed the knowledge part."""
    sources: Mapping[str, Source] = field(default_factory=dict[str, Source])
    agencies: Mapping[str, Agency] = field(default_factory=dict[str, Agency])
    purposes: Mapping[tuple[str, int], Purpose] = field(default_factory=dict[tuple[str, int], Purpose])
    contracts: Mapping[str, Contract] = field(default_factory=dict[str, Contract])
    """By stream, the current version."""
    authorisations: Mapping[tuple[str, int], Authorisation] = field(
        default_factory=dict[tuple[str, int], Authorisation]
    )
    """Every version that ever stood."""
    standing: Mapping[str, tuple[StandingAuthorisation, ...]] = field(
        default_factory=dict[str, tuple[StandingAuthorisation, ...]]
    )
    """By stream, the current version of each authorisation, in the order of their ids."""
    schemas: Mapping[int, RegisteredSchema] = field(default_factory=dict[int, RegisteredSchema])
    dates: Mapping[str, date] = field(default_factory=dict[str, date])
    """The legal day, by IANA time zone."""

    def latest_schema(self, subject: str) -> RegisteredSchema | None:
        """Return the schema of `subject` with the highest version."""
        found = [schema for schema in self.schemas.values() if schema.subject == subject]
        return max(found, key=lambda schema: schema.version, default=None)


class DirectoryView(Protocol):
    """One consistent reading. Valid only until its context is left; never held over an `await`."""

    @property
    def position(self) -> Position:
        """The offset of the next directory record to apply."""
        ...

    @property
    def knowledge(self) -> Knowledge:
        """Everything but people."""
        ...

    def inscriptions(self, people: Sequence[Pseudonym]) -> list[tuple[StandingInscription, ...]]:
        """Return, for each pseudonym under the directory's key, its lines; an empty tuple for the unknown."""
        ...
