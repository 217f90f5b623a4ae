"""Decides as `domain.decision.decide` does, from data prepared once per version of the directory's knowledge.

A property test holds the two equal. What a record cannot change (state, law, day) is decided in advance; the rest are
look-ups in sets. Nothing of pydantic is touched per record.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from integrator.domain.authorisation import Everybody, Inscribed, Related, Territory
from integrator.domain.contract import Contract
from integrator.domain.decision import UNKNOWN_PLACE, WITHHELD, Condition, Decision, Lines, fired_triggers, in_force
from integrator.domain.directory import Knowledge, StandingAuthorisation
from integrator.domain.event import WHOLE_KINDS
from integrator.domain.reading import SourceEvent

_MOST_REMEMBERED = 4_096
"""So many different lists of changed paths are remembered per authorisation."""


class CompiledDecisions:
    """Every authorisation that stands for one stream. Valid for one `Knowledge.version`."""

    def __init__(self, knowledge: Knowledge, stream: str) -> None:
        contract = knowledge.contracts.get(stream)
        today = knowledge.dates.get(contract.time_zone) if contract else None
        standing = knowledge.standing.get(stream, ()) if contract else ()
        asked = [one for one in standing if "mutation" in one.authorisation.modes]
        self._rules = [_Rule(one, contract, today) for one in asked if contract]
        self.asks_subject = any(rule.inscribed for rule in self._rules)
        """Whether any decision depends on the directory's lines about the subject."""
        self.asks_related = any(rule.related for rule in self._rules)
        """Whether any decision depends on the lines about people to whom the record relates the subject."""

    def decide(self, event: SourceEvent, subject: Lines, related: Sequence[tuple[str, Lines]]) -> list[Decision]:
        """Return one decision per authorisation, in the order of their ids.

        `subject` and `related` (relation, lines) are the directory's lines about the people with a number; they may
        be empty where `asks_subject` and `asks_related` say that nothing depends on them.
        """
        return [rule.always or rule.decide(event, subject, related) for rule in self._rules]


class _Rule:
    """One authorisation on one legal day."""

    __slots__ = (
        "_agency",
        "_codes",
        "_condition",
        "_everybody",
        "_kinds",
        "_outside",
        "_remembered",
        "_today",
        "_triggers",
        "_withheld",
        "_withholds_protected",
        "always",
        "inscribed",
        "related",
    )

    def __init__(self, standing: StandingAuthorisation, contract: Contract, today: date | None) -> None:
        authorisation = standing.authorisation
        self._withheld = {reason: Decision(authorisation.id, authorisation.version, reason) for reason in WITHHELD}
        self.always = self._in_advance(standing, today)
        """The decision about every event, if it is always the same."""
        self._today = today or date.min
        self._agency = authorisation.agency
        self._kinds = frozenset(authorisation.kinds)
        population = authorisation.population
        self._everybody = any(isinstance(one, Everybody) for one in population)
        codes = {code for one in population if isinstance(one, Territory) for code in one.codes}
        self._codes = frozenset(codes - {UNKNOWN_PLACE})
        self.inscribed = tuple(frozenset(one.capacities) for one in population if isinstance(one, Inscribed))
        self.related = tuple(
            (frozenset(one.relations), frozenset(one.capacities)) for one in population if isinstance(one, Related)
        )
        self._outside = self._withheld["not-inscribed" if self.inscribed or self.related else "out-of-territory"]
        self._withholds_protected = authorisation.protected_address == "withhold"
        self._triggers = authorisation.triggers
        self._remembered: dict[tuple[str, ...] | None, Decision] = {}
        expression = authorisation.condition
        self._condition = None if expression is None else Condition(expression, contract, authorisation)

    def _in_advance(self, standing: StandingAuthorisation, today: date | None) -> Decision | None:
        if today is None:
            return self._withheld["no-date"]
        if not standing.active:
            return self._withheld["not-active"]
        if not any(in_force(citation, today) for citation in standing.authorisation.citations):
            return self._withheld["no-legal-basis"]
        return None

    def decide(self, event: SourceEvent, subject: Lines, related: Sequence[tuple[str, Lines]]) -> Decision:
        """Decide what is not decided in advance, in the order of `decision.CHECKS`."""
        if event.kind not in self._kinds:
            return self._withheld["kind"]
        if not (self._everybody or event.territory in self._codes or self._admits(subject, related)):
            return self._outside
        if self._withholds_protected and event.protected:
            return self._withheld["protected-address"]
        decision = self._triggered(event)
        if decision.reason is None and self._condition is not None and not self._condition.holds(event, self._today):
            return self._withheld["condition"]
        return decision

    def _admits(self, subject: Lines, related: Sequence[tuple[str, Lines]]) -> bool:
        if subject:
            for capacities in self.inscribed:
                if self._knows(subject, capacities):
                    return True
        for relations, capacities in self.related:
            for relation, lines in related:
                if lines and (not relations or relation in relations) and self._knows(lines, capacities):
                    return True
        return False

    def _knows(self, lines: Lines, capacities: frozenset[str]) -> bool:
        for line in lines:
            if (
                line.agency == self._agency
                and line.phase == "definitive"
                and (not capacities or line.capacity in capacities)
                and line.holds_on(self._today)
            ):
                return True
        return False

    def _triggered(self, event: SourceEvent) -> Decision:
        """Return the permission with the triggers that fired, or `no-trigger`."""
        key = None if event.kind in WHOLE_KINDS else event.changed or ()
        decision = self._remembered.get(key)
        if decision is None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            fired = fired_triggers(event, self._triggers)
            permit = Decision(self._outside.authorisation, self._outside.version, None, fired)
            decision = permit if fired or not self._triggers else self._withheld["no-trigger"]
            self._remembered[key] = decision
        return decision
