"""Holds the time of commits: it never goes back, and a clock that is far behind stops the writer."""

from __future__ import annotations

import pytest

from integrator_audit import Erasure, Refused, Tampered
from integrator_audit.checkpoint import Checkpoint
from integrator_audit.errors import Invalid
from integrator_audit.halfyear import DAY_MS
from integrator_audit.note import Signer
from tests.unit.audit.audit_samples import ORIGIN, Place, entry, signer

NOW = 20_000 * DAY_MS + 3_600_000
SOURCE = ("integrator.disclosures", 0)


def test_a_commits_time_is_the_clocks_and_never_before_the_last_one(place: Place) -> None:
    ledger = place.ledger()
    times = [ledger.append([entry(1)], now_ms=NOW + step).at - NOW for step in (0, 10, 4, -300_000 + 10, 11)]
    assert times == [0, 10, 10, 10, 11]
    assert ledger.head.at == NOW + 11


def test_a_clock_more_than_five_minutes_behind_stops_the_writer_until_it_is_right(place: Place) -> None:
    ledger = place.ledger()
    ledger.append([entry(1)], now_ms=NOW, positions={SOURCE: 1})
    ledger.close()
    again = place.ledger()
    with pytest.raises(Refused, match="seconds behind the last commit") as caught:
        again.append([entry(2)], now_ms=NOW - 300_001, positions={SOURCE: 2})
    assert caught.value.code == "ledger-clock-back"
    assert (again.size, again.positions()) == (1, {SOURCE: 1})
    assert again.append([entry(2)], now_ms=NOW - 300_000).size == 2


def test_the_end_of_each_day_can_be_proven_to_later(place: Place) -> None:
    ledger = place.ledger()
    for day in range(3):
        for step in range(4):
            ledger.append([entry(step)], now_ms=NOW + day * DAY_MS + step)
    reader = place.reader()
    for day in range(3):
        end = reader.last_before((20_001 + day) * DAY_MS)
        assert end is not None
        assert (end.size, end.at) == (4 * (day + 1), NOW + day * DAY_MS + 3)
        opening = reader.opening(0, note=end.note)
        from integrator_audit import verify_opening

        assert verify_opening(opening, signer().verifier).size == end.size


def test_a_new_log_begins_where_the_former_half_years_was_closed(place: Place) -> None:
    ledger = place.ledger()
    ledger.append([entry(1)], positions={SOURCE: 5})
    head = ledger.freeze()
    assert (head.size, ledger.is_closed) == (1, True)
    with pytest.raises(Refused) as caught:
        ledger.append([entry(2)], positions={SOURCE: 6})
    assert caught.value.code == "ledger-closed"
    # It still forgets.
    ledger.erase([Erasure(0, "order")])
    positions = ledger.positions()
    ledger.close()

    from integrator_audit import LedgerWriter

    origin = ORIGIN.replace("2026h2", "2027h1")
    after = Signer.generate(origin)
    file = place.directory / "next.sqlite"
    following = LedgerWriter.open(file, origin=origin, signer=after, vault=place.vault(), positions=positions)
    assert (following.size, following.positions()) == (0, {SOURCE: 5})
    following.append([entry(2)], positions={SOURCE: 6})
    following.close()
    # A log that is there keeps its own.
    again = LedgerWriter.open(file, origin=origin, signer=after, vault=place.vault(), positions=positions)
    assert again.positions() == {SOURCE: 6}


def test_what_is_published_is_of_this_log_and_never_goes_back(place: Place) -> None:
    ledger = place.ledger()
    first = ledger.append([entry(1)])
    second = ledger.append([entry(2)])
    ledger.publish(second.checkpoint)
    assert place.reader().published() == (2, second.checkpoint)
    for note in (first.checkpoint, Checkpoint(ORIGIN, 3, bytes(32)).sign(signer())):
        with pytest.raises(Invalid) as caught:
            ledger.publish(note)
        assert caught.value.code == "publish-size"
    with pytest.raises(Tampered) as fork:
        ledger.publish(Checkpoint(ORIGIN, 2, bytes(32)).sign(signer()))
    assert fork.value.code == "publish-fork"
    with pytest.raises(Tampered):
        ledger.publish(Signer.generate(ORIGIN).sign(Checkpoint(ORIGIN, 2, second.root).text))
