"""The main job as a newcomer sees it: what the command tells, and what it tells of births, indications and deaths."""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import Any

import pytest

from tests.e2e.conftest import STREAMS, Played
from tests.e2e.records import Record, leaves, own

pytestmark = pytest.mark.e2e

MEMBERS = {
    "published", "delivered", "withheld", "refused", "quarantined", "unidentified", "entries", "ledger", "latencyMs",
    "secondsToFirstDelivery", "scenarios",
}  # fmt: skip
TERRITORY = {"9001", "9002"}
"""Municipalities of the child benefit fund, and of the municipality that hears of deaths."""
ADDRESS = {
    "function", "municipalityPart", "since", "street", "publicSpace", "number", "letter", "addition", "indication",
    "postcode", "place", "bagObject", "bagAddress", "location", "country", "abroadSince", "abroad", "immigratedFrom",
    "immigratedOn", "reason",
}  # fmt: skip
BIRTH = {"bsn", "birth.date", "parents.order", "parents.bsn", "municipality"} | {f"address.{name}" for name in ADDRESS}
INDICATION = {"indicationId", "bsn", "decidedOn", "validFrom", "validUntil", "careKind", "withdrawn"}
DEATH = {
    "svb": {"bsn", "death.date", "partner.bsn"},
    "toeslagen": {"bsn", "death.date", "partner.bsn"},
    "duo": {"bsn", "death.date"},
    "pensioenfonds": {"bsn", "death.date", "partner.bsn", "partner.since"},
    "gemeente": {
        "bsn", "death.date", "municipality",
        "names.given", "names.title", "names.prefix", "names.family", "names.usage",
    },
}  # fmt: skip


def received(played: Played, scenario: str, *path: str) -> dict[str, list[dict[str, Any]]]:
    told = played.document["scenarios"][scenario]
    for name in path:
        told = told[name]
    return told["received"]


def records_of(played: Played, stream: str) -> list[tuple[Record, dict[str, Any]]]:
    topic = STREAMS[stream]
    return [(record, played.published[topic, record.partition, record.offset]) for record in played.topics[topic]]


def test_it_ends_by_itself_with_one_document_and_leaves_no_process(played: Played) -> None:
    assert played.outcome.code == 0
    assert len(played.outcome.out.splitlines()) == 1
    assert set(json.loads(played.outcome.out)) >= MEMBERS
    assert played.outcome.err
    assert "Traceback" not in played.outcome.err
    assert played.left_running == []


def test_it_measures_from_the_source_to_the_agency(played: Played) -> None:
    latency = played.document["latencyMs"]
    assert 0 < latency["p50"] <= latency["p99"] < 10_000
    assert 0 < played.document["secondsToFirstDelivery"] < played.outcome.seconds


def test_for_each_authorisation_what_was_published_was_delivered_withheld_or_set_aside(played: Played) -> None:
    document, seen = played.document, 0
    for agency, purposes in document["delivered"].items():
        for purpose, streams in purposes.items():
            for stream, delivered in streams.items():
                withheld = document["withheld"].get(agency, {}).get(purpose, {}).get(stream, {})
                published = document["published"][stream]
                assert published == delivered + sum(withheld.values()) + document["quarantined"], (agency, purpose)
                assert delivered == len(played.topics[f"agency.{agency}.{purpose}.{stream.replace('/', '.')}"])
                seen += 1
    assert seen == 7
    assert document["quarantined"] == 0 == len(played.topics["integrator.quarantine"])


def test_published_are_the_records_that_an_authorisation_could_decide_about(played: Played) -> None:
    people, indications = (len(records_of(played, stream)) for stream in STREAMS)
    assert played.document["published"] == {"brp/person": people, "ciz/wlz-indication": indications // 2}
    assert people > 1000


def test_a_birth_reaches_the_child_benefit_fund_once_with_child_parents_and_address(played: Played) -> None:
    born = {
        value["bsn"]: value
        for _, value in records_of(played, "brp/person")
        if value["kind"] == "created" and value["municipality"] in TERRITORY
    }
    told = received(played, "S3")
    assert played.document["scenarios"]["S3"]["modelled"] is True
    assert set(told) == {"groeifonds"}
    shown = Counter(delivery["fields"]["bsn"] for delivery in told["groeifonds"])
    assert len(shown) == played.document["scenarios"]["S3"]["born"] == 2
    assert set(shown) <= set(born)
    assert set(shown.values()) == {1}
    created = [
        delivery.value["bsn"]
        for delivery in played.deliveries
        if delivery.authorisation == "s3-groeifonds-geboorte" and delivery.record.header("ce_kind") == "created"
    ]
    assert Counter(created) == dict.fromkeys(born, 1)
    for delivery in told["groeifonds"]:
        fields, child = delivery["fields"], born[delivery["fields"]["bsn"]]
        assert (delivery["kind"], delivery["purpose"]) == ("created", "startbedrag")
        assert leaves(fields) == BIRTH
        assert fields["address"] == child["address"]
        assert fields["birth"] == {"date": child["birth"]["date"]}
        assert [parent["bsn"] for parent in fields["parents"]] == [parent["bsn"] for parent in child["parents"]]
        assert len(fields["parents"]) == 2


def test_a_newborn_is_inscribed_by_the_delivery_itself(played: Played) -> None:
    said = (
        own("directory/inscription", record)
        for record in played.topics["integrator.directory"]
        if (record.key or b"").startswith(b"inscription|groeifonds/child/")
    )
    people = [inscription["person"] for inscription in said]
    created = {
        delivery.value["bsn"]
        for delivery in played.deliveries
        if delivery.authorisation == "s3-groeifonds-geboorte" and delivery.record.header("ce_kind") == "created"
    }
    assert len(people) == len(set(people)) == len(created) >= 2


def test_nothing_flows_before_the_law_and_the_dates_after_it(played: Played) -> None:
    told = played.document["scenarios"]["S4"]
    in_time = sorted(records_of(played, "ciz/wlz-indication"), key=lambda found: found[0].header("ce_time"))
    before, after = in_time[: told["beforeTheLaw"]["indicated"]], in_time[told["beforeTheLaw"]["indicated"] :]
    assert len(before) == len(after) == told["afterTheLaw"]["indicated"] == 3
    assert received(played, "S4", "beforeTheLaw") == {"svb": []}
    reached = {each["fields"]["indicationId"]: each["fields"] for each in received(played, "S4", "afterTheLaw")["svb"]}
    assert set(reached) == {value["indicationId"] for _, value in after}
    for _, value in after:
        assert reached[value["indicationId"]] == {name: value[name] for name in INDICATION}
    topic = "agency.svb.dubbele-kinderbijslag.ciz.wlz-indication"
    ids = [delivery.value["indicationId"] for delivery in played.deliveries if delivery.record.topic == topic]
    assert sorted(ids) == sorted(reached)


def test_a_source_learns_that_something_was_forwarded_and_never_to_whom(played: Played) -> None:
    receipts = [own("integrator/receipt", record) for record in played.topics["source.ciz.receipts"]]
    assert Counter(receipt["forwarded"] for receipt in receipts) == {False: 3, True: 3}
    receipts += [own("integrator/receipt", record) for record in played.topics["source.brp.receipts"]]
    events = {record.header("ce_id") for stream in STREAMS for record, _ in records_of(played, stream)}
    assert Counter(receipt["eventId"] for receipt in receipts) == dict.fromkeys(events, 1)
    forwarded = {place for place, deliveries in played.by_event().items() if deliveries}
    assert sum(receipt["forwarded"] for receipt in receipts) == len(forwarded)


def test_of_a_death_each_agency_hears_in_its_own_fields(played: Played) -> None:
    told = received(played, "S19")
    assert set(told) == set(DEATH)
    dead = {delivery["fields"]["bsn"] for delivery in told["svb"]}
    assert played.document["scenarios"]["S19"]["died"] == len(dead) >= 3
    homes = {
        value["bsn"]: value["municipality"]
        for _, value in records_of(played, "brp/person")
        if value["kind"] == "changed" and "death" in value["changed"]
    }
    assert dead <= set(homes)
    for agency, deliveries in told.items():
        assert deliveries, agency
        assert {path for delivery in deliveries for path in leaves(delivery["fields"])} == DEATH[agency], agency
        assert all(delivery["triggers"] == ["death"] for delivery in deliveries)
        heard = dead if agency != "gemeente" else {person for person in dead if homes[person] in TERRITORY}
        assert Counter(delivery["fields"]["bsn"] for delivery in deliveries) == dict.fromkeys(heard, 1), agency


def test_what_was_refused_is_counted_and_stands_in_the_institution_log(played: Played) -> None:
    assert played.document["refused"] == {"no-legal-basis": 1, "not-authorised": 1}
    log = played.open_log("institution")
    entries = [opened(log.opening(index, "AP")) for index in range(log.size)]
    refusals = [
        (a["reason"], a["request"], a["agency"], a["stream"], p["actor"])
        for a, p in entries
        if a["schema"] == "dienstenintegrator/refusal/v1"
    ]
    assert sorted(refusals) == [
        ("no-legal-basis", "apply", "svb", "ciz/wlz-indication", "operator"),
        ("not-authorised", "subscribe", "duo", "ciz/wlz-indication", "agency-duo--studieschuld"),
    ]
    steps = [a for a, _ in entries if a["schema"] == "dienstenintegrator/authorisation-step/v1"]
    applied = Counter(step["authorisation"] for step in steps if step["step"] == "applied")
    assert set(applied.values()) == {1}
    assert len(applied) == 7
    assert "s4-svb-zorgindicatie" in {step["authorisation"] for step in steps if step["step"] == "started"}


def opened(opening: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    a, p = (base64.b64decode(opening[letter]["bytes"]) for letter in "AP")
    return json.loads(a), json.loads(p) if p else {}
