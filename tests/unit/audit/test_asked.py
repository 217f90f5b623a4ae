from __future__ import annotations

from pathlib import Path

import pytest

from integrator_audit import Refused, Signer, Tampered
from integrator_audit.sources import DirectorySource
from integrator_audit.witnessing.asked import AskedFile, check_start
from tests.unit.audit.witness_samples import LOG, SampleLog


@pytest.fixture
def log() -> SampleLog:
    return SampleLog()


@pytest.fixture
def asked(tmp_path: Path) -> AskedFile:
    return AskedFile(tmp_path / "asked", LOG.name)


def start(log: SampleLog, asked: AskedFile | None = None, **places: Path) -> dict[str, str]:
    head = log.head
    published = {name: DirectorySource(path) for name, path in places.items()}
    return check_start((head.size, head.root), log.tile, keys=LOG.verifier, published=published, asked=asked)


def test_a_log_that_goes_on_from_what_was_asked_starts(log: SampleLog, asked: AskedFile) -> None:
    assert start(log, asked) == {}
    for count in (1, 300, 512):
        head = log.grow(count)
        asked.record(head.size, head.root)
        assert start(log, asked) == {}
        log.grow(7)
        assert start(log, asked) == {}


def test_a_line_that_was_written_in_part_is_not_gone_on_with(tmp_path: Path, log: SampleLog, asked: AskedFile) -> None:
    head = log.grow(1)
    asked.record(head.size, head.root)
    # A disk that was full for a moment: nobody was asked, and the process goes on.
    with (tmp_path / "asked").open("ab") as file:
        file.write(b"300 AAAA")
    head = log.grow(299)
    asked.record(head.size, head.root)
    assert AskedFile(tmp_path / "asked", LOG.name).last == (head.size, head.root)
    assert (tmp_path / "asked").read_bytes().count(b"\n") == 3


def test_an_older_backup_does_not_start(log: SampleLog, asked: AskedFile) -> None:
    log.grow(300)
    backup = log.fork(b"")
    head = log.grow(1)
    asked.record(head.size, head.root)
    with pytest.raises(Tampered) as caught:
        start(backup, asked)
    assert caught.value.code == "start-older"


@pytest.mark.parametrize("grown", [1, 700])
def test_an_older_backup_that_has_grown_does_not_start(log: SampleLog, asked: AskedFile, grown: int) -> None:
    log.grow(300)
    backup = log.fork(b"other ")
    head = log.grow(1)
    asked.record(head.size, head.root)
    backup.grow(grown)
    with pytest.raises(Tampered) as caught:
        start(backup, asked)
    assert caught.value.code == "start-forked"


def test_an_export_or_mirror_that_is_ahead_or_different_stops_the_start(log: SampleLog, tmp_path: Path) -> None:
    log.grow(300)
    backup = log.fork(b"other ")
    for name, count in (("export", 0), ("mirror", 5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "checkpoint").write_bytes(log.grow(count).note)
    assert start(backup, export=tmp_path / "export") == {}
    with pytest.raises(Tampered, match="mirror says 305"):
        start(backup, export=tmp_path / "export", mirror=tmp_path / "mirror")
    backup.grow(9)
    with pytest.raises(Tampered, match="another history up to size 305"):
        start(backup, mirror=tmp_path / "mirror")


def test_a_place_that_cannot_be_read_is_said_and_another_log_s_is_refused(log: SampleLog, tmp_path: Path) -> None:
    log.grow(5)
    assert start(log, nowhere=tmp_path / "nowhere") == {"nowhere": "there is no checkpoint"}
    (tmp_path / "checkpoint").write_bytes(SampleLog(Signer(LOG.name, bytes(32))).grow(1).note)
    with pytest.raises(Refused):
        start(log, here=tmp_path)


def test_the_list_of_what_was_asked_survives_processes_and_torn_lines(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "asked"
    assert AskedFile(path, LOG.name).last is None
    for size in (0, 5, 9_223_372_036_854_775_807):
        AskedFile(path, LOG.name).record(size, bytes(32))
        assert AskedFile(path, LOG.name).last == (size, bytes(32))
        AskedFile(path, LOG.name).record(size, bytes(32))
    assert len(path.read_bytes().split(b"\n")) == 5
    whole = path.read_bytes()
    for cut in range(1, 60):
        path.write_bytes(whole[:-cut])
        assert AskedFile(path, LOG.name).last == (5, bytes(32))
        assert path.read_bytes().endswith(b"=\n")
    path.write_bytes(whole.split(b"\n")[0] + b"\n5 AAAA")
    assert AskedFile(path, LOG.name).last is None


def test_the_list_of_what_was_asked_never_goes_back(asked: AskedFile) -> None:
    asked.record(5, bytes(32))
    for size, root in ((4, bytes(32)), (5, bytes([1]) * 32)):
        with pytest.raises(Tampered):
            asked.record(size, root)


@pytest.mark.parametrize("line", [b"5\n", b"5 AAAA\n", b"x %s=\n" % (b"A" * 43), b"\n", b"\xff\n"])
def test_a_damaged_list_or_another_log_s_is_refused(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "asked"
    AskedFile(path, LOG.name)
    with pytest.raises(Refused):
        AskedFile(path, "another.example/log")
    path.write_bytes(path.read_bytes() + line)
    with pytest.raises(Tampered):
        AskedFile(path, LOG.name)
