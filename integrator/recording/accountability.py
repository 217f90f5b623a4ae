"""States part A: which fields about a person an agency received, why, by which law in force, on which day.

- It holds nothing that leads to a person, an event or another entry: thousands of entries say the same, and it may be
  opened without the person.
- It names only the fields that tell something about that person; what concerns somebody else in the event is in theirs.
- A mediated one names the class of the recipient and no authorisation, so that nobody is found by what others got.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from integrator.domain.authorisation import Authorisation, Citation, covers
from integrator.domain.contract import Contract
from integrator.domain.disclosure import SUBJECT
from integrator.domain.errors import Invalid
from integrator.domain.identifiers import split_stream
from integrator.domain.projection import delivered_fields, paths
from integrator.domain.purpose import Retention
from integrator.encoding import parse_schema
from integrator_audit import part

ACCOUNTABILITY: Final = "dienstenintegrator/accountability/v1"
MEDIATED: Final = "dienstenintegrator/mediated-accountability/v1"


def accountability(  # noqa: PLR0913  what a statement depends on, each by its name
    authorisation: Authorisation,
    contract: Contract,
    role: str,
    *,
    day: date,
    retention: Retention,
    instead: str | None = None,
) -> bytes:
    """Return part A for a person in `role`: who received which fields about them, why, by which law, on which day.

    `retention` is the profile of the purpose, in years. `instead`, the class of the agency, makes it mediated.

    LIMIT: provider, stream, purpose and laws stay exact. A stream or a purpose that one municipality alone has, or its
    by-law as a citation, would tell which it is: give such things the names that their like share.

    Raises `Invalid` (`unknown-role`, `nothing-concerns`, `time-zone`).
    """
    provider, _ = split_stream(authorisation.stream)
    under = {} if instead else {"authorisation": authorisation.id, "version": authorisation.version}
    return part(
        MEDIATED if instead else ACCOUNTABILITY,
        {
            "recipient": instead or authorisation.agency,
            "provider": provider,
            "stream": authorisation.stream,
            "fields": list(concerning(authorisation, contract, role)),
            "purpose": authorisation.purpose,
            "purposeVersion": authorisation.purpose_version,
            "basis": in_force(authorisation.citations, day, _zone(contract)),
            **under,
            "date": day.isoformat(),
            "retention": retention,
        },
    )


def concerning(authorisation: Authorisation, contract: Contract, role: str) -> tuple[str, ...]:
    """Return the authorised paths that tell something about the person in `role`, and nothing about anybody else.

    A related person's record is what stands around their number; the subject's is everything outside those records.

    LIMIT: who stands in a record in two roles has one entry, under the role that names them first.
    """
    records = {_record(related.path): related.relation for related in contract.roles.related}
    if role == SUBJECT:
        own = [""]
    else:
        own = [record for record, relation in records.items() if relation == role]
        if not own:
            raise Invalid("unknown-role", "The contract has no such role of a person.")
    known = paths(parse_schema(contract.schemas[-1]))
    found: list[str] = []
    for delivered in delivered_fields(authorisation, contract):
        for mine in own:
            within = _common(delivered, mine)
            if within is not None:
                others = [record for record in records if record not in own and _inside(record, mine)]
                found.extend(path for path in _without(within, others, known) if path not in found)
    if not found:
        raise Invalid("nothing-concerns", "No authorised field tells anything about a person in this role.")
    return tuple(found)


def in_force(citations: Iterable[Citation], day: date, zone: ZoneInfo) -> list[str]:
    """Return the citations in force on `day`, one line each; an instant counts from its day in `zone`.

    By days, because part A tells no time: a law that comes at noon is cited the whole day, and it was the directory's
    `start` record that held deliveries back until noon.
    """

    def local(moment: datetime | date) -> date:
        return moment.astimezone(zone).date() if isinstance(moment, datetime) else moment

    return [
        citation.reference
        for citation in citations
        if local(citation.in_force_from) <= day and (citation.in_force_until is None or day <= _last(citation, zone))
    ]


def _zone(contract: Contract) -> ZoneInfo:
    try:
        return ZoneInfo(contract.time_zone)
    except (KeyError, ValueError):
        raise Invalid("time-zone", f"The contract of {contract.stream} names no IANA time zone.") from None


def _last(citation: Citation, zone: ZoneInfo) -> date:
    until = citation.in_force_until
    if until is None:
        return date.max
    # A day is the last one's next; an instant still has a part of its day.
    return until.astimezone(zone).date() if isinstance(until, datetime) else date.fromordinal(until.toordinal() - 1)


def _record(path: str) -> str:
    """Return the record around a related person's number, or the number itself where it stands at the top."""
    return path.rpartition(".")[0] or path


def _inside(record: str, other: str) -> bool:
    return record != other and (other == "" or covers(other, record))


def _common(field: str, record: str) -> str | None:
    """Return what `field` and `record` share: the narrower of two subtrees when one holds the other."""
    if record == "" or covers(record, field):
        return field
    return record if covers(field, record) else None


def _without(path: str, others: list[str], known: Mapping[str, Any]) -> list[str]:
    """Return `path` as the subtrees that hold nothing of `others`."""
    if any(covers(other, path) for other in others):
        return []
    if not any(covers(path, other) for other in others):
        return [path]
    below = [name for name in known if name.rpartition(".")[0] == path]
    return [kept for name in below for kept in _without(name, others, known)]
