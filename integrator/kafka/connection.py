"""Says how to reach a Kafka, starts clients under a time limit, and tells a wrong password from a broker that is away.

aiokafka reports both as the same error and says which only in its log, so a failed start is followed by a look at the
port with the same credentials (`look`). No password is in a representation, a message or a log line.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# Reason: aiokafka ships no type information; what it returns is typed here, at the boundary.

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from aiokafka.conn import create_conn
from aiokafka.protocol.metadata import MetadataRequest
from pydantic import SecretStr

from integrator.domain.errors import Refused, Unavailable
from integrator.kafka.failures import FOREIGN, translate, translated

Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
SecurityProtocol = Literal["SASL_PLAINTEXT", "SASL_SSL"]
START_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Connection:
    """How one user reaches one Kafka. `bootstrap` is `host:port`, several separated by commas.

    With `SASL_SSL` the broker's certificate must be signed by an authority of the system, or of the PEM file
    `authorities`.
    """

    bootstrap: str
    username: str
    password: SecretStr
    mechanism: Mechanism = "SCRAM-SHA-512"
    security_protocol: SecurityProtocol = "SASL_PLAINTEXT"
    authorities: Path | None = None

    def aiokafka(self) -> dict[str, Any]:
        """Return the keyword arguments with which an aiokafka client connects as this user."""
        return {"bootstrap_servers": self.bootstrap, **self._credentials()}

    def confluent(self) -> dict[str, str | int | float | bool]:
        """Return the settings with which a confluent-kafka client connects as this user."""
        settings: dict[str, str | int | float | bool] = {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": self.security_protocol,
            "sasl.mechanism": self.mechanism,
            "sasl.username": self.username,
            "sasl.password": self.password.get_secret_value(),
            "log_level": 2,  # librdkafka prints to standard error; what matters is raised
        }
        if self.authorities is not None:
            settings["ssl.ca.location"] = str(self.authorities)
        return settings

    def addresses(self) -> list[tuple[str, int]]:
        """Return the hosts and ports of `bootstrap`. Raises `Refused` (`kafka-address`)."""
        found: list[tuple[str, int]] = []
        for part in self.bootstrap.split(","):
            host, _, port = part.strip().rpartition(":")
            if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
                raise Refused("kafka-address", f"{part.strip()!r} is no address of a Kafka: write host:port.")
            found.append((host.strip("[]"), int(port)))
        return found

    def _credentials(self) -> dict[str, Any]:
        context = ssl.create_default_context(cafile=self.authorities) if self.security_protocol == "SASL_SSL" else None
        return {
            "security_protocol": self.security_protocol,
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password.get_secret_value(),
            "ssl_context": context,
        }

    async def look(self, *, seconds: float = START_SECONDS) -> Cluster:
        """Log in at the first address that answers and ask who it is.

        Raises `Refused` (`kafka-wrong-password`, `kafka-wrong-mechanism`, `kafka-address`) or `Unavailable`
        (`kafka-unreachable`), within `seconds`.
        """
        addresses = self.addresses()
        for last, (host, port) in enumerate(addresses, 1 - len(addresses)):
            try:
                with translated(f"Logging in to Kafka at {host}:{port} as {self.username}"):
                    async with asyncio.timeout(seconds / len(addresses)):
                        return await self._look_at(host, port)
            except Unavailable:
                if last == 0:
                    raise
        raise AssertionError("addresses() is never empty")

    async def _look_at(self, host: str, port: int) -> Cluster:
        connection: Any = await create_conn(host, port, client_id="integrator", **self._credentials())
        try:
            answer: Any = await connection.send(MetadataRequest([]))
            return Cluster(str(answer.cluster_id), len(answer.brokers), controlled=answer.controller_id >= 0)
        finally:
            connection.close()


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a Kafka says about itself: its id, how many brokers serve, and whether it has a controller."""

    id: str
    brokers: int
    controlled: bool

    @property
    def serves(self) -> bool:
        """Whether topics can be made and written to."""
        return self.brokers > 0 and self.controlled


class Client(Protocol):
    """A producer, consumer or admin client of aiokafka."""

    async def start(self) -> Any: ...
    async def stop(self) -> Any: ...


class AdminLike(Protocol):
    """aiokafka's admin client, which is closed and not stopped."""

    async def start(self) -> Any: ...
    async def close(self) -> Any: ...


C = TypeVar("C", bound="Client | AdminLike")


async def start(client: C, connection: Connection, *, seconds: float = START_SECONDS) -> C:
    """Start a client and return it; when it cannot be started, stop it and say why.

    Raises `Refused` (`kafka-wrong-password`, `kafka-not-authorised`, …) or `Unavailable` (`kafka-unreachable`), after
    at most `seconds` and a look of the same length.
    """
    doing = f"Connecting to Kafka at {connection.bootstrap} as {connection.username}"
    try:
        async with asyncio.timeout(seconds):
            await client.start()
    except FOREIGN as error:
        await stop(client)
        known = translate(error, doing)
        if isinstance(known, Unavailable):
            await connection.look(seconds=seconds)
        raise known from error
    except BaseException:
        await stop(client)
        raise
    return client


async def stop(client: Client | AdminLike, *, seconds: float = 5.0) -> None:
    """Stop a client in any state. Never raises for what the client does; only a cancellation of the caller passes.

    aiokafka lets a `CancelledError` of its own tasks out of `stop()` right after `start()`; without this the caller
    would take it for its own cancellation.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        async with asyncio.timeout(seconds):
            end: Any = getattr(client, "stop", None) or getattr(client, "close", None)
            await end()
    except FOREIGN:
        return
    except asyncio.CancelledError:
        if task is not None and task.cancelling() > before:
            raise
