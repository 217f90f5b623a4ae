"""What a source writes that cannot be read or decided is set aside with its reason and place, and stops nothing.

Written with a plain Kafka client and the source's own credentials, between two good records about the same person.
"""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from itertools import count
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from tests.e2e.conftest import Played
from tests.e2e.installation import Running, command
from tests.e2e.records import Record, decode, encode, framed, own, read_topic

pytestmark = pytest.mark.e2e

STREAM = "source.ciz.wlz-indication"
RECEIPTS = "source.ciz.receipts"
DELIVERED = "agency.svb.dubbele-kinderbijslag.ciz.wlz-indication"
PARTITIONS = 4
_people = count(999_000_001)
_indications = count(1)


@dataclass(frozen=True, slots=True)
class Wire:
    """One record as a source would put it on the wire; `replace` makes it wrong."""

    key: bytes
    partition: int
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = field(repr=False)


class Source:
    """The care assessment centre with a plain client. Makes indications of one fictional child."""

    def __init__(self, running: Running, played: Played, producer: AIOKafkaProducer) -> None:
        (self.schema_id,) = (number for number, (subject, _) in played.registry.items() if subject == f"{STREAM}-value")
        self.schema = played.registry[self.schema_id][1]
        self.foreign_id = next(n for n, (subject, _) in played.registry.items() if subject == "source.brp.person-value")
        self.running, self._producer = running, producer
        (first, *_) = played.topics[STREAM]
        self._urn, self._type = first.header("ce_source"), first.header("ce_type")
        self.child = next(number for number in map(str, _people) if passes_elfproef(number))

    def indication(self, **changed: Any) -> dict[str, Any]:
        born = date(datetime.now(UTC).year - 7, 1, 1)
        value: dict[str, Any] = {
            "kind": "created", "changed": [], "corrects": None, "registeredAt": "2026-01-01T00:00:00Z",
            "indicationId": f"WLZ-TEST-{next(_indications):06d}", "steward": "ciz", "bsn": self.child,
            "birthDate": born.isoformat(), "decidedOn": "2026-01-01", "validFrom": "2026-01-01", "validUntil": None,
            "careKind": "stay", "withdrawn": False, "ground": None, "diagnosis": None, "careProfile": None,
            "scores": {}, "contactPersons": [],
        }  # fmt: skip
        return value | changed

    def good(self, **changed: Any) -> Wire:
        """Return a record with nothing wrong but what `changed` makes wrong."""
        value = self.indication(**changed)
        person = f"bsn:{self.child}".encode()
        headers = {
            "ce_specversion": "1.0",
            "ce_id": str(uuid.uuid4()),
            "ce_source": self._urn,
            "ce_type": self._type,
            "ce_time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "content-type": "application/avro",
        }
        return Wire(
            person + b"|" + value["indicationId"].encode(),
            (murmur2(person) & 0x7FFFFFFF) % PARTITIONS,
            b"\x00" + self.schema_id.to_bytes(4, "big") + encode(self.schema, value),
            tuple((name, text.encode()) for name, text in headers.items()),
        )

    async def publish(self, records: Sequence[Wire]) -> list[tuple[int, int]]:
        """Write the records in order and return where each stands, once the lanes have decided about all."""
        places: list[tuple[int, int]] = []
        for record in records:
            written = await self._producer.send_and_wait(
                STREAM, record.value, record.key, partition=record.partition, headers=list(record.headers)
            )
            places.append((written.partition, written.offset))
        await self.running.decided(STREAM)
        return places


def passes_elfproef(number: str) -> bool:
    return (
        sum(weight * int(digit) for weight, digit in zip((9, 8, 7, 6, 5, 4, 3, 2, -1), number, strict=True)) % 11 == 0
    )


@pytest.fixture
async def source(installation: Running, played: Played) -> AsyncIterator[Source]:
    producer = AIOKafkaProducer(**installation.source("ciz").aiokafka(), acks="all")
    await producer.start()
    yield Source(installation, played, producer)
    await producer.stop()


def header(name: str, value: bytes | None) -> Callable[[Source, Wire], Wire]:
    """Replace a header, or leave it out when there is no value."""

    def change(_: Source, wire: Wire) -> Wire:
        kept = tuple((found, held) for found, held in wire.headers if found != name)
        return replace(wire, headers=kept if value is None else (*kept, (name, value)))

    return change


def body(change: Callable[[bytes], bytes]) -> Callable[[Source, Wire], Wire]:
    """Replace the Avro bytes behind the schema id."""
    return lambda _, wire: replace(wire, value=(wire.value or b"")[:5] + change((wire.value or b"")[5:]))


def with_id(number: int) -> Callable[[Source, Wire], Wire]:
    return lambda _, wire: replace(wire, value=b"\x00" + number.to_bytes(4, "big") + (wire.value or b"")[5:])


def another(**changed: Any) -> Callable[[Source, Wire], Wire]:
    return lambda source, _: source.good(**changed)


def long(number: int) -> bytes:
    """Return an Avro long: zigzag, seven bits a byte."""
    number, out = (number << 1) ^ (number >> 63), b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


BAD: dict[str, tuple[str, Callable[[Source, Wire], Wire]]] = {
    "no value": ("not-avro", lambda _, wire: replace(wire, value=None)),
    "JSON": ("not-avro", lambda _, wire: replace(wire, value=b'{"bsn": "999"}')),
    "three bytes": ("not-avro", lambda _, wire: replace(wire, value=b"\x00\x00\x00")),
    "an id that nobody gave": ("unknown-schema", with_id(999_999)),
    "the id of another stream": (
        "unknown-schema", lambda source, wire: with_id(source.foreign_id)(source, wire),
    ),
    "nothing behind the id": ("contract", body(lambda _: b"")),
    "half a record": ("contract", body(lambda avro: avro[: len(avro) // 2])),
    "a byte too many": ("contract", body(lambda avro: avro + b"\x00")),
    "a text that says to be longer than the record": ("contract", body(lambda avro: long(1 << 40) + avro[1:])),
    "a text of negative length": ("contract", body(lambda avro: long(-5) + avro[1:])),
    "a list with more items than bytes": ("contract", body(lambda avro: avro[:8] + long(1 << 50) + avro[9:])),
    "a number that never ends": ("contract", body(lambda _: b"\xff" * 100_000)),
    "a branch that no union has": ("contract", body(lambda avro: avro[:9] + long(7) + avro[10:])),
    "text that is no UTF-8": ("contract", body(lambda avro: avro[:1] + b"\xff\xfe" + avro[3:])),
    "a kind that there is not": ("contract", another(kind="exploded")),
    "no person": ("no-subject", another(bsn="")),
    "a number that fails its check": ("subject-invalid", another(bsn="123456789")),
    "somebody else in the key": ("wrong-key", lambda _, wire: replace(wire, key=b"bsn:999999990|x")),
    "no key": ("wrong-key", lambda _, wire: replace(wire, key=b"")),
    "another partition": (
        "wrong-partition", lambda _, wire: replace(wire, partition=(wire.partition + 1) % PARTITIONS),
    ),
    "no id": ("envelope", header("ce_id", None)),
    "no time": ("envelope", header("ce_time", None)),
    "no version": ("envelope", header("ce_specversion", None)),
    "another source's name": ("envelope", header("ce_source", b"urn:example:somebody-else")),
    "an id that is none": ("envelope", header("ce_id", b"<script>")),
    "a header twice": ("envelope", lambda _, wire: replace(wire, headers=(*wire.headers, ("ce_id", b"x")))),
    "a header without a value": (
        "envelope",
        lambda _, wire: replace(wire, headers=tuple((n, None if n == "ce_type" else v) for n, v in wire.headers)),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sent:
    """A run of records: good, every bad one, good, twice over, and what became of it."""

    child: str
    wires: list[Wire]
    reasons: list[str | None]
    places: list[tuple[int, int]]
    quarantine: dict[tuple[int, int], dict[str, Any]]
    receipts: dict[tuple[int, int], dict[str, Any]]
    delivered: list[dict[str, Any]]


@pytest.fixture(scope="module")
def sent() -> dict[str, Sent]:
    """Holds the run once the first test has made it."""
    return {}


@pytest.fixture
async def run(source: Source, sent: dict[str, Sent], played: Played, installation: Running) -> Sent:
    """Publish everything once for the module."""
    if "run" not in sent:
        wires, reasons = [source.good()], [None]
        for reason, change in BAD.values():
            wires += [change(source, source.good()), source.good()]
            reasons += [reason, None]
        places = await source.publish(wires)
        outcome = await asyncio.to_thread(
            command, "integrator", "quarantine", "list", "--json", "--data", installation.data
        )
        assert outcome.code == 0, outcome.err
        listed = json.loads(outcome.out)["quarantined"]
        receipts = [own("integrator/receipt", one) for one in await read_topic(installation.admin, RECEIPTS)]
        connection = installation.recipient("svb", "dubbele-kinderbijslag")
        sent["run"] = Sent(
            source.child,
            wires,
            reasons,
            places,
            {(one["partition"], one["position"]): one for one in listed if one["topic"] == STREAM},
            {(one["partition"], one["position"]): one for one in receipts},
            [value_of(played, one) for one in await read_topic(connection, DELIVERED)],
        )
    return sent["run"]


def value_of(played: Played, record: Record) -> dict[str, Any]:
    schema_id, avro = framed(record.value)
    return decode(played.registry[schema_id][1], avro) | {"sequence": record.header("ce_sequence")}


async def test_each_bad_record_is_set_aside_with_its_reason_and_place(run: Sent) -> None:
    expected = {place: reason for place, reason in zip(run.places, run.reasons, strict=True) if reason}
    assert len(expected) == len(BAD)
    named = dict(zip(run.places[1::2], BAD, strict=True))
    found = {named.get(place, place): one["reason"] for place, one in run.quarantine.items()}
    assert found == {named[place]: reason for place, reason in expected.items()}
    for one in run.quarantine.values():
        assert (one["source"], one["stream"], one["topic"]) == ("ciz", "ciz/wlz-indication", STREAM)
        assert one["detail"]


async def test_every_good_record_between_bad_ones_is_delivered_once_and_in_order(run: Sent) -> None:
    good = [wire.key.rpartition(b"|")[2].decode() for wire, bad in zip(run.wires, run.reasons, strict=True) if not bad]
    mine = [value for value in run.delivered if value["bsn"] == run.child]
    assert [value["indicationId"] for value in mine] == good
    sequences = [int(value["sequence"]) for value in mine]
    assert sequences == list(range(sequences[0], sequences[0] + len(good)))


async def test_the_source_is_told_what_became_of_each_record(run: Sent) -> None:
    for wire, place, reason in zip(run.wires, run.places, run.reasons, strict=True):
        receipt = run.receipts[place]
        assert (receipt["quarantined"], receipt["forwarded"]) == (reason, reason is None)
        identifiers = [value for name, value in wire.headers if name == "ce_id" and value and len(value) == 36]
        assert receipt["eventId"] == (identifiers[0].decode() if identifiers else None)


async def test_what_is_listed_tells_nothing_of_the_record_and_what_is_shown_is_the_record(
    run: Sent, installation: Running
) -> None:
    assert run.child not in json.dumps(list(run.quarantine.values()))
    at = list(BAD).index("half a record") * 2 + 1
    listed, wire = run.quarantine[run.places[at]], run.wires[at]
    outcome = await asyncio.to_thread(
        command, "integrator", "quarantine", "show", listed["name"], "--yes", "--data", installation.data
    )
    assert outcome.code == 0, outcome.err
    shown = json.loads(outcome.out)
    assert base64.b64decode(shown["value"]) == wire.value
    assert base64.b64decode(shown["key"]) == wire.key
    assert {one["name"]: base64.b64decode(one["value"]) for one in shown["headers"]} == dict(wire.headers)


async def test_no_bad_record_is_told_in_a_log_line(run: Sent, installation: Running) -> None:
    for path in sorted((installation.data / "logs").iterdir()):
        assert run.child not in path.read_text("utf-8"), path
