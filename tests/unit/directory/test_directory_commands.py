"""What a person sees of `check` and of `apply` before anything is asked of a running installation."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from typer.testing import CliRunner

from integrator.cli import directory
from integrator.domain.errors import Refused

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
