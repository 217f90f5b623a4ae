"""Holds what the development broker promises: data and port stay, strangers get nothing and are never signalled."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.admin import CreateTopicsRequest, DeleteTopicsRequest, DescribeAclsRequest
from aiokafka.protocol.metadata import MetadataRequest
from pydantic import SecretStr
from typer.testing import CliRunner

from integrator.cli.kafka import app
from integrator.domain.errors import Refused, Unavailable
from integrator.kafka import connection as connections
from integrator.kafka.broker_files import BrokerFiles, Ports
from integrator.kafka.connection import Connection
from integrator.kafka.development import DevelopmentBroker, status_of
from integrator.kafka.topics import TopicSpec, read_topics, reconcile_topics

pytestmark = pytest.mark.kafka

OwnBroker = Callable[[], DevelopmentBroker]


def files_of(broker: DevelopmentBroker) -> BrokerFiles:
    return BrokerFiles(broker.log.parent.parent)


def ports_of(broker: DevelopmentBroker) -> Ports:
    ports = files_of(broker).ports()
    assert ports is not None
    return ports


async def put(connection: Connection, topic: str, value: bytes) -> None:
    producer = await connections.start(AIOKafkaProducer(**connection.aiokafka()), connection)
    try:
        async with asyncio.timeout(20):
            await producer.send_and_wait(topic, value, partition=0)
    finally:
        await connections.stop(producer)


async def values(connection: Connection, topic: str, count: int) -> list[bytes | None]:
    consumer = await connections.start(
        AIOKafkaConsumer(**connection.aiokafka(), auto_offset_reset="earliest", enable_auto_commit=False), connection
    )
    try:
        consumer.assign([TopicPartition(topic, 0)])
        async with asyncio.timeout(20):
            return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await connections.stop(consumer)


async def test_data_and_port_stay_over_a_stop_a_kill_and_a_new_start(own_broker: OwnBroker) -> None:
    broker = own_broker()
    assert broker.status().state == "stopped"
    first = await broker.start()
    assert (broker.status().state, broker.status().pid) == ("running", first.pid)
    await reconcile_topics(broker.connection(), [TopicSpec("kept", 1)])
    topic = (await read_topics(broker.connection(), ["kept"]))["kept"]
    await put(broker.connection(), "kept", b"one")

    assert await broker.stop()
    assert broker.status().state == "stopped"
    assert not await broker.stop()
    second = await broker.start()
    assert second.started
    assert second.bootstrap == first.bootstrap
    await put(broker.connection(), "kept", b"two")

    broker.kill()
    assert broker.status().state == "died"
    assert broker.pid is None
    third = await broker.start()
    assert (third.started, third.bootstrap) == (True, first.bootstrap)
    assert await values(broker.connection(), "kept", 2) == [b"one", b"two"]
    assert (await read_topics(broker.connection(), ["kept"]))["kept"].id == topic.id


async def test_starting_a_running_broker_says_so_and_starts_nothing(broker: DevelopmentBroker) -> None:
    again = await broker.start()
    assert not again.started
    assert again.pid == broker.pid
    assert again.bootstrap == broker.bootstrap


async def test_two_starts_at_once_start_one_broker(own_broker: OwnBroker) -> None:
    broker = own_broker()
    addresses = await asyncio.gather(*(broker.start() for _ in range(3)))
    assert len({address.pid for address in addresses}) == 1
    assert sorted(address.started for address in addresses) == [False, False, True]


async def test_two_installations_run_side_by_side_and_share_nothing(
    broker: DevelopmentBroker, own_broker: OwnBroker
) -> None:
    other = own_broker()
    await other.start()
    assert len({*vars_of(ports_of(broker)), *vars_of(ports_of(other))}) == 4
    here, there = await broker.connection().look(), await other.connection().look()
    assert here.id != there.id
    with pytest.raises(Refused, match="does not accept this user and password"):
        await replace(broker.connection(), bootstrap=other.bootstrap).look()


def vars_of(ports: Ports) -> tuple[int, int]:
    return ports.client, ports.controller


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]) as process:
        yield process
        process.kill()


async def test_a_process_that_was_given_the_same_number_is_never_signalled(
    own_broker: OwnBroker, stranger: subprocess.Popen[bytes]
) -> None:
    broker = own_broker()
    files = files_of(broker)
    files.prepare()
    note = {"pid": stranger.pid, "birth": "an earlier boot 12345", "archive": "", "draft": ""}
    (files.root / "pid.json").write_text(json.dumps(note))
    assert broker.status().state == "died"
    broker.kill()
    assert not await broker.stop()
    assert stranger.poll() is None
    assert broker.status().state == "stopped"


async def test_a_port_that_another_program_has_is_refused_in_one_line(own_broker: OwnBroker, tmp_path: Path) -> None:
    broker = own_broker()
    files_of(broker).prepare()
    with socket.create_server(("127.0.0.1", 0)) as server:
        files_of(broker).write_ports(Ports(server.getsockname()[1], 1))
        with pytest.raises(Refused, match="in use by another program") as caught:
            await broker.start()
    assert caught.value.code == "port-in-use"
    assert broker.status().state == "stopped"


async def test_another_administrator_password_is_told_and_leaves_nothing_running(own_broker: OwnBroker) -> None:
    broker = own_broker()
    await broker.start()
    await broker.stop()
    files = files_of(broker)
    wrong = DevelopmentBroker(files.root.parent, admin_password="x" * 20, broker_password="y" * 20, fast=True)
    with pytest.raises(Refused, match="another administrator's password") as caught:
        await wrong.start()
    assert caught.value.code == "kafka-wrong-password"
    assert wrong.status().state == "stopped"


async def test_a_broker_that_dies_while_starting_shows_the_end_of_its_log(own_broker: OwnBroker) -> None:
    broker = own_broker()
    await broker.start()
    await broker.stop()
    meta = files_of(broker).data / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=7"))
    with pytest.raises(Unavailable, match=r"broker\.log ends: .*node") as caught:
        await broker.start()
    assert caught.value.code == "kafka-died"
    assert "\n" not in str(caught.value)
    assert broker.status().state == "stopped"


def listening(pid: int) -> set[tuple[str, int]]:
    """Return the addresses that a process listens on, from the kernel's tables (Linux)."""
    inodes = {
        target[8:-1]
        for entry in Path(f"/proc/{pid}/fd").iterdir()
        if (target := os.readlink(entry)).startswith("socket:[")
    }
    found: set[tuple[str, int]] = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, port = fields[1].split(":")
                found.add((address, int(port, 16)))
    return found


def test_the_broker_listens_on_loopback_and_on_its_two_ports_only(broker: DevelopmentBroker) -> None:
    ports = ports_of(broker)
    assert broker.pid is not None
    # 127.0.0.1 as the kernel prints it, in an IPv4 table and mapped in an IPv6 table.
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    addresses = listening(broker.pid)
    assert {port for _, port in addresses} == {ports.client, ports.controller}
    assert {address for address, _ in addresses} <= loopback


@pytest.mark.parametrize("port", ["client", "controller"])
async def test_an_anonymous_client_gets_nothing_on_any_port(broker: DevelopmentBroker, port: str) -> None:
    bootstrap = f"127.0.0.1:{getattr(ports_of(broker), port)}"
    for client in (
        AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=3000),
        AIOKafkaConsumer(bootstrap_servers=bootstrap, request_timeout_ms=3000),
        AIOKafkaProducer(bootstrap_servers=bootstrap, request_timeout_ms=3000),
    ):
        with pytest.raises((KafkaError, TimeoutError)):
            async with asyncio.timeout(10):
                await client.start()
        await connections.stop(client)


ANY = 1
REQUESTS = {
    "make a topic": CreateTopicsRequest([("anonymous-was-here", 1, 1, [], [])], 5000, validate_only=False),
    "read the rules": DescribeAclsRequest(ANY, None, ANY, None, None, ANY, ANY),
    "delete a topic": DeleteTopicsRequest(["anonymous-was-here"], 5000),
    "list the topics": MetadataRequest(),
}


@pytest.mark.parametrize(
    ("port", "wish"),
    # A controller does not know the last one at all.
    [*(("client", wish) for wish in REQUESTS), *(("controller", wish) for wish in list(REQUESTS)[:-1])],
)
async def test_a_request_before_the_log_in_is_not_answered_on_any_port(
    broker: DevelopmentBroker, port: str, wish: str
) -> None:
    """A client library gives up early; this sends the bytes all the same, as an attacker would."""
    stranger = await create_conn("127.0.0.1", getattr(ports_of(broker), port), security_protocol="PLAINTEXT")
    try:
        async with asyncio.timeout(10):
            with pytest.raises(KafkaConnectionError):
                await stranger.send(REQUESTS[wish])
        assert not stranger.connected()
    finally:
        stranger.close()
    assert await read_topics(broker.connection(), ["anonymous-was-here"]) == {}


@pytest.mark.parametrize("port", ["client", "controller"])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"])
@pytest.mark.parametrize("user", ["admin", "broker", "ANONYMOUS", "nobody"])
async def test_a_wrong_password_gets_nothing_on_any_port(
    broker: DevelopmentBroker, port: str, mechanism: connections.Mechanism, user: str
) -> None:
    bootstrap = f"127.0.0.1:{getattr(ports_of(broker), port)}"
    with pytest.raises(Refused) as caught:
        await Connection(bootstrap, user, SecretStr("a wrong password"), mechanism=mechanism).look()
    assert caught.value.code in ("kafka-wrong-password", "kafka-wrong-mechanism")
    assert "a wrong password" not in str(caught.value)


async def test_a_user_of_the_clients_cannot_log_in_to_the_controller(
    admin: Connection, broker: DevelopmentBroker
) -> None:
    bootstrap = f"127.0.0.1:{ports_of(broker).controller}"
    for mechanism in ("SCRAM-SHA-512", "PLAIN"):
        with pytest.raises(Refused):
            await replace(admin, bootstrap=bootstrap, mechanism=mechanism).look()


async def test_a_wrong_password_and_a_missing_broker_are_told_apart_when_a_client_starts(admin: Connection) -> None:
    wrong = replace(admin, password=SecretStr("a wrong password"))
    with pytest.raises(Refused) as refused:
        await connections.start(AIOKafkaConsumer(**wrong.aiokafka()), wrong, seconds=5)
    assert refused.value.code == "kafka-wrong-password"
    away = replace(admin, bootstrap="127.0.0.1:1")
    with pytest.raises(Unavailable) as unavailable:
        await connections.start(AIOKafkaConsumer(**away.aiokafka()), away, seconds=5)
    assert unavailable.value.code == "kafka-unreachable"


def test_no_password_is_in_a_command_line_a_log_or_a_file_that_others_can_read(broker: DevelopmentBroker) -> None:
    files = files_of(broker)
    secrets = [broker.connection().password.get_secret_value()]
    line = next(line for line in files.properties.read_text().splitlines() if "user_broker=" in line)
    secrets.append(line.split('"')[3])
    command = Path(f"/proc/{broker.pid}/cmdline").read_bytes().decode()
    assert "kafka.Kafka" in command
    for secret in secrets:
        assert len(secret) > 20
        assert secret not in command
        assert secret not in files.log.read_text()
    assert {path.name for path in files.root.iterdir() if path.is_file() and path.stat().st_mode & 0o077} <= {"lock"}
    assert files.root.stat().st_mode & 0o777 == 0o700


def test_the_command_starts_shows_and_stops_a_broker(tmp_path: Path) -> None:
    run, data = CliRunner(), ["--data", str(tmp_path), "--json"]
    assert run.invoke(app, ["status", *data]).exit_code == 1
    assert list(tmp_path.iterdir()) == []
    started = run.invoke(app, ["start", *data])
    try:
        assert started.exit_code == 0, started.output
        assert json.loads(started.stdout)["started"] is True
        shown = run.invoke(app, ["status", *data])
        assert shown.exit_code == 0
        assert json.loads(shown.stdout)["bootstrap"] == json.loads(started.stdout)["bootstrap"]
    finally:
        stopped = run.invoke(app, ["stop", *data])
    assert json.loads(stopped.stdout) == {"state": "stopped", "ran": True}
    assert status_of(tmp_path).state == "stopped"
