"""Says which records time has made due: the day of each time zone in use, and instants of periods and of the law.

Only the writer asks, because only the writer has a clock; everybody else learns of time from these records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from zoneinfo import ZoneInfo

from integrator.directory.knowledge import Entry, Known, instants
from integrator.directory.records import (
    DirectoryRecord,
    InstantCome,
    RecordKey,
    RecordKind,
    day_record,
    version_id,
)
from integrator.domain.authorisation import Authorisation


def due(
    known: Known, now: datetime, *, zones: Iterable[str] = (), authorisations: Iterable[Authorisation] = ()
) -> list[DirectoryRecord]:
    """Return what is due at `now`, for what stands and for `zones` and `authorisations` that are about to.

    A clock that goes back makes nothing due: days and instants only come.
    """
    standing = [each.authorisation for found in known.knowledge.standing.values() for each in found]
    in_use = sorted({contract.time_zone for contract in known.knowledge.contracts.values()} | set(zones))
    return [*_days(known, now, in_use), *_instants(known, now, [*standing, *authorisations])]


def _days(known: Known, now: datetime, zones: Iterable[str]) -> Iterator[DirectoryRecord]:
    for zone in zones:
        today = now.astimezone(ZoneInfo(zone)).date()
        before = known.knowledge.dates.get(zone)
        if before is None or before < today:
            yield day_record(zone, today)


def _instants(known: Known, now: datetime, authorisations: Iterable[Authorisation]) -> Iterator[DirectoryRecord]:
    for authorisation in authorisations:
        reached = known.reached.get((authorisation.id, authorisation.version))
        place = version_id(authorisation.id, authorisation.version)
        counts: dict[RecordKind, int] = {}
        for at, kind in instants(authorisation).items():
            if at > now or (reached is not None and at <= reached):
                continue
            number = counts.get(kind, _latest(known.latest, kind, place)) + 1
            counts[kind] = number
            content = InstantCome(authorisation.id, authorisation.version, at.astimezone(UTC))
            yield DirectoryRecord(RecordKey(kind, place, number), content)


def _latest(latest: Mapping[tuple[RecordKind, str], Entry], kind: RecordKind, place: str) -> int:
    found = latest.get((kind, place))
    return found.key.version if found else 0


def next_due(known: Known, now: datetime) -> datetime | None:
    """Return when something will be due if nothing else changes; `now` or earlier when something is."""
    knowledge = known.knowledge
    moments: list[datetime] = []
    for contract in knowledge.contracts.values():
        zone = ZoneInfo(contract.time_zone)
        day = knowledge.dates.get(contract.time_zone)
        if day is None:
            return now
        moments.append(datetime.combine(day + timedelta(days=1), time_of_day(), zone))
    for standing in knowledge.standing.values():
        for each in standing:
            authorisation = each.authorisation
            reached = known.reached.get((authorisation.id, authorisation.version))
            moments += [at for at in instants(authorisation) if reached is None or at > reached]
    return min(moments, default=None)
