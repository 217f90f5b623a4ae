"""Holds that who refuses a file does not keep it open: whoever asked may put another in its place, or try again."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from integrator_audit import AuditError, LedgerReader, Vault
from integrator_audit.completeness.indexfile import SqliteIndex
from integrator_audit.searching.blocks import IndexFile
from integrator_audit.sqlite import SqliteStore
from integrator_audit.sqliteraw import SqliteRows
from integrator_audit.witnessing.cosignature import Cosigner
from integrator_audit.witnessing.witness import Witness

OPENERS: dict[str, Callable[[Path], Any]] = {
    "store": SqliteStore.open,
    "reader": LedgerReader.open,
    "rows": SqliteRows.open,
    "vault": lambda path: Vault.open(path, bytes(32)),
    "vault to read": lambda path: Vault.read_only(path, bytes(32)),
    "index": SqliteIndex.open,
    "index to read": SqliteIndex.read_only,
    "index to erase from": SqliteIndex.open_erasing,
    "index of search": IndexFile.open,
    "witness": lambda path: Witness.open(path, cosigner=Cosigner.generate("w"), logs={}, clock=lambda: 0.0),
}


def open_files(directory: Path) -> list[str]:
    found: list[str] = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:
            continue  # the one that lists them
    return [name for name in found if name.startswith(str(directory))]


@pytest.mark.parametrize("content", ["another database", "no database"])
@pytest.mark.parametrize("opener", OPENERS)
def test_a_file_that_is_refused_is_closed(tmp_path: Path, opener: str, content: str) -> None:
    path = tmp_path / "file.sqlite"
    if content == "no database":
        path.write_bytes(b"something else " * 1000)
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE other (something)")
    # The error is at hand as long as somebody looks at it, and with it everything that was on the stack.
    with pytest.raises(AuditError) as caught:
        OPENERS[opener](path)
    assert open_files(tmp_path) == [], caught.value.code
