"""Holds that names of topics and principals cannot collide, and that a person's partition is the one Kafka computes."""

from __future__ import annotations

import pytest
from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from integrator.domain import topics
from integrator.domain.errors import Invalid
from integrator.domain.identifiers import SubjectRef

NAMES = st.from_regex(r"\A[a-z0-9]{1,4}(-[a-z0-9]{1,4}){0,2}\Z")
_murmur2 = topics._murmur2  # pyright: ignore[reportPrivateUsage]  # the vectors are of the hash, not of its remainder


@pytest.mark.parametrize(
    ("text", "signed"),
    [
        # Vectors of Apache Kafka 4.3, org.apache.kafka.common.utils.UtilsTest.testMurmur2.
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_the_one_of_kafka(text: bytes, signed: int) -> None:
    assert _murmur2(text) == signed & 0xFFFFFFFF


@given(st.binary(max_size=40))
def test_the_hash_equals_the_one_of_a_kafka_client(data: bytes) -> None:
    assert _murmur2(data) == aiokafka_murmur2(data) & 0xFFFFFFFF


def test_a_person_is_in_one_partition_of_the_topic() -> None:
    person = SubjectRef("test", "123456789012")
    assert topics.partition_of(person, 8) == (aiokafka_murmur2(b"test:123456789012") & 0x7FFFFFFF) % 8


def test_topics_have_the_names_of_the_design() -> None:
    assert topics.source_topic("brp", "person") == "source.brp.person"
    assert topics.receipts_topic("brp") == "source.brp.receipts"
    assert topics.error_reports_topic("brp") == "source.brp.error-reports"
    assert topics.agency_topic("svb", "child-benefit", "brp", "person") == "agency.svb.child-benefit.brp.person"
    assert topics.agency_principal("svb", "child-benefit") == "agency-svb--child-benefit"
    assert topics.lane_transactions(3) == "integrator.lane.3"


@pytest.mark.parametrize("name", ["", "a.b", "A", "a--b", "-a", "a-", "é", "a_b", "a" * 61, "a\n"])
def test_a_name_that_could_meet_another_is_refused(name: str) -> None:
    for make in (topics.source_principal, topics.receipts_topic, lambda n: topics.agency_prefix("svb", n)):
        with pytest.raises(Invalid, match="is no name"):
            make(name)


@pytest.mark.parametrize("stream", ["receipts", "error-reports"])
def test_a_stream_cannot_take_the_name_of_a_topic_of_the_integrator(stream: str) -> None:
    with pytest.raises(Invalid, match="cannot be called"):
        topics.source_topic("brp", stream)


@given(NAMES, NAMES, NAMES, NAMES)
def test_no_two_agencies_or_purposes_share_a_principal_or_a_prefix(a: str, p: str, b: str, q: str) -> None:
    if (a, p) != (b, q):
        assert topics.agency_principal(a, p) != topics.agency_principal(b, q)
        assert not topics.agency_prefix(a, p).startswith(topics.agency_prefix(b, q))
