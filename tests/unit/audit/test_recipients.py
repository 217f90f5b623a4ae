from __future__ import annotations

import stat
from pathlib import Path

import pytest

from integrator_audit import Invalid, Unavailable
from integrator_audit.completeness.recipients import SecretFiles


def test_a_recipients_secret_is_made_once_and_found_again(tmp_path: Path) -> None:
    secrets = SecretFiles(tmp_path / "recipients")
    first, other = secrets.secret("svb"), secrets.secret("gemeente-1")
    assert first != other
    assert len(first) == 32
    assert SecretFiles(tmp_path / "recipients").secret("svb") == first
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "recipients").iterdir()}
    assert modes == {0o600}
    assert len(list((tmp_path / "recipients").iterdir())) == 2


def test_the_first_of_two_processes_makes_the_secret(tmp_path: Path) -> None:
    one, other = SecretFiles(tmp_path), SecretFiles(tmp_path)
    assert one.secret("svb") == other.secret("svb")


@pytest.mark.parametrize("name", ["", "../svb", "SVB", "svb/x", ".svb", "s" * 129])
def test_names_that_are_no_file_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid):
        SecretFiles(tmp_path).secret(name)


def test_a_damaged_or_unreadable_secret_is_told(tmp_path: Path) -> None:
    for damaged in (b"AAAA\n", b"\xff\xfe", b""):
        (tmp_path / "svb.secret").write_bytes(damaged)
        with pytest.raises(Invalid):
            SecretFiles(tmp_path).secret("svb")
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable):
        SecretFiles(tmp_path / "file").secret("svb")
