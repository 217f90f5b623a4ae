"""Holds the order of an apply: what documents need of the broker comes before them, what they end goes after them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from integrator.directory.documents import Rejected, Stated
from integrator.directory.manifests import load
from integrator.directory.memory import MemoryDirectory
from integrator.directory.plan import Plan
from integrator.directory.writer import Applied
from integrator.domain.authorisation import Authorisation
from integrator.domain.contract import Contract
from integrator.domain.errors import Refused
from integrator.domain.identifiers import Position
from integrator.http.identity import Tokens
from integrator.kafka.access import Access, AccessPlan
from integrator.kafka.topics import TopicPlan, TopicState
from integrator.operation import provisioning
from integrator.operation.orders import Orders
from integrator.operation.provisioned import ProvisionedWriter
from integrator.operation.provisioning import needs, needs_of
from integrator.operation.settings import Installation, read_settings
from integrator_audit import Signer
from integrator_audit.completeness.unlisted import Order

REPOSITORY = Path(__file__).parents[3]
SVB = "agency-svb--dubbele-kinderbijslag"


class Broker:
    """Topics and rules, and in which order they and the records came."""

    def __init__(self) -> None:
        self.topics: dict[str, TopicState] = {}
        self.users: set[str] = set()
        self.rules: dict[str, set[Any]] = {}
        self.story: list[str] = []

    async def read_topics(self, *_: object) -> dict[str, TopicState]:
        return dict(self.topics)

    async def read_access(self, *_: object) -> Access:
        return Access(frozenset(self.users), {user: frozenset(rules) for user, rules in self.rules.items() if rules})

    async def apply_topics(self, _: object, plan: TopicPlan, **__: object) -> None:
        self.topics |= {spec.name: TopicState("id", spec.partitions, dict(spec.config)) for spec in plan.create}

    async def apply_access(self, _: object, plan: AccessPlan, __: object) -> None:
        self.users.update(plan.users)
        for user, rule in plan.allow:
            self.rules.setdefault(user, set()).add(rule)
        for user, rule in plan.withdraw:
            self.rules[user].discard(rule)
        self.story += [f"allow {user}" for user, _ in plan.allow] + [f"withdraw {user}" for user, _ in plan.withdraw]


class Writer:
    """The directory's writer, as far as the order of things goes."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.error: Exception | None = None

    async def plan(self, _: object) -> Plan:
        return Plan(0, (), ())

    async def apply(self, _: object, *, based_on: int | None) -> Applied:
        if self.error is not None:
            raise self.error
        self.broker.story.append(f"records {based_on}")
        return Applied(Position(1), ())


SUPERVISOR = Signer("supervisor.example/orders", b"o" * 32)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker()
    for name in ("read_topics", "read_access", "apply_topics", "apply_access"):
        monkeypatch.setattr(provisioning, name, getattr(made, name))
    return made


def demo() -> list[Stated]:
    return list(load([REPOSITORY / "schemas", REPOSITORY / "integrator/demo/manifests"]).documents)


def ended(state: str) -> list[Stated]:
    """The authorisation of the care indications, in another state."""

    def change(stated: Stated) -> Stated:
        document = stated.document
        if not isinstance(document, Authorisation) or document.id != "s4-svb-zorgindicatie":
            return stated
        return Stated(document.model_copy(update={"state": state, "version": 2}))

    return [change(one) for one in demo()]


def writer_over(broker: Broker, data: Path) -> tuple[ProvisionedWriter, Writer]:
    installation = Installation.create(data, read_settings({"bootstrap": "127.0.0.1:9"}, ""))
    writer = Writer(broker)
    tokens = Tokens(data / "secrets" / "tokens.sha256")
    orders = Orders(SUPERVISOR.verifier)
    made = ProvisionedWriter(installation, cast("Any", writer), cast("Any", MemoryDirectory()), tokens, orders)
    return made, writer


@pytest.mark.parametrize("state", ["revoked", "suspended"])
async def test_rules_come_before_the_records_and_go_after_them(broker: Broker, tmp_path: Path, state: str) -> None:
    provisioned, _ = writer_over(broker, tmp_path)
    await provisioned.apply(demo())
    assert broker.story.index(f"allow {SVB}") < broker.story.index("records None")
    broker.story.clear()
    await provisioned.apply(ended(state), based_on=7)
    assert broker.story == ["records 7", f"withdraw {SVB}", f"withdraw {SVB}"]
    assert broker.rules[SVB] == set()


async def test_records_that_are_refused_take_nothing_away(broker: Broker, tmp_path: Path) -> None:
    provisioned, writer = writer_over(broker, tmp_path)
    await provisioned.apply(demo())
    rules = set(broker.rules[SVB])
    writer.error = Refused("stale", "The directory has changed.")
    with pytest.raises(Refused):
        await provisioned.apply(ended("revoked"))
    assert broker.rules[SVB] == rules


def ordered(note: str, **change: Any) -> list[Stated]:
    """The authorisation of the care indications, with an order to withhold."""
    (stated,) = [one for one in demo() if getattr(one.document, "id", "") == "s4-svb-zorgindicatie"]
    assert isinstance(stated.document, Authorisation)
    return [Stated(stated.document.model_copy(update={"order": note, "version": 2} | change))]


def order(*, agency: str = "svb", signer: Signer = SUPERVISOR, first: int = -10, last: int = 10) -> str:
    today = datetime.now(UTC).date()
    days = (today + timedelta(days=first), today + timedelta(days=last))
    return Order("case-7", agency, *days).sign(signer).decode()


@pytest.mark.parametrize(
    ("note", "code"),
    [
        (order(), None),
        (order(agency="duo"), "order-other"),
        (order(signer=Signer("supervisor.example/orders", b"x" * 32)), "order-signature"),
        (order(first=-20, last=-1), "order-over"),
        ("a text that nobody signed", "order-malformed"),
    ],
)
async def test_an_order_to_withhold_is_checked_before_anything_is_applied(
    broker: Broker, tmp_path: Path, note: str, code: str | None
) -> None:
    provisioned, _ = writer_over(broker, tmp_path)
    found = await provisioned.plan(ordered(note))
    assert [(one.code, one.path) for one in found.problems] == ([] if code is None else [(code, "order")])
    if code is not None:
        with pytest.raises(Rejected):
            await provisioned.apply(ordered(note))
        assert broker.story == []


async def test_an_authorisation_whose_order_is_over_can_still_be_revoked(broker: Broker, tmp_path: Path) -> None:
    provisioned, _ = writer_over(broker, tmp_path)
    assert not (await provisioned.plan(ordered(order(first=-20, last=-1), state="revoked"))).problems


def test_where_there_is_no_supervisor_nobody_can_order_anything() -> None:
    (wrong,) = Orders(None).problems(ordered(order()), today=datetime.now(UTC).date())
    assert wrong.code == "order-nobody"


def test_a_suspended_authorisation_keeps_its_topic_and_gives_no_rules() -> None:
    documents = [one.document for one in ended("suspended")]
    contracts = [one for one in documents if isinstance(one, Contract)]
    found = needs(contracts, [one for one in documents if isinstance(one, Authorisation)], lanes=4)
    assert "agency.svb.dubbele-kinderbijslag.ciz.wlz-indication" in {spec.name for spec in found.topics}
    assert SVB not in {spec.principal for spec in found.access}
    with MemoryDirectory().read() as view:
        assert needs_of(view.knowledge, [*contracts], lanes=4).access
