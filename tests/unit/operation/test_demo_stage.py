"""Shows that a demonstration is an installation of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from integrator.demo.stage import prepare
from integrator.domain.errors import Refused


def test_each_demonstration_signs_under_a_name_of_its_own(tmp_path: Path) -> None:
    names = {prepare(tmp_path / "played").settings.installation for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith("demo-") for name in names)


def test_a_directory_with_other_files_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(Refused) as caught:
        prepare(tmp_path)
    assert caught.value.code == "demo-directory"
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
