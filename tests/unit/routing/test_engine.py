"""Holds what the engine makes of a batch: deliveries, disclosures, receipts, quarantine, requests and counts."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from integrator.domain.directory import RegisteredSchema
from integrator.domain.errors import Invalid, Unavailable
from integrator.domain.identifiers import SubjectRef
from integrator.domain.identities import Identities
from integrator.domain.projection import derive_schema, pick
from integrator.domain.pseudonyms import PairwiseEventIds, pairwise_key, pseudonym
from integrator.domain.topics import partition_of
from integrator.encoding import decode, encode, frame, parse_schema, record_type
from integrator.routing.engine import ENGINE, Output
from integrator.routing.ports import Headers, OutRecord, SourceBatch, SourceRecord
from integrator.routing.reference import PythonEngine
from tests.unit.routing.samples import (
    DIRECTORY_KEY,
    IDENTITIES,
    LEDGER_KEY,
    MOTHER,
    POSITION,
    SCHEMA,
    STREAM,
    SUBJECT,
    TODAY,
    TOPIC,
    URN,
    View,
    authorisation,
    contract,
    knowledge,
    known_as,
    line,
    person,
    standing,
    value,
)

ID = "7b0d1b0e-7d0f-4e0e-8d0f-0123456789ab"
TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
HEADERS: Headers = (
    ("ce_specversion", b"1.0"),
    ("ce_id", ID.encode()),
    ("ce_source", URN.encode()),
    ("ce_type", b"nl.brp.person.changed"),
    ("ce_time", b"2026-11-24T10:00:00Z"),
    ("content-type", b"application/avro"),
)
AGENCY_TOPIC = "agency.svb.child-benefit.brp.person"
PARTITIONS, LANE, AT = 4, 1, 1_795_000_000_000
WRITER = parse_schema(json.dumps(SCHEMA))


class Sequences:
    """Numbers from 1 for each topic and partition."""

    def __init__(self) -> None:
        self.given: Counter[tuple[str, int]] = Counter()

    def next(self, topic: str, partition: int) -> int:
        self.given[topic, partition] += 1
        return self.given[topic, partition]


def pairwise(agency: str, purpose: str) -> bytes:
    return hashlib.sha256(f"{agency}/{purpose}".encode()).digest()


def record(position: int = 0, *, headers: Headers = HEADERS, **change: Any) -> SourceRecord:
    whole = value(**change)
    key = f"test:{whole['bsn']}|person".encode()
    return SourceRecord(position, AT, key, frame(1, encode(WRITER, whole)), headers)


def batch(*records: SourceRecord, subject: str = SUBJECT, **change: Any) -> SourceBatch:
    partition = partition_of(person(subject), PARTITIONS)
    return replace(SourceBatch(STREAM, TOPIC, partition, PARTITIONS, records, len(records)), **change)


def process(view: View, *records: SourceRecord, sequences: Sequences | None = None, **change: Any) -> Output:
    engine = PythonEngine(pairwise, directory_key=DIRECTORY_KEY, ledger_key=LEDGER_KEY, identities=IDENTITIES)
    return engine.process(batch(*records, **change), view, sequences or Sequences(), lane=LANE, at=AT)


def headers_of(delivered: OutRecord) -> dict[str, str]:
    names = [name for name, _ in delivered.headers]
    assert len(set(names)) == len(names)
    return {name: held.decode() for name, held in delivered.headers}


def receipts_of(output: Output) -> list[dict[str, Any]]:
    assert {topic for topic, _ in output.receipts} <= {"source.brp.receipts"}
    return [record_type("integrator/receipt").decode(one.value or b"") for _, one in output.receipts]


def disclosures_of(output: Output) -> list[dict[str, Any]]:
    return [record_type("ledger/disclosure").decode(one) for one in output.disclosures]


def quarantine_of(output: Output) -> list[dict[str, Any]]:
    return [record_type("integrator/quarantine").decode(one.value or b"") for one in output.quarantined]


def test_a_permitted_record_is_delivered_with_what_is_authorised_and_nothing_else() -> None:
    output = process(View(knowledge(authorisation())), record())
    ((topic, delivered),) = output.deliveries
    fields = authorisation().fields
    assert topic == AGENCY_TOPIC
    assert delivered.value is not None
    assert delivered.value[:5] == struct.pack(">bI", 0, 100)
    read = decode(parse_schema(json.dumps(derive_schema(SCHEMA, fields))), delivered.value[5:])
    assert read == pick(SCHEMA, value(), fields)
    assert b"canary" not in delivered.value


def test_a_delivered_record_has_its_envelope() -> None:
    output = process(View(knowledge(authorisation())), record(headers=(*HEADERS, ("traceparent", TRACE))))
    ((_, delivered),) = output.deliveries
    key = pairwise("svb", "child-benefit")
    assert delivered.key == pairwise_key(key, person(SUBJECT))
    assert headers_of(delivered) == {
        "ce_specversion": "1.0",
        "ce_id": PairwiseEventIds(key, URN).of(ID),
        "ce_source": URN,
        "ce_type": "nl.brp.person.changed",
        "ce_time": "2026-11-24T10:00:00Z",
        "ce_service": "nl.brp.person.v1",
        "ce_dataschema": "/schemas/ids/100",
        "content-type": "application/avro",
        "ce_sequence": "00000000000000000001",
        "ce_lane": "1",
        "ce_kind": "changed",
        "ce_authorisation": "svb-address/1",
        "ce_purpose": "child-benefit/2",
        "ce_triggers": "address",
        "traceparent": TRACE.decode(),
    }


def test_a_correction_names_the_event_that_it_corrects_by_its_pairwise_id() -> None:
    output = process(View(knowledge(authorisation())), record(kind="corrected", corrects=ID.upper()))
    ((_, delivered),) = output.deliveries
    assert headers_of(delivered)["ce_corrects"] == PairwiseEventIds(pairwise("svb", "child-benefit"), URN).of(ID)


def test_headers_that_do_not_apply_are_absent() -> None:
    output = process(View(knowledge(authorisation(triggers=[]))), record())
    assert not {"ce_triggers", "ce_corrects", "traceparent"} & headers_of(output.deliveries[0][1]).keys()


def test_every_delivery_has_its_disclosure_record() -> None:
    output = process(View(knowledge(authorisation())), record(41))
    ((_, delivered),) = output.deliveries
    (disclosure,) = disclosures_of(output)
    assert record_type("ledger/disclosure").encode(disclosure) == output.disclosures[0]
    for one in disclosure["subjects"]:
        assert known_in_ledger(IDENTITIES.open(one.pop("identity"), one["pseudonym"])) == one["pseudonym"]
    assert disclosure == {
        "authorisation": "svb-address",
        "version": 1,
        "directoryPosition": POSITION,
        "engine": ENGINE,
        "date": TODAY,
        "at": datetime.fromtimestamp(AT / 1000, UTC),
        "topic": AGENCY_TOPIC,
        "partition": LANE,
        "lane": LANE,
        "sequence": 1,
        "source": TOPIC,
        "sourcePartition": partition_of(person(SUBJECT), PARTITIONS),
        "sourcePosition": 41,
        "eventId": headers_of(delivered)["ce_id"],
        "kind": "changed",
        "valueSha256": hashlib.sha256(delivered.value or b"").digest(),
        "subjects": [
            {"pseudonym": known_in_ledger(person(number)), "keyVersion": 1, "role": role, "mediated": False}
            for number, role in ((SUBJECT, "subject"), (MOTHER, "parent"))
        ],
        "unidentified": 1,
    }
    assert output.counts == {("svb-address", 1, "unidentified"): 1}


def known_in_ledger(ref: SubjectRef) -> bytes:
    return pseudonym(LEDGER_KEY, "ledger", ref)


def test_no_number_stands_in_a_disclosure_and_only_the_label_service_can_tell_it() -> None:
    (disclosure,) = process(View(knowledge(authorisation())), record()).disclosures
    assert not any(number.encode() in disclosure for number in (SUBJECT, MOTHER))
    subjects = record_type("ledger/disclosure").decode(disclosure)["subjects"]
    opened = [IDENTITIES.open(one["identity"], one["pseudonym"]) for one in subjects]
    assert opened == [person(SUBJECT), person(MOTHER)]
    with pytest.raises(Invalid) as caught:
        IDENTITIES.open(subjects[0]["identity"], subjects[1]["pseudonym"])
    assert caught.value.code == "identity"
    with pytest.raises(Invalid):
        Identities(b"j" * 32, random=os.urandom).open(subjects[0]["identity"], subjects[0]["pseudonym"])


@pytest.mark.parametrize("mark", ["protectedAddress", "thirdPartyRestriction", "sheltered"])
def test_the_entries_of_others_are_mediated_where_the_subject_must_not_be_found(mark: str) -> None:
    roles = contract().roles.model_dump(by_alias=True) | {"protectedAddress": None} | {mark: "shielded"}
    view = View(knowledge(authorisation(), of=contract(roles=roles)))
    for shielded in (True, False):
        (disclosure,) = disclosures_of(process(view, record(shielded=shielded)))
        assert [(one["role"], one["mediated"]) for one in disclosure["subjects"]] == [
            ("subject", False),
            ("parent", shielded),
        ]


def test_a_number_is_sealed_once_for_a_person_however_many_deliveries_name_them() -> None:
    sealed: list[int] = []

    def random(size: int) -> bytes:
        sealed.append(size)
        return os.urandom(size)

    engine = PythonEngine(
        pairwise,
        directory_key=DIRECTORY_KEY,
        ledger_key=LEDGER_KEY,
        identities=Identities(b"i" * 32, random=random),
    )
    other = authorisation(id="duo-address", agency="duo", purpose="grants")
    for _ in range(3):
        output = engine.process(
            batch(record(), record(1)), View(knowledge(authorisation(), other)), Sequences(), lane=LANE, at=AT
        )
        assert len(output.disclosures) == 4
    assert len(sealed) == 2


LATER_KEY = PythonEngine(
    pairwise, directory_key=DIRECTORY_KEY, ledger_key=LEDGER_KEY, identities=IDENTITIES, ledger_key_version=300
)
EVERYBODY = knowledge(authorisation())


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 4 * 10**12), position=st.integers(0, 2**62), parents=st.integers(0, 70))
def test_the_bytes_of_disclosures_and_receipts_are_those_of_their_schemas(at: int, position: int, parents: int) -> None:
    people = [{"bsn": f"{200000000000 + number}", "name": None} for number in range(parents)]
    source = batch(replace(record(parents=people), position=position), SourceRecord(position, 0, None, None, ()))
    output = LATER_KEY.process(source, View(EVERYBODY), Sequences(), lane=LANE, at=at)
    (disclosure,) = disclosures_of(output)
    assert (disclosure["sourcePosition"], len(disclosure["subjects"])) == (position, parents + 1)
    assert {one["keyVersion"] for one in disclosure["subjects"]} == {300}
    assert record_type("ledger/disclosure").encode(disclosure) == output.disclosures[0]
    for found, (_, written) in zip(receipts_of(output), output.receipts, strict=True):
        assert record_type("integrator/receipt").encode(found) == written.value


def test_a_source_learns_forwarded_or_not_and_never_to_whom() -> None:
    output = process(View(knowledge(authorisation())), record(7), record(8, changed=["name"]))
    assert [(one["position"], one["forwarded"], one["eventId"]) for one in receipts_of(output)] == [
        (7, True, ID),
        (8, False, ID),
    ]
    assert all(b"svb" not in (one.value or b"") for _, one in output.receipts)


def test_a_change_outside_the_triggers_leaves_no_trace_but_a_count() -> None:
    sequences = Sequences()
    output = process(View(knowledge(authorisation())), record(changed=["name"]), sequences=sequences)
    assert (output.deliveries, output.disclosures, output.requests, output.quarantined) == ([], [], [], [])
    assert output.counts == {("svb-address", 1, "no-trigger"): 1}
    assert not sequences.given


def test_sequences_are_contiguous_and_in_source_order() -> None:
    records = [record(number, changed=["address" if number % 3 else "name"]) for number in range(9)]
    output = process(View(knowledge(authorisation())), *records)
    assert [one["sequence"] for one in disclosures_of(output)] == [1, 2, 3, 4, 5, 6]
    assert [one["sourcePosition"] for one in disclosures_of(output)] == [1, 2, 4, 5, 7, 8]
    assert [headers_of(one)["ce_sequence"] for _, one in output.deliveries] == [f"{n:020}" for n in range(1, 7)]


def test_each_agency_gets_its_own_fields_and_pseudonyms() -> None:
    other = authorisation(id="duo-name", agency="duo", purpose="grants", fields=["name"], triggers=[])
    output = process(View(knowledge(other, authorisation())), record())
    assert [topic for topic, _ in output.deliveries] == ["agency.duo.grants.brp.person", AGENCY_TOPIC]
    first, second = (one for _, one in output.deliveries)
    assert first.key != second.key
    assert headers_of(first)["ce_id"] != headers_of(second)["ce_id"]
    assert first.value is not None
    assert decode(parse_schema(json.dumps(derive_schema(SCHEMA, ["name"]))), first.value[5:]) == {"name": "Anna"}
    assert [one["unidentified"] for one in disclosures_of(output)] == [1, 1]


def test_two_authorisations_of_one_agency_and_purpose_share_a_topic_and_its_numbers() -> None:
    other = authorisation(id="svb-name", fields=["bsn", "name"], triggers=["name"])
    both = View(knowledge(authorisation(), other))
    output = process(both, record(0, changed=["address", "name"]), record(1, changed=["name"]))
    found = [
        (
            topic,
            headers_of(one)["ce_authorisation"],
            headers_of(one)["ce_dataschema"],
            int(headers_of(one)["ce_sequence"]),
        )
        for topic, one in output.deliveries
    ]
    assert found == [
        (AGENCY_TOPIC, "svb-address/1", "/schemas/ids/100", 1),
        (AGENCY_TOPIC, "svb-name/1", "/schemas/ids/101", 2),
        (AGENCY_TOPIC, "svb-name/1", "/schemas/ids/101", 3),
    ]


def test_a_notification_names_the_subject_only() -> None:
    output = process(View(knowledge(authorisation(payload="notification"))), record())
    ((_, delivered),) = output.deliveries
    assert decode(parse_schema(json.dumps(derive_schema(SCHEMA, ["bsn"]))), (delivered.value or b"")[5:]) == {
        "bsn": SUBJECT
    }
    assert [one["role"] for one in disclosures_of(output)[0]["subjects"]] == ["subject"]


INSCRIBES = {"kinds": ["created", "changed"], "inscribes": {"capacity": "child"}}


def test_a_permitted_birth_asks_once_for_the_inscription() -> None:
    view = View(knowledge(authorisation(**INSCRIBES)))
    output = process(view, record(kind="created"), record(1, kind="created"), record(2))
    assert len(output.deliveries) == 3
    (request,) = (record_type("integrator/request").decode(one.value or b"") for one in output.requests)
    assert request["body"] == {
        "agency": "svb",
        "person": known_as(person(SUBJECT)).hex(),
        "capacity": "child",
        "phase": "definitive",
        "start": TODAY,
        "authorisation": "svb-address",
        "version": 1,
        "directoryPosition": POSITION,
    }


@pytest.mark.parametrize(
    ("held", "asked"), [(line(), 0), (line("duo"), 1), (line(capacity="x"), 1), (line(end=TODAY), 1)]
)
def test_nobody_is_inscribed_twice(held: Any, asked: int) -> None:
    view = View(knowledge(authorisation(**INSCRIBES)), {SUBJECT: (held,)})
    assert len(process(view, record(kind="created")).requests) == asked


def test_a_withheld_birth_inscribes_nobody() -> None:
    elsewhere = [{"population": "territory", "codes": ["0363"]}]
    view = View(knowledge(authorisation(population=elsewhere, **INSCRIBES)))
    assert process(view, record(kind="created")).requests == []


def test_the_directory_is_asked_once_for_a_batch_and_only_when_it_matters() -> None:
    related = authorisation(population=[{"population": "related"}])
    view = View(knowledge(related), {MOTHER: (line(),)})
    assert len(process(view, record(), record(1), record(2, parents=[])).deliveries) == 2
    assert view.asked == 1
    everybody = View(knowledge(authorisation()))
    process(everybody, record())
    assert everybody.asked == 0


GOOD = record()
BODY = (GOOD.value or b"")[5:]
BROKEN: dict[str, SourceRecord] = {
    "not-avro": replace(GOOD, value=b"{}" + BODY),
    "unknown-schema": replace(GOOD, value=frame(9, BODY)),
    "another topic's schema": replace(GOOD, value=frame(100, BODY)),
    "cut": replace(GOOD, value=frame(1, BODY[:-1])),
    "lying length": replace(GOOD, value=frame(1, BODY[:1] + b"\x01\xff\xff\x7f" + BODY[2:])),
    "no key": replace(GOOD, key=None),
    "other key": replace(GOOD, key=f"test:{MOTHER}|person".encode()),
    "other fact": replace(GOOD, key=f"test:{SUBJECT}|marriage".encode()),
    "no id": replace(GOOD, headers=HEADERS[:1] + HEADERS[2:]),
    "guid": replace(GOOD, headers=(*HEADERS, ("__value_schema_id", b"\1" + b"0" * 16)), value=BODY),
    "no-subject": record(bsn=""),
    "subject-invalid": record(bsn="12"),
    "no kind": record(kind="unheard"),
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("not-avro", "not-avro"),
        ("guid", "not-avro"),
        ("unknown-schema", "unknown-schema"),
        ("another topic's schema", "unknown-schema"),
        ("cut", "contract"),
        ("lying length", "contract"),
        ("no kind", "contract"),
        ("no key", "wrong-key"),
        ("other key", "wrong-key"),
        ("other fact", "wrong-key"),
        ("no id", "envelope"),
        ("no-subject", "no-subject"),
        ("subject-invalid", "subject-invalid"),
    ],
)
def test_a_bad_record_is_set_aside_and_the_next_one_flows(change: str, reason: str) -> None:
    bad = replace(BROKEN[change], position=30)
    output = process(View(knowledge(authorisation())), bad, record(31))
    (kept,) = quarantine_of(output)
    assert (kept["reason"], kept["position"], kept["source"], kept["stream"]) == (reason, 30, "brp", STREAM)
    assert (kept["key"], kept["value"], kept["directoryPosition"]) == (bad.key, bad.value, POSITION)
    assert [(one["name"], one["value"]) for one in kept["headers"]] == list(bad.headers)
    assert "canary" not in kept["detail"]
    assert SUBJECT not in kept["detail"]
    assert [(one["quarantined"], one["forwarded"]) for one in receipts_of(output)] == [(reason, False), (None, True)]
    assert [one["sourcePosition"] for one in disclosures_of(output)] == [31]


def test_a_fact_that_its_source_lets_be_forgotten_is_set_aside_nowhere() -> None:
    forgotten = replace(GOOD, value=None, position=30)
    bare = replace(forgotten, headers=(), position=31)
    output = process(View(knowledge(authorisation(), of=contract(state="fact"))), forgotten, bare, record(32))
    assert quarantine_of(output) == []
    assert [(one["quarantined"], one["forwarded"]) for one in receipts_of(output)] == [
        (None, False),
        (None, False),
        (None, True),
    ]
    assert [one["eventId"] is None for one in receipts_of(output)] == [False, True, False]
    assert len(output.deliveries) == 1


def test_where_no_facts_are_kept_a_record_without_a_value_is_broken() -> None:
    output = process(View(knowledge(authorisation())), replace(GOOD, value=None))
    assert [one["reason"] for one in quarantine_of(output)] == ["not-avro"]


def test_a_record_in_another_partition_is_set_aside() -> None:
    wrong = (partition_of(person(SUBJECT), PARTITIONS) + 1) % PARTITIONS
    output = process(View(knowledge(authorisation())), record(), partition=wrong)
    assert [one["reason"] for one in quarantine_of(output)] == ["wrong-partition"]


def test_a_stream_without_a_contract_is_set_aside_whole() -> None:
    output = process(View(knowledge(contracts={})), record(), record(1))
    assert [one["reason"] for one in quarantine_of(output)] == ["unknown-stream", "unknown-stream"]


def test_a_stream_that_nobody_may_have_is_read_and_forwarded_to_nobody() -> None:
    output = process(View(knowledge()), record(), BROKEN["cut"])
    assert output.deliveries == []
    assert [one["quarantined"] for one in receipts_of(output)] == [None, "contract"]


def test_a_schema_id_in_a_header_is_read() -> None:
    good = record()
    bare = replace(good, value=(good.value or b"")[5:], headers=(*HEADERS, ("__value_schema_id", b"\0\0\0\0\1")))
    assert (
        process(View(knowledge(authorisation())), bare).deliveries
        == process(View(knowledge(authorisation())), good).deliveries
    )


def test_a_record_of_an_older_schema_is_lifted_to_the_latest() -> None:
    older = SCHEMA | {"fields": [field for field in SCHEMA["fields"] if field["name"] not in ("shielded", "diagnosis")]}
    about = contract(schemas=[json.dumps(older), json.dumps(SCHEMA)])
    members = {name: held for name, held in value().items() if name not in ("shielded", "diagnosis")}
    good = record()
    old = replace(good, value=frame(1, encode(parse_schema(json.dumps(older)), members)))
    new = replace(good, value=frame(2, (good.value or b"")[5:]))
    one = authorisation(fields=["bsn", "name", "shielded"])
    output = process(View(knowledge(one, of=about)), old, new, replace(old, value=(old.value or b"")[:-1]))
    first, second = output.deliveries
    assert first[1].value == second[1].value
    assert [kept["reason"] for kept in quarantine_of(output)] == ["contract"]


def test_a_topic_whose_schema_was_derived_otherwise_is_written_by_decoding() -> None:
    known = knowledge(authorisation())
    wider = derive_schema(SCHEMA, ["bsn", "name", "parents.bsn", "address", "shielded"])
    registered = RegisteredSchema(100, f"{AGENCY_TOPIC}-value", 1, json.dumps(wider))
    output = process(View(replace(known, schemas={**known.schemas, 100: registered})), record())
    ((_, delivered),) = output.deliveries
    expected = pick(SCHEMA, value(), authorisation().fields) | {"shielded": False}  # the field's default
    assert decode(parse_schema(json.dumps(wider)), (delivered.value or b"")[5:]) == expected


def test_without_a_schema_for_the_topic_the_lane_waits_and_delivers_nothing() -> None:
    known = knowledge(authorisation())
    with pytest.raises(Unavailable) as error:
        process(View(replace(known, schemas={1: known.schemas[1]})), record())
    assert error.value.code == "no-schema"


def test_a_record_is_not_set_aside_for_a_mistake_in_a_contract_or_an_authorisation() -> None:
    known = knowledge(authorisation())
    wrong = authorisation(fields=["nowhere"])
    roles = contract().roles.model_dump(by_alias=True) | {"territory": "nowhere"}
    for change in (
        {"authorisations": {("svb-address", 1): wrong}, "standing": {STREAM: (standing(wrong),)}},
        {"contracts": {STREAM: contract(roles=roles)}},
    ):
        with pytest.raises(Unavailable) as error:
            process(View(replace(known, **change)), record())
        assert error.value.code == "contract-invalid"


def test_without_a_legal_day_the_lane_waits() -> None:
    with pytest.raises(Unavailable) as error:
        process(View(knowledge(authorisation(), dates={})), record())
    assert error.value.code == "no-date"


def test_a_new_version_of_the_knowledge_decides_at_once() -> None:
    engine = PythonEngine(pairwise, directory_key=DIRECTORY_KEY, ledger_key=LEDGER_KEY, identities=IDENTITIES)

    def run(view: View) -> int:
        return len(engine.process(batch(record()), view, Sequences(), lane=LANE, at=AT).deliveries)

    active = knowledge(authorisation())
    assert run(View(active)) == 1
    assert run(View(knowledge(standing(authorisation(), active=False), version=61))) == 0
    assert run(View(knowledge(authorisation(), version=62, dates={"Europe/Amsterdam": date(2019, 1, 1)}))) == 0
    assert run(View(replace(active, version=63))) == 1


NAMES = st.sampled_from([*(name for name, _ in HEADERS), "traceparent", "__value_schema_id", "x"])
ANY_HEADERS = st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=6)), max_size=8).map(tuple)
FUZZED = PythonEngine(pairwise, directory_key=DIRECTORY_KEY, ledger_key=LEDGER_KEY, identities=IDENTITIES)


@settings(max_examples=300, deadline=None)
@given(
    key=st.none() | st.binary(max_size=9) | st.just(GOOD.key),
    value=st.none() | st.binary(max_size=40) | st.binary(max_size=60).map(lambda body: frame(1, body)),
    headers=st.just(HEADERS) | ANY_HEADERS | ANY_HEADERS.map(lambda more: HEADERS + more),
)
def test_nothing_that_a_record_holds_stops_the_engine(key: Any, value: Any, headers: Any) -> None:
    hostile = SourceRecord(3, -1, key, value, headers)
    output = FUZZED.process(batch(hostile, GOOD), View(EVERYBODY), Sequences(), lane=LANE, at=AT)
    assert len(output.receipts) == 2
    assert [one["position"] for one in quarantine_of(output)] == [3]
    assert [one["sourcePosition"] for one in disclosures_of(output)] == [0]


def _counted(output: Output, reasons: Sequence[str]) -> int:
    return sum(count for (_, _, reason), count in output.counts.items() if reason in reasons)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["address", "name", "birth"]), st.binary(max_size=3)), max_size=20))
def test_every_record_is_delivered_withheld_or_set_aside(source: list[tuple[str, bytes]]) -> None:
    records = [record(number, changed=[path]) for number, (path, _) in enumerate(source)]
    hostile = [
        replace(one, value=(one.value or b"")[: len(one.value or b"") - len(cut)] + cut)
        for one, (_, cut) in zip(records, source, strict=True)
    ]
    view = View(knowledge(authorisation(), authorisation(id="svb-name", triggers=["name"])))
    output = process(view, *hostile)
    assert len(output.receipts) == len(hostile)
    assert len(output.deliveries) == len(output.disclosures)
    decided = 2 * (len(hostile) - len(output.quarantined))
    assert decided == len(output.deliveries) + _counted(output, ["no-trigger"])
