from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[3] / "docs" / "threat-model.md"


def rows() -> list[list[str]]:
    """Return the cells of the table of lies."""
    table = DOCUMENT.read_text("utf-8").partition("## Lies")[2].partition("\n## ")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def told() -> set[str]:
    """Return the names of all tests in which a lie is told."""
    return {
        name
        for path in HERE.glob("test_lies_*.py")
        for name in re.findall(r"^def (test_\w+)\(", path.read_text("utf-8"), re.MULTILINE)
    }


def test_every_line_of_the_table_names_tests_that_exist() -> None:
    assert len(rows()) > 50
    for cells in rows():
        assert len(cells) == 4, cells
        named = re.findall(r"`(test_\w+)`", cells[3])
        assert named, cells[0]
        assert set(named) <= told(), cells[0]


def test_every_lie_that_is_told_in_a_test_has_a_line() -> None:
    named = [name for cells in rows() for name in re.findall(r"`(test_\w+)`", cells[3])]
    assert sorted(named) == sorted(told())


def test_every_lie_says_who_catches_it() -> None:
    assert all(caught and lie for lie, caught, *_ in rows())
