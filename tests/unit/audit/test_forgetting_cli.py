from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from integrator_audit.cli.main import app
from integrator_audit.forgetting.orders import SCHEMA
from integrator_audit.forgetting.retention import due_day
from integrator_audit.halfyear import date_of
from tests.unit.audit.audit_samples import entry
from tests.unit.audit.test_forgetting import CANARY, PERIOD, House


@pytest.fixture
def house(tmp_path: Path) -> House:
    house = House(tmp_path / "house")
    house.append(entry(number, subject=CANARY) for number in range(3))
    house.append(entry(number) for number in range(4))
    return house


def run(house: House, *arguments: str, code: int = 0, log: bool = True) -> Any:
    options = ["--vault", str(house.root / "persons.sqlite"), "--generations", str(house.root / "keys")]
    options += ["--register", str(house.root / "erasures.jsonl"), "--json"]
    result = CliRunner().invoke(app, ["erase", *arguments, *([str(house.file)] if log else []), *options])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def order_file(house: House) -> str:
    path = house.root / "order.json"
    subject = base64.b64encode(CANARY).decode()
    path.write_text(json.dumps({"schema": SCHEMA, "order": "ORDER-7", "subject": subject}))
    return str(path)


def test_an_order_is_carried_out_and_completed_and_the_register_says_so(house: House) -> None:
    assert run(house, "order", order_file(house)) == {
        "result": "erased",
        "erased": {"order": 3},
        "lists": 0,
        "waiting": 0,
        "pending": {"order": 3},
    }
    finished = run(house, "finish", log=False)
    assert finished == {"result": "complete", "generation": 2, "destroyed": [1], "completed": {"order": 3}}
    shown = CliRunner().invoke(app, ["erase", "status", "--register", str(house.root / "erasures.jsonl")])
    assert "complete: 3 entries by order" in shown.stdout
    assert "waiting for `erase finish`: no entries" in shown.stdout
    other = CliRunner().invoke(app, ["erase", "status", "--register", str(house.root / "erasure.jsonl"), "--json"])
    assert (other.exit_code, json.loads(other.stdout)["code"]) == (2, "no-such-file")


def test_a_person_at_a_terminal_is_told_what_is_left_to_do_and_never_whom(house: House) -> None:
    options = ["--vault", str(house.root / "persons.sqlite"), "--generations", str(house.root / "keys")]
    options += ["--register", str(house.root / "erasures.jsonl")]
    shown = CliRunner().invoke(app, ["erase", "order", order_file(house), str(house.file), *options])
    assert shown.exit_code == 0
    assert "run `integrator-audit erase finish`" in shown.stdout
    assert base64.b64encode(CANARY).decode() not in shown.output
    assert CANARY.hex() not in shown.output


def test_retention_looks_at_no_day_that_has_not_come(house: House) -> None:
    house.ledger.freeze()
    assert run(house, "retention", "--day", "2026-11-25")["erased"] == {}
    future = date_of(due_day(PERIOD, 20)).isoformat()
    assert run(house, "retention", "--day", future, code=2)["code"] == "erase-day"
    assert run(house, "retention", "--day", "tomorrow", code=2)["code"] == "erase-day"


def test_what_is_missing_is_named(house: House, tmp_path: Path) -> None:
    assert run(house, "order", str(tmp_path / "none.json"), code=2)["code"] == "erasure-order"
    order = order_file(house)
    house.file.rename(house.root / "moved.sqlite")
    answer = run(house, "order", order, code=2)
    assert answer["code"] == "no-such-file"
    assert "s0-2026h2.sqlite" in answer["message"]
