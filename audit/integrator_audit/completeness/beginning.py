"""Says with which leaves an epoch log begins: one for each day before its first, so that a leaf's index is its day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from integrator_audit.completeness.epoch import EpochRules, ShardRange, blank_leaf
from integrator_audit.halfyear import day_of, first_day, period_of
from integrator_audit.merkle import EMPTY_ROOT


def first_leaves(now: int, *, shards: Iterable[int], label_key: bytes) -> list[bytes]:
    """Return the leaves of all days before today, which is the epoch log's first.

    `now` is in ms since 1970; `shards` are the numbers of the shards of today's half-year, `label_key` (32 bytes) is
    the fingerprint of its label key. The days of this half-year are there, without entries: what the shards hold
    already is of the first day sealed. Raises `Tampered` with the codes of `check_sequence`.
    """
    today = day_of(now)
    ranges = tuple(ShardRange(shard, 0, 0, EMPTY_ROOT) for shard in sorted(shards))
    rules = EpochRules()
    leaves: list[bytes] = []
    for epoch in range(today):
        leaf = blank_leaf(epoch, sealed_at=now - today + epoch + 1)
        if epoch >= first_day(period_of(today)):
            leaf = replace(leaf, label_key=label_key, shards=ranges)
        leaves.append(leaf.encode())
        rules.take(leaves[-1])
    return leaves
