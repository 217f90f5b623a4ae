"""Holds that plans of topics and access do what is missing, change nothing twice, and never a number of partitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrator.domain import topics as names
from integrator.kafka import access
from integrator.kafka.access import Access, AccessSpec, Acl, plan_access
from integrator.kafka.topics import TopicConflict, TopicSpec, TopicState, internal_topics, plan_topics, stream_topic

SPECS = st.builds(
    TopicSpec,
    st.sampled_from(["a", "b", "c"]),
    st.integers(1, 3),
    st.dictionaries(st.sampled_from(["retention.ms", "cleanup.policy"]), st.sampled_from(["1", "2"])),
)
STATES = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.builds(
        TopicState,
        st.just("id"),
        st.integers(1, 3),
        st.dictionaries(st.sampled_from(["retention.ms", "cleanup.policy", "other"]), st.sampled_from(["1", "2"])),
    ),
)


@given(st.lists(SPECS, unique_by=lambda spec: spec.name), STATES)
def test_carrying_a_plan_out_leaves_only_its_conflicts(want: list[TopicSpec], have: dict[str, TopicState]) -> None:
    plan = plan_topics(want, have)
    after = dict(have)
    for spec in plan.create:
        assert spec.name not in have
        after[spec.name] = TopicState("new", spec.partitions, spec.config)
    for change in plan.alter:
        state = have[change.spec.name]
        assert all(state.config.get(name) == before for name, (before, _) in change.settings.items())
        config = {**state.config, **{name: value for name, (_, value) in change.settings.items()}}
        after[change.spec.name] = TopicState(state.id, state.partitions, config)
    assert plan_topics(want, after) == type(plan)(conflicts=plan.conflicts)
    assert {name: state.partitions for name, state in after.items() if name in have} == {
        name: state.partitions for name, state in have.items()
    }


def test_another_number_of_partitions_is_a_conflict_and_not_a_change() -> None:
    plan = plan_topics([TopicSpec("a", 4, {"retention.ms": "1"})], {"a": TopicState("id", 8, {})})
    assert plan.conflicts == (TopicConflict("a", have=8, want=4),)
    assert not plan.create
    assert not plan.alter


def test_the_topics_of_the_integrator_are_those_of_the_design() -> None:
    made = {spec.name: spec for spec in internal_topics(4)}
    assert {name: spec.partitions for name, spec in made.items()} == {
        names.DIRECTORY: 1,
        names.REQUESTS: 5,
        names.LANES: 4,
        names.STEPS: 4,
        names.DISCLOSURES: 4,
        names.QUARANTINE: 4,
    }
    compacted = {name for name, spec in made.items() if spec.config["cleanup.policy"] == "compact"}
    assert compacted == {names.DIRECTORY, names.LANES}
    assert made[names.LANES].config["segment.bytes"] == "1048576"
    for name in (names.STEPS, names.DISCLOSURES, names.QUARANTINE):
        assert made[name].config["retention.ms"] == "-1", name
    assert made[names.DISCLOSURES].config["segment.ms"] == str(24 * 60 * 60 * 1000), "what is deleted leaves the disk"


def test_a_stream_keeps_facts_or_keeps_records_for_a_while() -> None:
    facts = stream_topic("brp", "person", partitions=8, state="fact", retention_ms=1000)
    assert facts.config == {"cleanup.policy": "compact"}
    records = stream_topic("brp", "person", partitions=8, state="none", retention_ms=1000)
    assert records.config == {"cleanup.policy": "delete", "retention.ms": "1000"}
    assert records.name == "source.brp.person"


ACLS = st.frozensets(
    st.builds(Acl, st.sampled_from(["topic", "group"]), st.sampled_from(["x", "y"]), st.sampled_from(["read", "write"]))
)
PRINCIPALS = st.sampled_from(["one", "two", "three"])


@given(
    st.lists(st.builds(AccessSpec, PRINCIPALS, ACLS), unique_by=lambda spec: spec.principal),
    st.builds(Access, st.frozensets(PRINCIPALS), st.dictionaries(PRINCIPALS, ACLS)),
)
def test_carrying_an_access_plan_out_gives_exactly_the_specs(want: list[AccessSpec], have: Access) -> None:
    plan = plan_access(want, have)
    after = {name: set(acls) for name, acls in have.acls.items()}
    for principal, acl in plan.withdraw:
        after[principal].remove(acl)
    for principal, acl in plan.allow:
        assert acl not in after.setdefault(principal, set())
        after[principal].add(acl)
    for spec in want:
        assert after.get(spec.principal, set()) == spec.acls
    stated = {spec.principal for spec in want}
    for name, acls in have.acls.items():
        assert name in stated or after[name] == acls
    assert set(plan.users) == {spec.principal for spec in want if spec.acls} - have.users
    assert stated >= set(plan.users)


EVERYBODY = [*access.integrator_access(["brp", "ciz"]), access.source_access("brp"), access.agency_access("svb", "kb")]


def test_an_agency_may_read_and_nothing_else() -> None:
    agency = access.agency_access("svb", "kb")
    assert agency.principal == "agency-svb--kb"
    assert {acl.operation for acl in agency.acls} == {"read"}
    assert {acl.name for acl in agency.acls} == {"agency.svb.kb."}


@pytest.mark.parametrize("spec", EVERYBODY, ids=lambda spec: spec.principal)
def test_every_prefix_ends_in_a_dot_and_only_describing_is_allowed_for_all(spec: AccessSpec) -> None:
    for acl in spec.acls:
        assert (acl.pattern == "prefixed") == acl.name.endswith("."), acl
        assert acl.name != "*" or acl.operation == "describe", acl


def test_one_principal_each_writes_the_directory_the_lanes_and_the_deliveries() -> None:
    def writers(name: str) -> set[str]:
        return {
            spec.principal
            for spec in EVERYBODY
            for acl in spec.acls
            if acl.operation == "write"
            and acl.permission == "allow"
            and acl.resource == "topic"
            and (acl.name == name or (acl.pattern == "prefixed" and name.startswith(acl.name)))
            and Acl("topic", name, "write", permission="deny") not in spec.acls
        }

    assert writers(names.DIRECTORY) == {access.DIRECTORY}
    assert writers("agency.svb.kb.brp.person") == {access.LANES}
    assert writers(names.receipts_topic("brp")) == {access.LANES}
    assert writers(names.source_topic("brp", "person")) == {"source-brp"}
    assert writers(names.REQUESTS) == {access.LANES, access.DIRECTORY, access.API}
    for name in (names.LANES, names.STEPS, names.DISCLOSURES, names.QUARANTINE):
        assert writers(name) == {access.LANES}, name


def test_a_locked_user_may_do_nothing() -> None:
    assert access.locked("agency-svb--kb").acls == frozenset()


def test_an_agency_that_is_named_no_more_loses_its_rules_and_nobody_else_does() -> None:
    kept, gone = access.agency_access("svb", "kb"), access.agency_access("svb", "aow")
    rule = frozenset({Acl("topic", "x", "read")})
    have = Access(
        frozenset({kept.principal, gone.principal}),
        {kept.principal: kept.acls, gone.principal: gone.acls, "source-brp": rule, "agency-other": rule, "bob": rule},
    )
    plan = plan_access([kept, *access.abandoned_agencies([kept], have)], have)
    assert plan.withdraw == tuple(sorted((gone.principal, acl) for acl in gone.acls))
    assert not plan.allow
    assert not plan.users
