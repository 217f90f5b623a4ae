"""Holds that each rule of an authorisation withholds for its own reason, and that nothing permits by accident."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from integrator.domain.authorisation import Authorisation
from integrator.domain.decision import QUARANTINED, WITHHELD, Decision, decide, reasons
from integrator.domain.projection import paths
from integrator.domain.reading import EventReader, SourceEvent
from tests.unit.routing.samples import (
    CHILD,
    CITATION,
    MOTHER,
    SCHEMA,
    SUBJECT,
    View,
    authorisation,
    contract,
    knowledge,
    known_as,
    line,
    standing,
    value,
)


def event(**change: Any) -> SourceEvent:
    reader = EventReader(contract(), paths(SCHEMA))
    return reader.event(reader.decoded(value(**change)), id="e", time="2026-11-24T10:00:00Z")


def decided(one: Authorisation, about: SourceEvent | None = None, **lines: Any) -> Decision:
    view = View(knowledge(one), {SUBJECT: lines.get("subject", ()), MOTHER: lines.get("mother", ())})
    (decision,) = decide(about or event(), view, known_as)
    assert (decision.authorisation, decision.version) == (one.id, one.version)
    return decision


def reason(one: Authorisation, about: SourceEvent | None = None, **lines: Any) -> str | None:
    return decided(one, about, **lines).reason


def test_an_event_within_every_limit_is_permitted_with_the_triggers_that_fired() -> None:
    assert decided(authorisation()) == Decision("svb-address", 1, None, ("address",))


def test_nobody_decides_before_an_authorisation_exists() -> None:
    assert decide(event(), View(knowledge()), known_as) == []


def test_a_stream_without_a_contract_is_decided_by_nobody() -> None:
    assert decide(event(), View(knowledge(authorisation(), contracts={})), known_as) == []


def test_an_authorisation_for_questions_only_is_not_asked() -> None:
    assert decide(event(), View(knowledge(authorisation(modes=["question"]))), known_as) == []


def test_an_authorisation_that_is_not_active_withholds() -> None:
    view = View(knowledge(standing(authorisation(), active=False)))
    assert [one.reason for one in decide(event(), view, known_as)] == ["not-active"]


def test_without_a_legal_day_nothing_is_permitted() -> None:
    view = View(knowledge(authorisation(), dates={"Europe/Brussels": date(2026, 11, 24)}))
    assert [one.reason for one in decide(event(), view, known_as)] == ["no-date"]


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("2026-11-24", None, None),
        ("2026-11-25", None, "no-legal-basis"),
        ("2020-01-01", "2026-11-24", "no-legal-basis"),
        ("2020-01-01", "2026-11-25", None),
        ("2026-11-24T23:59:00Z", None, None),  # instants are the directory's `start` records
    ],
)
def test_a_citation_must_be_in_force_on_the_legal_day(since: str, until: str | None, expected: str | None) -> None:
    citation = CITATION | {"inForceFrom": since, "inForceUntil": until}
    assert reason(authorisation(citations=[citation])) == expected


def test_one_citation_in_force_is_enough() -> None:
    assert reason(authorisation(citations=[CITATION | {"inForceFrom": "2027-01-01"}, CITATION])) is None


def test_a_kind_that_is_not_named_is_withheld() -> None:
    assert reason(authorisation(kinds=["created"])) == "kind"


TERRITORY = [{"population": "territory", "codes": ["0518", "0000"]}]
INSCRIBED = [{"population": "inscribed", "capacities": ["child"]}]
RELATED = [{"population": "related", "relations": ["parent"], "capacities": ["claimant"]}]


@pytest.mark.parametrize(
    ("code", "expected"), [("0518", None), *[(c, "out-of-territory") for c in ("0599", None, "0000")]]
)
def test_a_territory_holds_those_who_live_in_it(code: str | None, expected: str | None) -> None:
    assert reason(authorisation(population=TERRITORY), event(municipality=code)) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((line(),), None),
        ((), "not-inscribed"),
        ((line("duo"),), "not-inscribed"),
        ((line(capacity="pensioner"),), "not-inscribed"),
        ((line(phase="provisional"),), "not-inscribed"),
        ((line(start=date(2026, 11, 25)),), "not-inscribed"),
        ((line(end=date(2026, 11, 24)),), "not-inscribed"),
        ((line(end=date(2026, 11, 25)),), None),
        ((line("duo"), line(end=date(2026, 1, 1)), line()), None),
    ],
)
def test_an_inscription_counts_for_its_agency_capacity_phase_and_days(lines: Any, expected: str | None) -> None:
    assert reason(authorisation(population=INSCRIBED), subject=lines) == expected


def test_any_capacity_counts_when_none_is_named() -> None:
    assert reason(authorisation(population=[{"population": "inscribed"}]), subject=(line(capacity="x"),)) is None


def test_a_person_related_to_somebody_inscribed_is_in_the_population() -> None:
    one = authorisation(population=RELATED)
    assert reason(one, mother=(line(capacity="claimant"),)) is None
    assert reason(one, mother=(line(capacity="child"),)) == "not-inscribed"
    assert reason(one, subject=(line(capacity="claimant"),)) == "not-inscribed"
    as_partner = event(parents=[], partner={"bsn": MOTHER, "name": None})
    assert reason(one, as_partner, mother=(line(capacity="claimant"),)) == "not-inscribed"


def test_any_population_is_enough_and_the_reason_names_what_would_have_helped() -> None:
    both = authorisation(population=[*TERRITORY, *INSCRIBED])
    elsewhere = event(municipality="0599")
    assert reason(both) is None
    assert reason(both, elsewhere, subject=(line(),)) is None
    assert reason(both, elsewhere) == "not-inscribed"


def test_a_protected_address_is_withheld_where_the_authorisation_says_so() -> None:
    assert reason(authorisation(protectedAddress="withhold"), event(shielded=True)) == "protected-address"
    assert reason(authorisation(protectedAddress="withhold")) is None
    assert reason(authorisation(), event(shielded=True)) is None


@pytest.mark.parametrize(
    ("changed", "fired"),
    [
        (["address"], ("address.street",)),
        (["address.street"], ("address.street",)),
        (["address.postcode"], ()),
        (["name", "address"], ("address.street", "name")),
        (["addressee", "nam"], ()),
        ([], ()),
    ],
)
def test_a_trigger_fires_when_it_overlaps_what_changed(changed: list[str], fired: tuple[str, ...]) -> None:
    decision = decided(authorisation(triggers=["address.street", "name"]), event(changed=changed))
    assert (decision.reason, decision.fired) == (None if fired else "no-trigger", fired)


@pytest.mark.parametrize("kind", ["created", "annulled", "ended", "initial"])
def test_a_whole_fact_fires_every_trigger(kind: str) -> None:
    one = authorisation(triggers=["address", "name"], kinds=[kind])
    assert decided(one, event(kind=kind, changed=[])).fired == ("address", "name")


def test_without_triggers_every_change_is_delivered() -> None:
    assert decided(authorisation(triggers=[]), event(changed=[])) == Decision("svb-address", 1, None, ())


def test_a_stream_that_does_not_say_what_changed_fires_no_trigger() -> None:
    assert reason(authorisation(), event()._replace(changed=None)) == "no-trigger"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("age >= 3 && age < 18", None),
        ("age >= 18", "condition"),
        ("kind == 'changed' && home_town == '0518'", None),
        ("birth_country == '6030'", "condition"),  # origin, and not named
        ("unheard > 1", "condition"),
        ("home_town > 1", "condition"),
        ("home_town", "condition"),  # not a truth value
        ("1 / 0 == 1", "condition"),
        ("age >=", "condition"),
        ("today > 1", "condition"),
    ],
)
def test_only_a_condition_that_is_known_to_be_true_permits(condition: str, expected: str | None) -> None:
    assert reason(authorisation(condition=condition)) == expected


def test_origin_may_be_asked_about_only_where_it_is_named() -> None:
    one = authorisation(condition="birth_country == '6030'", conditionMayUse=["birth-country"])
    assert reason(one) is None


@pytest.mark.parametrize(
    ("born", "adult"), [("2008-11-24", True), ("2008-11-25", False), ("2008", False), ("2007", True)]
)
def test_nobody_is_taken_for_older_than_they_are_known_to_be(born: str, adult: bool) -> None:
    birth = {"date": born, "country": None}
    assert (reason(authorisation(condition="age >= 18"), event(birth=birth)) is None) is adult


@pytest.mark.parametrize("born", [None, "unknown", "nonsense"])
def test_an_unknown_age_meets_no_condition_about_age(born: str | None) -> None:
    birth = {"date": born, "country": None}
    for condition in ("age >= 18", "age < 18", "!(age >= 18)"):
        assert reason(authorisation(condition=condition), event(birth=birth)) == "condition"


def test_the_checks_come_in_their_order() -> None:
    wrong: dict[str, Any] = {
        "citations": [CITATION | {"inForceFrom": "2030-01-01"}],
        "kinds": ["ended"],
        "population": TERRITORY,
        "protectedAddress": "withhold",
        "triggers": ["name"],
        "condition": "false",
    }
    about = event(municipality=None, shielded=True)
    found: list[str | None] = []
    for member in list(wrong):
        found.append(reason(authorisation(**wrong), about))
        del wrong[member]
    assert found == ["no-legal-basis", "kind", "out-of-territory", "protected-address", "no-trigger", "condition"]
    assert reason(authorisation(**wrong), about) is None


def test_every_reason_has_one_meaning() -> None:
    assert set(reasons()) >= set(WITHHELD) | set(QUARANTINED)
    assert not set(WITHHELD) & set(QUARANTINED)
    assert all(code == code.lower() and meaning.endswith(".") for code, meaning in reasons().items())


def test_an_event_prints_nothing_about_a_person() -> None:
    shown = repr(event(partner={"bsn": CHILD, "name": "x"})) + str(event())
    assert not any(secret in shown for secret in (SUBJECT, MOTHER, CHILD, "2012", "0518"))
