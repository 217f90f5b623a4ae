"""The epoch log's leaves: one for each day, forever; the leaf's index is the day.

    0x10 ‖ u8 1 ‖ u32 epoch ‖ u16 period ‖ u64 sealed_at ‖ label_key[32] ‖ consumed[32] ‖ u64 inst_size ‖ inst_root[32]
         ‖ u16 n ‖ n × (u16 shard ‖ u64 start ‖ u64 end ‖ root_at_end[32]) ‖ u64 listed ‖ u64 unlisted
         ‖ persons_root[32] ‖ recipients_root[32] ‖ period_root[32]

- Days are counted from 2000-01-01 UTC (day 0), periods are half-years: (year − 2000) × 2 + half − 1. `sealed_at` is
  milliseconds since 1970. Integers are big-endian.
- A day covers, in each shard, the entries [start, end): no entry is in two days or in none.
- Days before the log's first period have no shards, and zeros for keys and roots. From then on, a day without entries
  has its shards with start = end.
- Each rule of a sequence of leaves has a code of its own: it says which lie was found.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Final

from integrator_audit.completeness.trie import EMPTY
from integrator_audit.errors import Invalid, Tampered
from integrator_audit.halfyear import LAST_DAY, last_day, period_of
from integrator_audit.merkle import EMPTY_ROOT, HASH_SIZE

EPOCH_ENTRY: Final = 0x10
VERSION: Final = 1
NO_KEY: Final = bytes(HASH_SIZE)
NOTHING_CONSUMED: Final = sha256(b"").digest()

_HEAD: Final = struct.Struct(">BBIHQ32s32sQ32sH")
_RANGE: Final = struct.Struct(">HQQ32s")
_TAIL: Final = struct.Struct(">QQ32s32s32s")
# An entry bundle holds entries of at most 65,535 bytes.
MAX_SHARDS: Final = (0xFFFF - _HEAD.size - _TAIL.size) // _RANGE.size


@dataclass(frozen=True, slots=True)
class ShardRange:
    """The entries [start, end) of a shard, and the shard's Merkle root at size `end`."""

    shard: int
    start: int
    end: int
    root_at_end: bytes

    @property
    def count(self) -> int:
        """Return how many entries that is."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class EpochLeaf:
    """What is said about one day. Hashes, keys and roots have 32 bytes.

    `listed` and `unlisted` count the day's entries in and not in the trie of persons. `persons_root` and
    `recipients_root` are of this day's tries, `period_root` of the whole period's on its last day and zeros before.
    """

    epoch: int
    period: int
    sealed_at: int
    label_key: bytes
    consumed: bytes
    inst_size: int
    inst_root: bytes
    shards: tuple[ShardRange, ...]
    listed: int
    unlisted: int
    persons_root: bytes
    recipients_root: bytes
    period_root: bytes

    def encode(self) -> bytes:
        """Return the leaf's bytes; raise `Invalid` (`epoch-leaf`) when a value does not fit its field."""
        hashes = [self.label_key, self.consumed, self.inst_root, self.persons_root, self.recipients_root]
        hashes += [self.period_root, *(item.root_at_end for item in self.shards)]
        if any(len(value) != HASH_SIZE for value in hashes) or len(self.shards) > MAX_SHARDS:
            raise Invalid(
                "epoch-leaf", f"an epoch leaf has hashes of {HASH_SIZE} bytes and at most {MAX_SHARDS} shards"
            )
        try:
            head = _HEAD.pack(
                EPOCH_ENTRY,
                VERSION,
                self.epoch,
                self.period,
                self.sealed_at,
                self.label_key,
                self.consumed,
                self.inst_size,
                self.inst_root,
                len(self.shards),
            )
            ranges = [_RANGE.pack(item.shard, item.start, item.end, item.root_at_end) for item in self.shards]
            roots = (self.persons_root, self.recipients_root, self.period_root)
            return b"".join((head, *ranges, _TAIL.pack(self.listed, self.unlisted, *roots)))
        except struct.error as error:
            raise Invalid("epoch-leaf", "a number of an epoch leaf does not fit its field") from error

    @classmethod
    def parse(cls, data: bytes) -> EpochLeaf:
        """Read a leaf's bytes; raise `Invalid` (`epoch-leaf`) for any other length, type or version."""
        if len(data) < _HEAD.size + _TAIL.size or data[0] != EPOCH_ENTRY or data[1] != VERSION:
            raise Invalid("epoch-leaf", "this is no epoch leaf of version 1")
        _, _, epoch, period, sealed_at, label_key, consumed, inst_size, inst_root, count = _HEAD.unpack_from(data)
        if len(data) != _HEAD.size + count * _RANGE.size + _TAIL.size:
            raise Invalid("epoch-leaf", "an epoch leaf has exactly the bytes that its number of shards says")
        at = _HEAD.size + count * _RANGE.size
        shards = tuple(ShardRange(*fields) for fields in _RANGE.iter_unpack(data[_HEAD.size : at]))
        start = (epoch, period, sealed_at, label_key, consumed, inst_size, inst_root)
        return cls(*start, shards, *_TAIL.unpack_from(data, at))

    @property
    def covered(self) -> int:
        """Return how many entries the day covers."""
        return sum(item.count for item in self.shards)

    def range_of(self, shard: int) -> ShardRange | None:
        """Return what the day covers of a shard."""
        return next((item for item in self.shards if item.shard == shard), None)


def blank_leaf(epoch: int, *, sealed_at: int) -> EpochLeaf:
    """Return the leaf of a day before the log's first period."""
    period = period_of(epoch)
    roots = (EMPTY, EMPTY, EMPTY)
    return EpochLeaf(epoch, period, sealed_at, NO_KEY, NOTHING_CONSUMED, 0, EMPTY_ROOT, (), 0, 0, *roots)


def check_sequence(previous: EpochLeaf | None, leaf: EpochLeaf, index: int) -> None:
    """Check the leaf at `index` of the epoch log after the one before it; raise `Tampered` naming the rule it breaks.

    Codes: `epoch-index`, `epoch-period`, `epoch-shards`, `epoch-start`, `epoch-end`, `epoch-count`, `epoch-sealed`,
    `epoch-label-key`, `epoch-institution`, `epoch-roots`, `epoch-period-root`, `epoch-blank`.
    """
    _check_alone(leaf, index)
    if previous is None:
        _check_opening(leaf, None)
        return
    # SPEC ledger §5: "`sealed_at` increases"
    if leaf.sealed_at <= previous.sealed_at:
        raise _broken("epoch-sealed", leaf, "was not sealed after the day before")
    if not leaf.shards and previous.shards:
        raise _broken("epoch-blank", leaf, "has no shards, though the log had begun")
    if leaf.period == previous.period and bool(leaf.shards) == bool(previous.shards):
        _check_within(previous, leaf)
    else:
        _check_opening(leaf, previous)


class EpochRules:
    """Check the leaves of an epoch log one after the other, from its first on."""

    def __init__(self) -> None:
        self.previous: EpochLeaf | None = None
        self._index = 0
        self._listed_in_period = 0

    def take(self, data: bytes) -> EpochLeaf:
        """Return the next leaf; raise `Tampered` with the code of the rule that it breaks, or `epoch-leaf`."""
        try:
            leaf = EpochLeaf.parse(data)
        except Invalid as error:
            raise Tampered("epoch-leaf", f"leaf {self._index} of the epoch log: {error.message}") from error
        check_sequence(self.previous, leaf, self._index)
        if self.previous is None or self.previous.period != leaf.period:
            self._listed_in_period = 0
        self._listed_in_period += leaf.listed
        # A half-year closed with an empty trie would prove to everybody that nothing was listed about them.
        if leaf.epoch == last_day(leaf.period) and (leaf.period_root == EMPTY) != (self._listed_in_period == 0):
            raise _broken("epoch-period-root", leaf, "closes a half-year with a trie that its days contradict")
        self.previous = leaf
        self._index += 1
        return leaf


def check_log(leaves: Iterable[bytes]) -> list[EpochLeaf]:
    """Return the leaves of an epoch log, all rules checked; raise `Tampered` with the code of the rule broken."""
    rules = EpochRules()
    return [rules.take(data) for data in leaves]


def _check_alone(leaf: EpochLeaf, index: int) -> None:
    # SPEC ledger §5: "epoch = leaf index (no gap, no second version of a day)"
    if leaf.epoch != index:
        message = f"leaf {index} of the epoch log says to be day {leaf.epoch}: a day is missing, or there twice"
        raise Tampered("epoch-index", message)
    if index > LAST_DAY or leaf.period != period_of(index):
        raise _broken("epoch-period", leaf, "says to be of another half-year")
    # SPEC ledger §5: "shards ascending and fixed within a period"
    if any(one.shard >= other.shard for one, other in pairwise(leaf.shards)):
        raise _broken("epoch-shards", leaf, "does not have its shards in ascending order")
    for item in leaf.shards:
        if item.end < item.start:
            raise _broken("epoch-end", leaf, f"ends before it starts in shard {item.shard}")
        if item.end == 0 and item.root_at_end != EMPTY_ROOT:
            raise _broken("epoch-end", leaf, f"has a root for shard {item.shard}, which is empty")
    # SPEC ledger §5: "`listed + unlisted = Σ(end − start)`"
    if leaf.listed + leaf.unlisted != leaf.covered:
        raise _broken("epoch-count", leaf, f"covers {leaf.covered} entries and counts {leaf.listed + leaf.unlisted}")
    _check_values(leaf)


def _check_values(leaf: EpochLeaf) -> None:
    if (leaf.persons_root == EMPTY) != (leaf.listed == 0):
        raise _broken("epoch-roots", leaf, "lists entries under nobody, or somebody without entries")
    if leaf.covered == 0 and leaf.recipients_root != EMPTY:
        raise _broken("epoch-roots", leaf, "has no entries, and lists recipients")
    # SPEC ledger §5: "zeros but on a period's last day"
    if leaf.period_root != EMPTY and leaf.epoch != last_day(leaf.period):
        raise _broken("epoch-period-root", leaf, "closes a half-year that is not over")
    if leaf.inst_size == 0 and leaf.inst_root != EMPTY_ROOT:
        raise _broken("epoch-institution", leaf, "has a root for the institution log, which is empty")
    if leaf.shards:
        if leaf.label_key == NO_KEY:
            raise _broken("epoch-label-key", leaf, "has no label key")
    elif leaf.label_key != NO_KEY or leaf.inst_size or leaf.period_root != EMPTY:
        raise _broken("epoch-blank", leaf, "says something though the log had not begun")


def _check_opening(leaf: EpochLeaf, previous: EpochLeaf | None) -> None:
    """Check the first day with shards of a period, or any day without."""
    # A log begins with a whole period: its first days are there, empty, before the first entry.
    if leaf.shards and previous is not None and previous.period == leaf.period:
        raise _broken("epoch-shards", leaf, "begins the log inside a half-year")
    # SPEC ledger §5: "start = previous end, 0 when a period opens"
    if any(item.start for item in leaf.shards):
        raise _broken("epoch-start", leaf, "opens a half-year, and a shard does not start at 0")


def _check_within(previous: EpochLeaf, leaf: EpochLeaf) -> None:
    # SPEC ledger §5: "shards ascending and fixed within a period"
    if [item.shard for item in leaf.shards] != [item.shard for item in previous.shards]:
        raise _broken("epoch-shards", leaf, "has other shards than the day before, within a half-year")
    for before, item in zip(previous.shards, leaf.shards, strict=True):
        # SPEC ledger §5: "start = previous end"
        if item.start != before.end:
            message = f"starts shard {item.shard} at {item.start}, and the day before ended at {before.end}"
            raise _broken("epoch-start", leaf, message)
        if item.end == item.start and item.root_at_end != before.root_at_end:
            raise _broken("epoch-end", leaf, f"adds nothing to shard {item.shard}, and has another root for it")
    # SPEC ledger §5: "`label_key` constant within a period"
    if leaf.label_key != previous.label_key:
        raise _broken("epoch-label-key", leaf, "has another label key than the day before, within a half-year")
    if leaf.inst_size < previous.inst_size:
        raise _broken("epoch-institution", leaf, "has a shorter institution log than the day before")
    if leaf.inst_size == previous.inst_size and leaf.inst_root != previous.inst_root:
        raise _broken("epoch-institution", leaf, "has another root for an institution log that did not grow")


def _broken(code: str, leaf: EpochLeaf, what: str) -> Tampered:
    return Tampered(code, f"day {leaf.epoch} of the epoch log {what}")
