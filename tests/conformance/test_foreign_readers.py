"""Verifiers that others wrote read our logs: torchwood, golang.org/x/mod's tlog, Tessera's client and fsck."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from integrator_audit import LedgerReader, Signer
from integrator_audit.rawlog import RawLog
from tests.conformance.programs import ForeignError, Programs
from tests.unit.audit.audit_samples import Place, fill, signer

KEY = Signer("demo.integrator.example/ledger/demo/epochs", bytes(range(32)))


def leaves(count: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(count)]


def raw_site(directory: Path, *sizes: int) -> Path:
    """Export a log that was published at each of these sizes."""
    log = RawLog.open(directory / "raw.sqlite", origin=KEY.name, signer=KEY)
    for size in sizes:
        if size:
            log.append_leaves(leaves(size)[log.size :])
        LedgerReader.open(directory / "raw.sqlite").export(directory / "site")
    log.close()
    (directory / "vkey").write_text(KEY.vkey)
    (directory / "policy").write_text(f"log {KEY.vkey}\nquorum none\n")
    return directory / "site"


@pytest.mark.parametrize("sizes", [(0,), (1,), (2,), (255,), (256,), (257,), (1, 200, 511, 513), (66_050,)], ids=str)
def test_our_logs_hold_for_every_reader(
    programs: Programs, serve: Callable[[Path], str], tmp_path: Path, sizes: tuple[int, ...]
) -> None:
    site = raw_site(tmp_path, *sizes)
    url = serve(site)
    said = programs.conform("read", url, tmp_path / "policy")
    expected = hashlib.sha256(b"".join(leaves(sizes[-1]))).hexdigest()
    assert said == {"origin": KEY.name, "size": sizes[-1], "entries": expected}
    assert programs.conform("prove", url, KEY.vkey)["size"] == sizes[-1]
    said = programs.conform("follow", url, KEY.vkey, "-")
    assert (said["size"], said["entries"]) == (sizes[-1], expected)
    programs.fsck(url, tmp_path / "vkey")
    programs.fsck(site.as_uri(), tmp_path / "vkey")


def test_a_log_of_committed_entries_holds_for_every_reader(
    programs: Programs, serve: Callable[[Path], str], tmp_path: Path
) -> None:
    place = Place(tmp_path / "log")
    place.directory.mkdir()
    fill(place, 785)
    reader = place.reader()
    reader.export(tmp_path / "site")
    (tmp_path / "vkey").write_text(signer().vkey)
    (tmp_path / "policy").write_text(f"log {signer().vkey}\nquorum none\n")
    url = serve(tmp_path / "site")
    expected = hashlib.sha256(b"".join(reader.leaf(index) for index in range(785))).hexdigest()
    assert programs.conform("read", url, tmp_path / "policy")["entries"] == expected
    assert programs.conform("prove", url, signer().vkey)["sizes"] > 40
    assert programs.conform("follow", url, signer().vkey, "-")["entries"] == expected
    programs.fsck(url, tmp_path / "vkey")


def test_a_client_follows_our_log_from_every_checkpoint_that_it_published(
    programs: Programs, serve: Callable[[Path], str], tmp_path: Path
) -> None:
    sizes = (0, 1, 2, 255, 256, 257, 512, 700)
    url = serve(raw_site(tmp_path, 0))
    for size in sizes:
        raw_site(tmp_path, size)
        shutil.copy(tmp_path / "site" / "checkpoint", tmp_path / f"checkpoint-{size}")
        for earlier in sizes[: sizes.index(size) + 1]:
            said = programs.conform("follow", url, KEY.vkey, tmp_path / f"checkpoint-{earlier}")
            assert (said["from"], said["size"]) == (earlier, size)


def test_a_client_refuses_to_follow_our_log_into_another_history(
    programs: Programs, serve: Callable[[Path], str], tmp_path: Path
) -> None:
    other = RawLog.open(tmp_path / "other.sqlite", origin=KEY.name, signer=KEY)
    other.append_leaves([b"another", *leaves(255)[1:]])
    (tmp_path / "seen").write_bytes(other.head.note)
    other.close()
    with pytest.raises(ForeignError):
        programs.conform("follow", serve(raw_site(tmp_path, 600)), KEY.vkey, tmp_path / "seen")


@pytest.mark.parametrize("path", ["tile/0/001", "tile/0/002.p/1", "tile/1/000.p/2", "tile/entries/001"])
def test_the_readers_would_have_seen_a_flipped_bit(
    programs: Programs, serve: Callable[[Path], str], tmp_path: Path, path: str
) -> None:
    site = raw_site(tmp_path, 513)
    data = bytearray((site / path).read_bytes())
    data[20] ^= 1
    (site / path).write_bytes(data)
    with pytest.raises(ForeignError):
        programs.fsck(site.as_uri(), tmp_path / "vkey")
    url = serve(site)
    with pytest.raises(ForeignError):
        programs.conform("read", url, tmp_path / "policy")
    if "entries" not in path:
        with pytest.raises(ForeignError):
            programs.conform("prove", url, KEY.vkey)


def test_the_readers_refuse_another_key_and_a_changed_checkpoint(
    programs: Programs, serve: Callable[[Path], str], tmp_path: Path
) -> None:
    site = raw_site(tmp_path, 5)
    other = Signer(KEY.name, bytes(32))
    (tmp_path / "other").write_text(f"log {other.vkey}\nquorum none\n")
    url = serve(site)
    with pytest.raises(ForeignError):
        programs.conform("read", url, tmp_path / "other")
    with pytest.raises(ForeignError):
        programs.conform("prove", url, other.vkey)
    note = (site / "checkpoint").read_bytes()
    (site / "checkpoint").write_bytes(note.replace(b"\n5\n", b"\n4\n"))
    with pytest.raises(ForeignError):
        programs.conform("read", url, tmp_path / "policy")


def test_a_client_may_be_one_export_behind(programs: Programs, serve: Callable[[Path], str], tmp_path: Path) -> None:
    """Some clients do not take a partial tile out of the full one: what their checkpoint implies is still there."""
    site = raw_site(tmp_path, 200, 250)
    shutil.copy(site / "checkpoint", tmp_path / "old")
    raw_site(tmp_path, 600)
    shutil.copy(tmp_path / "old", site / "checkpoint")
    assert programs.conform("read", serve(site), tmp_path / "policy")["size"] == 250
