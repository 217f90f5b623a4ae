"""Which streams are tried alone and which are left out."""

from __future__ import annotations

from integrator.routing.troubles import FIRST_PAUSE, LONGEST_PAUSE, PATIENCE, Troubles


def test_without_trouble_all_streams_share_a_transaction() -> None:
    assert Troubles().groups([("a", 1), ("b", 2), ("a", 3)]) == [[1, 2, 3]]


def test_after_a_shared_failure_each_stream_is_tried_alone() -> None:
    troubles = Troubles()
    troubles.blame({"a", "b"}, now=0)
    assert troubles.groups([("a", 1), ("b", 2), ("c", 3), ("a", 4)]) == [[3], [1, 4], [2]]
    assert not troubles.left_out(now=0)


def test_a_stream_that_works_again_is_no_suspect() -> None:
    troubles = Troubles()
    troubles.blame({"a", "b"}, now=0)
    troubles.works({"a"})
    assert troubles.groups([("a", 1), ("c", 2), ("b", 3)]) == [[1, 2], [3]]


def test_shared_failures_alone_leave_nobody_out() -> None:
    troubles = Troubles()
    for _ in range(10 * PATIENCE):
        troubles.blame({"a", "b"}, now=0)
    assert not troubles.left_out(now=0)


def test_a_stream_that_keeps_failing_alone_is_left_out_for_longer_each_time() -> None:
    troubles, now, pauses = Troubles(), 0.0, list[float]()
    for _ in range(PATIENCE - 1):
        troubles.blame({"a"}, now=now)
        assert not troubles.left_out(now=now)
    for _ in range(8):
        troubles.blame({"a"}, now=now)
        begun = now
        while troubles.left_out(now=now):
            now += 0.5
        pauses.append(now - begun)
    assert pauses[0] == FIRST_PAUSE
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE
    troubles.works({"a"})
    troubles.blame({"a"}, now=now)
    assert not troubles.left_out(now=now)
