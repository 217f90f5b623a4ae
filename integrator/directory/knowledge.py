"""Folds the records of the directory into what is known at a position: the same records always give the same.

- The highest version of a kind and id holds; versions of purposes and authorisations all stay known.
- Nothing here reads a clock. Days come from `date` records, instants of periods and citations from `start` and `end`
  records; both only ever move forward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from integrator.directory.records import Content, InstantCome, LegalDay, RecordKey, RecordKind
from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract
from integrator.domain.directory import Knowledge, RegisteredSchema, StandingAuthorisation
from integrator.domain.identifiers import Position
from integrator.domain.purpose import Agency, Purpose, Source

Moment = date | datetime
"""A day of the contract's time zone, or an instant."""

OVER = frozenset({"revoked", "expired"})
"""States from which no way leads back; an authorisation in one of them stands no more."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of the knowledge part with its place in the order."""

    offset: int
    key: RecordKey
    content: Content


@dataclass(frozen=True, slots=True)
class Known:
    """The fold of the knowledge part, with what the writer needs to add to it."""

    knowledge: Knowledge
    latest: Mapping[tuple[RecordKind, str], Entry]
    """By kind and id, the record with the highest version."""
    reached: Mapping[tuple[str, int], datetime]
    """By authorisation and version, the latest of its instants that has come."""


def fold(entries: Iterable[Entry], version: int) -> Known:
    """Return what `entries` say together. Their order does not matter: versions and offsets carry it.

    `version` is the offset after the last record that changed the knowledge part, an erased one included.
    """
    latest: dict[tuple[RecordKind, str], Entry] = {}
    reached: dict[tuple[str, int], datetime] = {}
    purposes: dict[tuple[str, int], Purpose] = {}
    authorisations: dict[tuple[str, int], Authorisation] = {}
    for entry in entries:
        place = (entry.key.kind, entry.key.id)
        if (before := latest.get(place)) is None or before.key.version < entry.key.version:
            latest[place] = entry
        match entry.content:
            case Purpose() as purpose:
                purposes[purpose.name, purpose.version] = purpose
            case Authorisation() as authorisation:
                authorisations[authorisation.id, authorisation.version] = authorisation
            case InstantCome() as come:
                about = (come.authorisation, come.version)
                reached[about] = max(come.at, reached.get(about, come.at))
            case _:
                pass
    contents = [entry.content for entry in latest.values()]
    contracts = {found.stream: found for found in contents if isinstance(found, Contract)}
    dates = {found.time_zone: found.date for found in contents if isinstance(found, LegalDay)}
    knowledge = Knowledge(
        version=version,
        sources={found.name: found for found in contents if isinstance(found, Source)},
        agencies={found.name: found for found in contents if isinstance(found, Agency)},
        purposes=purposes,
        contracts=contracts,
        authorisations=authorisations,
        standing=_standing(latest.values(), contracts, dates, reached),
        schemas={found.id: found for found in contents if isinstance(found, RegisteredSchema)},
        dates=dates,
    )
    return Known(knowledge, latest, reached)


def _standing(
    entries: Iterable[Entry],
    contracts: Mapping[str, Contract],
    dates: Mapping[str, date],
    reached: Mapping[tuple[str, int], datetime],
) -> dict[str, tuple[StandingAuthorisation, ...]]:
    by_stream: dict[str, list[StandingAuthorisation]] = {}
    for entry in entries:
        content = entry.content
        if not isinstance(content, Authorisation) or content.state in OVER:
            continue
        contract = contracts.get(content.stream)
        today = dates.get(contract.time_zone) if contract else None
        instant = reached.get((content.id, content.version))
        has_come = came(today, instant)
        active = content.state == "active" and in_period(content, has_come) and in_force(content, has_come)
        standing = StandingAuthorisation(content, Position(entry.offset + 1), active)
        by_stream.setdefault(content.stream, []).append(standing)
    return {
        stream: tuple(sorted(found, key=lambda standing: standing.authorisation.id))
        for stream, found in by_stream.items()
    }


def came(today: date | None, instant: datetime | None) -> Callable[[Moment], bool]:
    """Return what tells whether a moment has come: a day against `today`, an instant against the last that came."""

    def has_come(moment: Moment) -> bool:
        if isinstance(moment, datetime):
            return instant is not None and moment <= instant
        return today is not None and moment <= today

    return has_come


def in_period(authorisation: Authorisation, has_come: Callable[[Moment], bool]) -> bool:
    """Tell whether the period has begun and has not ended."""
    period = authorisation.period
    return has_come(period.start) and not (period.end is not None and has_come(period.end))


def in_force(authorisation: Authorisation, has_come: Callable[[Moment], bool]) -> bool:
    """Tell whether at least one citation is in force: without a law nothing may be received."""
    return any(
        has_come(citation.in_force_from)
        and not (citation.in_force_until is not None and has_come(citation.in_force_until))
        for citation in authorisation.citations
    )


def instants(authorisation: Authorisation) -> dict[datetime, RecordKind]:
    """Return the instants at which an authorisation begins or ends to hold, in their order.

    Days are left out: the `date` record of the day is enough for them.
    """
    found: dict[datetime, RecordKind] = {}
    pairs: list[tuple[Moment, Moment | None]] = [(authorisation.period.start, authorisation.period.end)]
    pairs += [(citation.in_force_from, citation.in_force_until) for citation in authorisation.citations]
    for _, ends in pairs:
        if isinstance(ends, datetime):
            found.setdefault(ends, "end")
    for begins, _ in pairs:
        if isinstance(begins, datetime):
            found[begins] = "start"
    return dict(sorted(found.items()))
