"""Every record that the demonstration delivered, judged one by one: contents, envelope, sequence, disclosure, entry."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections import Counter, defaultdict
from itertools import combinations
from typing import Any

import pytest

from integrator.demo.scenarios import documents
from integrator.domain.authorisation import Authorisation
from tests.e2e.conftest import STREAMS, Delivery, Played
from tests.e2e.records import encode, framed, keep, numbers

pytestmark = pytest.mark.e2e

FIELDS = {
    "s3-groeifonds-geboorte": ("bsn", "birth.date", "parents.order", "parents.bsn", "municipality", "address"),
    "s4-svb-zorgindicatie": ("indicationId", "bsn", "decidedOn", "validFrom", "validUntil", "careKind", "withdrawn"),
    "s19-svb-overlijden": ("bsn", "death.date", "partner.bsn"),
    "s19-toeslagen-overlijden": ("bsn", "death.date", "partner.bsn"),
    "s19-duo-overlijden": ("bsn", "death.date"),
    "s19-pensioenfonds-overlijden": ("bsn", "death.date", "partner.bsn", "partner.since"),
    "s19-gemeente-overlijden": ("bsn", "death.date", "municipality", "names"),
}
HEADERS = {
    "ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "ce_service", "ce_dataschema", "content-type",
    "ce_sequence", "ce_lane", "ce_kind", "ce_authorisation", "ce_purpose", "ce_triggers", "ce_corrects",
}  # fmt: skip


def people(delivery: Delivery) -> tuple[dict[str, str], int]:
    """Return whom a delivered value names with a number, by role, and how many others it tells of."""
    value = delivery.value
    found, others = {value["bsn"]: "subject"}, 0
    related = [("parent", parent) for parent in value.get("parents") or ()]
    related += [("partner", value["partner"])] if value.get("partner") else []
    for role, person in related:
        if person["bsn"] is None:
            others += 1
        else:
            found.setdefault(person["bsn"], role)
    return found, others


def source_of(played: Played, delivery: Delivery) -> tuple[str, int, int]:
    said = played.disclosures[delivery.place]
    return said["source"], said["sourcePartition"], said["sourcePosition"]


def test_the_fields_that_the_judge_knows_are_those_of_the_authorisations() -> None:
    stated = {one.document.id: one.document for one in documents() if isinstance(one.document, Authorisation)}
    assert {name: set(found.fields) for name, found in stated.items()} == {n: set(f) for n, f in FIELDS.items()}


def test_every_value_is_the_authorised_part_of_its_source_record_and_of_no_other_byte(played: Played) -> None:
    assert len(played.deliveries) > 200
    for delivery in played.deliveries:
        source = played.published[source_of(played, delivery)]
        expected = keep(source, FIELDS[delivery.authorisation])
        assert delivery.value == expected, delivery.record
        schema_id, body = framed(delivery.record.value)
        assert body == encode(played.registry[schema_id][1], expected), delivery.record


def test_place_of_death_and_cause_of_anything_are_in_no_schema_of_an_agency(played: Played) -> None:
    texts = [json.dumps(schema) for subject, schema in played.registry.values() if subject.startswith("agency.")]
    assert len(texts) == 7
    for word in ("diagnosis", "ground", "careProfile", "scores", "contactPersons", "restriction", "nationalities"):
        assert not [text for text in texts if f'"{word}"' in text], word
    deaths = [schema for subject, schema in played.registry.values() if "brp.person" in subject and "agency" in subject]
    for schema in deaths:
        for field in schema["fields"]:
            if field["name"] == "death":
                assert '"place"' not in json.dumps(field)


def test_the_envelope_says_what_an_event_of_the_contract_says_and_nothing_more(played: Played) -> None:
    for delivery in played.deliveries:
        record = delivery.record
        topic, partition, offset = source_of(played, delivery)
        (source,) = (one for one in played.topics[topic] if (one.partition, one.offset) == (partition, offset))
        assert {name for name, _ in record.headers} <= HEADERS
        assert len({name for name, _ in record.headers}) == len(record.headers)
        for name in ("ce_specversion", "ce_source", "ce_type", "ce_time", "content-type"):
            assert record.header(name) == source.header(name)
        assert uuid.UUID(record.header("ce_id")).version == 8
        assert record.header("ce_kind") == played.published[topic, partition, offset]["kind"]
        assert record.header("ce_dataschema") == f"/schemas/ids/{framed(record.value)[0]}"
        _, agency, purpose, *_ = record.topic.split(".")
        assert record.header("ce_purpose") == f"{purpose}/1"
        assert agency in delivery.authorisation


def test_sequences_are_contiguous_from_one_in_every_partition_and_lane(played: Played) -> None:
    told: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    for delivery in played.deliveries:
        topic, partition, lane, sequence = delivery.place
        assert len(delivery.record.header("ce_sequence")) == 20
        told[topic, partition, lane].append(sequence)
    assert len(told) > 7
    for place, sequences in told.items():
        assert sequences == list(range(1, len(sequences) + 1)), place


def test_events_about_one_person_arrive_in_the_order_of_the_source(played: Played) -> None:
    last: dict[tuple[str, bytes | None], int] = {}
    for delivery in played.deliveries:
        position = source_of(played, delivery)[2]
        person = delivery.record.topic, delivery.record.key
        assert last.get(person, -1) < position
        last[person] = position


def test_every_delivery_has_its_disclosure_and_every_disclosure_its_delivery(played: Played) -> None:
    delivered = {one.place: hashlib.sha256(one.record.value).digest() for one in played.deliveries}
    assert len(delivered) == len(played.deliveries)
    assert {place: said["valueSha256"] for place, said in played.disclosures.items()} == delivered
    for delivery in played.deliveries:
        said = played.disclosures[delivery.place]
        assert said["eventId"] == delivery.record.header("ce_id")
        assert f"{said['authorisation']}/{said['version']}" == delivery.record.header("ce_authorisation")
    assert Counter(len(found) for found in played.by_event().values())[5] >= 1, "no event went to five agencies"


def test_each_person_whom_a_delivery_names_has_one_entry_in_the_ledger_and_nobody_else(played: Played) -> None:
    expected: Counter[tuple[Any, ...]] = Counter()
    others = 0
    for delivery in played.deliveries:
        named, unnamed = people(delivery)
        others += unnamed
        digest = hashlib.sha256(delivery.record.value).hexdigest()
        expected.update((*delivery.place, digest, delivery.authorisation, role) for role in named.values())
    log = played.open_log("s0")
    found: Counter[tuple[Any, ...]] = Counter()
    for index in range(log.size):
        opening = log.opening(index, "ADS")
        a, d, s = (json.loads(base64.b64decode(opening[letter]["bytes"])) for letter in "ADS")
        if a["schema"] == "dienstenintegrator/padding/v1":
            continue
        place = d["topic"], d["partition"], d["lane"], d["sequence"], d["valueSha256"]
        # Where somebody in the event has asked for secrecy, part A of the others' entries names no authorisation.
        assert ("authorisation" in a) != ("authorisation" in d)
        assert "authorisation" in a or s["role"] != "subject"
        found[(*place, (a | d)["authorisation"], s["role"])] += 1
    assert found == expected
    assert played.document["entries"] == expected.total()
    assert played.document["unidentified"] == others


def test_an_entry_says_of_a_person_only_the_fields_that_concern_them(played: Played) -> None:
    log = played.open_log("s0")
    said: dict[tuple[str, str], set[tuple[str, ...]]] = defaultdict(set)
    for index in range(log.size):
        opening = log.opening(index, "ADS")
        a, d, s = (json.loads(base64.b64decode(opening[letter]["bytes"])) for letter in "ADS")
        if a["schema"] == "dienstenintegrator/padding/v1":
            continue
        said[(a | d)["authorisation"], s["role"]].add(tuple(a["fields"]))
        assert all(line.startswith(("NL, ", "BE, ")) for line in a["basis"])
    assert {tuple(sorted(fields)) for fields in said["s3-groeifonds-geboorte", "parent"]} == {
        ("parents.bsn", "parents.order")
    }
    assert {tuple(sorted(fields)) for fields in said["s3-groeifonds-geboorte", "subject"]} == {
        ("address", "birth.date", "bsn", "municipality")
    }
    assert {tuple(sorted(fields)) for fields in said["s19-pensioenfonds-overlijden", "partner"]} == {
        ("partner.bsn", "partner.since")
    }


def test_two_agencies_cannot_tell_that_they_hear_of_the_same_event_or_person(played: Played) -> None:
    shared = 0
    for deliveries in played.by_event().values():
        for one, other in combinations(deliveries, 2):
            shared += 1
            assert one.record.header("ce_id") != other.record.header("ce_id")
            assert one.record.key != other.record.key
    assert shared > 10
    topics_of_key = defaultdict(set)
    for delivery in played.deliveries:
        topics_of_key[delivery.record.key].add(delivery.record.topic)
    assert {len(topics) for topics in topics_of_key.values()} == {1}


def test_one_agency_knows_one_person_by_one_key(played: Played) -> None:
    keys, people_of = defaultdict(set), defaultdict(set)
    for delivery in played.deliveries:
        keys[delivery.record.topic, delivery.value["bsn"]].add(delivery.record.key)
        people_of[delivery.record.key].add(delivery.value["bsn"])
    assert {len(found) for found in keys.values()} == {1}
    assert {len(found) for found in people_of.values()} == {1}


def test_no_national_number_is_in_a_key_or_a_header_of_an_agency(played: Played) -> None:
    everybody = {number.encode() for value in played.published.values() for number in numbers(value)}
    assert len(everybody) > 500
    for delivery in played.deliveries:
        told = b"|".join([delivery.record.key or b"", *(value for _, value in delivery.record.headers)])
        mine = {number.encode() for number in numbers(played.published[source_of(played, delivery)])}
        assert not [number for number in mine if number in told]
    keys = b"|".join(delivery.record.key or b"" for delivery in played.deliveries)
    assert not [number for number in everybody if number in keys]


def test_each_source_record_is_published_in_the_partition_of_its_person(played: Played) -> None:
    for topic in STREAMS.values():
        partitions: dict[bytes, set[int]] = defaultdict(set)
        for record in played.topics[topic]:
            person, _, _ = (record.key or b"").partition(b"|")
            partitions[person].add(record.partition)
        assert {len(found) for found in partitions.values()} == {1}
