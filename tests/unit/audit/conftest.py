from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.audit.audit_samples import Place, fill


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return an empty place for a log."""
    (tmp_path / "log").mkdir()
    return Place(tmp_path / "log")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a closed log of 785 entries in 5 commits: 3 full tiles and a partial one. Tests copy it to change it."""
    place = Place(tmp_path_factory.mktemp("filled") / "log")
    place.directory.mkdir()
    fill(place, 785)
    return place


@pytest.fixture
def log(filled: Place, tmp_path: Path) -> Place:
    """Return a copy of the filled log for a test of its own."""
    import shutil

    shutil.copytree(filled.directory, tmp_path / "log")
    return Place(tmp_path / "log")
