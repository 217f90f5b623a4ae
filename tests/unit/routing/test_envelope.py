"""Holds that an event without a proper envelope is set aside, and that headers carry nothing but what they are for."""

from __future__ import annotations

import pytest

from integrator.domain.errors import Invalid
from integrator.routing.envelope import read_envelope, readable_id
from integrator.routing.ports import Headers

ID = "7b0d1b0e-7d0f-4e0e-8d0f-0123456789ab"
TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"  # SPEC W3C Trace Context, example
GOOD = {
    "ce_specversion": b"1.0",
    "ce_id": ID.encode(),
    "ce_source": b"urn:nld:oin:1",
    "ce_type": b"nl.brp.person.changed",
    "ce_time": b"2026-11-24T10:00:00.123Z",
    "content-type": b"application/avro",
}


def read(headers: Headers) -> object:
    return read_envelope(headers, source=b"urn:nld:oin:1", event_type=b"nl.brp.person.changed")


def test_a_proper_envelope_is_read() -> None:
    upper = GOOD | {"ce_id": ID.upper().encode(), "traceparent": TRACE, "x-other": b"\xff"}
    assert read(tuple(upper.items())) == (ID, "2026-11-24T10:00:00.123Z", TRACE, None)


@pytest.mark.parametrize("name", list(GOOD))
def test_a_missing_an_empty_and_a_double_header_are_refused(name: str) -> None:
    without = tuple((key, value) for key, value in GOOD.items() if key != name)
    for headers in (without, (*without, (name, b"")), (*GOOD.items(), (name, GOOD[name]))):
        with pytest.raises(Invalid) as error:
            read(headers)
        assert (error.value.code, error.value.where) == ("envelope", name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_specversion", b"0.3"),
        ("ce_id", b"canary"),
        ("ce_id", b"\xc3\xa9" * 18),
        ("ce_source", b"urn:nld:oin:2"),
        ("ce_type", b"nl.brp.person.moved"),
        ("ce_time", b"2026-02-30T10:00:00Z"),
        ("ce_time", b"2026-11-24T10:00:00+02:00"),
        ("ce_time", b"2026-11-24"),
        ("content-type", b"application/json"),
    ],
)
def test_a_malformed_header_is_refused_without_repeating_it(name: str, value: bytes) -> None:
    with pytest.raises(Invalid) as error:
        read(tuple((GOOD | {name: value}).items()))
    assert error.value.code == "envelope"
    assert name in str(error.value)
    assert "canary" not in str(error.value)


def test_other_headers_may_come_twice() -> None:
    assert read((*GOOD.items(), ("x-hop", b"1"), ("x-hop", b"2")))


@pytest.mark.parametrize("trace", [b"canary", TRACE.upper(), TRACE + b"-x"])
def test_a_malformed_trace_is_dropped(trace: bytes) -> None:
    assert read((*GOOD.items(), ("traceparent", trace))) == (ID, "2026-11-24T10:00:00.123Z", None, None)


def test_a_receipt_finds_the_id_of_a_broken_record() -> None:
    assert readable_id((("ce_id", ID.encode()),)) == ID
    assert readable_id((("ce_id", b"\xff"),)) is None
    assert readable_id(()) is None
