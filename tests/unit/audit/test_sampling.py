from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest

from integrator_audit.completeness.dossier import Dossier
from integrator_audit.completeness.labels import DAY, label_of, label_secret, signed_input
from integrator_audit.completeness.memory import Memory
from integrator_audit.completeness.sampling import Sampled, check_sample, draw_sample, read_sample
from integrator_audit.encoding import to_base64
from integrator_audit.errors import Invalid, Tampered, Unavailable
from tests.unit.audit.label_samples import certificate, label_signer
from tests.unit.audit.lying.catching import ANN, BOB, ordinary
from tests.unit.audit.lying.operator import EPOCHS, Document, Operator, Plan
from tests.unit.audit.lying.verifiers import cosigned, epochs_of
from tests.unit.audit.schema_check import breaches, schema

Lines = list[Document]


def answered(operator: Operator, *, first: int = 0, last: int | None = None, count: int = 1_000) -> Lines:
    """Return a sample with what honest recipients and the label service answered."""
    epochs = epochs_of(operator)
    last = epochs.newest if last is None else last
    drawn = draw_sample(epochs, first, last, count=count, random=random.Random(3).randrange)
    head, *lines = map(json.loads, drawn)
    roots = [to_base64(root) for root in certificate()]
    head["keys"] = [{"period": 0, "spki": to_base64(label_signer().spki), "certificate": roots}]
    for line in lines:
        number = operator.at((line["shard"], line["index"])).number
        line["people"] = [] if number is None else [person(operator, number)]
    rules = schema("sample.v1")
    assert not [breach for line in (head, *lines) for breach in breaches(line, rules, rules)]
    return [head, *lines]


def person(operator: Operator, number: str) -> Document:
    return {"number": number, "y": to_base64(operator.y(number, 0))}


def checked(operator: Operator, lines: Lines, dossier: Lines | None = None, memory: Memory | None = None) -> Sampled:
    if memory is None:
        memory = Memory(EPOCHS, random=bytes)
        cosigned(operator, memory)
    given = (json.dumps(line).encode() for line in (operator.dossier() if dossier is None else dossier))
    sample = read_sample(json.dumps(line).encode() for line in lines)
    return check_sample(sample, Dossier(given), epochs_of(operator), memory)


@pytest.fixture(scope="module")
def honest() -> Operator:
    return ordinary()


def test_an_honest_ledger_lists_all_that_is_drawn_under_its_person(honest: Operator) -> None:
    result = checked(honest, answered(honest))
    assert (result.attributed, result.unlisted, result.unanswered, result.findings) == (21, 12, 0, ())
    lines = answered(honest, first=1, last=1, count=5)
    assert {line["day"] for line in lines[1:]} == {1}
    result = checked(honest, lines)
    assert result.attributed + result.unlisted == 5


def test_what_is_not_answered_is_counted(honest: Operator) -> None:
    lines = answered(honest)
    listed = [line for line in lines[1:] if line["people"]]
    listed[0]["people"] = []
    del listed[1]["people"]
    result = checked(honest, lines)
    assert (result.attributed, result.unlisted, result.unanswered, result.findings) == (19, 12, 2, ())


@pytest.mark.parametrize("phantom", [True, False])
def test_an_entry_under_a_phantom_or_another_person_is_found(phantom: bool) -> None:
    def moved(plan: Plan) -> None:
        places = plan.persons.pop(ANN)
        if phantom:
            plan.phantoms[b"\x07" * 32] = places
        else:
            plan.persons[BOB] = sorted([*plan.persons[BOB], *places])

    operator = Operator()
    operator.lie = moved
    ordinary(operator, count=1)
    result = checked(operator, answered(operator))
    anns = sorted(kept.place for kept in operator.kept(0) if kept.number == ANN)
    assert [(one.code, one.where) for one in result.findings] == [
        ("attribution-other", f"2000-01-01, shard {shard}, entry {index}") for shard, index in anns
    ]
    assert result.attributed == 7 - len(anns)
    # Of a delivery about several persons the entry is one of theirs.
    lines = answered(operator)
    for line in lines[1:]:
        line["people"] += [person(operator, BOB)] if line["people"] else []
    assert bool(checked(operator, lines).findings) == phantom


def test_a_signature_that_is_not_of_the_number_is_found(honest: Operator) -> None:
    lines = answered(honest)
    line = next(line for line in lines[1:] if line["people"])
    line["people"][0]["y"] = to_base64(honest.y("bsn:1", 0) if line["people"][0]["number"] != "bsn:1" else bytes(384))
    (finding,) = checked(honest, lines).findings
    assert finding.code == "label-signature"
    assert line["people"][0]["number"] not in finding.message + finding.where


def test_a_phantom_with_a_key_of_its_own_is_found() -> None:
    other = label_signer(1)
    y = other.sign(signed_input(0, ANN))

    def signed(plan: Plan) -> None:
        plan.phantoms[label_of(label_secret(y), DAY, plan.epoch)] = plan.persons.pop(ANN)

    operator = Operator()
    operator.lie = signed
    ordinary(operator, count=1)
    lines = answered(operator)
    roots = [to_base64(root) for root in certificate(1)]
    lines[0]["keys"] = [{"period": 0, "spki": to_base64(other.spki), "certificate": roots}]
    with pytest.raises(Tampered) as caught:
        checked(operator, lines)
    assert caught.value.code == "label-key-other"
    lines[0]["keys"][0]["certificate"] = [to_base64(root) for root in certificate(0)]
    with pytest.raises(Tampered) as caught:
        checked(operator, lines)
    assert caught.value.code == "label-key-certificate"


def first_row(lines: Lines) -> int:
    return next(at for at, line in enumerate(lines) if line.get("trie") == "persons")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda lines: lines[: first_row(lines)] + lines[first_row(lines) + 1 :], "trie-root"),
        (lambda lines: lines[: first_row(lines) + 1] + lines[first_row(lines) :], "trie-order"),
        (lambda lines: lines[:1], "dossier-order"),
    ],
)
def test_a_dossier_that_is_not_what_was_sealed_proves_nothing(
    honest: Operator, change: Callable[[Lines], Lines], code: str
) -> None:
    with pytest.raises(Tampered) as caught:
        checked(honest, answered(honest), change(honest.dossier()))
    assert caught.value.code == code


def test_a_sample_is_of_days_that_the_cosigner_checked(honest: Operator) -> None:
    lines = answered(honest)
    for given, memory, code in [
        (lines, Memory(EPOCHS, random=bytes), "sample-days"),
        ([lines[0] | {"origin": "elsewhere.example/epochs"}, *lines[1:]], None, "sample-other"),
        ([*lines, {"day": 0, "shard": 0, "index": 999}], None, "sample-days"),
        ([*lines, {"day": 3, "shard": 0, "index": 0}], None, "sample-days"),
        ([lines[0] | {"keys": []}, *lines[1:]], None, "sample-keys"),
    ]:
        with pytest.raises(Invalid) as caught:
            checked(honest, given, memory=memory)
        assert caught.value.code == code
    other = Memory(EPOCHS, random=bytes)
    cosigned(ordinary(unlisted=8), other)
    with pytest.raises(Tampered) as forked:
        checked(honest, lines, memory=other)
    assert forked.value.code == "fork"


def test_a_day_whose_lists_were_erased_cannot_be_sampled_any_more(honest: Operator) -> None:
    lines = honest.dossier()
    at = first_row(lines)
    erased = {"trie": "persons", "label": lines[at]["label"], "hL": lines[at]["salt"], "ground": "order"}
    with pytest.raises(Unavailable) as caught:
        checked(honest, answered(honest), [*lines[:at], erased, *lines[at + 1 :]])
    assert caught.value.code == "dossier-erased"


def test_only_days_with_entries_are_drawn_from(honest: Operator) -> None:
    epochs = epochs_of(honest)
    for first, last in ((2, 1), (0, 3), (-1, 0)):
        with pytest.raises(Invalid) as caught:
            list(draw_sample(epochs, first, last, count=1, random=random.Random(1).randrange))
        assert caught.value.code == "sample-days"


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b'{"day":0,"shard":0}',
        b'{"day":0,"shard":0,"index":-1}',
        b'{"day":0,"shard":0,"index":1,"people":[{"number":"123456782","y":"' + b"A" * 512 + b'"}]}',
        b'{"day":0,"shard":0,"index":1,"people":[{"number":"bsn:123456782","y":"AAAA"}]}',
        b'{"day":0,"shard":0,"index":1,"name":"x"}',
    ],
)
def test_a_line_of_a_sample_that_cannot_be_read_is_named_and_not_repeated(line: bytes) -> None:
    head = b'{"schema":"dienstenintegrator/sample/v1","origin":"o","keys":[]}'
    with pytest.raises(Invalid) as caught:
        read_sample([head, b"\n", line])
    assert caught.value.code == "sample-line"
    assert "line 3" in caught.value.message
    assert "123456782" not in caught.value.message
    with pytest.raises(Invalid) as caught:
        read_sample([head])
    assert caught.value.code == "sample-line"
