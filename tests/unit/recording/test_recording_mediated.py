"""Plays the secret address: nothing that the parents of a protected child may see tells which municipality knows."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from integrator.domain.directory import Knowledge
from integrator.domain.identifiers import SubjectRef
from integrator.domain.pseudonyms import pseudonym
from integrator.domain.purpose import Agency, Purpose
from integrator.domain.topics import partition_of
from integrator.encoding import encode, frame, parse_schema
from integrator.recording.disclosures import DisclosureRecorder
from integrator.recording.openings import Openings, ShownDisclosure
from integrator.routing.ports import SourceBatch, SourceRecord
from integrator.routing.reference import PythonEngine
from integrator_audit import LedgerReader, Vault
from tests.unit.recording import recording_samples as world
from tests.unit.routing import samples
from tests.unit.routing.test_engine import HEADERS, Sequences, pairwise

CHILD, MOTHER, FATHER = (samples.person(f"10000000000{number}") for number in (1, 2, 3))
PLACE = "aldeburgh"
TELLTALES = (PLACE, "0518", "Voorhout", "2514EH")
"""What would lead to the child: the municipality by name, its code, and the address."""


def knowledge() -> Knowledge:
    members = {"identifier": "oin:1", "sector": "municipality", "modelled": True}
    recipient_class = {"recipientClass": world.texts("municipality")}
    agency = {"name": f"gemeente-{PLACE}", "title": world.texts(f"Municipality of {PLACE}")}
    purpose = {"name": "child-benefit", "version": 2, "activity": "urn:a:1", "legalGround": "6(1)(e)"}
    titles = {"title": world.texts("youth care"), "description": world.texts("to help")}
    return samples.knowledge(
        samples.authorisation(
            id=f"{PLACE}-youth-care", agency=f"gemeente-{PLACE}", fields=["bsn", "parents.bsn", "address"]
        ),
        agencies={agency["name"]: Agency.model_validate(agency | recipient_class | members)},
        purposes={("child-benefit", 2): Purpose.model_validate(purpose | titles)},
    )


def delivered(known: Knowledge, *, shielded: bool) -> list[bytes]:
    """The disclosure records of one change of the child's record, as a lane writes them."""
    parents = [{"bsn": who.value, "name": None} for who in (MOTHER, FATHER)]
    value = samples.value(bsn=CHILD.value, parents=parents, shielded=shielded)
    body = frame(1, encode(parse_schema(json.dumps(samples.SCHEMA)), value))
    record = SourceRecord(0, 1_795_000_000_000, f"test:{CHILD.value}|person".encode(), body, HEADERS)
    partition = partition_of(CHILD, 4)
    engine = PythonEngine(
        pairwise,
        directory_key=samples.DIRECTORY_KEY,
        ledger_key=world.LEDGER_KEY,
        identities=world.IDENTITIES,
    )
    batch = SourceBatch(samples.STREAM, samples.TOPIC, partition, 4, (record,), 1)
    output = engine.process(batch, samples.View(known), Sequences(), lane=1, at=1_795_000_000_000)
    return list(output.disclosures)


@dataclass
class Scene:
    """A ledger in which one event about the child is entered for each of the three."""

    openings: Openings
    reader: LedgerReader

    def seen(self, who: SubjectRef) -> ShownDisclosure:
        (shown,) = self.openings.page(who, after=None, limit=10).disclosures
        return shown

    def part(self, who: SubjectRef, letter: str) -> dict[str, Any]:
        (index,) = self.reader.indices_of(pseudonym(world.LEDGER_KEY, "ledger", who))
        opened: Any = self.reader.opening(index, letter)[letter]
        return json.loads(base64.b64decode(opened["bytes"]))


def scene(root: Path, *, shielded: bool) -> Iterator[Scene]:
    known = knowledge()
    (record,) = delivered(known, shielded=shielded)
    with world.ledger_at(root) as ledger:
        ledger.append(DisclosureRecorder().read(world.record(record, 0)).make(known))
    vault = Vault.read_only(world.files_at(root).persons, world.GENERATION)
    reader = LedgerReader.open(world.files_at(root).store("s0-2026h2"), vault=vault)
    yield Scene(Openings(lambda: [("2026h2", [reader])], world.StillDirectory(known), key=world.LEDGER_KEY), reader)
    reader.close()
    vault.close()


@pytest.fixture
def secret(tmp_path: Path) -> Iterator[Scene]:
    yield from scene(tmp_path, shielded=True)


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Scene]:
    yield from scene(tmp_path, shielded=False)


@pytest.mark.parametrize("parent", [MOTHER, FATHER], ids=["mother", "father"])
def test_a_parent_of_a_child_with_a_secret_address_is_not_told_which_municipality_knows(
    secret: Scene, parent: SubjectRef
) -> None:
    shown = secret.seen(parent)
    assert (shown.recipient.name, shown.under) == ("municipality", None)
    assert shown.recipient.title is not None
    assert shown.recipient.title.en == "municipality"
    everything = repr(shown) + json.dumps([secret.part(parent, letter) for letter in "AS"])
    assert not [word for word in TELLTALES if word in everything]


def test_the_protected_child_is_told_exactly(secret: Scene) -> None:
    shown = secret.seen(CHILD)
    assert (shown.recipient.name, shown.under) == (f"gemeente-{PLACE}", (f"{PLACE}-youth-care", 1))


def test_who_may_know_finds_the_recipient_in_part_d(secret: Scene) -> None:
    delivery = secret.part(MOTHER, "D")
    assert list(delivery)[-3:] == ["recipient", "authorisation", "version"]
    assert (delivery["recipient"], delivery["authorisation"]) == (f"gemeente-{PLACE}", f"{PLACE}-youth-care")
    assert "recipient" not in secret.part(CHILD, "D")


def test_no_public_statement_of_the_log_about_others_tells_the_municipality(secret: Scene) -> None:
    # Part A is what public aggregates are made of. Of three entries only the child's own names the agency.
    statements = [json.loads(base64.b64decode(secret.reader.opening(index, "A")["A"]["bytes"])) for index in range(3)]  # type: ignore[index]
    naming = [one for one in statements if any(word in json.dumps(one) for word in TELLTALES)]
    assert len(naming) == 1
    assert naming[0]["schema"] == "dienstenintegrator/accountability/v1"


def test_where_nobody_is_protected_parents_are_told_exactly(known: Scene) -> None:
    assert {known.seen(who).recipient.name for who in (CHILD, MOTHER, FATHER)} == {f"gemeente-{PLACE}"}
    assert known.part(MOTHER, "A")["authorisation"] == f"{PLACE}-youth-care"


def test_a_title_of_a_class_is_shown_only_where_all_in_it_share_it(tmp_path: Path) -> None:
    known = knowledge()
    other = Agency.model_validate(
        {
            "name": "gemeente-b",
            "title": world.texts("Municipality of B"),
            "identifier": "oin:2",
            "sector": "municipality",
            "modelled": True,
            "recipientClass": world.texts("The municipality of B"),
        }
    )
    with world.ledger_at(tmp_path) as ledger:
        ledger.append(DisclosureRecorder().read(world.record(delivered(known, shielded=True)[0], 0)).make(known))
    vault = Vault.read_only(world.files_at(tmp_path).persons, world.GENERATION)
    reader = LedgerReader.open(world.files_at(tmp_path).store("s0-2026h2"), vault=vault)
    two = Knowledge(version=61, agencies={**known.agencies, other.name: other}, contracts=known.contracts)
    openings = Openings(lambda: [("2026h2", [reader])], world.StillDirectory(two), key=world.LEDGER_KEY)
    (shown,) = openings.page(MOTHER, after=None, limit=10).disclosures
    assert (shown.recipient.name, shown.recipient.title) == ("municipality", None)
    reader.close()
    vault.close()


@pytest.mark.parametrize(
    ("given", "expected"), [({}, "municipality"), ({"class": "local-authority"}, "local-authority")]
)
def test_a_class_is_that_of_the_agency_or_its_sector(given: dict[str, str], expected: str) -> None:
    (agency,) = knowledge().agencies.values()
    document = agency.model_dump(by_alias=True, exclude_none=True) | given
    assert Agency.model_validate(document).class_name == expected
