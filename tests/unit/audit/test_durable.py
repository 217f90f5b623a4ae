"""Holds that files appear whole or not at all, and that what could not be written leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from integrator_audit.durable import PRIVATE, create_file, replace_file, replacing


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_takes_the_place_of_the_one_before_and_its_directory_is_made(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for content in (b"a longer one", b"other"):
        replace_file(path, content, mode=PRIVATE)
        assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == PRIVATE
    assert names(path.parent) == ["file"]


def test_a_file_that_is_being_written_is_not_seen_and_one_that_failed_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, b"old")

    def write() -> None:
        with replacing(path) as file:
            file.write(b"half")
            file.flush()
            assert path.read_bytes() == b"old"
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_of_two_who_make_a_file_the_first_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    create_file(path, b"first")
    with pytest.raises(FileExistsError):
        create_file(path, b"second")
    assert path.read_bytes() == b"first"
    assert path.stat().st_mode & 0o777 == PRIVATE
    assert names(tmp_path) == ["key"]
