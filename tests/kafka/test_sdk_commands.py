"""Holds that the commands of a source, an agency and an operator do their work against the real broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner

from integrator.cli import publish, quarantine, subscribe
from integrator.domain import topics
from integrator.domain.errors import Invalid, Refused
from integrator.encoding import record_type
from integrator.kafka import access
from integrator.kafka.access import AccessSpec, Acl
from integrator.kafka.connection import Connection
from integrator.operation.settings import Installation, Settings
from tests.kafka.sdk_world import LANES, PARTITIONS, TOKEN, Login, World, deliver, every_record, world

pytestmark = pytest.mark.kafka
__all__ = ["world"]

app = typer.Typer()
app.command()(publish.publish)
app.command()(subscribe.subscribe)
app.add_typer(quarantine.app, name="quarantine")


@pytest.fixture
async def data(world: World, tmp_path: Path, login: Login) -> Path:
    """The directory of an installation that uses the session's broker and this test's interface."""
    port = int(world.url.rpartition(":")[2])
    settings = Settings(profile="development", bootstrap=world.source.bootstrap, http_port=port)
    installation = Installation.create(tmp_path / "installation", settings)
    for connection in (world.source, world.agency, await login(access.operator_access())):
        installation.secrets.create(
            f"kafka-{connection.username}", lambda held=connection: held.password.get_secret_value().encode()
        )
    installation.secrets.create(f"token-agency-{world.name}--aow", TOKEN.encode)
    return installation.data


async def run(*arguments: object) -> str:
    """Run a command as a user does, in a thread of its own, and return its standard output. Raises what it raises."""
    result = await asyncio.to_thread(CliRunner().invoke, app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def write(file: Path, world: World, numbers: Iterator[int] | range) -> Path:
    file.write_text("".join(world.message(number).to_json() + "\n" for number in numbers), "utf-8")
    return file


async def test_a_file_is_published_and_counted(world: World, data: Path, admin: Connection, tmp_path: Path) -> None:
    file = write(tmp_path / "events.jsonl", world, range(30))
    summary = json.loads(await run("publish", file, "--source", world.name, "--data", data, "--json"))
    assert (summary["published"], summary["firstLine"], summary["lastLine"]) == (30, 1, 30)
    assert summary["streams"] == {world.stream: 30}
    assert len(await every_record(admin, topics.source_topic(world.name, "grant"), PARTITIONS)) == 30


async def test_a_run_that_stops_at_a_wrong_event_goes_on_after_the_last_good_one(
    world: World, data: Path, admin: Connection, tmp_path: Path
) -> None:
    lines = [world.message(number).to_json() for number in range(6)]
    good = lines[3]
    lines[3] = world.message(3, bsn="12").to_json()
    file, checkpoint = tmp_path / "events.jsonl", tmp_path / "place"
    file.write_text("\n".join(lines), "utf-8")
    command = ("publish", file, "--source", world.name, "--data", data, "--checkpoint", checkpoint, "--json")
    with pytest.raises(Invalid, match="at bsn"):
        await run(*command)
    assert json.loads(checkpoint.read_text("utf-8")) == {"file": "events.jsonl", "line": 3}
    lines[3] = good
    file.write_text("\n".join(lines), "utf-8")
    summary = json.loads(await run(*command))
    assert (summary["published"], summary["firstLine"], summary["lastLine"]) == (3, 4, 6)
    records = await every_record(admin, topics.source_topic(world.name, "grant"), PARTITIONS)
    assert len({dict(record.headers)["ce_id"] for record in records}) == len(records) == 6


async def test_receipts_are_awaited_and_counted(world: World, data: Path, login: Login, tmp_path: Path) -> None:
    file = write(tmp_path / "events.jsonl", world, range(4))
    lanes = await login(
        AccessSpec(
            "t-lane",
            frozenset({Acl("topic", "source.", "read", "prefixed"), Acl("topic", "source.", "write", "prefixed")}),
        )
    )

    async def lane() -> None:
        """Answer each record as a lane does: the first is quarantined, the others are forwarded by turns."""
        topic, answered = topics.source_topic(world.name, "grant"), 0
        producer = AIOKafkaProducer(**lanes.aiokafka(), acks="all")
        await producer.start()
        try:
            while answered < 4:
                for record in (await every_record(lanes, topic, PARTITIONS))[answered:]:
                    receipt = {
                        "eventId": None, "stream": world.stream, "partition": record.partition,
                        "position": record.offset, "forwarded": answered % 2 == 1,
                        "quarantined": "not-avro" if answered == 0 else None, "at": datetime.now(UTC),
                    }  # fmt: skip
                    value = record_type("integrator/receipt").encode(receipt)
                    await producer.send_and_wait(topics.receipts_topic(world.name), value, partition=0)
                    answered += 1
        finally:
            await producer.stop()

    answering = asyncio.create_task(lane())
    out = await run("publish", file, "--source", world.name, "--data", data, "--wait-receipts", "--json")
    await answering
    assert json.loads(out)["receipts"] == {
        "forwarded": 2,
        "notForwarded": 1,
        "quarantined": 1,
        "reasons": {"not-avro": 1},
        "waiting": 0,
    }


async def test_what_an_agency_receives_is_printed_and_acknowledged(world: World, data: Path, admin: Connection) -> None:
    await deliver(admin, world, range(1, 5))
    command = ("subscribe", world.stream, "--purpose", "aow", "--agency", world.name, "--data", data, "--json")
    first = [json.loads(line) for line in (await run(*command, "--max", 3)).splitlines()]
    assert [event["sequence"] for event in first] == [1, 2, 3]
    assert first[0]["value"]["grantId"] == "g1"
    assert first[0]["authorisation"] == "a1/1"
    again = [json.loads(line) for line in (await run(*command, "--max", 1)).splitlines()]
    assert [event["sequence"] for event in again] == [4]
    everything = (await run(*command, "--from-beginning", "--max", 4)).splitlines()
    assert [json.loads(line)["sequence"] for line in everything] == [1, 2, 3, 4]


async def test_an_agency_of_another_installation_gives_addresses_and_files(
    world: World, admin: Connection, tmp_path: Path
) -> None:
    await deliver(admin, world, range(1, 2))
    password, token = tmp_path / "password", tmp_path / "token"
    password.write_text(world.agency.password.get_secret_value() + "\n", "utf-8")
    token.write_text(TOKEN, "utf-8")
    out = await run(
        "subscribe", world.stream, "--purpose", "aow", "--agency", world.name, "--bootstrap", world.agency.bootstrap,
        "--api", world.url, "--password-file", password, "--token-file", token, "--max", 1, "--json",
    )  # fmt: skip
    assert json.loads(out)["sequence"] == 1


async def test_a_secret_that_is_not_given_is_asked_for_by_its_option(world: World) -> None:
    with pytest.raises(Refused, match="--password-file and --token-file"):
        await run("subscribe", world.stream, "--purpose", "aow", "--agency", "x", "--bootstrap", "h:1", "--api", "u")


async def test_what_is_in_quarantine_is_listed_without_its_content_and_shown_after_a_warning(
    world: World, data: Path, admin: Connection
) -> None:
    record: dict[str, Any] = {
        "source": world.name, "stream": world.stream, "topic": topics.source_topic(world.name, "grant"), "partition": 3,
        "position": 41, "timestamp": datetime.now(UTC), "reason": "not-avro", "detail": "no schema id",
        "directoryPosition": 9, "engine": "python-1", "key": b"bsn:999990019|g", "value": b"\x07",
        "headers": [{"name": "ce_id", "value": b"x"}],
    }  # fmt: skip
    producer = AIOKafkaProducer(**admin.aiokafka(), transactional_id=f"t-{world.name}")
    await producer.start()
    async with producer.transaction():
        alien = await producer.send(topics.QUARANTINE, b"no record of ours", partition=LANES - 1)
        sent = await producer.send(
            topics.QUARANTINE, record_type("integrator/quarantine").encode(record), partition=LANES - 1
        )
    offset = (await sent).offset
    await producer.stop()
    # The markers of a transaction stand a moment after its commit has returned.
    async with asyncio.timeout(30):
        while True:
            listed = await run("quarantine", "list", "--data", data, "--json")
            assert "999990019" not in listed
            found = json.loads(listed)["quarantined"]
            if mine := [each for each in found if each["source"] == world.name]:
                break
    [mine] = mine
    assert mine["name"] == f"{LANES - 1}:{offset}"
    assert (mine["reason"], mine["partition"], mine["position"]) == ("not-avro", 3, 41)
    shown = json.loads(await run("quarantine", "show", mine["name"], "--data", data, "--yes"))
    assert shown["key"] == "YnNuOjk5OTk5MDAxOXxn"
    assert shown["value"] == "Bw=="
    unread = f"{LANES - 1}:{(await alien).offset}"
    assert [each["reason"] for each in found if each["name"] == unread] == ["record-type"]
    with pytest.raises(Refused, match="no quarantined record"):
        await run("quarantine", "show", f"0:{offset + 1000}", "--data", data, "--yes")
