"""Holds that what a verifier remembers is not put back by another one that runs at the same time."""

from __future__ import annotations

from pathlib import Path

import pytest

from integrator_audit import Busy, Unavailable
from integrator_audit.checkpoint import Checkpoint
from integrator_audit.sources import DirectorySource
from integrator_audit.state import State
from integrator_audit.verify import verify_log
from tests.unit.audit.audit_samples import ORIGIN, Place, fill, signer


def test_a_note_is_remembered_in_place_of_the_one_that_it_was_compared_with(tmp_path: Path) -> None:
    state = State(tmp_path / "memory")
    state.advance(ORIGIN, None, b"first")
    state.advance(ORIGIN, b"first", b"second")
    state.advance(ORIGIN, b"first", b"second")
    for seen in (None, b"first"):
        with pytest.raises(Busy) as caught:
            state.advance(ORIGIN, seen, b"third")
        assert caught.value.code == "state-changed"
    assert state.load(ORIGIN) == b"second"


def test_where_nothing_can_be_remembered_is_said(tmp_path: Path) -> None:
    (tmp_path / "memory").write_text("a file")
    with pytest.raises(Unavailable) as caught:
        State(tmp_path / "memory").advance(ORIGIN, None, b"first")
    assert caught.value.code == "state-unwritable"


class Meanwhile(DirectorySource):
    """A log during whose verification another verifier, to whom more was shown, comes to its end."""

    def __init__(self, path: Path, state: State) -> None:
        super().__init__(path)
        self.state = state

    def fetch(self, path: str) -> bytes | None:
        if path == "tile/0/000":
            self.state.save(ORIGIN, Checkpoint(ORIGIN, 9999, bytes(32)).sign(signer()))
        return super().fetch(path)


def test_a_verifier_that_was_shown_less_does_not_put_back_what_another_accepted(tmp_path: Path) -> None:
    place, state = Place(tmp_path), State(tmp_path / "memory")
    fill(place, 300)
    place.reader().export(tmp_path / "site")
    with pytest.raises(Busy):
        verify_log(Meanwhile(tmp_path / "site", state), signer().verifier, state=state)
    assert b"\n9999\n" in (state.load(ORIGIN) or b"")
