"""The same installation, started again on its own data: for the citizen, the agency, the auditor and the operator."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from integrator.demo.people import installed_population
from integrator.domain.errors import Refused
from integrator.domain.identifiers import SubjectRef
from integrator.operation.processes import citizens_of, readers_of
from tests.e2e.conftest import Played
from tests.e2e.installation import Outcome, Running, command, until
from tests.e2e.records import numbers
from tests.e2e.test_records import people

pytestmark = pytest.mark.e2e


def admit(running: Running, number: str) -> None:
    """Let a fictional person ask, as the demonstration does for the people of its scenarios."""
    citizens_of(running.installation).register([SubjectRef("bsn", number)])


def asked(running: Running, person: str, *options: str) -> Outcome:
    return command("integrator", "disclosures", "--data", running.data, *options, told=f"{person}\n")


def somebody(played: Played) -> str:
    """Return a person in several deliveries to several agencies: one of those who died."""
    return played.document["scenarios"]["S19"]["received"]["svb"][0]["fields"]["bsn"]


def test_it_comes_up_on_its_own_data_with_nothing_lost_and_nothing_new(played: Played, installation: Running) -> None:
    outcome = command("integrator", "status", "--data", installation.data, "--json")
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert told["directory"]["authorisations"] == 7
    sizes = {log["origin"]: (log["size"], log["root"]) for log in told["ledger"]}
    before = played.document["ledger"]
    logs = (before["subjects"][0], before["institution"], before["days"])
    for log in logs:
        assert sizes[log["origin"]][0] >= log["size"]
    assert set(sizes) == {log["origin"] for log in logs}
    assert (told["care"]["problem"], told["care"]["setAside"]) == ("", 0)


def test_a_citizen_sees_every_disclosure_about_them_each_verified(played: Played, installation: Running) -> None:
    person = somebody(played)
    admit(installation, person)
    expected = sorted(
        (delivery.record.topic.split(".")[1], people(delivery)[0][person], delivery.authorisation)
        for delivery in played.deliveries
        if person in people(delivery)[0]
    )
    outcome = asked(installation, f"bsn:{person}", "--json")
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert told["failure"] is None
    found = told["disclosures"]
    assert sorted((one["recipient"], one["role"], one["authorisation"]) for one in found) == expected
    assert len({recipient for recipient, _, _ in expected}) >= 4
    assert all(one["verified"] is True and one["basis"] and one["fields"] for one in found)
    assert [one["index"] for one in found] == sorted((one["index"] for one in found), reverse=True)


def test_a_citizen_reads_a_table_with_a_tick_for_each_line_and_no_number(played: Played, installation: Running) -> None:
    person = somebody(played)
    admit(installation, person)
    outcome = asked(installation, person)
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("✓") >= 4
    assert person not in outcome.out + outcome.err


def test_the_newborn_whom_the_demonstration_names_may_ask(played: Played, installation: Running) -> None:
    received = json.loads(played.outcome.out)["scenarios"]["S3"]["received"]["groeifonds"]
    outcome = asked(installation, f"bsn:{received[0]['fields']['bsn']}", "--json")
    assert outcome.code == 0, outcome.err
    (told,) = json.loads(outcome.out)["disclosures"]
    assert (told["recipient"], told["role"], told["verified"]) == ("groeifonds", "subject", True)


def test_somebody_of_whom_nothing_was_disclosed_gets_an_empty_list(played: Played, installation: Running) -> None:
    seen = {number for delivery in played.deliveries for number in numbers(delivery.value)}
    everybody = {number for value in played.published.values() for number in numbers(value)}
    nobody = min(everybody - seen)
    admit(installation, nobody)
    outcome = asked(installation, f"bsn:{nobody}", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out) == {"disclosures": [], "failure": None}


def test_whoever_is_not_known_is_refused_and_a_number_is_no_argument(played: Played, installation: Running) -> None:
    outcome = asked(installation, "test:000000000000")
    assert outcome.code == 1
    assert "not-authenticated" in outcome.err
    assert "Traceback" not in outcome.err
    refused = command("integrator", "disclosures", somebody(played), "--data", installation.data, told="\n")
    assert refused.code != 0
    wrong = asked(installation, "123456789")
    assert wrong.code == 1
    assert "123456789" not in wrong.err + wrong.out


@contextmanager
def changed_row(path: Path, index: int) -> Iterator[None]:
    """Change one byte of part A of an entry while the installation runs, and put it back."""
    with closing(sqlite3.connect(path, timeout=20)) as connection:
        query = "SELECT aid, bytes FROM statement JOIN entry USING (aid) WHERE idx = ?"
        number, held = connection.execute(query, (index,)).fetchone()
        at = held.index(b'"recipient"') + 13
        changed = held[:at] + bytes([held[at] ^ 0x01]) + held[at + 1 :]
        try:
            with connection:
                connection.execute("UPDATE statement SET bytes = ? WHERE aid = ?", (changed, number))
            yield
        finally:
            with connection:
                connection.execute("UPDATE statement SET bytes = ? WHERE aid = ?", (held, number))


def test_a_changed_row_is_caught_by_the_citizens_client_and_named(played: Played, installation: Running) -> None:
    person = somebody(played)
    admit(installation, person)
    first = json.loads(asked(installation, f"bsn:{person}", "--json").out)["disclosures"][-1]
    (path,) = installation.installation.ledger.glob("s0-*.sqlite")
    with changed_row(path, first["index"]):
        outcome = asked(installation, f"bsn:{person}", "--json")
        assert outcome.code == 1
        failure = json.loads(outcome.out)["failure"]
        assert str(first["index"]) in failure["detail"], failure
        assert "Traceback" not in outcome.err
    assert asked(installation, f"bsn:{person}").code == 0


def test_an_agency_whose_first_day_is_not_over_hears_that_nothing_is_listed_yet(installation: Running) -> None:
    outcome = command("integrator", "reconcile", "groeifonds", "--data", installation.data)
    assert outcome.code == 2, outcome.err
    assert "account-missing: The ledger has listed nothing for groeifonds yet" in outcome.err


def test_anybody_verifies_the_log_over_http(played: Played, installation: Running, tmp_path: Path) -> None:
    log = played.document["ledger"]["subjects"][0]
    address = f"{installation.installation.api_url}/ledger/{log['origin'].rpartition('/')[2]}/"
    # The files that the demonstration left are the first look: what is served now must extend them.
    (before,) = (played.files / "ledger" / "public").glob("s0-*")
    for where in (before, address):
        outcome = command(
            "integrator-audit", "verify", where, "--vkey", log["vkey"], "--state", tmp_path / "state", "--json"
        )
        assert outcome.code == 0, outcome.err + outcome.out
    assert json.loads(outcome.out)["previousSize"] == log["size"]


async def test_an_agency_subscribes_again_and_receives_everything_from_the_start(
    played: Played, installation: Running
) -> None:
    expected = [one for one in played.deliveries if one.authorisation == "s19-toeslagen-overlijden"]
    found: list[Any] = []
    async with (
        asyncio.timeout(60),
        installation.agency("toeslagen", "toeslag-aanpassen") as toeslagen,
    ):
        async for event in toeslagen.subscribe("brp/person", purpose="toeslag-aanpassen", group="second"):
            async with event:
                found.append(event)
            if len(found) == len(expected):
                break
    mine = {(one.position.partition, one.position.offset): (one.id, one.person, one.value) for one in found}
    assert mine == {
        (one.record.partition, one.record.offset): (
            one.record.header("ce_id"), (one.record.key or b"").decode(), one.value,
        )
        for one in expected
    }  # fmt: skip


async def test_what_a_source_publishes_now_continues_sequences_and_ledger(
    played: Played, installation: Running
) -> None:
    before = await installation.accounts()
    population = installed_population()(2, 60)
    deaths = list(population.deaths(1))
    births = list(population.births(1, municipalities={"9001"}))
    async with installation.owner("brp") as owner:
        await owner.publish_many([*births, *deaths])
    await installation.decided("source.brp.person")
    await installation.recorded()
    after = await installation.accounts()
    topic = "agency.groeifonds.startbedrag.brp.person"
    assert after.delivered(topic) == before.delivered(topic) + 1
    child = next(message.value["bsn"] for message in births if message.value["kind"] == "created")
    admit(installation, child)
    outcome = asked(installation, f"bsn:{child}", "--json")
    (told,) = json.loads(outcome.out)["disclosures"]
    assert (told["recipient"], told["role"]) == ("groeifonds", "subject")


async def test_a_client_that_knows_only_a_schema_registry_finds_the_schema_of_its_topic(
    played: Played, installation: Running
) -> None:
    subject = "agency.duo.studieschuld.brp.person-value"
    (number,) = (number for number, (name, _) in played.registry.items() if name == subject)
    async with httpx2.AsyncClient(base_url=installation.installation.api_url, trust_env=False) as client:
        by_id = (await client.get(f"/schemas/ids/{number}")).json()
        latest = (await client.get(f"/subjects/{subject}/versions/latest")).json()
    assert (latest["subject"], latest["version"], latest["id"]) == (subject, 1, number)
    assert json.loads(by_id["schema"]) == json.loads(latest["schema"])
    assert {field["name"] for field in json.loads(by_id["schema"])["fields"]} == {"bsn", "death"}


async def test_an_agency_without_an_authorisation_is_refused_and_the_refusal_is_an_entry(installation: Running) -> None:
    async with installation.agency("gemeente", "uitvaart-en-post") as gemeente:
        with pytest.raises(Refused) as caught:
            await gemeente.request("ciz/wlz-indication", purpose="uitvaart-en-post")
    assert caught.value.code == "not-authorised"

    async def entered() -> bool:
        with closing(readers_of(installation.installation)) as readers:
            log = readers.latest("institution")
            parts = [json.loads(base64.b64decode(log.opening(index, "A")["A"]["bytes"])) for index in log.indices()]
        return any((part.get("reason"), part.get("agency")) == ("not-authorised", "gemeente") for part in parts)

    await until(entered, "the refusal to be an entry of the institution log")
