"""The whole given person list, from the file of the register to the topics of agencies and the ledger.

Every decision and every delivered byte is judged by this module: it decodes the source's record with fastavro, decides
by the few rules that its own authorisations need, cuts the value down and encodes it again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

from integrator.operation.settings import Installation, Settings
from tests.e2e.installation import Running, command
from tests.e2e.records import Record, decode, encode, framed, keep, own, read_topics, registered
from tests.shared.rights import RIGHTS, Right, Value, documents, fires

pytestmark = pytest.mark.shared

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT.parent / "shared" / "data" / "brp" / "persoonslijsten.csv"
SOURCE = "source.brp.person"


@dataclass
class Line:
    """Everything that one run through the real line made."""

    folder: Path
    summary: dict[str, Any] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)
    """What `integrator publish` said, run by run."""
    codes: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()
    topics: dict[str, list[Record]] = field(default_factory=dict)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    """By authorisation and reason, as the lanes counted."""
    entries: int = 0

    @cached_property
    def registry(self) -> dict[int, tuple[str, dict[str, Any]]]:
        return registered(self.topics["integrator.directory"])

    @cached_property
    def source(self) -> dict[tuple[int, int], Value]:
        found: dict[tuple[int, int], Value] = {}
        for record in self.topics[SOURCE]:
            schema_id, body = framed(record.value)
            found[record.partition, record.offset] = decode(self.registry[schema_id][1], body)
        return found

    @cached_property
    def origin(self) -> dict[tuple[str, int, int], tuple[int, int]]:
        """Where the source record of a delivery stands, by the delivery's topic, partition and sequence."""
        found: dict[tuple[str, int, int], tuple[int, int]] = {}
        for record in self.topics["integrator.disclosures"]:
            said = own("ledger/disclosure", record)
            assert said["source"] == SOURCE
            found[said["topic"], said["partition"], said["sequence"]] = said["sourcePartition"], said["sourcePosition"]
        return found

    def origin_of(self, record: Record) -> tuple[int, int]:
        return self.origin[record.topic, record.partition, int(record.header("ce_sequence"))]


def convert(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Convert the file with the command and return its summary and its events."""
    outcome = command(
        "integrator", "convert", "lo3", FILE, "--out", folder / "events.jsonl", "--rejects", folder / "rejects.jsonl",
        "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text("utf-8").splitlines()]
    return json.loads(outcome.out), events


def changes(events: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a later change of every third person, in turn inside, beside and above what is a trigger."""
    ways = (["nationalities"], ["address.street", "names.given"], ["history.residences"], ["death.date"], ["partner"])
    for at, event in enumerate(events[::3]):
        value = event["value"] | {"kind": "changed", "changed": ways[at % len(ways)]}
        yield event | {"id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"change:{event['id']}")), "value": value}


def publish(running: Running, file: Path) -> dict[str, Any]:
    outcome = command(
        "integrator", "publish", file, "--source", "brp", "--data", running.data, "--wait-receipts", "--json",
        seconds=120,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


async def read(running: Running, line: Line) -> None:
    """Read every topic, those of agencies with the agencies' own credentials, and what the lanes counted."""
    await running.decided(SOURCE)
    await running.recorded()
    own_topics = [SOURCE, "source.brp.receipts", "integrator.directory", "integrator.disclosures"]
    line.topics |= await read_topics(running.admin, [*own_topics, "integrator.quarantine"])
    for right in RIGHTS:
        line.topics |= await read_topics(running.recipient(right.name, "proef"), [right.topic])
    counts = (await running.accounts()).counts
    line.counts = {(authorisation, reason): number for (authorisation, _, reason), number in counts.items()}
    async with running.operator() as api:
        told = await api.get("/v1/status")
    line.entries = next(log["size"] for log in told["ledger"] if "/s0-" in log["origin"])


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """The whole list through a fresh installation, once."""
    folder = tmp_path_factory.mktemp("lo3")
    line = Line(folder)
    line.summary, events = convert(folder)
    homes = Counter(event["value"]["municipality"] for event in events)
    del homes[None]
    line.codes = tuple(code for code, _ in homes.most_common(2))
    # Every other person, and whoever is a parent of somebody: so that some of the related are known.
    line.known = frozenset(event["value"]["bsn"] for event in events[::2])
    later = "".join(json.dumps(event) + "\n" for event in changes(events))
    (folder / "changes.jsonl").write_text(later, "utf-8")
    (folder / "directory.yaml").write_text(yaml.safe_dump_all(documents(line)), "utf-8")
    data = folder / "installation"
    Installation.create(
        data, Settings(profile="development", installation="proef", lanes=4, workers=2, ledger_unlisted=0)
    )
    running = Running(data)
    running.start()
    try:
        contract = ROOT / "schemas" / "brp" / "person" / "contract.yaml"
        outcome = command(
            "integrator", "apply", "-f", contract, "-f", folder / "directory.yaml", "--yes", "--data", data, "--json"
        )
        assert outcome.code == 0, outcome.err + outcome.out
        asyncio.run(running.acknowledged(json.loads(outcome.out)["position"]))
        line.published = [publish(running, folder / name) for name in ("events.jsonl", "changes.jsonl")]
        asyncio.run(read(running, line))
    finally:
        running.stop()
    return line


def delivered(line: Line, right: Right) -> dict[tuple[int, int], Record]:
    """Return what was delivered by a right, by the place of its source record."""
    found: dict[tuple[int, int], Record] = {}
    for record in line.topics[right.topic]:
        place = line.origin_of(record)
        assert place not in found, "an event was delivered twice"
        found[place] = record
    return found


def test_rows_categories_events_rejects_and_publications_add_up(line: Line) -> None:
    summary = line.summary
    assert summary["rows"] == 1143
    assert summary["units"] == summary["applied"] + summary["rejected"]
    rejects = (line.folder / "rejects.jsonl").read_text("utf-8").splitlines()
    assert Counter(json.loads(reject)["code"] for reject in rejects) == summary["codes"]
    assert len(rejects) == summary["rejected"]
    events = summary["events"]
    assert [run["published"] for run in line.published] == [events, len(range(0, events, 3))]
    assert len(line.topics[SOURCE]) == sum(run["published"] for run in line.published) > 200
    assert line.topics["integrator.quarantine"] == []
    assert all(run["receipts"]["waiting"] == run["receipts"]["quarantined"] == 0 for run in line.published)


def test_what_was_published_is_what_was_converted(line: Line) -> None:
    converted = [
        json.loads(text)["value"]
        for name in ("events.jsonl", "changes.jsonl")
        for text in (line.folder / name).read_text("utf-8").splitlines()
    ]
    by_person: dict[str, list[Value]] = defaultdict(list)
    for _, value in sorted(line.source.items()):
        by_person[value["bsn"]].append(value)
    expected: dict[str, list[Value]] = defaultdict(list)
    for value in converted:
        expected[value["bsn"]].append(value)
    assert by_person == expected


@pytest.mark.parametrize("right", RIGHTS, ids=lambda right: right.name)
def test_it_goes_to_exactly_whom_the_authorisation_names(line: Line, right: Right) -> None:
    expected = {
        place for place, value in line.source.items() if value["kind"] in right.kinds and right.permits(line, value)
    }
    assert set(delivered(line, right)) == expected
    assert 0 < len(expected) <= len(line.source)


@pytest.mark.parametrize("right", RIGHTS, ids=lambda right: right.name)
def test_each_delivered_record_is_the_source_record_decoded_cut_and_encoded(line: Line, right: Right) -> None:
    for place, record in delivered(line, right).items():
        schema_id, body = framed(record.value)
        subject, schema = line.registry[schema_id]
        assert subject == f"{right.topic}-value"
        expected = keep(line.source[place], right.delivered)
        assert body == encode(schema, expected), record
        assert decode(schema, body) == expected, record


@pytest.mark.parametrize("right", RIGHTS, ids=lambda right: right.name)
def test_for_each_authorisation_published_is_delivered_and_withheld(line: Line, right: Right) -> None:
    withheld = sum(
        number for (name, reason), number in line.counts.items() if name == right.name and reason != "unidentified"
    )
    assert len(line.source) == len(line.topics[right.topic]) + withheld


def test_a_change_outside_the_triggers_leaves_no_trace_in_topic_or_sequence(line: Line) -> None:
    (right,) = (right for right in RIGHTS if right.triggers)
    outside = {place for place, value in line.source.items() if not fires(value, right.triggers)}
    inside = {place for place, value in line.source.items() if value["kind"] == "changed"} - outside
    assert len(outside) > 20
    assert len(inside) > 20
    assert not outside & set(delivered(line, right))
    assert inside <= set(delivered(line, right))
    assert line.counts[right.name, "no-trigger"] == len(outside)
    for place, record in delivered(line, right).items():
        fired = set(record.header("ce_triggers").split(","))
        value = line.source[place]
        assert fired == {one for one in right.triggers if fires(value, (one,))}


@pytest.mark.parametrize("right", RIGHTS, ids=lambda right: right.name)
def test_sequences_are_contiguous_and_each_person_in_the_order_of_the_source(line: Line, right: Right) -> None:
    sequences: dict[tuple[int, str], list[int]] = defaultdict(list)
    last: dict[bytes | None, int] = {}
    for record in line.topics[right.topic]:
        sequences[record.partition, record.header("ce_lane")].append(int(record.header("ce_sequence")))
        position = line.origin_of(record)[1]
        assert last.get(record.key, -1) < position
        last[record.key] = position
    assert all(found == list(range(1, len(found) + 1)) for found in sequences.values())


def test_every_disclosure_is_of_a_delivery_and_every_named_person_has_an_entry(line: Line) -> None:
    hashes = {}
    for record in line.topics["integrator.disclosures"]:
        said = own("ledger/disclosure", record)
        hashes[said["topic"], said["partition"], said["sequence"]] = said["valueSha256"]
    records = [record for right in RIGHTS for record in line.topics[right.topic]]
    assert hashes == {
        (record.topic, record.partition, int(record.header("ce_sequence"))): hashlib.sha256(record.value).digest()
        for record in records
    }
    entries = sum(len(named(line, right, record)) for right in RIGHTS for record in line.topics[right.topic])
    assert line.entries == entries > len(line.source)
    assert not [record for record in line.topics["agency.statistics.proef.brp.person"] if named_in(line, record)]


def named(line: Line, right: Right, record: Record) -> set[str]:
    """Return the valid numbers in a delivered record: its person's, its parents', partner's and children's."""
    value = decode(line.registry[framed(record.value)[0]][1], framed(record.value)[1])
    people = [value, *(value.get("parents") or ()), *(value.get("children") or ()), value.get("partner") or {}]
    return {person["bsn"] for person in people if person.get("bsn") and is_number(person["bsn"])}


def named_in(line: Line, record: Record) -> list[str]:
    number = line.source[line.origin_of(record)]["bsn"]
    return [number] if number.encode() in record.value else []


def is_number(text: str) -> bool:
    """Tell whether nine digits pass the register's own check: weights 9 to 2 and -1, divisible by 11."""
    return len(text) == 9 and sum(w * int(d) for w, d in zip((9, 8, 7, 6, 5, 4, 3, 2, -1), text, strict=True)) % 11 == 0


def test_no_number_of_anybody_is_in_a_key_or_a_header(line: Line) -> None:
    numbers = {value["bsn"].encode() for value in line.source.values()}
    for right in RIGHTS:
        told = b"|".join(
            part
            for record in line.topics[right.topic]
            for part in (record.key or b"", *(value for _, value in record.headers))
        )
        assert not [number for number in numbers if number in told], right.name


def test_receipts_say_for_each_record_whether_anybody_received_a_part(line: Line) -> None:
    forwarded = {place for right in RIGHTS for place in delivered(line, right)}
    receipts = [own("integrator/receipt", record) for record in line.topics["source.brp.receipts"]]
    told = {(one["partition"], one["position"]): one["forwarded"] for one in receipts}
    assert len(receipts) == len(told) == len(line.source)
    assert {place for place, yes in told.items() if yes} == forwarded


def test_no_file_of_the_installation_holds_a_number_or_a_name_of_anybody(line: Line) -> None:
    values = list(line.source.values())
    numbers = {value[name].encode() for value in values for name in ("bsn", "anr") if value[name]}
    names = {value["names"]["family"] for value in values if len(value["names"]["family"] or "") > 6}
    told = re.compile(b"|".join(rf"\b{re.escape(name)}\b".encode() for name in names))
    assert len(numbers) > 200
    assert len(names) > 20
    assert told.search(line.topics[SOURCE][0].value + b"".join(one.value for one in line.topics[SOURCE]))
    read = 0
    for path in sorted((line.folder / "installation").rglob("*")):
        if path.is_file() and "data" not in path.relative_to(line.folder / "installation").parts:
            # Digits of a number can stand in a hash by chance; a number does not hide there.
            data = re.sub(rb"[0-9a-f]{32,}", b"#", path.read_bytes())
            assert not [number for number in numbers if number in data], path
            assert not told.search(data), path
            read += 1
    assert read > 30
