"""Holds that a citizen gets every disclosure, sees a tick only for what is proved, and learns which entry is wrong."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from integrator.domain.errors import IntegratorError, Invalid, Refused, Tampered, Unavailable
from integrator.domain.identifiers import SubjectRef
from integrator.http import disclosures, problems
from integrator.recording.disclosures import DisclosureRecorder
from integrator.recording.openings import Openings
from integrator.sdk.citizen import Citizen, VerifiedDisclosure, read_keys
from integrator_audit import LedgerReader, Signer, Vault, Verifier
from tests.unit.recording import recording_samples as world

Tamper = Callable[[dict[str, Any]], None]


class Register:
    """Knows people by a token that is their number spelled backwards."""

    def identify(self, token: str) -> SubjectRef | None:
        return next((who for who in world.PEOPLE if who.value[::-1] == token), None)


@pytest.fixture
def openings(tmp_path: Path) -> Generator[Openings]:
    """Twelve deliveries about the child and both parents."""
    recorder, known = DisclosureRecorder(), world.knowledge()
    with world.ledger_at(tmp_path) as ledger:
        for number in range(12):
            ledger.append(recorder.read(world.record(world.disclosure(number + 1), number)).make(known))
    vault = Vault.read_only(world.files_at(tmp_path).persons, world.GENERATION)
    reader = LedgerReader.open(world.files_at(tmp_path).store("s0-2026h2"), vault=vault)
    yield Openings(lambda: [("2026h2", [reader])], world.StillDirectory(known), key=world.LEDGER_KEY)
    reader.close()
    vault.close()


def interface(openings: Openings, *, tamper: Tamper | None = None) -> httpx2.ASGITransport:
    """The endpoint as it is served, with a liar between it and its clients."""
    api = FastAPI(openapi_url=None)
    problems.install(api)
    api.include_router(disclosures.router(openings, Register(), cursor_key=b"k" * 32), prefix="/v1")

    async def lying(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        start: dict[str, Any] = {}

        async def out(message: Any) -> None:
            nonlocal body, start
            if message["type"] == "http.response.start":
                start = message
                return
            body += message["body"]
            if message.get("more_body"):
                return
            if tamper is not None and start["status"] == 200:
                answer = json.loads(body)
                tamper(answer)
                body = json.dumps(answer).encode()
                start = {**start, "headers": [(b"content-type", b"application/json")]}
            await send(start)
            await send({"type": "http.response.body", "body": body})

        await api(scope, receive, out)

    return httpx2.ASGITransport(app=lying if tamper else api)


async def read(
    openings: Openings,
    who: SubjectRef = world.CHILD,
    *,
    tamper: Tamper | None = None,
    key: Verifier = world.SIGNER.verifier,
    page: int = 5,
) -> list[VerifiedDisclosure]:
    transport = interface(openings, tamper=tamper)
    token = who.value[::-1]
    async with Citizen("http://integrator", token=token, keys={key.name: key}, transport=transport) as citizen:
        return [one async for one in citizen.disclosures(page=page)]


async def test_a_citizen_gets_every_disclosure_about_them_newest_first(openings: Openings) -> None:
    found = await read(openings)
    assert len(found) == 12
    assert [one.index for one in found] == sorted((one.index for one in found), reverse=True)
    first = found[0]
    assert (first.recipient, first.stream, first.purpose, first.role) == (
        "groeifonds",
        "brp/person",
        "startbedrag",
        "subject",
    )
    assert (first.fields, first.basis, first.at) == (("bsn", "birth.date"), ("BE, Groeipakket, art. 1",), world.AT)
    assert first.unverified["recipient"]["title"]["en"] == "growth fund"
    assert first.unverified["fields"][1] == {
        "path": "birth.date",
        "category": "ordinary",
        "description": {"nl": "birth (nl)", "fr": "birth (fr)", "en": "birth"},
    }


async def test_each_person_sees_their_own_entries_and_nobody_elses(openings: Openings) -> None:
    seen = [{one.index for one in await read(openings, who)} for who in (world.CHILD, world.MOTHER, world.FATHER)]
    assert set().union(*seen) == set(range(36))
    assert sum(map(len, seen)) == 36
    assert await read(openings, world.PARTNER) == []


async def test_part_d_is_never_given_to_a_citizen(openings: Openings) -> None:
    for one in await read(openings):
        opening = one.unverified["opening"]
        assert "D" not in opening
        assert "P" not in opening
        assert "agency.groeifonds" not in json.dumps(one.unverified)


def flip(opening: dict[str, Any], *path: str, at: int = 40) -> None:
    """Change one byte of a base64 member."""
    *parents, last = path
    holder = opening
    for name in parents:
        holder = holder[name]
    data = bytearray(base64.b64decode(holder[last]))
    data[at % len(data)] ^= 1
    holder[last] = base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "path",
    [("A", "bytes"), ("A", "salt"), ("S", "bytes"), ("S", "salt"), ("hD",), ("hP",)],
)
async def test_a_flipped_byte_in_an_opening_stops_the_client_which_says_which_entry(
    openings: Openings, path: tuple[str, ...]
) -> None:
    entry = (await read(openings))[2].index

    def tamper(answer: dict[str, Any]) -> None:
        for one in answer["disclosures"]:
            if one["opening"]["index"] == entry:
                flip(one["opening"], *path)

    with pytest.raises(Tampered, match=rf"^Entry {entry} of {world.ORIGIN} ") as caught:
        await read(openings, tamper=tamper)
    assert world.CHILD.value not in str(caught.value)


@pytest.mark.parametrize("at", [30, 60, 200, -20])
async def test_a_flipped_byte_in_the_proof_stops_the_client(openings: Openings, at: int) -> None:
    def tamper(answer: dict[str, Any]) -> None:
        flip(answer["disclosures"][0]["opening"], "proof", at=at)

    with pytest.raises(Tampered, match=r"^Entry \d+ of "):
        await read(openings, tamper=tamper)


async def test_what_was_verified_before_the_wrong_entry_was_yielded(openings: Openings) -> None:
    honest = await read(openings)
    transport = interface(openings, tamper=lambda answer: flip(answer["disclosures"][3]["opening"], "A", "bytes"))
    seen: list[int] = []
    keys = {world.ORIGIN: world.SIGNER.verifier}
    async with Citizen("http://integrator", token=world.CHILD.value[::-1], keys=keys, transport=transport) as citizen:
        reading = citizen.disclosures(page=50)
        for _ in range(3):
            seen.append((await anext(reading)).index)
        with pytest.raises(Tampered):
            await anext(reading)
    assert seen == [one.index for one in honest[:3]]


def twice(answer: dict[str, Any]) -> None:
    answer["disclosures"].insert(1, answer["disclosures"][0])


def swapped(answer: dict[str, Any]) -> None:
    answer["disclosures"].reverse()


def renamed(answer: dict[str, Any]) -> None:
    answer["disclosures"][0]["recipient"]["name"] = "svb"


def fewer_fields(answer: dict[str, Any]) -> None:
    answer["disclosures"][0]["fields"].pop()


def other_law(answer: dict[str, Any]) -> None:
    answer["disclosures"][0]["basis"] = ["NL, another law"]


def unproved(answer: dict[str, Any]) -> None:
    del answer["disclosures"][0]["opening"]


def circular(answer: dict[str, Any]) -> None:
    answer["disclosures"].clear()
    answer["next"] = "bm93aGVyZQ"


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        (twice, "disclosure-order"),
        (swapped, "disclosure-order"),
        (renamed, "disclosure-shown"),
        (fewer_fields, "disclosure-shown"),
        (other_law, "disclosure-shown"),
        (unproved, "opening-missing"),
    ],
)
async def test_a_list_that_says_something_else_than_its_entries_is_refused(
    openings: Openings, tamper: Tamper, code: str
) -> None:
    with pytest.raises(Tampered) as caught:
        await read(openings, tamper=tamper)
    assert caught.value.code == code


async def test_a_strangers_entry_among_ones_own_is_noticed(openings: Openings) -> None:
    strangers = (await read(openings, world.MOTHER))[-1].unverified

    def tamper(answer: dict[str, Any]) -> None:
        if "next" not in answer:
            answer["disclosures"].append(dict(strangers))

    own = await read(openings)
    expected = "disclosure-person" if strangers["opening"]["index"] < own[-1].index else "disclosure-order"
    with pytest.raises(Tampered) as caught:
        await read(openings, tamper=tamper)
    assert caught.value.code == expected


async def test_a_checkpoint_under_another_key_proves_nothing(openings: Openings) -> None:
    with pytest.raises(Tampered, match="signature"):
        await read(openings, key=Signer(world.ORIGIN, bytes(32)).verifier)
    with pytest.raises(Refused, match="no verification key for this log"):
        await read(openings, key=Signer("example.org/other", bytes(32)).verifier)


async def test_a_changed_row_of_the_database_is_said_by_the_endpoint_and_never_shown(
    openings: Openings, tmp_path: Path
) -> None:
    entry = (await read(openings))[0].index
    with sqlite3.connect(tmp_path / "s0-2026h2.sqlite") as database:
        query = "SELECT aid, bytes FROM statement JOIN entry USING (aid) WHERE idx = ?"
        number, told = database.execute(query, (entry,)).fetchone()
        changed = told.replace(b"groeifonds", b"geenfondsX", 1)
        assert changed != told
        database.execute("UPDATE statement SET bytes = ? WHERE aid = ?", (changed, number))
    database.close()
    with pytest.raises(Tampered, match=f"entry {entry} of {world.ORIGIN}"):
        await read(openings)


async def ask(openings: Openings, **query: str) -> httpx2.Response:
    token = query.pop("token", world.CHILD.value[::-1])
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx2.AsyncClient(transport=interface(openings), base_url="http://integrator") as client:
        return await client.get("/v1/me/disclosures", params=query, headers=headers)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"token": ""}, 401),
        ({"token": "nobody"}, 401),
        ({"limit": "0"}, 400),
        ({"limit": "101"}, 400),
        ({"unknown": "1"}, 400),
        ({"cursor": "bm93aGVyZQ"}, 400),
        ({"cursor": "!"}, 400),
    ],
)
async def test_a_wrong_request_is_a_problem_that_repeats_nothing(
    openings: Openings, query: dict[str, str], status: int
) -> None:
    answer = await ask(openings, **query)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    for value in query.values():
        assert len(value) < 5 or value not in answer.text


async def test_a_cursor_of_one_person_is_no_cursor_of_another(openings: Openings) -> None:
    page = (await ask(openings, limit="5")).json()
    assert len(page["disclosures"]) == 5
    own = await ask(openings, limit="5", cursor=page["next"])
    assert own.status_code == 200
    others = await ask(openings, limit="5", cursor=page["next"], token=world.MOTHER.value[::-1])
    assert (others.status_code, others.json()["code"]) == (400, "cursor-invalid")


async def test_the_last_page_has_no_next(openings: Openings) -> None:
    assert "next" not in (await ask(openings, limit="12")).json()
    assert "next" in (await ask(openings, limit="11")).json()


async def test_an_address_where_nothing_answers_is_unavailable() -> None:
    keys = {world.ORIGIN: world.SIGNER.verifier}
    async with Citizen("http://127.0.0.1:1", token="t", keys=keys) as citizen:
        with pytest.raises(Unavailable, match="does not answer"):
            await asyncio.wait_for(anext(citizen.disclosures()), 20)


def test_keys_are_read_one_on_each_line() -> None:
    other = Signer("example.org/other", bytes(32)).vkey
    assert set(read_keys([f"{world.SIGNER.vkey}\n\n{other}\n"])) == {world.ORIGIN, "example.org/other"}
    for wrong in ("", "no key", world.SIGNER.vkey[:-4] + "AAAA"):
        with pytest.raises(Invalid) as caught:
            read_keys([wrong])
        assert isinstance(caught.value, IntegratorError)
