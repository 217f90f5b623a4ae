"""What a person sees of `check` and of `apply` before anything is asked of a running installation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from integrator.cli import directory
from integrator.directory.documents import from_wire
from integrator.domain.errors import Refused
from integrator.operation.settings import Installation, Settings

app = typer.Typer()
app.command()(directory.check)
app.command()(directory.apply)
runner = CliRunner()
DEMO = Path(__file__).parents[3] / "integrator/demo/manifests"


def test_the_packaged_contracts_and_the_demonstration_are_right() -> None:
    result = runner.invoke(app, ["check", str(DEMO)])
    assert (result.exit_code, "are right" in result.output) == (0, True)


def test_every_problem_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: purpose\nname: Wrong Name\nversion: [\n")
    (tmp_path / "b.yaml").write_text("kind: agency\nname: x\n")
    result = runner.invoke(app, ["check", str(tmp_path)])
    assert result.exit_code == 1
    assert "a.yaml:4: yaml" in result.output
    assert "b.yaml:1: title: form: title is missing." in result.output
    assert "Traceback" not in result.output


def test_check_speaks_json(tmp_path: Path) -> None:
    result = runner.invoke(app, ["check", str(tmp_path / "none.yaml"), "--json"])
    assert result.exit_code == 1
    (problem,) = json.loads(result.output)["problems"]
    assert (problem["code"], problem["file"]) == ("no-file", str(tmp_path / "none.yaml"))


def test_apply_stops_at_the_first_look_when_the_form_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: agncy\n")
    result = runner.invoke(app, ["apply", "-f", str(tmp_path)])
    assert result.exit_code == 1
    assert "Did you mean agency?" in result.output
    assert "nothing was applied" in result.output


def test_apply_without_an_installation_says_which_folder_it_looked_in(tmp_path: Path) -> None:
    result = runner.invoke(app, ["apply", "-f", str(DEMO), "--data", str(tmp_path)])
    assert isinstance(result.exception, Refused)
    assert result.exception.code == "no-installation"


class Operator:
    """An integrator's HTTP interface, as far as `apply` asks it."""

    problems: ClassVar[list[dict[str, str]]] = []
    asked: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def __init__(self, url: str, token: str) -> None:
        assert (url, token) == ("http://127.0.0.1:8123", "secret")

    async def __aenter__(self) -> Operator:
        return self

    async def __aexit__(self, *error: object) -> None: ...

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((path, body))
        documents = from_wire(body["documents"])
        change = {"action": "create", "kind": "source", "id": "brp", "version": 1, "note": "", "count": 1}
        if path.endswith("/plan"):
            return {"basedOn": 7, "changes": [change] * len(documents), "problems": self.problems}
        return {"position": 9, "changes": [change]}


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    Installation.create(tmp_path, Settings(http_port=8123)).secrets.create("token-operator", lambda: b"secret")
    monkeypatch.setattr(directory, "Api", Operator)
    monkeypatch.setattr(Operator, "problems", [])
    monkeypatch.setattr(Operator, "asked", [])
    return tmp_path


def test_apply_shows_the_plan_and_applies_what_was_agreed_to(installation: Path) -> None:
    result = runner.invoke(app, ["apply", "-f", str(DEMO / "parties.yaml"), "--data", str(installation), "--yes"])
    assert result.exit_code == 0, result.output
    assert [path for path, _ in Operator.asked] == ["/v1/directory/plan", "/v1/directory/apply"]
    assert Operator.asked[1][1]["basedOn"] == 7
    assert "create" in result.output
    assert "the directory is at 9" in result.output


def test_apply_does_nothing_when_nobody_agrees(installation: Path) -> None:
    result = runner.invoke(app, ["apply", "-f", str(DEMO / "parties.yaml"), "--data", str(installation)])
    assert isinstance(result.exception, Refused)
    assert result.exception.code == "not-agreed"
    assert [path for path, _ in Operator.asked] == ["/v1/directory/plan"]


def test_apply_tells_what_the_directory_refuses(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = {"code": "no-legal-basis", "message": "None is in force.", "place": "a.yaml:3: citations"}
    monkeypatch.setattr(Operator, "problems", [refused])
    result = runner.invoke(app, ["apply", "-f", str(DEMO / "parties.yaml"), "--data", str(installation), "--yes"])
    assert result.exit_code == 1
    assert "a.yaml:3: citations: no-legal-basis: None is in force." in result.output
    assert [path for path, _ in Operator.asked] == ["/v1/directory/plan"]
