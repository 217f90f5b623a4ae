"""The generated population: the same from the same seed, of one mind in every stream, and nobody real."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest

from integrator.domain.errors import Invalid
from integrator.domain.identifiers import is_valid
from integrator.encoding import schemas_directory
from integrator.sdk.adapter import Summary
from integrator.sdk.message import SourceMessage
from integrator_adapters.population import ADAPTER, Population
from integrator_adapters.population.numbers import Numbers
from integrator_adapters.population.words import DIAGNOSES

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
ENVELOPE = frozenset({"kind", "changed", "corrects", "registeredAt", "validFrom"})


def population(*, seed: int = 7, families: int = 60) -> Population:
    return Population(seed, families, clock=lambda: NOW)


def everything(people: Population, *, background: int = 1500) -> Iterator[SourceMessage]:
    yield from people.initial()
    yield from people.births(5)
    yield from people.moves(5)
    yield from people.deaths(5)
    yield from people.indications(10)
    # What happens to one person can take several messages; a restriction takes one, so nothing is half told after it.
    for count, message in enumerate(people.background()):
        yield message
        if count >= background and message.value["changed"] == ["restriction"]:
            return


def latest(messages: Iterable[SourceMessage]) -> dict[str, dict[str, Any]]:
    return {message.value["bsn"]: message.value for message in messages if message.stream == "brp/person"}


def test_the_same_seed_makes_the_same_bytes() -> None:
    first, second = ([message.to_json() for message in everything(population())] for _ in range(2))
    assert first == second
    assert first != [message.to_json() for message in everything(population(seed=8))]
    assert len({message.id for message in everything(population())}) == len(first)


def test_every_message_fits_its_contract() -> None:
    schemas: dict[str, Any] = {}
    for message in everything(population()):
        if message.stream not in schemas:
            text = (schemas_directory() / message.stream / "v1.avsc").read_text("utf-8")
            schemas[message.stream] = fastavro.parse_schema(json.loads(text))
        out = BytesIO()
        fastavro.schemaless_writer(out, schemas[message.stream], message.value, strict=True)
        out.seek(0)
        assert fastavro.schemaless_reader(out, schemas[message.stream], None) == message.value
    assert len(schemas) == 2


def test_relatives_name_each_other_after_everything_that_happened() -> None:
    records = latest(everything(population()))
    living = {number: record for number, record in records.items() if record["death"] is None}
    pairs = 0
    for number, record in living.items():
        for parent in record["parents"]:
            known = records[parent["bsn"]]
            assert parent["names"]["family"] == known["names"]["family"]
            if parent["bsn"] in living:
                pairs += 1
                assert [child["names"] for child in known["children"] if child["bsn"] == number] == [
                    {name: value for name, value in record["names"].items() if name != "usage"}
                ]
        for child in record["children"]:
            assert number in [parent["bsn"] for parent in records[child["bsn"]]["parents"]]
        if (partner := record["partner"]) is not None:
            assert living[partner["bsn"]]["partner"]["bsn"] == number
            assert living[partner["bsn"]]["partner"]["since"] == partner["since"]
    assert pairs > 50


def test_changed_names_exactly_what_differs_from_the_record_before() -> None:
    before: dict[str, dict[str, Any]] = {}
    compared = 0
    for message in everything(population(), background=4000):
        if message.stream != "brp/person":
            continue
        value = message.value
        known = before.get(value["bsn"])
        before[value["bsn"]] = json.loads(json.dumps(value))
        if value["kind"] == "created":
            assert value["changed"] == []
            continue
        assert known is not None
        different = {name for name in value if name not in ENVELOPE and value[name] != known[name]}
        different |= {
            f"history.{name}" for name in value["history"] if value["history"][name] != known["history"][name]
        }
        different.discard("history")
        named = {path if path.startswith("history.") else path.split(".")[0] for path in value["changed"]}
        assert named == different
        compared += 1
    assert compared > 1000


def test_numbers_are_of_the_test_range_valid_and_given_once() -> None:
    numbers = [person.number for person in population(families=2000).people]
    assert len(set(numbers)) == len(numbers) > 5000
    assert all(number.startswith("999") and is_valid("bsn", number) for number in numbers)


def test_a_large_population_has_numbers_of_twelve_digits_and_the_same_records() -> None:
    people = population(families=2001)
    assert people.scheme == "test"
    record = next(people.initial()).value
    assert is_valid("test", record["bsn"])
    assert record.keys() == next(population().initial()).value.keys()


def test_the_test_range_is_used_up_and_not_past() -> None:
    numbers = Numbers(3, "bsn")
    taken: list[str] = []
    while numbers.left:
        taken.append(numbers.take())
    assert len(set(taken)) == len(taken) > 90_000
    with pytest.raises(Invalid) as refusal:
        [numbers.take() for _ in range(10)]
    assert refusal.value.code == "population-too-large"


def test_a_birth_is_a_record_of_the_child_and_a_change_of_each_parent() -> None:
    people = population()
    child, *parents = itertools.islice(people.births(1, municipalities={"9001"}), 3)
    assert (child.value["kind"], child.value["birth"]["date"], child.value["municipality"]) == (
        "created",
        "2026-01-31",
        "9001",
    )
    assert [parent["bsn"] for parent in child.value["parents"]] == [message.value["bsn"] for message in parents]
    assert all(message.value["changed"] == ["children"] for message in parents)
    assert all(message.value["children"][-1]["bsn"] == child.value["bsn"] for message in parents)


def test_deaths_take_those_whom_eldest_names_and_end_their_marriages() -> None:
    people = population()
    expected = people.eldest(3)
    messages = list(people.deaths(3))
    dead = [message.value for message in messages if message.value["death"] is not None]
    widowed = [message.value for message in messages if message.value["death"] is None]
    assert [record["bsn"] for record in dead] == [person.number for person in expected]
    assert [record["bsn"] for record in widowed] == [record["partner"]["bsn"] for record in dead]
    assert all(record["partner"] is None for record in widowed)
    assert all(record["history"]["partners"][0]["endReason"] == "O" for record in widowed)
    assert not {person.number for person in people.eldest(3)} & {record["bsn"] for record in dead}


def test_a_family_that_moved_stays_moved() -> None:
    people = population()
    old = {person.number: person.home for person in people.families[0]}
    moved = {message.value["bsn"]: message.value for message in people.moves(1)}
    assert set(moved) == set(old)
    for person in people.families[0]:
        assert person.home != old[person.number]
        assert moved[person.number]["address"]["street"] == person.home.street
        assert moved[person.number]["history"]["residences"][0]["address"]["street"] == old[person.number].street


def test_indications_are_for_children_of_three_to_seventeen_and_their_reasons_are_words_found_nowhere_else() -> None:
    people = population()
    expected = people.eligible(10)
    messages = list(people.indications(10))
    assert [message.value["bsn"] for message in messages] == [child.number for child in expected]
    assert all(3 <= child.age(people.today) <= 17 for child in expected)
    assert len({message.value["diagnosis"] for message in messages}) == 10
    assert all(message.value["diagnosis"].startswith(DIAGNOSES) for message in messages)
    persons = "".join(message.to_json() for message in everything(population()) if message.stream == "brp/person")
    assert "diagnose" not in persons
    assert "kwx" not in persons


def test_nothing_happens_to_the_families_that_the_background_spares() -> None:
    people = population(families=10)
    spared = {family[0].number for family in people.families[:5]}
    numbers = {person.number for family in people.families[:5] for person in family}
    list(people.indications(3))
    touched = {message.value["bsn"] for message in itertools.islice(people.background(sparing=spared), 2000)}
    assert touched
    assert not touched & numbers


def test_the_dead_stay_dead_and_somebody_is_always_there() -> None:
    people = population(families=3)
    dead: set[str] = set()
    for message in itertools.islice(people.background(), 5000):
        if message.value.get("death") is not None:
            assert message.value["bsn"] not in dead
            dead.add(message.value["bsn"])
        else:
            assert message.value["bsn"] not in dead
    assert dead


def test_a_correction_names_the_latest_event_about_the_person() -> None:
    last: dict[str, str] = {}
    corrections = 0
    for message in everything(population()):
        if message.value["kind"] == "corrected":
            corrections += 1
            assert message.value["corrects"] == last[message.value["bsn"]]
        if message.stream == "brp/person":
            last[message.value["bsn"]] = message.id
    assert corrections


@pytest.mark.parametrize("ask", ["births", "moves", "deaths", "indications"])
def test_asking_for_more_than_there_are_people_is_refused(ask: str) -> None:
    with pytest.raises(Invalid) as refusal:
        list(getattr(population(families=1), ask)(50))
    assert refusal.value.code == "population-too-small"


def test_the_adapter_makes_a_described_population(tmp_path: Path) -> None:
    source = tmp_path / "people.yaml"
    source.write_text("seed: 7\nfamilies: 60\n")
    summary = Summary()
    for item in ADAPTER.convert(source, now=NOW):
        summary.count(item)
    assert summary.adds_up
    assert summary.events == summary.rows == len(list(population().people))


@pytest.mark.parametrize("content", ["", "seed: 1", "seed: x\nfamilies: 2", "seed: 1\nfamilies: 0", ": [", "\x00"])
def test_a_description_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    source = tmp_path / "people.yaml"
    source.write_text(content)
    with pytest.raises(Invalid) as refusal:
        list(ADAPTER.convert(source, now=NOW))
    assert refusal.value.code == "population-file"
