"""Holds that the compiled form decides exactly as the reference does."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integrator.domain.decision import WITHHELD, decide
from integrator.domain.directory import StandingInscription
from integrator.domain.event import KINDS
from integrator.domain.reading import RelatedPerson, SourceEvent
from integrator.routing.compiled import CompiledDecisions
from tests.unit.routing.samples import (
    CITATION,
    MOTHER,
    STREAM,
    SUBJECT,
    TODAY,
    View,
    authorisation,
    knowledge,
    known_as,
    person,
    standing,
)

PATHS = st.sampled_from(["address", "address.street", "address.postcode", "name", "birth", "birth.date"])
CODES = st.sampled_from(["0518", "0599", "0000"])
CAPACITIES = st.sampled_from(["child", "claimant"])
DAYS = st.sampled_from([date(2020, 1, 1), TODAY, date(2026, 11, 25), date(2030, 1, 1)])
CONDITIONS = [
    "age >= 18",
    "age < 18 && kind == 'created'",
    "home_town == '0518'",
    "birth_country == '6030'",
    "1/0 == 1",
    "(",
]
POPULATIONS = st.one_of(
    st.just({"population": "all"}),
    st.builds(lambda codes: {"population": "territory", "codes": codes}, st.lists(CODES, min_size=1, max_size=2)),
    st.builds(lambda held: {"population": "inscribed", "capacities": held}, st.lists(CAPACITIES, max_size=2)),
    st.builds(
        lambda relations, held: {"population": "related", "relations": relations, "capacities": held},
        st.lists(st.sampled_from(["parent", "partner"]), max_size=2),
        st.lists(CAPACITIES, max_size=2),
    ),
)
CITATIONS = st.builds(
    lambda since, until: CITATION | {"inForceFrom": since, "inForceUntil": until}, DAYS, st.none() | DAYS
)
AUTHORISATIONS = st.builds(
    lambda members: authorisation(**members),
    st.fixed_dictionaries(
        {
            "agency": st.sampled_from(["svb", "duo"]),
            "citations": st.lists(st.just(CITATION) | CITATIONS, min_size=1, max_size=2),
            "modes": st.just(["mutation"]) | st.sampled_from([["question"], ["mutation", "question"]]),
            "triggers": st.lists(PATHS, max_size=3, unique=True),
            "kinds": st.lists(st.sampled_from(KINDS), min_size=4, max_size=8, unique=True),
            "population": st.lists(POPULATIONS, min_size=1, max_size=2),
            "condition": st.none() | st.sampled_from(CONDITIONS),
            "conditionMayUse": st.sampled_from([[], ["birth-country"]]),
            "protectedAddress": st.sampled_from(["deliver", "withhold"]),
        }
    ),
)
LINES = st.lists(
    st.builds(
        StandingInscription,
        st.sampled_from(["svb", "duo"]),
        CAPACITIES,
        st.sampled_from(["provisional", "definitive", "definitive"]),
        DAYS,
        st.none() | DAYS,
    ),
    max_size=2,
).map(tuple)
RELATED = st.lists(
    st.builds(
        RelatedPerson, st.just(0), st.sampled_from(["parent", "partner"]), st.sampled_from([None, person(MOTHER)])
    ),
    max_size=2,
).map(tuple)
EVENTS = st.builds(
    SourceEvent,
    stream=st.just(STREAM),
    id=st.just("e"),
    time=st.just("t"),
    kind=st.sampled_from(KINDS),
    subject=st.just(person(SUBJECT)),
    related=RELATED,
    changed=st.none() | st.lists(PATHS, max_size=2).map(tuple),
    territory=st.none() | CODES,
    birth_date=st.none() | st.sampled_from(["2000-01-01", "2008", "2020", "unknown"]),
    protected=st.booleans(),
    decision_fields=st.fixed_dictionaries({"home-town": CODES, "birth-country": st.sampled_from([None, "6030", 3])}),
)


@st.composite
def readings(draw: st.DrawFn) -> View:
    asked = [
        standing(one.model_copy(update={"id": f"a{number}", "version": number + 1}), active=draw(st.integers(0, 9)) > 0)
        for number, one in enumerate(draw(st.lists(AUTHORISATIONS, max_size=4)))
    ]
    dates = cast("dict[str, date]", draw(st.sampled_from([{"Europe/Amsterdam": TODAY}] * 9 + [{}])))
    return View(knowledge(*asked, dates=dates), {SUBJECT: draw(LINES), MOTHER: draw(LINES)})


SEEN: Counter[str | None] = Counter()


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(readings(), st.lists(EVENTS, min_size=1, max_size=10))
def _decides_as_the_reference_does(view: View, events: list[SourceEvent]) -> None:
    compiled = CompiledDecisions(view.knowledge, STREAM)
    for event in events:
        people = [one for one in event.related if one.ref is not None]
        subject: Any = view.lines[SUBJECT] if compiled.asks_subject else ()
        related: Any = [(one.relation, view.lines[MOTHER]) for one in people] if compiled.asks_related else ()
        expected = decide(event, view, known_as)
        assert compiled.decide(event, subject, related) == expected
        SEEN.update(decision.reason for decision in expected)


def test_the_compiled_form_decides_as_the_reference_does() -> None:
    SEEN.clear()
    _decides_as_the_reference_does()
    assert {None, *WITHHELD} == set(SEEN), "the random events must meet every reason"
    assert sum(SEEN.values()) > 1_000


def test_no_stream_and_no_authorisation_mean_no_decision() -> None:
    compiled = CompiledDecisions(knowledge(contracts={}), STREAM)
    assert not compiled.asks_subject
    event = SourceEvent(STREAM, "e", "t", "created", person(SUBJECT))
    assert compiled.decide(event, (), ()) == CompiledDecisions(knowledge(), STREAM).decide(event, (), ()) == []
