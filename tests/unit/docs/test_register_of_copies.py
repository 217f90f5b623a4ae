"""Holds together the register of copies, the tests that look for a person, and the places that are written to."""

from __future__ import annotations

import re
from pathlib import Path

from integrator.domain import topics
from integrator.recording import logs

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "register-of-copies.md").read_text("utf-8")
CANARIES = ("tests/unit/audit", "tests/postgresql", "tests/e2e")
"""Where each test of `test_canary.py` is about a row of the register."""
COLUMNS = 6


def named_in(path: Path) -> set[str]:
    return set(re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text("utf-8"), re.MULTILINE))


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("| copy ")]


def test_every_test_that_the_register_names_exists_where_it_says() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    everywhere = {name: path for path in (ROOT / "tests").rglob("test_*.py") for name in named_in(path)}
    assert named
    assert named <= everywhere.keys()
    for name, place in re.findall(r"`(test_\w+)` \(`(tests/[\w/.]+)`\)", PAGE):
        assert everywhere[name] == ROOT / place, name


def test_every_test_that_looks_for_the_canary_is_named_in_the_register() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    looking = {name for place in CANARIES for name in named_in(ROOT / place / "test_canary.py")}
    assert looking <= named


def test_every_row_says_all_and_names_a_test_or_why_there_is_none() -> None:
    assert len(rows()) > 30
    for cells in rows():
        assert len(cells) == COLUMNS, cells
        assert all(cells), cells
        assert re.search(r"`test_\w+`|^none|below$", cells[-1]), cells


def test_every_topic_and_every_file_of_the_ledger_has_a_row() -> None:
    copies = "\n".join(cells[0] for cells in rows())
    own = [value for name, value in vars(topics).items() if name.isupper() and str(value).startswith("integrator.")]
    for topic in {str(value) for value in own} - {topics.LAG_GROUP, topics.LANE_TRANSACTIONS}:
        assert f"`{topic}`" in copies, topic
    told = re.findall(r"^ {4}(ledger/\S+?)(?:s0-2026h2/…|s0-2026h2)?(?: |$)", logs.__doc__ or "", re.MULTILINE)
    public = {"ledger/labels-2026h2.json", "ledger/s0-2026h2.vkey"}
    assert len(told) > 8
    for file in set(told) - public:
        assert file in copies, file
