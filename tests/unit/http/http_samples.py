"""A small world in memory for the tests of the HTTP room: one stream, two agencies, one permission that is in force."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from integrator.directory.documents import Rejected, Stated
from integrator.directory.plan import Change, Plan
from integrator.directory.writer import Applied
from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract
from integrator.domain.directory import Knowledge, RegisteredSchema, StandingAuthorisation, StandingInscription
from integrator.domain.errors import Refused, Unavailable
from integrator.domain.identifiers import Position, Pseudonym
from integrator.domain.purpose import Source
from integrator.http.app import Ports, create_app
from integrator.http.identity import AgencyFor, Operator, Principal
from integrator.http.ports import LedgerCare, LedgerHead, StreamLag
from integrator.kafka.refusals import Refusal

TEXTS = {"nl": "x", "fr": "x", "en": "x"}
SCHEMA = {
    "type": "record",
    "name": "Grant",
    "namespace": "nl.demo",
    "fields": [
        {"name": "kind", "type": "string"},
        {"name": "bsn", "type": "string"},
        {"name": "grantId", "type": "string"},
        {"name": "amount", "type": ["null", {"type": "record", "name": "Amount", "fields": [
            {"name": "cents", "type": "long"}]}], "default": None},
    ],
}  # fmt: skip
PROJECTED = {**SCHEMA, "fields": SCHEMA["fields"][1:3]}  # type: ignore[index]  # a literal of mixed types

CONTRACT = Contract.model_validate(
    {
        "stream": "demo/grant", "version": 1, "title": TEXTS, "description": TEXTS, "owner": "owner",
        "eventType": "nl.demo.grant.changed", "service": "nl.demo.grant.v1", "timeZone": "Europe/Amsterdam",
        "state": "none", "retention": "P7D", "compatibility": "FULL_TRANSITIVE", "partitions": 4, "modelled": True,
        "serviceLevel": {"availability": "x", "latency": "x", "support": "x"},
        "roles": {"subject": {"path": "bsn", "schemes": ["bsn", "test"]}, "factId": {"path": "grantId"},
                  "kind": "kind"},
        "fields": {"bsn": {"category": "identifier", "description": TEXTS}},
        "schemas": [json.dumps(SCHEMA)],
    }
)  # fmt: skip


def authorisation(**members: Any) -> Authorisation:
    return Authorisation.model_validate(
        {
            "id": "a1", "version": 1, "agency": "svb", "stream": "demo/grant", "purpose": "aow", "purposeVersion": 1,
            "route": "decree",
            "citations": [{"country": "NL", "act": "Demo", "article": "1", "inForceFrom": "2020-01-01"}],
            "modes": ["mutation"], "fields": ["bsn"], "kinds": ["created"], "population": [{"population": "all"}],
            "protectedAddress": "deliver", "payload": "event", "proactivity": "inform",
            "period": {"start": "2020-01-01"}, "retention": "P1Y", "dpia": "demo",
        }
        | members
    )  # fmt: skip


def knowledge(*, active: bool = True) -> Knowledge:
    return Knowledge(
        version=7,
        sources={
            "demo": Source.model_validate(
                {"name": "demo", "title": TEXTS, "urn": "urn:nld:oin:1:systeem:demo", "modelled": True}
            )
        },
        contracts={"demo/grant": CONTRACT},
        standing={"demo/grant": (StandingAuthorisation(authorisation(), Position(5), active=active),)},
        schemas={
            1: RegisteredSchema(1, "source.demo.grant-value", 1, json.dumps(SCHEMA)),
            2: RegisteredSchema(2, "agency.svb.aow.demo.grant-value", 1, json.dumps(PROJECTED)),
        },
        dates={"Europe/Amsterdam": date(2026, 1, 2)},
    )


@dataclass(frozen=True, slots=True)
class View:
    position: Position
    knowledge: Knowledge

    def inscriptions(self, people: Sequence[Pseudonym]) -> list[tuple[StandingInscription, ...]]:
        return [() for _ in people]


CHANGE = Change("create", "agency", "svb", 1, "a new agency")


@dataclass
class World:
    """Every port of the interface, judging what is asked of it."""

    knowledge: Knowledge = field(default_factory=knowledge)
    refused: list[Refusal] = field(default_factory=list[Refusal])
    broken: bool = False
    """The refusals' sink is away."""
    applied: list[Stated] = field(default_factory=list[Stated])
    waited_for: Position | None = None
    refuse: Exception | None = None
    """What the writer raises."""

    @contextmanager
    def read(self) -> Generator[View]:
        yield View(Position(9), self.knowledge)

    async def record(self, refusal: Refusal) -> None:
        if self.broken:
            raise Unavailable("kafka-unreachable", "Kafka does not answer.")
        self.refused.append(refusal)

    async def heads(self) -> list[LedgerHead]:
        return [LedgerHead("demo.integrator.example/ledger/demo/s0-2026h2", 3, "cm9vdA==")]

    async def care(self) -> LedgerCare:
        return LedgerCare(witnessed=False, sealed="2026-11-23", waiting=1, problem="label-service", set_aside=2)

    async def lag(self) -> list[StreamLag]:
        return [StreamLag("demo/grant", 2)]

    async def wait_for(self, position: Position) -> None:
        self.waited_for = position

    async def plan(self, documents: Sequence[Stated]) -> Plan:
        problems = self.refuse.problems if isinstance(self.refuse, Rejected) else ()
        return Plan(7, () if problems else (CHANGE,), problems)

    async def apply(self, documents: Sequence[Stated], *, based_on: int | None = None) -> Applied:
        if self.refuse is not None:
            raise self.refuse
        if based_on not in (None, 7):
            raise Refused("stale", "Plan again.")
        self.applied.extend(documents)
        return Applied(Position(10), (CHANGE,))

    def identify(self, token: str) -> Principal | None:
        known: dict[str, Principal] = {
            "operator": Operator(),
            "svb-aow": AgencyFor("svb", "aow"),
            "duo-aow": AgencyFor("duo", "aow"),
        }
        return known.get(token)

    def ports(self) -> Ports:
        return Ports(
            directories=self,
            writer=self,
            identities=self,
            refusals=self,
            watch=self,
            profile="development",
            installation="demo",
        )

    def client(self) -> TestClient:
        return TestClient(create_app(self.ports()))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


REPOSITORY = Path(__file__).resolve().parents[3]
