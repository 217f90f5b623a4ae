from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrator.directory import people
from integrator.directory.people import Line
from integrator.directory.records import (
    DirectoryRecord,
    InstantCome,
    RecordKey,
    day_record,
    read_content,
    schema_record,
)
from integrator.domain.directory import RegisteredSchema, StandingInscription
from integrator.domain.errors import Invalid
from tests.unit.directory import directory_samples as samples

FULL_AUTHORISATION = samples.authorisation(
    onBehalfOf="gemeente",
    citations=[
        {
            "country": "NL",
            "act": "Anw",
            "identifier": "BWBR0007795",
            "article": "14",
            "paragraph": "1",
            "inForceFrom": "2026-01-01T00:00:00.000001+01:00",
            "inForceUntil": "2030-01-01",
            "verified": {"by": "a jurist", "on": "2026-02-03"},
        }
    ],
    population=[
        {"population": "inscribed", "capacities": ["pensioner"]},
        {"population": "related", "relations": ["partner"], "capacities": []},
        {"population": "territory", "codes": ["9001"]},
        {"population": "all"},
    ],
    condition="age < 18",
    conditionMayUse=["nationality"],
    period={"start": "2026-01-01", "end": "2027-01-01T12:00:00Z"},
    inscribes={"capacity": "pensioner"},
)


@pytest.mark.parametrize(
    "record",
    [
        samples.record_of(samples.source()),
        samples.record_of(samples.agency()),
        samples.record_of(samples.purpose(specialGround="9(2)(b)")),
        samples.record_of(samples.purpose(retention=20)),
        samples.record_of(samples.authorisation()),
        samples.record_of(FULL_AUTHORISATION),
        samples.inscription(),
        samples.inscription(end=date(2021, 2, 3), phase="provisional", fill="initial"),
        DirectoryRecord(RecordKey("contract", "brp/person", 1), samples.contract()),
        schema_record(RegisteredSchema(7, "source.brp.person-value", 2, "{}")),
        day_record("Europe/Amsterdam", date(2026, 3, 4)),
        DirectoryRecord(
            RecordKey("start", "s19-svb/1", 1), InstantCome("s19-svb", 1, datetime(2026, 1, 1, 1, 2, 3, 4, tzinfo=UTC))
        ),
    ],
    ids=lambda record: record.key.kind,
)
def test_every_document_survives_its_record(record: DirectoryRecord) -> None:
    key, value = record.encode()

    assert RecordKey.decode(key) == record.key
    assert read_content(record.key.kind, value) == record.content


def test_a_key_is_kind_id_and_ten_digits() -> None:
    assert RecordKey("contract", "brp/person", 12).encode() == b"contract|brp/person|0000000012"


@pytest.mark.parametrize(
    "key", [None, b"", b"contract|x", b"contract|x|1", b"secret|x|0000000001", b"\xff|x|0000000001"]
)
def test_an_unknown_key_is_invalid_and_not_repeated(key: bytes | None) -> None:
    with pytest.raises(Invalid) as caught:
        RecordKey.decode(key)

    assert caught.value.code == "directory-key"
    assert "secret" not in caught.value.message


def test_a_value_of_another_kind_is_invalid() -> None:
    _, value = samples.record_of(samples.source()).encode()

    with pytest.raises(Invalid, match="not a directory/agency"):
        read_content("agency", value)


NAMES = st.from_regex(r"[a-z0-9]{1,20}(-[a-z0-9]{1,10})?", fullmatch=True)
LINES = st.builds(
    Line,
    version=st.integers(1, 2**32 - 1),
    offset=st.integers(0, 2**63),
    inscription=st.builds(
        StandingInscription,
        agency=NAMES,
        capacity=NAMES,
        phase=st.sampled_from(["provisional", "definitive"]),
        start=st.dates(),
        end=st.none() | st.dates(),
    ),
)


@given(st.lists(LINES, max_size=5))
def test_packed_lines_come_back_as_they_were(lines: list[Line]) -> None:
    assert people.unpack(people.pack(lines)) == tuple(lines)


def test_a_later_version_takes_the_place_of_an_earlier_one_only() -> None:
    first, second = (
        Line(version, version, StandingInscription("svb", "pensioner", "definitive", date(2020, 1, version), None))
        for version in (1, 2)
    )

    assert people.with_line((first,), second) == (second,)
    assert people.with_line((second,), first) == (second,)
    assert people.without_line((second,), "svb", "pensioner", 1) == (second,)
    assert people.without_line((second,), "svb", "pensioner", 2) == ()
