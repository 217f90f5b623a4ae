"""Holds that files appear whole or not at all, and that what could not be written leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from integrator_audit.durable import PRIVATE, create_file, make_directory, replace_file, replacing


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


def test_what_a_crash_left_aside_is_never_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"

    def crash(_: Path, *, missing_ok: bool = False) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "unlink", crash)
    with pytest.raises(KeyboardInterrupt):
        create_file(path, b"first")
    monkeypatch.undo()
    assert len(names(tmp_path)) == 2, "the file is in place, and linked to the one aside"
    with pytest.raises(FileExistsError):
        create_file(path, b"second")
    assert path.read_bytes() == b"first"


def test_a_directory_that_is_made_for_a_file_is_on_disk_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[Path] = set()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.add(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    replace_file(tmp_path / "tile" / "0" / "x001" / "000", b"hashes")
    assert {tmp_path, tmp_path / "tile", tmp_path / "tile" / "0", tmp_path / "tile" / "0" / "x001"} <= synced
    synced.clear()
    replace_file(tmp_path / "tile" / "0" / "x001" / "001", b"hashes")
    assert tmp_path / "tile" not in synced, "it was on disk already"


def test_a_directory_is_made_with_its_mode_and_not_where_a_file_is(tmp_path: Path) -> None:
    make_directory(tmp_path / "above" / "secret", mode=0o700)
    make_directory(tmp_path / "above" / "secret", mode=0o700)
    assert (tmp_path / "above" / "secret").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_directory(tmp_path / "file")
