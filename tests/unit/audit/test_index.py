"""Holds that the index in a file keeps the contract of an index, and how tries lie in pages and are sorted."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from integrator_audit import Refused, Tampered
from integrator_audit.completeness.index import Page, Shape, Trie
from integrator_audit.completeness.indexfile import SqliteIndex
from integrator_audit.completeness.pages import bits_for, find, fresh_elsewhere, fresh_leaves, read_page, record_of
from integrator_audit.completeness.sorting import Sorter
from tests.unit.audit.index_contract import IndexContract, build, labels, places


class FileIndex:
    """A directory for one index."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file = directory / "epochs.index.sqlite"

    def open(self) -> SqliteIndex:
        return SqliteIndex.open(self._file)

    def open_erasing(self) -> SqliteIndex:
        return SqliteIndex.open_erasing(self._file)

    def read_only(self) -> SqliteIndex:
        return SqliteIndex.read_only(self._file)

    def damage(self, statement: str) -> None:
        with closing(sqlite3.connect(self._file)) as connection, connection:
            connection.execute(statement)

    def rows(self) -> list[str]:
        with closing(sqlite3.connect(self._file)) as connection:
            return list(connection.iterdump())

    def content(self) -> bytes:
        return b"".join(path.read_bytes() for path in self._directory.iterdir())


class TestSqliteIndex(IndexContract):
    @pytest.fixture
    def kept(self, tmp_path: Path) -> FileIndex:
        return FileIndex(tmp_path)


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        # It still has the length of a page.
        ("UPDATE page SET data = CAST(substr(data, 2) || substr(data, 1, 1) AS BLOB)", "index-page"),
        ("UPDATE page SET data = CAST(x'ff' || data AS TEXT)", "index-damaged"),
    ],
)
def test_a_page_that_is_none_is_damage_and_nothing_of_it_is_told(tmp_path: Path, statement: str, code: str) -> None:
    kept = FileIndex(tmp_path)
    with closing(kept.open()) as index:
        build(index, [label + places(at) for at, label in enumerate(labels(500))])
        kept.damage(statement)
        with pytest.raises(Tampered) as caught:
            find(index, 7, Trie.PERSONS, labels(500)[3])
    assert caught.value.code == code
    assert caught.value.message.isascii()


def test_a_record_is_read_as_it_was_written() -> None:
    fresh = fresh_leaves([labels(1)[0] + places(1, 2)], bytes(32))[0]
    long = fresh_elsewhere(labels(1)[0], bytes(32), [places(1, 2)], 2)
    for leaf in (fresh, long):
        (stored,) = read_page(leaf.record)
        assert (record_of(stored), stored.content) == (leaf.record, leaf.content)
        for damaged in (leaf.record[:-1], leaf.record + b"\0", leaf.record[:32] + b"\7" + leaf.record[33:]):
            with pytest.raises(Tampered):
                read_page(damaged)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    kept = FileIndex(tmp_path)
    kept.open().close()
    for pragma, error in (("user_version=99", Tampered), ("application_id=1", Refused)):
        kept.damage(f"PRAGMA {pragma}")
        with pytest.raises(error):
            kept.read_only()


def test_pages_are_neither_many_nor_large() -> None:
    assert [bits_for(count) for count in (0, 1, 64, 65, 128, 129, 10_000_000)] == [0, 0, 0, 1, 1, 2, 18]
    assert Shape(10, 0) == (10, 0)
    assert Page(0, 1, b"") < Page(1, 0, b"")


@pytest.mark.parametrize("held", [1, 7, 100, 10_000])
def test_the_sorter_sorts_whatever_it_holds(tmp_path: Path, held: int) -> None:
    drawn = random.Random(held)
    items = [drawn.randbytes(2) + bytes(30) + drawn.randbytes(drawn.randrange(12)) for _ in range(1000)]
    sorter = Sorter(directory=tmp_path, held=held)
    for start in range(0, 1000, 13):
        sorter.extend(items[start : start + 13])
    lists = list(sorter.sorted())
    assert [item for part in lists for item in part] == sorted(items)
    assert sorter.total == 1000
    heads = [{item[:32] for item in part} for part in lists]
    assert sum(map(len, heads)) == len({item[:32] for item in items}), "items of one label came in two lists"
    assert list(tmp_path.iterdir()) == [], "the spilled file has a name"


def test_what_the_sorter_spills_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    real = os.urandom

    class Watched:
        def __init__(self, **_: object) -> None:
            self.content = bytearray()

        def seek(self, at: int) -> None:
            self.at = at

        def write(self, data: bytes) -> None:
            written.append(data)
            self.content += data

        def read(self, length: int) -> bytes:
            return bytes(self.content[self.at : self.at + length])

        def close(self) -> None:
            self.content.clear()

    monkeypatch.setattr("tempfile.TemporaryFile", Watched)
    items = [real(32) + b"canary-0123456789" for _ in range(300)]
    sorter = Sorter(held=100)
    for start in range(0, 300, 100):
        sorter.extend(items[start : start + 100])
    assert [item for part in sorter.sorted() for item in part] == sorted(items)
    assert len(b"".join(written)) > 300 * 49
    assert b"canary" not in b"".join(written)
