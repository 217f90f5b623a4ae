"""Holds that the label service signs for nobody but the person or who shows their number sealed, over a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from integrator.domain.errors import Refused
from integrator.domain.identities import Identities
from integrator.domain.pseudonyms import pseudonym
from integrator.recording import label_wire
from integrator.recording.label_service import LabelKeys
from integrator.recording.label_wire import LEDGER, PEOPLE, LabelClient, serve
from integrator_audit import errors as audit
from integrator_audit.completeness.labels import FileUniqueSigner, LabelKey, signed_input
from tests.unit.recording import recording_samples as world

PERIOD = 53
"""2026h2, in which `world.AT` lies."""
KEY = FileUniqueSigner.generate().pem


@dataclass
class Keys:
    """Secrets in memory; a key of a half-year is the one that was made for all tests."""

    held: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def get(self, name: str) -> bytes:
        if name not in self.held:
            raise Refused("secret-missing", f"There is no secret {name!r}.")
        return self.held[name]

    def create(self, name: str, make: Callable[[], bytes]) -> bytes:
        return self.held.setdefault(name, KEY)


def service(keys: Keys | None = None, *, now: int = world.AT_MS) -> LabelKeys:
    return LabelKeys(keys or Keys(), identities=world.IDENTITIES, ledger_key=world.LEDGER_KEY, clock=lambda: now)


@asynccontextmanager
async def running(directory: Path) -> AsyncGenerator[Path]:
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(service(), directory, stop))
    # At every turn of the loop, so that a test sees each door as it stands at first.
    async with asyncio.timeout(10):
        while not (directory / PEOPLE).exists():  # noqa: ASYNC110  a file has no event
            await asyncio.sleep(0)
    yield directory
    stop.set()
    await serving


def sealed(who: object = world.CHILD, beside: object = None) -> tuple[bytes, bytes]:
    known = pseudonym(world.LEDGER_KEY, "ledger", beside or who)  # type: ignore[arg-type]
    return known, world.IDENTITIES.seal(who, known)  # type: ignore[arg-type]


async def test_who_shows_a_sealed_number_gets_its_signature_and_the_person_can_check_it(tmp_path: Path) -> None:
    async with running(tmp_path / "l"):
        client = LabelClient(tmp_path / "l", LEDGER)
        people = [sealed(who) for who in world.PEOPLE] * 70
        signatures = await asyncio.to_thread(client.label_keys, PERIOD, people)
        key = LabelKey.read(await asyncio.to_thread(client.spki, PERIOD))
        key.check_certificate(await asyncio.to_thread(client.certificate, PERIOD))
        client.close()
    assert len(signatures) == 280
    for who, signature in zip(world.PEOPLE, signatures, strict=False):
        key.check_signature(signature, signed_input(PERIOD, who.canonical))


async def test_the_interface_gets_the_same_signature_for_who_has_logged_in(tmp_path: Path) -> None:
    async with running(tmp_path / "l"):
        at_the_ledgers, at_the_peoples = (LabelClient(tmp_path / "l", door) for door in (LEDGER, PEOPLE))
        (first,) = await asyncio.to_thread(at_the_ledgers.label_keys, PERIOD, [sealed()])
        assert await asyncio.to_thread(at_the_peoples.person, PERIOD, world.CHILD) == first
        at_the_ledgers.close()
        at_the_peoples.close()


async def test_neither_door_answers_what_is_asked_at_the_other(tmp_path: Path) -> None:
    async with running(tmp_path / "l"):
        with pytest.raises(audit.Refused) as caught:
            # Who took the ledger cannot go through all numbers.
            await asyncio.to_thread(LabelClient(tmp_path / "l", LEDGER).person, PERIOD, world.CHILD)
        assert caught.value.code == "label-door"
        with pytest.raises(audit.Refused) as caught:
            await asyncio.to_thread(LabelClient(tmp_path / "l", PEOPLE).label_keys, PERIOD, [sealed()])
        assert caught.value.code == "label-door"


def test_a_number_that_is_not_the_pseudonyms_is_not_signed() -> None:
    for wrong in (
        sealed(world.CHILD, beside=world.MOTHER),
        (sealed()[0], sealed(world.MOTHER)[1]),
        (sealed()[0], Identities(b"x" * 32, random=os.urandom).seal(world.CHILD, sealed()[0])),
        (sealed()[0], b""),
    ):
        with pytest.raises(Refused) as caught:
            service().label_keys(PERIOD, [sealed(), wrong])
        assert caught.value.code == "label-identity"
        assert world.CHILD.value not in str(caught.value)


def test_a_key_is_made_for_this_half_year_and_the_next_and_for_no_other() -> None:
    keys = Keys()
    labels = service(keys)
    assert labels.spki(PERIOD) == labels.spki(PERIOD + 1)
    assert set(keys.held) == {"label-key-2026h2", "label-key-2027h1"}
    with pytest.raises(Refused) as caught:
        labels.spki(PERIOD + 2)
    assert caught.value.code == "label-period"
    with pytest.raises(Refused) as caught:
        labels.spki(PERIOD - 1)
    assert caught.value.code == "secret-missing"


async def test_a_key_that_was_destroyed_is_let_go_though_nobody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_wire, "LET_GO", 0.01)
    keys = Keys()
    labels = service(keys)
    assert labels.spki(PERIOD) == labels.spki(PERIOD + 1)
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(labels, tmp_path / "l", stop))
    del keys.held["label-key-2026h2"]
    await world.until(lambda: list(labels._signers) == [PERIOD + 1])
    stop.set()
    await serving


def test_a_key_that_was_destroyed_signs_nothing_more() -> None:
    keys = Keys()
    now = [world.AT_MS]
    labels = LabelKeys(keys, identities=world.IDENTITIES, ledger_key=world.LEDGER_KEY, clock=lambda: now[0])
    assert labels.person(PERIOD, world.CHILD)
    now[0] += 365 * 86_400_000
    assert labels.person(PERIOD, world.CHILD)
    assert labels.certificate(PERIOD)
    del keys.held["label-key-2026h2"]
    for ask in (labels.spki, labels.certificate, lambda period: labels.person(period, world.CHILD)):
        with pytest.raises(Refused) as caught:
            ask(PERIOD)
        assert caught.value.code == "secret-missing"


async def test_a_client_goes_on_after_the_service_started_anew(tmp_path: Path) -> None:
    client = LabelClient(tmp_path / "l", LEDGER)
    with pytest.raises(audit.Unavailable):
        client.spki(PERIOD)
    for _ in range(2):
        async with running(tmp_path / "l"):
            assert len(await asyncio.to_thread(client.label_keys, PERIOD, [sealed()])) == 1
    client.close()


def framed(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


@pytest.mark.parametrize(
    "message",
    [
        framed(b"none"),
        b"\xff\xff\xff\xff",
        framed(b"[]"),
        framed(b'{"ask":"key"}'),
        framed(b'{"ask":"key","period":Infinity}'),
        framed(b"[" * 100_000),
    ],
    ids=["none", "long", "list", "half", "endless", "deep"],
)
async def test_what_is_no_question_is_answered_with_an_error_or_not_at_all(tmp_path: Path, message: bytes) -> None:
    async with running(tmp_path / "l"):
        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))

        def ask() -> bytes:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(20)
                connection.connect(str(tmp_path / "l" / LEDGER))
                connection.sendall(message)
                return connection.recv(1000)

        answer = await asyncio.to_thread(ask)
        assert answer == b"" or b"label-message" in answer
        client = LabelClient(tmp_path / "l", LEDGER)
        assert await asyncio.to_thread(client.spki, PERIOD)
        client.close()
        assert faults == [], "what a stranger sends is no fault of the service"


async def test_who_still_holds_a_door_when_the_service_ends_finds_it_closed(tmp_path: Path) -> None:
    async with running(tmp_path / "l"):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "l" / LEDGER)
    async with asyncio.timeout(20):
        assert await reader.read() == b"", "a ledger that asks nothing must not keep the service from ending"
    writer.close()


async def test_nobody_else_may_open_the_doors(tmp_path: Path) -> None:
    async with running(tmp_path / "l"):
        assert (tmp_path / "l").stat().st_mode & 0o777 == 0o700
        assert {(tmp_path / "l" / door).stat().st_mode & 0o777 for door in (LEDGER, PEOPLE)} == {0o600}
    assert not [door for door in (LEDGER, PEOPLE) if (tmp_path / "l" / door).exists()]


async def test_a_path_that_is_too_long_for_a_socket_is_said(tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        await serve(service(), tmp_path / ("d" * 100), asyncio.Event())
    assert caught.value.code == "labels-path"
