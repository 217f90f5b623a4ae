"""Carries questions to the label service and its answers back, over two sockets in a directory of their own.

    ledger.sock   key, labels: who asks shows numbers sealed, and never knows one
    people.sock   key, person: for the interface, which knows the number of whoever has logged in

- A message is u32 length and a JSON object, bytes in base64. One connection may carry many, one after the other.
- Who may connect is decided by the file system: the directory has mode 0700, in production one owner for each socket.
- An answer is `{"ok": …}` or `{"code": …, "message": …}`; a message that is none of ours ends the connection.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from integrator.domain.errors import IntegratorError, Refused
from integrator.domain.identifiers import SubjectRef
from integrator.recording.label_service import LabelKeys
from integrator_audit import errors as audit

LEDGER: Final = "ledger.sock"
PEOPLE: Final = "people.sock"
AT_ONCE: Final = 256
"""People in one message: with 1.6 ms for each, an answer comes within half a second."""
LET_GO: Final = 60.0
"""Seconds within which a destroyed key is in no memory any more."""
_MOST: Final = 1 << 20
_SECONDS: Final = 30.0
_LONGEST: Final = 100
"""Characters of a socket's path: systems take little more."""
_MAY: Final[Mapping[str, frozenset[str]]] = {
    LEDGER: frozenset({"key", "labels"}),
    PEOPLE: frozenset({"key", "person"}),
}


async def serve(keys: LabelKeys, directory: Path, stop: asyncio.Event) -> None:
    """Answer at both doors until `stop` is set. Raises `Refused` (`labels-path`) when the path is too long."""
    await asyncio.to_thread(directory.mkdir, mode=0o700, parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        for door in _MAY:
            path = _checked(directory / door)
            path.unlink(missing_ok=True)
            # Between these two lines nobody is answered: the door is closed to others before it opens.
            at_the_door = _Door(keys, door)
            server = await asyncio.start_unix_server(at_the_door.meet, path, start_serving=False)
            path.chmod(0o600)
            await stack.enter_async_context(server)
            await server.start_serving()
            # A client keeps its connection, and a server that is closed waits for all of them to end.
            stack.callback(at_the_door.close)
            # A socket that nobody answers is in the way of whoever copies the installation.
            stack.callback(path.unlink, missing_ok=True)
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LET_GO)
            await asyncio.to_thread(keys.let_go)


class _Door:
    """One socket of the service."""

    def __init__(self, keys: LabelKeys, name: str) -> None:
        self._keys = keys
        self._name = name
        self._open: set[asyncio.StreamWriter] = set()
        self._is_closed = False

    def close(self) -> None:
        """End all connections, and those that are just being made."""
        self._is_closed = True
        for writer in self._open:
            writer.close()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection to its end."""
        self._open.add(writer)
        try:
            while not self._is_closed:
                size = int.from_bytes(await reader.readexactly(4), "big")
                if size > _MOST:
                    return
                asked = json.loads(await reader.readexactly(size))
                # Signing takes the processor: in a thread, so that the other door is not kept waiting.
                answer = await asyncio.to_thread(self._answer, asked)
                data = json.dumps(answer).encode()
                writer.write(len(data).to_bytes(4, "big") + data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, RecursionError):
            return
        finally:
            self._open.discard(writer)
            writer.close()

    def _answer(self, asked: Any) -> dict[str, Any]:
        try:
            return {"ok": self._told(cast("dict[str, Any]", asked))}
        except IntegratorError as error:
            return {"code": error.code, "message": error.message}
        except (KeyError, TypeError, ValueError, OverflowError):
            return {"code": "label-message", "message": "This is no question to the label service."}

    def _told(self, asked: dict[str, Any]) -> Any:
        what, period = asked["ask"], int(asked["period"])
        if what not in _MAY[self._name]:
            raise Refused("label-door", "This is not asked at this door.")
        match what:
            case "key":
                certificate = [_text(root) for root in self._keys.certificate(period)]
                return {"spki": _text(self._keys.spki(period)), "certificate": certificate}
            case "labels":
                people = [(_data(pseudonym), _data(sealed)) for pseudonym, sealed in asked["people"]]
                return [_text(y) for y in self._keys.label_keys(period, people)]
            case _:
                return _text(self._keys.person(period, SubjectRef.parse(str(asked["number"]))))


class LabelClient:
    """Asks the label service at one door: `completeness.listing.LabelService`. Safe to share between threads.

    What it raises are the errors of the ledger library, in whose hands it is: `Refused` with the code of the service,
    `Unavailable` (`label-service`) when nobody answers.
    """

    def __init__(self, directory: Path, door: str) -> None:
        self._path = directory / door
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._known: dict[int, tuple[bytes, tuple[bytes, ...]]] = {}

    def spki(self, period: int) -> bytes:
        """Return the key of a half-year, SubjectPublicKeyInfo in DER."""
        return self._key(period)[0]

    def certificate(self, period: int) -> Sequence[bytes]:
        """Return the permutation certificate of that key."""
        return self._key(period)[1]

    def label_keys(self, period: int, people: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """Return the signature for each (pseudonym, sealed number), in their order."""
        found: list[bytes] = []
        for start in range(0, len(people), AT_ONCE):
            shown = [[_text(one), _text(sealed)] for one, sealed in people[start : start + AT_ONCE]]
            found += [_data(y) for y in self._ask({"ask": "labels", "period": period, "people": shown})]
        return found

    def person(self, period: int, number: SubjectRef) -> bytes:
        """Return the signature for a person who has logged in."""
        return _data(self._ask({"ask": "person", "period": period, "number": number.canonical}))

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._hang_up()

    def _key(self, period: int) -> tuple[bytes, tuple[bytes, ...]]:
        if (known := self._known.get(period)) is None:
            told = self._ask({"ask": "key", "period": period})
            known = _data(told["spki"]), tuple(_data(root) for root in told["certificate"])
            self._known[period] = known
        return known

    def _ask(self, question: Mapping[str, Any]) -> Any:
        data = json.dumps(question).encode()
        with self._lock:
            try:
                answer = json.loads(self._exchange(len(data).to_bytes(4, "big") + data))
            except (OSError, ValueError) as error:
                self._hang_up()
                message = "the label service does not answer; see whether its process runs"
                raise audit.Unavailable("label-service", message) from error
        if "ok" not in answer:
            raise audit.Refused(str(answer["code"]), str(answer["message"]))
        return answer["ok"]

    def _exchange(self, data: bytes) -> bytes:
        """Send and receive, on a new connection when the old one was closed by a service that started anew."""
        for fresh in (self._connection is None, True):
            try:
                connection = self._connect() if fresh else cast("socket.socket", self._connection)
                connection.sendall(data)
                return _receive(connection, int.from_bytes(_receive(connection, 4), "big"))
            except ConnectionError:
                self._hang_up()
                if fresh:
                    raise
        raise AssertionError("the last try is on a new connection")

    def _connect(self) -> socket.socket:
        self._hang_up()
        connection = self._connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_SECONDS)
        connection.connect(str(self._path))
        return connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _receive(connection: socket.socket, size: int) -> bytes:
    if size > _MOST:
        raise ValueError("the answer is too long")
    found = b""
    while len(found) < size:
        piece = connection.recv(size - len(found))
        if not piece:
            raise ConnectionResetError
        found += piece
    return found


def _checked(path: Path) -> Path:
    if len(str(path.absolute())) > _LONGEST:
        raise Refused(
            "labels-path", f"The path of the socket {path} is too long for the system: move the installation higher up."
        )
    return path


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _data(value: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError
    return base64.b64decode(value, validate=True)
