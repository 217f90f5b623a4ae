"""Holds the documents that prove completeness to what people, agencies and the supervisor do with them."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import zlib
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx2
import pytest
import uvicorn
from click.testing import Result
from fastapi import FastAPI
from typer.testing import CliRunner

from integrator.cli.main import app as command
from integrator.domain.errors import Tampered
from integrator.http import histories, problems
from integrator.http import ledger as ledger_files
from integrator.http.identity import (
    DEVELOPMENT_KEY,
    AgencyFor,
    Authority,
    DevelopmentCitizens,
    Operator,
    Tokens,
    token_secret,
)
from integrator.operation.processes import ledger_terms
from integrator.operation.secrets import password
from integrator.operation.settings import Installation, Settings
from integrator.recording import sealing
from integrator.recording.logs import half_year_at
from integrator.recording.readers import Readers
from integrator.recording.sealed import Histories
from integrator.sdk.completeness import Trusted, judge_history, read_days
from integrator_audit import Signer, Verifier
from integrator_audit.completeness.cosigning import Rules, check_dossier
from integrator_audit.completeness.dossier import Dossier
from integrator_audit.completeness.epochlog import Trust, read_epoch_log
from integrator_audit.completeness.following import Follower
from integrator_audit.completeness.memory import Memory
from integrator_audit.halfyear import DAY_MS, date_of, day_of, start_of
from integrator_audit.sources import DirectorySource
from integrator_audit.witnessing.cosignature import Cosigner
from integrator_audit.witnessing.server import WitnessServer
from integrator_audit.witnessing.witness import Witness
from tests.unit.recording import recording_samples as world
from tests.unit.recording.test_recording_process import KEYS, NAMING, signing_seed
from tests.unit.recording.test_recording_sealing import Accounts, Service, entries, ledger

SUPERVISOR = Cosigner("supervisor.example", b"s" * 32)
UNLISTED = 4
MINUTE_MS = 60_000
AGENCY = AgencyFor("groeifonds", "startbedrag")
AGENCIES = (AGENCY, AgencyFor("svb", "nabestaanden"))
TOPIC = "agency.groeifonds.startbedrag.brp.person"


@dataclass
class Running:
    """An installation whose yesterday is sealed, cosigned and served."""

    installation: Installation
    url: str
    tokens: dict[str, str]
    yesterday: int

    def get(self, path: str, who: str = "") -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if who else {}
        return httpx2.get(f"{self.url}{path}", headers=headers, trust_env=False)

    def ask(self, *arguments: str, number: str = "") -> Result:
        given = ["--data", str(self.installation.data), "--api", self.url, *arguments[1:]]
        given += ["--state", str(self.installation.data / "state")]
        return CliRunner().invoke(command, [arguments[0], *given], input=f"{number}\n")

    @property
    def vouched(self) -> list[str]:
        """The options with which everything is vouched for."""
        return ["--policy", str(self.installation.data / "policy"), "--cosigner", SUPERVISOR.key.vkey]

    def book(self, *numbers: int) -> str:
        """A file in which the agency noted that it received these deliveries."""
        path = self.installation.data / "book.jsonl"
        place = {"topic": TOPIC, "partition": 2, "lane": 2}
        lines = [place | {"sequence": one, "valueSha256": world.read_value(one).hex()} for one in numbers]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return str(path)


async def _fill(root: Path, policy: Path, now: int) -> None:
    """Enter three deliveries yesterday, and seal that day."""
    terms = ledger_terms(Installation(policy.parent, Settings(ledger_policy=policy.name)))
    async with ledger(root, count=2, now=now - DAY_MS, policy=terms.policy, unlisted=UNLISTED) as place:
        # One record is malformed: its delivery is in the agency's hands and in no entry.
        await place.filled(b"this is no disclosure record", world.disclosure(4))
        place.clock.now = start_of(day_of(now)) - 1
        await world.until(lambda: entries(root) == 9 + UNLISTED)
        place.clock.now = now
        await place.sealed(day_of(now) - 1)


def _moment() -> int:
    """This moment for the ledger, in ms: far enough from midnight that yesterday is the same day for all tests.

    The commands under test have this machine's clock. In the last minutes of a day the ledger is in the next one: a
    newest day that is today is believed as well.
    """
    now = int(time.time() * 1000)
    day = day_of(now + 15 * MINUTE_MS)
    return max(now, start_of(day) + 2 * MINUTE_MS)


def _witness(root: Path, now: int) -> WitnessServer:
    """The supervisor as a witness that cosigns whatever is consistent, over HTTP."""
    logs = [NAMING.origin(log) for log in ("epochs", *_logs(now))]
    keys = {origin: [Signer(origin, signing_seed(KEYS.signing, origin)).verifier] for origin in logs}
    held = Witness.open(root / "witness.sqlite", cosigner=SUPERVISOR, logs=keys, clock=time.time)
    return WitnessServer(("127.0.0.1", 0), held)


def _logs(now: int) -> list[str]:
    halves = {half_year_at(now), half_year_at(now - DAY_MS)}
    return [f"{series}-{half}" for half in halves for series in ("s0", "institution")]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    data = tmp_path_factory.mktemp("i")
    now = _moment()
    installation = Installation.create(data, Settings(profile="development", bootstrap="127.0.0.1:1"))
    store = installation.secrets
    witness = _witness(data, now)
    threading.Thread(target=witness.serve_forever, args=(0.01,), daemon=True).start()
    policy = data / "policy"
    policy.write_text(f"witness S {SUPERVISOR.key.vkey} http://127.0.0.1:{witness.server_port}\nquorum S\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealing, "LOOK", 0.02)
        asyncio.run(_fill(installation.ledger, policy, now))
    citizens = DevelopmentCitizens(
        data / "secrets" / "citizens.sha256", store.create(DEVELOPMENT_KEY, lambda: b"c" * 32), profile="development"
    )
    citizens.register(world.PEOPLE)
    principals = [Operator(), Authority(), *AGENCIES]
    known = Tokens(data / "secrets" / "tokens.sha256")
    known.provide(store, principals)
    for one in AGENCIES:
        store.create(f"kafka-{one.name}", password)
        store.create(f"account-{one.agency}", partial(Accounts().secret, one.agency))
    readers = Readers(installation.ledger_files, generation_key=world.GENERATION)
    shown = Histories(
        installation.ledger_files, readers, Service(), key=world.LEDGER_KEY, account_secret=Accounts().secret
    )
    app = FastAPI(openapi_url=None)
    problems.install(app)
    app.include_router(histories.router(shown, citizens, known), prefix="/v1")
    app.router.routes.extend(ledger_files.routes(readers, witnessed=True))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the interface ended before it served anything"
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    tokens = {one.name: store.get(token_secret(one)).decode() for one in principals}
    tokens |= {who.value: citizens.token(who) for who in world.PEOPLE}
    yield Running(installation, f"http://127.0.0.1:{port}", tokens, day_of(now) - 1)
    server.should_exit = True
    thread.join(20)
    readers.close()
    witness.shutdown()
    witness.server_close()


def test_a_person_is_told_that_they_were_shown_everything_and_who_vouches(running: Running) -> None:
    shown = running.ask("history", *running.vouched, number=world.CHILD.value)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("✓") == 3
    assert "lists 3 disclosures about you, and you were shown every one" in shown.stdout
    assert f"at most {UNLISTED} entries a day, over all people" in shown.stdout
    assert world.CHILD.value not in shown.output


def test_without_anybody_to_vouch_it_holds_and_is_not_the_whole_answer(running: Running) -> None:
    shown = running.ask("history", number=world.CHILD.value)
    assert shown.exit_code == 2
    assert "lists 3 disclosures" in shown.stdout
    assert "No witnesses were named" in shown.stderr
    assert "Nobody has checked that no entry was left out" in shown.stderr
    assert "give --vkey" in shown.stderr


def test_somebody_of_whom_nothing_is_listed_has_that_proved(running: Running) -> None:
    shown = running.ask("history", *running.vouched, number=world.PARTNER.value)
    assert shown.exit_code == 0, shown.output
    assert "lists nothing about you" in shown.stdout


def test_programs_get_one_document_and_the_file_is_kept_for_another_verifier(running: Running, tmp_path: Path) -> None:
    out = tmp_path / "history.json"
    shown = running.ask("history", *running.vouched, "--json", "--out", str(out), number=world.MOTHER.value)
    answer = json.loads(shown.stdout)
    assert (answer["complete"], answer["unlisted"], answer["failure"]) == (True, UNLISTED, None)
    assert sum(len(day["entries"]) for day in answer["days"]) == 3
    assert json.loads(out.read_bytes())["schema"] == "dienstenintegrator/history/v1"


def test_another_persons_history_is_refused_for_what_it_is(running: Running) -> None:
    keys = {key.name: key for key in (Verifier.from_text(one) for one in running.get("/ledger/keys").json()["logs"])}
    trusted = Trusted(keys)
    days = read_days(DirectorySource(running.installation.ledger / "public" / "epochs"), trusted)
    document = running.get("/v1/me/history", world.MOTHER.value).content
    assert len(judge_history(document, days, trusted, person=world.MOTHER).entries) == 3
    with pytest.raises(Tampered) as caught:
        judge_history(document, days, trusted, person=world.CHILD)
    assert caught.value.code == "label-signature"


def test_an_agency_finds_the_delivery_that_was_never_entered(running: Running) -> None:
    shown = running.ask("reconcile", "groeifonds", "--book", running.book(1, 2, 3, 4), *running.vouched, "--json")
    assert shown.exit_code == 1, shown.output
    answer = json.loads(shown.stdout)
    assert [(one["code"], one["where"].rpartition(" ")[2]) for one in answer["findings"]] == [("not-logged", "3")]
    assert answer["days"][date_of(running.yesterday).isoformat()] == 9
    assert answer["doubts"] == []


def test_an_agency_finds_an_entry_of_what_never_came_and_reads_it_in_a_table(running: Running) -> None:
    shown = running.ask("reconcile", "groeifonds", "--book", running.book(1, 2), *running.vouched)
    assert shown.exit_code == 1
    assert "invented" in shown.stdout
    assert "2 differences" in shown.stdout


def test_a_number_that_neither_side_has_is_a_gap(running: Running) -> None:
    shown = running.ask("reconcile", "groeifonds", "--book", running.book(1, 2, 4), *running.vouched, "--json")
    assert [one["code"] for one in json.loads(shown.stdout)["findings"]] == ["gap"]


def test_books_that_agree_are_exit_code_0_and_without_anybody_to_vouch_2(running: Running) -> None:
    arguments = ("reconcile", "svb", "--book", running.book())
    agreed = running.ask(*arguments, *running.vouched)
    assert agreed.exit_code == 0, agreed.output
    assert "they agree" in agreed.stdout
    assert running.ask(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("path", "who", "status", "code"),
    [
        ("/v1/me/history", "", 401, "not-authenticated"),
        ("/v1/me/history", "operator", 401, "not-authenticated"),
        ("/v1/me/history?first=2020-01-02&last=2020-01-01", world.CHILD.value, 400, "days"),
        ("/v1/me/history?last=2999-01-01", world.CHILD.value, 400, "days"),
        ("/v1/accounts/groeifonds", "operator", 403, "agency-only"),
        ("/v1/accounts/groeifonds", "agency-svb--nabestaanden", 403, "not-authorised"),
        ("/v1/accounts/svb", AGENCY.name, 403, "not-authorised"),
        ("/v1/dossier", "operator", 403, "supervisor-only"),
        ("/v1/dossier", AGENCY.name, 403, "supervisor-only"),
        ("/v1/dossier?last=2999-01-01", "supervisor", 400, "days"),
    ],
)
def test_nobody_is_given_what_is_anothers(running: Running, path: str, who: str, status: int, code: str) -> None:
    answer = running.get(path, who)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_an_agency_is_given_its_account_as_lines(running: Running) -> None:
    packed = running.get("/v1/accounts/groeifonds", AGENCY.name)
    assert packed.headers["content-type"] == "application/gzip"
    head, *lines = map(json.loads, world.unpacked([packed.content]))
    assert (head["schema"], head["recipient"]) == ("dienstenintegrator/account/v1", "groeifonds")
    assert sum("entry" in line for line in lines) == 9
    refused = running.get("/v1/accounts/groeifonds?last=2999-01-01", AGENCY.name)
    assert (refused.status_code, refused.json()["code"]) == (400, "days")


def test_the_supervisor_can_rebuild_every_list_from_the_dossier_and_account_for_every_entry(running: Running) -> None:
    packed = running.get("/v1/dossier", "supervisor")
    assert packed.headers["content-type"] == "application/gzip"
    lines = zlib.decompress(packed.content, wbits=31).splitlines(keepends=True)
    public = running.installation.ledger / "public"
    keys = {log.name: _key(running, log.name) for log in public.iterdir()}
    epochs = read_epoch_log(DirectorySource(public / "epochs"), keys["epochs"], trust=Trust(int(time.time())))
    logs = {
        key.name: Follower(DirectorySource(public / log), key, 2 if log.startswith("institution") else 1)
        for log, key in keys.items()
        if log != "epochs"
    }
    rules = Rules(Signer("supervisor.example/orders", b"o" * 32).verifier, UNLISTED)
    memory = Memory(epochs.origin)
    days = check_dossier(Dossier(lines), epochs, logs=logs, memory=memory, rules=rules)
    (found,) = [one for one in days if one.epoch == running.yesterday]
    assert (found.listed, found.padding, found.withheld) == (9, UNLISTED, 0)


def _key(running: Running, log: str) -> Verifier:
    return Verifier.from_text((running.installation.ledger / f"{log}.vkey").read_text().strip())


def test_an_agency_without_credentials_here_is_said_in_a_sentence(running: Running) -> None:
    shown = running.ask("reconcile", "nobody", *running.vouched)
    assert shown.exit_code == 1
    assert "no credentials of 'nobody'" in shown.stderr
