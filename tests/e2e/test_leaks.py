"""Looks for what nobody may have in everything that the demonstration wrote: topics, ledger, logs, copies, settings.

The generator's diagnoses, grounds, profiles and telephone numbers are words that occur nowhere else; every national
number of the population is looked for as it stands in the sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.e2e.conftest import STREAMS, Played
from tests.e2e.records import numbers

pytestmark = pytest.mark.e2e

SPECIAL = re.compile(rb"diagnose-[a-z]+|[a-z]+-kwx|097000[0-9]{6}")
DIGITS = re.compile(rb"[0-9]{9,}")
HASHES = re.compile(rb"[0-9a-f]{32,}")
"""Nine digits of a number can stand in a hash by chance; a number does not hide there."""
NAMES_ALLOWED = {"agency.gemeente.uitvaart-en-post.brp.person"}
KNOWS_NUMBERS = {"secrets/citizens.sha256"}
"""Whom a fictional person's token stands for: in development only."""


@cache
def people(played: Played) -> frozenset[bytes]:
    return frozenset(number.encode() for value in played.published.values() for number in numbers(value))


def told(data: bytes, everybody: frozenset[bytes]) -> set[bytes]:
    """Return the numbers of people that stand in `data`."""
    runs = DIGITS.findall(HASHES.sub(b"#", data))
    return {run[at : at + 9] for run in runs for at in range(len(run) - 8)} & everybody


def files(played: Played) -> Iterator[tuple[str, bytes]]:
    for path in sorted(played.files.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(played.files)), path.read_bytes()
    for path in sorted((played.data / "kafka").glob("*")):
        if path.is_file():
            yield f"kafka/{path.name}", path.read_bytes()


def bytes_of(played: Played, topics: Iterable[str]) -> bytes:
    return b"\n".join(record.bytes for topic in topics for record in played.topics[topic])


def agency_topics(played: Played) -> list[str]:
    return sorted(played.document["topics"].values())


def test_the_search_finds_what_it_looks_for_where_it_must_be(played: Played) -> None:
    indications = bytes_of(played, [STREAMS["ciz/wlz-indication"]])
    assert len({found[:10] for found in SPECIAL.findall(indications)}) >= 3
    assert b"diagnose-" in indications
    assert len(told(bytes_of(played, STREAMS.values()), people(played))) == len(people(played)) > 500
    read = dict(files(played))
    assert {name.split("/")[0] for name in read} >= {"ledger", "directory", "logs", "secrets", "settings.toml"}
    assert told(read["secrets/citizens.sha256"], people(played))


def test_no_diagnosis_ground_profile_or_telephone_number_leaves_its_source(played: Played) -> None:
    source = STREAMS["ciz/wlz-indication"]
    for topic in played.topics:
        if topic != source:
            assert not SPECIAL.search(bytes_of(played, [topic])), topic
    for name, data in files(played):
        assert not SPECIAL.search(data), name
    assert not SPECIAL.search((played.outcome.out + played.outcome.err).encode())


def test_no_name_reaches_an_agency_that_may_not_have_it(played: Played) -> None:
    families = {value["names"]["family"] for value in played.published.values() if "names" in value} - {None}
    given = {value["names"]["given"] for value in played.published.values() if "names" in value} - {None}
    # Some families are called after a place, and the place stands in addresses that may be had.
    places = {value["address"]["place"] for value in played.published.values() if value.get("address")}
    names = re.compile(b"|".join(rf"\b{re.escape(name)}\b".encode() for name in (families | given) - places))
    assert len(families) > 10
    assert names.search(bytes_of(played, NAMES_ALLOWED))
    for topic in agency_topics(played):
        if topic not in NAMES_ALLOWED:
            assert not names.search(bytes_of(played, [topic])), topic


def test_an_agency_reads_the_numbers_of_the_people_in_its_deliveries_and_no_others(played: Played) -> None:
    for topic in agency_topics(played):
        mine = {n for one in played.deliveries if one.record.topic == topic for n in numbers(one.value)}
        assert told(bytes_of(played, [topic]), people(played)) == {number.encode() for number in mine}, topic


def test_the_integrators_own_topics_hold_no_national_number(played: Played) -> None:
    own = [topic for topic in played.topics if topic.startswith("integrator.")]
    own += [topic for topic in played.topics if topic.endswith(".receipts")]
    assert len(own) == 8
    for topic in own:
        assert not told(bytes_of(played, [topic]), people(played)), topic


def test_no_file_but_the_tokens_of_fictional_people_holds_a_national_number(played: Played) -> None:
    for name, data in files(played):
        if name not in KNOWS_NUMBERS:
            assert not told(data, people(played)), name


def test_what_is_secret_is_readable_by_its_owner_alone_and_in_no_other_file(played: Played) -> None:
    secrets = played.data / "secrets"
    assert secrets.stat().st_mode & 0o777 == 0o700
    kept = {path: path.read_bytes() for path in secrets.iterdir()}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in kept)
    held = [value for path, value in kept.items() if not path.name.endswith(".sha256")]
    # The broker's own settings hold its own password; its file is its owner's alone as well.
    broker = kept[secrets / "kafka-broker"]
    for name, data in files(played):
        if not name.startswith("secrets/"):
            allowed = {broker} if name == "kafka/server.properties" else set()
            assert not [value for value in held if value in data and value not in allowed], name
    assert not [value for value in held if value in (played.outcome.out + played.outcome.err).encode()]
    assert (played.data / "kafka" / "server.properties").stat().st_mode & 0o077 == 0


def test_every_file_with_keys_of_people_or_entries_is_closed_to_others(played: Played) -> None:
    for path in (played.data / "ledger", played.data / "directory"):
        assert closed(path), path


def closed(path: Path) -> bool:
    """Tell whether nobody but the owner gets at what is in a directory: by its own mode or by one above it."""
    return path.stat().st_mode & 0o077 == 0
