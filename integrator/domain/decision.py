"""Decides who receives an event: the only place where that question is answered.

- `decide` is a function of the event and one reading of the directory: no clock, no memory, and total.
- It is an ordered list of small checks, each with its reason code; the first that objects withholds.
- Only authorisations with mode `mutation` are asked. Before one exists a record is decided by nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

import cel

from integrator.domain.authorisation import Authorisation, Citation, Everybody, Inscribed, Related, Territory, covers
from integrator.domain.contract import Contract
from integrator.domain.directory import DirectoryView, StandingAuthorisation, StandingInscription
from integrator.domain.event import WHOLE_KINDS, age_on
from integrator.domain.identifiers import Pseudonym, SubjectRef
from integrator.domain.reading import SourceEvent

WITHHELD: Final[dict[str, str]] = {
    "condition": "The authorisation's condition does not hold, or could not be evaluated.",
    "kind": "The authorisation does not cover this kind of event.",
    "no-date": "The directory does not know what day it is where the contract's law holds.",
    "no-legal-basis": "None of the authorisation's citations is in force.",
    "no-trigger": "Nothing changed that the authorisation names as a trigger.",
    "not-active": "The authorisation is not active, or its period has not begun or has ended.",
    "not-inscribed": "The agency has not inscribed the person, nor anybody to whom the record relates them.",
    "out-of-territory": "The person does not live in the territory of the authorisation.",
    "protected-address": "The person's address is protected, and the authorisation withholds such people.",
}
"""Why an authorisation does not deliver an event. The codes are counted, and stand in answers to sources."""

QUARANTINED: Final[dict[str, str]] = {
    "contract": "The value does not fit its schema or its contract.",
    "envelope": "A header that every event has is missing, double or malformed.",
    "no-subject": "The record names no person.",
    "not-avro": "The value does not begin as the Avro wire format does.",
    "subject-invalid": "The person's number is not valid under any scheme of the contract.",
    "unknown-schema": "The schema id is not one of this stream.",
    "unknown-stream": "The stream has no contract.",
    "wrong-key": "The key does not name the person and the fact of the record.",
    "wrong-partition": "The record is not in the partition of its person.",
}
"""Why a record is set aside without being decided."""

REFUSED: Final[dict[str, str]] = {
    "no-legal-basis": "An authorisation without a citation in force cannot be applied.",
    "not-authorised": "The agency has no authorisation for this stream and purpose.",
    "unknown-stream": "There is no stream of this name.",
}
"""Why a request of a person or programme is refused."""

UNKNOWN_PLACE: Final = "0000"
"""The municipality code of whoever lives nowhere that is known (LO3 table 33); it is in no territory."""
UNIDENTIFIED: Final = "unidentified"
"""Counted beside reasons: people in delivered fields whom no delivered number names."""


class Decision(NamedTuple):
    """What one authorisation makes of one event: permit when `reason` is `None`."""

    authorisation: str
    version: int
    reason: str | None
    """A key of `WITHHELD`."""
    fired: tuple[str, ...] = ()
    """The authorised triggers that fired, in the authorisation's order; none when none are declared or it withholds."""


Lines = tuple[StandingInscription, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that one check may look at."""

    event: SourceEvent
    contract: Contract
    standing: StandingAuthorisation
    today: date
    subject: Lines
    """The directory's lines about the subject."""
    related: Sequence[tuple[str, Lines]]
    """Relation and lines of each related person with a number."""

    @property
    def authorisation(self) -> Authorisation:
        return self.standing.authorisation


def decide(event: SourceEvent, view: DirectoryView, pseudonym: Callable[[SubjectRef], Pseudonym]) -> list[Decision]:
    """Return one decision for each authorisation that stands for the stream, in the order of their ids.

    `pseudonym` maps a person to the pseudonym under which `view` knows them.
    """
    knowledge = view.knowledge
    contract = knowledge.contracts.get(event.stream)
    if contract is None:
        return []
    today = knowledge.dates.get(contract.time_zone)
    people = [(person.relation, person.ref) for person in event.related if person.ref is not None]
    subject, *related = view.inscriptions([pseudonym(event.subject), *(pseudonym(ref) for _, ref in people)])
    relations = [(relation, lines) for (relation, _), lines in zip(people, related, strict=True)]
    decisions: list[Decision] = []
    for standing in knowledge.standing.get(event.stream, ()):
        authorisation = standing.authorisation
        if "mutation" not in authorisation.modes:
            continue
        if today is None:
            decisions.append(Decision(authorisation.id, authorisation.version, "no-date"))
            continue
        case = Case(event, contract, standing, today, subject, relations)
        reason = next((reason for check in CHECKS if (reason := check(case)) is not None), None)
        fired = fired_triggers(event, authorisation.triggers) if reason is None else ()
        decisions.append(Decision(authorisation.id, authorisation.version, reason, fired))
    return decisions


def _is_active(case: Case) -> str | None:
    return None if case.standing.active else "not-active"


def _has_legal_basis(case: Case) -> str | None:
    return (
        None if any(in_force(citation, case.today) for citation in case.authorisation.citations) else "no-legal-basis"
    )


def in_force(citation: Citation, today: date) -> bool:
    """Tell whether the law holds on the legal day `today`; instants are the directory's `start` and `end` records."""
    since, until = citation.in_force_from, citation.in_force_until
    begun = isinstance(since, datetime) or since <= today
    return begun and (until is None or isinstance(until, datetime) or today < until)


def _covers_kind(case: Case) -> str | None:
    return None if case.event.kind in case.authorisation.kinds else "kind"


def _is_in_population(case: Case) -> str | None:
    """Permit if any population holds; else say what would have helped: an inscription, or a place to live."""
    reason = "out-of-territory"
    for population in case.authorisation.population:
        match population:
            case Everybody():
                return None
            case Territory(codes=codes):
                if case.event.territory != UNKNOWN_PLACE and case.event.territory in codes:
                    return None
            case Inscribed(capacities=capacities):
                reason = "not-inscribed"
                if _is_known(case, case.subject, capacities):
                    return None
            case Related(relations=relations, capacities=capacities):
                reason = "not-inscribed"
                for relation, lines in case.related:
                    if (not relations or relation in relations) and _is_known(case, lines, capacities):
                        return None
    return reason


def _is_known(case: Case, lines: Lines, capacities: Sequence[str]) -> bool:
    """Tell whether the agency has a definitive line: a provisional one may ask questions and gets no mutations."""
    return any(
        line.agency == case.authorisation.agency
        and line.phase == "definitive"
        and (not capacities or line.capacity in capacities)
        and line.holds_on(case.today)
        for line in lines
    )


def _respects_protection(case: Case) -> str | None:
    withheld = case.event.protected and case.authorisation.protected_address == "withhold"
    return "protected-address" if withheld else None


def _has_trigger(case: Case) -> str | None:
    triggers = case.authorisation.triggers
    return "no-trigger" if triggers and not fired_triggers(case.event, triggers) else None


def fired_triggers(event: SourceEvent, triggers: Sequence[str]) -> tuple[str, ...]:
    """Return the triggers that the event fires: all for a whole fact, else those that overlap what changed.

    A stream that does not say what changed fires none: even that something changed is data.
    """
    if event.kind in WHOLE_KINDS:
        return tuple(triggers)
    changed = event.changed or ()
    return tuple(
        trigger for trigger in triggers if any(covers(trigger, path) or covers(path, trigger) for path in changed)
    )


def _meets_condition(case: Case) -> str | None:
    expression = case.authorisation.condition
    if expression is None:
        return None
    return (
        None if Condition(expression, case.contract, case.authorisation).holds(case.event, case.today) else "condition"
    )


CHECKS: Final[tuple[Callable[[Case], str | None], ...]] = (
    _is_active,
    _has_legal_basis,
    _covers_kind,
    _is_in_population,
    _respects_protection,
    _has_trigger,
    _meets_condition,
)


class Condition:
    """A CEL expression over the contract's decision fields, `age` and `kind`, with `_` for `-` in names.

    Fields of the category `origin` are unknown to it unless the authorisation names them. `age` is unknown when the
    birth date is, so that nobody is taken for an age that is not known. What cannot be evaluated does not hold.
    """

    def __init__(self, expression: str, contract: Contract, authorisation: Authorisation) -> None:
        self._program = _program(expression)
        used = set(self._program.variables()) if self._program else set[str]()
        self._age, self._kind = "age" in used, "kind" in used
        self._fields = tuple(
            (name, variable)
            for name, path in contract.decision_fields.items()
            if (variable := name.replace("-", "_")) in used
            and (name in authorisation.condition_may_use or not _tells_origin(contract, path))
        )

    def holds(self, event: SourceEvent, today: date) -> bool:
        """Tell whether the condition is true of `event` on the legal day `today`."""
        if self._program is None:
            return False
        known: dict[str, Any] = {variable: event.decision_fields.get(name) for name, variable in self._fields}
        if self._kind:
            known["kind"] = event.kind
        if self._age and event.birth_date is not None and (age := age_on(event.birth_date, today)) is not None:
            known["age"] = age
        try:
            return self._program.execute(known) is True
        except Exception:
            # The evaluator raises RuntimeError, TypeError, KeyError, ArithmeticError and others, with values in their
            # texts. For a decision they are all the same: what is not known to be true does not permit.
            return False


def _tells_origin(contract: Contract, path: str) -> bool:
    note = contract.note(path)
    return note is None or note.category == "origin"


@lru_cache(maxsize=1024)
def _program(expression: str) -> cel.Program | None:
    """Compile the expression; `None` when it is malformed, which `integrator check` reports."""
    try:
        return cel.compile(expression)
    except ValueError:
        return None


def reasons() -> Mapping[str, str]:
    """Return every reason code with its meaning, in the order of the alphabet."""
    return dict(sorted((QUARANTINED | REFUSED | WITHHELD).items()))
