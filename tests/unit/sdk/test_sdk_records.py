"""A source's record says who it is about and nothing more in its headers; a wrong value is named by its place only."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from integrator.domain.errors import Busy, IntegratorError, Invalid, Refused, Unavailable
from integrator.encoding import decode, parse_schema, unframe
from integrator.sdk.api import error_of
from integrator.sdk.delivered import Delivered, Envelope, Position
from integrator.sdk.message import SourceMessage
from integrator.sdk.owner import Stream
from integrator.sdk.values import broken_path

SCHEMA = parse_schema(
    json.dumps(
        {
            "type": "record", "name": "Grant", "namespace": "nl.demo",
            "fields": [
                {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["created", "changed"]}},
                {"name": "bsn", "type": "string"},
                {"name": "grantId", "type": "string"},
                {"name": "parts", "type": {"type": "array", "items": {"type": "record", "name": "Part", "fields": [
                    {"name": "amount", "type": ["null", {"type": "record", "name": "Amount", "fields": [
                        {"name": "cents", "type": "long"}]}]}]}}},
            ],
        }
    )
)  # fmt: skip
STREAM = Stream(
    name="demo/grant", topic="source.demo.grant", source_urn="urn:nld:oin:1:systeem:demo",
    event_type="nl.demo.grant.changed", schema_id=3, schema=SCHEMA, person="bsn", schemes=("bsn", "test"),
    fact_path="grantId", fact_constant=None,
)  # fmt: skip
VALUE: dict[str, Any] = {
    "kind": "created",
    "bsn": "000000000001",
    "grantId": "g-1",
    "parts": [{"amount": {"cents": 5}}],
}
ID = "b7a1a9a8-af2e-5b3c-8d4e-aabbccddeeff"


def message(**members: Any) -> SourceMessage:
    return SourceMessage("demo/grant", ID, "2026-01-02T03:04:05.678Z", VALUE | members)


def test_a_record_has_the_envelope_of_the_design() -> None:
    record = STREAM.record(message())
    assert record.key == b"test:000000000001|g-1"
    schema_id, body = unframe(record.value)
    assert (schema_id, decode(SCHEMA, body)) == (3, VALUE)
    assert dict(record.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": ID.encode(),
        "ce_source": b"urn:nld:oin:1:systeem:demo",
        "ce_type": b"nl.demo.grant.changed",
        "ce_time": b"2026-01-02T03:04:05.678Z",
        "content-type": b"application/avro",
    }


def test_no_header_and_no_representation_carries_a_number() -> None:
    record = STREAM.record(message())
    assert all(b"000000000001" not in value for _, value in record.headers)
    assert "000000000001" not in repr(record)


@pytest.mark.parametrize(
    ("members", "where"),
    [
        ({"kind": "999990019"}, "kind"),
        ({"bsn": 999990019}, "bsn"),
        ({"parts": [{"amount": {"cents": "999990019"}}]}, "parts.amount.cents"),
        ({"999990019": 1}, ""),
    ],
)
def test_a_value_that_breaks_the_contract_is_named_by_its_path_and_not_repeated(
    members: dict[str, Any], where: str
) -> None:
    with pytest.raises(Invalid) as caught:
        STREAM.record(message(**members))
    assert (caught.value.code, caught.value.where) == ("contract", where)
    assert "999990019" not in str(caught.value)


@pytest.mark.parametrize("number", ["123456789", "12", ""])
def test_a_number_that_is_none_is_refused_without_repeating_it(number: str) -> None:
    with pytest.raises(Invalid) as caught:
        STREAM.record(message(bsn=number))
    assert caught.value.code == "subject-invalid"
    assert not number or number not in str(caught.value)


@pytest.mark.parametrize("fact", ["", "a|b"])
def test_a_fact_that_would_break_the_key_is_refused(fact: str) -> None:
    with pytest.raises(Invalid, match="grantId"):
        STREAM.record(message(grantId=fact))


def test_a_value_that_fits_is_broken_nowhere() -> None:
    assert broken_path(SCHEMA, VALUE) == ""


HEADERS = (
    ("ce_specversion", b"1.0"),
    ("ce_id", ID.encode()),
    ("ce_source", b"urn:nld:oin:1:systeem:demo"),
    ("ce_time", b"2026-01-02T03:04:05.678Z"),
    ("ce_sequence", b"00000000000000000012"),
    ("ce_lane", b"3"),
    ("ce_kind", b"created"),
    ("ce_authorisation", b"s4-svb/2"),
    ("ce_purpose", b"aow/1"),
    ("ce_triggers", b"birth,address"),
)


def test_the_headers_of_a_delivery_are_read() -> None:
    envelope = Envelope.read(HEADERS)
    assert (envelope.sequence, envelope.lane, envelope.kind) == (12, 3, "created")
    assert (envelope.authorisation, envelope.version) == ("s4-svb", 2)
    assert (envelope.purpose, envelope.purpose_version) == ("aow", 1)
    assert envelope.triggers == ("birth", "address")
    assert envelope.corrects is None
    assert envelope.time == datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)


@pytest.mark.parametrize(
    "name",
    ["ce_id", "ce_source", "ce_time", "ce_sequence", "ce_lane", "ce_kind", "ce_authorisation", "ce_purpose"],
)
@pytest.mark.parametrize("value", [None, b"", b"\xff", b"x"])
def test_a_header_that_cannot_be_used_is_named(name: str, value: bytes | None) -> None:
    if name == "ce_source" and value == b"x":
        value = b""
    others = tuple(pair for pair in HEADERS if pair[0] != name)
    with pytest.raises(Invalid) as caught:
        Envelope.read(others if value is None else (*others, (name, value)))
    assert (caught.value.code, caught.value.where) == ("envelope", name)


def delivered(acknowledged: list[Position]) -> Delivered:
    envelope = Envelope.read(HEADERS)
    return Delivered(
        stream="demo/grant", value={"bsn": "000000000001"}, envelope=envelope, person="p",
        received=envelope.time + timedelta(milliseconds=250), position=Position("t", 0, 7), digest="ab" * 32,
        acknowledge=acknowledged.append,
    )  # fmt: skip


async def test_leaving_an_event_acknowledges_it_and_an_exception_does_not() -> None:
    acknowledged: list[Position] = []
    async with delivered(acknowledged):
        assert acknowledged == []
    assert acknowledged == [Position("t", 0, 7)]
    with pytest.raises(RuntimeError):
        async with delivered(acknowledged):
            raise RuntimeError
    assert len(acknowledged) == 1


def test_an_event_prints_no_value_and_tells_its_latency() -> None:
    event = delivered([])
    assert "000000000001" not in repr(event)
    assert event.latency == 0.25
    assert event.as_json()["latencyMs"] == 250.0
    assert event.authorisation == ("s4-svb", 2)


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (403, {"code": "not-active", "detail": "no"}, Refused, "not-active"),
        (404, {"error_code": 40403, "message": "Schema not found"}, Refused, "registry-40403"),
        (400, {"code": "request-invalid", "detail": "no", "issues": []}, Invalid, "request-invalid"),
        (503, {"code": "kafka-unreachable", "detail": "no"}, Unavailable, "kafka-unreachable"),
        (429, {"code": "slow-down", "detail": "no"}, Busy, "slow-down"),
        (502, "<html>", Unavailable, "api-unreadable"),
    ],
)
def test_an_answer_becomes_the_error_that_says_what_to_do(
    status: int, body: object, kind: type[IntegratorError], code: str
) -> None:
    answer = httpx2.Response(status, text=body if isinstance(body, str) else json.dumps(body))
    error = error_of(answer)
    assert (type(error), error.code) == (kind, code)
