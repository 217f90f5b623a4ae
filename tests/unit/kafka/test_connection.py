"""Holds that a connection hides its password, and that each way of failing has its own code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from pathlib import Path

import aiokafka.errors
import pytest
from confluent_kafka import KafkaError, KafkaException
from pydantic import SecretStr

from integrator.domain.errors import IntegratorError, Invalid, Refused, Unavailable
from integrator.kafka import connection as connections
from integrator.kafka.connection import Connection
from integrator.kafka.failures import FOREIGN, translate, translated
from integrator.kafka.logs import PAUSE_SECONDS, CalmHandler, calm_aiokafka

HIDDEN = "correct-horse-battery"


def connection(bootstrap: str = "127.0.0.1:9") -> Connection:
    return Connection(bootstrap, "agency-svb--kb", SecretStr(HIDDEN))


def test_the_representation_hides_the_password() -> None:
    assert HIDDEN not in repr(connection()) + str(connection())
    assert connection().aiokafka()["sasl_plain_password"] == HIDDEN
    assert connection().confluent()["sasl.password"] == HIDDEN


def test_both_clients_get_the_same_user_mechanism_and_protocol() -> None:
    ours, theirs = connection().aiokafka(), connection().confluent()
    for one, other in (
        ("bootstrap_servers", "bootstrap.servers"),
        ("security_protocol", "security.protocol"),
        ("sasl_mechanism", "sasl.mechanism"),
        ("sasl_plain_username", "sasl.username"),
    ):
        assert ours[one] == theirs[other]
    assert ours["ssl_context"] is None


def test_over_tls_the_certificate_is_checked(tmp_path: Path) -> None:
    over_tls = Connection("kafka.example:9093", "u", SecretStr(HIDDEN), security_protocol="SASL_SSL")
    context = over_tls.aiokafka()["ssl_context"]
    assert context.check_hostname
    assert over_tls.confluent()["security.protocol"] == "SASL_SSL"


@pytest.mark.parametrize("bootstrap", ["", "host", "host:", ":9092", "host:0", "host:65536", "host:x", "a:1,b"])
def test_an_address_without_host_and_port_is_refused(bootstrap: str) -> None:
    with pytest.raises(Refused, match="write host:port"):
        connection(bootstrap).addresses()


def test_several_addresses_and_ipv6_are_read() -> None:
    assert connection("a:1, [::1]:2").addresses() == [("a", 1), ("::1", 2)]


async def test_a_port_where_nobody_listens_is_unreachable() -> None:
    with pytest.raises(Unavailable) as caught:
        await connection("127.0.0.1:1").look(seconds=5)
    assert caught.value.code == "kafka-unreachable"


@pytest.mark.parametrize("behaviour", ["silent", "closes", "talks"])
async def test_something_else_on_the_port_is_unreachable_within_the_time(behaviour: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if behaviour == "talks":
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 20)
        if behaviour == "silent":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), 3)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(IntegratorError) as caught:
            async with asyncio.timeout(5):
                await connection(f"127.0.0.1:{port}").look(seconds=1)
    assert caught.value.code == "kafka-unreachable"


class Stubborn:
    """A client whose start never ends and whose stop lets a cancellation of its own out, as aiokafka's does."""

    stopped = False

    async def start(self) -> None:
        await asyncio.sleep(60)

    async def stop(self) -> None:
        self.stopped = True
        raise asyncio.CancelledError


async def test_a_start_that_hangs_ends_within_its_time_and_the_client_is_stopped() -> None:
    client = Stubborn()
    with pytest.raises(Unavailable):
        await connections.start(client, connection("127.0.0.1:1"), seconds=0.2)
    assert client.stopped


async def test_a_cancellation_of_the_caller_is_not_swallowed() -> None:
    class Slow:
        async def start(self) -> None: ...
        async def stop(self) -> None:
            await asyncio.sleep(60)

    task = asyncio.create_task(connections.stop(Slow(), seconds=60))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("error", "family", "code"),
    [
        (aiokafka.errors.TopicAuthorizationFailedError("t"), Refused, "kafka-not-authorised"),
        (aiokafka.errors.GroupAuthorizationFailedError("g"), Refused, "kafka-not-authorised"),
        (aiokafka.errors.TransactionalIdAuthorizationFailed("i"), Refused, "kafka-not-authorised"),
        (aiokafka.errors.ClusterAuthorizationFailedError(), Refused, "kafka-not-authorised"),
        (aiokafka.errors.SaslAuthenticationFailed(), Refused, "kafka-wrong-password"),
        (aiokafka.errors.AuthenticationFailedError(), Refused, "kafka-wrong-password"),
        (aiokafka.errors.UnknownTopicOrPartitionError(), Refused, "kafka-no-topic"),
        (aiokafka.errors.OffsetOutOfRangeError(), Refused, "kafka-position-gone"),
        (aiokafka.errors.ProducerFenced(), Refused, "kafka-fenced"),
        (aiokafka.errors.IllegalOperation(), Refused, "kafka-fenced"),
        (aiokafka.errors.MessageSizeTooLargeError(), Invalid, "kafka-too-large"),
        (aiokafka.errors.InvalidTransactionTimeout(), Refused, "kafka-settings"),
        (aiokafka.errors.KafkaConnectionError(), Unavailable, "kafka-unreachable"),
        (aiokafka.errors.KafkaTimeoutError(), Unavailable, "kafka-unreachable"),
        (aiokafka.errors.CorruptRecordException(), Unavailable, "kafka-error"),
        (TimeoutError(), Unavailable, "kafka-unreachable"),
        (ConnectionRefusedError(111, "refused"), Unavailable, "kafka-unreachable"),
        (socket.gaierror(-2, "unknown"), Unavailable, "kafka-unreachable"),
        (KafkaException(KafkaError(29)), Refused, "kafka-not-authorised"),
        (KafkaException(KafkaError(-169)), Refused, "kafka-wrong-password"),
        (KafkaException(KafkaError(-195)), Unavailable, "kafka-unreachable"),
        (KafkaException(KafkaError(36)), Refused, "kafka-topic-exists"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_every_failure_of_both_clients_has_its_family_and_code(
    error: Exception, family: type[IntegratorError], code: str
) -> None:
    assert isinstance(error, FOREIGN)
    found = translate(error, "Trying")
    assert type(found) is family
    assert found.code == code
    assert str(found).startswith("Trying: ")


def test_a_bug_is_not_translated() -> None:
    with pytest.raises(ZeroDivisionError), translated("Trying"):
        _ = 1 / 0


def test_a_flood_becomes_one_line_and_a_count(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    handler = CalmHandler(clock=lambda: now)
    for second in range(25):
        now = float(second)
        for node in range(100):
            handler.emit(logging.LogRecord("aiokafka.conn", logging.ERROR, "f", 1, "no way to %s", (node,), None))
    handler.emit(logging.LogRecord("aiokafka.conn", logging.ERROR, "f", 1, "another thing", (), None))
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "no way to 0",
        f"no way to 0 ({int(PAUSE_SECONDS) * 100 - 1} more like this)",
        f"no way to 0 ({int(PAUSE_SECONDS) * 100 - 1} more like this)",
        "another thing",
    ]


def test_calming_twice_adds_one_handler() -> None:
    logger = logging.getLogger("aiokafka")
    before, propagate = list(logger.handlers), logger.propagate
    try:
        calm_aiokafka()
        calm_aiokafka()
        assert sum(isinstance(handler, CalmHandler) for handler in logger.handlers) == 1
    finally:
        logger.handlers, logger.propagate = before, propagate
