"""Holds that the embedded store keeps the contract of a store, and what is its own: its file's format and erasing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from integrator_audit import Busy, Erasure, Refused
from integrator_audit.sqlite import SqliteStore
from integrator_audit.sqlitereading import SqliteReading
from tests.unit.audit.store_contract import Growing, StoreContract, Stored


@dataclass(frozen=True)
class FileStored:
    path: Path

    def store(self) -> SqliteStore:
        return SqliteStore.open(self.path)

    def reading(self) -> SqliteReading:
        return SqliteReading.read_only(self.path)


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def stored(self, tmp_path: Path) -> Stored:
        return FileStored(tmp_path / "log.sqlite")

    def test_what_was_erased_is_in_no_byte_of_the_files(self, stored: Stored, log: Growing, tmp_path: Path) -> None:
        rows = log.append(400)
        canaries = [rows[7], rows[8]]
        others = [row.subject for row in rows if row not in canaries]
        secrets = [secret for row in canaries for secret in (row.body, row.entry_key) if secret]
        secrets += [row.subject for row in canaries if row.subject and row.subject not in others]
        assert all(secret in _bytes(tmp_path) for secret in secrets)
        log.store.erase([Erasure(row.number, "order") for row in canaries])
        assert not [secret for secret in secrets if secret in _bytes(tmp_path)]

    def test_an_erasure_says_when_a_reader_keeps_the_old_pages_alive(self, stored: Stored, log: Growing) -> None:
        rows = log.append(5)
        reading = stored.reading()
        with reading.snapshot():
            assert reading.entry(0) is not None
            log.store.connection.execute("PRAGMA busy_timeout=50")  # type: ignore[attr-defined]
            with pytest.raises(Busy) as caught:
                log.store.erase([Erasure(0, "order")])
            assert caught.value.code == "erasure-busy"
        # The same again finishes it.
        log.store.erase([Erasure(0, "order")])
        assert rows[0].body not in _bytes(stored.path.parent)  # type: ignore[attr-defined]

    @pytest.mark.parametrize("version", [1, 2])
    def test_a_file_of_an_earlier_format_is_refused_with_a_sentence(self, stored: FileStored, version: int) -> None:
        stored.store().close()
        with closing(sqlite3.connect(stored.path)) as connection:
            connection.execute(f"PRAGMA user_version={version}")
        for way in (stored.store, stored.reading):
            with pytest.raises(Refused, match=f"format {version}, and this version reads format 3 only") as caught:
                way()
            assert caught.value.code == "ledger-format"


def _bytes(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir() if path.is_file())
