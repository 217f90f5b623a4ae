"""Holds that repeated values are found whether they fit in memory or not."""

from __future__ import annotations

from hashlib import sha256

import pytest

from integrator_audit import uniqueness
from integrator_audit.uniqueness import Repeated


@pytest.mark.parametrize("held", [3, 100, 1_000_000])
def test_every_value_that_comes_again_is_paired_with_its_first(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr(uniqueness, "IN_MEMORY", held)
    with Repeated() as repeated:
        for number in range(500):
            # 0 and 40 come again, the former twice.
            same = {77: 0, 401: 0, 499: 40}.get(number, number)
            repeated.add(sha256(b"%d" % same).digest(), number)
        assert sorted(repeated.pairs()) == [(0, 77), (0, 401), (40, 499)]


def test_nothing_is_repeated_in_nothing() -> None:
    with Repeated() as repeated:
        assert list(repeated.pairs()) == []


def test_what_was_written_aside_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uniqueness, "IN_MEMORY", 2)
    with Repeated() as repeated:
        for number in range(5):
            repeated.add(bytes([number]) * 32, number)
        directory = repeated._directory
        assert directory is not None
        assert directory.is_dir()
    assert not directory.exists()
