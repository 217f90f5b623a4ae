"""Holds that the small files of the ledger are there whole or not at all, and on disk once they are said to be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from integrator.domain.errors import Refused, Unavailable
from integrator.recording.keeper import write, write_once


def test_a_logs_key_is_on_disk_before_anything_is_entered_under_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that a crash of the machine emptied would be taken for another key's, and the ledger refused."""
    synced: list[bytes | str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        place = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append(str(place) if place.is_dir() else place.read_bytes())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_once(tmp_path / "s0-2026h2.vkey", "log+0123+AAAA")
    assert synced == [b"log+0123+AAAA\n", str(tmp_path)]
    write_once(tmp_path / "s0-2026h2.vkey", "log+0123+AAAA")
    with pytest.raises(Refused) as caught:
        write_once(tmp_path / "s0-2026h2.vkey", "log+4567+AAAA")
    assert caught.value.code == "ledger-other-key"


def test_a_file_that_cannot_be_written_is_said_and_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "consumed.json"
    write(path, "[]\n")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable) as caught:
        write(path, "[1]\n")
    assert caught.value.code == "ledger-files"
    assert path.read_text() == "[]\n"
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
