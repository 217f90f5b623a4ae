"""Holds the documents to what is there: commands, settings, telemetry, links, manifests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

from integrator import telemetry
from integrator.cli.main import app
from integrator.directory.check import check
from integrator.directory.manifests import load
from integrator.encoding import schemas_directory
from integrator.operation.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("audit/*.md"), *ROOT.glob("benchmarks/*.md")]
_COMMAND = re.compile(r"(?<![\w/.-])integrator ((?:[a-z]+)(?: [a-z]+)?)")


def _commands(group: click.Command, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if before:
        yield before
    for name, command in getattr(group, "commands", {}).items():
        yield from _commands(command, (*before, name))


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8") + (ROOT / "CHANGELOG.md").read_text("utf-8")
    missing = [path for path in _commands(typer.main.get_command(app)) if len(path) == 1 and path[0] not in readme]
    assert not missing


def test_every_command_that_a_page_names_exists() -> None:
    known = set(_commands(typer.main.get_command(app)))
    for page in PAGES:
        for found in re.findall(r"`([^`\n]+)`", page.read_text("utf-8")):
            for match in _COMMAND.finditer(found):
                words = tuple(match.group(1).split())
                assert words in known or words[:1] in known, f"{page.name}: integrator {match.group(1)}"


def test_every_setting_is_documented_with_its_default() -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    for name, field in Settings.model_fields.items():
        default = str(field.default) if isinstance(field.default, int) else f"`{field.default}`"
        row = next((line for line in page.splitlines() if line.startswith(f"| `{name}` |")), None)
        assert row is not None, name
        assert (default if field.default != "" else "empty") in row.split("|")[2], name


def test_the_telemetry_page_is_the_one_that_the_code_makes() -> None:
    assert (ROOT / "docs" / "telemetry.md").read_text("utf-8") == telemetry.page()


def test_every_log_event_in_the_code_is_named() -> None:
    logged = re.compile(r"\b_?(?:log|LOG|report|_report|_log)\.(?:debug|info|warning|error)\(\s*\"([a-z-]+)\"")
    for source in (ROOT / "integrator").rglob("*.py"):
        for name in logged.findall(source.read_text("utf-8")):
            assert name in telemetry.LOG_EVENTS, f"{source.name}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), target


def test_everything_in_yaml_that_is_shipped_passes_the_check() -> None:
    loaded = load([Path(str(schemas_directory())), ROOT / "integrator" / "demo" / "manifests"])
    assert not loaded.problems
    assert len(loaded.documents) > 20
    assert not [found.place + ": " + found.message for found in check(loaded.documents)]
