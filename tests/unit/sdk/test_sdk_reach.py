"""A command that names no agency finds the one that has the purpose, and asks when there are none or several."""

from __future__ import annotations

from pathlib import Path

import pytest

from integrator.cli.reach import Ways
from integrator.domain.errors import Refused
from integrator.operation.secrets import password
from integrator.operation.settings import Installation, Settings


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    made = Installation.create(tmp_path, Settings())
    for principal in ("agency-svb--nabestaanden", "agency-svb--aow", "agency-duo--aow", "agency-a--b-nabestaanden"):
        made.secrets.create(f"kafka-{principal}", password)
    return made


def test_the_only_agency_with_a_purpose_is_found(installation: Installation) -> None:
    assert Ways(installation.data).only_agency("nabestaanden") == "svb"


@pytest.mark.parametrize(("purpose", "said"), [("aow", r"--agency duo \| svb"), ("none", "'none'"), ("*", "No agency")])
def test_otherwise_the_message_says_what_to_give(installation: Installation, purpose: str, said: str) -> None:
    with pytest.raises(Refused, match=said):
        Ways(installation.data).only_agency(purpose)


def test_without_an_installation_the_agency_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="--agency"):
        Ways(tmp_path, bootstrap="localhost:9092").only_agency("aow")
