"""The committed description of the API follows the NL API Design Rules: no errors, no warnings."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.shared

ROOT = Path(__file__).resolve().parents[2]
LINT = ROOT.parent / "shared" / "conformance" / "lint-openapi"


def _lint(document: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([LINT, document], capture_output=True, text=True, timeout=300, check=False)


def test_the_description_of_the_api_follows_the_design_rules() -> None:
    done = _lint(ROOT / "schemas" / "openapi" / "integrator-v1.json")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_linter_finds_what_is_against_the_rules(tmp_path: Path) -> None:
    wrong = (ROOT / "schemas" / "openapi" / "integrator-v1.json").read_text("utf-8").replace('"/status"', '"/Status/"')
    document = tmp_path / "wrong.json"
    document.write_text(wrong, "utf-8")
    assert _lint(document).returncode == 1
